package system

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers"
	"github.com/hourkey/hourkey/issuers/aws"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/packs/github"
	"github.com/hourkey/hourkey/issuers/gateway/packs/supabase"
)

var update = flag.Bool("update", false, "write the table of providers into README.md")

const (
	readme       = "../../../README.md"
	tableBegins  = "<!-- providers -->\n"
	tableEnds    = "<!-- /providers -->\n"
	formerHeader = "| provider | environment | delete |"
)

// provider is one row of the table: whose declarations stand in it, and which of its walls are meant by the columns. Of several, the
// first is told in full.
type provider struct {
	name                 string
	scope                string         // read and write
	environment, deletes *regexp.Regexp // of WallFact.Stops
	issuer               broker.Issuer
	plain                *strings.Replacer // names of this test's servers → what they stand for
}

// TestREADMETellsTheProvidersTable builds the table of what each issuer declares about a lease that reads and writes on its real
// server, and compares. After a change: go test ./cmd/hourkeyd/system -run README -update.
func TestREADMETellsTheProvidersTable(t *testing.T) {
	t.Parallel()
	table := "| provider | what stops another environment | what stops deleting | how a lease ends | shortest |\n|---|---|---|---|---|\n"
	for _, p := range slices.Concat(tableOfPostgres(t), tableOfVault(t), tableOfAWS(t), tableOfKubernetes(t), tableOfGateway(t), tableOfJWT(t)) {
		table += p.row(t)
	}
	text, err := os.ReadFile(readme)
	must(t, err)
	before, now, after := cutTable(t, string(text))
	if *update {
		must(t, os.WriteFile(readme, []byte(before+tableBegins+table+tableEnds+after), 0o644))
		return
	}
	if diff := cmp.Diff(table, now); diff != "" {
		t.Errorf("README.md tells another table than the issuers declare; write it with -update:\n%s", diff)
	}
}

// cutTable finds the table: between the two comments, or where it was before there were any.
func cutTable(t *testing.T, text string) (before, table, after string) {
	t.Helper()
	if before, rest, found := strings.Cut(text, tableBegins); found {
		if table, after, found := strings.Cut(rest, tableEnds); found {
			return before, table, after
		}
	}
	before, rest, found := strings.Cut(text, formerHeader)
	if !found {
		t.Fatalf("README.md has neither %s… nor a table of providers", tableBegins)
	}
	table, after, _ = strings.Cut(formerHeader+rest, "\n\n")
	return before, table + "\n", "\n" + after
}

