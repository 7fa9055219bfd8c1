package broker_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

// fuse counts what a broker does to the world, and spoils the effect number at.
type fuse struct {
	mu    sync.Mutex
	at    int  // 0: never
	crash bool // nothing more happens afterwards, as after kill -9; else this effect alone fails
	late  bool // the effect happens, and its answer is lost
	n     int
	blown bool
}

var errFuse = errors.New("the fuse blew")

// step runs effect, or does not. can tells whether the effect can happen and be reported as failed.
func (f *fuse) step(can bool, effect func() error) error {
	f.mu.Lock()
	f.n++
	now := f.at != 0 && f.n == f.at
	dead := f.blown && f.crash
	f.blown = f.blown || now
	late := f.late && (can || f.crash)
	f.mu.Unlock()
	switch {
	case dead:
		return errFuse
	case now && late:
		return errors.Join(errFuse, effect())
	case now:
		return errFuse
	}
	return effect()
}

type fusedStore struct {
	*brokertest.Store
	fuse *fuse
}

func (s fusedStore) Update(ctx context.Context, change func(broker.Tx) error) error {
	return s.fuse.step(false, func() error { return s.Store.Update(ctx, change) })
}

type fusedIssuer struct {
	*brokertest.Issuer
	fuse *fuse
}

func (i fusedIssuer) Issue(ctx context.Context, order broker.Order) (c broker.Credential, h broker.Handle, err error) {
	err = i.fuse.step(true, func() (err error) { c, h, err = i.Issuer.Issue(ctx, order); return err })
	if err != nil {
		return broker.Credential{}, nil, err
	}
	return c, h, nil
}

func (i fusedIssuer) Revoke(ctx context.Context, name string, h broker.Handle) error {
	return i.fuse.step(true, func() error { return i.Issuer.Revoke(ctx, name, h) })
}

// fused is a World whose store and issuers go through a fuse, which is not lit yet.
func fused(t *testing.T, f *fuse) *brokertest.World {
	at := f.at
	f.at = 0
	w := brokertest.NewWorld(t, func(c *broker.Config) {
		c.Store = fusedStore{c.Store.(*brokertest.Store), f}
		for ref, target := range c.Configuration.Targets {
			target.Issuer = fusedIssuer{target.Issuer.(*brokertest.Issuer), f}
			c.Configuration.Targets[ref] = target
		}
	})
	f.at, f.n = at, 0
	return w
}

// Each scenario goes on after a failure, as callers do; what it is given back goes to got.
var scenarios = map[string]func(w *brokertest.World, got func([]broker.Credential, error)){
	"collect": func(w *brokertest.World, got func([]broker.Credential, error)) {
		request, _ := w.Ask("staging", "db:public.orders:read")
		got(w.Collect(w.Context(), w.Agent, request.ID))
	},
	"collect again": func(w *brokertest.World, got func([]broker.Credential, error)) {
		request, _ := w.Ask("staging", "db:public.orders:read")
		got(w.Collect(w.Context(), w.Agent, request.ID))
		got(w.Collect(w.Context(), w.Agent, request.ID))
	},
	"two environments": func(w *brokertest.World, got func([]broker.Credential, error)) {
		request, _ := w.Submit(w.Context(), broker.Ask{
			Agent: "claude", AgentKey: "thumb", Task: "fix", Environments: []string{"staging", "production"}, Scopes: []broker.Scope{w.Scope("db:public.orders:read")},
		})
		got(w.Collect(w.Context(), w.Agent, request.ID))
	},
	"approve": func(w *brokertest.World, got func([]broker.Credential, error)) {
		request, _ := w.Ask("staging", "db:public.orders:delete")
		_ = w.TrySign("bob", broker.Intent{Act: broker.ActApprove, Subject: request.ID, Digest: request.Digest()})
		got(w.Collect(w.Context(), w.Agent, request.ID))
		got(w.Collect(w.Context(), w.Agent, request.ID))
	},
	"release": func(w *brokertest.World, got func([]broker.Credential, error)) {
		request, _ := w.Ask("staging", "db:public.orders:read")
		got(w.Collect(w.Context(), w.Agent, request.ID))
		for _, lease := range mustLeases(w) {
			_ = w.Release(w.Context(), w.Agent, lease.ID)
		}
	},
	"freeze": func(w *brokertest.World, got func([]broker.Credential, error)) {
		first, _ := w.Ask("staging", "db:public.orders:read")
		second, _ := w.Ask("production", "db:public.orders:read")
		got(w.Collect(w.Context(), w.Agent, first.ID))
		_, _ = w.Freeze(w.Context(), broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeAll})
		got(w.Collect(w.Context(), w.Agent, second.ID))
	},
	"remove agent": func(w *brokertest.World, got func([]broker.Credential, error)) {
		request, _ := w.Ask("staging", "db:public.orders:read")
		got(w.Collect(w.Context(), w.Agent, request.ID))
		_ = w.RemoveAgent(w.Context(), broker.Caller{Kind: broker.CallerSocket}, "claude")
	},
	"expire": func(w *brokertest.World, got func([]broker.Credential, error)) {
		request, _ := w.Ask("staging", "db:public.orders:read")
		got(w.Collect(w.Context(), w.Agent, request.ID))
		w.Clock.Advance(31 * time.Minute)
		w.Sweep(w.Context())
	},
}

