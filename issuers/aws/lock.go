package aws

import (
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// Lock is the one thing that a write lease may delete: the lock of a Terraform state, and why. Reviewers see both.
type Lock struct {
	Object string `yaml:"object"` // s3/BUCKET/….tflock, or dynamodb/TABLE/LOCK-ID
	Why    string `yaml:"why"`
}

// parseLock reads a lock's object: an S3 key that Terraform uses for locks alone, or the one item of a table.
func parseLock(lock Lock) (lockOf, string) {
	resource := broker.Resource(lock.Object)
	if table, found := strings.CutPrefix(lock.Object, "dynamodb/"); found {
		name, id, _ := strings.Cut(table, "/")
		t, wrong := parseThing(broker.Resource("dynamodb/" + name))
		if wrong != "" || id == "" || !keyPattern.MatchString(id) {
			return lockOf{}, "is not dynamodb/TABLE/LOCK-ID, with the id that Terraform writes: BUCKET/KEY"
		}
		return lockOf{thing: t, id: id, lock: lock}, ""
	}
	t, wrong := parseThing(resource)
	switch {
	case wrong != "":
		return lockOf{}, wrong
	case t.service.name != s3Name || t.prefix || !strings.HasSuffix(t.name, ".tflock"):
		return lockOf{}, "is no lock: expected s3/BUCKET/….tflock or dynamodb/TABLE/LOCK-ID"
	}
	return lockOf{thing: t, lock: lock}, ""
}

// lockOf is a lock, and the thing that it lies in.
type lockOf struct {
	thing
	id   string // of the item, in a table
	lock Lock
}

// activeLocks are the locks that lie in what is granted for writing, and are not granted for deleting anyway.
func (i *Issuer) activeLocks(grants []grant) []lockOf {
	var active []lockOf
	for _, l := range i.locks {
		if slices.ContainsFunc(grants, func(g grant) bool {
			return g.resource.Covers(l.resource) && g.actions.Has(broker.Write) && !g.actions.Has(broker.Delete)
		}) {
			active = append(active, l)
		}
	}
	return active
}

// unlocking allows the end of a lock: of that object, or of the one item of a table.
func (i *Issuer) unlocking(locks []lockOf) []statement {
	var statements []statement
	var keys []string
	for _, l := range locks {
		if l.id == "" {
			keys = append(keys, i.arns(l.thing, object)...)
			continue
		}
		statements = append(statements, statement{
			Effect: "Allow", Action: many{"dynamodb:DeleteItem"}, Resource: i.arns(l.thing, named),
			Condition: condition{"ForAnyValue:StringEquals": {leadingKeys: {l.id}}}, // false where there is no key; others are denied below
		})
	}
	if len(keys) > 0 {
		statements = append(statements, statement{Effect: "Allow", Action: many{"s3:DeleteObject"}, Resource: keys})
	}
	return statements
}

const leadingKeys = "dynamodb:LeadingKeys"

// onlyLocks denies what unlocking allows for everything that is neither a lock nor granted for deleting.
func (i *Issuer) onlyLocks(locks []lockOf, allowed map[string]*allowance) []statement {
	var keys, tables, ids []string
	for _, l := range locks {
		if l.id == "" {
			keys = append(keys, i.arns(l.thing, object)...)
			continue
		}
		ids, tables = append(ids, l.id), append(tables, i.arns(l.thing, named)...)
	}
	var statements []statement
	if len(keys) > 0 {
		if granted := allowed["s3:DeleteObject"]; granted != nil {
			keys = append(keys, granted.arns...)
		}
		statements = append(statements, statement{Effect: "Deny", Action: many{"s3:DeleteObject"}, NotResource: keys})
	}
	if len(ids) > 0 {
		slices.Sort(tables)
		statements = append(statements, statement{
			Effect: "Deny", Action: many{"dynamodb:DeleteItem"}, Resource: slices.Compact(tables),
			Condition: condition{"ForAnyValue:StringNotEquals": {leadingKeys: ids}},
		})
	}
	return statements
}
