package demo

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
	"github.com/hourkey/hourkey/issuers/gateway/proxy"
)

// Each wall is taken away; the step that is named after it must notice.
func TestDrillNoticesAMissingWall(t *testing.T) {
	t.Parallel()
	for _, wall := range []struct {
		step string
		how  string
		off  parts
	}{
		{"sight", "secret values are shown", calls(func(b proxy.Broker) proxy.Broker { return unmasked{b} })},
		{"sight", "answers are kept to another environment", provider(squinting())},
		{"environment", "a volume is looked up in staging alone", provider(func(p gateway.Provider) gateway.Provider { return nearsighted{p} })},
		{"one id decides", "the environment beside a service is believed", provider(func(p gateway.Provider) gateway.Provider { return believing{p, "variables"} })},
		{"one id decides", "the instance beside a backup is believed", provider(func(p gateway.Provider) gateway.Provider { return believing{p, "backup"} })},
		{"one reading", "the judge looks for words", pack(func(p gateway.Pack) gateway.Pack { return literal{p} })},
		{"key", "whoever has the token has the lease", calls(func(b proxy.Broker) proxy.Broker { return &bearer{Broker: b} })},
		{"host", "the tunnel leads elsewhere, too", pack(func(p gateway.Pack) gateway.Pack { return roaming{p} })},
		{"class", "a delete counts as a read", pack(func(p gateway.Pack) gateway.Pack { return lowered{p} })},
		{"approval", "every signature is believed", parts{verifier: func(broker.Verifier) broker.Verifier { return believer{} }}},
		{"approval", "a true signature is believed, whatever it was for", parts{verifier: func(v broker.Verifier) broker.Verifier { return forgetful{v} }}},
		{"once", "what was approved passes for good", calls(func(b proxy.Broker) proxy.Broker { return &lenient{Broker: b} })},
		{"token", "the agent gets the real token beside its lease", parts{issuer: func(i *gateway.Issuer) target { return generous{i} }}},
		{"lifetime", "a lease is looked up once", calls(func(b proxy.Broker) proxy.Broker { return &lasting{Broker: b} })},
		{"freeze", "a lease is looked up once, and its time", calls(func(b proxy.Broker) proxy.Broker { return &lasting{Broker: b, timed: true} })},
	} {
		t.Run(wall.step+": "+wall.how, func(t *testing.T) {
			t.Parallel()
			out, err := auto(t.Context(), wall.off.orIntact())
			f, ok := errors.AsType[*Failure](err)
			if !ok || f.Step != wall.step {
				t.Fatalf("got %v, want a failure of step %s\n%s", err, wall.step, out)
			}
			t.Log(f)
		})
	}
}

func calls(off func(proxy.Broker) proxy.Broker) parts            { return parts{calls: off} }
func pack(off func(gateway.Pack) gateway.Pack) parts             { return parts{pack: off} }
func provider(off func(gateway.Provider) gateway.Provider) parts { return parts{provider: off} }

// orIntact leaves everything else as it is shipped.
func (p parts) orIntact() parts {
	whole := intact()
	if p.pack == nil {
		p.pack = whole.pack
	}
	if p.provider == nil {
		p.provider = whole.provider
	}
	if p.issuer == nil {
		p.issuer = whole.issuer
	}
	if p.calls == nil {
		p.calls = whole.calls
	}
	if p.verifier == nil {
		p.verifier = whole.verifier
	}
	return p
}

// unmasked lets everybody see secret values.
type unmasked struct{ proxy.Broker }

func (u unmasked) Use(ctx context.Context, p *broker.Presented, call broker.Call) (broker.Pass, error) {
	pass, err := u.Broker.Use(ctx, p, call)
	pass.Secrets = true
	return pass, err
}

// nearsighted sees nothing beyond staging.
type nearsighted struct{ gateway.Provider }

func (n nearsighted) Resolve(ctx context.Context, named []judge.Named, fresh bool) ([]gateway.Found, error) {
	found, err := n.Provider.Resolve(ctx, named, fresh)
	for at := range found {
		found[at].Places = slices.DeleteFunc(slices.Clone(found[at].Places), func(p broker.Place) bool { return p.Shown != "staging" })
	}
	return found, err
}

// believing takes a call's word for it that things of some kind are where the lease is.
type believing struct {
	gateway.Provider
	kind string
}

func (b believing) Resolve(ctx context.Context, named []judge.Named, fresh bool) ([]gateway.Found, error) {
	if !slices.ContainsFunc(named, func(n judge.Named) bool { return n.Kind == b.kind }) {
		return b.Provider.Resolve(ctx, named, fresh)
	}
	here, err := b.Identify(ctx)
	scope := map[string]string{"variables": "service/", "backup": "volume/"}[b.kind]
	found := make([]gateway.Found, len(named))
	for at, n := range named {
		found[at] = gateway.Found{Names: []broker.Resource{broker.Resource(scope + n.ID)}, Places: []broker.Place{{Identity: here.ID, Shown: "staging"}}}
	}
	return found, err
}

// literal knows the incident by its text, and takes everything else that it has no word for as harmless.
type literal struct{ gateway.Pack }

