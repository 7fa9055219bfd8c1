package vault

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// doors are the endpoints of KV version 2, and what each capability does there. What is not named is admin.
// (developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2)
func doors() map[string]map[string]broker.Actions {
	reading := map[string]broker.Actions{capRead: broker.Read, capList: broker.Read, capSubscribe: broker.Read}
	with := func(writing, deleting []string) map[string]broker.Actions {
		door := map[string]broker.Actions{}
		for capability, action := range reading {
			door[capability] = action
		}
		for _, capability := range writing {
			door[capability] = broker.Write
		}
		for _, capability := range deleting {
			door[capability] = broker.Delete
		}
		return door
	}
	all := []string{capCreate, capUpdate, capPatch, capDelete, capRecover}
	return map[string]map[string]broker.Actions{
		"data":     with([]string{capCreate, capUpdate, capPatch}, []string{capDelete, capRecover}),
		"subkeys":  with(nil, all),
		"metadata": with(nil, all), // how many versions are kept, and for how long; DELETE takes all of them
		"delete":   with(nil, all),
		"destroy":  with(nil, all),
		"undelete": with([]string{capCreate, capUpdate}, []string{capPatch, capDelete, capRecover}),
		"config":   with(nil, all), // for the whole mount
	}
}

// kvState is how the engine keeps values.
type kvState struct {
	versioned   bool // version 2
	maxVersions int64
	deleteAfter string // "0s": never
}

// loses tells that an ordinary write loses the value that was there: then it is no write but a delete.
func (k kvState) loses() bool { return !k.versioned || k.maxVersions == 1 }

// keeps is how many versions there are at most (the default is Vault's own).
func (k kvState) keeps() int64 {
	if k.maxVersions == 0 {
		return 10
	}
	return k.maxVersions
}

// opened is what one rule opens of a KV engine.
type opened struct {
	rule
	door     string // of version 2; empty for version 1
	resource broker.Resource
	sure     bool
	actions  broker.Actions
}

// judgeKV says what tokens with these rules reach. It is pure.
func (i *Issuer) judgeKV(offer Offer, state kvState, rules []rule) (offered, error) {
	all, err := i.open(state, rules)
	if err != nil {
		return offered{}, err
	}
	found := offered{Offer: offer}
	for _, one := range all {
		if one.actions == 0 {
			continue
		}
		scope := broker.Scope{Target: i.config.Ref.Target, Resource: one.resource, Actions: one.actions}
		if read, err := broker.ParseScope(scope.String()); err != nil || read != scope {
			return offered{}, broker.Errorf(broker.CodeWall, "%s: policy %s opens a path that cannot be a scope's resource", i.config.Ref, one.policy).
				WithNext("leave characters that cannot be seen, and stars that are not at the end, out of its paths")
		}
		found.reach = append(found.reach, scope)
	}
	for _, one := range rules {
		found.native = append(found.native, one.line())
	}
	if state.versioned {
		found.native = append(found.native, fmt.Sprintf("kv version 2: %d versions are kept, delete_version_after %s", state.keeps(), state.deleteAfter))
	} else {
		found.native = append(found.native, "kv version 1: a value that is overwritten is gone")
	}
	found.reach = broker.Normalize(found.reach)
	found.gives = func(wish broker.Scope) bool { return surelyGives(all, state, wish) }
	found.walls = i.kvWalls(state, all, found.reach)
	found.mends = i.kvMends(state)
	found.exceptions = i.acceptances()
	return found, nil
}

// open finds what the rules open, and refuses what is outside the environment's folders.
func (i *Issuer) open(state kvState, rules []rule) ([]opened, error) {
	var all []opened
	for _, one := range rules {
		found := i.doorsOf(state, one)
		for _, o := range found {
			if o.door == "config" && !one.can(capCreate, capUpdate, capPatch, capDelete, capSudo, capRecover) {
				continue // reading how many versions are kept
			}
			if one.can(capDeny) || i.isOfMount(one) && i.isInside(o) {
				if o.door != "config" {
					all = append(all, o)
				}
				continue
			}
			return nil, i.outside(one)
		}
		if len(found) == 0 && !isOwnBusiness(one) {
			return nil, i.outside(one)
		}
	}
	return all, nil
}

