package aws

import (
	"slices"

	"github.com/hourkey/hourkey/broker"
)

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
	transfer := "a call is judged when it begins: what the provider began to answer it goes on answering, and an upload that was begun may be finished (not tried at AWS)"
	if i.isCompatible() {
		how = "the session itself is over then"
		transfer = "what the server began to answer it goes on answering, and an upload that was begun before can be filled and finished after it, as long as the client goes on sending"
	}
	return []broker.WallFact{
		{Stops: "use after the end", Wall: broker.WallNative, How: how},
		{Stops: "use after a revoke, before the end", Wall: broker.WallNone, How: "a session cannot be ended singly: it works until its time is over"},
		{Stops: "a transfer that is under way at the end", Wall: broker.WallNone, How: transfer},
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
