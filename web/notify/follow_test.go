package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/store"
	"github.com/hourkey/hourkey/store/auditlog"
	"github.com/hourkey/hourkey/store/bolt"
)

func TestFirstStartTellsNothingOld(t *testing.T) {
	w := newWorld(t)
	w.MustAsk("staging", "db:public.orders:delete")
	server, channel := w.slackServer()
	teller := w.teller(channel)
	teller.run()
	if len(server.all()) > 0 {
		t.Error("what was before the channel is told")
	}
	w.MustAsk("production", "db:public.orders:delete")
	teller.run()
	oneOf(t, server.all())
}

// A channel that was taken out for a year and comes back under its name does not tell the year.
func TestChannelThatComesBackTellsNothingOld(t *testing.T) {
	w := newWorld(t)
	server, channel := w.slackServer()
	w.teller(channel).run()
	w.teller(Channel{Name: "other", Kind: Slack, URL: channel.URL}) // the broker starts without it
	w.MustAsk("staging", "db:public.orders:delete")
	w.teller(channel).run()
	if len(server.all()) > 0 {
		t.Error("what was in between is told")
	}
}

func TestRestartGoesOnWhereItWas(t *testing.T) {
	w := newWorld(t)
	server, channel := w.slackServer()
	w.teller(channel).run()
	w.MustAsk("staging", "db:public.orders:delete")
	w.teller(channel).run() // another process
	oneOf(t, server.all())
	w.teller(channel).run()
	oneOf(t, server.all())
}

// The store was put back from a backup, and is shorter than the cursor says.
func TestCursorBeyondTheLogGoesBack(t *testing.T) {
	w := newWorld(t)
	server, channel := w.slackServer()
	w.update(func(tx broker.Tx) error { return tx.Save(&cursor{Channel: channel.Name, Next: 1 << 40}) })
	teller := w.teller(channel)
	w.MustAsk("staging", "db:public.orders:delete")
	teller.run()
	oneOf(t, server.all())
}

// What is told is told in the order of the log, after an outage of an hour as well, and nothing is lost by it.
func TestOutageOfAnHourLosesNothingAndKeepsTheOrder(t *testing.T) {
	w := newWorld(t)
	server, channel := w.slackServer()
	teller := w.teller(channel)
	bob := broker.Caller{Kind: broker.CallerHuman, Name: "bob"}
	server.answers(status(http.StatusBadGateway))
	began, frozen := w.Clock.Now(), 0
	teller.before = func() {
		now := w.Clock.Now().Sub(began)
		for ; frozen < 6 && now >= time.Duration(frozen)*9*time.Minute; frozen++ {
			if _, err := w.Freeze(t.Context(), bob, broker.Freeze{Of: broker.FreezeTask, Name: fmt.Sprintf("task-%d", frozen)}); err != nil {
				t.Fatal(err)
			}
		}
		if now >= time.Hour {
			server.answers(nil)
		}
	}
	teller.run()
	got := slackLines(t, server)
	if len(got) != 6 {
		t.Fatalf("%d lines, want 6", len(got))
	}
	for i, read := range got {
		wantWith(t, read.line, fmt.Sprintf("bob froze task task-%d:", i))
	}
	if tried := w.records(broker.EventNoticeDelivered)[0].Tries; tried < 20 || tried > maxTries {
		t.Errorf("tried %d times in an hour", tried)
	}
}

