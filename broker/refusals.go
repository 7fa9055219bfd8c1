package broker

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// refusals counts what policy refused an agent at once on one day, for History: the log has each of them. What an
// agent can make the store keep is bounded: a task that it may not ask for is not named, whatever it was called.
type refusals struct {
	Agent string    `json:"agent"`
	Task  string    `json:"task,omitempty"` // one that lists this agent; empty for all others together
	Day   time.Time `json:"day"`            // its first moment, UTC
	Count int       `json:"count"`
}

// Meta places them by agent, task and day; newest first by agent and by task; and by when they can be forgotten.
func (f *refusals) Meta() Meta {
	m := Meta{
		Kind: "refusals", Key: f.Agent + "\x00" + f.Task + "\x00" + f.Day.Format(time.DateOnly), Format: 1,
		Index: []Entry{{"agent/" + f.Agent, newestFirst(f.Day)}, {"expires", order(f.expires())}},
	}
	if f.Task != "" {
		m.Index = append(m.Index, Entry{"task/" + f.Task, newestFirst(f.Day)})
	}
	return m
}

func (f *refusals) expires() time.Time { return f.Day.Add(24*time.Hour + historyDays) }

// countRefusal gives what counts one more refusal of an ask: what can be prepared is prepared outside the transaction.
func (b *Broker) countRefusal(ask Ask) func(Tx) error {
	day := refusals{Agent: ask.Agent, Day: b.now().Truncate(24 * time.Hour)}
	if slices.ContainsFunc(b.Tasks(ask.Agent), func(t Task) bool { return t.Name == ask.Task }) {
		day.Task = ask.Task
	}
	return func(tx Tx) error {
		if _, err := load(tx, &day); err != nil {
			return err
		}
		day.Count++
		return tx.Save(&day)
	}
}

// refused adds up, from an index, what was refused within the days before at, and on its own day.
func refused(r Reader, index string, at time.Time) (n int, err error) {
	read := 0
	err = r.Scan("refusals", index, func(raw []byte) error {
		var day refusals
		if err := json.Unmarshal(raw, &day); err != nil {
			return fmt.Errorf("reading refusals: %w", err)
		}
		if read++; read > historyRead || at.Sub(day.Day) > historyDays {
			return ErrStop
		}
		if !day.Day.After(at) {
			n += day.Count
		}
		return nil
	})
	return n, err
}
