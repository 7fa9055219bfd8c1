package aws

import (
	"context"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Describe looks up what a write could lose, and says what would be issued. CodeWall where the provider does not hold
// its walls, CodeInvalid or CodeDenied where what is asked cannot be given.
func (i *Issuer) Describe(ctx context.Context, wish broker.Wish) (broker.Description, error) {
	ttl, err := i.lifetime(wish.TTL)
	if err != nil {
		return broker.Description{}, err
	}
	grants, err := i.resolve(wish.Scopes)
	if err != nil {
		return broker.Description{}, err
	}
	seen, err := i.look(ctx)
	if err != nil {
		return broker.Description{}, err
	}
	losses, err := i.losses(ctx, seen, grants)
	if err != nil {
		i.forget()
		return broker.Description{}, i.fault("asking what a write could lose", err)
	}
	grants = widen(grants, losses)
	p := i.sessionPolicy(grants)
	if _, err := i.text(p); err != nil {
		return broker.Description{}, err
	}
	return broker.Description{
		Identity: seen.identity.ID, Scopes: i.scopes(grants), Reaches: []string{i.config.Ref.Environment},
		Native: i.native(p), Walls: i.walls(grants, losses), Exceptions: i.exceptions(grants),
		TTL: ttl, Ends: i.ends(), Facts: i.facts(losses),
	}, nil
}

// lifetime is the TTL of a wish: none asked for is the hour.
func (i *Issuer) lifetime(asked time.Duration) (time.Duration, error) {
	switch {
	case asked == 0:
		return broker.Hour, nil
	case asked < ttlFloor:
		return 0, broker.Errorf(broker.CodeInvalid, "a lease at %s lives at least %s, not %s", i.config.Ref, ttlFloor, asked).WithField("ttl")
	case asked > broker.Hour:
		return 0, broker.Errorf(broker.CodeInvalid, "no key outlives the hour: %s is longer", asked).WithField("ttl")
	}
	return asked, nil
}

// loss is what was looked up about one place that would be written to.
type loss struct {
	place    string // "s3/acme-staging", "dynamodb/orders"
	destroys bool   // a write there can destroy
	how      string
}

// losses asks once for each bucket and table that is written to.
func (i *Issuer) losses(ctx context.Context, seen *looked, grants []grant) ([]loss, error) {
	var list []loss
	known := map[string]bool{}
	for _, g := range grants {
		if !g.actions.Has(broker.Write) || known[g.place()] {
			continue
		}
		known[g.place()] = true
		switch g.service.name {
		case s3Name:
			kept, err := i.versioned(ctx, seen, g.bucket)
			if err != nil {
				return nil, err
			}
			how := "the bucket is versioned: what is overwritten is kept as an older version"
			if !kept {
				how = "the bucket is not versioned: what is overwritten is gone, so writing counts as deleting"
			}
			list = append(list, loss{g.place(), !kept, how})
		case "dynamodb":
			expires, err := i.expires(ctx, seen, g.name)
			if err != nil {
				return nil, err
			}
			how := "the table has no time to live: no item can be written so that it expires"
			if expires {
				how = "the table has a time to live: an item can be written so that it expires, so writing counts as deleting"
			}
			list = append(list, loss{g.place(), expires, how})
		}
	}
	return list, nil
}

// place is what is looked up for a grant: a bucket, a table.
func (g grant) place() string {
	if g.service.name == s3Name {
		return "s3/" + g.bucket
	}
	return string(g.resource)
}

// widen makes a write that can destroy a delete.
func widen(grants []grant, losses []loss) []grant {
	wide := make([]grant, len(grants))
	for at, g := range grants {
		wide[at] = g
		for _, l := range losses {
			if l.destroys && l.place == g.place() && g.actions.Has(broker.Write) {
				wide[at].actions |= broker.Delete
			}
		}
	}
	return wide
}

func (i *Issuer) scopes(grants []grant) []broker.Scope {
	scopes := make([]broker.Scope, len(grants))
	for at, g := range grants {
		scopes[at] = broker.Scope{Target: i.config.Ref.Target, Resource: g.resource, Actions: g.actions}
	}
	return broker.Normalize(scopes)
}

// native is the call of STS as it will be made: Issue makes it again and compares.
func (i *Issuer) native(p policy) []string {
	call := []string{
		"sts:AssumeRole " + i.role.arn,
		"session name and source identity: {lease}; tags: " + tagAgent + " and " + tagTask + " as of the request",
	}
	if i.isCompatible() {
		call = []string{"sts:AssumeRole at " + i.config.Settings.Endpoint + ", as the broker's user there"}
	}
	return append(call, lines(p)...)
}

// exceptions are the locks that this lease may remove.
func (i *Issuer) exceptions(grants []grant) []broker.Exception {
	var list []broker.Exception
	for _, l := range i.activeLocks(grants) {
		list = append(list, broker.Exception{Object: "deleting " + l.lock.Object, Why: l.lock.Why})
	}
	return list
}

func (i *Issuer) facts(losses []loss) []broker.Fact {
	facts := make([]broker.Fact, 0, len(losses))
	for _, l := range losses {
		facts = append(facts, broker.Fact{About: l.place, Text: l.how, At: i.config.Now().UTC()})
	}
	return facts
}

// walls says what stops what, the weak and missing ones included.
func (i *Issuer) walls(grants []grant, losses []loss) []broker.WallFact {
	all, used := broker.AllActions(i.scopes(grants)), map[string]bool{}
	prefix := false
	for _, g := range grants {
		used[g.service.name], prefix = true, prefix || g.prefix
	}
	facts := []broker.WallFact{
		{Stops: "another environment", Wall: broker.WallNative, How: "the session may reach what is named here, within what the file lists for this environment; everything else is denied"},
		{Stops: "taking another role, making tokens or keys", Wall: broker.WallNative, How: "not allowed, and denied by the session's policy"},
	}
	if !all.Has(broker.Delete) {
		facts = append(facts, broker.WallFact{Stops: "deleting", Wall: broker.WallNative, How: "not allowed, and denied by the session's policy, whatever the role may do"})
	}
	if prefix {
		facts = append(facts, broker.WallFact{Stops: "what comes to be under a prefix later", Wall: broker.WallNone, How: "a prefix stays a prefix: it is included"})
	}
	for _, l := range losses {
		fact := broker.WallFact{Stops: "losing what a write replaces in " + l.place, Wall: broker.WallNative, How: l.how}
		if l.destroys {
			fact.Wall = broker.WallNone
		}
		facts = append(facts, fact)
	}
	facts = append(facts, i.serviceWalls(used, all)...)
	return append(facts,
		broker.WallFact{Stops: "use after the end", Wall: broker.WallNative, How: "the session's policy denies everything from the end of the lease on, by the provider's clock"},
		broker.WallFact{Stops: "use after a revoke, before the end", Wall: broker.WallNone, How: "a session cannot be ended singly: it works until its time is over"},
		broker.WallFact{Stops: "a transfer that is under way at the end", Wall: broker.WallNone, How: "what the provider began to answer it goes on answering"},
	)
}

// serviceWalls are those that one service lacks.
func (i *Issuer) serviceWalls(used map[string]bool, all broker.Actions) []broker.WallFact {
	if !all.Has(broker.Write) {
		return nil
	}
	var facts []broker.WallFact
	for _, w := range []struct{ service, stops, how string }{
		{s3Name, "the bucket's own rules", "lifecycle rules may remove older versions when their time comes, those made by this lease as well"},
		{"dynamodb", "blanking or overwriting items", "PutItem and UpdateItem can change every item of a granted table"},
		{"ecr", "moving a tag", "a tag can be put on another image; the former image stays until a lifecycle rule removes it"},
		{"lambda", "what the function does", "it runs with a role of its own, which this lease does not limit"},
		{"logs", "lines that mislead", "whoever may write to a log can write anything"},
	} {
		if used[w.service] {
			facts = append(facts, broker.WallFact{Stops: w.stops, Wall: broker.WallNone, How: strings.TrimSpace(w.how)})
		}
	}
	return facts
}
