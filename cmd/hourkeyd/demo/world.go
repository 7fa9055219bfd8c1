package demo

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/packs/railway"
	"github.com/hourkey/hourkey/issuers/gateway/proxy"
	"github.com/hourkey/hourkey/policies"
	"github.com/hourkey/hourkey/store"
	"github.com/hourkey/hourkey/store/auditlog"
	"github.com/hourkey/hourkey/store/bolt"
	"github.com/hourkey/hourkey/store/keys"
	"github.com/hourkey/hourkey/web"
	"github.com/hourkey/hourkey/web/api"
	"github.com/hourkey/hourkey/web/authn"
	"github.com/hourkey/hourkey/web/authn/softkey"
)

// The cast.
const (
	agentName = "claude-code"
	operator  = "olga"  // set this up; owns the agent; her passkey is software
	reviewer  = "robin" // reviews too; a session of his is stolen
	you       = "you"
)

const targetName = railway.Kind

const tasks = `fix-staging:
  summary: Routine work on staging
  agents: [claude-code]
  environments: [staging]
  gives:
    - railway:project/*:read
    - railway:environment/*:read
    - railway:service/*:read,write
    - railway:volume/*:read
  with_approval: ["railway:volume/*:delete"]
  ttl: 60m
`

// world is everything that one drill runs on.
type world struct {
	folder   string
	checkout checkout
	railway  *host
	origin   string // the broker's
	engine   *bolt.Engine
	log      *auditlog.Log
	signing  ed25519.PrivateKey // of the log's checkpoints
	broker   *broker.Broker
	gateway  *proxy.Proxy
	started  time.Time // of the gateway, no earlier
	agent    *api.Client
	people   map[string]*softkey.Person // name → human with a software passkey
	now      func() time.Time
	stop     context.CancelFunc
	running  sync.WaitGroup
	failures chan error // of what runs, told when the world is closed
}

// open starts Railway and the broker. Close the world whatever happened.
func open(ctx context.Context, now func() time.Time, p parts) (w *world, err error) {
	ctx, stop := context.WithCancel(ctx)
	w = &world{now: now, stop: stop, people: map[string]*softkey.Person{}, failures: make(chan error, 4)}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.folder, err = os.MkdirTemp("", "hourkey-drill-"); err != nil {
		return w, fmt.Errorf("making a temporary folder: %w", err)
	}
	ring, kept, err := w.openStore(ctx)
	if err != nil {
		return w, err
	}
	if err := w.openRailway(ctx); err != nil {
		return w, err
	}
	return w, w.openBroker(ctx, ring, kept, p)
}

// close stops everything and removes the folder.
func (w *world) close() error {
	w.stop()
	w.running.Wait()
	close(w.failures)
	var failed []error
	for err := range w.failures {
		failed = append(failed, err)
	}
	if w.engine != nil {
		failed = append(failed, w.engine.Close())
	}
	if w.folder != "" {
		failed = append(failed, os.RemoveAll(w.folder))
	}
	return errors.Join(failed...)
}

func (w *world) openStore(ctx context.Context) (*keys.Ring, *store.Store, error) {
	var err error
	if w.engine, err = bolt.Open(filepath.Join(w.folder, "data", "hourkey.db"), bolt.Options{}); err != nil {
		return nil, nil, err
	}
	w.log = auditlog.New(w.engine, auditlog.Options{Now: w.now})
	kept, err := store.Open(w.engine, w.log, store.Options{})
	if err != nil {
		return nil, nil, err
	}
	kek, err := keys.NewFileKEK(filepath.Join(w.folder, "kek"))
	if err != nil {
		return nil, nil, err
	}
	ring, err := keys.Open(ctx, kept, kek, w.now)
	if err != nil {
		return nil, nil, err
	}
	w.signing, err = ring.Signer(ctx, "checkpoint")
	return ring, kept, err
}

// openRailway also fills the checkout: the agent's own credential, which is refused, and one that somebody forgot.
func (w *world) openRailway(ctx context.Context) (err error) {
	if w.railway, err = newHost(filepath.Join(w.folder, "railway"), w.now); err != nil {
		return err
	}
	serve, err := w.railway.serve(ctx)
	if err != nil {
		return err
	}
	w.running.Go(func() { w.failures <- serve() })
	w.checkout = checkout(filepath.Join(w.folder, "checkout"))
	return errors.Join(w.checkout.write(agents, "RAILWAY_TOKEN="+rand.Text()), w.checkout.write(forgotten, "RAILWAY_API_TOKEN="+w.railway.AccountToken))
}

