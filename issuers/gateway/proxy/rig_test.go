package proxy

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	mainHost  = "api.example.test"
	otherHost = "alias.example.test"
	// realToken has characters that JSON, URLs and base64 write in other ways.
	realToken = `real/tok+en=with"odd&ends<0123456789>`
)

const packText = `
GET /things
    read    lists
    touch   none

GET /things/{id}
    read    one
    touch   thing id

PUT /things/{id}
    write   changes one
    touch   thing id

PATCH /things/{id}
    write   changes one
    touch   thing id

DELETE /things/{id}
    delete  destroys one
    touch   thing id

GET /things/{id}/values
    read    the values of one
    touch   thing id
    secret  values.*

GET /keys/{id}
    admin   makes a key each time that it is asked
    touch   thing id

POST /things/{id}/upload
    write   takes any bytes
    touch   thing id
    raw

POST /things/{id}/bury
    delete  whatever is sent
    touch   thing id
    raw

POST /nothing
    write   names nothing
    touch   none

GET /never
    refused it is never let through
`

// pack is a small provider's.
type pack struct{ rest *judge.REST }

func newPack(t testing.TB) *pack {
	t.Helper()
	rows, err := judge.ParsePack("small", "small.pack", []byte(packText))
	if err != nil {
		t.Fatal(err)
	}
	rest, err := judge.NewREST(rows)
	if err != nil {
		t.Fatal(err)
	}
	return &pack{rest}
}

func (*pack) Name() string                                        { return "small" }
func (*pack) Hosts() []string                                     { return []string{mainHost, otherHost} }
func (p *pack) Judge(call judge.Call, lenient bool) judge.Verdict { return p.rest.Judge(call, lenient) }
func (*pack) Rows() *judge.Pack                                   { return &judge.Pack{} }
func (*pack) Kinds() []string                                     { return []string{"thing"} }
func (*pack) Variables(string, string) map[string]string          { return nil }

func (*pack) Refuse(_ judge.Call, status int, problem gateway.Problem) (contentType string, body []byte) {
	body, _ = json.Marshal(map[string]any{"message": problem.Message, "code": problem.Code, "status": status, "url": problem.URL, "request": problem.Request})
	return "application/json", body
}

// provider resolves everything to staging, but what is called "gone", "prod…" or "public".
type provider struct {
	base     string
	token    string
	identity string // of its environments, before the name; default "small:"

	mu    sync.Mutex
	asked []string // "thing/1 fresh"
}

func (*provider) Identify(context.Context) (broker.Identity, error) {
	return broker.Identity{ID: "small:staging", Shown: "staging"}, nil
}

func (p *provider) Resolve(_ context.Context, named []judge.Named, fresh bool) ([]gateway.Found, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := make([]gateway.Found, 0, len(named))
	for _, name := range named {
		p.asked = append(p.asked, fmt.Sprintf("%s/%s %v", name.Kind, name.ID, fresh))
		identity := cmp.Or(p.identity, "small:")
		place := broker.Place{Identity: identity + "staging", Shown: "staging"}
		switch {
		case name.ID == "gone":
			return nil, broker.Errorf(broker.CodeDenied, "%s: there is no such thing", name.At)
		case name.ID == "leaky":
			return nil, broker.Errorf(broker.CodeUnavailable, "the look-up with %s failed", p.token)
		case name.ID == "short":
			return nil, nil
		case strings.HasPrefix(name.ID, "prod"):
			place = broker.Place{Identity: identity + "production", Shown: "production"}
		case name.ID == "public":
			found = append(found, gateway.Found{})
			continue
		}
		found = append(found, gateway.Found{Names: []broker.Resource{broker.Resource(name.Kind + "/" + name.ID)}, Places: []broker.Place{place}, Says: "a thing"})
	}
	return found, nil
}

func (*provider) Inventory(context.Context) ([]broker.Fact, error) { return nil, nil }
func (*provider) Sight() judge.Sight                               { return judge.Sight{Environment: "staging"} }
func (p *provider) Base() string                                   { return p.base }
func (p *provider) Attach(header http.Header)                      { header.Set("Authorization", "Bearer "+p.token) }

// issuer is a target behind the gateway.
type issuer struct {
	broker.Issuer
	broker.Declarer
	pack     gateway.Pack
	provider gateway.Provider
}

func (i *issuer) Pack() gateway.Pack         { return i.pack }
func (i *issuer) Provider() gateway.Provider { return i.provider }

// keeper is a broker that knows one lease, lets reads and writes of staging pass, and remembers.
type keeper struct {
	mu        sync.Mutex
	presented *broker.Presented
	token     string
	end       context.CancelFunc
	decide    func(broker.Call) (broker.Pass, error)
	calls     []broker.Call
	outcomes  []string
	refused   []string
}

