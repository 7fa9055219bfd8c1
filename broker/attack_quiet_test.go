package broker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

// counting counts the records that a scan reads.
type counting struct {
	broker.Store
	read int
}

func (c *counting) View(ctx context.Context, read func(broker.Reader) error) error {
	return c.Store.View(ctx, func(r broker.Reader) error { return read(countingReader{r, c}) })
}

type countingReader struct {
	broker.Reader
	store *counting
}

func (r countingReader) Scan(kind, index string, each func([]byte) error) error {
	return r.Reader.Scan(kind, index, func(raw []byte) error {
		r.store.read++
		return each(raw)
	})
}

// asked puts so many requests that have ended into the store, one a second, the last a second ago.
func asked(w *brokertest.World, n int, like broker.Request) {
	w.Helper()
	err := w.Store.Update(w.Context(), func(tx broker.Tx) error {
		for i := range n {
			like.ID, like.Created = fmt.Sprintf("%s-%05d", like.Owner, i), w.Clock.Now().Add(time.Duration(i-n)*time.Second)
			if err := tx.Save(&like); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
}

// The attack: a member who may see next to nothing loads the inbox again and again, and each time the broker reads all
// that was ever asked.
func TestInboxOfAQuietEnvironmentBesideTenThousand(t *testing.T) {
	var store *counting
	w := brokertest.NewWorld(t, func(c *broker.Config) {
		store = &counting{Store: c.Store}
		c.Store = store
	})
	quiet := broker.Request{Agent: "dev", AgentKey: "dev-thumb", Owner: "dora", Task: "look", Environments: []string{"lab"}, State: broker.RequestCollected}
	asked(w, 1, quiet)
	w.Clock.Advance(3 * time.Hour)
	asked(w, 10_000, broker.Request{Agent: "claude", AgentKey: "thumb", Owner: "alice", Task: "fix", Environments: []string{"production"}, State: broker.RequestCollected})
	dora := broker.Caller{Kind: broker.CallerHuman, Name: "dora"}

	store.read = 0
	if _, err := w.Inbox(t.Context(), "dora"); err != nil || store.read > 100 {
		t.Errorf("what waits: %d records were read, %v", store.read, err)
	}
	store.read = 0
	list, cut, err := w.Recent(t.Context(), dora, 20)
	if err != nil || len(list) != 0 || !cut || store.read > 2001 {
		t.Errorf("%d are listed, cut is %v, %d records were read, %v", len(list), cut, store.read, err)
	}
	store.read = 0
	if list, err := w.Requests(t.Context(), broker.Caller{Kind: broker.CallerAgent, Name: "claude", Key: "another"}, 20); err != nil || len(list) != 0 || store.read > 2001 {
		t.Errorf("an agent with another key: %d are listed, %d records were read, %v", len(list), store.read, err)
	}
	w.Clock.Advance(time.Second)
	quiet.Owner = "dora" // a newer one
	asked(w, 1, quiet)
	if list, cut, err = w.Recent(t.Context(), dora, 20); err != nil || len(list) != 1 || !cut || list[0].Owner != "dora" || list[0].Task != "look" {
		t.Errorf("of hers: %v, cut is %v, %v", list, cut, err)
	}
	for who, caller := range map[string]broker.Caller{"the socket": {Kind: broker.CallerSocket}, "its owner": {Kind: broker.CallerHuman, Name: "alice"}} {
		store.read = 0
		if list, cut, err := w.Recent(t.Context(), caller, 20); err != nil || len(list) != 20 || cut || store.read > 30 {
			t.Errorf("%s: %d are listed, cut is %v, %d records were read, %v", who, len(list), cut, store.read, err)
		}
	}
}

// Nothing is said to be missing where all was looked at.
func TestInboxOfAShortHistoryIsWhole(t *testing.T) {
	w := brokertest.NewWorld(t)
	asked(w, 2000, broker.Request{Agent: "claude", AgentKey: "thumb", Owner: "alice", Task: "fix", Environments: []string{"lab"}, State: broker.RequestCollected})
	if list, cut, err := w.Recent(t.Context(), broker.Caller{Kind: broker.CallerHuman, Name: "dora"}, 20); err != nil || len(list) != 0 || cut {
		t.Errorf("%d are listed, cut is %v, %v", len(list), cut, err)
	}
}
