package proxy

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

// known lets the World's agent have a real key: "thumb" is what it is enrolled with.
type known struct {
	*broker.Broker
	thumbprint string
}

func (k known) Present(ctx context.Context, token broker.Secret, key string) (*broker.Presented, error) {
	if key == k.thumbprint {
		key = "thumb"
	}
	return k.Broker.Present(ctx, token, key)
}

// realRig is a rig with a real broker, and a lease that may read and write what is in staging.
func realRig(t *testing.T) (*rig, *brokertest.World, broker.Credential) {
	t.Helper()
	b := newBackend(t)
	w := brokertest.NewWorld(t, func(c *broker.Config) {
		for ref, target := range c.Configuration.Targets {
			inner := target.Issuer.(*brokertest.Issuer)
			inner.Can = broker.Capabilities{Kind: "small", Local: true, Gateway: true, EndsEarly: true, Ends: "at once"}
			target.Issuer = &issuer{Issuer: inner, Declarer: inner, pack: newPack(t), provider: &provider{base: b.URL, token: realToken, identity: "memory:"}}
			c.Configuration.Targets[ref] = target
		}
	})
	w.Policy.Gives = []broker.Scope{w.Scope("db:thing/*:read,write")}
	w.Policy.Offers = []broker.Scope{w.Scope("db:thing/*:delete")}
	w.Staging.Tables = []string{"thing/7", "thing/8", "thing/prod-1"}
	credential := w.MustCollect(w.MustAsk("staging"))[0]
	k := newKey(t)
	r := newRig(t, func(c *Config) {
		c.Broker, c.Now = known{w.Broker, k.thumbprint}, w.Clock.Now
	})
	r.key, r.backend, r.now = k, b, w.Clock.Now
	r.broker.token = credential.Gateway.Token.Reveal()
	return r, w, credential
}

func TestCallsOfARealLease(t *testing.T) {
	r, w, credential := realRig(t)
	client := r.client()
	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", "/things/7", "", 200, "/things/7"},
		{"PUT", "/things/7", `{"a":1}`, 200, "/things/7"},
		{"GET", "/keys/7", "", 403, "does not give"},
		{"GET", "/things/prod-1", "", 403, "production"},
		{"DELETE", "/things/prod-1", "", 403, "production"},
	} {
		status, text := r.do(client, c.method, c.path, c.body)
		if status != c.status || !strings.Contains(text, c.says) {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, text)
		}
	}
	if seen := len(r.backend.seen()); seen != 2 {
		t.Errorf("the provider saw %d calls, want 2", seen)
	}
	if err := w.Release(t.Context(), w.Agent, credential.Lease); err != nil {
		t.Fatal(err)
	}
	r.refusedTunnel("after release", r.ask(mainHost, true), 401, "has ended")
}

// A delete that the task offers with approval is asked for by making the call, and passes once.
func TestApproveOnUse(t *testing.T) {
	r, w, _ := realRig(t)
	client := r.client()
	status, text := r.do(client, "DELETE", "/things/7", "")
	var told struct{ Message, Code, URL, Request string }
	if err := json.Unmarshal([]byte(text), &told); err != nil || status != 403 || told.Code != string(broker.CodePending) {
		t.Fatalf("%d %s", status, text)
	}
	if told.Request == "" || !strings.Contains(told.Message, told.URL) || !strings.Contains(told.Message, told.Request) || strings.Contains(told.Message, "\n") {
		t.Errorf("not one line with link and id: %s", told.Message)
	}
	w.SignAs("bob", broker.ActApprove, told.Request)
	for _, c := range []struct {
		path string
		want int
	}{{"/things/8", 403}, {"/things/7", 200}, {"/things/7", 403}} {
		if status, text := r.do(client, "DELETE", c.path, ""); status != c.want {
			t.Errorf("%s: %d %s, want %d", c.path, status, text, c.want)
		}
	}
	if seen := len(r.backend.seen()); seen != 1 {
		t.Errorf("the provider saw %d calls, want 1", seen)
	}
}

func TestFreezeOfARealBrokerDuringAnUpload(t *testing.T) {
	r, w, _ := realRig(t)
	client := r.client()
	began, frozen, aborted := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	r.backend.answers(func(_ http.ResponseWriter, q *http.Request) {
		_, _ = io.ReadFull(q.Body, make([]byte, 1<<20))
		close(began)
		<-frozen
		_, err := io.Copy(io.Discard, q.Body)
		aborted <- err
	})
	done := r.send(client, "POST", "/things/7/upload", strings.Repeat("x", 30<<20))
	until(t, "the upload", began)
	if _, err := w.Freeze(t.Context(), broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeAgent, Name: "claude"}); err != nil {
		t.Fatal(err)
	}
	close(frozen)
	if err := until(t, "the provider to see the end", aborted); err == nil {
		t.Error("the provider got the whole upload")
	}
	if got := until(t, "the caller", done); !cutOff(got) {
		t.Error(got)
	}
	r.refusedTunnel("after the freeze", r.ask(mainHost, true), 401, "has ended")
}

// The clock of the World stands still, so the end by time comes with the broker's own timer.
func TestALeaseThatRunsOut(t *testing.T) {
	r, w, _ := realRig(t)
	if status, _ := r.do(r.client(), "GET", "/things/7", ""); status != 200 {
		t.Fatal(status)
	}
	open := r.client()
	if status, _ := r.do(open, "GET", "/things/7", ""); status != 200 {
		t.Fatal(status)
	}
	w.Clock.Advance(31 * time.Minute)
	if status, text := r.do(open, "GET", "/things/7", ""); status != 403 || !strings.Contains(text, "has ended") {
		t.Errorf("in an open tunnel: %d %s", status, text)
	}
	r.refusedTunnel("a new tunnel", r.ask(mainHost, true), 401, "has ended")
	if seen := len(r.backend.seen()); seen != 2 {
		t.Errorf("the provider saw %d calls, want 2", seen)
	}
}
