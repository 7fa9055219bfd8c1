package broker

import (
	"context"
	"errors"
	"time"
)

// orEarlier gives the request that was quicker with the same Idempotency-Key, or with the same ask, if that
// is what err says.
func (b *Broker) orEarlier(ctx context.Context, request Request, err error) (Request, error) {
	var first Request
	switch {
	case errors.Is(err, errSame):
		same, err := b.foldPending(ctx, request)
		if err == nil && same == nil {
			err = Errorf(CodeConflict, "the same was decided a moment ago").WithNext("try again")
		}
		return orZero(same), err
	case !errors.Is(err, errEarlier):
		return request, err
	}
	err = b.store.View(ctx, func(r Reader) error { return loadEarlier(r, request, &first) })
	return first, err
}

// idempotency remembers what an Idempotency-Key stood for.
type idempotency struct {
	Agent   string    `json:"agent"`
	Value   string    `json:"value"`
	Ask     string    `json:"ask,omitempty"` // digest; empty: the request's own
	Request string    `json:"request"`
	Expires time.Time `json:"expires"`
}

// Meta places them by agent and key, and by when they can be forgotten.
func (i *idempotency) Meta() Meta {
	return Meta{Kind: "idempotency", Key: i.Agent + "\x00" + i.Value, Format: 1, Index: []Entry{{Name: "expires", Order: order(i.Expires)}}}
}

// earlierRequest finds what the same key stood for; the same key for another ask is a mistake.
func earlierRequest(r Reader, ask Ask) (*Request, error) {
	if ask.Idempotency == "" {
		return nil, nil
	}
	first := &Request{}
	err := loadEarlier(r, Request{Agent: ask.Agent, AgentKey: ask.AgentKey, Idempotency: ask.Idempotency, AskDigest: ask.digest()}, first)
	if CodeOf(err) == CodeNotFound {
		return nil, nil
	}
	return first, err
}

// errEarlier ends a transaction in which the same Idempotency-Key turned out to have been quicker.
var errEarlier = errors.New("the same Idempotency-Key came before")

// loadEarlier finds the request that the same Idempotency-Key stands for; it must be the same ask.
func loadEarlier(r Reader, request Request, first *Request) error {
	key := idempotency{Agent: request.Agent, Value: request.Idempotency}
	if err := r.Load(&key); err != nil {
		return err
	}
	first.ID = key.Request
	if err := r.Load(first); err != nil {
		return err
	}
	if orElse(key.Ask, first.AskDigest) != request.AskDigest || first.AgentKey != request.AgentKey {
		return Errorf(CodeConflict, "this Idempotency-Key was used for another request").WithField("idempotency_key").WithNext("use a new key for a new request")
	}
	return nil
}
