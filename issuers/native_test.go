package issuers_test

import (
	"io"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers"
)

// bodies are one that opens of each kind whose provider holds the walls itself.
var bodies = map[string]string{
	"aws": "role: arn:aws:iam::111122223333:role/hourkey-staging\nregion: eu-central-1\naccess_key: env:KEY\nsecret_key: env:SECRET\n" +
		"resources: [s3/acme-staging/*]\nlocks: [{object: s3/acme-staging/shop.tflock, why: Terraform removes its lock}]",
	"kubernetes": "server: https://10.0.0.1:6443\ntoken: env:SECRET\nnamespace: staging\naccept: [{object: open streams, why: kubectl logs}]",
	"vault": "address: https://vault.example:8200\nlogin: {approle: {role_id: id, secret_id: env:SECRET}}\nengine: kv\nmount: kv-staging\n" +
		"token_role: hourkey-staging\nfolders: [app]\noffers: [{policies: [staging-rw]}]",
}

// native is the configuration of these tests: the secret must be in no error, the two other values are none.
func native(t *testing.T) issuers.Config {
	c := config(t)
	c.Resolve = func(reference string) (broker.Secret, error) {
		switch reference {
		case "env:KEY":
			return broker.NewSecret("AKIAEXAMPLE"), nil
		case "env:SECRET":
			return broker.NewSecret("hunter2"), nil
		case "env:EMPTY":
			return broker.Secret{}, nil
		}
		return broker.Secret{}, broker.Errorf(broker.CodeInvalid, "no such thing")
	}
	return c
}

func node(t *testing.T, body string) *yaml.Node {
	t.Helper()
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(body), &document); err != nil || len(document.Content) == 0 {
		t.Fatalf("%q: %v", body, err)
	}
	return document.Content[0]
}

func TestNativeTargetsAreOpened(t *testing.T) {
	for kind, body := range bodies {
		target, err := issuers.Open(t.Context(), native(t), broker.TargetRef{Environment: "staging", Target: "it"}, kind, node(t, body))
		if err != nil || target.Issuer.Capabilities().Kind != kind || !strings.HasPrefix(target.Binding, kind+":") {
			t.Errorf("%s: %+v, %v", kind, target, err)
			continue
		}
		can := target.Issuer.Capabilities()
		if can.Gateway || can.Local || can.EndsEarly == (kind == "aws") { // STS ends no session singly
			t.Errorf("%s: %+v", kind, can)
		}
		if !implements[broker.Checker](target) || !implements[io.Closer](target) || implements[broker.Lister](target) == (kind == "aws") {
			t.Errorf("%s is no Checker, Closer or Lister", kind)
		}
		if closer, is := target.Issuer.(io.Closer); is {
			_ = closer.Close()
		}
	}
}

func implements[T any](target broker.Target) bool {
	_, is := target.Issuer.(T)
	return is
}

