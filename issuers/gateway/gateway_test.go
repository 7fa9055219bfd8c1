package gateway_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	faithful "github.com/hourkey/hourkey/issuers/gateway/faithful/railway"
	"github.com/hourkey/hourkey/issuers/issuertest"
)

// TestConformance holds the gateway to what every issuer promises. A lease behind the gateway is a record of
// the broker's, so the suite's orders go through a real broker: asked for, approved where a human must,
// collected, released. What is issued is used through the real proxy, on a Railway that loses data.
func TestConformance(t *testing.T) {
	h := newHouse(t)
	issuertest.Run(t, issuertest.Harness{
		Issuer: h.taken(),
		Reopen: func(*testing.T) issuertest.Issuer { return h.taken() },

		ReadWrite: h.wish("db:*:read,write"),
		Delete:    h.wish("db:*:read,write,delete"),
		Unknown:   h.wish("db:volume/nowhere:read"),
		Short:     3 * time.Second,

		Use: h.use,
		Elsewhere: func(ctx context.Context, c broker.Credential) error {
			return h.say(ctx, c, `{ variables(projectId: "`+h.Shop+`", environmentId: "`+h.Production+`", serviceId: "`+h.Web+`") }`)
		},
		Outside: h.attacks(),
		Connect: h.connect,
		Refused: isRefused,

		SecretNames: []string{tokenName},
		Secrets:     []string{h.AccountToken},
		Fault: func(t *testing.T) (issuertest.Issuer, error) {
			broken := newHouse(t)
			order := broken.wish("db:*:read")
			order.TTL = time.Minute
			if _, err := broken.taken().Describe(t.Context(), order); err != nil {
				t.Errorf("before anything is broken: %v", err)
			}
			broken.provider.Close()
			broken.forget()
			return broken.taken(), nil
		},
	})
	for _, instance := range []string{h.ShopDataProduction, h.ShopDataStaging} {
		if _, there := h.railway.Data(instance); !there {
			t.Error("a volume that nobody was given is gone")
		}
	}
}

// tokenName is under which name the suite finds the lease's token.
const tokenName = "TOKEN"

// taken is staging's issuer, with the broker that it belongs to: what the suite orders is taken as agents do.
type taken struct {
	*gateway.Issuer
	house *house

	mu     sync.Mutex
	leases map[string]string // name in the suite → lease
}

func (h *house) taken() *taken {
	return &taken{Issuer: h.issuer("staging"), house: h, leases: map[string]string{}}
}

