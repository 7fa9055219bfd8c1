package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// send begins a call and gives its outcome later.
func (r *rig) send(client *http.Client, method, path, body string) <-chan string {
	done := make(chan string, 1)
	request, err := http.NewRequestWithContext(r.Context(), method, "http://base.local"+path, strings.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	go func() {
		response, err := client.Do(request)
		if err != nil {
			done <- "broken off"
			return
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			done <- "broken off within the answer"
			return
		}
		done <- response.Status
	}()
	return done
}

// cutOff: the caller may still be told why, when that is quicker than the end of its connection.
func cutOff(outcome string) bool { return outcome == "broken off" || outcome == "504 Gateway Timeout" }

// until gives what came, or fails.
func until[T any](t testing.TB, what string, from <-chan T) (got T) {
	t.Helper()
	select {
	case got = <-from:
	case <-time.After(patience):
		t.Fatalf("waited in vain: %s", what)
	}
	return got
}

func TestFreezeDuringAnUpload(t *testing.T) {
	r := newRig(t)
	began, frozen, aborted := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	r.backend.answers(func(_ http.ResponseWriter, q *http.Request) {
		if _, err := io.ReadFull(q.Body, make([]byte, 1<<20)); err != nil {
			t.Error(err)
		}
		close(began)
		<-frozen // until then the provider is slow
		_, err := io.Copy(io.Discard, q.Body)
		aborted <- err
	})
	done := r.send(r.client(), "POST", "/things/7/upload", strings.Repeat("x", 30<<20))
	until(t, "the upload to begin", began)
	r.broker.end()
	close(frozen)
	if err := until(t, "the provider to see the end", aborted); err == nil {
		t.Error("the provider got the whole upload")
	}
	if got := until(t, "the caller to see the end", done); !cutOff(got) {
		t.Error(got)
	}
	r.wantOutcomes("POST the lease ended: outcome unknown")
}

func TestFreezeWhileTheCallerUploads(t *testing.T) {
	r := newRig(t)
	reader, writer := io.Pipe()
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://base.local/things/7/upload", reader)
	done := make(chan error, 1)
	client := r.client()
	go func() {
		response, err := client.Do(request)
		if err == nil {
			response.Body.Close()
		}
		done <- err
	}()
	if _, err := writer.Write([]byte("some")); err != nil {
		t.Fatal(err)
	}
	wait(t, "the call", func() bool { return r.proxy.calls.underWay() == 1 })
	r.broker.end()
	wait(t, "the end of the call", func() bool { return r.proxy.calls.underWay() == 0 })
	writer.Close()
	if err := until(t, "the caller to see the end", done); err == nil {
		t.Error("answered")
	}
	if calls, _, _ := r.broker.seen(); calls != 0 || len(r.backend.seen()) != 0 {
		t.Error("half an upload was let pass")
	}
}

func TestFreezeDuringAnAnswer(t *testing.T) {
	r := newRig(t)
	gone := make(chan struct{})
	r.backend.answers(func(w http.ResponseWriter, q *http.Request) {
		say(w, strings.Repeat("x", smallAnswer+1))
		_ = http.NewResponseController(w).Flush()
		<-q.Context().Done()
		close(gone)
	})
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://base.local/things/7", http.NoBody)
	response, err := r.client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.ReadFull(response.Body, make([]byte, smallAnswer)); err != nil {
		t.Fatal(err)
	}
	r.broker.end()
	until(t, "the provider to see the end", gone)
	if _, err := io.Copy(io.Discard, response.Body); err == nil {
		t.Error("the answer looks whole")
	}
	r.wantOutcomes("GET 200: the answer broke off")
}

func TestFreezeBeforeTheAnswer(t *testing.T) {
	r := newRig(t)
	began, gone := make(chan struct{}), make(chan struct{})
	r.backend.answers(func(_ http.ResponseWriter, q *http.Request) {
		_, _ = io.Copy(io.Discard, q.Body)
		close(began)
		<-q.Context().Done()
		close(gone)
	})
	done := r.send(r.client(), "PUT", "/things/7", "{}")
	until(t, "the call", began)
	r.broker.end()
	until(t, "the provider to see the end", gone)
	if got := until(t, "the caller to see the end", done); !cutOff(got) {
		t.Error(got)
	}
	r.wantOutcomes("PUT the lease ended: outcome unknown")
}

// A write that was let pass is seen through when its caller goes: then the log says how it came out. A read
// ends with its caller.
func TestACallerThatGoes(t *testing.T) {
	for _, c := range []struct{ method, outcome string }{{"PUT", "PUT 200"}, {"GET", "GET the caller broke off: outcome unknown"}} {
		r := newRig(t)
		began, gone, go1 := make(chan struct{}), make(chan struct{}), make(chan struct{})
		r.backend.answers(func(w http.ResponseWriter, q *http.Request) {
			_, _ = io.Copy(io.Discard, q.Body)
			close(began)
			select {
			case <-go1:
				say(w, "{}")
			case <-q.Context().Done():
				close(gone)
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		request, _ := http.NewRequestWithContext(ctx, c.method, "http://base.local/things/7", http.NoBody)
		done := make(chan struct{})
		client := r.client()
		go func() {
			defer close(done)
			if response, err := client.Do(request); err == nil {
				response.Body.Close()
			}
		}()
		until(t, "the call", began)
		cancel()
		until(t, "the caller to go", done)
		if c.method == "GET" {
			until(t, "the provider to see the end", gone)
		} else {
			time.Sleep(100 * time.Millisecond) // in which nothing must come of it
		}
		close(go1)
		r.wantOutcomes(c.outcome)
	}
}

// At the stop calls under way come to their end, and then nothing is left.
func TestStoppingBetweenCalls(t *testing.T) {
	k, b := newKey(t), newBackend(t)
	began, goOn := make(chan struct{}), make(chan struct{})
	b.answers(func(w http.ResponseWriter, q *http.Request) {
		_, _ = io.Copy(io.Discard, q.Body)
		close(began)
		<-goOn
		say(w, "{}")
	})
	r := newRig(t)
	life, end := context.WithCancel(context.Background())
	defer end()
	presented := &broker.Presented{
		Lease: r.broker.presented.Lease, Ends: life,
		Target: broker.Target{Issuer: &issuer{pack: newPack(t), provider: &provider{base: b.URL, token: realToken}}},
	}
	presented.Lease.AgentKey = k.thumbprint
	outer := httptest.NewUnstartedServer(nil)
	defer outer.Close()
	origin := "http://" + outer.Listener.Addr().String()
	p, err := New(Config{Broker: &keeper{token: leaseToken, presented: presented, end: end}, Authority: r.authority, Origin: origin, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	outer.Config.Handler = p
	outer.Start()
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- p.Run(ctx) }()

	two := *r
	two.origin, two.key, two.proxy = origin, k, p
	client, idle := two.client(), two.plain()
	done := two.send(client, "PUT", "/things/7", "{}")
	until(t, "the call", began)
	stop()
	wait(t, "the stop", p.calls.stopped)
	two.refusedTunnel("while stopping", two.ask(mainHost, true), 503, "stopping")
	select {
	case err := <-ran:
		t.Fatalf("stopped during a call: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(goOn)
	if got := until(t, "the call", done); got != "200 OK" {
		t.Error(got)
	}
	if err := until(t, "Run", ran); err != nil {
		t.Error(err)
	}
	if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && err == nil {
		t.Error("an idle tunnel is left")
	}
	if p.slots.all != 0 {
		t.Errorf("%d slots are taken", p.slots.all)
	}
}

// A tunnel whose TLS never comes is not kept.
func TestALeaseThatEndsDuringTheHandshake(t *testing.T) {
	r := newRig(t)
	c, _, response := r.open(r.ask(mainHost, false))
	if c == nil {
		t.Fatal(response.StatusCode)
	}
	defer c.Close()
	r.broker.end()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("still open: %v", err)
	}
}

func (c *callsUnderWay) underWay() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}
