package daemon

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/issuers"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/policies"
)

// Build makes the configuration that a broker runs on. It resolves secrets and opens issuers; it calls
// no provider.
type Build struct {
	Secrets config.Secrets
	Signer  func(ctx context.Context, environment string) (ed25519.PrivateKey, error) // of target tokens
	Now     func() time.Time

	Authority *gateway.Authority // of the gateway's tunnels

	failpoint func(name string) // of crash tests; nil otherwise
}

// Built is a configuration with what a reload compares it by.
type Built struct {
	*broker.Configuration
	Policies *policies.Set

	secrets map[broker.TargetRef][]byte // target → digest of the secrets that it was opened with
}

// Configuration checks everything and opens every target. When one cannot be opened, none stays open.
// Targets of former (may be nil) that are the same, secrets included, are used again.
func (b Build) Configuration(ctx context.Context, set *config.Set, former *Built) (*Built, error) {
	policy, err := LoadPolicy(set)
	if err != nil {
		return nil, err
	}
	built := &Built{Policies: policy, secrets: map[broker.TargetRef][]byte{}, Configuration: &broker.Configuration{
		Hash: set.Hash, Environments: set.Environments, Groups: set.Server.Groups, Roles: set.Server.Roles,
		Policy: policy, Targets: map[broker.TargetRef]broker.Target{}, Limits: set.Server.Limits,
	}}
	if sso := set.Server.SingleSignOn; sso != nil {
		built.SignOn = &broker.SignOn{Issuer: sso.Issuer, Groups: sso.OurGroups()}
	}
	if err := apart(set); err != nil {
		return nil, err
	}
	var missing []error
	for _, target := range set.Targets {
		lacks, err := b.target(ctx, set, built, target)
		if err != nil && !lacks {
			return nil, errors.Join(err, built.closeExcept(nil))
		}
		if err != nil { // whoever sets a broker up is told of all of them at once
			missing = append(missing, err)
		}
	}
	if len(missing) > 0 {
		return nil, errors.Join(together(missing), built.closeExcept(nil))
	}
	return built, built.reuse(former)
}

// target opens one; lacks is true when all that is wrong is that a secret is not where it should be.
func (b Build) target(ctx context.Context, set *config.Set, built *Built, target config.Target) (lacks bool, err error) {
	seen := &seen{secrets: b.Secrets, digest: sha256.New()}
	opened, err := issuers.Open(ctx, issuers.Config{
		Resolve: seen.resolve,
		Signer:  func(environment string) (ed25519.PrivateKey, error) { return b.Signer(ctx, environment) },
		Issuer:  set.Server.Origin, File: target.File, Now: b.Now, Failpoint: b.failpoint, Authority: b.Authority,
	}, target.Ref, target.Kind, target.Body)
	digest, pasted, lacks := seen.end()
	if err != nil && pasted { // whatever err says may repeat what is perhaps the secret itself (invariant 10)
		return false, broker.Errorf(broker.CodeInvalid, "%s: target %s: a field that wants a reference to a secret holds something else", target.Where, target.Ref).
			WithNext("write env:NAME, file:PATH or vault:PATH#FIELD, and put the secret there")
	}
	if err != nil {
		return lacks, explained(err)
	}
	built.Targets[target.Ref] = opened
	built.secrets[target.Ref] = digest
	return false, nil
}

// together makes one error of those of several targets.
func together(list []error) error {
	var messages, next []string
	for _, err := range list {
		e, ours := errors.AsType[*broker.Error](err)
		if !ours || len(list) == 1 {
			return err
		}
		messages = append(messages, e.Message) // who reloads over the socket is shown no cause
		if e.Next != "" && !slices.Contains(next, e.Next) {
			next = append(next, e.Next)
		}
	}
	return broker.Errorf(broker.CodeInvalid, "%s", strings.Join(messages, "; ")).WithNext("%s", strings.Join(next, "\n"))
}

// explained has an error about a secret say why it cannot be read, and what to do: whoever reloads over the socket is shown that
// much and no cause.
func explained(err error) error {
	outer, ours := errors.AsType[*broker.Error](err)
	if !ours || outer.Next != "" {
		return err
	}
	inner, ours := errors.AsType[*broker.Error](outer.Err)
	if !ours {
		return err
	}
	told := *outer
	told.Message, told.Next, told.Err = outer.Message+": "+inner.Message, inner.Next, inner.Err
	return &told
}

// seen resolves the references of one target, and digests what came of those that it was opened with. Some issuers ask again
// later, from any goroutine: that is resolved, and no longer digested.
type seen struct {
	secrets config.Secrets

	mu     sync.Mutex
	digest hash.Hash // nil after the end
	pasted bool      // something that is no reference was to be resolved
	lacks  bool      // a variable or a file was not there
}

func (s *seen) resolve(reference string) (broker.Secret, error) {
	secret, err := s.secrets.Resolve(reference)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pasted = s.pasted || !config.IsReference(reference)
	s.lacks = s.lacks || err != nil && !strings.HasPrefix(reference, "vault:")
	if s.digest != nil {
		_, _ = fmt.Fprintf(s.digest, "%d %s%d %s", len(reference), reference, len(secret.Reveal()), secret.Reveal())
	}
	return secret, err
}

func (s *seen) end() (digest []byte, pasted, lacks bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	digest, s.digest = s.digest.Sum(nil), nil
	return digest, s.pasted, s.lacks
}

// reuse keeps the former issuer of a target that has not changed, with its connections, and closes the
// one that was opened to check it.
func (b *Built) reuse(former *Built) error {
	if former == nil {
		return nil
	}
	var failed error
	for ref, target := range b.Targets {
		old, known := former.Targets[ref]
		if known && old.Binding == target.Binding && bytes.Equal(former.secrets[ref], b.secrets[ref]) {
			failed = errors.Join(failed, closeTarget(target))
			b.Targets[ref] = old
		}
	}
	return failed
}

// closeExcept closes the targets that are not in use by another configuration (may be nil).
func (b *Built) closeExcept(used *Built) error {
	var failed error
	for ref, target := range b.Targets {
		if used != nil && used.Targets[ref] == target {
			continue
		}
		failed = errors.Join(failed, closeTarget(target))
	}
	return failed
}

// closeReplaced closes the issuers in whose place next has another of the same binding: their secrets were exchanged, and the new
// one ends what they issued. Those whose binding is gone are the broker's, which ends their leases by them and then closes them.
func (b *Built) closeReplaced(next *Built) error {
	var failed error
	for ref, target := range b.Targets {
		if now := next.Targets[ref]; now.Binding == target.Binding && now != target {
			failed = errors.Join(failed, closeTarget(target))
		}
	}
	return failed
}

// Close closes every target.
func (b *Built) Close() error { return b.closeExcept(nil) }

func closeTarget(target broker.Target) error {
	if closer, can := target.Issuer.(io.Closer); can {
		return closer.Close()
	}
	return nil
}

// ThrowawayAuthority certifies nothing that anybody believes: for check, too.
func ThrowawayAuthority() (*gateway.Authority, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := rand.Read(seed); err != nil {
		return nil, fmt.Errorf("reading random bytes: %w", err)
	}
	return gateway.NewAuthority(seed, "check")
}

// Throwaway gives keys that sign nothing: check opens issuers with them, so that it needs no store.
func Throwaway(context.Context, string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}
