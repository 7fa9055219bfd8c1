package web

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

// wireItem is one target with these scopes.
func wireItem(t *testing.T, target string, ttl time.Duration, scopes ...string) broker.Item {
	t.Helper()
	item := broker.Item{Environment: "staging", Target: target, Description: broker.Description{TTL: ttl}}
	for _, text := range scopes {
		scope, err := broker.ParseScope(text)
		if err != nil {
			t.Fatal(err)
		}
		item.Description.Scopes = append(item.Description.Scopes, scope)
	}
	return item
}

func TestWhatReviewersTookAwayIsTold(t *testing.T) {
	was := []broker.Item{
		wireItem(t, "db", 10*time.Minute, "db:public.orders:read,write,delete", "db:public.customers:read"),
		wireItem(t, "railway", 10*time.Minute, "railway:service/*:read,write"),
	}
	for name, step := range map[string]struct {
		granted []broker.Item
		want    []api.Taken
	}{
		"nothing": {nil, nil},
		"an action and a resource": {
			[]broker.Item{wireItem(t, "db", 10*time.Minute, "db:public.orders:read"), was[1]},
			[]api.Taken{{Environment: "staging", Target: "db", Scopes: []string{"db:public.orders:write,delete", "db:public.customers:read"}}},
		},
		"a target": {
			[]broker.Item{was[0]},
			[]api.Taken{{Environment: "staging", Target: "railway", Whole: true, Scopes: []string{"railway:service/*:read,write"}}},
		},
		"a pattern": {
			[]broker.Item{was[0], wireItem(t, "railway", 10*time.Minute, "railway:service/web:read,write", "railway:service/*:read")},
			[]api.Taken{{Environment: "staging", Target: "railway", Scopes: []string{"railway:service/*:write"}}},
		},
		"time": {
			[]broker.Item{wireItem(t, "db", time.Minute, "db:public.orders:read,write,delete", "db:public.customers:read"), was[1]},
			[]api.Taken{{Environment: "staging", Target: "db", Scopes: []string{}, TTLSeconds: 600}},
		},
	} {
		if diff := cmp.Diff(step.want, taken(broker.Request{Items: was, Granted: step.granted})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestThePhraseIsThereWhileHumansDecide(t *testing.T) {
	s := &Server{origin: "https://hourkey.example"}
	request := broker.Request{ID: "01jd7", State: broker.RequestPending, Items: []broker.Item{wireItem(t, "db", time.Minute, "db:public.orders:delete")}, Repeats: 2}
	wire := s.wireRequest(request)
	if wire.Phrase != request.Phrase() || wire.Page != "https://hourkey.example/requests/01jd7" || wire.Repeats != 2 {
		t.Errorf("%+v", wire)
	}
	request.State = broker.RequestApproved
	if wire := s.wireRequest(request); wire.Phrase != "" || wire.Page != "" {
		t.Errorf("%+v", wire)
	}
}
