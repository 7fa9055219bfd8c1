package web

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

// following is one open stream.
type following struct {
	t     *site
	leave context.CancelFunc
	done  chan struct{}

	mu     sync.Mutex
	header http.Header
	status int
	text   strings.Builder
}

func (f *following) Header() http.Header { return f.header }

func (f *following) WriteHeader(status int) { f.status = status }

func (f *following) Write(raw []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text.Write(raw)
}

func (f *following) Flush() {}

// follow opens a stream as that human's page does. It belongs to a synctest bubble.
func (x *site) follow(who as, query string, change ...func(*http.Request)) *following {
	x.Helper()
	ctx, cancel := context.WithCancel(x.Context())
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, brokertest.Origin+"/live"+query, nil)
	who(r)
	for _, c := range change {
		c(r)
	}
	f := &following{t: x, leave: cancel, done: make(chan struct{}), header: http.Header{}}
	go func() {
		defer close(f.done)
		x.server.ServeHTTP(f, r)
	}()
	synctest.Wait()
	return f
}

// raw gives the stream so far.
func (f *following) raw() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text.String()
}

// hears gives, sorted, what the page was told since the last time, and lets a moment pass for it.
func (f *following) hears() []string {
	f.t.Helper()
	time.Sleep(2 * streamGathers)
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	var told []string
	for message := range strings.SplitSeq(f.text.String(), "\n\n") {
		if !strings.Contains(message, "event: changed") && !strings.Contains(message, "event: over") {
			continue
		}
		for line := range strings.SplitSeq(message, "\n") {
			if data, is := strings.CutPrefix(line, "data: "); is {
				told = append(told, data)
			}
		}
	}
	f.text.Reset()
	slices.Sort(told)
	return told
}

func (f *following) wantHears(want ...string) {
	f.t.Helper()
	slices.Sort(want)
	if got := f.hears(); !slices.Equal(got, want) {
		f.t.Errorf("the page was told %q, want %q", got, want)
	}
}

// ended tells whether the stream is over.
func (f *following) ended() bool {
	synctest.Wait()
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

func (x *site) height() string {
	return fmt.Sprintf("?from=%d", len(x.Store.Log()))
}

func TestTheStreamTellsNothingOfWhatItsHumanMayNotSee(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t)
		streams := map[string]*following{}
		for _, human := range []string{"alice", "erin", "dora", "gus"} {
			streams[human] = x.follow(x.as(human), x.height())
			defer streams[human].leave()
		}
		want := func(texts map[string][]string) {
			t.Helper()
			for human, stream := range streams {
				stream.wantHears(texts[human]...)
			}
		}
		want(nil)
		production := x.MustAsk("production", "db:public.orders:delete")
		told := []string{"request " + production.ID}
		want(map[string][]string{"alice": told, "dora": told})
		staging := x.MustAsk("staging", "db:public.orders:delete")
		told = []string{"request " + staging.ID}
		want(map[string][]string{"alice": told, "dora": told, "erin": told})
		inProduction, _ := x.live("production")
		told = []string{"lease " + inProduction.ID, "request " + inProduction.ID}
		want(map[string][]string{"alice": told, "dora": told})
		_, err := x.AddAgent(t.Context(), broker.Caller{Kind: broker.CallerSocket}, "gus-bot", "gus")
		x.must(err)
		told = []string{"agent gus-bot"}
		want(map[string][]string{"alice": told, "dora": told, "gus": told})
		_, _, err = x.InviteHuman(t.Context(), broker.Caller{Kind: broker.CallerSocket}, "erin")
		x.must(err)
		told = []string{"human erin"}
		want(map[string][]string{"alice": told, "erin": told})
		x.must(x.Store.Update(t.Context(), func(tx broker.Tx) error {
			return tx.Append(broker.Event{Type: broker.EventTargetChanged, Subject: "production/db"})
		}))
		_, err = x.Freeze(t.Context(), broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeTask, Name: "else"})
		x.must(err)
		told = []string{"freeze task:else", "target production/db"}
		want(map[string][]string{"alice": told, "dora": told, "erin": {"freeze task:else"}})
		_, err = x.Freeze(t.Context(), broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeAgent, Name: "gus-bot"})
		x.must(err)
		told = []string{"freeze agent:gus-bot"}
		want(map[string][]string{"alice": told, "dora": told, "erin": told, "gus": told})
	})
}

