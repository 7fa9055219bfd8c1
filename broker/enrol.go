package broker

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// CodeFor is how long a one-time code lives.
const CodeFor = time.Hour

// AddAgent makes an agent, or lets a known one enrol a new key; the code is shown once and lives one
// hour. A removed agent's name can be used again, by the same owner only. Operators and the admin socket.
func (b *Broker) AddAgent(ctx context.Context, caller Caller, name, owner string) (code Secret, err error) {
	if err := b.mustOperate(caller); err != nil {
		return Secret{}, err
	}
	if !IsAgentName(name) {
		return Secret{}, Errorf(CodeInvalid, "agent %q: expected a-z, 0-9, dashes, and slashes between parts", clip(name)).WithField("name")
	}
	if !IsName(owner) {
		return Secret{}, Errorf(CodeInvalid, "owner %q is not a name", clip(owner)).WithField("owner")
	}
	code, hash, err := b.newCode()
	if err != nil {
		return Secret{}, err
	}
	err = b.update(ctx, func(tx Tx) error {
		agent := Agent{Name: name}
		found, err := load(tx, &agent)
		if err != nil {
			return err
		}
		if found && agent.Owner != owner {
			return Errorf(CodeConflict, "agent %s belongs to %s", name, agent.Owner).WithField("owner").WithNext("choose another name: an agent stays its owner's, also when it is removed")
		}
		if !found {
			agent.Created = b.now()
		}
		agent.Owner, agent.CodeHash, agent.CodeExpires = owner, hash, b.now().Add(CodeFor)
		if !found || agent.State == AgentRemoved {
			agent.State = AgentInvited
		}
		if err := tx.Save(&agent); err != nil {
			return err
		}
		return b.append(tx, EventAgentAdded, caller.Actor(), name, map[string]string{"owner": owner})
	})
	return code, err
}

// EnrolAgent gives an agent its key, which stays inert until the agent's owner signs it. The caller of
// this method has checked that whoever sent jwk, a public key, possesses the private one.
func (b *Broker) EnrolAgent(ctx context.Context, name string, code Secret, jwk json.RawMessage, thumbprint string) (agent Agent, err error) {
	err = b.update(ctx, func(tx Tx) error {
		agent = Agent{Name: name}
		found, err := load(tx, &agent)
		if err != nil {
			return err
		}
		if !found || agent.State == AgentRemoved || b.now().After(agent.CodeExpires) || !sameCode(agent.CodeHash, code) {
			return Errorf(CodeForbidden, "no agent %q waits for this code", clip(name)).WithField("code").WithNext("ask an operator for a new code: `hourkeyd agent add`")
		}
		if agent.Thumbprint != "" {
			agent.FormerThumbs = append(agent.FormerThumbs, agent.Thumbprint)
		}
		agent.Key, agent.Thumbprint, agent.State = jwk, thumbprint, AgentInert
		agent.CodeHash, agent.CodeExpires = "", time.Time{}
		if err := tx.Save(&agent); err != nil {
			return err
		}
		return b.append(tx, EventAgentEnrolled, "agent:"+name, name, map[string]string{"thumbprint": thumbprint})
	})
	return agent, err
}

func (b *Broker) activate(tx Tx, signed Approval) error {
	agent := Agent{Name: signed.Statement.Subject}
	if err := tx.Load(&agent); err != nil {
		return err
	}
	agent.State, agent.Activated = AgentActive, signed.At
	if err := tx.Save(&agent); err != nil {
		return err
	}
	return b.append(tx, EventAgentActivated, "human:"+signed.Reviewer, agent.Name, Signed{signed})
}

// RemoveAgent ends an agent, its open requests and its leases. Operators and the admin socket.
func (b *Broker) RemoveAgent(ctx context.Context, caller Caller, name string) error {
	if err := b.mustOperate(caller); err != nil {
		return err
	}
	var open []Lease
	err := b.update(ctx, func(tx Tx) error {
		agent := Agent{Name: name}
		if found, err := load(tx, &agent); err != nil || !found {
			return errors.Join(err, Errorf(CodeNotFound, "no agent %q", clip(name)))
		}
		agent.State, agent.CodeHash = AgentRemoved, ""
		if err := tx.Save(&agent); err != nil {
			return err
		}
		requests, err := list[Request](tx, "request", "deadline") // those that are pending or approved
		if err != nil {
			return err
		}
		for _, request := range requests {
			if request.Agent == name {
				if err := b.close(tx, request, RequestCancelled, EventRequestCancelled, caller.Actor(), ""); err != nil {
					return err
				}
			}
		}
		if open, err = list[Lease](tx, "lease", "open/"+name); err != nil {
			return err
		}
		return b.append(tx, EventAgentRemoved, caller.Actor(), name, nil)
	})
	b.changed.notify()
	if err != nil {
		return err
	}
	if failed := b.endAll(ctx, open, CauseRevoked, caller.Actor()); failed > 0 {
		return Errorf(CodeUnavailable, "agent %s is removed; %s could not be ended yet and are retried", name, plural(failed, "lease"))
	}
	return nil
}

// Agent gives an agent by name, CodeNotFound if there is none.
func (b *Broker) Agent(ctx context.Context, name string) (Agent, error) {
	agent := Agent{Name: name}
	err := b.store.View(ctx, func(r Reader) error { return r.Load(&agent) })
	return agent, err
}

// Agents lists all agents, removed ones included.
func (b *Broker) Agents(ctx context.Context) ([]Agent, error) { return listAll[Agent](ctx, b, "agent") }

// Human gives a human by name.
func (b *Broker) Human(ctx context.Context, name string) (Human, error) {
	human := Human{Name: name}
	err := b.store.View(ctx, func(r Reader) error { return r.Load(&human) })
	return human, err
}

// Humans lists everyone who was ever invited.
func (b *Broker) Humans(ctx context.Context) ([]Human, error) { return listAll[Human](ctx, b, "human") }

// Passkeys lists a human's passkeys.
func (b *Broker) Passkeys(ctx context.Context, human string) (passkeys []Passkey, err error) {
	err = b.store.View(ctx, func(r Reader) (err error) {
		passkeys, err = list[Passkey](r, "passkey", "human/"+human)
		return err
	})
	return passkeys, err
}

// Passkey gives one by its credential id (base64url).
func (b *Broker) Passkey(ctx context.Context, id string) (Passkey, error) {
	passkey := Passkey{ID: id}
	err := b.store.View(ctx, func(r Reader) error { return r.Load(&passkey) })
	return passkey, err
}

func listAll[T any](ctx context.Context, b *Broker, kind string) (all []T, err error) {
	err = b.store.View(ctx, func(r Reader) (err error) {
		all, err = list[T](r, kind, "")
		return err
	})
	return all, err
}

// SignedIn records the signature counter of a sign-in assertion that the caller verified.
func (b *Broker) SignedIn(ctx context.Context, id string, counter uint32) error {
	return b.update(ctx, func(tx Tx) error {
		passkey := Passkey{ID: id}
		if err := tx.Load(&passkey); err != nil {
			return err
		}
		if counter <= passkey.Counter && (counter != 0 || passkey.Counter != 0) { // WebAuthn level 3, section 6.1.1
			return Errorf(CodeForbidden, "the passkey's counter went back: it may have been copied")
		}
		passkey.Counter = counter
		return tx.Save(&passkey)
	})
}
