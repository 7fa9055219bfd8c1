package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// How far History looks back.
const (
	historyDays = 30 * 24 * time.Hour
	historyRead = 200 // requests of the agent, and of all agents
	historyLast = 5
)

// History is what went before a request, as far as a reviewer may see it.
type History struct {
	Agent Tally // by this agent, for whatever task
	Task  Tally // for this task, by whatever agent
	Last  []Request
}

// Tally counts requests by how they ended. Granted without a human is Allowed.
type Tally struct {
	Asked, Allowed, Granted, Denied, Expired int
	Refused                                  int // asks that policy refused at once; not in Asked: they never became a request
}

// History tells what this agent, and this task, had before: the newest 200 each, of 30 days. Last are up to
// five of them that a human had to decide, denied ones first, then the newest. Refused counts by whole days (UTC),
// the request's own included, and in all environments: a probe elsewhere tells something of the agent too.
func (b *Broker) History(ctx context.Context, caller Caller, request Request) (History, error) {
	var h History
	seen := map[string]bool{request.ID: true} // request id → in Last, or this one
	err := b.store.View(ctx, func(r Reader) error {
		err := b.earlier(r, "agent/"+request.Agent, caller, request, func(was Request) {
			h.Agent.count(was)
			h.note(was, seen)
		})
		if err != nil {
			return err
		}
		err = b.earlier(r, "recent", caller, request, func(was Request) {
			if was.Task == request.Task {
				h.Task.count(was)
				h.note(was, seen)
			}
		})
		if err != nil || !b.visible(caller, request) {
			return err
		}
		return b.countRefused(r, caller, request, &h)
	})
	slices.SortStableFunc(h.Last, func(a, b Request) int {
		if (a.State == RequestDenied) != (b.State == RequestDenied) {
			return map[bool]int{true: -1, false: 1}[a.State == RequestDenied]
		}
		return b.Created.Compare(a.Created)
	})
	h.Last = h.Last[:min(len(h.Last), historyLast)]
	return h, err
}

// earlier gives requests of an index that were made before this one and that the caller may see.
func (b *Broker) earlier(r Reader, index string, caller Caller, than Request, each func(Request)) error {
	read := 0
	return r.Scan("request", index, func(raw []byte) error {
		var was Request
		if err := json.Unmarshal(raw, &was); err != nil {
			return fmt.Errorf("reading request: %w", err)
		}
		if read++; read > historyRead || than.Created.Sub(was.Created) > historyDays {
			return ErrStop
		}
		if was.ID != than.ID && !was.Created.After(than.Created) && b.visible(caller, was) {
			each(was)
		}
		return nil
	})
}

// countRefused leaves out the task for whom only the agent is theirs: it tells of others' agents.
func (b *Broker) countRefused(r Reader, caller Caller, request Request, h *History) (err error) {
	h.Agent.Refused, err = refused(r, "agent/"+request.Agent, request.Created)
	request.Owner = ""
	if err != nil || !b.visible(caller, request) {
		return err
	}
	h.Task.Refused, err = refused(r, "task/"+request.Task, request.Created)
	return err
}

func (h *History) note(was Request, seen map[string]bool) {
	if len(was.Needs) > 0 && !seen[was.ID] {
		seen[was.ID] = true
		h.Last = append(h.Last, was)
	}
}

func (t *Tally) count(was Request) {
	t.Asked++
	switch was.State {
	case RequestApproved, RequestCollected:
		if len(was.Needs) == 0 {
			t.Allowed++
		} else {
			t.Granted++
		}
	case RequestDenied:
		t.Denied++
	case RequestExpired:
		t.Expired++
	case RequestPending, RequestCancelled:
	}
}
