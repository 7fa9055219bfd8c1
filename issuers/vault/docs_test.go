package vault_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/ssh"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/postgres/pgtest"
	"github.com/hourkey/hourkey/issuers/vault"
	"github.com/hourkey/hourkey/issuers/vault/session"
	"github.com/hourkey/hourkey/issuers/vault/transit"
	"github.com/hourkey/hourkey/issuers/vault/vaulttest"
)

// The page is tried line by line, on a Vault and a PostgreSQL of its own: what it says to paste is pasted, its lines are run, and
// then leases are issued by its environment's files, and check --live has nothing to say.
func TestThePageLineByLine(t *testing.T) {
	t.Parallel()
	p := newPage(t)
	p.database(t)
	p.kv(t)
	p.certificates(t)
	p.transit(t)
}

type page struct {
	vault  *vaulttest.Server
	db     *pgtest.Server
	blocks map[string][]string // language → blocks, in their order
	files  map[string]string   // what the page says to save
	kept   map[string]string   // field → what a line of the page printed of it last
	signer ed25519.PrivateKey  // of the page's JWTs
}

func newPage(t *testing.T) *page {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "issuers", "vault.md"))
	if err != nil {
		t.Fatal(err)
	}
	p := &page{vault: vaulttest.Start(t), db: pgtest.Start(t), blocks: map[string][]string{}, files: map[string]string{}, kept: map[string]string{}}
	_, p.signer, err = ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile("(?s)```([a-z]+)\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		p.blocks[match[1]] = append(p.blocks[match[1]], match[2])
	}
	for at, name := range []string{"orders.hcl", "app.hcl", "client.hcl", "report.hcl"} {
		p.files[name] = p.blocks["hcl"][at]
	}
	return p
}

func (p *page) database(t *testing.T) {
	t.Helper()
	p.db.Exec(t, "postgres", "CREATE ROLE orders_owner", "CREATE DATABASE orders OWNER orders_owner")
	p.db.Exec(t, "orders", "SET ROLE orders_owner;"+schema)
	for line := range strings.Lines(p.blocks["sql"][0]) {
		p.db.Exec(t, "orders", strings.Replace(line, "…", "the-password", 1))
	}
	for _, block := range p.blocks["sh"][:4] {
		p.run(t, block)
	}
	p.logins(t, p.blocks["yaml"][0])
	settings := p.settings(t, p.blocks["yaml"][1], "orders-db")
	issuer := p.issuer(t, settings, "orders-db")
	if want := p.files["orders.hcl"]; issuer.Policy() != want {
		t.Errorf("the page's policy is\n%s\nand the issuer wants\n%s", want, issuer.Policy())
	}
	if found := findings(t, issuer); len(found) != 0 {
		t.Errorf("check --live:%s", shown(found))
	}
	credential, handle := lease(t, issuer, "hk-page-1", "public.orders:read,write")
	if err := run(t.Context(), credential, "UPDATE orders SET note = 'checked' WHERE id = 7"); err != nil {
		t.Errorf("the page's UPDATE: %v", err)
	}
	if err := run(t.Context(), credential, "DELETE FROM orders WHERE id = 7"); err == nil || !refusedBySQL(err) {
		t.Errorf("DELETE: %v; want it refused", err)
	}
	if err := run(t.Context(), credential, "SELECT lo_create(0)"); err != nil {
		t.Error(err)
	}
	if err := issuer.Revoke(t.Context(), "hk-page-1", handle); err != nil {
		t.Error(err)
	}
	credential, _ = lease(t, issuer, "hk-page-2", "public.orders:read,write,delete")
	if err := run(t.Context(), credential, "DELETE FROM orders WHERE id = 7"); err != nil {
		t.Errorf("DELETE, as granted: %v", err)
	}
}

