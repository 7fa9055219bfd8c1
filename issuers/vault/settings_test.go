package vault_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/vault"
	"github.com/hourkey/hourkey/issuers/vault/session"
)

func settings(change func(*vault.Settings)) vault.Settings {
	s := vault.Settings{
		Address: "https://vault.example:8200", Login: session.Login{AppRole: session.AppRole{RoleID: "r", SecretID: "env:S"}},
		Engine: "database", Mount: "database-staging", Connection: "orders", TokenRole: "hourkey-staging", Policies: []string{"hourkey-lease"}, Offers: []vault.Offer{{Role: "orders-rw"}},
	}
	if change != nil {
		change(&s)
	}
	return s
}

func newWith(s vault.Settings) (*vault.Issuer, error) {
	return vault.New(vault.Config{
		Ref: broker.TargetRef{Environment: "staging", Target: "orders-db"}, Settings: s, Now: time.Now,
		Resolve: func(_, reference string) (broker.Secret, error) {
			if reference == "env:S" {
				return broker.NewSecret("a-secret-id"), nil
			}
			return broker.Secret{}, errors.New("no such reference")
		},
	})
}

func TestSettings(t *testing.T) {
	kv := func(s *vault.Settings) {
		s.Engine, s.Connection, s.Policies, s.Folders, s.Offers = "kv", "", nil, []string{"app"}, []vault.Offer{{Policies: []string{"app-rw"}}}
	}
	other := func(engine string, offer vault.Offer) func(*vault.Settings) {
		return func(s *vault.Settings) { s.Engine, s.Connection, s.Offers = engine, "", []vault.Offer{offer} }
	}
	declared := vault.Offer{Role: "deploy", Scopes: []string{"deploy:read,write"}, Why: "alice looked"}
	for name, change := range map[string]func(*vault.Settings){
		"database": nil, "kv": kv, "kv1": func(s *vault.Settings) { kv(s); s.Engine = "kv1" },
		"aws": other("aws", declared), "aws-sts": other("aws-sts", declared), "other": other("other", declared),
		"kubernetes":   func(s *vault.Settings) { other("kubernetes", declared)(s); s.Cluster = "https://kube.example" },
		"pki":          other("pki", vault.Offer{Role: "client", CommonName: "agent.staging", Scopes: declared.Scopes, Why: declared.Why}),
		"ssh":          other("ssh", vault.Offer{Role: "web", Principal: "deploy", Scopes: declared.Scopes, Why: declared.Why}),
		"loopback":     func(s *vault.Settings) { s.Address = "http://127.0.0.1:8200" },
		"a namespace":  func(s *vault.Settings) { s.Namespace = "team/staging" },
		"clients' own": func(s *vault.Settings) { s.URL = "postgres://db.example:5432/orders?sslmode=verify-full" },
		"what is accepted of aws": func(s *vault.Settings) {
			other("aws", declared)(s)
			s.Accept = []vault.Accept{{Object: vault.AcceptVersionHistory, Why: "looked"}}
		},
		"what is accepted": func(s *vault.Settings) { s.Accept = []vault.Accept{{Object: vault.AcceptDefinerCode, Why: "looked"}} },
	} {
		if _, err := newWith(settings(change)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, one := range map[string]struct {
		field  string
		change func(*vault.Settings)
	}{
		"no address":                    {"address", func(s *vault.Settings) { s.Address = "" }},
		"plain http":                    {"address", func(s *vault.Settings) { s.Address = "http://vault.example:8200" }},
		"plain http, by a name":         {"address", func(s *vault.Settings) { s.Address = "http://127.0.0.1.example:8200" }},
		"a password in the address":     {"address", func(s *vault.Settings) { s.Address = "https://u:p@vault.example" }},
		"a path in the address":         {"address", func(s *vault.Settings) { s.Address = "https://vault.example/v1" }},
		"another scheme":                {"address", func(s *vault.Settings) { s.Address = "unix:///run/vault" }},
		"a namespace with dots":         {"namespace", func(s *vault.Settings) { s.Namespace = "../root" }},
		"no login":                      {"login", func(s *vault.Settings) { s.Login = session.Login{} }},
		"two logins":                    {"login", func(s *vault.Settings) { s.Login.Token = "env:T" }},
		"half a login":                  {"login", func(s *vault.Settings) { s.Login.AppRole.SecretID = "" }},
		"half a jwt login":              {"login", func(s *vault.Settings) { s.Login = session.Login{JWT: session.Bearer{Role: "r"}} }},
		"a login mount with auth/":      {"login", func(s *vault.Settings) { s.Login.AppRole.Mount = "/auth/approle/" }},
		"no engine":                     {"engine", func(s *vault.Settings) { s.Engine = "" }},
		"an unknown engine":             {"engine", func(s *vault.Settings) { s.Engine = "databse" }},
		"no mount":                      {"mount", func(s *vault.Settings) { s.Mount = "" }},
		"a mount that climbs":           {"mount", func(s *vault.Settings) { s.Mount = "database/../sys" }},
		"a mount with a query":          {"mount", func(s *vault.Settings) { s.Mount = "database?list=true" }},
		"no token role":                 {"token_role", func(s *vault.Settings) { s.TokenRole = "" }},
		"a token role with a slash":     {"token_role", func(s *vault.Settings) { s.TokenRole = "a/../b" }},
		"no offers":                     {"offers", func(s *vault.Settings) { s.Offers = nil }},
		"an offer twice":                {"offers", func(s *vault.Settings) { s.Offers = append(s.Offers, s.Offers[0]) }},
		"a role that climbs":            {"offers", func(s *vault.Settings) { s.Offers[0].Role = "../config/orders" }},
		"scopes without why":            {"offers", func(s *vault.Settings) { s.Offers[0].Scopes = []string{"a:read"} }},
		"scopes that are none":          {"offers", func(s *vault.Settings) { s.Offers[0].Scopes, s.Offers[0].Why = []string{"a:fly"}, "why" }},
		"policies of a database":        {"offers", func(s *vault.Settings) { s.Offers[0].Policies = []string{"p"} }},
		"no policies":                   {"policies", func(s *vault.Settings) { s.Policies = nil }},
		"the policy root":               {"policies", func(s *vault.Settings) { s.Policies = []string{"root"} }},
		"the policy default":            {"policies", func(s *vault.Settings) { s.Policies = []string{"default"} }},
		"a policy in upper case":        {"policies", func(s *vault.Settings) { s.Policies = []string{"Lease"} }},
		"no connection":                 {"connection", func(s *vault.Settings) { s.Connection = "" }},
		"folders of a database":         {"folders", func(s *vault.Settings) { s.Folders = []string{"app"} }},
		"a cluster of a database":       {"cluster", func(s *vault.Settings) { s.Cluster = "https://x" }},
		"a password in url":             {"url", func(s *vault.Settings) { s.URL = "postgres://u:p@db/orders" }},
		"an url of something else":      {"url", func(s *vault.Settings) { s.URL = "https://db/orders" }},
		"accepting what is not":         {"accept", func(s *vault.Settings) { s.Accept = []vault.Accept{{Object: "everything", Why: "w"}} }},
		"version-history of a database": {"accept", func(s *vault.Settings) { s.Accept = []vault.Accept{{Object: vault.AcceptVersionHistory, Why: "w"}} }},
		"definer-code of kv":            {"accept", func(s *vault.Settings) { kv(s); s.Accept = []vault.Accept{{Object: vault.AcceptDefinerCode, Why: "w"}} }},
		"version-history of kv1": {"accept", func(s *vault.Settings) {
			kv(s)
			s.Engine = "kv1"
			s.Accept = []vault.Accept{{Object: vault.AcceptVersionHistory, Why: "w"}}
		}},
		"whole-mount of aws": {"accept", func(s *vault.Settings) {
			other("aws", declared)(s)
			s.Accept = []vault.Accept{{Object: vault.AcceptWholeMount, Why: "w"}}
		}},
		"shell of pki": {"accept", func(s *vault.Settings) {
			s.Engine, s.Connection = "pki", ""
			s.Offers = []vault.Offer{{Role: "client", CommonName: "agent.staging.example", Scopes: []string{"orders:read"}, Why: "w"}}
			s.Accept = []vault.Accept{{Object: vault.AcceptShell, Why: "w"}}
		}},
		"version-history of kubernetes": {"accept", func(s *vault.Settings) {
			other("kubernetes", declared)(s)
			s.Accept = []vault.Accept{{Object: vault.AcceptVersionHistory, Why: "w"}}
		}},
		"accepting without why":     {"accept", func(s *vault.Settings) { s.Accept = []vault.Accept{{Object: vault.AcceptDefinerCode}} }},
		"kv without folders":        {"folders", func(s *vault.Settings) { kv(s); s.Folders = nil }},
		"a folder with a slash":     {"folders", func(s *vault.Settings) { kv(s); s.Folders = []string{"app/x"} }},
		"a folder that is a star":   {"folders", func(s *vault.Settings) { kv(s); s.Folders = []string{"*"} }},
		"kv with roles":             {"offers", func(s *vault.Settings) { kv(s); s.Offers = []vault.Offer{{Role: "r"}} }},
		"kv with the policy root":   {"offers", func(s *vault.Settings) { kv(s); s.Offers = []vault.Offer{{Policies: []string{"root"}}} }},
		"kv that declares":          {"offers", func(s *vault.Settings) { kv(s); s.Offers[0].Scopes, s.Offers[0].Why = []string{"app/*:read"}, "w" }},
		"aws that does not declare": {"offers", other("aws", vault.Offer{Role: "r"})},
		"pki without a name":        {"offers", other("pki", declared)},
		"pki for any name":          {"offers", other("pki", vault.Offer{Role: "client", CommonName: "*.staging", Scopes: declared.Scopes, Why: declared.Why})},
		"pki for two names":         {"offers", other("pki", vault.Offer{Role: "client", CommonName: "a,b", Scopes: declared.Scopes, Why: declared.Why})},
		"ssh for anybody":           {"offers", other("ssh", vault.Offer{Role: "web", Principal: "*", Scopes: declared.Scopes, Why: declared.Why})},
		"ssh for two":               {"offers", other("ssh", vault.Offer{Role: "web", Principal: "deploy,root", Scopes: declared.Scopes, Why: declared.Why})},
		"ssh without a principal":   {"offers", other("ssh", declared)},
	} {
		_, err := newWith(settings(one.change))
		known, ok := errors.AsType[*broker.Error](err)
		if !ok || known.Code != broker.CodeInvalid || known.Field != one.field {
			t.Errorf("%s: %v; want it refused over %s", name, err, one.field)
		}
	}
}

func TestSecretThatIsNotThereIsToldAtOnce(t *testing.T) {
	_, err := newWith(settings(func(s *vault.Settings) { s.Login.AppRole.SecretID = "env:NOWHERE" }))
	if err == nil || strings.Contains(err.Error(), "a-secret-id") {
		t.Errorf("New: %v; want it refused", err)
	}
	_, err = newWith(settings(func(s *vault.Settings) { s.CA = "env:S" }))
	if known, ok := errors.AsType[*broker.Error](err); !ok || known.Field != "ca" || strings.Contains(err.Error(), "a-secret-id") {
		t.Errorf("a CA that holds no certificate: %v", err)
	}
}
