package gateway_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
	"github.com/hourkey/hourkey/issuers/gateway"
	faithful "github.com/hourkey/hourkey/issuers/gateway/faithful/railway"
	"github.com/hourkey/hourkey/issuers/gateway/packs/railway"
	"github.com/hourkey/hourkey/issuers/gateway/proxy"
)

// house is a broker with its gateway, and a Railway behind it. The targets are called db, as brokertest has them.
type house struct {
	testing.TB
	faithful.World // ids at Railway
	railway        *faithful.Server
	reports        string           // a service that only production has
	provider       *httptest.Server // Railway's API
	world          *brokertest.World
	pack           *railway.Pack
	authority      *gateway.Authority
	key            ed25519.PrivateKey // of the agent
	door           *httptest.Server   // where tunnels are opened
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{TB: t, railway: faithful.New(faithful.Config{Now: time.Now})}
	h.World = h.railway.Seed()
	h.reports = h.railway.AddService(h.Shop, "reports", "ghcr.io/acme/reports:2", h.Production)
	h.provider = httptest.NewServer(h.railway)
	t.Cleanup(h.provider.Close)
	seed := make([]byte, 32)
	_, _ = rand.Read(seed)
	var err1, err2, err3 error
	h.pack, err1 = railway.New()
	h.authority, err2 = gateway.NewAuthority(seed, "house")
	_, h.key, err3 = ed25519.GenerateKey(rand.Reader)
	must(t, errors.Join(err1, err2, err3))

	h.world = brokertest.NewWorld(t, func(c *broker.Config) {
		c.Now = time.Now
		c.Configuration.Targets = h.targets()
		c.Configuration.Limits = broker.Limits{PendingPerAgent: 1000, LeasesPerAgent: 1000}
	})
	h.world.Policy.Gives, h.world.Policy.Offers = []broker.Scope{h.world.Scope("db:*:read,write")}, []broker.Scope{h.world.Scope("db:*:delete")}
	h.world.Agent.Key = thumbprint(h.key)
	must(t, h.world.Store.Update(t.Context(), func(tx broker.Tx) error {
		agent := broker.Agent{Name: h.world.Agent.Name}
		if err := tx.Load(&agent); err != nil {
			return err
		}
		agent.Thumbprint = h.world.Agent.Key
		return tx.Save(&agent)
	}))
	h.serve(t)
	return h
}

// targets are opened anew: they remember nothing.
func (h *house) targets() map[broker.TargetRef]broker.Target {
	h.Helper()
	targets := map[broker.TargetRef]broker.Target{}
	for _, environment := range []string{"staging", "production"} {
		targets[broker.TargetRef{Environment: environment, Target: "db"}] = broker.Target{Binding: environment + "/db/1", Issuer: h.issuer(environment)}
	}
	return targets
}

func (h *house) issuer(environment string) *gateway.Issuer {
	h.Helper()
	provider, err := railway.Open(railway.Config{
		Settings: railway.Settings{Project: "shop", Environment: environment, URL: h.provider.URL},
		Token:    broker.NewSecret(h.AccountToken), Client: h.provider.Client(), Now: time.Now, Pack: h.pack,
	})
	must(h, err)
	issuer, err := gateway.New(gateway.Config{
		Ref: broker.TargetRef{Environment: environment, Target: "db"}, Pack: h.pack, Provider: provider, Authority: h.authority, Now: time.Now,
	})
	must(h, err)
	return issuer
}

// serve runs broker and proxy until the test ends.
func (h *house) serve(t *testing.T) {
	t.Helper()
	h.door = httptest.NewUnstartedServer(nil)
	through, err := proxy.New(proxy.Config{Broker: h.world, Authority: h.authority, Origin: "http://" + h.door.Listener.Addr().String(), Now: time.Now})
	must(t, err)
	h.door.Config.Handler = through
	h.door.Start()
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = h.world.Run(ctx) }) // ends with its context alone
	running.Go(func() {
		if err := through.Run(ctx); err != nil {
			t.Errorf("the proxy: %v", err)
		}
	})
	t.Cleanup(func() { stop(); running.Wait(); h.door.Close() })
}

// forget starts broker and targets anew on the same store: nothing that was looked up is remembered.
func (h *house) forget() {
	h.Helper()
	other := *h.world.Config.Configuration // a broker reads the one that it was given for as long as it runs
	other.Targets = h.targets()
	h.world.Config.Configuration = &other
	h.world.Reopen()
}

func (h *house) wish(scope string) broker.Wish {
	h.Helper()
	return broker.Wish{Scopes: []broker.Scope{h.world.Scope(scope)}, TTL: time.Minute}
}

