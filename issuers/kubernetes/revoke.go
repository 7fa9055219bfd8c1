package kubernetes

import (
	"context"
	"errors"
	"net/http"

	"github.com/hourkey/hourkey/broker"
)

// Revoke ends a lease by its name: the RoleBinding first, and with it every right, then the account, and with it the token, then the
// Role. It returns when the server says that none of them is there and that the account may do nothing of what it could. What is
// not there, or was never made, is no error.
func (i *Issuer) Revoke(ctx context.Context, name string, _ broker.Handle) error {
	if !isLeaseName(name) {
		return i.badName(name)
	}
	doing, err := i.end(ctx, name)
	if isStatus(err, http.StatusForbidden) && i.namespaceIsGone(ctx) {
		return nil // and with it every account of it, and the broker's own Role
	}
	if err != nil {
		return i.fault(doing, err)
	}
	return nil
}

// end says what it was doing when it failed.
func (i *Issuer) end(ctx context.Context, name string) (doing string, err error) {
	could, err := i.rightsOf(ctx, name)
	if err != nil {
		return "reading a Role", err
	}
	for _, step := range []struct{ point, doing, path string }{
		{pointRevokeBinding, "deleting a RoleBinding", i.bindings()},
		{pointRevokeAccount, "deleting a ServiceAccount", i.accounts()},
		{pointRevokeRole, "deleting a Role", i.roles()}, // last: it says what to ask about, should this be done again
	} {
		if err := i.at(step.point, func() error { return i.remove(ctx, step.path+"/"+name) }); err != nil {
			return step.doing, err
		}
	}
	return "verifying the end", i.at(pointRevokeVerify, func() error { return i.verify(ctx, name, could) })
}

func (i *Issuer) namespaceIsGone(ctx context.Context) bool {
	_, err := i.namespaceOf(ctx, i.config.Settings.Namespace)
	return isGone(err)
}

// rightsOf gives the rules of a lease's Role, none if there is no Role.
func (i *Issuer) rightsOf(ctx context.Context, name string) ([]policyRule, error) {
	var r role
	err := i.client.get(ctx, i.roles()+"/"+name, &r)
	if isGone(err) {
		return nil, nil
	}
	if err == nil && r.Kind != "Role" {
		return nil, errOtherKind
	}
	return r.Rules, err
}

// remove deletes one object, without waiting for anything that could keep it.
func (i *Issuer) remove(ctx context.Context, path string) error {
	err := i.client.do(ctx, call{method: http.MethodDelete, path: path}, nil)
	if isGone(err) {
		return nil
	}
	return err
}

// verify asks for all of it at once. An object with a finalizer would still be there.
func (i *Issuer) verify(ctx context.Context, name string, could []policyRule) error {
	asks := []func(context.Context) error{func(ctx context.Context) error { return i.powerless(ctx, name, could) }}
	for _, path := range i.paths() {
		asks = append(asks, func(ctx context.Context) error { return i.gone(ctx, path+"/"+name) })
	}
	return together(ctx, asks...)
}

func (i *Issuer) gone(ctx context.Context, path string) error {
	err := i.client.getMetadata(ctx, path, nil)
	switch {
	case err == nil:
		return errors.New(path + " is still there: a finalizer keeps it")
	case isGone(err):
		return nil
	}
	return err
}

// powerless waits until the server's own view of rights, which is a moment late, has no right of the account any more. They all came by one
// binding, so one of them stands for all. What an account has that nobody gave anything, by a binding that is accepted, no lease
// can lose.
func (i *Issuer) powerless(ctx context.Context, name string, could []policyRule) error {
	if len(could) == 0 || len(could[0].Verbs) == 0 || len(could[0].APIGroups) == 0 || len(could[0].Resources) == 0 {
		return nil
	}
	n := firstNeed(could[0])
	return i.until(ctx, "the account still has rights", func() (bool, error) {
		may, err := i.mayAccount(ctx, name, n)
		if err == nil && may {
			return i.mayAccount(ctx, nobody, n)
		}
		return !may, err
	})
}
