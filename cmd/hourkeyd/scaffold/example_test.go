package scaffold

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/issuers"
	"github.com/hourkey/hourkey/issuers/aws"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/kubernetes"
	"github.com/hourkey/hourkey/issuers/vault"
	"github.com/hourkey/hourkey/policies"
)

// commented is a line of YAML behind a comment: two spaces in, as it stands below targets:.
var commented = regexp.MustCompile(`(?m)^  # ( *(?:[a-z_-]+:|\- ).*)$`)

// commentedTask is one in a file of tasks, where names stand at the margin.
var commentedTask = regexp.MustCompile(`(?m)^# ((?:[a-z-]+:$| +(?:[a-z_]+:|- ")).*)$`)

// uncommented is what init writes, with the signs of comment taken away from its examples.
func uncommented(t *testing.T) *config.Set {
	t.Helper()
	syscall.Umask(0o022)
	dir := t.TempDir()
	files, err := Configuration(Here("alice"))
	must(t, err)
	for at := range files {
		switch files[at].Name {
		case "environments/staging.yaml":
			files[at].Text = commented.ReplaceAllString(files[at].Text, "  $1")
		case "policies/tasks/orders.yaml":
			files[at].Text = commentedTask.ReplaceAllString(files[at].Text, "$1")
		case "hourkey.yaml":
			files[at].Text = regexp.MustCompile(`(?m)^# (vault: .*)$`).ReplaceAllString(files[at].Text, "$1")
		}
	}
	if _, err := Write(dir, files); err != nil {
		t.Fatal(err)
	}
	set, err := config.Load(filepath.Join(dir, "hourkey.yaml"), config.NewGuard())
	must(t, err)
	return set
}

// Each target opens, and hourkey.yaml is read.
func TestExamplesAreRight(t *testing.T) {
	set, ca := uncommented(t), authority(t)
	certifies, err := gateway.NewAuthority(make([]byte, ed25519.SeedSize), "localhost")
	must(t, err)
	signer := func(string) (ed25519.PrivateKey, error) {
		return ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), nil
	}
	opening := issuers.Config{File: "environments/staging.yaml", Issuer: set.Server.Origin, Now: time.Now, Authority: certifies, Signer: signer, Resolve: func(reference string) (broker.Secret, error) {
		if strings.HasSuffix(reference, "ca.pem") {
			return broker.NewSecret(ca), nil
		}
		return broker.NewSecret("a-secret"), nil
	}}
	kinds := map[string]bool{}
	for _, target := range set.Targets {
		kinds[target.Kind] = true
		if target.Kind == "postgres" { // its login is no URL here
			continue
		}
		opened, err := issuers.Open(t.Context(), opening, target.Ref, target.Kind, target.Body)
		if err != nil || opened.Issuer == nil {
			t.Errorf("%s: %v", target.Where, err)
		}
	}
	for _, kind := range []string{"postgres", "railway", "github", "supabase", "jwt", aws.Kind, kubernetes.Kind, vault.Kind} {
		if !kinds[kind] {
			t.Errorf("init shows no %s target: %v", kind, kinds)
		}
	}
	if _, err := issuers.VaultSession(opening, set.Server.Vault); err != nil {
		t.Errorf("vault: of hourkey.yaml: %v", err)
	}
}

// Each target has a task that gives something there at once, and something that a human decides.
func TestTasksFitTheTargets(t *testing.T) {
	set := uncommented(t)
	source := policies.Source{Environments: map[string][]string{}, Groups: set.Server.Groups}
	for _, target := range set.Targets {
		source.Environments[target.Ref.Environment] = append(source.Environments[target.Ref.Environment], target.Ref.Target)
	}
	for _, file := range set.Tasks {
		source.Tasks = append(source.Tasks, policies.File{Name: file.Name, Data: file.Text})
	}
	for _, file := range set.Guardrails {
		source.Guardrails = append(source.Guardrails, policies.File{Name: file.Name, Data: file.Text})
	}
	loaded, err := policies.Load(source)
	must(t, err)
	for task, approved := range map[string]string{
		"fix-orders-data": "orders-db:public.*:delete", "tend-the-shops-files": "files:s3/acme-staging/app/*:delete", "fix-the-shop": "cluster:pods/*:delete",
		"turn-app-settings": "app-secrets:app/*:delete", "fix-staging": "railway:volume/*:delete", "mend-the-shop": "code:repo/acme/shop:delete",
		"tend-the-project": "supabase:project/*:delete", "look-after-orders": "orders-api:orders/*:delete",
	} {
		scope, err := broker.ParseScope(approved)
		must(t, err)
		for _, scopes := range [][]broker.Scope{nil, {scope}} {
			got, err := loaded.Resolve(broker.Ask{Agent: "claude-code", Task: task, Environments: []string{"staging"}, Scopes: scopes})
			if err != nil || len(got.Items) != 1 || got.Items[0].Target != scope.Target || got.TTL == 0 {
				t.Errorf("%s %v: %+v, %v", task, scopes, got, err)
			}
		}
	}
}

// Nothing of the examples is in force before somebody takes the signs of comment away.
func TestExamplesAreOnlyComments(t *testing.T) {
	files, err := Configuration(Here("alice"))
	must(t, err)
	for _, file := range files {
		for _, word := range []string{"acme-staging", "fix-the-shop", "vault.example", "10.0.0.1:6443", "fix-staging", "supabase", "orders.example"} {
			for line := range strings.Lines(file.Text) {
				if strings.Contains(line, word) && !strings.HasPrefix(strings.TrimSpace(line), "#") {
					t.Errorf("%s: %s", file.Name, line)
				}
			}
		}
	}
}

// The pages that the examples point to are there.
func TestPagesOfExamplesAreThere(t *testing.T) {
	files, err := Configuration(Here("alice"))
	must(t, err)
	for _, file := range files {
		for _, page := range regexp.MustCompile(`docs/[a-z/-]+\.md`).FindAllString(file.Text, -1) {
			if _, err := os.Stat(filepath.Join("../../..", page)); err != nil {
				t.Errorf("%s names %s: %v", file.Name, page, err)
			}
		}
	}
}

// authority is some certificate in PEM: who signed it does not matter here.
func authority(t *testing.T) string {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}))
}
