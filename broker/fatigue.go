package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// How an agent is kept from tiring its reviewers.
const (
	denialHolds  = time.Hour        // a no to an ask is a no to the same ask for so long
	nosToPause   = 3                // so many noes within the hour, and the agent pauses
	nosToStop    = 6                // so many, and it pauses for an hour
	shortPause   = 10 * time.Minute // after the latest of them
	freezeFor    = time.Hour        // "deny and freeze this agent"
	withdrawals  = 10               // so many requests withdrawn within the hour, and the agent pauses
	deniedListed = 20               // noes looked at
)

// fold tells two asks apart that a human would have to read twice: all but the agent's words.
func (a Ask) fold() string {
	a.Reason = ""
	return a.digest()
}

// foldPending finds a request that waits already for the very same as one that is about to be made, by the
// same key under the same configuration, and counts the repetition: the reviewer is asked once.
func (b *Broker) foldPending(ctx context.Context, next Request) (*Request, error) {
	var same *Request
	find := func(r Reader) (err error) {
		same, err = pendingSame(r, next, b.now())
		return err
	}
	if err := b.store.View(ctx, find); err != nil || same == nil {
		return nil, err
	}
	if agent := (Agent{Name: same.Agent, Owner: same.Owner, Thumbprint: same.AgentKey}); b.repeats.take(agent, same.ID, b.now()) > 0 {
		// Told of the request all the same, which writes nothing now: many jobs of one agent wait for one human.
		return same, b.store.View(ctx, func(r Reader) error { return b.recount(r, same) })
	}
	err := b.update(ctx, func(tx Tx) error {
		if err := find(tx); err != nil || same == nil {
			return err
		}
		same.Repeats++
		if err := tx.Save(same); err != nil {
			return err
		}
		if err := remember(tx, next, *same, b.now()); err != nil {
			return err
		}
		data := b.requestEvent(*same)
		data.Reason = next.Reason
		if err := b.append(tx, EventRequestRepeated, "agent:"+same.Agent, same.ID, data); err != nil {
			return err
		}
		return b.recount(tx, same)
	})
	return same, err
}

func pendingSame(r Reader, next Request, now time.Time) (same *Request, err error) {
	err = r.Scan("request", foldIndex(next.Agent, orElse(next.Fold, next.AskFold)), func(raw []byte) error {
		var was Request
		if err := json.Unmarshal(raw, &was); err != nil {
			return fmt.Errorf("reading request: %w", err)
		}
		if was.AgentKey == next.AgentKey && was.Config == next.Config && now.Before(was.Deadline) {
			same = &was
			return ErrStop
		}
		return nil
	})
	return same, err
}

// errSame ends a transaction in which the very same turned out to wait already.
var errSame = errors.New("the same waits already")

// remember lets a later try with the same Idempotency-Key find the request into which this one went.
func remember(tx Tx, next, same Request, now time.Time) error {
	if next.Idempotency == "" {
		return nil
	}
	return tx.Save(&idempotency{Agent: next.Agent, Value: next.Idempotency, Ask: next.AskDigest, Request: same.ID, Expires: now.Add(24 * time.Hour)})
}

// rested refuses what would ask humans again who just said no.
func (b *Broker) rested(r Reader, request Request) error {
	var latest time.Time
	nos, now := 0, b.now()
	err := r.Scan("request", "denied/"+request.Agent, func(raw []byte) error {
		var no Request
		if err := json.Unmarshal(raw, &no); err != nil {
			return fmt.Errorf("reading request: %w", err)
		}
		if nos >= deniedListed || now.Sub(no.Decided) >= denialHolds {
			return ErrStop
		}
		if nos++; no.Decided.After(latest) {
			latest = no.Decided
		}
		if request.Operation == nil && no.Operation == nil && no.Fold == request.Fold && no.Config == request.Config {
			return Errorf(CodeDenied, "a reviewer denied this: %s (request %s)", orElse(no.Verdict, "no reason was given"), no.ID).
				WithNext("do not ask for the same again; ask for less, or talk to the reviewer")
		}
		return nil
	})
	if err == nil {
		err = b.steady(r, request.Agent)
	}
	pause := map[bool]time.Duration{false: shortPause, true: denialHolds}[nos >= nosToStop]
	if left := latest.Add(pause).Sub(now); err == nil && nos >= nosToPause && left > 0 {
		return Errorf(CodeSlowDown, "%s were denied to %s within the hour: humans are asked again in %s", plural(nos, "request"), request.Agent, inWords(left.Round(time.Second))).
			WithNext("wait, and ask for less").In(left)
	}
	return err
}

// steady refuses an agent that asks and withdraws, over and over: humans are called, and can never say no.
func (b *Broker) steady(r Reader, agent string) error {
	var latest time.Time
	n, now := 0, b.now()
	err := r.Scan("request", "withdrawn/"+agent, func(raw []byte) error {
		var was Request
		if err := json.Unmarshal(raw, &was); err != nil {
			return fmt.Errorf("reading request: %w", err)
		}
		if n >= withdrawals || now.Sub(was.Decided) >= denialHolds {
			return ErrStop
		}
		if n++; was.Decided.After(latest) {
			latest = was.Decided
		}
		return nil
	})
	if left := latest.Add(shortPause).Sub(now); err == nil && n >= withdrawals && left > 0 {
		return Errorf(CodeSlowDown, "%s withdrew %s within the hour: humans are asked again in %s", agent, plural(n, "request"), inWords(left.Round(time.Second))).
			WithNext("wait, and ask once").In(left)
	}
	return err
}

// RejectAndFreeze denies a request and freezes its agent for an hour: for whoever may decide on it. The
// freeze comes first, so that nothing slips through between the two. Providers come last, and whether the human
// still waits does not matter: a no that was given is recorded.
func (b *Broker) RejectAndFreeze(ctx context.Context, human, id, digest, words string) error {
	if err := fits(words); err != nil {
		return err
	}
	request := Request{ID: id}
	err := b.store.View(ctx, func(r Reader) error {
		found, err := load(r, &request)
		if err != nil || !found {
			return errors.Join(err, noRequest(id))
		}
		return b.mayReject(human, digest, request)
	})
	if err != nil {
		return err
	}
	freeze, recorded := b.hold(ctx, Freeze{
		Of: FreezeAgent, Name: request.Agent, By: "human:" + human, Reason: "denied and frozen by " + human, At: b.now(), Until: b.now().Add(freezeFor),
	})
	record, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordFor)
	rejected := b.Reject(record, human, id, digest, words)
	cancel()
	_, unended := b.endFrozen(ctx, freeze)
	return errors.Join(rejected, recorded, unended)
}
