package broker_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

// The attack: two operators say that bob lost his keys, and make one of their own in his name. The log must not say
// that bob did it.
func TestReplacedPasskeysAreNotTheDeedOfWhomTheyBelongTo(t *testing.T) {
	w := brokertest.NewWorld(t)
	_, code, err := w.InviteHuman(t.Context(), broker.Caller{Kind: broker.CallerHuman, Name: "alice"}, "bob")
	if err != nil {
		t.Fatal(err)
	}
	w.SignAs("alice", broker.ActAdmitHuman, "bob")
	w.SignAs("carol", broker.ActAdmitHuman, "bob")
	if err := w.AddPasskey(t.Context(), "bob", code, broker.Passkey{ID: "new-key"}); err != nil {
		t.Fatal(err)
	}
	told := map[broker.EventType]int{}
	for _, e := range w.Store.Log() {
		if e.Subject != "bob" || e.Type != broker.EventPasskeyRemoved && e.Type != broker.EventPasskeyAdded {
			continue
		}
		var data struct {
			Invited string   `json:"invited_by"`
			Signed  []string `json:"signed"`
		}
		if err := json.Unmarshal(e.Data, &data); err != nil {
			t.Fatal(err)
		}
		if told[e.Type]++; e.Actor != "human:carol" || data.Invited != "human:alice" || !slices.Equal(data.Signed, []string{"alice", "carol"}) {
			t.Errorf("%s by %s, %+v", e.Type, e.Actor, data)
		}
	}
	if told[broker.EventPasskeyRemoved] != 1 || told[broker.EventPasskeyAdded] != 1 {
		t.Errorf("%v", told)
	}
}