// doorsOf gives every door of the engine that a rule can be for.
func (i *Issuer) doorsOf(state kvState, one rule) []opened {
	var found []opened
	at := strings.Split(i.config.Settings.Mount, "/")
	add := func(door string, class map[string]broker.Actions) {
		prefix := at
		if door != "" {
			prefix = append(slices.Clone(at), door)
		}
		rest, sure, applies := one.below(prefix...)
		if !applies {
			return
		}
		o := opened{rule: one, door: door, resource: broker.Resource(rest), sure: sure && !one.narrowed}
		for _, capability := range one.capabilities {
			o.actions |= actionOf(class, capability, state)
		}
		found = append(found, o)
	}
	if !state.versioned {
		add("", doors()["data"])
		return found
	}
	for door, class := range doors() {
		add(door, class)
	}
	return found
}

func actionOf(class map[string]broker.Actions, capability string, state kvState) broker.Actions {
	action, known := class[capability]
	switch {
	case capability == capDeny:
		return 0
	case !known:
		return broker.Admin
	case action == broker.Write && capability != capCreate && state.loses():
		return broker.Delete
	}
	return action
}

// isOfMount tells whether the rule names the mount itself. With a plus in its place it would open other mounts too, which may
// be other environments.
func (i *Issuer) isOfMount(one rule) bool {
	at := strings.Split(i.config.Settings.Mount, "/")
	return len(one.segments) > len(at) && slices.Equal(one.segments[:len(at)], at)
}

// isInside tells whether everything that is opened belongs to the environment's folders.
func (i *Issuer) isInside(o opened) bool {
	return slices.ContainsFunc(i.config.Settings.Folders, func(folder string) bool {
		return o.resource == broker.Resource(folder) || strings.HasPrefix(o.resource.Stem(), folder+"/")
	})
}

// isOwnBusiness tells that a rule outside the mount is harmless: it is about the token itself.
func isOwnBusiness(one rule) bool {
	own := map[string][]string{
		"auth/token/lookup-self": {capRead}, "auth/token/renew-self": {capUpdate}, "auth/token/revoke-self": {capUpdate},
		"sys/capabilities-self": {capUpdate},
	}
	allowed, known := own[one.path]
	return one.can(capDeny) || known && !slices.ContainsFunc(one.capabilities, func(c string) bool { return !slices.Contains(allowed, c) })
}

func (i *Issuer) outside(one rule) error {
	return broker.Errorf(broker.CodeWall, "%s: policy %s also opens %q, which is outside the folders %s of %s in this environment",
		i.config.Ref, one.policy, one.path, strings.Join(i.config.Settings.Folders, ", "), i.config.Settings.Mount).
		WithNext("take that path out of the policy, or give the environment a policy of its own, with paths like %s/data/%s/*", i.config.Settings.Mount, i.config.Settings.Folders[0])
}

// surelyGives tells whether a token with the rules can do all that the wish says, on all of its resource. Of several
// rules Vault takes the most specific one; so every rule that meets the resource must give it.
func surelyGives(all []opened, state kvState, wish broker.Scope) bool {
	wants := map[broker.Actions][]string{broker.Read: {capRead}, broker.Write: {capCreate, capUpdate}, broker.Delete: {capDelete}}
	door := ""
	if state.versioned {
		door = "data"
	}
	covered := false
	for _, o := range all {
		if o.door != door || !o.resource.Covers(wish.Resource) && !wish.Resource.Covers(o.resource) {
			continue
		}
		for _, action := range wish.Actions.Each() {
			for _, capability := range wants[action] {
				if !slices.Contains(o.capabilities, capability) {
					return false
				}
			}
			if wants[action] == nil {
				return false // admin is never given by a policy that anybody asks for
			}
		}
		covered = covered || o.sure && o.resource.Covers(wish.Resource)
	}
	return covered
}