// Issue first lets the issuer itself look at the order: a bad one must be refused there, whatever the broker
// would make of it.
func (i *taken) Issue(ctx context.Context, order broker.Order) (broker.Credential, broker.Handle, error) {
	if _, _, err := i.Issuer.Issue(ctx, order); err != nil {
		return broker.Credential{}, nil, err
	}
	w := i.house.world
	request, credentials, err := w.Take(ctx, broker.Ask{
		Agent: w.Agent.Name, AgentKey: w.Agent.Key, Task: "fix", Environments: []string{"staging"}, Scopes: order.Description.Scopes,
		TTL: time.Until(order.Expires).Truncate(time.Second), // what the broker takes; less, since asking takes a moment
	})
	if err == nil && request.State == broker.RequestPending {
		w.SignAs("bob", broker.ActApprove, request.ID)
		credentials, err = w.Collect(ctx, w.Agent, request.ID)
	}
	if err != nil {
		return broker.Credential{}, nil, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.leases[order.Name] = credentials[0].Lease
	credential := credentials[0]
	credential.Values = map[string]broker.Secret{tokenName: credential.Gateway.Token} // where the suite looks for secrets
	return credential, nil, nil
}

// Revoke releases the lease.
func (i *taken) Revoke(ctx context.Context, name string, handle broker.Handle) error {
	i.mu.Lock()
	lease, known := i.leases[name]
	i.mu.Unlock()
	if !known {
		return i.Issuer.Revoke(ctx, name, handle)
	}
	return errors.Join(i.Issuer.Revoke(ctx, name, handle), i.house.world.Release(ctx, i.house.world.Agent, lease))
}

// use does one action through a tunnel of its own, by TLS as in forward mode, and holds the answer to what
// Railway really did.
func (h *house) use(ctx context.Context, c broker.Credential, action broker.Actions) error {
	line, err := h.dial(ctx, c, h.key, h.pack.Hosts()[0], false)
	if err != nil {
		return err
	}
	defer line.Close()
	return h.do(line, action)
}

// do reads, writes, or deletes a volume that it made for that.
func (h *house) do(line net.Conn, action broker.Actions) error {
	switch action {
	case broker.Read:
		return h.ask(line, `{ project(id: "`+h.Shop+`") { name services { edges { node { name } } } } }`)
	case broker.Write:
		name, value := "V"+rand.Text(), rand.Text()
		return h.really(h.ask(line, h.upsert(h.Staging, name, value)), "the variable is set", h.isSet(name, value))
	default:
		volume := h.railway.AddVolume(h.Shop, "made-"+strings.ToLower(rand.Text()), "/data", "", 1, h.Staging)
		return h.really(h.ask(line, `mutation { volumeDelete(volumeId: "`+volume+`") }`), "the volume is gone", h.isGone(volume))
	}
}

func (h *house) upsert(environment, name, value string) string {
	return fmt.Sprintf(`mutation { variableUpsert(input: {projectId: %q, environmentId: %q, serviceId: %q, name: %q, value: %q}) }`, h.Shop, environment, h.Web, name, value)
}

// really fails the test when what the gateway said is not what Railway did.
func (h *house) really(err error, what string, done bool) error {
	if done != (err == nil) {
		h.Errorf("%s: %t, and the gateway said %v", what, done, err)
	}
	return err
}

func (h *house) isSet(name, value string) bool {
	for _, record := range h.railway.Snapshot().Records {
		if record.Kind == "Variable" && record.Name == name {
			return record.Fields["value"] == `"`+value+`"`
		}
	}
	return false
}

func (h *house) isGone(volume string) bool { return !slices.Contains(h.railway.IDs("Volume"), volume) }

// session is a tunnel that stays open, as base-URL mode has it.
type session struct {
	house *house
	line  net.Conn
}

func (h *house) connect(ctx context.Context, c broker.Credential) (issuertest.Session, error) {
	line, err := h.dial(ctx, c, h.key, h.pack.Hosts()[0], true)
	if err != nil {
		return nil, err
	}
	return &session{h, line}, nil
}

// Do takes a line that was cut for a refusal: that is how a lease ends under who holds one.
func (s *session) Do(_ context.Context, action broker.Actions) error {
	err := s.house.do(s.line, action)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return &refusal{code: "cut", message: err.Error()}
	}
	return err
}

func (s *session) Close() { _ = s.line.Close() }

