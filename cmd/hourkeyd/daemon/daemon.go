package daemon

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/admin"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/proxy"
	"github.com/hourkey/hourkey/issuers/jwt"
	"github.com/hourkey/hourkey/web"
	"github.com/hourkey/hourkey/web/authn"
	"github.com/hourkey/hourkey/web/notify"
)

// Options of a Daemon. All but Reloads and OwnUser are required.
type Options struct {
	Path    string // of hourkey.yaml
	Guard   config.Guard
	Lookup  func(name string) (string, bool) // of the environment, for env: references
	Now     func() time.Time
	Log     *slog.Logger
	Version string
	Reloads <-chan os.Signal // each reloads
	OwnUser bool             // hourkeyd install set this broker up under an OS user of its own
}

// Daemon is a broker that serves.
type Daemon struct {
	options  Options
	server   config.Server
	stack    *Stack
	broker   *broker.Broker
	build    Build
	web      *web.Server
	gateway  *proxy.Proxy
	signOn   *authn.SingleSignOn
	notifier *notify.Notifier
	tls      *certificate // nil: plain HTTP
	http     net.Listener
	admin    net.Listener
	behind   error // the store is behind its anchor

	reloading sync.Mutex
	current   *Built // in force; guarded by reloading
}

// Banner is what serve says when it is ready.
type Banner struct {
	Origin       string   `json:"origin"`
	Listen       string   `json:"listen"`
	Installation string   `json:"installation"`
	SameUser     bool     `json:"same_user"` // protects from mistakes only
	Environments int      `json:"environments"`
	Targets      int      `json:"targets"`
	LogKey       string   `json:"log_key"`
	Frozen       []string `json:"frozen"`
	Behind       string   `json:"behind,omitempty"`
}

// Open opens everything and begins to listen; Run serves. When it fails, nothing stays open.
func Open(ctx context.Context, options Options) (*Daemon, error) {
	set, err := config.Load(options.Path, options.Guard)
	if err != nil {
		return nil, err
	}
	d := &Daemon{options: options, server: set.Server}
	if err := d.open(ctx, set); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *Daemon) open(ctx context.Context, set *config.Set) (err error) {
	if d.stack, err = OpenStack(ctx, set.Server, config.Secrets{Guard: d.options.Guard, Lookup: d.options.Lookup}, d.options.Now); err != nil {
		return err
	}
	past, err := d.stack.past(ctx)
	if err != nil {
		return err
	}
	d.behind = past.behind
	if err := d.openBroker(ctx, set, past); err != nil {
		return err
	}
	// Before the doors: a start that fails at them, like at a port that is taken, must not leave a store without an
	// anchor, which the next start would take for one that was put back, and freeze everything.
	(&anchorer{stack: d.stack, broker: d.broker, log: d.options.Log}).write(ctx)
	return d.listen(ctx)
}

func (d *Daemon) openBroker(ctx context.Context, set *config.Set, past past) (err error) {
	metrics := prometheus.NewRegistry()
	store, err := web.MeasureStore(d.stack.Store, metrics, d.options.Now)
	if err != nil {
		return err
	}
	authority, err := d.authority(ctx, set.Server.Origin)
	if err != nil {
		return err
	}
	d.build = Build{
		Authority: authority,
		Secrets:   d.stack.references.Secrets,
		Signer:    d.targetKey, Now: d.options.Now, failpoint: failpoint(),
	}
	if d.current, err = d.build.Configuration(ctx, set, nil); err != nil {
		return err
	}
	verifier, err := newVerifier(set.Server.Origin)
	if err != nil {
		return err
	}
	d.broker, err = broker.New(ctx, broker.Config{
		Store: store, Sealer: d.stack.Keys, Verifier: verifier, Configuration: d.current.Configuration,
		Origin: set.Server.Origin, Now: d.options.Now, Log: d.options.Log, Failpoint: d.build.failpoint,
	})
	if err != nil {
		return err
	}
	if !d.options.OwnUser {
		d.broker.SawOwnUser(ctx)
	}
	if err := past.freezeBy(ctx, d.broker, d.options.Now()); err != nil {
		return err
	}
	if d.gateway, err = proxy.New(proxy.Config{Broker: d.broker, Authority: authority, Origin: set.Server.Origin, Now: d.options.Now, Log: d.options.Log}); err != nil {
		return err
	}
	access, err := d.stack.Keys.Signer(ctx, "access-token")
	if err != nil {
		return err
	}
	if err := d.openPeople(set.Server, store); err != nil {
		return err
	}
	d.web, err = web.New(web.Config{
		Broker: d.broker, Store: store, Origin: set.Server.Origin, AccessKey: access, Verifier: verifier, Now: d.options.Now,
		Log: d.options.Log, TargetKeys: d.targetKeys, TrustedProxies: set.Server.TrustedProxies, Metrics: metrics,
		Tunnel: d.gateway, SingleSignOn: d.signOn, SessionIdle: set.Server.Sessions.Idle, SessionLife: set.Server.Sessions.Life,
		Export: d.stack.Export, Integrity: d.stack.Integrity,
	})
	return err
}

