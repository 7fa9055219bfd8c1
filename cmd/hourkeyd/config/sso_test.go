package config

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const ssoText = `sso:
  issuer: https://login.example/realms/x
  client_id: hourkey
  client_secret: file:secrets/oidc
  domains: [example.com, example.org]
  groups: {eng-oncall: oncall, "/platform/leads": operators, "0b1f": operators}
`

// sso decodes `sso:` alone.
func sso(text string) (s *SingleSignOn, err error) {
	d, err := parse("hourkey.yaml", []byte(text))
	if err != nil {
		return nil, err
	}
	return s, d.fields(d.root, map[string]field{"sso": d.singleSignOn(&s)})
}

func TestSingleSignOnSettings(t *testing.T) {
	got, err := sso(ssoText)
	if err != nil {
		t.Fatal(err)
	}
	want := &SingleSignOn{
		Issuer: "https://login.example/realms/x", ClientID: "hourkey", ClientSecret: "file:secrets/oidc", Domains: []string{"example.com", "example.org"},
		Groups:    map[string]string{"eng-oncall": "oncall", "/platform/leads": "operators", "0b1f": "operators"},
		NameClaim: "email", GroupsClaim: "groups", AuthTime: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"oncall", "operators"}, got.OurGroups()); diff != "" {
		t.Error(diff)
	}
	other, err := sso(strings.Replace(ssoText, "  domains: [example.com, example.org]\n", "  name_claim: preferred_username\n  groups_claim: https://example.com/teams\n  auth_time: false\n", 1))
	if err != nil || other.NameClaim != "preferred_username" || other.GroupsClaim != "https://example.com/teams" || other.AuthTime {
		t.Errorf("got %+v, %v", other, err)
	}
	for _, text := range []string{"sso:\n", "sso: {issuer: http://127.0.0.1:5556/dex, client_id: a, client_secret: env:S, domains: [a.b], groups: {a: b}}\n"} {
		if _, err := sso(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestSingleSignOnThatIsNotThereIsOff(t *testing.T) {
	none, err := sso("sso:\n")
	if err != nil || none != nil || none.Canonical() != nil || none.OurGroups() != nil {
		t.Fatalf("got %+v, %v", none, err)
	}
}

func TestSingleSignOnRefusals(t *testing.T) {
	replace := func(old, text string) string { return strings.Replace(ssoText, old, text, 1) }
	for name, test := range map[string]struct{ text, want string }{
		"typo":                       {replace("issuer:", "isuer:"), `hourkey.yaml:2: unknown field "isuer": did you mean "issuer"?`},
		"plain http on a network":    {replace("https://login.example", "http://login.example"), "hourkey.yaml:2: sso.issuer: expected https://"},
		"another scheme":             {replace("https://login.example", "ldap://login.example"), "expected https://"},
		"no host":                    {replace("https://login.example", "https://"), "expected https://host"},
		"a host in capitals":         {replace("login.example", "Login.Example"), "in lower case"},
		"a policy in the host":       {replace("login.example", "login.example;script-src"), "expected https://host"},
		"a user in it":               {replace("login.example", "u:p@login.example"), "expected https://host"},
		"a query":                    {replace("realms/x", "realms/x?a=b"), "nothing after it"},
		"a fragment":                 {replace("realms/x", "realms/x#a"), "nothing after it"},
		"no issuer":                  {replace("  issuer: https://login.example/realms/x\n", ""), "sso.issuer: is missing"},
		"no client":                  {replace("  client_id: hourkey\n", ""), "sso.client_id: is missing"},
		"no secret":                  {replace("  client_secret: file:secrets/oidc\n", ""), "sso.client_secret: is missing"},
		"no domains":                 {replace("  domains: [example.com, example.org]\n", ""), "sso.domains: is missing"},
		"nobody is let in":           {replace("{eng-oncall: oncall, \"/platform/leads\": operators, \"0b1f\": operators}", "{}"), "sso.groups: is missing"},
		"the secret itself":          {replace("file:secrets/oidc", "hunter2-hunter2"), "expected a reference to a secret"},
		"a secret in a URL":          {replace("file:secrets/oidc", "file://u:hunter2@host"), "expected a reference to a secret"},
		"every domain":               {replace("example.com,", "\"*\","), "is not a domain"},
		"every domain below":         {replace("example.com,", "\"*.example.com\","), "is not a domain"},
		"a domain of one label":      {replace("example.com,", "com,"), "is not a domain"},
		"a domain with an at":        {replace("example.com,", "\"@example.com\","), "is not a domain"},
		"a domain in capitals":       {replace("example.com,", "Example.com,"), "is not a domain"},
		"a domain twice":             {replace("example.org", "example.com"), "stands here twice"},
		"a group of ours with a *":   {replace("oncall,", "\"*\","), "is not a name"},
		"groups as a list":           {replace("{eng-oncall: oncall, \"/platform/leads\": operators, \"0b1f\": operators}", "[oncall]"), "expected names with values below"},
		"a group twice":              {replace("\"0b1f\"", "eng-oncall"), "stands here twice"},
		"two groups for one":         {replace("eng-oncall: oncall", "eng-oncall: [oncall, operators]"), "expected a text"},
		"a group that is a number":   {replace("\"0b1f\"", "7"), "quote it"},
		"a claim with a space":       {ssoText + "  name_claim: e mail\n", "expected the name of a claim"},
		"no claim":                   {ssoText + "  groups_claim: \"\"\n", "expected the name of a claim"},
		"auth_time that is no truth": {ssoText + "  auth_time: never\n", "expected true or false"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sso(test.text)
			refused(t, err, test.want)
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the secret is in the error: %v", err)
			}
		})
	}
}

