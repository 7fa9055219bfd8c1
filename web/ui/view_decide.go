package ui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Decide is what this human can do about the request, and what keeps the human from more.
type Decide struct {
	Denies   bool   // this human may deny it; an owner may always stop the own agent
	Approves bool   // and approve it
	Unshown  string // why nobody can approve it from a page
	NotYours string // why this human cannot approve it
	Deadline string
	Left     Moment
	Digest   string
	Sign     Sign
	Phrase   string   // to be compared once more at the last look
	Worst    []Action // what the button names
	Typed    []Typed
	Narrow   Narrow
}

// Typed is a protected environment whose name is typed before something can be deleted there.
type Typed struct{ Name, Field string }

// Narrow is what a reviewer may leave out.
type Narrow struct {
	Items   []NarrowItem // empty when there is nothing to leave out
	Several bool         // each item can be left out as a whole
	TTLs    []TTL        // shorter lives; empty when there are none
}

// NarrowItem is one item, and what of it may be left out.
type NarrowItem struct {
	ID, Target, Environment string
	Protected               bool
	All                     []Action // one box for all resources; empty when there are few
	Scopes                  []NarrowScope
}

// NarrowScope is one resource, and the actions that may be left out. Exact is target:resource, as scopes
// are written. Places are the environments that it reaches, for a box that lets delete.
type NarrowScope struct {
	Exact, Resource, Places string
	Actions                 []Action
}

// TTL is one shorter life.
type TTL struct {
	Seconds int64
	Text    string
}

func decideOf(r broker.Request, c Context) Decide {
	pending := r.State == broker.RequestPending
	d := Decide{
		Unshown: Unshown(r), NotYours: notYours(r, c), Deadline: "It waits until " + clock(r.Deadline) + ":", Left: countdown(r.Deadline, c.Now),
		Digest: r.Digest(), Phrase: r.Phrase(), Worst: actionsOf(Worst(r.Actions())),
	}
	d.Approves = c.Decides && pending && d.Unshown == ""
	if c.Decides && d.Unshown != "" {
		d.NotYours = "What cannot be shown whole cannot be approved."
	}
	d.Denies = pending && (c.Decides || r.Owner == c.Human || signedBy(c.Human, c.Approvals))
	d.Sign = Sign{broker.ActApprove, r.ID, d.Digest, "Approve"}
	if !d.Approves {
		return d
	}
	for i, name := range c.Configuration.MustType(r.Effective()) {
		d.Typed = append(d.Typed, Typed{name, fmt.Sprintf("typed-%d", i)})
	}
	if r.Operation == nil { // one call is approved whole or not at all
		d.Narrow = narrowOf(r, c.Configuration)
	}
	return d
}

// Worst is what a button must name: what destroys or gives power, else write, else read.
func Worst(actions broker.Actions) broker.Actions {
	if grave := actions & (broker.Delete | broker.Admin); grave != 0 {
		return grave
	}
	if actions.Has(broker.Write) {
		return broker.Write
	}
	return actions
}

func signedBy(human string, approvals []broker.Approval) bool {
	return slices.ContainsFunc(approvals, func(a broker.Approval) bool { return a.Reviewer == human })
}

// narrowOf offers what can be left out. A single action on a single resource is approved or denied.
func narrowOf(r broker.Request, configuration *broker.Configuration) Narrow {
	const many = 4 // resources, from which on one box for all of them is a help
	items := r.Effective()
	n := Narrow{Several: len(items) > 1, TTLs: ttls(r.EffectiveTTL())}
	choices := 0
	for i, item := range items {
		scopes := item.Description.Scopes
		view := NarrowItem{ID: fmt.Sprintf("item-%d", i), Target: item.Target, Environment: item.Environment, Protected: protected(item.Environment, configuration)}
		if all := broker.AllActions(scopes); len(scopes) >= many && len(all.Each()) > 1 {
			view.All = actionsOf(all)
		}
		for _, scope := range scopes {
			choices += len(scope.Actions.Each())
			view.Scopes = append(view.Scopes, NarrowScope{
				Exact: scope.Target + ":" + string(scope.Resource), Resource: r.Called(scope.Resource),
				Places: strings.Join(places(item), " "), Actions: actionsOf(scope.Actions),
			})
		}
		n.Items = append(n.Items, view)
	}
	if choices == 1 {
		n.Items = nil
	}
	return n
}

// ttls gives the lives that a reviewer may choose, all shorter than what is asked, the longest first.
func ttls(asked time.Duration) []TTL {
	var shorter []TTL
	for _, minutes := range []time.Duration{30, 15, 10, 5, 2, 1} {
		if ttl := minutes * time.Minute; ttl < asked {
			shorter = append(shorter, TTL{int64(ttl / time.Second), span(ttl)})
		}
	}
	return shorter
}

func notYours(r broker.Request, c Context) string {
	switch {
	case r.State != broker.RequestPending:
		return "Nothing is left to decide here."
	case signedBy(c.Human, c.Approvals):
		return "You signed this. It waits for others. Until then you can still deny it."
	case r.Owner == c.Human:
		return "You are the agent's owner: others approve this, but you can deny it."
	}
	return "This waits for other people, not for you."
}
