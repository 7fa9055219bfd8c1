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
	Then     string   // what follows a signature
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
	d.Denies = c.Rejects && pending
	d.Sign = Sign{broker.ActApprove, r.ID, d.Digest, "Approve"}
	if !d.Approves {
		return d
	}
	d.Then = then(r, c)
	for i, name := range c.Configuration.MustType(r.Effective()) {
		d.Typed = append(d.Typed, Typed{name, fmt.Sprintf("typed-%d", i)})
	}
	if r.Operation == nil { // one call is approved whole or not at all
		d.Narrow = narrowOf(r, c.Configuration)
	}
	return d
}

// then says what this human's signature brings about.
func then(r broker.Request, c Context) string {
	left := 0
	for _, need := range r.Needs {
		view := needOf(need, r, c)
		missing := view.Humans - view.Signed
		if counts(c.Human, need.Environment, r, c.Configuration) {
			missing--
		}
		left = max(left, missing)
	}
	does := "the agent can collect it."
	if r.Operation != nil {
		does = "the agent can make this one call."
	}
	if left > 0 {
		does = moreHumans(left) + " must sign before " + does
	}
	return "You read once more what you sign, and your passkey signs it. Then " + does
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

// signedBy tells whether this human has signed, and it still counts.
func signedBy(human string, approvals []broker.Approval) bool {
	return slices.ContainsFunc(standing(approvals), func(a broker.Approval) bool { return a.Reviewer == human })
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

// notYours says why this human cannot approve it, and what is left.
func notYours(r broker.Request, c Context) string {
	deny := ""
	if c.Rejects {
		deny = " You can deny it."
	}
	switch {
	case r.State != broker.RequestPending:
		return "Nothing is left to decide here."
	case Unshown(r) != "":
		return ""
	case stale(r, c):
		return "The configuration changed since this was asked: nobody can approve it any more. It ends by itself, and the agent may ask again." + deny
	case signedBy(c.Human, c.Approvals):
		return "You signed this. It waits for others." + strings.Replace(deny, "You", "Until then you", 1)
	case c.Why == "":
		return "This waits for other people, not for you." + deny
	}
	return c.Why + deny
}

// stale tells whether a request was asked under another configuration than is in force: the broker lets nobody sign it.
func stale(r broker.Request, c Context) bool {
	return r.State == broker.RequestPending && r.Config != c.Configuration.Hash
}

// TooNew says of a passkey that it cannot sign yet.
func TooNew(from time.Time) string {
	return "your passkey is too new: it may sign from " + clock(from) + " on"
}