// Who is a human is part of what was decided, however it is written.
func TestTheConfigurationHashCoversWhoSomebodyIs(t *testing.T) {
	canonical := func(text string) []byte {
		t.Helper()
		s, err := sso(text)
		if err != nil {
			t.Fatal(err)
		}
		return s.Canonical()
	}
	was := canonical(ssoText)
	same := strings.NewReplacer("[example.com, example.org]", "[example.org, example.com]", "file:secrets/oidc", "env:OIDC").Replace(ssoText)
	if got := canonical(same); !bytes.Equal(got, was) {
		t.Errorf("written otherwise it is another: %s", got)
	}
	if strings.Contains(string(was), "secrets/oidc") {
		t.Error("the reference of the secret is in it")
	}
	for _, change := range [][2]string{
		{"login.example", "login.other"}, {"client_id: hourkey", "client_id: wiki"}, {"example.org", "example.net"}, {"eng-oncall: oncall", "eng-oncall: operators"},
		{"eng-oncall", "eng"}, {"sso:\n", "sso:\n  name_claim: sub\n"}, {"sso:\n", "sso:\n  groups_claim: roles\n"}, {"sso:\n", "sso:\n  auth_time: false\n"},
	} {
		if bytes.Equal(canonical(strings.Replace(ssoText, change[0], change[1], 1)), was) {
			t.Errorf("%q instead of %q changes nothing", change[1], change[0])
		}
	}
}

// What the page says that one can write, one can.
func TestTheSettingsOfThePageAboutSingleSignOnAreRead(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "single-sign-on.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "```yaml\nsso:")[1:]
	if len(blocks) == 0 {
		t.Fatal("it shows none")
	}
	for _, block := range blocks {
		text, _, _ := strings.Cut("sso:"+block, "```")
		text, _, _ = strings.Cut(text, "\n\n") // other settings follow
		if s, err := sso(text); err != nil || s == nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
	for _, field := range []string{"issuer", "client_id", "client_secret", "domains", "groups", "name_claim", "groups_claim", "auth_time"} {
		if !strings.Contains(string(page), "`"+field+"`") {
			t.Errorf("it does not explain %s", field)
		}
	}
}
