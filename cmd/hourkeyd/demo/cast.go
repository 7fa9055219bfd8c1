package demo

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
	"github.com/hourkey/hourkey/web/authn/softkey"
)

// enrol brings in the people whose passkeys are software, confirms the targets, and brings in the agent.
// It gives your one-time code.
func (w *world) enrol(ctx context.Context) (code broker.Secret, err error) {
	socket := broker.Caller{Kind: broker.CallerSocket}
	unreachable, err := w.broker.Learn(ctx)
	for _, why := range unreachable {
		err = errors.Join(err, why)
	}
	if err != nil {
		return code, err
	}
	if err := w.enrolPerson(ctx, operator, socket); err != nil {
		return code, err
	}
	if err := w.enrolPerson(ctx, reviewer, socket); err != nil {
		return code, err
	}
	for ref := range w.broker.Configuration().Targets {
		if _, err := w.people[operator].Approve(ctx, broker.ActConfirmTarget, "/targets/"+ref.String(), ref.String()); err != nil {
			return code, err
		}
	}
	if err := w.enrolAgent(ctx, socket); err != nil {
		return code, err
	}
	return w.invite(ctx, you, socket)
}

func (w *world) enrolPerson(ctx context.Context, name string, by broker.Caller) error {
	person, err := softkey.NewPerson(w.origin, nil)
	if err != nil {
		return err
	}
	w.people[name] = person
	code, err := w.invite(ctx, name, by)
	if err != nil {
		return err
	}
	return person.Enrol(ctx, name, code.Reveal())
}

// invite invites; all but the first wait for the operator's signature.
func (w *world) invite(ctx context.Context, name string, by broker.Caller) (broker.Secret, error) {
	invite, code, err := w.broker.InviteHuman(ctx, by, name)
	if err != nil || invite.State == broker.InviteUsable {
		return code, err
	}
	_, err = w.people[operator].Approve(ctx, broker.ActAdmitHuman, "/humans/"+name, name)
	return code, err
}

func (w *world) enrolAgent(ctx context.Context, by broker.Caller) error {
	code, err := w.broker.AddAgent(ctx, by, agentName, operator)
	if err != nil {
		return err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	if w.agent, err = api.NewClient(api.ClientConfig{Origin: w.origin, Agent: agentName, Key: key, Now: w.now}); err != nil {
		return err
	}
	if _, err := w.agent.Enroll(ctx, api.NewSecret(code.Reveal())); err != nil {
		return err
	}
	_, err = w.people[operator].Approve(ctx, broker.ActActivateAgent, "/agents/"+agentName, agentName)
	return err
}
