package notify

import (
	"fmt"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/ui"
)

// Why somebody hears of what is not a request.
const (
	whyOperator = "You are an operator."
	whySelf     = "It is about you. If you know nothing of it, tell an operator at once."
	whySigns    = "It waits for your signature. If you know nothing of it, do not sign, and tell an operator."
)

// people tells of who comes in, and with which key: to the operators, and to whom it is about.
func (s *scene) people() (*notice, error) {
	n := &notice{path: "/"}
	who := called(s.event.Subject)
	switch s.event.Type {
	case broker.EventAgentEnrolled:
		return s.enrolled(n)
	case broker.EventHumanInvited:
		if err := s.invited(n, who); err != nil {
			return nil, err
		}
	case broker.EventHumanAdmitted:
		n.title = who + ": the invite was signed"
		n.text = fmt.Sprintf("%s signed that %s may come in.", actor(s.event.Actor), who)
		n.path = ui.HumanPath(s.event.Subject)
	case broker.EventHumanReset:
		n.title = who + ": all passkeys were removed"
		n.text = fmt.Sprintf("The passkeys of %s were removed from the broker's shell, for a new start. Everything is frozen, and what waited is void.", who)
	default:
		if err := s.passkey(n, who); err != nil {
			return nil, err
		}
	}
	n.hears(whySelf, s.event.Subject)
	n.hears(whyOperator, operators(s.config)...)
	return n, nil
}

// enrolled tells that an agent has a key: its owner signs it, or nobody does.
func (s *scene) enrolled(n *notice) (*notice, error) {
	agent := broker.Agent{Name: s.event.Subject}
	found, err := s.load(&agent)
	if err != nil || !found || agent.State != broker.AgentInert {
		return nil, err
	}
	n.agent = agent.Name
	n.path = ui.AgentPath(agent.Name)
	n.title = called(agent.Name) + " waits for its owner"
	n.text = fmt.Sprintf("Agent %s has a key, and can do nothing until %s signs it.", called(agent.Name), called(agent.Owner))
	n.hears(whySigns, agent.Owner)
	n.hears(whyOperator, operators(s.config)...)
	return n, nil
}

func (s *scene) invited(n *notice, who string) error {
	var data struct {
		Needs   int      `json:"needs"`
		Groups  []string `json:"groups"`
		Instead string   `json:"instead"`
	}
	if err := s.data(&data); err != nil {
		return err
	}
	n.path = ui.HumanPath(s.event.Subject)
	n.title = who + " is invited"
	n.text = fmt.Sprintf("%s was invited by %s", who, actor(s.event.Actor))
	if len(data.Groups) > 0 {
		n.text += ", for the groups " + calledAll(data.Groups)
	}
	if data.Needs > 0 {
		n.text += "; " + plural(data.Needs, "operator") + " must sign that first"
	}
	if data.Instead != "" {
		n.text += "; an invite that waited is void"
	}
	n.text += "."
	return nil
}

// passkey tells of one that is offered, added or removed. A further passkey begins to count only after a
// while, so that whoever reads this can still act.
func (s *scene) passkey(n *notice, who string) error {
	var data struct {
		From    time.Time `json:"usable_from"`
		Passkey any       `json:"passkey"` // the id; or an object, where another passkey signed
	}
	if err := s.data(&data); err != nil {
		return err
	}
	if signed, is := data.Passkey.(map[string]any); is {
		from, _ := signed["usable_from"].(string)
		data.From, _ = time.Parse(time.RFC3339Nano, from) // absent: not said
	}
	switch s.event.Type {
	case broker.EventPasskeyOffered:
		n.title = who + ": a new passkey is offered"
		n.text = fmt.Sprintf("A new passkey is offered for %s. It signs nothing until it is signed itself.", who)
		var err error
		if n.path, err = s.signedAt(data.Passkey); err != nil {
			return err
		}
	case broker.EventPasskeyRemoved:
		n.title = who + ": a passkey was removed"
		n.text = fmt.Sprintf("A passkey of %s was removed.", who)
	default:
		n.title = who + ": a new passkey"
		n.text = fmt.Sprintf("%s has a new passkey", who)
		if data.From.After(s.event.Time) {
			n.text += ", which can sign from " + clock(data.From) + " on"
		}
		n.text += "."
	}
	return nil
}

// signedAt is where an offered passkey is signed: a first one by operators, a further one by its human.
func (s *scene) signedAt(passkey any) (path string, err error) {
	invite := broker.Invite{Human: s.event.Subject}
	found, err := s.load(&invite)
	if found && invite.Passkey != nil && invite.Passkey.ID == passkey {
		return ui.HumanPath(invite.Human), nil
	}
	return "/me", err
}