// A receiver that is gone for good costs an hour once, and not an hour for each message.
func TestDeadReceiverCostsAnHourOnce(t *testing.T) {
	w := newWorld(t)
	server, channel := w.slackServer()
	teller := w.teller(channel)
	server.answers(status(http.StatusInternalServerError))
	for i := range 20 {
		if _, err := w.Freeze(t.Context(), broker.Caller{Kind: broker.CallerHuman, Name: "bob"}, broker.Freeze{Of: broker.FreezeTask, Name: fmt.Sprintf("task-%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	began := w.Clock.Now()
	teller.run()
	if took := w.Clock.Now().Sub(began); took < time.Hour || took > 75*time.Minute {
		t.Errorf("it took %s", took)
	}
	failed := w.records(broker.EventNoticeFailed)
	if len(failed) != 20 || failed[0].Tries > maxTries || failed[19].Tries != 1 || failed[0].Error != "the receiver answered 500" {
		t.Errorf("%d failed, the first %+v, the last %+v", len(failed), failed[0], failed[len(failed)-1])
	}
}

// Decided while nobody could be told that it waited: then the outcome is told, and not that it waits.
func TestRequestDecidedDuringAnOutageIsNotToldAsWaiting(t *testing.T) {
	w := newWorld(t)
	server, channel := w.slackServer()
	teller := w.teller(channel)
	request := w.MustAsk("staging", "db:public.orders:delete")
	server.answers(status(http.StatusBadGateway))
	teller.before = func() {
		if len(teller.pauses) == 4 {
			teller.before = nil
			w.deny("bob", request, "")
			server.answers(nil)
		}
	}
	teller.run()
	wantWith(t, oneOf(t, slackLines(t, server)).line, "Denied by bob")
	failed := oneOf(t, w.records(broker.EventNoticeFailed))
	if failed.Event != broker.EventRequestSubmitted || failed.Tries != 4 || failed.Error != "the receiver answered 502; by then it was over" {
		t.Errorf("%+v", failed)
	}
}

// The broker was down for three hours: who asked then does not wait any more, though nobody has swept it yet.
func TestAfterALongStopNothingWaitsThatHasExpired(t *testing.T) {
	w := newWorld(t)
	server, channel := w.slackServer()
	w.teller(channel)
	w.MustAsk("staging", "db:public.orders:delete")
	w.Clock.Advance(3 * time.Hour)
	w.teller(channel).run()
	if len(server.all()) > 0 {
		t.Error("a request of three hours ago is told as waiting")
	}
	w.Sweep(t.Context())
	w.teller(channel).run()
	wantWith(t, oneOf(t, slackLines(t, server)).line, "Expired before it was decided")
}

// After a long stop an old notice still has its hour of tries, from the start on.
func TestWhatWaitedForARestartIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	server, channel := w.slackServer()
	w.teller(channel)
	if _, err := w.Freeze(t.Context(), broker.Caller{Kind: broker.CallerHuman, Name: "bob"}, broker.Freeze{Of: broker.FreezeAll}); err != nil {
		t.Fatal(err)
	}
	w.Clock.Advance(24 * time.Hour)
	teller := w.teller(channel)
	server.answers(status(http.StatusBadGateway))
	teller.before = func() {
		if len(teller.pauses) == 10 {
			server.answers(nil)
		}
	}
	teller.run()
	oneOf(t, server.all())
}

func TestRetryAfterIsHonoured(t *testing.T) {
	for name, test := range map[string]struct {
		says string
		want time.Duration
	}{
		"seconds":                {"73", 73 * time.Second},
		"less than we wait":      {"1", firstPause},
		"a day":                  {"86400", obeyFor},
		"more than fits":         {"99999999999999999999", firstPause},
		"a date":                 {"Fri, 31 Dec 2027 23:59:59 GMT", firstPause},
		"before now":             {"-5", firstPause},
		"more than a time holds": {"4611686018427387904", obeyFor},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			server, channel := w.slackServer()
			teller := w.teller(channel)
			w.MustAsk("staging", "db:public.orders:delete")
			server.answers(func(rw http.ResponseWriter) bool {
				rw.Header().Set("Retry-After", test.says)
				rw.WriteHeader(http.StatusTooManyRequests)
				return true
			})
			teller.before = func() {
				if len(teller.pauses) > 0 {
					server.answers(nil)
				}
			}
			teller.run()
			oneOf(t, server.all())
			if teller.pauses[0] != test.want {
				t.Errorf("waited %s, want %s", teller.pauses[0], test.want)
			}
		})
	}
}

// What a receiver refuses for good is not tried again, and holds up nothing.
func TestRefusalForGoodIsRecordedAtOnce(t *testing.T) {
	for _, code := range []int{400, 401, 403, 404, 410, 413} {
		w := newWorld(t)
		server, channel := w.slackServer()
		teller := w.teller(channel)
		w.MustAsk("staging", "db:public.orders:delete")
		server.answers(func(rw http.ResponseWriter) bool {
			rw.WriteHeader(code)
			_, _ = rw.Write([]byte("no_service"))
			return true
		})
		teller.run()
		if failed := oneOf(t, w.records(broker.EventNoticeFailed)); failed.Tries != 1 || failed.Error != fmt.Sprintf("the receiver answered %d (no_service)", code) {
			t.Errorf("%+v", failed)
		}
	}
}

func TestDeliveryIsRecordedWithTheRequest(t *testing.T) {
	w := newWorld(t)
	_, channel := w.ntfyServer()
	teller := w.teller(channel)
	request := w.MustAsk("staging", "db:public.orders:delete")
	number := uint64(len(w.Store.Log()) - 1)
	teller.run()
	event := w.Store.Log()[len(w.Store.Log())-1]
	if event.Type != broker.EventNoticeDelivered || event.Subject != request.ID || event.Actor != "broker" {
		t.Errorf("%+v", event)
	}
	wantSame(t, oneOf(t, w.records(broker.EventNoticeDelivered)), Record{Channel: "phone", Kind: Ntfy, Number: number, Event: broker.EventRequestSubmitted, Tries: 1})
}

// An event of a form that a newer version wrote does not silence what comes after it.
func TestEventThatCannotBeReadIsPassedOver(t *testing.T) {
	w := newWorld(t)
	server, channel := w.slackServer()
	teller := w.teller(channel)
	w.update(func(tx broker.Tx) error {
		return tx.Append(broker.Event{Type: broker.EventFrozen, Time: w.Clock.Now(), Actor: "broker", Subject: "all", Data: []byte(`["odd"]`)})
	})
	w.MustAsk("staging", "db:public.orders:delete")
	teller.run()
	wantWith(t, oneOf(t, slackLines(t, server)).line, "claude asks")
	wantWith(t, w.log.String(), "an event is passed over that cannot be read")
}

// Thousands of calls through the gateway are nothing to tell: the cursor follows without a write for each, and
// nothing in between is missed, wherever a page of reading ends.
func TestMuchThatIsNotToldIsPassedOver(t *testing.T) {
	w := newWorld(t)
	server, channel := w.slackServer()
	teller := w.teller(channel)
	calls := func(n int) {
		w.update(func(tx broker.Tx) error {
			var failed error
			for range n {
				failed = errors.Join(failed, tx.Append(broker.Event{Type: broker.EventCallPassed, Time: w.Clock.Now(), Actor: "agent:claude"}))
			}
			return failed
		})
	}
	freeze := func(i int) {
		w.tells(broker.EventFrozen, "human:bob", fmt.Sprintf("task:task-%d", i), broker.Freeze{By: "human:bob"})
	}
	for i, n := range []int{readPage - 1, readPage - 1, readPage, readPage + 1, 0, 2 * readPage} {
		calls(n)
		freeze(i)
	}
	teller.run()
	if got := slackLines(t, server); len(got) != 6 {
		t.Fatalf("%d lines, want 6", len(got))
	}
	calls(keepLag / 2)
	before := w.Store.Updates()
	teller.run()
	if w.Store.Updates() > before {
		t.Error("a write for what is not told, and is little")
	}
	calls(keepLag)
	before = w.Store.Updates()
	teller.run()
	if writes := w.Store.Updates() - before; writes != 1 {
		t.Errorf("%d writes for what is not told", writes)
	}
	at := cursor{Channel: channel.Name}
	if err := w.Store.View(t.Context(), func(r broker.Reader) error { return r.Load(&at) }); err != nil {
		t.Fatal(err)
	}
	if at.Next != uint64(len(w.Store.Log())) {
		t.Errorf("the cursor stands at %d of %d", at.Next, len(w.Store.Log()))
	}
}

// Run is woken by the log, and tells on all channels at once.
func TestRunTellsAllChannels(t *testing.T) {
	w := newWorld(t)
	slackServer, slackChannel := w.slackServer()
	ntfyServer, ntfyChannel := w.ntfyServer()
	hookServer, hookChannel := w.hookServer()
	stop := w.running(slackChannel, ntfyChannel, hookChannel)
	cursors := func() (n int) {
		_ = w.Store.View(t.Context(), func(r broker.Reader) error {
			return r.Scan("notice-cursor", "", func([]byte) error { n++; return nil })
		})
		return n
	}
	eventually(t, "cursors", func() bool { return cursors() == 3 })
	w.MustAsk("staging", "db:public.orders:delete")
	eventually(t, "three deliveries", func() bool { return w.Events(broker.EventNoticeDelivered) == 3 })
	stop()
	for _, server := range []*receiver{slackServer, ntfyServer, hookServer} {
		oneOf(t, server.all())
	}
}

func TestNoChannelsIsFine(t *testing.T) {
	w := newWorld(t)
	w.update(func(tx broker.Tx) error { return tx.Save(&cursor{Channel: "gone", Next: 1}) })
	stop := w.running()
	eventually(t, "forgetting", func() bool {
		return broker.CodeOf(w.Store.View(t.Context(), func(r broker.Reader) error { return r.Load(&cursor{Channel: "gone"}) })) == broker.CodeNotFound
	})
	stop()
}

// The same on the store that brokers have: a log that proves itself, and a file that outlives the process.
func TestOnTheRealStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hourkey.db")
	var engine *bolt.Engine
	w := newWorld(t)
	open := func() broker.Store {
		var err error
		if engine, err = bolt.Open(path, bolt.Options{}); err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(engine, auditlog.New(engine, auditlog.Options{Now: w.Clock.Now}), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	server, channel := w.slackServer()
	start := func() (stop func(), s broker.Store) {
		s = open()
		config := w.Config
		config.Store = s
		b, err := broker.New(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		n, err := New(Config{Broker: b, Store: s, Origin: config.Origin, Channels: []Channel{channel}, Now: w.Clock.Now, Log: slog.New(slog.DiscardHandler), Roots: w.roots})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- n.Run(ctx) }()
		eventually(t, "the cursor", func() bool {
			return s.View(t.Context(), func(r broker.Reader) error { return r.Load(&cursor{Channel: channel.Name}) }) == nil
		})
		if _, err := b.Freeze(t.Context(), broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeAll}); err != nil {
			t.Fatal(err)
		}
		return func() {
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if err := engine.Close(); err != nil {
				t.Error(err)
			}
		}, s
	}
	for round := 1; round <= 2; round++ {
		stop, s := start()
		eventually(t, "the message and its record", func() bool {
			var kinds []broker.EventType
			_ = s.View(t.Context(), func(r broker.Reader) error {
				return r.Events(0, func(_ uint64, e broker.Event) error { kinds = append(kinds, e.Type); return nil })
			})
			return len(server.all()) == round && slices.Index(kinds, broker.EventNoticeDelivered) > 0
		})
		stop()
	}
	for _, read := range slackLines(t, server) {
		if !strings.HasPrefix(read.line, "The broker's shell froze everything") {
			t.Error(read.line)
		}
	}
}
