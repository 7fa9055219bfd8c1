package authn

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/hourkey/hourkey/broker"
)

const (
	rememberBeyond = 2 * time.Minute // after exp, so that a clock set back a little replays nothing
	pruneAtOnce    = 64              // more than one per call, so that the records never pile up
)

// usedAssertion remembers the jti of an assertion until no clock could accept it again.
type usedAssertion struct {
	Hash   string    `json:"hash"`   // base64url SHA-256 of agent NUL jti
	Forget time.Time `json:"forget"` // when it may be pruned
}

// Meta places used assertions by hash, and by when they can be forgotten.
func (u *usedAssertion) Meta() broker.Meta {
	return broker.Meta{Kind: "assertion", Key: u.Hash, Format: 1, Index: []broker.Entry{
		{Name: "forget", Order: u.Forget.UTC().Format("20060102150405.000000000")},
	}}
}

// remember refuses an assertion that was used before and makes sure that this one cannot be again,
// whatever happens next: it is durable when remember returns.
func (a *Agents) remember(ctx context.Context, agent string, claims *assertionClaims) error {
	sum := sha256.Sum256([]byte(agent + "\x00" + claims.ID))
	used := &usedAssertion{Hash: base64.RawURLEncoding.EncodeToString(sum[:]), Forget: claims.ExpiresAt.Add(rememberBeyond)}
	var refused error
	err := a.store.Update(ctx, func(tx broker.Tx) error {
		refused = a.useOnce(tx, used)
		return refused
	})
	if err != nil && refused == nil {
		return broker.Errorf(broker.CodeUnavailable, "the broker cannot write its store").WithNext("try again").Because(err)
	}
	return err
}

func (a *Agents) useOnce(tx broker.Tx, used *usedAssertion) error {
	switch err := tx.Load(&usedAssertion{Hash: used.Hash}); {
	case err == nil:
		return badClient("the client assertion was used before").WithNext("make a new one, with a new jti, for each call")
	case broker.CodeOf(err) != broker.CodeNotFound:
		return err
	}
	if err := pruneUsed(tx, a.now()); err != nil {
		return err
	}
	return tx.Save(used)
}

func pruneUsed(tx broker.Tx, now time.Time) error {
	var over []*usedAssertion
	err := tx.Scan("assertion", "forget", func(raw []byte) error {
		used := &usedAssertion{}
		if err := json.Unmarshal(raw, used); err != nil {
			return err
		}
		if now.Before(used.Forget) || len(over) == pruneAtOnce {
			return broker.ErrStop
		}
		over = append(over, used)
		return nil
	})
	if err != nil {
		return err
	}
	for _, used := range over {
		if err := tx.Delete(used); err != nil {
			return err
		}
	}
	return nil
}
