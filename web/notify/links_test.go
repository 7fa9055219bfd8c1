package notify

import (
	"crypto/ed25519"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
	"github.com/hourkey/hourkey/web"
	"github.com/hourkey/hourkey/web/authn"
)

// opens fails the test unless the broker's pages answer this human at that path: the attack is a notice that nobody
// can follow, so that nobody looks.
func (w *world) opens(t *testing.T, human, path string) {
	t.Helper()
	if status := w.open(t, human, path); status != http.StatusOK {
		t.Errorf("%s is told of %s, and gets %d there", human, path, status)
	}
}

// open gives the status. The human has a passkey to be signed in by, for as long as it takes.
func (w *world) open(t *testing.T, human, path string) int {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	server, err := web.New(web.Config{Broker: w.Broker, Store: w.Store, Origin: brokertest.Origin, AccessKey: key, Now: w.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	visitor := &broker.Passkey{ID: human + "-visits", Human: human}
	w.update(func(tx broker.Tx) error { return tx.Save(visitor) })
	defer w.update(func(tx broker.Tx) error { return tx.Delete(visitor) })
	sessions := authn.NewSessions(authn.SessionsConfig{Store: w.Store, Now: w.Clock.Now, Secure: true})
	cookie, err := sessions.Start(w.Context(), human, visitor.ID)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(w.Context(), http.MethodGet, brokertest.Origin+path, http.NoBody)
	r.AddCookie(cookie)
	answer := httptest.NewRecorder()
	server.ServeHTTP(answer, r)
	return answer.Code
}

// TestEveryLinkOpensForWhoeverIsTold: the owner of an agent, who has no role, follows the notice of its freeze, and
// somebody who is invited that of the invite; whom neither concerns learns nothing there.
func TestEveryLinkOpensForWhoeverIsTold(t *testing.T) {
	w := newWorld(t)
	socket := broker.Caller{Kind: broker.CallerSocket}
	w.update(func(tx broker.Tx) error {
		return tx.Save(&broker.Agent{Name: "gus-bot", Owner: "gus", State: broker.AgentActive, Thumbprint: "gus-thumb"})
	})
	if _, err := w.Freeze(t.Context(), socket, broker.Freeze{Of: broker.FreezeAgent, Name: "gus-bot"}); err != nil {
		t.Fatal(err)
	}
	const frozen = "The broker's shell froze agent gus-bot: nothing is issued, and what was out is ended."
	w.wantLine(t, frozen, "/freezes/agent:gus-bot", "alice", "bob", "carol", "gus")

	if _, _, err := w.InviteHuman(t.Context(), broker.Caller{Kind: broker.CallerHuman, Name: "bob"}, "dave"); err != nil {
		t.Fatal(err)
	}
	w.SignAs("carol", broker.ActAdmitHuman, "dave")
	const admitted = "carol signed that dave may come in."
	w.wantLine(t, admitted, "/humans/dave", "alice", "bob", "carol", "dave")

	for _, path := range []string{"/freezes/agent:gus-bot", "/humans/dave", "/humans/nobody", "/freezes/task:none"} {
		if status := w.open(t, "mallory", path); status != http.StatusNotFound {
			t.Errorf("mallory gets %d at %s", status, path)
		}
	}
}

// A first passkey waits for operators, on the page of its human; a further one for its human, who signs it on "You".
func TestAnOfferedPasskeyLeadsToWhereItIsSigned(t *testing.T) {
	w := newWorld(t)
	w.update(func(tx broker.Tx) error {
		return tx.Save(&broker.Invite{
			Human: "dora", State: broker.InviteInert, Needs: 1, Account: "dora@example.com", Passkey: &broker.Passkey{ID: "first", Human: "dora"},
			By: "human:dora", Created: w.Clock.Now(), Expires: w.Clock.Now().Add(broker.CodeFor),
		})
	})
	const line = "A new passkey is offered for dora. It signs nothing until it is signed itself."
	w.tells(broker.EventPasskeyOffered, "human:dora", "dora", map[string]any{"passkey": "first"})
	w.wantLine(t, line, "/humans/dora", "alice", "bob", "carol", "dora")
	w.tells(broker.EventPasskeyOffered, "human:dora", "dora", map[string]any{"passkey": "second"})
	w.wantLine(t, line, "/me", "alice", "bob", "carol", "dora")
}

// The attack: an hour of waiting for a request that a reload has ended, which a channel calls undecided.
func TestWhatAReloadEndedIsNotToldAsUndecided(t *testing.T) {
	w := newWorld(t)
	waits := w.MustAsk("staging", "db:public.orders:delete")
	const wish = "claude asked to delete public·orders of db in staging, for 30 minutes, for task fix, on behalf of alice."
	reload := func(hash string) {
		next := *w.Broker.Configuration()
		next.Hash = hash
		if err := w.Reload(t.Context(), broker.Caller{Kind: broker.CallerSocket}, &next, nil); err != nil {
			t.Fatal(err)
		}
		w.Sweep(t.Context())
	}
	reload("another")
	w.wantLine(t, "Ended by the broker: "+wish+" In the words of the broker: “the configuration changed: ask again” Without: bob and carol.", "/requests/"+waits.ID, "alice", "bob", "carol")

	passed := w.MustAsk("staging", "db:public.orders:delete")
	w.SignAs("bob", broker.ActApprove, passed.ID)
	reload("a third")
	w.wantLine(t, "Ended by the broker, though approved by bob: "+wish+" In the words of the broker: “the configuration changed: ask again”", "/requests/"+passed.ID, "alice")
}