// openPeople makes the way in through another's sign-in, and the channels out. Neither need answer yet.
func (d *Daemon) openPeople(server config.Server, store broker.Store) error {
	settings, channels, err := People(server, d.build.Secrets)
	if err != nil {
		return err
	}
	if d.signOn, err = authn.NewSingleSignOn(authn.SingleSignOnConfig{Origin: server.Origin, Now: d.options.Now}); err != nil {
		return err
	}
	d.notifier, err = notify.New(notify.Config{Broker: d.broker, Store: store, Origin: server.Origin, Channels: channels, Now: d.options.Now, Log: d.options.Log})
	return errors.Join(err, d.signOn.Use(settings))
}

// authority certifies the gateway's ends of tunnels, with a key that has no other use.
func (d *Daemon) authority(ctx context.Context, origin string) (*gateway.Authority, error) {
	key, err := d.stack.Keys.Signer(ctx, "gateway-ca")
	if err != nil {
		return nil, err
	}
	return gateway.NewAuthority(key.Seed(), hostOf(origin))
}

// targetKey is the key that signs the target tokens of one environment, and nothing else.
func (d *Daemon) targetKey(ctx context.Context, environment string) (ed25519.PrivateKey, error) {
	return d.stack.Keys.Signer(ctx, "target-token/"+environment)
}

// targetKeys is what services check the tokens of an environment with.
func (d *Daemon) targetKeys(_ context.Context, environment string) (json.RawMessage, error) {
	for ref, target := range d.broker.Configuration().Targets {
		if issuer, ok := any(target.Issuer).(*jwt.Issuer); ok && ref.Environment == environment {
			return issuer.TokenIssuer().JWKS(), nil
		}
	}
	return nil, broker.Errorf(broker.CodeNotFound, "environment %s issues no tokens", environment)
}

func newVerifier(origin string) (*authn.Verifier, error) {
	return authn.NewVerifier(hostOf(origin), []string{origin})
}

// listen opens both doors. The store's lock is held by now, so that the socket is ours to replace.
func (d *Daemon) listen(ctx context.Context) (err error) {
	listen := web.ListenConfig{Address: d.server.Listen, TrustedProxies: d.server.TrustedProxies}
	if d.server.TLSCert != "" {
		d.tls = &certificate{cert: d.server.TLSCert, key: d.server.TLSKey, guard: d.options.Guard}
		if err := d.tls.load(); err != nil {
			return err
		}
		listen.TLS = d.tls.config()
	}
	if d.http, err = web.Listen(ctx, listen); err != nil {
		return err
	}
	d.admin, err = admin.Listen(d.server.Data, d.options.Log)
	return err
}

// Banner says where the broker is and what it promises.
func (d *Daemon) Banner(ctx context.Context) (Banner, error) {
	key, err := d.stack.LogKey(ctx)
	if err != nil {
		return Banner{}, err
	}
	freezes, err := d.broker.Freezes(ctx)
	cfg := d.broker.Configuration()
	b := Banner{
		Origin: d.server.Origin, Listen: d.http.Addr().String(), Installation: d.broker.Installation().ID,
		SameUser: !d.broker.Installation().SameUser.IsZero(), Environments: len(cfg.Environments), Targets: len(cfg.Targets), LogKey: key,
		Frozen: []string{},
	}
	for _, freeze := range freezes {
		b.Frozen = append(b.Frozen, freeze.ID())
	}
	if d.behind != nil {
		b.Behind = d.behind.Error()
	}
	return b, err
}

// Run serves until ctx ends or a door breaks, then lets what is under way come to its end, signs a last
// checkpoint and closes everything.
func (d *Daemon) Run(ctx context.Context) error {
	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()

	var doors, rest sync.WaitGroup
	broke := make(chan error, 3)
	doors.Go(func() { broke <- d.web.Serve(serving, d.http, d.web); stopServing() })
	doors.Go(func() { broke <- d.serveAdmin(serving); stopServing() })
	rest.Go(func() { _ = d.broker.Run(background) }) // ends with its context alone
	rest.Go(func() { d.reloadOnSignal(background) })
	rest.Go(func() { _ = d.notifier.Run(background) }) // ends with its context alone
	rest.Go((&anchorer{stack: d.stack, broker: d.broker, log: d.options.Log}).keep(background))
	rest.Go((&signer{stack: d.stack, log: d.options.Log}).keep(background))

	tunnels := make(chan error, 1)
	rest.Go(func() { tunnels <- d.gateway.Run(serving); stopServing() })

	doors.Wait()
	broke <- <-tunnels // what is under way in them may still ask the broker
	stopBackground()
	rest.Wait()
	return errors.Join(<-broke, <-broke, <-broke, d.close())
}

