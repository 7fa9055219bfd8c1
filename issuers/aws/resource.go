package aws

import (
	"regexp"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// thing is a resource, taken apart: what a scope names, or what a target's file lists.
type thing struct {
	resource broker.Resource // as written
	service  service
	bucket   string // S3
	name     string // S3: the key; without the star
	prefix   bool
}

// keyPattern is what an S3 key may be made of here. IAM reads *, ?, and ${…} in a resource, and a session policy takes
// no more than ASCII; blanks and quotes would be hard to see on an approval page.
var keyPattern = regexp.MustCompile(`^[!#%&'()+,./0-9:;<=>@A-Z\[\]^_a-z|~-]*$`)

var bucketPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// parseThing reads service/name. Its errors say what is wrong, as the end of a sentence that begins with the resource.
func parseThing(resource broker.Resource) (thing, string) {
	kind, name, found := strings.Cut(resource.Stem(), "/")
	s, known := services[kind]
	if !found || !known {
		return thing{}, "is not service/name: the services are " + serviceNames()
	}
	t := thing{resource: resource, service: s, name: name, prefix: resource.IsPrefix()}
	if s.name == s3Name {
		return t.asObject()
	}
	// A name that ends in a star need not be complete; nothing but its length and characters can be said.
	if !s.pattern.MatchString(name) && (!t.prefix || name != "") {
		return thing{}, "is no name that " + kind + " gives"
	}
	return t, ""
}

// asObject splits bucket and key. A bucket is never a prefix: each must be asked whether it is versioned.
func (t thing) asObject() (thing, string) {
	bucket, key, found := strings.Cut(t.name, "/")
	t.bucket, t.name = bucket, key
	switch {
	case !bucketPattern.MatchString(bucket) || !found:
		return thing{}, "is not s3/BUCKET/KEY, or s3/BUCKET/PREFIX*: the bucket is named whole"
	case key == "" && !t.prefix:
		return thing{}, "names no key: expected s3/BUCKET/KEY, or s3/BUCKET/*"
	case !keyPattern.MatchString(key):
		return thing{}, "has a character that a session policy cannot hold, or that a reader could overlook"
	case strings.HasPrefix(key, "/") || strings.Contains(key, "//") || hasDotSegment(key, t.prefix):
		return thing{}, "has an empty part, or one that is . or .., which some servers read as another key"
	}
	return t, ""
}

// hasDotSegment: of a prefix the last part may still grow.
func hasDotSegment(key string, prefix bool) bool {
	parts := strings.Split(key, "/")
	if prefix {
		parts = parts[:len(parts)-1]
	}
	for _, part := range parts {
		if part == "." || part == ".." {
			return true
		}
	}
	return false
}

// pattern is the name as IAM matches it.
func (t thing) pattern() string {
	if t.prefix {
		return t.name + "*"
	}
	return t.name
}

// resolve finds what a scope stands for, within what the file lists: itself, where it lies in one entry, or the entries
// that lie in it.
func (i *Issuer) resolve(scopes []broker.Scope) ([]grant, error) {
	if len(scopes) == 0 {
		return nil, broker.Errorf(broker.CodeInvalid, "no scope is asked for at %s", i.config.Ref).WithField("scope")
	}
	var found []broker.Scope
	for _, scope := range scopes {
		if err := i.grantable(scope); err != nil {
			return nil, err
		}
		within := i.within(scope.Resource)
		if len(within) == 0 {
			return nil, broker.Errorf(broker.CodeDenied, "scope %q is outside the resources that the file of environment %s lists for %s", scope.String(), i.config.Ref.Environment, i.config.Ref.Target).
				WithField("scope").WithNext("ask within %s", strings.Join(i.config.Settings.Resources, ", "))
		}
		for _, resource := range within {
			found = append(found, broker.Scope{Target: scope.Target, Resource: resource, Actions: scope.Actions})
		}
	}
	return i.grants(broker.Normalize(found))
}

func (i *Issuer) grantable(scope broker.Scope) error {
	parsed, err := broker.ParseScope(scope.String())
	switch {
	case err != nil:
		return err
	case parsed != scope || scope.Target != i.config.Ref.Target:
		return broker.Errorf(broker.CodeInvalid, "scope %q is not of the target %s", scope.String(), i.config.Ref.Target).WithField("scope")
	case scope.Actions.Has(broker.Admin):
		return broker.Errorf(broker.CodeInvalid, "scope %s: no session is made that gives power: who may change policies, roles or secrets could undo every wall here", scope).
			WithField("scope").WithNext("do it under a human's own login, or ask for read, write and delete")
	}
	return nil
}

func (i *Issuer) within(asked broker.Resource) []broker.Resource {
	var entries []broker.Resource
	for _, listed := range i.listed {
		if listed.resource.Covers(asked) {
			return []broker.Resource{asked}
		}
		if asked.Covers(listed.resource) {
			entries = append(entries, listed.resource)
		}
	}
	return entries
}

// grant is what a lease may do to one thing.
type grant struct {
	thing
	actions broker.Actions
}

func (i *Issuer) grants(scopes []broker.Scope) ([]grant, error) {
	grants := make([]grant, 0, len(scopes))
	for _, scope := range scopes {
		t, wrong := parseThing(scope.Resource)
		if wrong != "" {
			return nil, broker.Errorf(broker.CodeInvalid, "scope %q: the resource %s", scope.String(), wrong).WithField("scope")
		}
		if err := i.serves(scope, t); err != nil {
			return nil, err
		}
		grants = append(grants, grant{t, scope.Actions})
	}
	return grants, nil
}

// serves refuses what the service has no list for, and what must be named whole.
func (i *Issuer) serves(scope broker.Scope, t thing) error {
	for _, action := range scope.Actions.Each() {
		if len(t.service.actions(action)) == 0 {
			return broker.Errorf(broker.CodeInvalid, "scope %q: there is no %s at %s, only %s", scope.String(), action, t.service.name, t.service.has()).WithField("scope")
		}
	}
	if t.prefix && t.service.whole.Has(scope.Actions&t.service.whole) {
		return broker.Errorf(broker.CodeInvalid, "scope %q: to %s at %s the name must be whole, %s", scope.String(), t.service.whole, t.service.name, t.service.why).WithField("scope")
	}
	if i.isCompatible() && t.service.name != s3Name {
		return broker.Errorf(broker.CodeInvalid, "scope %q: at %s there is S3 alone", scope.String(), i.config.Settings.Endpoint).WithField("scope")
	}
	return nil
}
