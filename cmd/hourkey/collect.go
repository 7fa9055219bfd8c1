package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hourkey/hourkey/web/api"
)

// releaseTime is how long exec waits at most for the end of its leases; what is not released by then
// ends by itself.
const releaseTime = 30 * time.Second

// collect takes what was granted. A signal does not stop it half-way: what was issued must be known, so
// that it can be released.
func (a *app) collect(ctx context.Context, client *api.Client, request api.Request) ([]api.Credential, error) {
	if len(request.Credentials) > 0 { // came with the request
		return request.Credentials, nil
	}
	ctx = context.WithoutCancel(ctx)
	credentials, err := client.Collect(ctx, request.ID)
	if err == nil && len(credentials) == 0 {
		return nil, fmt.Errorf("the broker issued nothing for request %s", request.ID)
	}
	if _, refused := api.AsProblem(err); err != nil && !refused {
		a.releaseUnknown(ctx, client, request.ID)
	}
	return credentials, err
}

// releaseUnknown releases what may have been issued by a collect whose answer was lost.
func (a *app) releaseUnknown(ctx context.Context, client *api.Client, request string) {
	ctx, cancel := context.WithTimeout(ctx, releaseTime)
	defer cancel()
	leases, err := client.Leases(ctx, false)
	if err != nil {
		a.say("warning: whether something was issued for request %s is not known; `hourkey leases` tells, and it ends by itself", request)
		return
	}
	for _, lease := range leases {
		if lease.Request == request {
			a.releaseOne(ctx, client, lease.ID, lease.Expires)
		}
	}
}

// release ends every lease, also while signals say to hurry: a signal is no reason to leave a key alive.
func (a *app) release(ctx context.Context, client *api.Client, credentials []api.Credential) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	for _, c := range credentials {
		a.releaseOne(ctx, client, c.Lease, c.Expires)
	}
}

func (a *app) releaseOne(ctx context.Context, client *api.Client, lease string, expires time.Time) {
	err := client.Release(ctx, lease)
	problem, refused := api.AsProblem(err)
	switch {
	case err == nil:
	case refused && (problem.Code == api.CodeNotFound || problem.Code == api.CodeExpired): // it has ended already
	default:
		a.say("warning: lease %s could not be released, it ends by itself at %s: %s", lease, clock(expires), err)
	}
}

// choose gives the credentials that target names, all without one, and the variables they stand for.
func choose(credentials []api.Credential, target string) ([]api.Credential, map[string]api.Secret, error) {
	chosen := credentials
	if target != "" {
		chosen = slices.DeleteFunc(slices.Clone(credentials), func(c api.Credential) bool {
			return target != c.Target && target != place(c)
		})
		if len(chosen) == 0 {
			return nil, nil, failf("it has "+targets(credentials), "--target %s: the request has no such target", target)
		}
	}
	values, err := merge(chosen)
	return chosen, values, err
}

// merge joins the variables of several targets. Two values under one name, or two gateway leases for one
// host, would send a command to whichever came last, so that is refused. Those of a gateway lease are the
// forwarder's to fill in: merge only looks at their names.
func merge(credentials []api.Credential) (map[string]api.Secret, error) {
	values := map[string]api.Secret{}
	taken := claims{}
	for _, c := range credentials {
		for _, name := range slices.Sorted(maps.Keys(c.Values)) {
			if err := taken.variable(c, name, c.Values[name]); err != nil {
				return nil, err
			}
			values[name] = c.Values[name]
		}
		if c.Gateway == nil {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(c.Gateway.Variables)) {
			if err := taken.variable(c, name, api.NewSecret(c.Gateway.Variables[name])); err != nil {
				return nil, err
			}
		}
		for _, host := range c.Gateway.Hosts {
			if err := taken.claim(c, "lead to "+host); err != nil {
				return nil, err
			}
		}
	}
	if len(taken) == 0 {
		return nil, errors.New("the broker sent a credential without values")
	}
	return values, nil
}

// claims notes what a target does that only one may: "set PGUSER" → environment/target.
type claims map[string]string

func (t claims) claim(c api.Credential, what string) error {
	if other, taken := t[what]; taken && other != place(c) {
		return failf("choose one with --target "+other+" or --target "+place(c), "%s and %s both %s", other, place(c), what)
	}
	t[what] = place(c)
	return nil
}

func (t claims) variable(c api.Credential, name string, value api.Secret) error {
	if err := t.claim(c, "set "+name); err != nil {
		return err
	}
	return checkVariable(name, value)
}

// place names a credential as --target takes it.
func place(c api.Credential) string { return c.Environment + "/" + c.Target }

func targets(credentials []api.Credential) string {
	var names []string
	for _, c := range credentials {
		names = append(names, place(c))
	}
	return strings.Join(names, ", ")
}
