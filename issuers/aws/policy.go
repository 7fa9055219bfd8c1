package aws

import (
	"maps"
	"slices"
	"strings"
	"time"
)

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
	unlocks := i.unlocking(locks)
	statements := append(allow(allowed), unlocks...)
	var actions, arns []string
	for _, s := range statements {
		actions, arns = append(actions, s.Action...), append(arns, s.Resource...)
	}
	actions, arns = eachOnce(actions), eachOnce(arns)
	statements = append(statements, i.onlyLocks(locks, allowed)...)
	statements = append(statements, crossed(allowed, unlocks)...)
	switch usesS3 := slices.ContainsFunc(actions, func(a string) bool { return strings.HasPrefix(a, "s3:") }); {
	case i.isCompatible() && slices.Contains(actions, "s3:PutObject"):
		statements = append(statements, noTags())
	case !i.isCompatible() && usesS3:
		statements = append(statements, i.ownBuckets())
	}
	return append(statements,
		i.denyOthers(actions),
		statement{Effect: "Deny", Action: i.everyAction(), NotResource: arns},
		statement{Effect: "Deny", Action: i.allAtEnd(actions), Resource: many{"*"}, Condition: condition{"DateGreaterThanEquals": {"aws:CurrentTime": {openEnd}}}},
	)
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
	for _, a := range all {
		a.arns, a.prefixes = eachOnce(a.arns), eachOnce(a.prefixes)
	}
	return all
}

// eachOnce sorts a list and leaves out what stands twice.
func eachOnce(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

// lists tells whether keys are listed. The list of one key would show others that begin so. At a server that is not AWS
// names are listed where the whole bucket is the environment's: MinIO believes a header of the client about the prefix.
func (i *Issuer) lists(g grant) bool {
	if !g.prefix || !i.isCompatible() {
		return g.prefix
	}
	return slices.ContainsFunc(i.listed, func(t thing) bool { return t.bucket == g.bucket && t.prefix && t.name == "" })
}

// allow makes one statement for all actions that are allowed alike.
func allow(all map[string]*allowance) policy {
	alike := map[string]*statement{} // where, and for which prefixes → what is allowed there
	for _, key := range slices.Sorted(maps.Keys(all)) {
		a := all[key]
		s, where := statement{Effect: "Allow", Resource: a.arns}, strings.Join(a.arns, " ")
		if len(a.prefixes) > 0 && !slices.Contains(a.prefixes, "*") {
			s.Condition = condition{"StringLike": {"s3:prefix": a.prefixes}}
			where += " " + strings.Join(a.prefixes, " ")
		}
		if alike[where] == nil {
			alike[where] = &s
		}
		action, _, _ := strings.Cut(key, " ")
		alike[where].Action = append(alike[where].Action, action)
	}
	statements := make(policy, 0, len(alike))
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
func crossed(allowed map[string]*allowance, unlocks policy) policy {
	given := map[string][]string{} // service and kind → everything that some action is given on
	for action, a := range allowed {
		given[a.about(action)] = append(given[a.about(action)], a.arns...)
	}
	alike := map[string]*statement{} // where it is given → what is
	for _, action := range slices.Sorted(maps.Keys(allowed)) {
		a := allowed[action]
		everywhere := !slices.ContainsFunc(given[a.about(action)], func(arn string) bool { return !slices.Contains(a.arns, arn) })
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
	var statements policy
	for _, where := range slices.Sorted(maps.Keys(alike)) {
		statements = append(statements, *alike[where])
	}
	return statements
}

// about is the kind of thing, with its service, that an action is about.
func (a *allowance) about(action string) string {
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

// everyAction is every action that there is. To MinIO a bare star is its own administration as well, for which resources do not count.
func (i *Issuer) everyAction() many {
	if i.isCompatible() {
		return many{"s3:*"}
	}
	return many{"*"}
}

// allAtEnd is what is denied when the time is over. MinIO takes no star beside a condition.
func (i *Issuer) allAtEnd(allowed []string) many {
	if i.isCompatible() {
		return allowed
	}
	return i.everyAction()
}

// openEnd stands in a policy for the end of the lease, which is not known before the issue. It has the length of a time,
// and no name can hold its brackets.
const openEnd = "{end of the lease..}"

// ending is the text of a policy, with its end.
func ending(text string, at time.Time) string { return strings.ReplaceAll(text, openEnd, inIAM(at)) }

// inIAM writes a time as IAM reads it: to the second, never later.
func inIAM(at time.Time) string { return at.UTC().Truncate(time.Second).Format(time.RFC3339) }