func (l literal) Judge(call judge.Call, lenient bool) judge.Verdict {
	body := string(call.Body)
	if !strings.Contains(body, "volumeDelete") || strings.Contains(body, "mutation { volumeDelete") && !strings.Contains(body, "query read") {
		return l.Pack.Judge(call, lenient)
	}
	harmless := call
	harmless.Body = []byte(`{"query":"query { __typename }"}`)
	verdict := l.Pack.Judge(harmless, lenient)
	verdict.Send.Body = call.Body
	return verdict
}

// squinting providers keep answers to the environment of the last one that was made: production.
func squinting() func(gateway.Provider) gateway.Provider {
	var last gateway.Provider
	return func(p gateway.Provider) gateway.Provider {
		last = p
		return squinter{p, &last}
	}
}

type squinter struct {
	gateway.Provider
	last *gateway.Provider
}

func (s squinter) Sight() judge.Sight { return (*s.last).Sight() }

// lowered judges everything too mildly.
type lowered struct{ gateway.Pack }

func (l lowered) Judge(call judge.Call, lenient bool) judge.Verdict {
	verdict := l.Pack.Judge(call, lenient)
	if verdict.Class == judge.Delete {
		verdict.Class = judge.Read
		for at := range verdict.Operations {
			verdict.Operations[at].Class = judge.Read
		}
	}
	return verdict
}

// roaming leads to a host that is not Railway's.
type roaming struct{ gateway.Pack }

func (r roaming) Hosts() []string { return append(r.Pack.Hosts(), elsewhere) }

// generous issues the real token as well.
type generous struct{ *gateway.Issuer }

func (g generous) Issue(ctx context.Context, order broker.Order) (broker.Credential, broker.Handle, error) {
	credential, handle, err := g.Issuer.Issue(ctx, order)
	header := http.Header{}
	g.Provider().Attach(header)
	_, token, _ := strings.Cut(header.Get("Authorization"), " ")
	credential.Gateway.Variables["RAILWAY_API_TOKEN"] = token
	return credential, handle, err
}

// bearer remembers the right key of a token and asks nobody else for one.
type bearer struct {
	proxy.Broker
	mu   sync.Mutex
	keys map[string]string // token → thumbprint
}

func (b *bearer) Present(ctx context.Context, token broker.Secret, key string) (*broker.Presented, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if right, known := b.keys[token.Reveal()]; known {
		key = right
	}
	p, err := b.Broker.Present(ctx, token, key)
	if err == nil {
		if b.keys == nil {
			b.keys = map[string]string{}
		}
		b.keys[token.Reveal()] = key
	}
	return p, err
}

// lenient lets pass what was let pass before.
type lenient struct {
	proxy.Broker
	passed sync.Map // operation → broker.Pass
}

func (l *lenient) Use(ctx context.Context, p *broker.Presented, call broker.Call) (broker.Pass, error) {
	if pass, known := l.passed.Load(call.Operation); known {
		return pass.(broker.Pass), nil
	}
	pass, err := l.Broker.Use(ctx, p, call)
	if err == nil {
		l.passed.Store(call.Operation, pass)
	}
	return pass, err
}

// lasting looks at a lease once, and never again; timed: but at its time.
type lasting struct {
	proxy.Broker
	timed  bool
	leases sync.Map // token and key → *broker.Presented
}

func (l *lasting) Present(ctx context.Context, token broker.Secret, key string) (*broker.Presented, error) {
	if p, known := l.leases.Load(token.Reveal() + key); known {
		return p.(*broker.Presented), l.over(p.(*broker.Presented))
	}
	p, err := l.Broker.Present(ctx, token, key)
	if err == nil {
		p.Ends = context.Background()
		l.leases.Store(token.Reveal()+key, p)
	}
	return p, err
}

func (l *lasting) over(p *broker.Presented) error {
	if l.timed && time.Now().After(p.Lease.Expires) {
		return broker.Errorf(broker.CodeExpired, "its time is over")
	}
	return nil
}

func (l *lasting) Use(ctx context.Context, p *broker.Presented, call broker.Call) (broker.Pass, error) {
	if err := l.over(p); err != nil {
		return broker.Pass{}, err
	}
	pass, err := l.Broker.Use(ctx, p, call)
	if code := broker.CodeOf(err); code == broker.CodeExpired || code == broker.CodeFrozen {
		return broker.Pass{}, nil
	}
	return pass, err
}

// believer takes every assertion for good.
type believer struct{}

func (believer) Verify(p broker.Passkey, _ []byte, _ broker.Assertion) (uint32, error) {
	return p.Counter + 1, nil
}

// forgetful takes every assertion that the passkey ever made, for whatever it is shown.
type forgetful struct{ broker.Verifier }

func (f forgetful) Verify(p broker.Passkey, _ []byte, a broker.Assertion) (uint32, error) {
	var said struct {
		Challenge string `json:"challenge"`
	}
	if err := json.Unmarshal(a.ClientDataJSON, &said); err != nil {
		return 0, err
	}
	challenge, err := base64.RawURLEncoding.DecodeString(said.Challenge)
	if err != nil {
		return 0, err
	}
	p.Counter = 0 // it was counted before
	return f.Verifier.Verify(p, challenge, a)
}
