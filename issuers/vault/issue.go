package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/hourkey/hourkey/broker"
)

// handle is what an end needs. None of it is a secret: with it alone nothing can be read.
type handle struct {
	Accessor string `json:"accessor"`        // of the lease's token
	Lease    string `json:"lease,omitempty"` // of what the engine handed out
}

func (h handle) bytes() broker.Handle {
	text, err := json.Marshal(h)
	if err != nil {
		return nil // two texts: it cannot fail, and the name would be enough
	}
	return text
}

// metaName is the metadata of a lease's token that bears the lease's name.
const metaName = "hourkey"

// Issue makes the lease's token and, by it, the credential. After an error the token may be there: the handle says
// which, as far as it is known, and Revoke finds it by the name otherwise.
func (i *Issuer) Issue(ctx context.Context, order broker.Order) (broker.Credential, broker.Handle, error) {
	offer, err := i.checkOrder(order)
	if err != nil {
		return broker.Credential{}, nil, err
	}
	token, err := i.makeToken(ctx, offer, order)
	if err != nil {
		return broker.Credential{}, token.keep.bytes(), err
	}
	got, ends, err := i.askEngine(ctx, offer, order, &token)
	if err != nil {
		return broker.Credential{}, token.keep.bytes(), err
	}
	if err := i.stillSo(ctx, offer, order.Description); err != nil {
		return broker.Credential{}, token.keep.bytes(), err
	}
	named, err := i.engine.values(i.config.Settings, got)
	if err != nil {
		return broker.Credential{}, token.keep.bytes(), i.notUsed(err.Error())
	}
	if !named.ends.IsZero() && named.ends.After(order.Expires.Add(time.Second)) {
		return broker.Credential{}, token.keep.bytes(), i.notUsed("it outlives the lease")
	}
	if !named.ends.IsZero() && named.ends.Before(ends) {
		ends = named.ends
	}
	return broker.Credential{
		Environment: i.config.Ref.Environment, Target: i.config.Ref.Target, Lease: order.Lease,
		Scopes: order.Description.Scopes, Values: named.values, Expires: ends,
	}, token.keep.bytes(), nil
}

// checkOrder holds an order to what Describe says, whatever the broker checked before: a lease's name, an offer of this
// target, and no end beyond what was described or the hour (invariant 1).
func (i *Issuer) checkOrder(order broker.Order) (Offer, error) {
	switch longest := min(order.Description.TTL, broker.Hour); {
	case !broker.IsLeaseName(order.Name):
		return Offer{}, i.badName(order.Name)
	case order.TTL > longest || order.Expires.Sub(i.config.Now()) > longest:
		return Offer{}, broker.Errorf(broker.CodeInternal, "an order for %s ends later than its description says", i.config.Ref)
	case order.TTL <= 0:
		return Offer{}, i.late()
	}
	for _, offer := range i.config.Settings.Offers {
		if len(order.Description.Native) > 0 && order.Description.Native[0] == i.order(offer) {
			return offer, nil
		}
	}
	return Offer{}, broker.Errorf(broker.CodeConflict, "%s does not offer what was described any more", i.config.Ref).WithNext("make a new request")
}

func (i *Issuer) late() error {
	return broker.Errorf(broker.CodeExpired, "nothing is left of the time of this lease at %s", i.config.Ref).WithNext("make a new request")
}

// notUsed is the error of a credential that is not what was described. why is a text of ours: it holds nothing of the answer.
func (i *Issuer) notUsed(why string) error {
	return broker.Errorf(broker.CodeUnavailable, "%s: what Vault handed out is not used, and ended: %s", i.config.Ref, why).
		WithNext("the operator looks at the role at Vault, and runs hourkeyd check --live")
}

// left is the lease's time from now in whole seconds, rounded down, because Vault counts from when it is asked.
func (i *Issuer) left(order broker.Order) (int64, error) {
	left := min(order.TTL, order.Expires.Sub(i.config.Now()))
	if left < time.Second {
		return 0, i.late() // and 0 would be Vault's own default
	}
	return int64(left / time.Second), nil
}

// leaseToken is the token that was made for a lease.
type leaseToken struct {
	secret broker.Secret
	keep   handle
	ends   time.Time
}

