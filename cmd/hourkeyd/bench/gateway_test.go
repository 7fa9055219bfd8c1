package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/issuers/gateway/faithful/railway"
	"github.com/hourkey/hourkey/web/api"
)

// host is a backend for a gateway target, and what agents do there.
type host struct {
	*httptest.Server
	at   target
	read *calling
	edit *calling
}

// calling is one HTTP call, as a client behind the gateway makes it.
type calling struct{ method, path, body string }

// repositories is a REST backend that answers at once: what is measured is all that stands before it.
func repositories(tb testing.TB) host {
	tb.Helper()
	answer := []byte(`{"id":42,"name":"shop","full_name":"acme/shop","private":true,"default_branch":"main","description":"` + strings.Repeat("x", 1500) + `"}`)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		if strings.Contains(r.URL.Path, "/rules") { // what the inventory asks besides
			_, _ = io.WriteString(w, "[]")
			return
		}
		_, _ = w.Write(answer)
	}))
	tb.Cleanup(server.Close)
	return host{Server: server, read: &calling{"GET", "/repos/acme/shop/issues/7", ""}, at: target{
		name: "code", kind: "github", secret: "ghs_bench", scope: "repo/acme/shop:read,write",
		body: fmt.Sprintf(`{token: "env:SECRET", repositories: [acme/shop], url: %q}`, server.URL),
	}}
}

// graphs is the faithful Railway for whatever is looked up, and an answer at once for the call that is
// measured, so that the floor is not the fake.
func graphs(tb testing.TB) host {
	tb.Helper()
	faithful := railway.New(railway.Config{Now: time.Now})
	ids := faithful.Seed()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Contains(body, []byte("variableCollectionUpsert")) {
			r.Body = io.NopCloser(bytes.NewReader(body))
			faithful.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"data":{"variableCollectionUpsert":true}}`)
	}))
	tb.Cleanup(server.Close)
	variables := map[string]string{}
	for n := range 24 { // 2 KB
		variables[fmt.Sprintf("SETTING_%02d", n)] = strings.Repeat("v", 60)
	}
	body, err := json.Marshal(map[string]any{
		"query": "mutation($input: VariableCollectionUpsertInput!) { variableCollectionUpsert(input: $input) }",
		"variables": map[string]any{"input": map[string]any{
			"projectId": ids.Shop, "environmentId": ids.Staging, "serviceId": ids.Web, "variables": variables,
		}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return host{Server: server, edit: &calling{"POST", "/graphql/v2", string(body)}, at: target{
		name: "railway", kind: "railway", secret: ids.AccountToken, scope: "service/*:read,write",
		body: fmt.Sprintf(`{token: "env:SECRET", project: shop, environment: staging, url: %q}`, server.URL),
	}}
}

// BenchmarkGatewayRead is a judged REST read through tunnels that are open already, beside a bare
// httputil.ReverseProxy to the same backend. Bars: ratio at least 0.70 and p99 within 2 ms for 64 clients, p50
// at most 1.3 times the bare one's for one. With 10,000 live leases nothing may change.
func BenchmarkGatewayRead(b *testing.B) {
	for _, clients := range []int{64, 1} {
		for _, leases := range []int{0, 10_000} {
			b.Run(fmt.Sprintf("clients=%d/leases=%d", clients, leases), func(b *testing.B) {
				h := repositories(b)
				benchGateway(b, h, h.read, clients, leases)
			})
		}
	}
}

// BenchmarkGatewayWrite is a judged GraphQL mutation of 2 KB that is durable in the log before it is
// forwarded. Bar: ratio at least 0.40 for 64 clients.
func BenchmarkGatewayWrite(b *testing.B) {
	for _, clients := range []int{64, 1} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			h := graphs(b)
			benchGateway(b, h, h.edit, clients, 0)
		})
	}
}

func benchGateway(b *testing.B, h host, what *calling, clients, leases int) {
	w := newWorld(b, h.at, min(clients, 8))
	w.fill(leases)
	mine, bare := inTurns(b, clients, 150*clients, what.through(w.tunnels(clients)), what.through(bareProxy(b, h.URL, clients)), func() {})
	b.ReportMetric(milliseconds(mine.quantile(99)-bare.quantile(99)), "over-p99-ms")
	b.ReportMetric(milliseconds(mine.quantile(50))/milliseconds(bare.quantile(50)), "p50-times")
}

// tunnels gives a client for each worker, with a tunnel of its own.
func (w *world) tunnels(n int) []*http.Client {
	w.Helper()
	clients := make([]*http.Client, n)
	for at := range clients {
		a := w.agents[at%len(w.agents)]
		client, err := api.NewClient(api.ClientConfig{Origin: w.origin, Agent: a.name, Key: a.key, Now: time.Now})
		w.must(err)
		scope := w.at.name + ":" + w.at.scope
		request, err := client.Submit(w.Context(), api.RequestCreate{Task: task, Environments: []string{environment}, Scopes: []string{scope}, Collect: true}, "")
		w.must(err)
		if len(request.Credentials) != 1 || request.Credentials[0].Gateway == nil {
			w.Fatalf("no gateway credential: %+v", request)
		}
		g := request.Credentials[0].Gateway
		clients[at] = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			stream, err := client.OpenTunnel(ctx, api.Tunnel{Token: g.Token, Host: g.Hosts[0], Plain: true})
			return streamConn{Stream: stream}, err
		}}}
	}
	return clients
}

// streamConn is a tunnel where net/http wants a connection. It has no deadlines: nothing here sets one.
type streamConn struct {
	api.Stream
	net.Conn // of the methods that are not used: nil
}

func (c streamConn) Read(p []byte) (int, error)  { return c.Stream.Read(p) }
func (c streamConn) Write(p []byte) (int, error) { return c.Stream.Write(p) }
func (c streamConn) Close() error                { return c.Stream.Close() }

// bareProxy is what a proxy costs that asks nobody.
func bareProxy(tb testing.TB, backend string, n int) []*http.Client {
	tb.Helper()
	to, err := url.Parse(backend)
	if err != nil {
		tb.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Header.Set("Authorization", "Bearer bench") },
		Transport: &http.Transport{MaxIdleConns: 256, MaxIdleConnsPerHost: 256},
	}
	server := httptest.NewServer(proxy)
	tb.Cleanup(server.Close)
	clients := make([]*http.Client, n)
	for at := range clients {
		address := server.Listener.Addr().String()
		clients[at] = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		}}}
	}
	return clients
}

// through makes the call with a worker's client.
func (c *calling) through(clients []*http.Client) way {
	return func(worker int) error {
		r, err := http.NewRequestWithContext(context.Background(), c.method, "http://gateway.example"+c.path, strings.NewReader(c.body))
		if err != nil {
			return err
		}
		if c.body == "" {
			r.Body = http.NoBody
		} else {
			r.Header.Set("Content-Type", "application/json")
		}
		answer, err := clients[worker].Do(r)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		raw, err := io.ReadAll(answer.Body)
		if err == nil && (answer.StatusCode != http.StatusOK || bytes.Contains(raw, []byte(`"errors"`))) {
			err = fmt.Errorf("%s: %s", answer.Status, raw)
		}
		return err
	}
}
