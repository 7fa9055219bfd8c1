package broker_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

// The attack: whoever has stolen a session has statements made without end, each as large as its request.
func TestStatementsWithoutEndDoNotFillTheStore(t *testing.T) {
	w := brokertest.NewWorld(t)
	request := w.MustAsk("staging", "db:public.orders:delete")
	intent := broker.Intent{Act: broker.ActApprove, Subject: request.ID, Digest: request.Digest()}
	prepare := func(human string) {
		w.Clock.Advance(time.Second)
		if _, err := w.Prepare(t.Context(), human, intent); err != nil {
			t.Fatal(err)
		}
	}
	prepare("carol")
	for range 100 {
		prepare("bob")
	}
	waiting := map[string]int{}
	err := w.Store.View(t.Context(), func(r broker.Reader) error {
		return r.Scan("ceremony", "", func(raw []byte) error {
			var c broker.Ceremony
			err := json.Unmarshal(raw, &c)
			waiting[c.Statement.Reviewer]++
			return err
		})
	})
	if diff := cmp.Diff(map[string]int{"bob": broker.StatementsOfOne, "carol": 1}, waiting); err != nil || diff != "" {
		t.Error(err, diff)
	}
}
