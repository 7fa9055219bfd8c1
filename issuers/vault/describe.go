package vault

import (
	"cmp"
	"context"
	"fmt"
	"math/bits"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Describe reads what Vault would hand out and says all that it reaches. CodeWall where a wall is missing,
// CodeInvalid where no offer gives what is asked.
func (i *Issuer) Describe(ctx context.Context, wish broker.Wish) (broker.Description, error) {
	ttl, err := i.lifetime(wish.TTL)
	if err != nil {
		return broker.Description{}, err
	}
	read, err := i.look(ctx, i.allPaths(i.config.Settings))
	if err != nil {
		return broker.Description{}, err
	}
	if err := i.tokenRole(read); err != nil {
		return broker.Description{}, err
	}
	identity, err := i.identity(read)
	if err != nil {
		return broker.Description{}, err
	}
	chosen, err := i.choose(read, wish.Scopes)
	if err != nil {
		return broker.Description{}, err
	}
	if chosen.longest > 0 && chosen.longest < i.engine.traits().floor {
		return broker.Description{}, broker.Errorf(broker.CodeWall, "%s: role %s gives credentials for %s only", i.config.Ref, chosen.Role, chosen.longest).
			WithNext("raise its default_ttl and max_ttl: a lease is ended at its own time all the same")
	}
	if chosen.longest > 0 {
		ttl = min(ttl, chosen.longest)
	}
	return broker.Description{
		Identity: identity.ID, Scopes: chosen.reach, Reaches: []string{i.config.Ref.Environment},
		Native: i.native(chosen), Walls: chosen.walls, Exceptions: chosen.exceptions,
		TTL: ttl, Ends: i.engine.traits().ends,
	}, nil
}

// allPaths are what a description of these settings rests on.
func (i *Issuer) allPaths(s Settings) []string {
	paths := append(i.engine.paths(s), i.identityPaths()...)
	return append(paths, tokenRolePath(s.TokenRole))
}

// stillSo looks, after Vault has handed something out, whether what it was described by is still the same. Vault takes a role or
// a policy as it is then, not as it was approved.
func (i *Issuer) stillSo(ctx context.Context, offer Offer, was broker.Description) error {
	s := i.config.Settings
	s.Offers = []Offer{offer}
	read, err := i.look(ctx, i.allPaths(s))
	if err != nil {
		return err
	}
	if err := i.tokenRole(read); err != nil {
		return err
	}
	identity, err := i.identity(read)
	if err != nil {
		return err
	}
	is, err := i.engine.judge(i, read, offer)
	if err != nil {
		return err
	}
	if identity.ID != was.Identity || !slices.Equal(is.reach, was.Scopes) || !slices.Equal(i.native(is), was.Native) || !reflect.DeepEqual(is.walls, was.Walls) {
		return broker.Errorf(broker.CodeConflict, "%s: what was described has changed at Vault: what it handed out is not used", i.config.Ref).WithNext("make a new request")
	}
	return nil
}

// native is all that Issue will have Vault do, line by line.
func (i *Issuer) native(chosen offered) []string {
	return append([]string{i.order(chosen.Offer)}, chosen.native...)
}

// lifetime is the TTL of a wish: none asked for is the hour.
func (i *Issuer) lifetime(asked time.Duration) (time.Duration, error) {
	floor := i.engine.traits().floor
	switch {
	case asked == 0:
		return broker.Hour, nil
	case asked < floor:
		return 0, broker.Errorf(broker.CodeInvalid, "a lease at %s lives at least %s, not %s", i.config.Ref, floor, asked).WithField("ttl")
	case asked > broker.Hour:
		return 0, broker.Errorf(broker.CodeInvalid, "no key outlives the hour: %s is longer", asked).WithField("ttl")
	}
	return asked, nil
}

// order is the first line of a native policy. It says what Issue will do, and Issue finds the offer by it.
func (i *Issuer) order(offer Offer) string {
	s := i.config.Settings
	policies := s.Policies
	if s.isKV() {
		policies = offer.Policies
	}
	token := fmt.Sprintf("a token of auth/token/create/%s with the policies %s alone", s.TokenRole, strings.Join(policies, ", "))
	if s.isKV() {
		return token
	}
	return fmt.Sprintf("role %s of %s, asked for by %s, which ends with the lease", offer.Role, s.Mount, token)
}

// choose finds the smallest offer that gives everything of the wish.
func (i *Issuer) choose(read papers, wish []broker.Scope) (offered, error) {
	if len(wish) == 0 {
		return offered{}, broker.Errorf(broker.CodeInvalid, "no scope is asked for at %s", i.config.Ref).WithField("scope")
	}
	var best *offered
	var refused error
	var can []string
	for _, offer := range i.config.Settings.Offers {
		found, err := i.engine.judge(i, read, offer)
		if err != nil {
			refused = cmp.Or(refused, err)
			continue
		}
		can = append(can, broker.Texts(found.reach)...)
		if givesAll(found, wish) && (best == nil || found.weight() < best.weight()) {
			best = &found
		}
	}
	switch {
	case best != nil:
		return *best, nil
	case refused != nil:
		return offered{}, refused
	}
	return offered{}, broker.Errorf(broker.CodeInvalid, "%s hands out nothing that gives %s in one credential", i.config.Ref, strings.Join(broker.Texts(wish), ", ")).
		WithField("scope").WithNext("ask within one of: %s", list(can))
}

// list joins some texts, for a message.
func list(texts []string) string {
	const most = 12
	if len(texts) > most {
		return strings.Join(texts[:most], "; ") + "; …"
	}
	return strings.Join(texts, "; ")
}

func givesAll(found offered, wish []broker.Scope) bool {
	for _, scope := range wish {
		if !found.gives(scope) {
			return false
		}
	}
	return true
}

// weight orders offers: by the worst action, then by how many actions, then by how many things.
func (o offered) weight() int {
	all := uint(broker.AllActions(o.reach))
	return bits.Len(all)<<20 + bits.OnesCount(all)<<16 + min(len(o.reach), 1<<16-1)
}