// makeToken makes the lease's token, and does not believe that it is what was asked for.
func (i *Issuer) makeToken(ctx context.Context, offer Offer, order broker.Order) (made leaseToken, err error) {
	left, err := i.left(order)
	if err != nil {
		return made, err
	}
	policies := i.config.Settings.Policies
	if i.config.Settings.isKV() {
		policies = offer.Policies
	}
	var answer *api.Secret
	asked := i.config.Now()
	err = i.at(pointIssueToken, func() (err error) {
		answer, err = i.session.Write(ctx, "auth/token/create/"+i.config.Settings.TokenRole, map[string]any{
			"policies": policies, "no_default_policy": true, "renewable": false, "type": "service",
			"ttl": fmt.Sprintf("%ds", left), "explicit_max_ttl": fmt.Sprintf("%ds", left), "display_name": order.Name,
			"meta": map[string]string{metaName: order.Name, "agent": order.Agent, "task": order.Task, "role": offer.Role},
		})
		return err
	})
	if err != nil {
		return made, i.fault("making the lease's token", err)
	}
	if answer.Auth == nil || answer.Auth.ClientToken == "" || answer.Auth.Accessor == "" {
		return made, broker.Errorf(broker.CodeUnavailable, "%s: Vault's answer holds no token", i.config.Ref).WithNext("try again; if it lasts, ask the operator to run hourkeyd check --live")
	}
	made.secret, made.keep.Accessor = broker.NewSecret(answer.Auth.ClientToken), answer.Auth.Accessor
	if wrong := wrongToken(answer.Auth, policies, left); wrong != "" {
		return made, broker.Errorf(broker.CodeUnavailable, "%s: Vault made a token that %s: it is not used", i.config.Ref, wrong).
			WithNext("ask the operator to run hourkeyd check --live")
	}
	made.ends = asked.Add(time.Duration(answer.Auth.LeaseDuration) * time.Second)
	return made, nil
}

// wrongToken says in what a token is more than what was asked for, empty if in nothing.
func wrongToken(auth *api.SecretAuth, policies []string, left int64) string {
	all := slices.Sorted(slices.Values(slices.Concat(auth.Policies, auth.TokenPolicies, auth.IdentityPolicies)))
	switch {
	case !slices.Equal(slices.Compact(all), slices.Compact(slices.Sorted(slices.Values(policies)))):
		return "has other policies than were asked for"
	case int64(auth.LeaseDuration) > left || auth.LeaseDuration <= 0:
		return "lives longer than the lease"
	case auth.Renewable:
		return "can be renewed"
	case !auth.Orphan || auth.EntityID != "":
		return "belongs to the broker's own, or to an identity"
	}
	return ""
}

// askEngine gets the credential with the lease's token; at a kv engine the token is the credential.
func (i *Issuer) askEngine(ctx context.Context, offer Offer, order broker.Order, token *leaseToken) (got issued, ends time.Time, err error) {
	got = issued{token: token.secret, offer: offer, native: order.Description.Native}
	if i.config.Settings.isKV() {
		return got, token.ends, nil
	}
	left, err := i.left(order)
	if err != nil {
		return got, ends, err
	}
	want, err := i.engine.ask(i.config.Settings, offer, order, left)
	if err != nil {
		return got, ends, i.fault("preparing the request to the engine", err)
	}
	got.key = want.key
	asked := i.config.Now()
	err = i.at(pointIssueCredential, func() (err error) {
		got.answer, err = i.session.Ask(ctx, token.secret, i.engine.path(i.config.Settings, offer), want.data)
		return err
	})
	if err != nil {
		return got, ends, i.engineFault(offer, err, token.secret)
	}
	token.keep.Lease = got.answer.LeaseID
	if i.engine.traits().leases && got.answer.LeaseID == "" {
		return got, ends, broker.Errorf(broker.CodeWall, "%s: role %s hands out a credential without a lease: Vault could not end it", i.config.Ref, offer.Role).
			WithNext("name a role whose credentials have leases")
	}
	ends = token.ends
	if lasts := time.Duration(got.answer.LeaseDuration) * time.Second; lasts > 0 && asked.Add(lasts).Before(ends) {
		ends = asked.Add(lasts)
	}
	return got, ends, nil
}

// engineFault is fault, for what only the operator of Vault can mend.
func (i *Issuer) engineFault(offer Offer, err error, token broker.Secret) error {
	failed := i.fault("asking for a credential of role "+offer.Role, err, token)
	if known, ok := errors.AsType[*broker.Error](failed); ok && !cancelled(err) {
		return known.WithNext("the operator's log has Vault's own words: the engine, or what lies behind it, failed, or the policies %v do not let the role be used", i.config.Settings.Policies)
	}
	return failed
}