func (p *page) kv(t *testing.T) {
	t.Helper()
	for _, block := range p.blocks["sh"][4:6] {
		p.run(t, block)
	}
	issuertest.Until(t, func() bool {
		status, _, err := vaulttest.Call(t.Context(), p.vault.Address, p.vault.Root, http.MethodPost, "kv-staging/data/app/db", map[string]any{"data": map[string]string{"password": "staging's"}})
		return err == nil && status == http.StatusOK
	})
	issuer := p.issuer(t, p.settings(t, p.blocks["yaml"][2], "app-secrets"), "orders-db")
	if want := p.files["app.hcl"]; issuer.Policy() != want {
		t.Errorf("the page's policy is\n%s\nand the issuer wants\n%s", want, issuer.Policy())
	}
	if found := findings(t, issuer); len(found) != 0 {
		t.Errorf("check --live:%s", shown(found))
	}
	credential, _ := lease(t, issuer, "hk-page-3", "app/*:read,write")
	// What `vault kv get` asks before it reads, and then reads.
	for _, path := range []string{"sys/internal/ui/mounts/kv-staging", "kv-staging/data/app/db"} {
		if err := call(t.Context(), credential, http.MethodGet, path, nil); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := call(t.Context(), credential, http.MethodDelete, "kv-staging/data/app/db", nil); !errors.Is(err, errForbidden) {
		t.Errorf("DELETE: %v; want it refused", err)
	}
}

// certificates makes a certificate and a login of ssh, as the page says, and uses both.
func (p *page) certificates(t *testing.T) {
	t.Helper()
	for _, block := range p.blocks["sh"][6:8] {
		p.run(t, block)
	}
	client := p.issuer(t, p.settings(t, p.blocks["yaml"][3], "orders-api"), "orders-db")
	report := p.issuer(t, p.settings(t, p.blocks["yaml"][3], "web-host"), "orders-db")
	for name, issuer := range map[string]*vault.Issuer{"client.hcl": client, "report.hcl": report} {
		if want := p.files[name]; issuer.Policy() != want {
			t.Errorf("the page's policy is\n%s\nand the issuer wants\n%s", want, issuer.Policy())
		}
		if found := findings(t, issuer); len(found) != 0 {
			t.Errorf("check --live:%s", shown(found))
		}
	}
	d := describe(t, client, wish(t, "orders:read,write"))
	if broker.AllActions(d.Means()).NeedsHuman() || !hasWall(d, "standing in", broker.WallNative) || !hasWall(d, "without a lease", broker.WallNative) {
		t.Errorf("a certificate means %v: %+v", broker.Texts(d.Means()), d.Walls)
	}
	credential, _ := lease(t, client, "hk-page-4", "orders:read,write")
	made := p.vault.Read(t, "pki-staging/cert/ca")["data"].(map[string]any)
	orders := &office{authority: certificateOf(t, made["certificate"].(string))}
	if _, err := enter(t, orders.service(t, nil), pairOf(t, credential), nil); err != nil {
		t.Errorf("the service: %v", err)
	}
	credential, _ = lease(t, report, "hk-page-5", "report:read")
	signer, certificate := keyOf(t, credential)
	if err := newHost(t, certificate.SignatureKey).run(t.Context(), signer, "rm -r ."); err == nil || refusedBySSH(err) {
		t.Errorf("a login, on a host that lacks the forced command: %v; want it to fail there", err)
	}
	if text := p.kept["public_key"]; text != string(ssh.MarshalAuthorizedKey(certificate.SignatureKey)) {
		t.Errorf("the page's line for TrustedUserCAKeys gives %q", text)
	}
}

// logins tries the other ways in: the JWT by a login, that of Kubernetes by what Vault kept of it.
func (p *page) logins(t *testing.T, text string) {
	t.Helper()
	var login session.Login
	p.decode(t, text, &login)
	kept := p.vault.Read(t, "auth/kubernetes/role/"+login.Kubernetes.Role)["data"].(map[string]any)
	if fmt.Sprint(kept["token_policies"]) != "[hourkey-staging-orders]" {
		t.Errorf("the role of Kubernetes is %v", kept)
	}
	settings := p.settings(t, p.blocks["yaml"][1], "orders-db")
	settings.Login = session.Login{JWT: login.JWT}
	issuer := open(t, vault.Config{
		Ref: broker.TargetRef{Environment: "staging", Target: "orders-db"}, Settings: settings, Now: time.Now,
		Resolve: func(_, reference string) (broker.Secret, error) {
			if reference != "file:secrets/jwt" {
				return broker.Secret{}, fmt.Errorf("no such reference: %s", reference)
			}
			return broker.NewSecret(p.jwt(t)), nil
		},
	})
	describe(t, issuer, wish(t, "public.orders:read,write"))
}

// jwt is what the page's issuer signs for the broker.
func (p *page) jwt(t *testing.T) string {
	t.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"iss": "https://issuer.example", "sub": "hourkey", "aud": "vault", "exp": time.Now().Add(time.Minute).Unix(), "iat": time.Now().Unix(),
	}).SignedString(p.signer)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// transit makes the broker's own login, and does with hourkey.yaml what serve does: a secret is read, and the key seals and opens.
