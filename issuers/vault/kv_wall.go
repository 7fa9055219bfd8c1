package vault

import (
	"fmt"

	"github.com/hourkey/hourkey/broker"
)

// Two walls of a KV engine that have known ways around.
const (
	stopsOverwriting = "overwriting values"
	stopsDots        = "other paths of the same mount"
)

// kvWalls says what stands at a KV engine, and what does not.
func (i *Issuer) kvWalls(state kvState, all []opened, reach []broker.Scope) []broker.WallFact {
	return []broker.WallFact{
		{Stops: "other mounts", Wall: broker.WallNative, How: "Vault refuses what no policy of the token allows"},
		i.dots(state, all),
		{Stops: "a longer life, or another token", Wall: broker.WallNative, How: "the token cannot be renewed past its end, and its policies let it make no other"},
		i.overwriting(state, all, reach),
		{Stops: "policies that change while the lease lives", Wall: broker.WallNone, How: "Vault looks them up at every use: who may write policies can widen it"},
		{Stops: stopsAfter, Wall: broker.WallNative, How: "Vault ends the token at its TTL by its own clock"},
		{Stops: "what was read or wrapped before the end", Wall: broker.WallNone, How: "values stay known; an answer wrapped by the token can be unwrapped after it"},
	}
}

// dots is what stands before the rest of the mount. At version 2 a path like app/%2e%2e/other/db begins with app/ for Vault's
// policies, and is other/db where the engine keeps versions and metadata (Vault 1.21.1): whoever may write behind a star can push out
// what others wrote, and whoever may list can list everything. Values cannot be read so: their own place has the path as it was sent.
func (i *Issuer) dots(state kvState, all []opened) broker.WallFact {
	wall := broker.WallFact{Stops: stopsDots, Wall: broker.WallNative, How: "Vault refuses what no policy of the token allows"}
	var gives broker.Actions
	for _, o := range all {
		if !state.versioned || !o.resource.IsPrefix() || o.actions == 0 {
			continue
		}
		actions := o.actions
		if o.door == "data" || o.door == "subkeys" {
			actions &^= broker.Read
		}
		if o.door == "data" && o.can(capUpdate, capPatch) {
			actions |= broker.Delete // whatever is kept elsewhere: the value that is read by default is another then
		}
		gives |= actions
	}
	if gives == 0 {
		return wall
	}
	wall.Wall = broker.WallWeak
	wall.How = fmt.Sprintf("an encoded .. in a path leads past the star of a policy to every secret of the mount: to %s, though no value can be read so", gives)
	if why, accepted := i.config.Settings.accepts(AcceptWholeMount); accepted {
		wall.How += "; the environment's file says that nothing is lost by it: " + why
		return wall
	}
	wall.Gives = []broker.Scope{{Target: i.config.Ref.Target, Resource: "*", Actions: gives}}
	return wall
}

// losesHistory tells whether writing by a rule, again and again, destroys versions that nobody says are kept elsewhere.
func (i *Issuer) losesHistory(o opened) bool {
	_, accepted := i.config.Settings.accepts(AcceptVersionHistory)
	return !accepted && o.door == "data" && o.can(capUpdate, capPatch)
}

// overwriting is what stands before the loss of a value that is written over. Where one write loses it, that is delete by its
// scope. Else it takes some: whoever may write can destroy every version that was there, unless the file says that they are kept
// elsewhere too.
func (i *Issuer) overwriting(state kvState, all []opened, reach []broker.Scope) broker.WallFact {
	wall := broker.WallFact{Stops: stopsOverwriting, Wall: broker.WallNone, How: "a value that is overwritten is gone, for one version is kept: that counts as delete"}
	if state.loses() {
		return wall
	}
	wall.Wall = broker.WallWeak
	wall.How = fmt.Sprintf("%d versions are kept, and a single secret may keep fewer: who may write destroys those before by writing again and again", state.keeps())
	if why, accepted := i.config.Settings.accepts(AcceptVersionHistory); accepted {
		wall.How += "; the environment's file says that they are kept elsewhere too: " + why
	}
	for _, o := range all {
		loss := broker.Scope{Target: i.config.Ref.Target, Resource: o.resource, Actions: broker.Delete}
		if i.losesHistory(o) && !broker.Covers(reach, []broker.Scope{loss}) {
			wall.Gives = append(wall.Gives, loss)
		}
	}
	wall.Gives = broker.Normalize(wall.Gives)
	return wall
}

// kvMends says what makes the walls stronger.
func (i *Issuer) kvMends(state kvState) map[string]string {
	mends := map[string]string{}
	accepting := func(stops, object, first string) {
		if _, accepted := i.config.Settings.accepts(object); !accepted {
			mends[stops] = first + ", and say so: accept: [{object: " + object + ", why: …}]"
		}
	}
	if !state.versioned {
		return mends
	}
	accepting(stopsDots, AcceptWholeMount, "write policies for single secrets, without star or plus; or give what the lease is for a mount of its own")
	accepting(stopsOverwriting, AcceptVersionHistory, "have what is written kept elsewhere too, like by snapshots")
	if state.loses() {
		mends[stopsOverwriting] = "raise max_versions: vault write " + i.config.Settings.Mount + "/config max_versions=10"
	}
	return mends
}