func quoted(text string) string {
	raw, _ := json.Marshal(text) // a string has a JSON form
	return string(raw)
}

func body(document string) string { return `{"query":` + quoted(document) + `}` }

func (h *house) ask(line net.Conn, document string) error { return h.post(line, body(document), "") }

func (h *house) post(line net.Conn, text, header string) error {
	return h.exchange(line, "POST", "/graphql/v2", text, header)
}

// exchange makes one request. nil: it was answered, and with no error.
func (h *house) exchange(line net.Conn, method, target, text, header string) error {
	request := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s", method, target, h.pack.Hosts()[0], len(text), header, text)
	if _, err := io.WriteString(line, request); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(line), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if bytes.Contains(raw, []byte(h.AccountToken)) {
		h.Error("the real token is in an answer")
	}
	return told(response.StatusCode, raw)
}

// told reads an answer in GraphQL's shape, Railway's or the gateway's.
func told(status int, raw []byte) error {
	var answer struct {
		Errors []struct {
			Message    string `json:"message"`
			Extensions struct {
				Code string `json:"code"`
			} `json:"extensions"`
		} `json:"errors"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return fmt.Errorf("status %d: %q: %w", status, raw, err)
	}
	switch {
	case len(answer.Errors) > 0 && status >= 400:
		return &refusal{answer.Errors[0].Extensions.Code, answer.Errors[0].Message}
	case len(answer.Errors) > 0 || status != http.StatusOK:
		return fmt.Errorf("status %d: %s", status, raw)
	}
	return nil
}

// refusal is what the gateway, or the broker at its door, said instead of doing it.
type refusal struct{ code, message string }

func (r *refusal) Error() string { return r.code + ": " + r.message }

// isRefused tells a decision from a fault: "unavailable", "internal" and the like are none.
func isRefused(err error) bool {
	r, is := errors.AsType[*refusal](err)
	return is && slices.Contains([]string{
		string(broker.CodeDenied), string(broker.CodePending), string(broker.CodeInvalid), string(broker.CodeExpired), string(broker.CodeUnauthenticated), "cut", "provider",
	}, r.code)
}

// dial opens a tunnel with a proof by the key (RFC 9449); inside is TLS, believed by the lease's authority
// alone, or nothing.
func (h *house) dial(ctx context.Context, c broker.Credential, key ed25519.PrivateKey, host string, plain bool) (net.Conn, error) {
	origin := "http://" + h.door.Listener.Addr().String()
	line, err := (&net.Dialer{}).DialContext(ctx, "tcp", h.door.Listener.Addr().String())
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = line.Close() })
	defer stop()
	target := proxy.Path + "?to=" + url.QueryEscape(host)
	if plain {
		target += "&plain=1"
	}
	token := c.Gateway.Token.Reveal()
	_, err = fmt.Fprintf(line, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: hourkey-tunnel\r\nAuthorization: DPoP %s\r\nDPoP: %s\r\n\r\n",
		target, h.door.Listener.Addr(), token, prove(key, origin, token))
	if err != nil {
		return nil, err
	}
	reader := bufio.NewReader(line)
	answer, err := http.ReadResponse(reader, nil)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		defer line.Close()
		var problem struct{ Code, Detail string }
		return nil, cmp.Or(json.NewDecoder(answer.Body).Decode(&problem), error(&refusal{problem.Code, problem.Detail}))
	}
	if plain {
		return line, nil
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(c.Gateway.CA))
	inner := tls.Client(line, &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS12})
	return inner, inner.HandshakeContext(ctx)
}

func b64(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

func jwk(key ed25519.PrivateKey) string {
	return `{"crv":"Ed25519","kty":"OKP","x":"` + b64(key.Public().(ed25519.PublicKey)) + `"}`
}

// thumbprint is RFC 7638's.
func thumbprint(key ed25519.PrivateKey) string {
	sum := sha256.Sum256([]byte(jwk(key)))
	return b64(sum[:])
}

func prove(key ed25519.PrivateKey, origin, token string) string {
	sum := sha256.Sum256([]byte(token))
	claims, _ := json.Marshal(map[string]any{
		"jti": rand.Text(), "htm": "GET", "htu": origin + proxy.Path, "iat": float64(time.Now().UnixMicro()) / 1e6, "ath": b64(sum[:]),
	})
	signed := b64([]byte(`{"typ":"dpop+jwt","alg":"EdDSA","jwk":`+jwk(key)+`}`)) + "." + b64(claims)
	return signed + "." + b64(ed25519.Sign(key, []byte(signed)))
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