func (p *page) transit(t *testing.T) {
	t.Helper()
	p.vault.Write(t, "sys/mounts/kv", map[string]any{"type": "kv", "options": map[string]string{"version": "2"}})
	issuertest.Until(t, func() bool {
		status, _, err := vaulttest.Call(t.Context(), p.vault.Address, p.vault.Root, http.MethodPost, "kv/data/hourkey/staging", map[string]any{"data": map[string]string{"admin_dsn": "the-dsn"}})
		return err == nil && status == http.StatusOK
	})
	p.run(t, p.blocks["sh"][8])
	var file struct {
		Vault session.Settings
		Keys  string
	}
	p.decode(t, p.blocks["yaml"][5], &file)
	file.Vault.Address, file.Vault.Login.AppRole.RoleID = p.vault.Address, p.kept["role_id"]
	own, err := session.New(session.Config{Settings: file.Vault, Now: time.Now, Resolve: func(_, reference string) (broker.Secret, error) {
		if reference != "file:secrets/vault-secret-id" {
			return broker.Secret{}, fmt.Errorf("no such reference: %s", reference)
		}
		return broker.NewSecret(p.kept["secret_id"]), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = own.Close() }()
	if secret, err := own.Secret(t.Context(), "kv/data/hourkey/staging#admin_dsn"); err != nil || secret.Reveal() != "the-dsn" {
		t.Errorf("the page's reference: %v", err)
	}
	mount, name, _ := strings.Cut(strings.TrimPrefix(file.Keys, "vault:"), "/keys/")
	key, err := transit.Open(t.Context(), own, transit.Settings{Mount: mount, Key: name})
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := key.Wrap(t.Context(), []byte("a key"), "store")
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := key.Unwrap(t.Context(), sealed, "store"); err != nil || string(opened) != "a key" {
		t.Errorf("what was sealed: %q, %v", opened, err)
	}
}

// decode reads a block of the page as strictly as hourkeyd does.
func (p *page) decode(t *testing.T, text string, into any) {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(into); err != nil {
		t.Fatal(err)
	}
}

// settings reads a target of an environment's file as the page shows it, with the addresses of the test.
func (p *page) settings(t *testing.T, text, target string) vault.Settings {
	t.Helper()
	var file struct {
		Targets map[string]struct{ Vault vault.Settings }
	}
	p.decode(t, text, &file)
	settings := file.Targets[target].Vault
	settings.Address, settings.Login.AppRole.RoleID = p.vault.Address, p.kept["role_id"]
	return settings
}

func (p *page) issuer(t *testing.T, settings vault.Settings, target string) *vault.Issuer {
	t.Helper()
	return open(t, vault.Config{
		Ref: broker.TargetRef{Environment: "staging", Target: target}, Settings: settings, Now: time.Now,
		Resolve: func(_, reference string) (broker.Secret, error) {
			if reference != "file:secrets/vault-secret-id" {
				return broker.Secret{}, fmt.Errorf("no such reference: %s", reference)
			}
			return broker.NewSecret(p.kept["secret_id"]), nil
		},
	})
}

// run does what the vault program does with each line of a block.
func (p *page) run(t *testing.T, block string) {
	t.Helper()
	block = strings.ReplaceAll(block, "\\\n", "")
	for block != "" {
		line, rest, _ := strings.Cut(block, "\n")
		input := ""
		if command, ok := strings.CutSuffix(line, " - <<EOF"); ok {
			line = command + " -"
			input, rest, _ = strings.Cut(rest, "EOF\n")
		}
		if words := shellWords(t, line); len(words) > 0 {
			p.vaultCommand(t, words, input)
		}
		block = rest
	}
}

// shellWords splits a line as a shell does, as far as the page needs it.
func shellWords(t *testing.T, line string) []string {
	t.Helper()
	var words []string
	var word strings.Builder
	begun, quoted := false, false
	for at := 0; at < len(line); at++ {
		switch c := line[at]; {
		case c == '\'':
			quoted, begun = !quoted, true
		case c == '\\' && !quoted && at+1 < len(line):
			at++
			word.WriteByte(line[at])
		case c == ' ' && !quoted:
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteByte(c)
			begun = true
		}
	}
	if quoted {
		t.Fatalf("a quote is not closed: %s", line)
	}
	if begun {
		words = append(words, word.String())
	}
	return words
}

func (p *page) vaultCommand(t *testing.T, words []string, input string) {
	t.Helper()
	command := strings.Join(words[:min(3, len(words))], " ")
	options, data, plain := map[string]string{}, map[string]any{}, []string{}
	for _, one := range words[1:] {
		name, value, isPair := strings.Cut(one, "=")
		switch {
		case strings.HasPrefix(one, "-") && one != "-":
			options[strings.TrimPrefix(name, "-")] = value
		case isPair:
			data[name] = p.local(t, name, value)
		default:
			plain = append(plain, one)
		}
	}
	switch {
	case strings.HasPrefix(command, "vault secrets enable"):
		kind := plain[2]
		path := options["path"]
		if path == "" {
			path = kind
		}
		p.vault.Write(t, "sys/mounts/"+path, map[string]any{"type": kind, "options": map[string]string{"version": options["version"]}})
	case strings.HasPrefix(command, "vault secrets tune"):
		p.vault.Write(t, "sys/mounts/"+plain[2]+"/tune", map[string]any{"max_lease_ttl": options["max-lease-ttl"]})
	case strings.HasPrefix(command, "vault auth enable"):
		p.vault.Write(t, "sys/auth/"+plain[2], map[string]any{"type": plain[2]})
	case strings.HasPrefix(command, "vault policy write"):
		if plain[3] != "-" {
			input = p.files[plain[3]]
		}
		p.vault.Write(t, "sys/policies/acl/"+plain[2], map[string]any{"policy": input})
	case words[0] == "vault" && words[1] == "write":
		if input != "" {
			if err := json.Unmarshal([]byte(input), &data); err != nil {
				t.Fatal(err)
			}
		}
		p.keep(options["field"], p.vault.Write(t, plain[1], data))
	case words[0] == "vault" && words[1] == "read":
		p.keep(options["field"], p.vault.Read(t, plain[1]))
	default:
		t.Fatalf("a line that is not understood: %v", words)
	}
}

// local puts the test's own server and password in the place of the page's.
func (p *page) local(t *testing.T, name, value string) string {
	t.Helper()
	switch name {
	case "jwt_validation_pubkeys", "kubernetes_ca_cert":
		public, err := x509.MarshalPKIXPublicKey(p.signer.Public())
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	case "connection_url":
		value = strings.Replace(value, "db.staging.example:5432", fmt.Sprintf("%s:%d", p.db.Host, p.db.Port), 1)
		return strings.Replace(value, "verify-full", "disable", 1)
	case "password":
		return "the-password"
	}
	return value
}

func (p *page) keep(field string, answer map[string]any) {
	data, _ := answer["data"].(map[string]any)
	if value, ok := data[field].(string); ok {
		p.kept[field] = value
	}
}