// TestEveryEffectFailsOnce and with it every crash: whichever write or provider call fails, happens
// unheard, or is the last thing that the process did, each credential is accounted for (invariants 2, 6 and 8).
func TestEveryEffectFailsOnce(t *testing.T) {
	for name, scenario := range scenarios {
		for _, kind := range []struct{ crash, late bool }{{}, {late: true}, {crash: true}, {crash: true, late: true}} {
			for at := 1; ; at++ {
				f := &fuse{at: at, crash: kind.crash, late: kind.late}
				t.Run(fmt.Sprintf("%s/crash=%t,late=%t/%d", name, kind.crash, kind.late, at), func(t *testing.T) {
					w := fused(t, f)
					scenario(w, func(credentials []broker.Credential, err error) {
						if err == nil {
							wantDurable(w, credentials)
						}
					})
					wantAccounted(w)
					f.mu.Lock()
					f.at, f.crash = 0, false
					f.mu.Unlock()
					if kind.crash {
						restart(w)
					}
					wantAllEnded(w)
				})
				if !f.blown {
					break // the scenario has no more effects than this
				}
			}
		}
	}
}

// restart opens the broker anew and lets it run until it has done what it does at a start.
func restart(w *brokertest.World) {
	w.Helper()
	w.Reopen()
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Millisecond)
	defer cancel()
	_ = w.Run(ctx)
}

// wantDurable: what was handed out has a lease and an event in the store (invariant 2).
func wantDurable(w *brokertest.World, credentials []broker.Credential) {
	w.Helper()
	for _, credential := range credentials {
		found := false
		for _, event := range w.Store.Log() {
			found = found || event.Type == broker.EventLeaseIssued && event.Subject == credential.Lease
		}
		if lease := leaseIn(w, credential.Lease); !found || lease.State == broker.LeaseIssuing {
			w.Fatalf("handed out with state %s and event %t", lease.State, found)
		}
	}
}

func leaseIn(w *brokertest.World, id string) broker.Lease {
	w.Helper()
	lease := broker.Lease{ID: id}
	if err := w.Store.View(w.Context(), func(r broker.Reader) error { return r.Load(&lease) }); err != nil {
		w.Fatal(err)
	}
	return lease
}

// wantAccounted: what lives at a provider has an open lease in the store (invariant 8).
func wantAccounted(w *brokertest.World) {
	w.Helper()
	for _, name := range append(w.Staging.Live(), w.Production.Live()...) {
		if lease := leaseIn(w, name[len("hk-01234567-"):]); !lease.Open() {
			w.Fatalf("%s lives and its lease is %s", name, lease.State)
		}
	}
}

// wantAllEnded: an hour later nothing lives, every lease is ended, and the log says so.
func wantAllEnded(w *brokertest.World) {
	w.Helper()
	w.Sweep(w.Context())
	wantAccounted(w)
	for range 3 {
		w.Clock.Advance(broker.Hour)
		w.Sweep(w.Context())
	}
	if live := append(w.Staging.Live(), w.Production.Live()...); len(live) != 0 {
		w.Fatalf("alive after the hour: %v", live)
	}
	ended := map[string]bool{}
	for _, event := range w.Store.Log() {
		ended[event.Subject] = ended[event.Subject] || event.Type == broker.EventLeaseEnded
	}
	for _, lease := range mustLeases(w, true) {
		if lease.State != broker.LeaseEnded || !ended[lease.ID] || lease.Handle != nil {
			w.Fatalf("after the hour: %+v, ended event %t", lease, ended[lease.ID])
		}
	}
}
