package vault

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/vault/session"
)

// mostTokens bounds a search: beyond it a Vault is too large to be searched accessor by accessor.
const mostTokens = 50_000

// ours is a lease's token at Vault.
type ours struct{ accessor, name, role string }

// tokens remembers what accessors are, for that never changes: a search asks about each once. One without a name is a token of
// somebody else's.
type tokens struct {
	mu    sync.Mutex
	known map[string]ours // accessor → token
}

// among sorts accessors into those that are known and those that are not, and forgets what is gone.
func (k *tokens) among(accessors []string) (known []ours, unknown []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	left := make(map[string]ours, len(accessors))
	for _, accessor := range accessors {
		one, seen := k.known[accessor]
		if !seen {
			unknown = append(unknown, accessor)
			continue
		}
		left[accessor] = one
		known = append(known, one)
	}
	k.known = left
	return known, unknown
}

func (k *tokens) add(accessor string, one ours) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil {
		k.known = map[string]ours{}
	}
	k.known[accessor] = one
}

// List gives the names of all leases at the target that begin with prefix.
func (i *Issuer) List(ctx context.Context, prefix string) ([]string, error) {
	all, err := i.search(ctx, func(name string) bool { return strings.HasPrefix(name, prefix) && broker.IsLeaseName(name) })
	if err != nil {
		return nil, err
	}
	var names []string
	for _, one := range all {
		names = append(names, one.name)
	}
	slices.Sort(names)
	return names, nil
}

// find gives the tokens of one lease: one, or none, or two where an answer of Vault's was lost and something asked again.
func (i *Issuer) find(ctx context.Context, name string) (found []ours, err error) {
	err = i.at(pointRevokeFind, func() (err error) {
		found, err = i.search(ctx, func(other string) bool { return other == name })
		return err
	})
	return found, err
}

// search looks for tokens of the target's role whose metadata bears a name that is wanted. Vault has no index of them: it
// asks about each accessor, unless the role has no token alive at all, which is asked first.
func (i *Issuer) search(ctx context.Context, wanted func(name string) bool) ([]ours, error) {
	alive, err := i.session.List(ctx, "sys/leases/lookup/auth/token/create/"+i.config.Settings.TokenRole+"/")
	if err != nil {
		return nil, i.fault("listing the leases' tokens", err)
	}
	if len(alive) == 0 {
		return nil, nil
	}
	accessors, err := i.session.List(ctx, "auth/token/accessors")
	if err != nil {
		return nil, i.fault("listing tokens", err)
	}
	found, unknown := i.tokens.among(accessors)
	if len(unknown) > mostTokens {
		return nil, broker.Errorf(broker.CodeUnavailable, "%s: Vault has %d tokens, too many to look for orphans among them", i.config.Ref, len(accessors)).
			WithNext("each ends at its TTL; the operator of Vault finds out who makes so many")
	}
	more, err := i.sift(ctx, unknown)
	if err != nil {
		return nil, i.fault("looking for tokens", err)
	}
	return slices.DeleteFunc(append(found, more...), func(one ours) bool { return one.name == "" || !wanted(one.name) }), nil
}

// sift looks up accessors.
func (i *Issuer) sift(ctx context.Context, accessors []string) (found []ours, err error) {
	var mu sync.Mutex
	err = each(ctx, accessors, func(ctx context.Context, accessor string) error {
		one, known, err := i.lookup(ctx, accessor)
		if known {
			mu.Lock()
			defer mu.Unlock()
			found = append(found, one)
		}
		return err
	})
	return found, err
}

// each does something with every text, with several at once, and stops at the first failure.
func each(ctx context.Context, texts []string, do func(context.Context, string) error) error {
	within, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var all sync.WaitGroup
	work := make(chan string)
	for range min(atOnce, len(texts)) {
		all.Go(func() {
			for text := range work {
				if err := do(within, text); err != nil {
					stop(err)
				}
			}
		})
	}
	for _, text := range texts {
		select {
		case work <- text:
		case <-within.Done():
		}
	}
	close(work)
	all.Wait()
	return context.Cause(within)
}

// lookup asks what an accessor is. known is false when it is gone; a token of somebody else's is known and has no name.
func (i *Issuer) lookup(ctx context.Context, accessor string) (one ours, known bool, err error) {
	answer, err := i.session.Write(ctx, "auth/token/lookup-accessor", map[string]any{"accessor": accessor})
	if session.StatusOf(err) == http.StatusBadRequest && session.Says(err, "invalid accessor") {
		return ours{}, false, nil
	}
	if err != nil {
		return ours{}, false, err
	}
	path, _ := answer.Data["path"].(string)
	meta, _ := answer.Data["meta"].(map[string]any)
	name, _ := meta[metaName].(string)
	if path == "auth/token/create/"+i.config.Settings.TokenRole && broker.IsLeaseName(name) {
		one.accessor, one.name = accessor, name
		one.role, _ = meta["role"].(string)
	}
	i.tokens.add(accessor, one)
	return one, true, nil
}
