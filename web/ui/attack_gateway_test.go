package ui

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// The sentence names three things and counts the rest; the list below it is for all of them. There they stand by ids.
func TestEveryThingThatIsDestroyedIsCalledByItsName(t *testing.T) {
	now := time.Date(2026, 4, 24, 12, 0, 0, 0, time.UTC)
	r := broker.Request{
		ID: "r", Agent: "claude", Environments: []string{"staging"}, State: broker.RequestPending, TTL: time.Minute,
		Operation: &broker.Operation{Text: "mutation", Names: map[broker.Resource]broker.Resource{}},
	}
	item := broker.Item{Environment: "staging", Target: "railway", Description: broker.Description{Reaches: []string{"staging"}, TTL: time.Minute}}
	for i := range 5 {
		id := broker.Resource(fmt.Sprintf("volume/3d2c%d", i))
		r.Operation.Names[id] = broker.Resource(fmt.Sprintf("volume/shop-data-%d", i))
		item.Description.Scopes = append(item.Description.Scopes, broker.Scope{Target: "railway", Resource: id, Actions: broker.Delete})
	}
	r.Items = []broker.Item{item}
	view := RequestOf(r, Context{Human: "bob", Now: now, Configuration: &broker.Configuration{}})
	pages, err := New()
	if err != nil {
		t.Fatal(err)
	}
	html, err := pages.Render(PageRequest, Frame{Title: "Request", Human: "bob", View: view})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if name := fmt.Sprintf("shop-data-%d", i); !strings.Contains(string(html), name) {
			t.Errorf("the page nowhere says that %s is deleted", name)
		}
	}
}
