package broker

import (
	"context"
	"slices"
)

// Inbox is everything that waits for one human's signature.
type Inbox struct {
	Requests []Request
	Agents   []Agent  // inert, owned by this human
	Pins     []Pin    // unconfirmed or changed, for operators
	Invites  []Invite // inert, for operators
	Freezes  []Freeze // in force, for operators
}

// Inbox lists what waits for this human.
func (b *Broker) Inbox(ctx context.Context, human string) (Inbox, error) {
	cfg := b.Configuration()
	var inbox Inbox
	err := b.store.View(ctx, func(r Reader) (err error) {
		if inbox.Requests, err = undecidedBy(r, human); err != nil {
			return err
		}
		if inbox.Agents, err = list[Agent](r, "agent", ""); err != nil {
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
	inbox.Requests = slices.DeleteFunc(inbox.Requests, func(q Request) bool { return b.mayDecide(cfg, human, q) != nil })
	inbox.Agents = slices.DeleteFunc(inbox.Agents, func(a Agent) bool { return a.Owner != human || a.State != AgentInert })
	operator := cfg.HasRole(human, RoleOperator)
	inbox.Pins = slices.DeleteFunc(inbox.Pins, func(p Pin) bool {
		_, configured := cfg.Targets[TargetRef{p.Environment, p.Target}]
		return !operator || !configured || p.IsConfirmed()
	})
	inbox.Invites = slices.DeleteFunc(inbox.Invites, func(i Invite) bool {
		return !operator || i.State != InviteInert || b.now().After(i.Expires) || slices.Contains(i.Signed, human)
	})
	if operator {
		inbox.Freezes, err = b.Freezes(ctx)
	}
	return inbox, err
}

// undecidedBy lists pending requests that this human has not approved yet.
func undecidedBy(r Reader, human string) ([]Request, error) {
	pending, err := list[Request](r, "request", "pending")
	if err != nil {
		return nil, err
	}
	var left []Request
	for _, request := range pending {
		found, err := load(r, &Approval{Request: request.ID, Reviewer: human})
		if err != nil {
			return nil, err
		}
		if !found {
			left = append(left, request)
		}
	}
	return left, err
}