func (w *world) openBroker(ctx context.Context, ring *keys.Ring, kept *store.Store, p parts) error {
	listener, err := web.Listen(ctx, web.ListenConfig{Address: "127.0.0.1:0"})
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return err
	}
	w.origin = "http://localhost:" + port // WebAuthn wants a name, and takes this one without TLS
	verifier, err := authn.NewVerifier("localhost", []string{w.origin})
	if err != nil {
		return err
	}
	authority, err := w.authority(ctx, ring)
	if err != nil {
		return err
	}
	configuration, err := w.configuration(authority, p)
	if err != nil {
		return err
	}
	w.broker, err = broker.New(ctx, broker.Config{
		Store: kept, Sealer: ring, Verifier: p.verifier(verifier), Configuration: configuration, Origin: w.origin, Now: w.now,
	})
	if err != nil {
		return err
	}
	if w.gateway, err = proxy.New(proxy.Config{Broker: p.calls(w.broker), Authority: authority, Origin: w.origin, Now: w.now}); err != nil {
		return err
	}
	w.started = w.now()
	return w.serve(ctx, listener, ring, kept, verifier)
}

// authority certifies the gateway's ends of tunnels.
func (w *world) authority(ctx context.Context, ring *keys.Ring) (*gateway.Authority, error) {
	key, err := ring.Signer(ctx, "gateway-ca")
	if err != nil {
		return nil, err
	}
	return gateway.NewAuthority(key.Seed(), "drill")
}

func (w *world) serve(ctx context.Context, listener net.Listener, ring *keys.Ring, kept *store.Store, verifier *authn.Verifier) error {
	access, err := ring.Signer(ctx, "access-token")
	if err != nil {
		return err
	}
	server, err := web.New(web.Config{
		Broker: w.broker, Store: kept, Origin: w.origin, AccessKey: access, Verifier: verifier, Tunnel: w.gateway, Now: w.now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	w.running.Go(func() { w.failures <- w.gateway.Run(ctx) })
	w.running.Go(func() { w.failures <- server.Serve(ctx, listener, server) })
	w.running.Go(func() { _ = w.broker.Run(ctx) }) // ends with its context alone
	return nil
}

// configuration is what the files of an installation would say.
func (w *world) configuration(authority *gateway.Authority, p parts) (*broker.Configuration, error) {
	groups := map[string][]string{"operators": {operator}, "reviewers": {reviewer, you}}
	set, err := policies.Load(policies.Source{
		Tasks:        []policies.File{{Name: "policies/tasks/staging.yaml", Data: []byte(tasks)}},
		Environments: map[string][]string{"staging": {targetName}, "production": {targetName}}, Groups: groups,
	})
	if err != nil {
		return nil, err
	}
	targets, err := w.targets(authority, p)
	if err != nil {
		return nil, err
	}
	humans := map[broker.Actions]int{broker.Delete: 1, broker.Admin: 1}
	return &broker.Configuration{
		Hash: "drill", Groups: groups, Policy: set, Limits: broker.Limits{PendingPerAgent: 5, LeasesPerAgent: 20},
		Roles: map[broker.Role][]string{broker.RoleOperator: {"operators"}, broker.RoleReviewer: {"reviewers"}},
		Environments: map[string]broker.Environment{
			"staging":    {Name: "staging", Approval: humans, Where: "environments/staging.yaml:1"},
			"production": {Name: "production", Protected: true, Approval: humans, Where: "environments/production.yaml:1"},
		},
		Targets: targets,
	}, nil
}

// targets are staging and production at Railway, behind the gateway. The token is the one that lay about.
func (w *world) targets(authority *gateway.Authority, p parts) (map[broker.TargetRef]broker.Target, error) {
	known, err := railway.New()
	if err != nil {
		return nil, err
	}
	targets := map[broker.TargetRef]broker.Target{}
	for _, environment := range []string{"staging", "production"} {
		provider, err := railway.Open(railway.Config{
			Settings: railway.Settings{Project: "shop", Environment: environment, URL: w.railway.url},
			Token:    broker.NewSecret(w.railway.AccountToken), Now: w.now, Pack: known,
		})
		if err != nil {
			return nil, err
		}
		ref := broker.TargetRef{Environment: environment, Target: targetName}
		issuer, err := gateway.New(gateway.Config{Ref: ref, Pack: p.pack(known), Provider: p.provider(provider), Authority: authority, Now: w.now})
		if err != nil {
			return nil, err
		}
		targets[ref] = broker.Target{Binding: ref.String(), Issuer: p.issuer(issuer)}
	}
	return targets, nil
}