func (k *keeper) Present(_ context.Context, token broker.Secret, key string) (*broker.Presented, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case token.Reveal() != k.token:
		return nil, broker.Errorf(broker.CodeUnauthenticated, "this token is of no lease")
	case key != k.presented.Lease.AgentKey:
		return nil, broker.Errorf(broker.CodeUnauthenticated, "this token was issued to another key")
	case k.presented.Ends.Err() != nil:
		return nil, broker.Errorf(broker.CodeExpired, "this lease has ended").WithNext("make a new request")
	}
	return k.presented, nil
}

func (k *keeper) Use(_ context.Context, _ *broker.Presented, call broker.Call) (broker.Pass, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = append(k.calls, call)
	if k.decide != nil {
		return k.decide(call)
	}
	for _, touched := range call.Touches {
		if touched.Places[0].Identity != "small:staging" {
			return broker.Pass{}, broker.Errorf(broker.CodeDenied, "%s lives in %s", touched.Names[0], touched.Places[0].Shown)
		}
	}
	return broker.Pass{}, nil
}

func (k *keeper) Used(_ context.Context, _ *broker.Presented, _ broker.Pass, call broker.Call, outcome string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.outcomes = append(k.outcomes, firstWord(call.Operation)+" "+outcome)
}

func firstWord(text string) string {
	word, _, _ := strings.Cut(text, " ")
	return word
}

func (k *keeper) RefusedCall(_ context.Context, _ *broker.Presented, operation string, refusal error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refused = append(k.refused, operation+": "+refusal.Error())
}

func (k *keeper) seen() (calls int, outcomes, refused []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.calls), slices.Clone(k.outcomes), slices.Clone(k.refused)
}

// rig is a proxy with a provider's server behind it and an agent before it.
type rig struct {
	testing.TB
	proxy     *Proxy
	broker    *keeper
	provider  *provider
	authority *gateway.Authority
	key       *key
	origin    string
	backend   *backend
	log       *lockedBuffer
	now       func() time.Time
}

const leaseToken = "hkt_lease1_ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// backend is the provider's server; its handler can be changed.
type backend struct {
	*httptest.Server
	mu      sync.Mutex
	handler http.HandlerFunc
	got     []*http.Request
	bodies  []string
}

func newBackend(t testing.TB) *backend {
	b := &backend{}
	b.Server = httptest.NewServer(http.HandlerFunc(b.serve))
	t.Cleanup(b.Close)
	return b
}

func (b *backend) serve(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	handler := b.handler
	b.mu.Unlock()
	if handler != nil {
		handler(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	b.mu.Lock()
	b.got, b.bodies = append(b.got, r), append(b.bodies, string(body))
	b.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"path":%q,"body":%q}`, r.RequestURI, body)
}

func (b *backend) answers(handler http.HandlerFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.handler = handler
}

func (b *backend) seen() []*http.Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.got)
}

// lockedBuffer keeps what was logged.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedBuffer) Write(raw []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(raw)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	r := &rig{TB: t, key: newKey(t), backend: newBackend(t), log: &lockedBuffer{}, now: time.Now}
	r.provider = &provider{base: r.backend.URL, token: realToken}
	var err error
	if r.authority, err = gateway.NewAuthority([]byte(strings.Repeat("s", 32)), "inst7"); err != nil {
		t.Fatal(err)
	}
	ends, end := context.WithCancel(context.Background())
	t.Cleanup(end)
	r.broker = &keeper{token: leaseToken, end: end, presented: &broker.Presented{
		Lease: broker.Lease{
			ID: "lease1", AgentKey: r.key.thumbprint, Agent: "claude", Environment: "staging", Target: "small", State: broker.LeaseLive,
			Created: time.Now().Add(-time.Minute), Expires: time.Now().Add(30 * time.Minute),
		},
		Target: broker.Target{Binding: "b1", Issuer: &issuer{pack: newPack(t), provider: r.provider}},
		Ends:   ends,
	}}
	outer := httptest.NewUnstartedServer(nil)
	r.origin = "http://" + outer.Listener.Addr().String()
	config := Config{
		Broker: r.broker, Authority: r.authority, Origin: r.origin, Now: time.Now,
		Log: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, c := range change {
		c(&config)
	}
	if r.proxy, err = New(config); err != nil {
		t.Fatal(err)
	}
	outer.Config.Handler = r.proxy
	outer.Start()
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- r.proxy.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
		outer.Close()
	})
	return r
}

// leave waits until the whole budget for large bodies is given back, and takes all of it but some.
func (r *rig) leave(some int64) {
	r.Helper()
	all := r.proxy.bodies
	wait(r, "the budget to be whole", func() bool {
		if !all.take(mostBuffered) {
			return false
		}
		all.give(some)
		return true
	})
}

// say writes to somebody who may be gone.
func say(to io.Writer, text string) { _, _ = io.WriteString(to, text) }

// patience is how long a test waits for what must come to pass: far longer than it takes, since the machine may do much else.
const patience = 30 * time.Second

func wait(t testing.TB, what string, until func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !until(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