func (p provider) row(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	scope, err := broker.ParseScope(p.scope)
	must(t, err)
	var described broker.Description
	eventually(t, func() error { // an API server learns of admission policies a moment late
		described, err = p.issuer.Describe(ctx, broker.Wish{Scopes: []broker.Scope{scope}, TTL: 15 * time.Minute})
		return err
	})
	can := p.issuer.(broker.Declarer).Capabilities() //nolint:forcetypeassert // every target's issuer is one
	if can.Ends != described.Ends {
		t.Errorf("%s: how a lease ends is told in two ways: %q and %q", p.name, can.Ends, described.Ends)
	}
	shortest := "–"
	if can.TTLFloor > 0 {
		shortest = strings.TrimSuffix(can.TTLFloor.String(), "0s")
	}
	cells := []string{p.name, p.wall(t, described.Walls, p.environment), p.wall(t, described.Walls, p.deletes), p.plain.Replace(can.Ends), shortest}
	for at := range cells {
		cells[at] = strings.ReplaceAll(strings.TrimSuffix(cells[at], "."), "|", "\\|")
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

// wall tells the facts whose Stops fits. Whatever a wall is known to let destroy is told beside it.
func (p provider) wall(t *testing.T, walls []broker.WallFact, stops *regexp.Regexp) string {
	t.Helper()
	var told []string
	for _, fact := range walls {
		switch {
		case !stops.MatchString(fact.Stops):
			continue
		case told == nil:
			told = append(told, fmt.Sprintf("**%s** (%s): %s", fact.Wall, p.plain.Replace(fact.Stops), p.plain.Replace(fact.How)))
		default:
			told = append(told, fmt.Sprintf("%s: **%s**", p.plain.Replace(fact.Stops), fact.Wall))
		}
		if len(fact.Gives) > 0 {
			told[len(told)-1] += ", and approved like a " + broker.AllActions(fact.Gives).String()
		}
	}
	if told == nil {
		t.Errorf("%s declares no wall that stops %s: %+v", p.name, stops, walls)
	}
	return strings.Join(told, "; ")
}

// opened makes the issuer of a target as the daemon does, from the body of its kind.
func opened(t *testing.T, name, kind string, body *yaml.Node, resolve func(reference string) (broker.Secret, error)) broker.Issuer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	authority, err := gateway.NewAuthority(key.Seed(), "readme")
	must(t, err)
	target, err := issuers.Open(t.Context(), issuers.Config{
		Resolve: resolve, Signer: func(string) (ed25519.PrivateKey, error) { return key, nil }, Issuer: "https://hourkey.example",
		File: "environments/staging.yaml", Now: time.Now, Authority: authority,
	}, broker.TargetRef{Environment: "staging", Target: name}, kind, body)
	must(t, err)
	if closer, can := target.Issuer.(interface{ Close() error }); can {
		t.Cleanup(func() { _ = closer.Close() })
	}
	return target.Issuer
}

// openedFrom is opened, of the staging environment that an outpost would be configured with.
func openedFrom(t *testing.T, files outpostFiles, name, kind string, more map[string]string) broker.Issuer {
	t.Helper()
	var targets map[string]map[string]yaml.Node
	must(t, yaml.Unmarshal([]byte(files.targets["staging"]), &targets))
	body := targets[name][kind]
	return opened(t, name, kind, &body, func(reference string) (broker.Secret, error) {
		file := strings.TrimPrefix(reference, "file:secrets/")
		for _, known := range []map[string]string{files.secrets, files.plain, more} {
			if secret := known[file]; secret != "" {
				return broker.NewSecret(secret), nil
			}
		}
		return broker.Secret{}, fmt.Errorf("no secret %s", reference)
	})
}

func parsed(t *testing.T, format string, args ...any) *yaml.Node {
	t.Helper()
	var document yaml.Node
	must(t, yaml.Unmarshal(fmt.Appendf(nil, format, args...), &document))
	return document.Content[0]
}

func tableOfPostgres(t *testing.T) []provider {
	t.Helper()
	d := shared.database(t, "staging")
	issuer := opened(t, "orders-db", "postgres", parsed(t, "{dsn: env:DSN, owner: %s}", d.owner), func(string) (broker.Secret, error) { return broker.NewSecret(d.dsn()), nil })
	return []provider{{
		"PostgreSQL", rw, regexp.MustCompile("^another database"), regexp.MustCompile("DELETE|blanking"), issuer, strings.NewReplacer(d.owner, "its owner", d.name, "the one database"),
	}}
}

func tableOfVault(t *testing.T) []provider {
	t.Helper()
	s, files := newStrongroom(t)
	data := s.Read(t, "kv/data/hourkey/staging")["data"].(map[string]any)["data"].(map[string]any) //nolint:forcetypeassert // or the test panics, rightly
	more := map[string]string{"vault:kv/data/hourkey/staging#secret_id": fmt.Sprint(data["secret_id"])}
	accepted := strings.NewReplacer(": the test closed every database", "", ": the test looked", "", ": the test keeps them", "", "the test closed every database", "", "the test looked", "")
	return []provider{
		{"[Vault](docs/issuers/vault.md), PostgreSQL's logins", rw, regexp.MustCompile("other databases"), regexp.MustCompile("^functions|DELETE|blanking"), openedFrom(t, files, "orders-db", "vault", more), accepted},
		{"[Vault](docs/issuers/vault.md), KV secrets", "app-secrets:app/*:read,write", regexp.MustCompile("^other mounts"), regexp.MustCompile("^overwriting|^other paths"), openedFrom(t, files, "app-secrets", "vault", more), accepted},
	}
}

func tableOfAWS(t *testing.T) []provider {
	t.Helper()
	m, files := newMinIO(t)
	own, err := aws.New(aws.Config{
		Ref: broker.TargetRef{Environment: "staging", Target: "files"}, Now: time.Now, Transport: amazon{},
		Settings:  aws.Settings{Role: "arn:aws:iam::111122223333:role/staging", Region: "eu-central-1", AccessKey: "env:ID", SecretKey: "env:KEY", Resources: []string{"s3/acme-staging/*"}},
		AccessKey: broker.NewSecret("AKIAEXAMPLE"), SecretKey: broker.NewSecret("secret"),
	})
	must(t, err)
	const rw = "files:s3/acme-staging/*:read,write"
	environment, deletes := regexp.MustCompile("^another environment"), regexp.MustCompile("^the calls that delete|^losing|own rules")
	return []provider{
		{"[AWS](docs/issuers/aws.md)", rw, environment, deletes, own, strings.NewReplacer(" in s3/acme-staging", "")},
		{"[MinIO](docs/issuers/aws.md#a-server-that-is-not-aws), S3 with STS", rw, environment, deletes, openedFrom(t, files, "files", "aws", nil), strings.NewReplacer(m.tap.URL, "the server", " in s3/acme-staging", "")},
	}
}

// amazon answers as AWS does where the bucket is versioned. What is declared of it is the issuer's; see its own tests for the rest.
type amazon struct{}

func (amazon) RoundTrip(request *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if !strings.HasPrefix(request.URL.Host, "sts.") {
		fmt.Fprint(w, `<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`)
		return w.Result(), nil
	}
	if err := request.ParseForm(); err != nil {
		return nil, err
	}
	if request.Form.Get("Action") == "GetCallerIdentity" {
		fmt.Fprint(w, `<R><GetCallerIdentityResult><Arn>arn:aws:iam::111122223333:user/hourkey</Arn></GetCallerIdentityResult></R>`)
		return w.Result(), nil
	}
	name := request.Form.Get("RoleSessionName")
	fmt.Fprintf(w, `<R><AssumeRoleResult><AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/staging/%[1]s</Arn><AssumedRoleId>AROAEXAMPLE:%[1]s</AssumedRoleId></AssumedRoleUser>
<Credentials><AccessKeyId>ASIAEXAMPLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>%[2]s</Expiration></Credentials>
<PackedPolicySize>41</PackedPolicySize></AssumeRoleResult></R>`, name, time.Now().Add(15*time.Minute).UTC().Format(time.RFC3339))
	return w.Result(), nil
}

func tableOfKubernetes(t *testing.T) []provider {
	t.Helper()
	_, files := newCluster(t)
	return []provider{{
		"[Kubernetes](docs/issuers/kubernetes.md)", "cluster:deployments.apps/*:read,write", regexp.MustCompile("^another namespace"), regexp.MustCompile("^delet|^scaling|^overwriting"),
		openedFrom(t, files, "cluster", "kubernetes", nil), strings.NewReplacer("shop-staging", "the namespace"),
	}}
}

// hosted stands for a provider that nobody can run: what is declared of it is the gateway's, and not its own.
type hosted struct{ gateway.Provider }

func (hosted) Identify(context.Context) (broker.Identity, error) {
	return broker.Identity{ID: "hosted"}, nil
}
func (hosted) Inventory(context.Context) ([]broker.Fact, error) { return nil, nil }

// tableOfGateway: Railway as it is faithfully done, and GitHub and Supabase, of whom the same must be declared.
func tableOfGateway(t *testing.T) []provider {
	t.Helper()
	r := newRail(t)
	railway := opened(t, "railway", "railway", parsed(t, "{token: env:TOKEN, project: shop, environment: staging, url: %q}", r.http.URL), func(string) (broker.Secret, error) { return broker.NewSecret(r.AccountToken), nil })
	one := provider{"[Railway](docs/issuers/railway.md), [GitHub](docs/issuers/github.md), [Supabase](docs/issuers/supabase.md)", "railway:service/*:read,write", regexp.MustCompile("^another environment"), regexp.MustCompile("^delete"), railway, strings.NewReplacer()}
	want := strings.TrimPrefix(one.row(t), "| "+one.name)
	gitHub, err := github.Settings{Repositories: []string{"acme/shop"}}.Pack()
	must(t, err)
	supabasePack, err := supabase.New()
	must(t, err)
	for _, pack := range []gateway.Pack{gitHub, supabasePack} {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		must(t, err)
		authority, err := gateway.NewAuthority(key.Seed(), "readme")
		must(t, err)
		issuer, err := gateway.New(gateway.Config{Ref: broker.TargetRef{Environment: "staging", Target: "it"}, Pack: pack, Provider: hosted{}, Authority: authority, Now: time.Now, Close: func() {}})
		must(t, err)
		same := provider{pack.Name(), "it:" + pack.Kinds()[0] + "/*:read,write", one.environment, one.deletes, issuer, one.plain}
		if row := strings.TrimPrefix(same.row(t), "| "+same.name); row != want {
			t.Errorf("%s declares\n%swhich is not what the others do:\n%s", pack.Name(), row, want)
		}
	}
	return []provider{one}
}

func tableOfJWT(t *testing.T) []provider {
	t.Helper()
	issuer := opened(t, "orders", "jwt", parsed(t, `{audience: "https://orders.example", resources: ["orders/*"]}`), nil)
	return []provider{{
		"your services (`jwt`)", "orders:orders/*:read,write", regexp.MustCompile("^another environment"), regexp.MustCompile("^actions and resources"), issuer,
		strings.NewReplacer("https://hourkey.example/t/staging/introspect", "the token issuer", "https://hourkey.example", "the broker"),
	}}
}
