package notify

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Config is what a Notifier depends on. All but Log and Roots are required; no Channels is fine.
type Config struct {
	Broker   Broker
	Store    broker.Store // the event log is read here, cursors and deliveries are written here
	Origin   string       // of the pages: "https://hourkey.example"; links begin with it
	Channels []Channel
	Now      func() time.Time
	Log      *slog.Logger
	Roots    *x509.CertPool // that receivers' certificates must come from; nil: the system's
}

// Broker is what this package asks of a *broker.Broker.
type Broker interface {
	Appended() <-chan struct{}
	Configuration() *broker.Configuration
	Installation() broker.Installation
}

// Notifier follows the log for all channels.
type Notifier struct {
	config  Config
	workers []*worker
}

// New checks the channels. It calls nobody.
func New(config Config) (*Notifier, error) {
	if config.Broker == nil || config.Store == nil || config.Origin == "" || config.Now == nil {
		return nil, errors.New("notify: Config wants Broker, Store, Origin and Now")
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	n := &Notifier{config: config}
	seen := map[string]bool{}
	for _, channel := range config.Channels {
		if err := channel.Validate(); err != nil {
			return nil, err
		}
		if seen[channel.Name] {
			return nil, channel.wrong("name", "two channels have this name")
		}
		seen[channel.Name] = true
		w, err := newWorker(config, channel)
		if err != nil {
			return nil, err
		}
		n.workers = append(n.workers, w)
	}
	return n, nil
}

// Run tells until ctx ends. Each channel goes at its own pace: one that hangs holds up no other. What is under
// way when ctx ends is told again at the next start.
func (n *Notifier) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := forgetOthers(ctx, n.config.Store, n.config.Channels)
		if err == nil {
			break
		}
		n.config.Log.ErrorContext(ctx, "notifications wait for the store", "error", err)
		pause(ctx, slowTick, nil)
	}
	var channels sync.WaitGroup
	for _, w := range n.workers {
		channels.Go(func() { w.run(ctx) })
	}
	channels.Wait()
	<-ctx.Done()
	return ctx.Err()
}

// sender brings a notice to one receiver. It is called again after trouble that is not final.
type sender interface {
	send(ctx context.Context, d *delivery) *trouble
}

// trouble is why a try failed, in our own words: what a receiver or a library says may hold the address,
// which may be the secret.
type trouble struct {
	says  string
	final bool          // trying again cannot help
	after time.Duration // the receiver wants to be left alone so long
}

// letter is what every sender needs to know beside the notice.
type letter struct {
	origin       string // of the pages
	installation func() string
	now          func() time.Time
}

// link is where a notice leads. It says where, and nothing else: whoever opens it must sign in.
func (l letter) link(d *delivery) string { return l.origin + d.path }

// id is the same at every try of one notice, and of no other. It holds neither dot nor space.
func (l letter) id(d *delivery) string { return l.installation() + "-" + decimal(d.number) }

func newWorker(config Config, channel Channel) (*worker, error) {
	l := letter{
		origin: config.Origin, installation: func() string { return config.Broker.Installation().ID },
		now: func() time.Time { return config.Now().UTC() },
	}
	w := &worker{
		channel: channel, broker: config.Broker, store: config.Store, now: l.now, sleep: pause, crowd: crowd{}, timeout: timeout,
		log: config.Log.With("channel", channel.Name, "kind", string(channel.Kind)),
	}
	web := newPoster(channel.URL, config.Roots)
	w.close = web.client.CloseIdleConnections
	switch channel.Kind {
	case Slack:
		w.sender = &slack{l, web}
	case Ntfy:
		w.sender = &ntfy{l, web, channel.Token}
	case Webhook:
		key, err := webhookKey(channel.Secret)
		if err != nil {
			return nil, err
		}
		w.sender = &webhook{l, web, key}
	case SMTP:
		mail, err := newSMTP(l, channel, config.Roots)
		if err != nil {
			return nil, err
		}
		w.timeout, w.sender = mailFor, mail
	}
	return w, nil
}

// pause waits until wake is closed, or d is over, or ctx ends.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-timer.C:
	}
}
