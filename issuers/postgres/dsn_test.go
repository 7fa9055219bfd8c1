package postgres

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
)

func TestDSN(t *testing.T) {
	for dsn, want := range map[string]string{ // → address and sslmode, or the word in the refusal
		"postgres://u:p@127.0.0.1:5433/orders":                              "127.0.0.1:5433 prefer",
		"postgres://u:p@[::1]/orders":                                       "[::1]:5432 prefer",
		"postgresql://u:p@db.example/orders?sslmode=require":                "db.example:5432 require",
		"postgres://u:p@/orders?host=/run/postgresql":                       "/run/postgresql/.s.PGSQL.5432 prefer",
		"postgres://u:p%40ss%3A%2F@localhost/orders":                        "localhost:5432 prefer",
		"postgres://u:hunter2@db.example/orders":                            "TLS",
		"host=localhost user=u password=hunter2 dbname=orders":              "URL",
		"postgres://u:hunter2@127.0.0.1:hunter2/orders":                     "URL",
		"postgres://u:hunter2@127.0.0.1:0/orders":                           "port",
		"postgres://u:hunter2@a,b/orders?sslmode=require":                   "one host",
		"postgres://u:hunter2@localhost/":                                   "lacks",
		"postgres://:hunter2@localhost/orders":                              "lacks",
		"postgres://u@localhost/orders":                                     "lacks",
		"postgres://u:hunter2@localhost/orders?options=-c%20x":              "option",
		"postgres://u:hunter2@localhost/orders?service=prod":                "option",
		"postgres://u:hunter2@localhost/orders?sslmode=a&sslmode=b":         "option",
		"postgres://u:hunter2@localhost/orders?host=/run/postgresql":        "Unix socket",
		"postgres://u:hunter2@localhost/orders?sslmode=hunter2":             "cannot be used",
		"postgres://u:hunter2@x/o?sslmode=verify-full&sslrootcert=/missing": "cannot be used",
	} {
		r, err := parseDSN(broker.NewSecret(dsn))
		got := r.address() + " " + r.sslmode
		if err != nil {
			got = err.Error()
			if broker.CodeOf(err) != broker.CodeInvalid || strings.Contains(got, "hunter2") {
				t.Errorf("%s: %v", dsn, err)
			}
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s; want %s", dsn, got, want)
		}
	}
}

// The broker's own environment must not lead a target elsewhere: staging's DSN to production's server.
func TestEnvironmentCannotLeadTheDSNElsewhere(t *testing.T) {
	for name, value := range map[string]string{
		"PGHOST": "production.example", "PGPORT": "1", "PGDATABASE": "production", "PGUSER": "root", "PGPASSWORD": "other",
		"PGOPTIONS": "-c search_path=evil", "PGTARGETSESSIONATTRS": "any", "PGSSLMODE": "disable",
	} {
		t.Setenv(name, value)
	}
	r, err := parseDSN(broker.NewSecret("postgres://u:p@127.0.0.1:5433/orders?sslmode=require"))
	if err != nil {
		t.Fatal(err)
	}
	c := r.admin
	got := []string{c.Host, c.Database, c.User, c.Password, c.RuntimeParams["search_path"], c.RuntimeParams["options"]}
	if diff := cmp.Diff([]string{"127.0.0.1", "orders", "u", "p", "pg_catalog", ""}, got); diff != "" || c.Port != 5433 || c.TLSConfig == nil {
		t.Errorf("the environment changed the DSN:\n%s", diff)
	}
}

// What a lease gets of the DSN: never the admin's login or client certificate.
func TestLeaseGetsNothingOfTheAdmins(t *testing.T) {
	r, err := parseDSN(broker.NewSecret("postgres://admin:admin-password@127.0.0.1:5433/orders?sslmode=require&connect_timeout=3"))
	if err != nil {
		t.Fatal(err)
	}
	values := r.values("hk-a-1", "key")
	if got, want := values["DATABASE_URL"].Reveal(), "postgres://hk-a-1:key@127.0.0.1:5433/orders?sslmode=require"; got != want {
		t.Errorf("DATABASE_URL is %s; want %s", got, want)
	}
	for name, value := range values {
		if strings.Contains(value.Reveal(), "admin") {
			t.Errorf("%s has the admin's name or password", name)
		}
	}
}

// The exchange of RFC 7677, section 3: its client proof must fit our StoredKey, its server signature our ServerKey.
func TestVerifierFitsTheExchangeOfRFC7677(t *testing.T) {
	const (
		nonce   = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
		message = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=" + nonce + ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=" + nonce
	)
	decode := func(text string) []byte {
		bytes, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return bytes
	}
	verifier, err := scramVerifier("pencil", decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
	if err != nil {
		t.Fatal(err)
	}
	keys, found := strings.CutPrefix(verifier, "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")
	stored, server, _ := strings.Cut(keys, ":")
	if !found || !bytes.Equal(sign(decode(server), message), decode("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")) {
		t.Errorf("the server's signature does not follow from %s", verifier)
	}
	clientKey := decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
	for at, b := range sign(decode(stored), message) {
		clientKey[at] ^= b
	}
	if sum := sha256.Sum256(clientKey); !bytes.Equal(sum[:], decode(stored)) {
		t.Errorf("the client's proof does not fit %s", verifier)
	}
}

func TestPasswordHas256BitsAndIsNotInItsVerifier(t *testing.T) {
	password, verifier, err := newPassword(strings.NewReader(strings.Repeat("random", 8)))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(password)
	if err != nil || len(raw) != 32 || strings.Contains(verifier, password) {
		t.Errorf("password of %d bytes, %v", len(raw), err)
	}
	if _, _, err := newPassword(strings.NewReader("too short")); err == nil {
		t.Error("a password from too little randomness")
	}
}

func TestLeaseNames(t *testing.T) {
	for name, want := range map[string]bool{
		"hk-a1b2-c3": true, "hk-" + strings.Repeat("a", 60): true, "hk-" + strings.Repeat("a", 61): false,
		"hk-": false, "": false, "postgres": false, "HK-a": false, "hk-A": false, `hk-"`: false, "hk-a b": false, "hk-ä": false, "xhk-a": false,
	} {
		if broker.IsLeaseName(name) != want {
			t.Errorf("broker.IsLeaseName(%q) is %v", name, !want)
		}
	}
}

func TestLiteralKeepsQuotesAndBackslashesInside(t *testing.T) {
	for text, want := range map[string]string{"plain": "'plain'", "it's": "'it''s'", `a\'b`: ` E'a\\''b'`} {
		if got := literal(text); got != want {
			t.Errorf("literal(%q) is %s; want %s", text, got, want)
		}
	}
}
