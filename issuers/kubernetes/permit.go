package kubernetes

import (
	"fmt"

	"github.com/hourkey/hourkey/broker"
)

// demandOf is what an action on a kind wants.
func (k kind) demandOf(action broker.Actions) demand {
	switch action {
	case broker.Read:
		return k.read
	case broker.Write:
		return k.write
	case broker.Delete:
		return k.remove
	default:
		return k.use
	}
}

// permit refuses an action that the kind does not have, or that wants another beside it. restricted tells whether the namespace
// enforces the restricted Pod Security level.
func (i *Issuer) permit(g grant, restricted bool) error {
	adminServes := g.use&(impossible|forbidden) == 0
	for _, action := range g.actions.Each() {
		if action == broker.Admin {
			continue
		}
		d := g.demandOf(action)
		if d&wantsRestricted != 0 && !restricted {
			d |= wantsAdmin
		}
		adminServes = adminServes || d&wantsAdmin != 0
		if err := i.meets(g, action, d, restricted); err != nil {
			return err
		}
	}
	if !g.actions.Has(broker.Admin) {
		return nil
	}
	if !adminServes {
		return i.refuse("nothing that is asked of %s needs admin", g.kind.name).WithNext("leave admin out")
	}
	if g.use&(impossible|forbidden) == 0 {
		return i.meets(g, broker.Admin, g.use, restricted)
	}
	return nil
}

// meets holds one action against what it wants.
func (i *Issuer) meets(g grant, action broker.Actions, d demand, restricted bool) error {
	_, streams := i.config.Settings.accepts(objectStreams)
	switch {
	case d&forbidden != 0:
		return i.refuse("%s is never given for %s: %s", action, g.kind.name, g.why)
	case d&impossible != 0:
		return i.refuse("%s has nothing to %s", g.kind.name, action)
	case d&wantsStreams != 0 && !streams:
		return broker.Errorf(broker.CodeWall, "%s: %s %s, so it would go on after the end of the lease [%s]", i.config.Ref, g.kind.name, g.why, objectStreams).WithField("scope").
			WithNext("the operator may accept that by the name in brackets in environments/%s.yaml", i.config.Ref.Environment)
	case d&wantsDelete != 0 && !g.actions.Has(broker.Delete):
		return i.refuse("%s of %s counts as delete: %s", action, g.kind.name, g.why).WithNext("ask for %s,delete", action)
	case d&wantsAdmin != 0 && !g.actions.Has(broker.Admin):
		return i.wantsAdmin(g, action, d, restricted)
	}
	return nil
}

func (i *Issuer) wantsAdmin(g grant, action broker.Actions, d demand, restricted bool) error {
	err := i.refuse("%s of %s counts as admin: %s", action, g.kind.name, g.why)
	if d&wantsRestricted != 0 && !restricted {
		err.Message += ", and nothing in the namespace keeps a pod from taking over its machine"
		return err.WithNext("have the namespace enforce the restricted Pod Security level: kubectl label namespace %s %s=restricted; or ask for %s,admin", i.config.Settings.Namespace, enforceLabel, action)
	}
	return err.WithNext("ask for %s,admin", action)
}

func (i *Issuer) refuse(format string, args ...any) *broker.Error {
	return broker.Errorf(broker.CodeDenied, "%s: %s", i.config.Ref, fmt.Sprintf(format, args...)).WithField("scope")
}
