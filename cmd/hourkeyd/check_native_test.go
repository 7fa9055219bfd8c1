package main

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/issuers/aws/miniotest"
	"github.com/hourkey/hourkey/issuers/kubernetes/kubetest"
	"github.com/hourkey/hourkey/issuers/vault/vaulttest"
)

// site is a folder with one target, and the secrets that its files refer to.
type site struct {
	dir     string
	secrets map[string]string // variable → secret
}

// newSite is what init writes, with other targets and an addition to hourkey.yaml.
func newSite(t *testing.T, server, targets string) *site {
	t.Helper()
	s := &site{dir: filepath.Join(t.TempDir(), "conf"), secrets: map[string]string{}}
	if code := (&Main{Args: []string{"init", s.dir, "--human", "alice"}, Stdout: &bytes.Buffer{}, Stderr: os.Stderr, Guard: config.NewGuard()}).Run(t.Context()); code != exitDone {
		t.Fatalf("init exits %d", code)
	}
	s.change(t, "hourkey.yaml", func(text string) string { return strings.Replace(text, "\ngroups:", "\n"+server+"\ngroups:", 1) })
	s.change(t, "environments/staging.yaml", func(text string) string {
		head, _, _ := strings.Cut(text, "\ntargets:")
		return head + "\ntargets:\n" + targets
	})
	s.change(t, "policies/tasks/orders.yaml", func(string) string {
		return "fix:\n  agents: [robot]\n  environments: [staging]\n  gives: [\"it:x:read\"]\n"
	})
	return s
}

