package issuers_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers"
)

const secretDSN = "postgres://admin:hunter2@127.0.0.1/orders"

func config(t *testing.T) issuers.Config {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return issuers.Config{
		Resolve: func(reference string) (broker.Secret, error) {
			switch reference {
			case "env:DSN", "file:/run/secrets/dsn":
				return broker.NewSecret(secretDSN), nil
			case "env:EMPTY":
				return broker.Secret{}, nil
			}
			return broker.Secret{}, errors.New("no such thing")
		},
		Signer: func(string) (ed25519.PrivateKey, error) { return key, nil },
		Issuer: "https://hourkey.example", File: "environments/staging.yaml", Now: time.Now,
	}
}

func open(t *testing.T, kind, body string) (broker.Target, error) {
	t.Helper()
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(body), &document); err != nil {
		t.Fatal(err)
	}
	var node *yaml.Node
	if len(document.Content) > 0 {
		node = document.Content[0]
	}
	return issuers.Open(t.Context(), config(t), broker.TargetRef{Environment: "staging", Target: "orders-db"}, kind, node)
}

// A target that cannot be read strictly is not opened: the error has file and line, the nearest right name, and
// never a value, which may be a secret in the wrong place.
func TestStrictDecoding(t *testing.T) {
	for body, want := range map[string]string{
		"dsn: env:DSN\nowner: o": "",
		"dsn: file:/run/secrets/dsn\nowner: o\naccept: [{object: database x, why: known}]": "",

		"dsn: env:DSN\nownr: o":                                      `environments/staging.yaml:2: unknown field "ownr" (did you mean "owner"?)`,
		"dsn: env:DSN\nowner: o\npassword: hunter2":                  `:3: unknown field "password": expected dsn, owner, accept`,
		"dsn: env:DSN\nowner: o\naccept: [{objct: hunter2, why: w}]": `:3: unknown field "objct" (did you mean "object"?)`,
		"dsn: env:DSN\nowner: o\nowner: p":                           `:3: owner is written twice`,
		"dsn: env:DSN\nowner: o\naccept: hunter2":                    `:3: accept must be a list`,
		"dsn: env:DSN\nowner: o\naccept: [hunter2]":                  `:3: an entry of accept must be a mapping`,
		"dsn: env:DSN\nowner: [hunter2]":                             `:2: owner must be a single value`,
		"dsn: env:DSN\nowner:":                                       `:2: owner must be a single value`,
		"dsn: &a env:DSN\nowner: *a":                                 `:2: owner is an alias`,
		"dsn: env:DSN\n<<: {owner: o}":                               `:2: unknown field "<<"`,
		"hunter2":                                                    `:1: the target must be a mapping`,
		"":                                                           `the target has no settings`,
		"dsn: env:DSN":                                               `target staging/orders-db: postgres: owner is missing`,
		"dsn: env:DSN\nowner: o\naccept: [{object: x}]":              `:3: target staging/orders-db: postgres: accept has an entry without object or why`,
		"owner: o\ndsn: " + secretDSN:                                `:2: target staging/orders-db: dsn must be a reference`,
		"owner: o\ndsn: hunter2":                                     `dsn must be a reference`,
		"owner: o\ndsn: env:NONE":                                    `:2: target staging/orders-db: dsn: env:NONE cannot be read`,
		"owner: o\ndsn: env:EMPTY":                                   `dsn: env:EMPTY is empty`,
	} {
		target, err := open(t, "postgres", body)
		switch {
		case want == "" && (err != nil || target.Issuer == nil || target.Binding == ""):
			t.Errorf("%q: %+v, %v", body, target, err)
		case want == "":
		case err == nil || broker.CodeOf(err) != broker.CodeInvalid || !strings.Contains(err.Error(), want):
			t.Errorf("%q: %v; want %s", body, err, want)
		case strings.Contains(err.Error(), "hunter2") || target.Issuer != nil:
			t.Errorf("%q: the error repeats a secret, or there is a target: %v", body, err)
		}
	}
}

