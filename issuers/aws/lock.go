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
func parseLock(lock Lock) (parsedLock, string) {
	if table, found := strings.CutPrefix(lock.Object, "dynamodb/"); found {
		name, id, _ := strings.Cut(table, "/")
		t, wrong := parseThing(broker.Resource("dynamodb/" + name))
		if wrong != "" || id == "" || !keyPattern.MatchString(id) {
			return parsedLock{}, "is not dynamodb/TABLE/LOCK-ID, with the id that Terraform writes: BUCKET/KEY"
		}
		return parsedLock{thing: t, id: id, setting: lock}, ""
	}
	t, wrong := parseThing(broker.Resource(lock.Object))
	switch {
	case wrong != "":
		return parsedLock{}, wrong
	case t.service.name != s3Name || t.prefix || !strings.HasSuffix(t.name, ".tflock"):
		return parsedLock{}, "is no lock: expected s3/BUCKET/….tflock or dynamodb/TABLE/LOCK-ID"
	}
	return parsedLock{thing: t, setting: lock}, ""
}

// parsedLock is a lock, and the thing that it lies in.
type parsedLock struct {
	thing
	id      string // of the item, in a table; empty for an S3 key
	setting Lock
}

// activeLocks are the locks that lie in what is granted for writing, and are not granted for deleting anyway.
func (i *Issuer) activeLocks(grants []grant) []parsedLock {
	var active []parsedLock
	for _, l := range i.locks {
		if slices.ContainsFunc(grants, func(g grant) bool {
			return g.resource.Covers(l.resource) && g.actions.Has(broker.Write) && !g.actions.Has(broker.Delete)
		}) {
			active = append(active, l)
		}
	}
	return active
}

// lockKeys are the locks that are S3 keys.
func (i *Issuer) lockKeys(locks []parsedLock) []string {
	var keys []string
	for _, l := range locks {
		if l.id == "" {
			keys = append(keys, i.arns(l.thing, object)...)
		}
	}
	return keys
}

const leadingKeys = "dynamodb:LeadingKeys"

// unlocking allows the end of a lock: of that object, or of the one item of a table.
func (i *Issuer) unlocking(locks []parsedLock) policy {
	var statements policy
	for _, l := range locks {
		if l.id != "" {
			statements = append(statements, statement{
				Effect: "Allow", Action: many{"dynamodb:DeleteItem"}, Resource: i.arns(l.thing, named),
				Condition: condition{"ForAnyValue:StringEquals": {leadingKeys: {l.id}}}, // false where there is no key; others are denied below
			})
		}
	}
	if keys := i.lockKeys(locks); len(keys) > 0 {
		statements = append(statements, statement{Effect: "Allow", Action: many{"s3:DeleteObject"}, Resource: keys})
	}
	return statements
}

// onlyLocks denies what unlocking allows for everything that is neither a lock nor granted for deleting.
func (i *Issuer) onlyLocks(locks []parsedLock, allowed map[string]*allowance) policy {
	var statements policy
	if keys := i.lockKeys(locks); len(keys) > 0 {
		if granted := allowed["s3:DeleteObject"]; granted != nil {
			keys = append(keys, granted.arns...)
		}
		statements = append(statements, statement{Effect: "Deny", Action: many{"s3:DeleteObject"}, NotResource: keys})
	}
	var tables, ids []string
	for _, l := range locks {
		if l.id != "" {
			ids, tables = append(ids, l.id), append(tables, i.arns(l.thing, named)...)
		}
	}
	if len(ids) > 0 {
		statements = append(statements, statement{
			Effect: "Deny", Action: many{"dynamodb:DeleteItem"}, Resource: eachOnce(tables),
			Condition: condition{"ForAnyValue:StringNotEquals": {leadingKeys: ids}},
		})
	}
	return statements
}
