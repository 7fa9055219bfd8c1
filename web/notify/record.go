package notify

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/hourkey/hourkey/broker"
)

// cursor is how far a channel has come in the log. It is kept in the store, so that a restart tells what was
// not told yet.
type cursor struct {
	Channel string `json:"channel"`
	Next    uint64 `json:"next"` // number of the first event that is not told yet
}

// Meta places cursors by channel.
func (c *cursor) Meta() broker.Meta {
	return broker.Meta{Kind: "notice-cursor", Key: c.Channel, Format: 1}
}

// Record is the data of hourkey.notice.delivered and hourkey.notice.failed. The event's subject is that of
// the event that was told.
type Record struct {
	Channel string           `json:"channel"`
	Kind    Kind             `json:"kind"`
	Number  uint64           `json:"number"` // of the event that was told
	Event   broker.EventType `json:"event"`
	Tries   int              `json:"tries"`
	Told    []string         `json:"told,omitempty"`   // humans, by mail
	Missed  []string         `json:"missed,omitempty"` // humans whom no mail reached
	Error   string           `json:"error,omitempty"`  // in our own words, without address and secret
}

// begin gives where a channel goes on. One that is new begins at the present end of the log: what was before
// is told to nobody. The log of a store that was put back may be shorter than the cursor says.
func (w *worker) begin(ctx context.Context) error {
	w.began = w.now()
	return w.store.Update(ctx, func(tx broker.Tx) error {
		at := cursor{Channel: w.channel.Name}
		height, err := tx.Height()
		if err != nil {
			return err
		}
		switch err := tx.Load(&at); {
		case broker.CodeOf(err) == broker.CodeNotFound:
			at.Next = height
		case err != nil:
			return err
		}
		at.Next = min(at.Next, height)
		w.next = at.Next
		w.kept = at.Next
		return tx.Save(&at)
	})
}

// forgetOthers removes the cursors of channels that are gone: one that comes back under its old name begins
// anew, and does not tell what happened in between.
func forgetOthers(ctx context.Context, store broker.Store, channels []Channel) error {
	known := map[string]bool{} // channel → configured
	for _, channel := range channels {
		known[channel.Name] = true
	}
	return store.Update(ctx, func(tx broker.Tx) error {
		var gone []cursor
		err := tx.Scan("notice-cursor", "", func(raw []byte) error {
			var at cursor
			if err := json.Unmarshal(raw, &at); err != nil {
				return fmt.Errorf("reading a cursor: %w", err)
			}
			if !known[at.Channel] {
				gone = append(gone, at)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for i := range gone {
			if err := tx.Delete(&gone[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// keep writes that the channel has come to next, and what was told on the way, in one transaction.
func (w *worker) keep(ctx context.Context, next uint64, events ...broker.Event) error {
	err := w.store.Update(ctx, func(tx broker.Tx) error {
		for _, event := range events {
			if err := tx.Append(event); err != nil {
				return err
			}
		}
		return tx.Save(&cursor{Channel: w.channel.Name, Next: next})
	})
	if err == nil {
		w.next, w.kept = next, next
	}
	return err
}

// events says what became of a notice: who was told, and whom nobody could tell.
func (w *worker) events(d *delivery, why string) ([]broker.Event, error) {
	record := Record{Channel: w.channel.Name, Kind: w.channel.Kind, Number: d.number, Event: d.event.Type, Tries: d.tries}
	var events []broker.Event
	add := func(kind broker.EventType, record Record) error {
		raw, err := json.Marshal(record)
		events = append(events, broker.Event{Type: kind, Time: w.now(), Actor: "broker", Subject: d.event.Subject, Data: raw})
		return err
	}
	if why == "" || len(d.told) > 0 {
		told := record
		told.Told = d.told
		if err := add(broker.EventNoticeDelivered, told); err != nil {
			return nil, err
		}
	}
	if missed := d.missed(); why != "" || len(missed) > 0 {
		record.Missed, record.Error = missed, why
		if why == "" {
			record.Error = d.problem // of those whom the mail server refused
		}
		return events, add(broker.EventNoticeFailed, record)
	}
	return events, nil
}