// The attack, or the mistake: a secret in the place of its reference, in a field that is none, or a reference that leads
// nowhere. Each is refused with file and line, no issuer stays, and the secret is not repeated.
func TestSecretInTheWrongPlaceOfANativeTargetIsNotRepeated(t *testing.T) {
	for _, step := range []struct{ kind, from, to, want string }{
		{"aws", "env:SECRET", "hunter2", ":4: target staging/it: secret_key must be a reference"},
		{"aws", "env:KEY", "env:EMPTY", ":3: target staging/it: access_key: env:EMPTY is empty"},
		{"aws", "env:KEY", "env:NONE", ":3: target staging/it: access_key: env:NONE cannot be read"},
		{"aws", "secret_key", "secretkey", `:4: unknown field "secretkey" (did you mean "secret_key"?)`},
		{"aws", "why: Terraform removes its lock", "password: hunter2", `:6: unknown field "password"`},
		{"aws", "role: arn:aws:iam::111122223333:role/hourkey-staging", "role: hunter", ":1: target staging/it: aws: role must be the ARN"},
		{"kubernetes", "env:SECRET", "hunter2", ":2: target staging/it: token must be a reference"},
		{"kubernetes", "namespace: staging", "namespace: kube-system", ":3: target staging/it: kubernetes: namespace is the cluster's own"},
		{"kubernetes", "server: https", "server: http", ":1: target staging/it: kubernetes: server must be a URL like https"},
		{"kubernetes", "object: open streams", "object: hunter2, objct: x", `:4: unknown field "objct"`},
		{"vault", "env:SECRET", "hunter2", ":2: target staging/it: login must be a reference"},
		{"vault", "secret_id: env:SECRET", "secret_id: env:NONE", ":2: target staging/it: login: env:NONE cannot be read"},
		{"vault", "secret_id", "secretid", `:2: unknown field "secretid" (did you mean "secret_id"?)`},
		{"vault", "address: https", "address: http", ":1: target staging/it: vault: address must begin with https"},
		{"vault", "offers: [{policies: [staging-rw]}]", "offers: [{policies: [root]}]", ":7: target staging/it: vault: offers"},
	} {
		body := strings.Replace(bodies[step.kind], step.from, step.to, 1)
		target, err := issuers.Open(t.Context(), native(t), broker.TargetRef{Environment: "staging", Target: "it"}, step.kind, node(t, body))
		if broker.CodeOf(err) != broker.CodeInvalid || !strings.Contains(err.Error(), step.want) {
			t.Errorf("%s, %s: %v; want %s", step.kind, step.to, err, step.want)
		}
		if target.Issuer != nil || err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s, %s: there is an issuer, or the error repeats a secret: %v", step.kind, step.to, err)
		}
	}
}

// The broker's own login at Vault is read as strictly as a target's.
func TestBrokersOwnLoginAtVault(t *testing.T) {
	good := "address: https://vault.example:8200\nlogin: {approle: {role_id: id, secret_id: env:SECRET}}"
	for body, want := range map[string]string{
		good: "",
		strings.Replace(good, "approle", "aprole", 1):         `environments/staging.yaml:2: unknown field "aprole" (did you mean "approle"?)`,
		strings.Replace(good, "https", "http", 1):             `environments/staging.yaml:1: vault: address must begin with https`,
		strings.Replace(good, "env:SECRET", "hunter2", 1):     `environments/staging.yaml:2: login must be a reference`,
		strings.Replace(good, "env:SECRET", "env:NONE", 1):    `environments/staging.yaml:2: login: env:NONE cannot be read`,
		good + "\ntransit: {key: hourkey}":                    `environments/staging.yaml:3: unknown field "transit"`,
		"address: https://vault.example:8200":                 `vault: login must have exactly one of`,
		"address: https://vault.example:8200\nlogin: env:KEY": `:2: login must be a mapping`,
	} {
		session, err := issuers.VaultSession(native(t), node(t, body))
		switch {
		case want == "" && (err != nil || session.Address() != "https://vault.example:8200"):
			t.Errorf("%q: %v", body, err)
		case want != "" && (session != nil || broker.CodeOf(err) != broker.CodeInvalid || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2")):
			t.Errorf("%q: %v; want %s", body, err, want)
		}
	}
}

// Whatever a file holds: decoding it does not panic, and what is refused is refused as such.
func FuzzNativeTargetDecoder(f *testing.F) {
	for kind, body := range bodies {
		f.Add(kind, body)
	}
	f.Fuzz(func(t *testing.T, kind, body string) {
		var document yaml.Node
		if bodies[kind] == "" || yaml.Unmarshal([]byte(body), &document) != nil || len(document.Content) == 0 {
			return
		}
		target, err := issuers.Open(t.Context(), native(t), broker.TargetRef{Environment: "staging", Target: "it"}, kind, document.Content[0])
		if err == nil && target.Issuer == nil || err != nil && (broker.CodeOf(err) != broker.CodeInvalid || strings.Contains(err.Error(), "hunter2") && !strings.Contains(body, "hunter2")) {
			t.Errorf("%s %q: %+v, %v", kind, body, target, err)
		}
		if closer, is := target.Issuer.(io.Closer); is {
			_ = closer.Close()
		}
	})
}