func (d *Daemon) serveAdmin(ctx context.Context) error {
	server := admin.NewServer(admin.Config{
		Broker: d.broker, Origin: d.server.Origin, Version: d.options.Version, LogKey: d.stack.LogKey, Checkpoint: d.stack.Checkpoint,
		Backup: d.stack.Backup, Export: d.stack.Export, Reload: d.Reload, Enrolled: d.enrolled, Log: d.options.Log,
	})
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(d.admin) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainFor)
	defer cancel()
	err := server.Shutdown(drain)
	if err != nil {
		err = errors.Join(err, server.Close())
	}
	if why := <-ended; !errors.Is(why, http.ErrServerClosed) {
		err = errors.Join(err, why)
	}
	return err
}

// drainFor is how long a backup or an export that is under way may take when the broker stops.
const drainFor = 10 * time.Second

func (d *Daemon) reloadOnSignal(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.options.Reloads:
			if done, err := d.Reload(ctx, broker.Caller{Kind: broker.CallerSocket}); err != nil {
				d.options.Log.ErrorContext(ctx, "the reload was refused: the old configuration stays in force", "error", err)
			} else {
				d.options.Log.InfoContext(ctx, "reloaded", "config", done.Config, "wider", done.Wider, "restart", done.Restart, "warnings", done.Warnings)
			}
		}
	}
}

// Reload checks the files as they are now and puts them in force. A bad set leaves the old one.
func (d *Daemon) Reload(ctx context.Context, caller broker.Caller) (admin.Reloaded, error) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	set, next, err := d.next(ctx)
	if err != nil {
		d.broker.ReloadRefused(ctx, caller, admin.ProblemOf(err).Message)
		return admin.Reloaded{}, err
	}
	signOn, _, err := People(set.Server, d.build.Secrets)
	if err != nil {
		d.broker.ReloadRefused(ctx, caller, admin.ProblemOf(err).Message)
		return admin.Reloaded{}, errors.Join(err, next.closeExcept(d.current))
	}
	enrolled, err := d.enrolled(ctx)
	if err != nil {
		return admin.Reloaded{}, errors.Join(err, next.closeExcept(d.current))
	}
	done := admin.Reloaded{Config: next.Hash, Wider: wider(d.current, next), Restart: restart(d.server, set.Server), Warnings: []string{}}
	if warning := WithoutOperators(set.Server, enrolled); warning != "" {
		done.Warnings = append(done.Warnings, warning)
	}
	if err := d.broker.Reload(ctx, caller, next.Configuration, done.Wider); err != nil {
		return admin.Reloaded{}, errors.Join(err, next.closeExcept(d.current))
	}
	if err := d.current.closeReplaced(next); err != nil {
		d.options.Log.WarnContext(ctx, "a target whose secret was exchanged could not be closed", "error", err)
	}
	d.current = next
	return done, d.signOn.Use(signOn)
}

// next reads and opens what the files say now.
func (d *Daemon) next(ctx context.Context) (*config.Set, *Built, error) {
	set, err := config.Load(d.options.Path, d.options.Guard)
	if err != nil {
		return nil, nil, err
	}
	if d.tls != nil {
		if err := d.tls.load(); err != nil {
			return nil, nil, err
		}
	}
	next, err := d.build.Configuration(ctx, set, d.current)
	return set, next, err
}

// restart names the settings that changed and that only a new start can take.
func restart(was, is config.Server) []string {
	changed := []string{}
	for name, differs := range map[string]bool{
		"listen": was.Listen != is.Listen, "origin": was.Origin != is.Origin, "data": was.Data != is.Data, "keys": was.Keys != is.Keys || was.Transit != is.Transit,
		"anchor": was.Anchor != is.Anchor, "tls": was.TLSCert != is.TLSCert || was.TLSKey != is.TLSKey,
		"vault":           !sameVault(was.Vault, is.Vault),
		"notify":          !was.Notify.Equal(is.Notify),
		"sessions":        was.Sessions != is.Sessions,
		"trusted_proxies": !slices.Equal(was.TrustedProxies, is.TrustedProxies),
	} {
		if differs {
			changed = append(changed, name)
		}
	}
	slices.Sort(changed)
	return changed
}

// close closes what was opened, in the opposite order.
func (d *Daemon) close() error {
	var failed error
	for _, listener := range []net.Listener{d.http, d.admin} {
		if listener != nil {
			if err := listener.Close(); !errors.Is(err, net.ErrClosed) {
				failed = errors.Join(failed, err)
			}
		}
	}
	if d.current != nil {
		failed = errors.Join(failed, d.current.Close())
	}
	if d.stack != nil {
		failed = errors.Join(failed, d.stack.Close())
	}
	return failed
}