func (s *site) change(t *testing.T, file string, change func(string) string) {
	t.Helper()
	path := filepath.Join(s.dir, file)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(change(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
}

// check runs check --live as a person does.
func (s *site) check(t *testing.T) (out string, code int) {
	t.Helper()
	var both bytes.Buffer
	m := &Main{
		Args: []string{"check", "--live", "--config", filepath.Join(s.dir, "hourkey.yaml")}, Stdout: &both, Stderr: &both, Now: time.Now, Guard: config.NewGuard(),
		Lookup: func(name string) (string, bool) { value, set := s.secrets[name]; return value, set },
	}
	code = m.Run(t.Context())
	for name, secret := range s.secrets {
		if len(secret) > 12 && strings.Contains(both.String(), secret) {
			t.Fatalf("%s was printed: %s", name, both.String())
		}
	}
	return both.String(), code
}

const clusterOfOne = `apiVersion: v1
kind: Namespace
metadata: {name: shop-staging, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: shop-staging}
`

// pasted gives the long text of that number, as a person copies it from the terminal.
func pasted(t *testing.T, out, number string) string {
	t.Helper()
	_, text, found := strings.Cut(out, "\n["+number+"] ")
	_, text, more := strings.Cut(text, "\n")
	text, _, ends := strings.Cut(text, "\n\n")
	if !found || !more || !ends {
		t.Fatalf("there is no text [%s] in\n%s", number, out)
	}
	return text + "\n"
}

// says wants an exit code, and texts in what was printed.
func says(t *testing.T, what, out string, code, want int, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(out, text) {
			t.Errorf("%s: no %q in\n%s", what, text, out)
		}
	}
	if code != want {
		t.Errorf("%s: exit code %d, want %d\n%s", what, code, want, out)
	}
}

// The way of a newcomer at a cluster: what check --live prints is applied as it was printed, and then all is good.
func TestCheckLivePrintsTheYAMLThatMends(t *testing.T) {
	t.Parallel()
	server := kubetest.Start(t)
	server.Apply(t, clusterOfOne)
	s := newSite(t, "", "  it:\n    kubernetes: {server: '"+server.URL+"', ca: env:CA, token: env:TOKEN, namespace: shop-staging}\n")
	s.secrets["CA"], s.secrets["TOKEN"] = string(server.CA), "a-token-of-nobodys"
	out, code := s.check(t)
	says(t, "a wrong token", out, code, exitError, "refused the admin login", "first:  # has its token ended? kubectl create token shop-staging --namespace hourkey", "mend:   [1] below", "kubectl apply -f -")
	yaml := pasted(t, out, "1")

	server.Apply(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: hourkey}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: shop-staging, namespace: hourkey}\n")
	var made struct{ Status struct{ Token string } }
	request := map[string]any{"spec": map[string]any{"expirationSeconds": 7200}}
	if err := server.Do(t.Context(), server.Token(), http.MethodPost, "/api/v1/namespaces/hourkey/serviceaccounts/shop-staging/token", request, &made); err != nil {
		t.Fatal(err)
	}
	s.secrets["TOKEN"] = made.Status.Token
	out, code = s.check(t)
	says(t, "an account that may do nothing", out, code, exitError, "REFUSED   admin serviceaccounts: the broker's account may not create, get, list, delete serviceaccounts", `resources: ["serviceaccounts"], verbs: ["create", "get", "list", "delete"]`)
	if again := pasted(t, out, "1"); again != yaml || strings.Contains(out, "lacks a permission") {
		t.Errorf("it is not said once, by what mends it:\n%s", out)
	}
	server.Apply(t, yaml)
	for end := time.Now().Add(time.Minute); ; { // the server learns of admission policies a moment late
		if out, code = s.check(t); code == exitDone || time.Now().After(end) {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	says(t, "what was printed is applied", out, code, exitDone, "good: files and targets")
}

func TestCheckLivePrintsThePolicyThatMendsAtMinIO(t *testing.T) {
	t.Parallel()
	server, err := miniotest.New()
	if errors.Is(err, miniotest.ErrAbsent) && os.Getenv("HOURKEY_TEST_ALL") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	server.Bucket(t, "acme-staging", true)
	s := newSite(t, "", "  it:\n    aws: {endpoint: '"+server.URL+"', region: us-east-1, access_key: env:ID, secret_key: env:KEY, resources: [\"s3/acme-staging/*\"]}\n")
	s.secrets["ID"], s.secrets["KEY"] = "broker", "the-secret-key-of-the-broker"
	out, code := s.check(t)
	says(t, "a key that nobody knows", out, code, exitError, "REFUSED   broker key: ", "policy of the broker's user")
	policy := pasted(t, out, "1")

	folder := t.TempDir()
	server.MC(t, folder, "mc admin user add minio broker the-secret-key-of-the-broker")
	out, code = s.check(t)
	says(t, "a user that may do nothing", out, code, exitError, "s3:GetBucketVersioning")
	if err := os.WriteFile(filepath.Join(folder, "policy.json"), []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	server.MC(t, folder, "mc admin policy create minio broker policy.json")
	server.MC(t, folder, "mc admin policy attach minio broker --user broker")
	out, code = s.check(t)
	says(t, "what was printed is given", out, code, exitDone, "good: files and targets")
}

// heredoc gives the policy of a `vault policy write NAME - <<EOF`.
func heredoc(t *testing.T, text string) string {
	t.Helper()
	_, text, begins := strings.Cut(text, "<<EOF\n")
	text, _, ends := strings.Cut(text, "EOF\n")
	if !begins || !ends {
		t.Fatalf("no policy in\n%s", text)
	}
	return text
}

func TestCheckLivePrintsThePolicyThatMendsAtVault(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	server.Write(t, "sys/auth/approle", map[string]any{"type": "approle"})
	server.Write(t, "sys/mounts/transit", map[string]any{"type": "transit"})
	server.Write(t, "transit/keys/hourkey", map[string]any{})
	server.Write(t, "sys/mounts/kv-staging", map[string]any{"type": "kv", "options": map[string]any{"version": "1"}})
	server.Write(t, "sys/mounts/kv", map[string]any{"type": "kv", "options": map[string]any{"version": "1"}})
	server.Write(t, "auth/approle/role/r", map[string]any{"token_ttl": "1h", "token_policies": "hourkey"})
	role := server.Read(t, "auth/approle/role/r/role-id")["data"].(map[string]any)["role_id"].(string)
	secret := func() string {
		return server.Write(t, "auth/approle/role/r/secret-id", map[string]any{})["data"].(map[string]any)["secret_id"].(string)
	}
	server.Write(t, "kv/staging", map[string]any{"secret_id": secret()})
	login := "address: " + server.Address + "\n      login: {approle: {role_id: " + role + ", secret_id: "
	s := newSite(t, "vault:\n      "+login+"env:SECRET_ID}}", `  it:
    vault:
      `+login+`"vault:kv/staging#secret_id"}}
      engine: kv1
      mount: kv-staging
      folders: [app]
      token_role: hourkey-staging-app
      offers: [{policies: [staging-app-rw]}]
`)
	s.change(t, "hourkey.yaml", func(text string) string {
		return strings.Replace(text, "keys: keys/kek", "keys: vault:transit/keys/hourkey", 1)
	})
	s.secrets["SECRET_ID"] = "a wrong secret id"
	out, code := s.check(t)
	says(t, "a wrong secret id", out, code, exitError, "refused the broker's login", "makes a new secret id", "the broker does not start")
	s.secrets["SECRET_ID"] = secret()
	out, code = s.check(t)
	says(t, "a login that may do nothing", out, code, exitError, "REFUSED   login transit/decrypt/hourkey: the broker's login lacks update", `path "kv/staging" { capabilities = ["read"] }`, "vault policy write hourkey - <<EOF")
	if strings.Contains(out, "ask the operator") {
		t.Errorf("the operator is sent to the operator:\n%s", out)
	}
	own := heredoc(t, strings.ReplaceAll(out, "            ", "")+"\n")
	server.Write(t, "sys/policies/acl/hourkey", map[string]any{"policy": own})
	out, code = s.check(t)
	says(t, "the broker's own is mended", out, code, exitError, "REFUSED   login auth/token/create/hourkey-staging-app: ", "vault policy write hourkey-staging-it - <<EOF")
	server.Write(t, "sys/policies/acl/hourkey", map[string]any{"policy": own + heredoc(t, pasted(t, out, "1"))})
	server.Write(t, "sys/policies/acl/staging-app-rw", map[string]any{"policy": `path "kv-staging/app/*" { capabilities = ["read"] }`})
	server.Write(t, "auth/token/roles/hourkey-staging-app", map[string]any{
		"allowed_policies": "staging-app-rw", "orphan": true, "renewable": false, "token_explicit_max_ttl": "1h", "token_no_default_policy": true, "token_type": "service",
	})
	out, code = s.check(t)
	says(t, "the target's is mended", out, code, exitDone, "good: files and targets")
}
