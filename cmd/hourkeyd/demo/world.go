package demo

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/demo/provider"
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

// The cast, and what the provider holds.
const (
	agentName    = "claude-code"
	operator     = "olga"  // set this up; owns the agent; her passkey is software
	reviewer     = "robin" // reviews too; a session of his is stolen
	you          = "you"
	sharedVolume = "vol-3d2c42fb" // the shop's data: an instance in staging and one in production
	ownVolume    = "vol-77b0a1c9" // a cache that only staging has
)

const tasks = `fix-staging:
  summary: Routine work on staging
  agents: [claude-code]
  environments: [staging]
  gives: ["quay:service/*:read,write", "quay:volume/*:read"]
  with_approval: ["quay:volume/*:delete"]
  ttl: 10m
`

// parts are what a test can take away. The shipped binary has only intact ones.
type parts struct {
	issuer   func(quay) quay
	verifier func(broker.Verifier) broker.Verifier
}

// quay is what a target's issuer must be.
type quay interface {
	broker.Issuer
	broker.Declarer
}

func intact() parts {
	return parts{
		issuer:   func(q quay) quay { return q },
		verifier: func(v broker.Verifier) broker.Verifier { return v },
	}
}

// world is everything that one drill runs on.
type world struct {
	folder   string
	stray    string // the token that lies about
	provider *provider.Provider
	api      string // the provider's address
	origin   string // the broker's
	engine   *bolt.Engine
	log      *auditlog.Log
	signing  ed25519.PrivateKey // of the log's checkpoints
	broker   *broker.Broker
	agent    *api.Client
	people   map[string]*softkey.Person // name → human with a software passkey
	now      func() time.Time
	stop     context.CancelFunc
	running  sync.WaitGroup
	failures chan error
}

// open starts provider and broker. Close the world whatever happened.
func open(ctx context.Context, now func() time.Time, p parts) (w *world, err error) {
	ctx, stop := context.WithCancel(ctx)
	w = &world{now: now, stop: stop, people: map[string]*softkey.Person{}, failures: make(chan error, 3)}
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
	if err := w.openProvider(ctx, ring); err != nil {
		return w, err
	}
	return w, w.openBroker(ctx, ring, kept, p)
}

// close stops everything and removes the folder.
func (w *world) close() error {
	w.stop()
	w.running.Wait()
	var failed []error
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

const tokenIssuer = "https://hourkey.drill/t/staging"

func (w *world) openProvider(ctx context.Context, ring *keys.Ring) error {
	key, err := ring.Signer(ctx, "target-token/staging")
	if err != nil {
		return err
	}
	w.stray = "quay_" + rand.Text()
	w.provider = provider.New(provider.Config{
		Folder: filepath.Join(w.folder, "volumes"), AccountToken: w.stray, Now: w.now,
		Issuers: map[string]ed25519.PublicKey{tokenIssuer: key.Public().(ed25519.PublicKey)}, //nolint:forcetypeassert // by crypto/ed25519
	})
	if err := w.fill(); err != nil {
		return err
	}
	listener, err := web.Listen(ctx, web.ListenConfig{Address: "127.0.0.1:0"})
	if err != nil {
		return err
	}
	w.api = "http://" + listener.Addr().String()
	server := &http.Server{Handler: w.provider, ReadHeaderTimeout: 5 * time.Second}
	w.running.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			w.failures <- err
		}
	})
	context.AfterFunc(ctx, func() { _ = server.Close() }) // nothing is under way that matters
	return nil
}

