package aws

import (
	"context"
	"slices"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Issue assumes the role with the policy that was described. What STS gives is compared with what was approved: another
// role, a policy that is not in force, a longer life are not handed out. After an error the session may exist; its policy
// ends it with the lease.
func (i *Issuer) Issue(ctx context.Context, order broker.Order) (broker.Credential, broker.Handle, error) {
	left, err := i.checkOrder(order)
	if err != nil {
		return broker.Credential{}, nil, err
	}
	ends := i.config.Now().Add(left).UTC().Truncate(time.Second) // as IAM reads it: never later than ordered
	text, err := i.orderedPolicy(order, ends)
	if err != nil {
		return broker.Credential{}, nil, err
	}
	var got assumed
	err = i.at(pointAssume, func() error {
		got, err = i.assume(ctx, session{
			name: order.Name, isLease: true, policy: text, duration: max(left.Truncate(time.Second), stsFloor),
			tags: map[string]string{tagAgent: order.Agent, tagTask: order.Task},
		})
		return err
	})
	if err != nil {
		return broker.Credential{}, nil, i.fault("issuing", err)
	}
	if got.identity.ID != order.Description.Identity {
		i.forget()
		return broker.Credential{}, nil, broker.Errorf(broker.CodeConflict, "%s: the session is of %s, and %s was approved: it is not handed out", i.config.Ref, got.identity.ID, order.Description.Identity).
			WithNext("ask again")
	}
	if i.endsBySession() && got.Expires.After(order.Expires.Add(maxSkew)) { // it counts from when STS was asked, and no policy ends it
		return broker.Credential{}, nil, broker.Errorf(broker.CodeExpired, "%s: asking for the session took so long that it would outlive the lease by %s: it is not handed out",
			i.config.Ref, got.Expires.Sub(order.Expires).Round(time.Second)).WithNext("ask for a new lease")
	}
	if got.Expires.Before(ends) {
		ends = got.Expires.UTC()
	}
	return broker.Credential{
		Environment: i.config.Ref.Environment, Target: i.config.Ref.Target, Lease: order.Lease,
		Scopes: order.Description.Scopes, Values: i.values(got, ends), Expires: ends,
	}, nil, nil
}

// checkOrder holds an order to invariants 1 and 8, whatever the broker checked before, and gives what is left of its time.
func (i *Issuer) checkOrder(order broker.Order) (time.Duration, error) {
	if !broker.IsLeaseName(order.Name) {
		return 0, i.badName(order.Name)
	}
	if order.TTL <= 0 || order.TTL > order.Description.TTL || order.TTL > broker.Hour {
		return 0, broker.Errorf(broker.CodeInternal, "the lease is ordered for %s, longer than the %s described or than the hour, or for no time at all", order.TTL, order.Description.TTL)
	}
	left := min(order.TTL, order.Expires.Sub(i.config.Now()))
	switch {
	case left < time.Second:
		return 0, broker.Errorf(broker.CodeExpired, "%s: issuing took longer than the lease was to live", i.config.Ref)
	case left < i.floor-maxSkew:
		return 0, broker.Errorf(broker.CodeExpired, "%s: what is left of the lease, %s, is less than the shortest session that ends in time", i.config.Ref, left.Round(time.Second)).
			WithNext("ask for a new lease")
	}
	return left, nil
}

// orderedPolicy makes the policy of a description once more, with the end of this lease. The settings, and so what is
// within them, may be others than those it was described by.
func (i *Issuer) orderedPolicy(order broker.Order, ends time.Time) (string, error) {
	grants, err := i.resolve(order.Description.Scopes)
	if err != nil {
		return "", err
	}
	lines := i.sessionPolicy(grants).lines()
	if !slices.Equal(i.native(lines), order.Description.Native) {
		return "", broker.Errorf(broker.CodeConflict, "%s: what would be issued is no longer what was approved", i.config.Ref).WithNext("ask again")
	}
	text, err := i.document(lines)
	return ending(text, ends), err
}

// values are the variables that every AWS SDK and CLI reads. The last one keeps an SDK from asking the machine for
// another credential when this one is over.
func (i *Issuer) values(got assumed, ends time.Time) map[string]broker.Secret {
	values := map[string]broker.Secret{
		"AWS_ACCESS_KEY_ID":         broker.NewSecret(got.AccessKeyID),
		"AWS_SECRET_ACCESS_KEY":     broker.NewSecret(got.SecretAccessKey),
		"AWS_SESSION_TOKEN":         broker.NewSecret(got.SessionToken),
		"AWS_CREDENTIAL_EXPIRATION": broker.NewSecret(ends.Format(time.RFC3339)),
		"AWS_REGION":                broker.NewSecret(i.config.Settings.Region),
		"AWS_DEFAULT_REGION":        broker.NewSecret(i.config.Settings.Region),
		"AWS_EC2_METADATA_DISABLED": broker.NewSecret("true"),
	}
	if i.isCompatible() {
		values["AWS_ENDPOINT_URL"] = broker.NewSecret(i.config.Settings.Endpoint)
	}
	return values
}
