package aws

import (
	"context"
	"slices"
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
	case asked < i.floor:
		return 0, broker.Errorf(broker.CodeInvalid, "a lease at %s lives at least %s, not %s", i.config.Ref, i.floor, asked).WithField("ttl")
	case asked > broker.Hour:
		return 0, broker.Errorf(broker.CodeInvalid, "no key outlives the hour: %s is longer", asked).WithField("ttl")
	}
	return asked, nil
}

// loss is what was looked up about one place that would be written to.
type loss struct {
	place string      // "s3/acme-staging", "dynamodb/orders"
	wall  broker.Wall // native: a write there destroys nothing
	how   string
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
		var found loss
		var err error
		switch g.service.name {
		case s3Name:
			found, err = i.lossInBucket(ctx, seen, g.bucket)
		case dynamoName:
			found, err = i.lossInTable(ctx, seen, g.name)
		default:
			continue
		}
		if err != nil {
			return nil, err
		}
		found.place = g.place()
		list = append(list, found)
	}
	return list, nil
}

func (i *Issuer) lossInBucket(ctx context.Context, seen *looked, bucket string) (loss, error) {
	kept, err := i.versioned(ctx, seen, bucket)
	switch {
	case err != nil:
		return loss{}, err
	case !kept:
		return loss{wall: broker.WallNone, how: "the bucket is not versioned: what is overwritten is gone, so writing counts as deleting"}, nil
	case i.isCompatible():
		return loss{wall: broker.WallWeak, how: "the bucket is versioned, but a server like MinIO lets a write name the version that it replaces (versionId): writing counts as deleting"}, nil
	}
	return loss{wall: broker.WallNative, how: "the bucket is versioned: what is overwritten is kept as an older version"}, nil
}

func (i *Issuer) lossInTable(ctx context.Context, seen *looked, table string) (loss, error) {
	expires, err := i.expires(ctx, seen, table)
	switch {
	case err != nil:
		return loss{}, err
	case expires:
		return loss{wall: broker.WallNone, how: "the table has a time to live: an item can be written so that it expires, so writing counts as deleting"}, nil
	}
	return loss{wall: broker.WallNative, how: "the table has no time to live: no item can be written so that it expires"}, nil
}

// place is what is looked up for a grant: a bucket, a table.
func (g grant) place() string {
	if g.service.name == s3Name {
		return "s3/" + g.bucket
	}
	return string(g.resource)
}

// gives is what a write at a place can do in spite of the wall there: the human approves it, the session is not given it.
func (i *Issuer) gives(grants []grant, l loss) []broker.Scope {
	var scopes []broker.Scope
	for _, g := range grants {
		if l.wall != broker.WallNative && l.place == g.place() && g.actions.Has(broker.Write) && !g.actions.Has(broker.Delete) {
			scopes = append(scopes, broker.Scope{Target: i.config.Ref.Target, Resource: g.resource, Actions: broker.Delete})
		}
	}
	return broker.Normalize(scopes)
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
	all := broker.AllActions(i.scopes(grants))
	facts := []broker.WallFact{
		{Stops: "another environment", Wall: broker.WallNative, How: "the session may reach what is named here, within what the file lists for this environment; everything else is denied"},
		{Stops: "taking another role, making tokens or keys", Wall: broker.WallNative, How: "not allowed, and denied by the session's policy"},
	}
	if !all.Has(broker.Delete) {
		facts = append(facts, broker.WallFact{Stops: "the calls that delete", Wall: broker.WallNative, How: "not allowed, and denied by the session's policy, whatever the role may do"})
	}
	if slices.ContainsFunc(grants, func(g grant) bool { return g.prefix }) {
		facts = append(facts, broker.WallFact{Stops: "what comes to be under a prefix later", Wall: broker.WallNone, How: "a prefix stays a prefix: it is included"})
	}
	if i.isCompatible() && slices.ContainsFunc(grants, func(g grant) bool { return g.actions.Has(broker.Read) && g.name != "" && i.lists(g) }) {
		facts = append(facts, broker.WallFact{Stops: "listing names outside the prefix", Wall: broker.WallWeak, How: "a server like MinIO believes a header of the client about the prefix: names in the same bucket can be listed, and not read"})
	}
	for _, l := range losses {
		facts = append(facts, broker.WallFact{Stops: "losing what a write replaces in " + l.place, Wall: l.wall, How: l.how, Gives: i.gives(grants, l)})
	}
	facts = append(facts, serviceWalls(grants)...)
	return append(facts, i.endWalls()...)
}

// endWalls are those at the end of a lease.
func (i *Issuer) endWalls() []broker.WallFact {
	how := "the session's policy denies everything from the end of the lease on, by the provider's clock"
	if i.isCompatible() {
		how = "the session itself is over then"
	}
	return []broker.WallFact{
		{Stops: "use after the end", Wall: broker.WallNative, How: how},
		{Stops: "use after a revoke, before the end", Wall: broker.WallNone, How: "a session cannot be ended singly: it works until its time is over"},
		{Stops: "a transfer that is under way at the end", Wall: broker.WallNone, How: "what the provider began to answer it goes on answering"},
	}
}

// lacks are the walls that a service does not have, by the class that they would stop.
var lacks = []struct {
	service    string
	class      broker.Actions
	stops, how string
}{
	{s3Name, broker.Write, "the bucket's own rules", "lifecycle rules may remove older versions when their time comes, those made by this lease as well"},
	{dynamoName, broker.Write, "blanking or overwriting items", "PutItem and UpdateItem can change every item of a granted table"},
	{"ecr", broker.Write, "moving a tag", "a tag can be put on another image; the former image stays until a lifecycle rule removes it"},
	{"ecr", broker.Read, "a link to a layer, after the end", "one that was asked for before works until the registry ends it"},
	{"lambda", broker.Write, "what the function does", "it runs with a role of its own, which this lease does not limit; any of its versions can be called"},
	{"logs", broker.Write, "lines that mislead", "whoever may write to a log can write anything"},
	{"", broker.Write, "what a write sets off", "notifications, streams, subscriptions and replication that stand there do with it what you set up, with roles of their own"},
}

// serviceWalls are those that the services of the grants lack.
func serviceWalls(grants []grant) []broker.WallFact {
	var facts []broker.WallFact
	for _, l := range lacks {
		if slices.ContainsFunc(grants, func(g grant) bool { return (l.service == "" || l.service == g.service.name) && g.actions.Has(l.class) }) {
			facts = append(facts, broker.WallFact{Stops: l.stops, Wall: broker.WallNone, How: l.how})
		}
	}
	return facts
}
