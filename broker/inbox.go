package broker

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
)

const (
	inboxShows = 50  // requests
	inboxReads = 500 // of each environment, past those that others own or this human signed already
)

// Inbox is everything that waits for one human's signature.
type Inbox struct {
	Requests []Request // at most 50: the worst loss first, then what ends soonest
	Waiting  int       // pending requests of this human's environments, those above included
	Cut      bool      // more than 500 of an environment are this human's own, or signed: those behind them are only counted
	Away     bool      // groups of this human wait for a fresh single sign-on: what waits for those is not in here
	Agents   []Agent   // inert, owned by this human
	Passkeys []WaitingPasskey
	Pins     []Pin    // unconfirmed or changed, for operators
	Invites  []Invite // inert, for operators
	Freezes  []Freeze // in force, for operators
}

// Inbox lists what waits for this human. It reads the requests that it gives and counts the others.
func (b *Broker) Inbox(ctx context.Context, human string) (Inbox, error) {
	cfg := b.Configuration()
	inbox := Inbox{Away: cfg.isAway(human)}
	err := b.store.View(ctx, func(r Reader) (err error) {
		if err := b.waiting(r, cfg, human, &inbox); err != nil {
			return err
		}
		if inbox.Agents, err = list[Agent](r, "agent", ""); err != nil {
			return err
		}
		if inbox.Passkeys, err = list[WaitingPasskey](r, "waiting-passkey", "human/"+human); err != nil {
			return err
		}
		if inbox.Pins, err = list[Pin](r, "pin", ""); err != nil {
			return err
		}
		inbox.Invites, err = list[Invite](r, "invite", "")
		return err
	})
	if err != nil {
		return Inbox{}, err
	}
	inbox.Agents = slices.DeleteFunc(inbox.Agents, func(a Agent) bool { return a.Owner != human || a.State != AgentInert })
	inbox.Passkeys = slices.DeleteFunc(inbox.Passkeys, func(w WaitingPasskey) bool { return b.now().After(w.Expires) })
	operator := cfg.HasRole(human, RoleOperator)
	inbox.Pins = slices.DeleteFunc(inbox.Pins, func(p Pin) bool {
		_, configured := cfg.Targets[TargetRef{p.Environment, p.Target}]
		return !operator || !configured || p.IsConfirmed()
	})
	inbox.Invites = slices.DeleteFunc(inbox.Invites, func(i Invite) bool {
		return !operator || i.State != InviteInert || b.now().After(i.Expires) || slices.Contains(i.Signed, human) || i.Human == human
	})
	if operator {
		inbox.Freezes, err = b.Freezes(ctx)
	}
	return inbox, err
}

// waiting puts the requests that this human would decide first into the inbox, and counts those of the environments
// that the human reviews.
func (b *Broker) waiting(r Reader, cfg *Configuration, human string, inbox *Inbox) error {
	var first []Request
	ids := map[string]bool{} // seen, for a request of two environments
	for _, environment := range cfg.reviewedBy(human) {
		read, kept := 0, 0
		err := r.Scan("request", "waiting/"+environment, func(raw []byte) error {
			id, err := idOf(raw)
			if err != nil || ids[id] {
				return err
			}
			ids[id] = true
			inbox.Waiting++
			switch {
			case kept == inboxShows:
				return nil
			case read == inboxReads:
				inbox.Cut = true
				return nil
			}
			read++
			var request Request
			if err := json.Unmarshal(raw, &request); err != nil {
				return fmt.Errorf("reading request: %w", err)
			}
			decides, err := b.waitsForHuman(r, cfg, human, request)
			if err != nil {
				return err
			}
			if !decides {
				inbox.Waiting--
				return nil
			}
			kept++
			first = append(first, request)
			return nil
		})
		if err != nil {
			return err
		}
	}
	slices.SortFunc(first, func(a, b Request) int { return cmp.Or(cmp.Compare(a.urgency(), b.urgency()), cmp.Compare(a.ID, b.ID)) })
	inbox.Requests = first[:min(len(first), inboxShows)]
	return b.recountAll(r, inbox.Requests)
}

// idOf gives the id of a request's record, which stands first in it: to count ten thousand, none is read whole.
func idOf(raw []byte) (string, error) {
	if rest, first := bytes.CutPrefix(raw, []byte(`{"id":"`)); first {
		if id, _, found := bytes.Cut(rest, []byte(`"`)); found {
			return string(id), nil
		}
	}
	var request struct {
		ID string `json:"id"`
	}
	err := json.Unmarshal(raw, &request)
	return request.ID, err
}

// waitsForHuman tells whether this human could decide a request and has not yet.
func (b *Broker) waitsForHuman(r Reader, cfg *Configuration, human string, request Request) (bool, error) {
	if b.mayDecide(cfg, human, request) != nil {
		return false, nil
	}
	signed, err := b.approvedBy(r, request, human)
	return !signed, err
}

// reviewedBy lists, sorted, the environments that this human reviews.
func (c *Configuration) reviewedBy(human string) []string {
	var names []string
	for name := range c.Environments {
		if c.MayReview(human, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
