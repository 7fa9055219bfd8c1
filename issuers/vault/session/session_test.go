package session_test

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/kubernetes/kubetest"
	"github.com/hourkey/hourkey/issuers/vault/session"
	"github.com/hourkey/hourkey/issuers/vault/vaulttest"
)

// One Vault for all tests of this package, started by the first that needs one: fuzzing needs none.
var (
	started *vaulttest.Server // set before any test has it, read after the last
	start   = sync.OnceValues(func() (*vaulttest.Server, error) {
		var err error
		started, err = vaulttest.New()
		return started, err
	})
)

func TestMain(m *testing.M) {
	code := m.Run()
	if started != nil {
		started.Stop()
	}
	if code == 0 {
		http.DefaultClient.CloseIdleConnections()
		if err := goleak.Find(); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func vault(tb testing.TB) *vaulttest.Server {
	tb.Helper()
	server, err := start()
	issuertest.Needs(tb, err, vaulttest.ErrAbsent)
	return server
}

var serial atomic.Int32

// approle makes a role whose tokens live for so long, and gives what logs in by it.
func approle(tb testing.TB, server *vaulttest.Server, ttl, longest string, change map[string]any) (session.Settings, map[string]string) {
	tb.Helper()
	mount := fmt.Sprintf("approle-%d", serial.Add(1))
	server.Write(tb, "sys/auth/"+mount, map[string]any{"type": "approle"})
	role := map[string]any{"token_ttl": ttl, "token_max_ttl": longest, "token_policies": "session-test"}
	for name, value := range change {
		role[name] = value
	}
	server.Write(tb, "sys/policies/acl/session-test", map[string]any{"policy": `path "kv-refs/*" { capabilities = ["read"] }`})
	server.Write(tb, "auth/"+mount+"/role/r", role)
	id := server.Read(tb, "auth/"+mount+"/role/r/role-id")["data"].(map[string]any)["role_id"].(string)
	secret := server.Write(tb, "auth/"+mount+"/role/r/secret-id", map[string]any{})["data"].(map[string]any)["secret_id"].(string)
	return session.Settings{Address: server.Address, Login: session.Login{AppRole: session.AppRole{RoleID: id, SecretID: "env:SECRET", Mount: mount}}}, map[string]string{"env:SECRET": secret}
}

func open(tb testing.TB, settings session.Settings, secrets map[string]string) *session.Session {
	tb.Helper()
	s, err := session.New(session.Config{Settings: settings, Now: time.Now, Resolve: func(_, reference string) (broker.Secret, error) {
		value, ok := secrets[reference]
		if !ok {
			return broker.Secret{}, errors.New("no such reference")
		}
		return broker.NewSecret(value), nil
	}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

func whoAmI(tb testing.TB, s *session.Session) string {
	tb.Helper()
	answer, err := s.Read(tb.Context(), "auth/token/lookup-self")
	if err != nil {
		tb.Fatal(err)
	}
	return answer.Data["accessor"].(string)
}

// An idle broker's token is renewed by itself, so that a login that may be made once only is enough.
func TestTokenIsRenewedWhileNobodyAsks(t *testing.T) {
	t.Parallel()
	f := newFake(t, 1)
	s := f.open(t)
	if _, err := s.Read(t.Context(), "kv/data/x"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two renewals", func() bool { return f.called("auth/token/renew-self") > 1 })
	if n := f.called("auth/approle/login"); n != 1 {
		t.Errorf("%d logins", n)
	}
}

// When the longest life of a token comes to its end, there is another login in time.
func TestAnotherLoginBeforeTheLongestLifeEnds(t *testing.T) {
	t.Parallel()
	settings, secrets := approle(t, vault(t), "4s", "6s", nil)
	s := open(t, settings, secrets)
	first := whoAmI(t, s)
	eventually(t, "another token", func() bool { return whoAmI(t, s) != first }) // which fails the test if it does not work at any moment
}

// A token that somebody revoked is replaced by another login, and what was asked is done.
func TestRevokedTokenIsReplaced(t *testing.T) {
	t.Parallel()
	server := vault(t)
	settings, secrets := approle(t, server, "1h", "2h", nil)
	s := open(t, settings, secrets)
	first := whoAmI(t, s)
	server.Write(t, "auth/token/revoke-accessor", map[string]any{"accessor": first})
	if whoAmI(t, s) == first {
		t.Error("a revoked token still works")
	}
}

// A permission that is missing does not make it log in again and again.
func TestMissingPermissionIsNoNewLogin(t *testing.T) {
	t.Parallel()
	server := vault(t)
	settings, secrets := approle(t, server, "1h", "2h", map[string]any{"secret_id_num_uses": 1})
	s := open(t, settings, secrets)
	first := whoAmI(t, s)
	for range 3 {
		if _, err := s.Read(t.Context(), "sys/mounts"); session.StatusOf(err) != http.StatusForbidden {
			t.Errorf("reading what is not allowed: %v", err)
		}
	}
	if whoAmI(t, s) != first {
		t.Error("it logged in again")
	}
}

// A login that cannot be asked what it may do is not held.
func TestLoginWithoutThePolicyDefault(t *testing.T) {
	t.Parallel()
	server := vault(t)
	settings, secrets := approle(t, server, "1h", "2h", map[string]any{"token_no_default_policy": true})
	_, err := open(t, settings, secrets).Read(t.Context(), "kv-refs/x")
	if known, ok := errors.AsType[*broker.Error](err); !ok || known.Code != broker.CodeWall || !strings.Contains(known.Next, "sys/capabilities-self") {
		t.Errorf("Read: %v; want it refused, with the line that mends it", err)
	}
}

// Many calls at once log in once.
func TestManyCallsLogInOnce(t *testing.T) {
	t.Parallel()
	server := vault(t)
	settings, secrets := approle(t, server, "1h", "2h", map[string]any{"secret_id_num_uses": 1})
	s := open(t, settings, secrets)
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			if _, err := s.Read(t.Context(), "auth/token/lookup-self"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// What the environment of the broker's process says of Vault counts for nothing.
func TestEnvironmentOfTheProcessIsIgnored(t *testing.T) {
	server := vault(t)
	for name, value := range map[string]string{
		"VAULT_ADDR": "http://127.0.0.1:1", "VAULT_TOKEN": server.Root, "VAULT_NAMESPACE": "elsewhere", "VAULT_SKIP_VERIFY": "true", "VAULT_WRAP_TTL": "60s",
		"VAULT_HEADERS": `{"X-Extra":"1"}`, "VAULT_MAX_RETRIES": "9", "VAULT_CLIENT_TIMEOUT": "1", "VAULT_AGENT_ADDR": "http://127.0.0.1:1", "VAULT_PROXY_ADDR": "http://127.0.0.1:1",
		"VAULT_HTTP_PROXY": "http://127.0.0.1:1", "VAULT_SRV_LOOKUP": "true", "VAULT_DISABLE_REDIRECTS": "false", "VAULT_RATE_LIMIT": "0.001:1", "VAULT_TLS_SERVER_NAME": "elsewhere",
	} {
		t.Setenv(name, value)
	}
	settings, secrets := approle(t, server, "1h", "2h", nil)
	var wrong atomic.Value
	at, _ := url.Parse(server.Address)
	forward := httputil.NewSingleHostReverseProxy(at)
	between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"X-Extra", "X-Vault-Namespace", "X-Vault-Wrap-Ttl"} {
			if r.Header.Get(name) != "" {
				wrong.Store(name)
			}
		}
		if r.Header.Get("X-Vault-Token") == server.Root {
			wrong.Store("the root token")
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(between.Close)
	settings.Address = between.URL
	whoAmI(t, open(t, settings, secrets))
	if name := wrong.Load(); name != nil {
		t.Errorf("sent to Vault: %s", name)
	}
}

// Over TLS the server's certificate counts: the system's authorities, or the one that the settings name, and no other.
func TestTLS(t *testing.T) {
	server := vault(t)
	at, _ := url.Parse(server.Address)
	front := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(at))
	t.Cleanup(front.Close)
	settings, secrets := approle(t, server, "1h", "2h", nil)
	settings.Address = front.URL
	t.Setenv("VAULT_SKIP_VERIFY", "true")
	if _, err := open(t, settings, secrets).Read(t.Context(), "auth/token/lookup-self"); err == nil {
		t.Error("a certificate of nobody known was believed")
	}
	settings.CA = "file:ca.pem"
	secrets["file:ca.pem"] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw}))
	whoAmI(t, open(t, settings, secrets))
}

// A login by a JWT, checked by Vault with a public key.
func TestLoginByJWT(t *testing.T) {
	t.Parallel()
	server := vault(t)
	key, public := newKey(t)
	server.Write(t, "sys/auth/jwt", map[string]any{"type": "jwt"})
	t.Cleanup(func() { server.Delete(t, "sys/auth/jwt") })
	server.Write(t, "auth/jwt/config", map[string]any{"jwt_validation_pubkeys": []string{public}})
	server.Write(t, "auth/jwt/role/hourkey", map[string]any{"role_type": "jwt", "bound_audiences": "vault", "user_claim": "sub", "bound_subject": "hourkeyd", "token_ttl": "1h"})
	settings := session.Settings{Address: server.Address, Login: session.Login{JWT: session.Bearer{Role: "hourkey", Token: "file:jwt"}}}
	whoAmI(t, open(t, settings, map[string]string{"file:jwt": sign(t, key, "hourkeyd")}))
	wrong := sign(t, key, "somebody")
	_, err := open(t, settings, map[string]string{"file:jwt": wrong}).Read(t.Context(), "auth/token/lookup-self")
	if broker.CodeOf(err) != broker.CodeUnavailable || strings.Contains(err.Error(), wrong) {
		t.Errorf("another subject: %v; want it refused, and the token not repeated", err)
	}
}

// A login by the token of a service account, which Vault has a real API server review.
func TestLoginByKubernetes(t *testing.T) {
	t.Parallel()
	server := vault(t)
	kube := kubetest.Start(t)
	kube.Apply(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: hourkey}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: hourkeyd, namespace: hourkey}\n")
	var made struct{ Status struct{ Token string } }
	request := map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": map[string]any{"expirationSeconds": 600}}
	if err := kube.Do(t.Context(), kube.Token(), http.MethodPost, "/api/v1/namespaces/hourkey/serviceaccounts/hourkeyd/token", request, &made); err != nil {
		t.Fatal(err)
	}
	server.Write(t, "sys/auth/kubernetes", map[string]any{"type": "kubernetes"})
	t.Cleanup(func() { server.Delete(t, "sys/auth/kubernetes") })
	server.Write(t, "auth/kubernetes/config", map[string]any{"kubernetes_host": kube.URL, "kubernetes_ca_cert": string(kube.CA), "token_reviewer_jwt": kube.Token(), "disable_local_ca_jwt": true})
	server.Write(t, "auth/kubernetes/role/hourkey", map[string]any{"bound_service_account_names": "hourkeyd", "bound_service_account_namespaces": "hourkey", "token_ttl": "1h"})
	settings := session.Settings{Address: server.Address, Login: session.Login{Kubernetes: session.Bearer{Role: "hourkey", Token: "file:token"}}}
	whoAmI(t, open(t, settings, map[string]string{"file:token": made.Status.Token}))
}

func TestSecret(t *testing.T) {
	t.Parallel()
	server := vault(t)
	server.Write(t, "sys/mounts/kv-refs", map[string]any{"type": "kv", "options": map[string]string{"version": "2"}})
	t.Cleanup(func() { server.Delete(t, "sys/mounts/kv-refs") })
	for n := 0; ; n++ { // the engine upgrades itself after it was mounted
		status, _, err := vaulttest.Call(t.Context(), server.Address, server.Root, http.MethodPost, "kv-refs/data/hourkey/staging", map[string]any{"data": map[string]any{"admin_dsn": "postgres://admin:hunter2@db/orders\n", "number": 7, "empty": ""}})
		if err == nil && status == http.StatusOK {
			break
		}
		if n > 1000 {
			t.Fatal("the engine does not come up")
		}
		time.Sleep(50 * time.Millisecond)
	}
	settings, secrets := approle(t, server, "1h", "2h", nil)
	s := open(t, settings, secrets)
	secret, err := s.Secret(t.Context(), "kv-refs/data/hourkey/staging#admin_dsn")
	if err != nil || secret.Reveal() != "postgres://admin:hunter2@db/orders" {
		t.Errorf("%q, %v", secret.Reveal(), err)
	}
	for name, reference := range map[string]string{
		"no such field": "kv-refs/data/hourkey/staging#password", "no text": "kv-refs/data/hourkey/staging#number", "empty": "kv-refs/data/hourkey/staging#empty",
		"no such secret": "kv-refs/data/hourkey/nowhere#x", "not allowed": "sys/mounts#x", "no field": "kv-refs/data/hourkey/staging", "two fields": "a#b#c",
		"a path that climbs": "kv-refs/data/../../sys/mounts#x", "a query": "kv-refs/data/x?version=1#x", "a secret in the wrong place": "hunter2", "nothing": "",
	} {
		secret, err := s.Secret(t.Context(), reference)
		if err == nil || !secret.IsZero() || strings.Contains(fmt.Sprintf("%+v", err), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A lookup that Vault answers with something else than was asked is an error, not a crash.
func TestAnswersThatAreNone(t *testing.T) {
	server := vault(t)
	settings, secrets := approle(t, server, "1h", "2h", nil)
	for _, body := range []string{``, `{}`, `null`, `[]`, `{"auth":null}`, `{"auth":{"client_token":""}}`, `{"data":{"ttl":"x"}}`, `{"auth":{"client_token":"t","lease_duration":3600}}`, strings.Repeat("[", 100)} {
		answer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
		settings.Address = answer.URL
		if _, err := open(t, settings, secrets).Capabilities(t.Context(), []string{"sys/mounts"}); err == nil {
			t.Errorf("%s: taken for an answer", body)
		}
		answer.Close()
	}
}

func FuzzSecretReference(f *testing.F) {
	for _, seed := range []string{"kv/data/a#b", "a#b#c", "#", "../x#y", "a//b#c", "a?b#c"} {
		f.Add(seed)
	}
	var asked atomic.Value
	server := newFake(f, 3600)
	server.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/v1/auth/approle/login" || r.URL.Path == "/v1/sys/capabilities-self" {
			return false
		}
		asked.Store(r.URL.RequestURI())
		return refuse(w, http.StatusNotFound, "nothing")
	}
	s := server.open(f)
	f.Fuzz(func(t *testing.T, reference string) {
		asked.Store("")
		if _, err := s.Secret(t.Context(), reference); err == nil {
			t.Errorf("%q gave a secret", reference)
		}
		want, _, _ := strings.Cut(reference, "#")
		if path := asked.Load(); path != "" && path != "/v1/"+want {
			t.Errorf("%q asked for %s", reference, path)
		}
	})
}