// attacks are what a lease to read and write in staging must be refused. Where one gets through, err is nil.
func (h *house) attacks() map[string]func(context.Context, broker.Credential) error {
	kill := fmt.Sprintf("volumeDelete(volumeId: %q)", h.ShopData)
	attacks := map[string]func(context.Context, broker.Credential) error{
		"a token without its key": func(ctx context.Context, c broker.Credential) error {
			_, other, err := ed25519.GenerateKey(rand.Reader)
			must(h, err)
			_, err = h.dial(ctx, c, other, h.pack.Hosts()[0], true)
			return err
		},
		"a token that was guessed": func(ctx context.Context, c broker.Credential) error {
			c.Gateway = &broker.Gateway{Token: broker.NewSecret(broker.TokenPrefix + c.Lease + "_" + rand.Text())}
			_, err := h.dial(ctx, c, h.key, h.pack.Hosts()[0], true)
			return err
		},
		"another host": func(ctx context.Context, c broker.Credential) error {
			_, err := h.dial(ctx, c, h.key, "bank.example", true)
			return err
		},
		"the token at the provider itself": func(ctx context.Context, c broker.Credential) error {
			line, err := net.Dial("tcp", h.provider.Listener.Addr().String())
			must(h, err)
			defer line.Close()
			err = h.post(line, `{"query":"{ me { id } }"}`, "Authorization: Bearer "+c.Gateway.Token.Reveal()+"\r\n")
			if err != nil && strings.Contains(err.Error(), "Not Authorized") { // Railway's own words
				return &refusal{code: "provider", message: err.Error()}
			}
			return err
		},
		"a document in the query string": func(ctx context.Context, c broker.Credential) error {
			return h.sent(ctx, c, "GET", "/graphql/v2?query="+url.QueryEscape("mutation { "+kill+" }"), "")
		},
		"another door": func(ctx context.Context, c broker.Credential) error {
			return h.sent(ctx, c, "POST", "/project/"+h.Shop+"/environment/"+h.Staging+"/up?serviceId="+h.Web, "code")
		},
		"a path around the door": func(ctx context.Context, c broker.Credential) error {
			return h.sent(ctx, c, "POST", "/x/../graphql/v2", body("mutation { "+kill+" }"))
		},
		"a batch": func(ctx context.Context, c broker.Credential) error {
			return h.sent(ctx, c, "POST", "/graphql/v2", "["+body("{ me { id } }")+","+body("mutation { "+kill+" }")+"]")
		},
		"the query twice in one body": func(ctx context.Context, c broker.Credential) error {
			return h.sent(ctx, c, "POST", "/graphql/v2", `{"query":"{ __typename }","query":`+quoted("mutation { "+kill+" }")+`}`)
		},
		"the second of two operations": func(ctx context.Context, c broker.Credential) error {
			return h.sent(ctx, c, "POST", "/graphql/v2", `{"operationName":"B","query":`+quoted("query A { __typename } mutation B { "+kill+" }")+`}`)
		},
	}
	for name, document := range map[string]string{
		"production's volume by its id":        "mutation { " + kill + " }",
		"an alias that sounds harmless":        "mutation { variableUpsert: " + kill + " }",
		"a fragment":                           "mutation { ...Read } fragment Read on Mutation { " + kill + " }",
		"an inline fragment":                   "mutation { ... on Mutation @include(if: true) { " + kill + " } }",
		"beside a harmless one":                strings.TrimSuffix(h.upsert(h.Staging, "A", "b"), "}") + " " + kill + " }",
		"a directive with a default":           "mutation M($no: Boolean = true) { " + kill + " @include(if: $no) }",
		"a variable of production":             h.upsert(h.Production, "PWNED", "yes"),
		"a service that only production has":   fmt.Sprintf("{ service(id: %q) { name } }", h.reports),
		"production's part of a service":       fmt.Sprintf("{ serviceInstance(environmentId: %q, serviceId: %q) { id } }", h.Production, h.Web),
		"a token of its own":                   fmt.Sprintf(`mutation { projectTokenCreate(input: {projectId: %q, environmentId: %q, name: "mine"}) }`, h.Shop, h.Staging),
		"another project":                      fmt.Sprintf("{ project(id: %q) { name } }", h.Billing),
		"a volume that is nowhere":             `mutation { volumeDelete(volumeId: "00000000-0000-4000-8000-000000000000") }`,
		"an operation that the list has not":   "mutation { volumeObliterate(volumeId: \"" + h.ShopData + "\") }",
		"a subscription":                       `subscription { deploymentEvents(id: "` + h.Web + `") { id } }`,
		"the whole environment, in one delete": fmt.Sprintf("mutation { environmentDelete(id: %q) }", h.Staging),
	} {
		attacks[name] = func(ctx context.Context, c broker.Credential) error { return h.say(ctx, c, document) }
	}
	return attacks
}

// say asks in a tunnel of its own.
func (h *house) say(ctx context.Context, c broker.Credential, document string) error {
	return h.sent(ctx, c, "POST", "/graphql/v2", body(document))
}

func (h *house) sent(ctx context.Context, c broker.Credential, method, target, text string) error {
	line, err := h.dial(ctx, c, h.key, h.pack.Hosts()[0], true)
	if err != nil {
		return err
	}
	defer line.Close()
	before := h.railway.Snapshot()
	err = h.exchange(line, method, target, text, "")
	if changes := faithful.Compare(before, h.railway.Snapshot()); err != nil && len(changes) > 0 {
		h.Errorf("%s %s: refused, and done all the same: %+v", method, target, changes)
	}
	return err
}
