package vault_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/vault"
	"github.com/hourkey/hourkey/issuers/vault/vaulttest"
)

// BenchmarkIssue compares what a request costs at the issuer, Describe and then Issue, with the same calls of Vault made bare:
// the same reads, all at once as the issuer makes them, then the token, then the credential, then a look whether all is still so. Rounds alternate, so that both
// meet the same machine. ×p50 and ×total are the ratios. Ends are not timed.
func BenchmarkIssue(b *testing.B) {
	s := newShop(b)
	issuer := s.issuer(b)
	bare := newBare(b, s)
	for _, clients := range []int{1, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			var ours, floor round
			ours.play(b, issuer, clients, byIssuer(issuer)) // warm: login, connections
			floor.play(b, issuer, clients, bare.request)
			ours, floor = round{}, round{}
			for range b.N {
				ours.play(b, issuer, clients, byIssuer(issuer))
				floor.play(b, issuer, clients, bare.request)
			}
			b.ReportMetric(ours.percentile(50), "ms-p50")
			b.ReportMetric(ours.percentile(99), "ms-p99")
			b.ReportMetric(floor.percentile(50), "bare-ms-p50")
			b.ReportMetric(floor.percentile(99), "bare-ms-p99")
			b.ReportMetric(ours.percentile(50)/floor.percentile(50), "×p50")
			b.ReportMetric(float64(ours.total)/float64(floor.total), "×total")
		})
	}
	b.Logf("Vault uses %d MB", server.MemoryKB(b)/1024)
}

// round collects the times of many requests.
type round struct {
	each  []time.Duration
	total time.Duration
}

func (r *round) percentile(p int) float64 {
	slices.Sort(r.each)
	return r.each[len(r.each)*p/101].Seconds() * 1000
}

// play runs one request for each client at once, and ends the leases afterwards, untimed.
func (r *round) play(b *testing.B, issuer *vault.Issuer, clients int, request func(context.Context, string) (broker.Handle, error)) {
	b.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	handles := make([]broker.Handle, clients)
	began := time.Now()
	for at := range clients {
		all.Go(func() {
			start := time.Now()
			handle, err := request(b.Context(), fmt.Sprintf("hk-bench-%d", at))
			took := time.Since(start)
			mu.Lock()
			defer mu.Unlock()
			handles[at] = handle
			if r.each = append(r.each, took); err != nil {
				b.Error(err)
			}
		})
	}
	all.Wait()
	r.total += time.Since(began)
	for at, handle := range handles {
		all.Go(func() {
			if err := issuer.Revoke(b.Context(), fmt.Sprintf("hk-bench-%d", at), handle); err != nil {
				b.Error(err)
			}
		})
	}
	all.Wait()
}

func byIssuer(issuer *vault.Issuer) func(context.Context, string) (broker.Handle, error) {
	w := broker.Wish{TTL: 10 * time.Minute, Scopes: []broker.Scope{{Target: "orders-db", Resource: "public.orders", Actions: broker.Read | broker.Write}}}
	return func(ctx context.Context, name string) (broker.Handle, error) {
		d, err := issuer.Describe(ctx, w)
		if err != nil {
			return nil, err
		}
		_, handle, err := issuer.Issue(ctx, orderFor(d, name))
		return handle, err
	}
}

// bare makes the calls with net/http, over as many connections as the issuer has.
type bare struct {
	client *http.Client
	shop   *shop
	token  string
	reads  []string
}

func newBare(b *testing.B, s *shop) *bare {
	b.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	b.Cleanup(transport.CloseIdleConnections)
	_, answer, err := vaulttest.Call(b.Context(), server.Address, "", http.MethodPost, "auth/"+s.loginMount()+"/login", map[string]any{"role_id": s.settings.Login.AppRole.RoleID, "secret_id": s.secretID})
	if err != nil {
		b.Fatal(err)
	}
	mount := s.settings.Mount
	return &bare{
		client: &http.Client{Transport: transport}, shop: s, token: answer["auth"].(map[string]any)["client_token"].(string),
		reads: []string{"sys/health", "sys/mounts/" + mount, "auth/token/roles/" + s.settings.TokenRole, mount + "/config/orders", mount + "/roles/orders-rw", mount + "/roles/orders-all"},
	}
}

func (f *bare) call(ctx context.Context, token, method, path string, data any) (map[string]any, error) {
	status, answer, err := vaulttest.CallWith(ctx, f.client, server.Address, token, method, path, data)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s: %d", path, status)
	}
	return answer, err
}

// look reads paths, all at once.
func (f *bare) look(ctx context.Context, paths []string) error {
	failed := make([]error, len(paths))
	var all sync.WaitGroup
	for at, path := range paths {
		all.Go(func() { _, failed[at] = f.call(ctx, f.token, http.MethodGet, path, nil) })
	}
	all.Wait()
	return errors.Join(failed...)
}

func (f *bare) request(ctx context.Context, name string) (broker.Handle, error) {
	if err := f.look(ctx, f.reads); err != nil {
		return nil, err
	}
	s := f.shop.settings
	made, err := f.call(ctx, f.token, http.MethodPut, "auth/token/create/"+s.TokenRole, map[string]any{
		"policies": s.Policies, "no_default_policy": true, "renewable": false, "type": "service", "ttl": "600s", "explicit_max_ttl": "600s",
		"display_name": name, "meta": map[string]string{"hourkey": name, "agent": "claude-code", "task": "fix-orders-data", "role": "orders-rw"},
	})
	if err != nil {
		return nil, err
	}
	auth := made["auth"].(map[string]any)
	got, err := f.call(ctx, auth["client_token"].(string), http.MethodGet, s.Mount+"/creds/orders-rw", nil)
	if err != nil {
		return nil, err
	}
	err = f.look(ctx, slices.DeleteFunc(slices.Clone(f.reads), func(path string) bool { return strings.HasSuffix(path, "/orders-all") }))
	return fmt.Appendf(nil, `{"accessor":%q,"lease":%q}`, auth["accessor"], got["lease_id"]), err
}