func TestUnknownKindIsRefusedWithTheNearest(t *testing.T) {
	if _, err := open(t, "postgress", "dsn: env:DSN"); broker.CodeOf(err) != broker.CodeInvalid || !strings.Contains(err.Error(), `did you mean "postgres"?`) {
		t.Errorf("postgress: %v", err)
	}
	if kinds := issuers.Kinds(); !slices.Contains(kinds, "postgres") || !slices.Contains(kinds, "jwt") {
		t.Errorf("kinds: %v", kinds)
	}
}

func TestJWTTargetIsOpened(t *testing.T) {
	target, err := open(t, "jwt", "audience: https://orders.example\nresources: [orders/*]\nttl: 3m")
	if err != nil || target.Issuer.Capabilities().Kind != "jwt" {
		t.Errorf("%+v, %v", target, err)
	}
	if _, err := open(t, "jwt", "audience: https://orders.example\nresources: [orders/*]\nttl: soon"); err == nil || !strings.Contains(err.Error(), ":3: ttl is not a duration") {
		t.Errorf("ttl: soon: %v", err)
	}
}

// The binding tells configurations apart, so that a lease is ended by the one that issued it.
func TestBindingFollowsTheConfiguration(t *testing.T) {
	bindings := map[string]bool{}
	for _, body := range []string{"dsn: env:DSN\nowner: o", "owner: o\ndsn: env:DSN", "dsn: env:DSN\nowner: p", "dsn: file:/run/secrets/dsn\nowner: o"} {
		target, err := open(t, "postgres", body)
		if err != nil {
			t.Fatal(err)
		}
		bindings[target.Binding] = true
		if strings.Contains(target.Binding, "hunter2") {
			t.Error("the binding has the secret in it")
		}
	}
	if len(bindings) != 3 {
		t.Errorf("%d bindings for three configurations: %v", len(bindings), bindings)
	}
}

// Whatever a file holds, decoding it neither panics nor opens a target that lacks its owner.
func FuzzTargetDecoder(f *testing.F) {
	for _, seed := range []string{"dsn: env:DSN\nowner: o", "a: &a [*a]", "<<: {owner: o}", "owner: !!binary aGk=", "accept: [[[{}]]]", "dsn: {env: DSN}", "owner: *a", "? [a]\n: b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var document yaml.Node
		if yaml.Unmarshal([]byte(body), &document) != nil || len(document.Content) == 0 {
			return
		}
		target, err := issuers.Open(t.Context(), config(t), broker.TargetRef{Environment: "staging", Target: "orders-db"}, "postgres", document.Content[0])
		if err == nil && (target.Issuer == nil || !strings.Contains(body, "owner")) {
			t.Errorf("opened without an owner: %q", body)
		}
		if err != nil && broker.CodeOf(err) != broker.CodeInvalid {
			t.Errorf("%q: %v is not %s", body, err, broker.CodeInvalid)
		}
	})
}

func TestAKubernetesTargetOpens(t *testing.T) {
	body := `{server: "https://10.0.0.1:6443", token: env:DSN, namespace: shop-staging, plain: [widgets.example.com], accept: [{object: open streams, why: logs}]}`
	target, err := open(t, "kubernetes", body)
	if err != nil || !strings.HasPrefix(target.Binding, "kubernetes:") {
		t.Errorf("%+v, %v", target, err)
	}
	for body, says := range map[string]string{
		`{server: "https://10.0.0.1", token: "eyJ.the.token", namespace: shop}`:                   "must be a reference",
		`{server: "https://10.0.0.1", token: env:DSN, namspace: shop}`:                            `did you mean "namespace"`,
		"server: https://10.0.0.1\ntoken: env:DSN\nnamespace: kube-system":                        "environments/staging.yaml:3:",
		`{server: "http://10.0.0.1", token: env:DSN, namespace: shop}`:                            "https://",
		`{server: "https://10.0.0.1", token: env:DSN, namespace: shop, accept: [{object: open}]}`: "why",
	} {
		if _, err := open(t, "kubernetes", body); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "eyJ") {
			t.Errorf("%s: %v; want %q in it", body, err, says)
		}
	}
}
