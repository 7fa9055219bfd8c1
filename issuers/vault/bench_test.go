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

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/vault/vaulttest"
)

// BenchmarkIssue compares the issuer with the same calls of Vault made bare: the same reads, all at once as the issuer makes them, then the token,
// then the credential, then a look whether all is still so.
func BenchmarkIssue(b *testing.B) {
	s := newShop(b)
	issuertest.Bench(b, s.issuer(b), wish(b, "public.orders:read,write"), newBare(b, s).request)
	b.Logf("Vault uses %d MB", server.MemoryKB(b)/1024)
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
