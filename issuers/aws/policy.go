package aws

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// maxPolicy is how many characters STS takes of a session policy (STS API reference, AssumeRole).
const maxPolicy = 2048

// policy is an IAM policy document.
type policy struct {
	Version   string      `json:"Version"`
	Statement []statement `json:"Statement"`
}

type statement struct {
	Effect      string    `json:"Effect"`
	Action      many      `json:"Action,omitempty"`
	NotAction   many      `json:"NotAction,omitempty"`
	Resource    many      `json:"Resource,omitempty"`
	NotResource many      `json:"NotResource,omitempty"`
	Condition   condition `json:"Condition,omitempty"`
}

// many is a list that IAM also reads as a single text: a policy may have 2,048 characters.
type many []string

// MarshalJSON writes one as a text.
func (m many) MarshalJSON() ([]byte, error) {
	if len(m) == 1 {
		return encode(m[0])
	}
	return encode([]string(m))
}

// condition maps operator → key → values.
type condition map[string]map[string]many

// encode is JSON without the escapes for HTML, which would count as characters.
func encode(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(value)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// allowance is one action: what it is allowed on, and under which condition on the keys that are listed.
type allowance struct {
	on       kind
	arns     []string
	prefixes []string // of listed keys; nil: no condition
}

// sessionPolicy is what a session may do: it, and the role's own policies. Its end is left open; see ending.
func (i *Issuer) sessionPolicy(grants []grant) policy {
	locks := i.activeLocks(grants)
	allowed := i.allowed(grants)
	statements, unlocks := allow(allowed), i.unlocking(locks)
	statements = append(statements, unlocks...)
	var actions, arns []string
	for _, s := range statements {
		actions, arns = append(actions, s.Action...), append(arns, s.Resource...)
	}
	slices.Sort(actions)
	slices.Sort(arns)
	actions, arns = slices.Compact(actions), slices.Compact(arns)
	statements = append(statements, i.onlyLocks(locks, allowed)...)
	statements = append(statements, crossed(allowed, unlocks)...)
	switch usesS3 := slices.ContainsFunc(actions, func(a string) bool { return strings.HasPrefix(a, "s3:") }); {
	case i.isCompatible() && slices.Contains(actions, "s3:PutObject"):
		statements = append(statements, noTags())
	case !i.isCompatible() && usesS3:
		statements = append(statements, i.ownBuckets())
	}
	statements = append(statements,
		i.denyOthers(actions),
		statement{Effect: "Deny", Action: i.every(), NotResource: arns},
		statement{Effect: "Deny", Action: i.everything(actions), Resource: many{"*"}, Condition: condition{"DateGreaterThanEquals": {"aws:CurrentTime": {openEnd}}}},
	)
	return policy{Version: "2012-10-17", Statement: statements}
}

// allowed gives each action that the grants give, with all that it is given on. The keys of a bucket are listed under
// a statement of its own for each bucket, because the condition on the prefix is the bucket's.
func (i *Issuer) allowed(grants []grant) map[string]*allowance {
	all := map[string]*allowance{} // action, for a listing with its bucket → where
	for _, g := range grants {
		for _, r := range g.service.rows {
			if !g.actions.Has(r.class) || r.on == listing && !i.lists(g) {
				continue
			}
			for _, action := range r.names(g.service.name) {
				key := action
				if r.on == listing {
					key += " " + g.bucket
				}
				if all[key] == nil {
					all[key] = &allowance{on: r.on}
				}
				a := all[key]
				a.arns = append(a.arns, i.arns(g.thing, r.on)...)
				if r.on == listing {
					a.prefixes = append(a.prefixes, g.pattern())
				}
			}
		}
	}
	return all
}

// lists tells whether keys are listed. The list of one key would show others that begin so. At a server that is not AWS
// names are listed where the whole bucket is the environment's: MinIO believes a header of the client about the prefix.
func (i *Issuer) lists(g grant) bool {
	if !g.prefix || !i.isCompatible() {
		return g.prefix
	}
	return slices.ContainsFunc(i.listed, func(t thing) bool { return t.bucket == g.bucket && t.prefix && t.name == "" })
}

// allow makes one statement for all actions that are allowed alike.
func allow(all map[string]*allowance) []statement {
	alike := map[string]*statement{} // what is allowed, as JSON → statement
	for _, key := range slices.Sorted(maps.Keys(all)) {
		a := all[key]
		slices.Sort(a.arns)
		slices.Sort(a.prefixes)
		s := statement{Effect: "Allow", Resource: slices.Compact(a.arns)}
		if len(a.prefixes) > 0 && !slices.Contains(a.prefixes, "*") {
			s.Condition = condition{"StringLike": {"s3:prefix": slices.Compact(a.prefixes)}}
		}
		shape := string(must(encode(s)))
		if alike[shape] == nil {
			alike[shape] = &s
		}
		action, _, _ := strings.Cut(key, " ")
		alike[shape].Action = append(alike[shape].Action, action)
	}
	statements := make([]statement, 0, len(alike))
	for _, s := range alike {
		statements = append(statements, *s)
	}
	slices.SortFunc(statements, func(a, b statement) int {
		return strings.Compare(a.Action[0]+" "+a.Resource[0], b.Action[0]+" "+b.Resource[0])
	})
	return statements
}

// crossed denies each action on what only other actions are given on: where one prefix is read and another one written, a
// bucket's own policy must not add that the first is written. Where all is given alike there is nothing to deny.
func crossed(allowed map[string]*allowance, unlocks []statement) []statement {
	given := map[string][]string{} // service and kind → everything that some action is given on
	for action, a := range allowed {
		given[a.place(action)] = append(given[a.place(action)], a.arns...)
	}
	alike := map[string]*statement{} // where it is given → what is
	for _, action := range slices.Sorted(maps.Keys(allowed)) {
		a := allowed[action]
		everywhere := !slices.ContainsFunc(given[a.place(action)], func(arn string) bool { return !slices.Contains(a.arns, arn) })
		if a.on == listing || everywhere {
			continue
		}
		besides := slices.Clone(a.arns)
		for _, s := range unlocks {
			if s.Action[0] == action {
				besides = append(besides, s.Resource...)
			}
		}
		where := strings.Join(besides, " ")
		if alike[where] == nil {
			alike[where] = &statement{Effect: "Deny", NotResource: besides}
		}
		alike[where].Action = append(alike[where].Action, action)
	}
	var statements []statement
	for _, where := range slices.Sorted(maps.Keys(alike)) {
		statements = append(statements, *alike[where])
	}
	return statements
}

// place is the kind of thing, with its service, that an action is about.
func (a *allowance) place(action string) string {
	service, _, _ := strings.Cut(action, ":")
	return service + " " + string(a.on)
}

// noTags denies writing with tags. AWS wants another permission for that; MinIO does not, and lifecycle rules go by tags.
func noTags() statement {
	return statement{Effect: "Deny", Action: many{"s3:PutObject"}, Resource: many{"*"}, Condition: condition{"Null": {"s3:RequestObjectTagKeys": {"false"}}}}
}

// ownBuckets denies buckets of other accounts: an ARN does not say whose a bucket is, and a name that was given up can be
// anybody's.
func (i *Issuer) ownBuckets() statement {
	return statement{Effect: "Deny", Action: many{"s3:*"}, Resource: many{"*"}, Condition: condition{"StringNotEquals": {"s3:ResourceAccount": {i.role.account}}}}
}

// denyOthers denies every action that is not among those allowed. A server that is not AWS may not know NotAction, and
// has S3 alone: there every action of S3 that destroys or gives power is denied by its name.
func (i *Issuer) denyOthers(allowed []string) statement {
	if !i.isCompatible() {
		return statement{Effect: "Deny", NotAction: allowed, Resource: many{"*"}}
	}
	denied := slices.DeleteFunc(strings.Fields(dangerous), func(action string) bool { return slices.Contains(allowed, action) })
	return statement{Effect: "Deny", Action: denied, Resource: many{"*"}}
}

// dangerous are the actions of S3 that destroy, weaken, or give power.
const dangerous = `s3:AbortMultipartUpload s3:BypassGovernanceRetention s3:CreateBucket s3:DeleteBucket* s3:DeleteObject
	s3:DeleteObjectTagging s3:DeleteObjectVersion s3:DeleteObjectVersionTagging s3:PutBucket* s3:PutEncryptionConfiguration
	s3:PutLifecycleConfiguration s3:PutObjectLegalHold s3:PutObjectRetention s3:PutObjectTagging s3:PutObjectVersionTagging
	s3:PutReplicationConfiguration s3:ReplicateDelete s3:ReplicateObject s3:RestoreObject`

// every is all actions that there are. To MinIO a bare star is its own administration as well, for which resources do not count.
func (i *Issuer) every() many {
	if i.isCompatible() {
		return many{"s3:*"}
	}
	return many{"*"}
}

// everything is what is denied when the time is over. MinIO takes no star beside a condition.
func (i *Issuer) everything(allowed []string) many {
	if i.isCompatible() {
		return allowed
	}
	return i.every()
}

// openEnd stands in a policy for the end of the lease, which is not known before the issue. It has the length of a time,
// and no name can hold its brackets.
const openEnd = "{end of the lease..}"

// ending is the text of a policy, with its end.
func ending(text string, at time.Time) string { return strings.ReplaceAll(text, openEnd, shown(at)) }

// shown writes a time as IAM reads it: to the second, never later.
func shown(at time.Time) string { return at.UTC().Truncate(time.Second).Format(time.RFC3339) }

// text is the policy as STS gets it. One that is too long is refused before STS is asked.
func (i *Issuer) text(p policy) (string, error) {
	text, err := encode(p)
	if err != nil {
		return "", i.fault("writing the session policy", err)
	}
	if len(text) > maxPolicy {
		return "", broker.Errorf(broker.CodeInvalid, "%s: the session policy for this would have %d characters, and STS takes %d", i.config.Ref, len(text), maxPolicy).
			WithField("scope").WithNext("ask for fewer resources at once, or for one prefix instead of several names")
	}
	return string(text), nil
}

// lines shows a policy statement by statement.
func lines(p policy) []string {
	list := make([]string, len(p.Statement))
	for at, s := range p.Statement {
		list[at] = string(must(encode(s)))
	}
	return list
}

// must is for values that cannot fail to encode: texts and lists of texts.
func must(text []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return text
}
