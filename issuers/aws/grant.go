package aws

import (
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// grant is what a lease may do to one thing.
type grant struct {
	thing
	actions broker.Actions
}

// resolve finds what scopes stand for, within what the file lists.
func (i *Issuer) resolve(scopes []broker.Scope) ([]grant, error) {
	if len(scopes) == 0 {
		return nil, broker.Errorf(broker.CodeInvalid, "no scope is asked for at %s", i.config.Ref).WithField("scope")
	}
	var found []broker.Scope
	for _, scope := range scopes {
		if err := i.checkScope(scope); err != nil {
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

// checkScope refuses what is no scope of this target, and what no session is made for.
func (i *Issuer) checkScope(scope broker.Scope) error {
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

// within gives what the file lists of a resource: itself, where it lies in one entry, or the entries that lie in it.
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

// grants takes scopes apart.
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
		return broker.Errorf(broker.CodeInvalid, "scope %q: to %s at %s the name must be whole, %s", scope.String(), t.service.whole, t.service.name, t.service.whyWhole).WithField("scope")
	}
	if i.isCompatible() && t.service.name != s3Name {
		return broker.Errorf(broker.CodeInvalid, "scope %q: at %s there is S3 alone", scope.String(), i.config.Settings.Endpoint).WithField("scope")
	}
	return nil
}

// scopes says the grants in scopes again.
func (i *Issuer) scopes(grants []grant) []broker.Scope {
	scopes := make([]broker.Scope, len(grants))
	for at, g := range grants {
		scopes[at] = broker.Scope{Target: i.config.Ref.Target, Resource: g.resource, Actions: g.actions}
	}
	return broker.Normalize(scopes)
}
