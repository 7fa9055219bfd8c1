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
	"github.com/hourkey/hourkey/issuers/kubernetes"
	"github.com/hourkey/hourkey/issuers/vault"
)

// commented is a line of YAML behind a comment: two spaces in, as it stands below targets:.
var commented = regexp.MustCompile(`(?m)^  # ( *(?:[a-z_-]+:|\- ).*)$`)

// What init writes as an example is right as soon as its signs of comment are taken away: each target opens, and hourkey.yaml is read.
func TestExamplesAreRight(t *testing.T) {
	syscall.Umask(0o022)
	dir := t.TempDir()
	files, err := Configuration(Here("alice"))
	must(t, err)
	for at := range files {
		switch files[at].Name {
		case "environments/staging.yaml":
			files[at].Text = commented.ReplaceAllString(files[at].Text, "  $1")
		case "hourkey.yaml":
			files[at].Text = regexp.MustCompile(`(?m)^# (vault: .*)$`).ReplaceAllString(files[at].Text, "$1")
		}
	}
	if _, err := Write(dir, files); err != nil {
		t.Fatal(err)
	}
	set, err := config.Load(filepath.Join(dir, "hourkey.yaml"), config.NewGuard())
	must(t, err)
	ca := authority(t)
	opening := issuers.Config{File: "environments/staging.yaml", Now: time.Now, Resolve: func(reference string) (broker.Secret, error) {
		if strings.HasSuffix(reference, "ca.pem") {
			return broker.NewSecret(ca), nil
		}
		return broker.NewSecret("a-secret"), nil
	}}
	kinds := map[string]bool{}
	for _, target := range set.Targets {
		kinds[target.Kind] = true
		if target.Kind != aws.Kind && target.Kind != kubernetes.Kind && target.Kind != vault.Kind {
			continue
		}
		opened, err := issuers.Open(t.Context(), opening, target.Ref, target.Kind, target.Body)
		if err != nil || opened.Issuer == nil {
			t.Errorf("%s: %v", target.Where, err)
		}
	}
	for _, kind := range []string{"postgres", "railway", "github", aws.Kind, kubernetes.Kind, vault.Kind} {
		if !kinds[kind] {
			t.Errorf("init shows no %s target: %v", kind, kinds)
		}
	}
	if _, err := issuers.VaultSession(opening, set.Server.Vault); err != nil {
		t.Errorf("vault: of hourkey.yaml: %v", err)
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