// An agent that asks the same again and again, or what policy denies, must not keep a human from deciding: no page
// becomes old by it.
func TestAskingAgainDoesNotMakeAPageOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t)
		request := x.MustAsk("staging", "db:public.orders:delete")
		stream := x.follow(x.as("alice"), x.height()+"&of="+request.ID)
		defer stream.leave()
		x.MustAsk("staging", "db:public.orders:delete")
		if _, err := x.Ask("staging", "db:other:admin"); err == nil {
			t.Fatal("it was allowed")
		}
		for i := range 3 * changesAtOnce { // nor a flood of others
			x.must(x.Store.Update(t.Context(), func(tx broker.Tx) error {
				return tx.Append(broker.Event{Type: broker.EventFrozen, Subject: fmt.Sprintf("task:t%d", i)})
			}))
		}
		_, err := x.AddAgent(t.Context(), broker.Caller{Kind: broker.CallerSocket}, "wakes", "alice")
		x.must(err)
		stream.wantHears()
		x.must(x.Reject(t.Context(), "bob", request.ID, request.Digest(), ""))
		stream.wantHears("request " + request.ID)
	})
}

func TestAFloodOfChangesIsToldAsOneThatNamesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t)
		from := x.height()
		x.must(x.Store.Update(t.Context(), func(tx broker.Tx) error {
			for i := range changesAtOnce + 1 {
				if err := tx.Append(broker.Event{Type: broker.EventFrozen, Subject: fmt.Sprintf("task:t%d", i)}); err != nil {
					return err
				}
			}
			return nil
		}))
		stream := x.follow(x.as("alice"), from)
		defer stream.leave()
		stream.wantHears("much")
		late := x.follow(x.as("bob"), "?from=9999999") // of another log
		defer late.leave()
		late.wantHears("much")
	})
}

func TestTheStreamEndsWithItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t)
		alice := x.as("alice")
		stream := x.follow(alice, x.height())
		sessions, err := x.server.sessions.List(t.Context(), "alice")
		x.must(err)
		x.must(x.server.sessions.End(t.Context(), sessions[0]))
		x.MustAsk("staging", "db:public.orders:delete")
		stream.wantHears("over")
		if !stream.ended() {
			t.Error("it goes on")
		}
		quiet := x.follow(x.as("bob"), x.height())
		sessions, err = x.server.sessions.List(t.Context(), "bob")
		x.must(err)
		x.must(x.server.sessions.End(t.Context(), sessions[0]))
		time.Sleep(streamBeat)
		if !quiet.ended() {
			t.Error("it goes on while nothing happens")
		}
		idle := x.follow(x.as("carol"), x.height())
		x.Clock.Advance(31 * time.Minute)
		time.Sleep(streamBeat)
		if !idle.ended() {
			t.Error("it keeps an idle session")
		}
		x.get(alice, "/live").want(http.StatusUnauthorized)
	})
}

func TestAPageThatIsLeftOpenDoesNotKeepItsSessionAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t)
		alice := x.as("alice")
		before, err := x.server.sessions.List(t.Context(), "alice")
		x.must(err)
		for range 5 {
			x.Clock.Advance(5 * time.Minute)
			stream := x.follow(alice, x.height())
			x.MustAsk("staging", "db:public.orders:read")
			if len(stream.hears()) == 0 {
				t.Error("it was told of nothing")
			}
			stream.leave()
			<-stream.done
		}
		after, err := x.server.sessions.List(t.Context(), "alice")
		x.must(err)
		if !after[0].Seen.Equal(before[0].Seen) {
			t.Errorf("the session was last used at %s, then at %s", before[0].Seen, after[0].Seen)
		}
	})
}

