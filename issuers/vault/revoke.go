package vault

import (
	"context"
	"encoding/json"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/vault/session"
)

const (
	settleWithin = 15 * time.Second // for Vault to end what a revoked token had leased
	settlePause  = 50 * time.Millisecond
)

// Revoke ends a lease and verifies the end: what the engine handed out is revoked, and Vault answers only when it is
// gone at the provider; then the token. Without a handle the token is found by its name. What is not there is no error.
func (i *Issuer) Revoke(ctx context.Context, name string, keep broker.Handle) error {
	if !broker.IsLeaseName(name) {
		return i.badName(name)
	}
	var h handle
	_ = json.Unmarshal(keep, &h) // a handle that cannot be read must not stop the end: the name is enough
	if h.Accessor != "" && (h.Lease != "" || !i.engine.traits().leases) {
		return i.end(ctx, h)
	}
	tokens := []ours{{accessor: h.Accessor}}
	if h.Accessor == "" {
		var err error
		if tokens, err = i.find(ctx, name); err != nil {
			return err
		}
	}
	var roles []string
	for _, one := range tokens {
		if err := i.end(ctx, handle{Accessor: one.accessor}); err != nil {
			return err
		}
		if one.role != "" {
			roles = append(roles, one.role)
		}
	}
	if !i.engine.traits().leases {
		return nil
	}
	if len(roles) == 0 { // without a token too: its time may be over, and what it asked for still there
		for _, offer := range i.config.Settings.Offers {
			roles = append(roles, offer.Role)
		}
	}
	return i.settle(ctx, unique(roles))
}

// end revokes the credential, then the token, and looks whether both are gone.
func (i *Issuer) end(ctx context.Context, h handle) error {
	if h.Lease != "" {
		if err := i.at(pointRevokeLease, func() error { return i.revokeLease(ctx, h.Lease) }); err != nil {
			return i.fault("ending the credential", err)
		}
	}
	err := i.at(pointRevokeToken, func() error {
		_, err := i.session.Write(ctx, "auth/token/revoke-accessor", map[string]any{"accessor": h.Accessor})
		return err
	})
	if err != nil {
		return i.fault("ending the lease's token", err)
	}
	return i.at(pointRevokeVerify, func() error { return i.verify(ctx, h) })
}

// verify asks for what must not be there any more.
func (i *Issuer) verify(ctx context.Context, h handle) error {
	if _, known, err := i.lookup(ctx, h.Accessor); err != nil || known {
		return i.notGone("token", err)
	}
	if h.Lease == "" {
		return nil
	}
	_, err := i.session.Write(ctx, "sys/leases/lookup", map[string]any{"lease_id": h.Lease})
	if session.StatusOf(err) == http.StatusBadRequest && session.Says(err, "invalid lease") {
		return nil
	}
	return i.notGone("credential", err)
}

func (i *Issuer) notGone(what string, err error) error {
	if err != nil {
		return i.fault("verifying the end", err)
	}
	return broker.Errorf(broker.CodeUnavailable, "%s: Vault still has the %s of a lease that was revoked", i.config.Ref, what).
		WithNext("it is tried again; if it lasts, the operator of Vault looks at its log")
}

// settle waits until Vault has ended everything of some roles whose time is over. A token that ends hands its leases to a queue of
// Vault's; without a handle nobody knows which of a role's leases was this one.
func (i *Issuer) settle(ctx context.Context, roles []string) error {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	for pause := settlePause; ; pause *= 2 {
		var ending int
		err := i.at(pointRevokeSettle, func() (err error) {
			ending, err = i.ending(ctx, roles)
			return err
		})
		if err != nil {
			return i.fault("verifying the end", err)
		}
		if ending == 0 {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return broker.Errorf(broker.CodeUnavailable, "%s: Vault has not ended what it handed out: %d of its leases are past their end", i.config.Ref, ending).
				WithNext("it is tried again; the operator of Vault finds them with: vault list sys/leases/lookup/%s", i.engine.path(i.config.Settings, Offer{Role: roles[0]}))
		}
	}
}

// ending counts the leases of some roles that are past their end and still known. Vault is asked to end each: after a few failures
// it would not try again by itself for an hour (an irrevocable lease).
func (i *Issuer) ending(ctx context.Context, roles []string) (count int, err error) {
	for _, role := range roles {
		path := i.engine.path(i.config.Settings, Offer{Role: role})
		ids, err := i.session.List(ctx, "sys/leases/lookup/"+path+"/")
		if err != nil {
			return 0, err
		}
		var left atomic.Int64
		err = each(ctx, ids, func(ctx context.Context, id string) error {
			over, err := i.isOver(ctx, path+"/"+id)
			if over && err == nil && i.revokeLease(ctx, path+"/"+id) != nil {
				left.Add(1)
			}
			return err
		})
		if err != nil {
			return 0, err
		}
		count += int(left.Load())
	}
	return count, nil
}

// isOver tells whether a lease is past its end and still known: Vault is at it, or has given it up.
func (i *Issuer) isOver(ctx context.Context, lease string) (bool, error) {
	answer, err := i.session.Write(ctx, "sys/leases/lookup", map[string]any{"lease_id": lease})
	switch {
	case session.StatusOf(err) == http.StatusBadRequest:
		return false, nil
	case err != nil:
		return false, err
	}
	return session.Number(answer.Data["ttl"]) <= 0, nil // by Vault's own clock
}

// revokeLease has Vault end what an engine handed out, and answer when it is done.
func (i *Issuer) revokeLease(ctx context.Context, lease string) error {
	_, err := i.session.Write(ctx, "sys/leases/revoke/"+lease, map[string]any{"sync": true})
	return err
}
