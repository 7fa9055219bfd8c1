package notify

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

// world is a broker, what was logged, and the authority of the receivers' certificates.
type world struct {
	*brokertest.World
	roots *x509.CertPool
	log   *loud
}

func newWorld(t *testing.T, change ...func(*broker.Config)) *world {
	return &world{brokertest.NewWorld(t, change...), x509.NewCertPool(), &loud{}}
}

// loud is a log that a test reads.
type loud struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *loud) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *loud) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (w *world) config(channels ...Channel) Config {
	return Config{
		Broker: w.Broker, Store: w.Store, Origin: brokertest.Origin, Channels: channels, Now: w.Clock.Now,
		Log: slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Roots: w.roots,
	}
}

// teller is one channel that is driven by hand: its pauses move the clock and cost nothing.
type teller struct {
	*worker
	w      *world
	idle   bool
	pauses []time.Duration
	before func() // called before each step
}

func (w *world) teller(channel Channel) *teller {
	w.Helper()
	n, err := New(w.config(channel))
	if err != nil {
		w.Fatal(err)
	}
	t := &teller{worker: n.workers[0], w: w}
	t.sleep = func(_ context.Context, d time.Duration, wake <-chan struct{}) {
		if wake != nil {
			t.idle = true
			return
		}
		if !t.idle {
			t.pauses = append(t.pauses, d)
			w.Clock.Advance(d)
		}
	}
	if err := forgetOthers(w.Context(), w.Store, []Channel{channel}); err != nil {
		w.Fatal(err)
	}
	if err := t.begin(w.Context()); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(t.close)
	return t
}

// run goes on until there is nothing left to tell.
func (t *teller) run() {
	t.w.Helper()
	t.idle = false
	for steps := 0; !t.idle; steps++ {
		if steps > 5000 {
			t.w.Fatal("it does not come to an end")
		}
		if t.before != nil {
			t.before()
		}
		t.step(t.w.Context())
	}
}

// running starts a Notifier as the daemon does, and gives what stops it.
func (w *world) running(channels ...Channel) (stop func()) {
	w.Helper()
	n, err := New(w.config(channels...))
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			w.Errorf("Run ended with %v", err)
		}
	})
	w.Cleanup(stop)
	return stop
}

// records gives the data of our own events of one kind.
func (w *world) records(kind broker.EventType) (all []Record) {
	w.Helper()
	for _, event := range w.Store.Log() {
		if event.Type != kind {
			continue
		}
		var record Record
		if err := json.Unmarshal(event.Data, &record); err != nil {
			w.Fatal(err)
		}
		all = append(all, record)
	}
	return all
}

// plant puts a request as no agent could ask for it, past every check.
func (w *world) plant(change func(*broker.Request)) broker.Request {
	w.Helper()
	request := w.MustAsk("staging", "db:public.orders:delete")
	request.Fold, request.AskFold = request.ID, request.ID // the next one is another
	change(&request)
	w.update(func(tx broker.Tx) error { return tx.Save(&request) })
	return request
}

// tells appends an event as the broker would.
func (w *world) tells(kind broker.EventType, actor, subject string, data any) {
	w.Helper()
	w.update(func(tx broker.Tx) error { return w.append(tx, kind, actor, subject, data) })
}

func (w *world) append(tx broker.Tx, kind broker.EventType, actor, subject string, data any) error {
	raw, err := json.Marshal(data)
	return errors.Join(err, tx.Append(broker.Event{Type: kind, Time: w.Clock.Now(), Actor: actor, Subject: subject, Data: raw}))
}

func (w *world) update(change func(broker.Tx) error) {
	w.Helper()
	if err := w.Store.Update(w.Context(), change); err != nil {
		w.Fatal(err)
	}
}

// deny lets a human say no.
func (w *world) deny(human string, request broker.Request, words string) {
	w.Helper()
	if err := w.Reject(w.Context(), human, request.ID, w.SubjectDigest(broker.ActApprove, request.ID), words); err != nil {
		w.Fatal(err)
	}
}

// eventually waits for what a running Notifier does.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// wantWithout fails the test over each of the texts that stands in got.
func wantWithout(t testing.TB, got string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(got, text) {
			t.Errorf("%.60q stands in %.2000q", text, got)
		}
	}
}

func wantWith(t testing.TB, got string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(got, text) {
			t.Errorf("%.200q does not stand in %.2000q", text, got)
		}
	}
}

// oneOf gives the only element.
func oneOf[T any](t testing.TB, all []T) T {
	t.Helper()
	if len(all) != 1 {
		t.Fatalf("there are %d, want 1: %+v", len(all), all)
	}
	return all[0]
}

func wantSame[T any](t testing.TB, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