func TestAStreamEndsByItselfAndTheNextOneMissesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t)
		alice := x.as("alice")
		stream := x.follow(alice, x.height())
		time.Sleep(streamBeat + time.Second)
		synctest.Wait()
		if text := stream.raw(); !strings.Contains(text, "retry: 1000") || !strings.Contains(text, ": still here") {
			t.Errorf("the stream is %q", text)
		}
		if got := stream.header.Get("Content-Type"); got != "text/event-stream" || stream.header.Get("Cache-Control") != "no-store" {
			t.Errorf("the headers are %v", stream.header)
		}
		time.Sleep(streamLasts)
		if !stream.ended() {
			t.Fatal("it does not end")
		}
		height := len(x.Store.Log())
		request := x.MustAsk("staging", "db:public.orders:delete")
		next := x.follow(alice, "?from=0", header("Last-Event-ID", fmt.Sprint(height)))
		next.wantHears("request " + request.ID)
		next.leave()
		for _, query := range []string{"?from=x", "?from=-1", "?what=1", "?from=1&from=2"} {
			x.get(alice, "/live"+query).want(http.StatusBadRequest)
		}
	})
}

func TestStreamsCannotTakeAllConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t)
		alice, bob := x.as("alice"), x.as("bob")
		var open []*following
		for range streamsOfOne {
			open = append(open, x.follow(alice, x.height()))
		}
		x.get(alice, "/live").want(http.StatusTooManyRequests)
		x.get(alice, "/requests").want(http.StatusOK)
		open = append(open, x.follow(bob, x.height()))
		open[0].leave()
		<-open[0].done
		open = append(open, x.follow(alice, x.height()))
		for _, stream := range open[1:] {
			if stream.ended() || stream.status != http.StatusOK {
				t.Errorf("a stream answered %d", stream.status)
			}
			stream.leave()
			<-stream.done
		}
	})
	s := seats{each: 2, all: 3}
	for i, want := range []bool{true, true, false} {
		if got := s.enter("alice"); got != want {
			t.Errorf("seat %d of one: %t", i, got)
		}
	}
	if !s.enter("bob") || s.enter("carol") {
		t.Error("the seats of all are counted wrong")
	}
	s.leave("alice")
	if !s.enter("carol") || len(s.held) != 3 {
		t.Errorf("the seats are %v", s.held)
	}
}

func TestAStoppingServerEndsItsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t)
		stream := x.follow(x.as("alice"), x.height())
		x.server.endWaits()
		if !stream.ended() {
			t.Error("it goes on")
		}
	})
}

func TestAStrangerHasNoStream(t *testing.T) {
	x := newSite(t)
	x.do("GET", "/live", "").want(http.StatusUnauthorized)
	x.do("GET", "/live", "", bearer(x.agent.token())).want(http.StatusForbidden)
	x.do("POST", "/live", url.Values{}.Encode()).want(http.StatusMethodNotAllowed)
}

func TestPagesSayWhatTheyFollow(t *testing.T) {
	x := newSite(t)
	alice := x.as("alice")
	request := x.MustAsk("staging", "db:public.orders:delete")
	height := fmt.Sprintf(`data-from="%d"`, len(x.Store.Log()))
	for path, want := range map[string]string{
		"/":                       `data-live="request agent target human freeze" data-subject=""`,
		"/requests":               `data-live="request" data-subject=""`,
		"/requests/" + request.ID: `data-live="request lease" data-subject="` + request.ID + `"`,
		"/agents/claude":          `data-live="agent" data-subject="claude"`,
		"/targets/staging/db":     `data-live="target" data-subject="staging/db"`,
	} {
		x.get(alice, path).want(http.StatusOK).wants(want, height, `data-now="2026-04-24T12:00:00Z"`)
	}
	x.get(alice, "/audit").without("data-live")
	x.post(alice, "/agents", url.Values{"name": {"Bad"}, "owner": {"x"}}).without("data-live")
	x.do("GET", "/sign-in", "").without("data-live", "live.js")
}