// fill gives the provider its data, as it was before the nine seconds.
func (w *world) fill() error {
	return errors.Join(
		w.provider.Create(sharedVolume, "shop-data", "postgres", []string{"staging", "production"}, 4000, 3),
		w.provider.Create(ownVolume, "render-cache", "web", []string{"staging"}, 120, 1),
	)
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
	configuration, err := w.configuration(ctx, ring, p)
	if err != nil {
		return err
	}
	w.broker, err = broker.New(ctx, broker.Config{
		Store: kept, Sealer: ring, Verifier: p.verifier(verifier), Configuration: configuration, Origin: w.origin, Now: w.now,
	})
	if err != nil {
		return err
	}
	access, err := ring.Signer(ctx, "access-token")
	if err != nil {
		return err
	}
	server, err := web.New(web.Config{
		Broker: w.broker, Store: kept, Origin: w.origin, AccessKey: access, Verifier: verifier, Now: w.now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	w.running.Go(func() { w.failures <- server.Serve(ctx, listener, server) })
	w.running.Go(func() { _ = w.broker.Run(ctx) }) // ends with its context alone
	return nil
}

// configuration is what the files of an installation would say.
func (w *world) configuration(ctx context.Context, ring *keys.Ring, p parts) (*broker.Configuration, error) {
	key, err := ring.Signer(ctx, "target-token/staging")
	if err != nil {
		return nil, err
	}
	groups := map[string][]string{"operators": {operator}, "reviewers": {reviewer, you}}
	set, err := policies.Load(policies.Source{
		Tasks:        []policies.File{{Name: "policies/tasks/staging.yaml", Data: []byte(tasks)}},
		Environments: map[string][]string{"staging": {"quay"}}, Groups: groups,
	})
	if err != nil {
		return nil, err
	}
	staging := p.issuer(&issuer{
		environment: "staging", name: tokenIssuer, key: key, volumes: w.provider.Volumes, services: []string{"web"}, now: w.now,
	})
	return &broker.Configuration{
		Hash: "drill", Groups: groups, Policy: set, Limits: broker.Limits{PendingPerAgent: 5, LeasesPerAgent: 20},
		Roles: map[broker.Role][]string{broker.RoleOperator: {"operators"}, broker.RoleReviewer: {"reviewers"}},
		Environments: map[string]broker.Environment{"staging": {
			Name: "staging", Approval: map[broker.Actions]int{broker.Delete: 1, broker.Admin: 1}, Where: "environments/staging.yaml:1",
		}},
		Targets: map[broker.TargetRef]broker.Target{{Environment: "staging", Target: "quay"}: {Binding: "staging/quay", Issuer: staging}},
	}, nil
}

// enrol brings in the people whose passkeys are software, and the agent. It gives your one-time code.
func (w *world) enrol(ctx context.Context) (code broker.Secret, err error) {
	socket := broker.Caller{Kind: broker.CallerSocket}
	if _, err := w.broker.Learn(ctx); err != nil {
		return code, err
	}
	if err := w.enrolPerson(ctx, operator, socket); err != nil {
		return code, err
	}
	if err := w.enrolPerson(ctx, reviewer, socket); err != nil {
		return code, err
	}
	if err := w.enrolAgent(ctx, socket); err != nil {
		return code, err
	}
	return w.invite(ctx, you, socket)
}

func (w *world) enrolPerson(ctx context.Context, name string, by broker.Caller) error {
	person, err := softkey.NewPerson(w.origin, nil)
	if err != nil {
		return err
	}
	w.people[name] = person
	code, err := w.invite(ctx, name, by)
	if err != nil {
		return err
	}
	return person.Enrol(ctx, name, code.Reveal())
}

// invite invites; all but the first wait for the operator's signature.
func (w *world) invite(ctx context.Context, name string, by broker.Caller) (broker.Secret, error) {
	invite, code, err := w.broker.InviteHuman(ctx, by, name)
	if err != nil || invite.State == broker.InviteUsable {
		return code, err
	}
	_, err = w.people[operator].Approve(ctx, broker.ActAdmitHuman, "/humans/"+name, name)
	return code, err
}

func (w *world) enrolAgent(ctx context.Context, by broker.Caller) error {
	code, err := w.broker.AddAgent(ctx, by, agentName, operator)
	if err != nil {
		return err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	if w.agent, err = api.NewClient(api.ClientConfig{Origin: w.origin, Agent: agentName, Key: key, Now: w.now}); err != nil {
		return err
	}
	if _, err := w.agent.Enroll(ctx, api.NewSecret(code.Reveal())); err != nil {
		return err
	}
	_, err = w.people[operator].Approve(ctx, broker.ActActivateAgent, "/agents/"+agentName, agentName)
	return err
}

// call asks the provider as anyone with this token could.
func (w *world) call(ctx context.Context, method, path, token string) (status int, body string, err error) {
	r, err := http.NewRequestWithContext(ctx, method, w.api+path, nil)
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", fmt.Errorf("calling the provider: %w", err)
	}
	defer response.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(response.Body); err != nil {
		return 0, "", err
	}
	return response.StatusCode, strings.TrimSpace(text.String()), nil
}

// volume looks whether a volume still exists.
func (w *world) volume(id string) (provider.Volume, bool, error) {
	volumes, err := w.provider.Volumes()
	for _, v := range volumes {
		if v.ID == id {
			return v, true, err
		}
	}
	return provider.Volume{}, false, err
}
