package notify

import (
	"fmt"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/ui"
)

// alarm tells of freezes, lifts, and what should not be: to the operators, and to whose agent it is about.
func (s *scene) alarm() (n *notice, err error) {
	n = &notice{path: "/"}
	switch s.event.Type {
	case broker.EventFrozen:
		err = s.frozen(n)
	case broker.EventLifted:
		what := frozenThing(s.event.Subject)
		n.title = "Lifted: " + what
		n.text = fmt.Sprintf("%s lifted the freeze of %s.", actor(s.event.Actor), what)
		s.concerns(n, s.event.Subject)
	case broker.EventLeaseStuck:
		err = s.stuck(n)
	case broker.EventTargetChanged:
		environment, target, _ := strings.Cut(s.event.Subject, "/")
		n.environments = []string{environment}
		n.path = ui.TargetPath(s.event.Subject)
		n.title = "Target changed: " + called(s.event.Subject)
		n.text = fmt.Sprintf("%s in %s is not what was confirmed: its provider says that it is another. Nothing is issued there until an operator has looked.", called(target), called(environment))
	case broker.EventRestored:
		n.title = "The store was restored from a backup"
		n.text = "The store was restored from a backup: everything is frozen, and what waited is void."
	default: // hourkey.broker.same_user
		n.title = "The broker is not alone under its user"
		n.text = "Something that runs as the broker's own user talked to it: from now on this installation protects from mistakes only."
	}
	if err != nil {
		return nil, err
	}
	n.hears(whyOperator, operators(s.config)...)
	return n, nil
}

func (s *scene) frozen(n *notice) error {
	var freeze broker.Freeze
	if err := s.data(&freeze); err != nil {
		return err
	}
	what := frozenThing(s.event.Subject)
	n.path = ui.FreezePath(s.event.Subject)
	n.title = "Frozen: " + what
	n.text = fmt.Sprintf("%s froze %s", actor(freeze.By), what)
	if !freeze.Until.IsZero() {
		n.text += " until " + clock(freeze.Until)
	}
	n.text += ": nothing is issued, and what was out is ended."
	if freeze.Reason != "" {
		n.text += " Because: " + quoted(freeze.Reason)
	}
	s.concerns(n, s.event.Subject)
	return nil
}

// frozenThing is a freeze's id as people say it.
func frozenThing(id string) string {
	of, name, _ := strings.Cut(id, ":")
	if of == string(broker.FreezeAll) {
		return "everything"
	}
	return called(of) + " " + called(name)
}

// concerns adds the environment that a freeze names, or the owner of the agent.
func (s *scene) concerns(n *notice, freeze string) {
	of, name, _ := strings.Cut(freeze, ":")
	switch broker.FreezeKind(of) {
	case broker.FreezeEnvironment:
		n.environments = []string{name}
	case broker.FreezeAgent:
		agent := broker.Agent{Name: name}
		if found, err := s.load(&agent); err == nil && found {
			n.hears(whyOwner, agent.Owner)
		}
	case broker.FreezeTask, broker.FreezeAll:
	}
}

func (s *scene) stuck(n *notice) error {
	var lease broker.LeaseEvent
	if err := s.data(&lease); err != nil {
		return err
	}
	n.environments = []string{lease.Environment}
	n.path = ui.RequestPath(lease.Request)
	n.title = "A key could not be ended in " + called(lease.Environment)
	n.text = fmt.Sprintf("The key %s of %s, for %s in %s, could not be ended after %s. It is tried on; see whether the provider is reachable.",
		called(lease.Name), called(lease.Agent), called(lease.Target), called(lease.Environment), plural(lease.Attempts, "attempt"))
	n.hears(whyOwner, lease.Owner)
	return nil
}
