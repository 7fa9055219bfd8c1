package web

import (
	"context"
	"encoding/json"
	"strings"
	"sync"

	"github.com/hourkey/hourkey/broker"
)

// change is that something is not as it was: its kind, and its name. It says nothing else.
type change struct{ kind, subject string }

// news is what happened since somebody looked. missed: it was more than is remembered.
type news struct {
	changes []change
	missed  bool
}

const (
	changesKept = 2048
	eventsRead  = 20000 // in one go; who is further behind is told that it was much
)

// changes remembers the last changes, so that each event is read once, however many pages are open. The zero value is
// ready.
type changes struct {
	mu     sync.Mutex
	height uint64            // of the log, as far as it was read
	first  uint64            // from this event on, all changes are in kept
	kept   []numberedChanges // in the order of the log
}

type numberedChanges struct {
	number uint64
	change change
}

// since gives what changed by events from the number from on, and the height of the log up to which that is true.
func (c *changes) since(ctx context.Context, store broker.Store, from uint64) (news, uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.read(ctx, store); err != nil {
		return news{}, from, err
	}
	if from > c.height { // of another log, before a restore
		return news{missed: true}, c.height, nil
	}
	n := news{missed: from < c.first}
	for _, kept := range c.kept {
		if kept.number >= from {
			n.changes = append(n.changes, kept.change)
		}
	}
	return n, c.height, nil
}

// read reads what came since the last time.
func (c *changes) read(ctx context.Context, store broker.Store) error {
	return store.View(ctx, func(r broker.Reader) error {
		height, err := r.Height()
		if err != nil || height == c.height {
			return err
		}
		if height < c.height || height-c.height > eventsRead {
			c.kept, c.first, c.height = nil, height, height
			return nil
		}
		err = r.Events(c.height, func(number uint64, e broker.Event) error {
			if is, ok := changeOf(e); ok {
				c.kept = append(c.kept, numberedChanges{number, is})
			}
			c.height = number + 1
			return nil
		})
		if over := len(c.kept) - changesKept; over > 0 {
			c.first = c.kept[over].number
			c.kept = append([]numberedChanges(nil), c.kept[over:]...)
		}
		return err
	})
}

// changeOf says what an event changed on a page. A request that was only repeated stays as it is: an agent that asks
// again and again must not keep a human from deciding.
func changeOf(e broker.Event) (change, bool) {
	group, _, _ := strings.Cut(strings.TrimPrefix(string(e.Type), "hourkey."), ".")
	is := change{group, e.Subject}
	switch group {
	case "request":
		if e.Type == broker.EventRequestDenied || e.Type == broker.EventRequestRepeated { // the former was never stored
			return change{}, false
		}
	case "lease":
		var data struct {
			Request string `json:"request"`
		}
		if json.Unmarshal(e.Data, &data) != nil {
			return change{}, false
		}
		is.subject = data.Request
	case "passkey":
		is.kind = "human"
	case "configuration":
		is.subject = ""
	case "agent", "human", "freeze", "target":
	default:
		return change{}, false
	}
	return is, isPlain(is.subject)
}

// isPlain refuses what would break a line of the stream. No name that the broker takes does.
func isPlain(subject string) bool {
	return !strings.ContainsFunc(subject, func(c rune) bool { return c <= ' ' || c > '~' })
}
