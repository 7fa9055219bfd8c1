package railway

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	faithful "github.com/hourkey/hourkey/issuers/gateway/faithful/railway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// world is a faithful Railway on a port, with the shop of the drill in it.
type world struct {
	t      *testing.T
	server *faithful.Server
	faithful.World
	url   string
	pack  *Pack
	asked atomic.Int32 // requests that came
	clock atomic.Int64 // seconds that went by
	fault atomic.Pointer[http.HandlerFunc]
}

func newWorld(t *testing.T, limit int) *world {
	t.Helper()
	w := &world{t: t, pack: newPack(t)}
	w.server = faithful.New(faithful.Config{Now: w.now, HourlyLimit: limit})
	w.World = w.server.Seed()
	w.server.Furnish(w.World)
	web := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.asked.Add(1)
		if fault := w.fault.Load(); fault != nil {
			(*fault)(rw, r)
			return
		}
		w.server.ServeHTTP(rw, r)
	}))
	t.Cleanup(web.Close)
	w.url = web.URL
	return w
}

func (w *world) now() time.Time {
	return time.Date(2026, 4, 24, 12, 0, 0, 0, time.UTC).Add(time.Duration(w.clock.Load()) * time.Second)
}

func (w *world) pass(d time.Duration) { w.clock.Add(int64(d.Seconds())) }

func (w *world) open(token, kind, project, environment string) *Provider {
	w.t.Helper()
	p, err := Open(Config{Settings: Settings{Project: project, Environment: environment, TokenKind: kind, URL: w.url}, Token: broker.NewSecret(token), Now: w.now, Pack: w.pack})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) staging() *Provider { return w.open(w.AccountToken, "", "shop", "staging") }

// resolve judges a document and looks up what it names.
func (w *world) resolve(p *Provider, document string) ([]gateway.Found, error) {
	w.t.Helper()
	v := w.pack.Judge(call(w.t, document, nil), false)
	if v.Class == judge.Refused {
		w.t.Fatalf("%s: %s", document, v.Refusal)
	}
	var named []judge.Named
	for _, o := range v.Operations {
		named = append(named, o.Touches...)
	}
	return p.Resolve(w.t.Context(), named, v.Class == judge.Delete || v.Class == judge.Admin)
}

// lives gives what is found as "volume/shop-data: production, staging".
func lives(found []gateway.Found) []string {
	var all []string
	for _, f := range found {
		var places []string
		for _, p := range f.Places {
			places = append(places, p.Shown)
		}
		all = append(all, string(f.Names[len(f.Names)-1])+": "+strings.Join(places, ", "))
	}
	return all
}

func (w *world) expect(p *Provider, document string, want ...string) {
	w.t.Helper()
	found, err := w.resolve(p, document)
	if err != nil {
		w.t.Errorf("%s: %v", document, err)
		return
	}
	if got := lives(found); !slices.Equal(got, want) {
		w.t.Errorf("%s\n  lives in %q\n  want     %q", document, got, want)
	}
}

// refused expects a denial that says something.
func (w *world) refused(p *Provider, document string, says ...string) {
	w.t.Helper()
	found, err := w.resolve(p, document)
	if broker.CodeOf(err) != broker.CodeDenied {
		w.t.Errorf("%s: %v, error %v: want %s", document, lives(found), err, broker.CodeDenied)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			w.t.Errorf("%s: says %q, not %q", document, err, s)
		}
	}
}

func TestIdentity(t *testing.T) {
	w := newWorld(t, 0)
	want := "railway:" + w.Shop + "/" + w.Staging
	for _, p := range []*Provider{
		w.staging(), w.open(w.AccountToken, "account", w.Shop, w.Staging), w.open(w.WorkspaceToken, "workspace", "shop", "staging"),
		w.open(w.StagingToken, "project", "shop", "staging"), w.open(w.StagingToken, "project", w.Shop, w.Staging),
	} {
		if s := p.Sight(); s.Environment != "" || s.Project != "" {
			t.Error("sight before anybody was asked")
		}
		got, err := p.Identify(t.Context())
		if err != nil || got.ID != want || !strings.HasPrefix(got.Shown, "project shop, environment staging, at 127.0.0.1") {
			t.Errorf("%+v, %v", got, err)
		}
		if s := p.Sight(); s.Environment != w.Staging || s.Project != w.Shop || s.Secrets {
			t.Errorf("sight %+v", s)
		}
	}
}

// TestANameThatTwoBearIsNobodys: a second project of the name, in another workspace.
func TestANameThatTwoBearIsNobodys(t *testing.T) {
	w := newWorld(t, 0)
	other := w.server.AddWorkspace("other", w.User)
	w.server.AddEnvironment(w.server.AddProject(other, "shop"), "staging")
	_, err := w.staging().Identify(t.Context())
	if broker.CodeOf(err) != broker.CodeUnavailable || !strings.Contains(err.Error(), "2 of the name") {
		t.Error(err)
	}
	w.server.AddEnvironment(w.Billing, "production")
	_, err = w.open(w.AccountToken, "", w.Billing, "production").Identify(t.Context())
	if !strings.Contains(fmt.Sprint(err), "2 of the name") {
		t.Error(err)
	}
	twin := w.server.AddService(w.Shop, "web", "evil", w.Staging)
	w.expect(w.open(w.AccountToken, "", w.Shop, w.Staging), `mutation { serviceInstanceRedeploy(serviceId: "`+w.Web+`", environmentId: "`+w.Staging+`") }`, "service/"+w.Web+": staging")
	w.expect(w.open(w.AccountToken, "", w.Shop, w.Staging), `mutation { serviceInstanceRedeploy(serviceId: "`+twin+`", environmentId: "`+w.Staging+`") }`, "service/"+twin+": staging")
}

// TestNineSecondsResolved: what the reviewer would have read.
func TestNineSecondsResolved(t *testing.T) {
	w := newWorld(t, 0)
	found, err := w.resolve(w.staging(), `mutation { volumeDelete(volumeId: "`+w.ShopData+`") }`)
	if err != nil {
		t.Fatal(err)
	}
	if got := lives(found); !slices.Equal(got, []string{"volume/shop-data: production, staging"}) {
		t.Error(got)
	}
	want := "volume shop-data lives in production (4.1 of 5 GB, /var/lib/postgresql/data of service postgres) and staging (4.1 of 5 GB, /var/lib/postgresql/data of service postgres); " +
		"4 backups lie on it, and go with it (3 in production and 1 in staging)"
	if found[0].Says != want {
		t.Errorf("says %q", found[0].Says)
	}
	if len(found[0].Facts) != 2 || found[0].Facts[0].Text != "4.1 of 5 GB" || found[0].Facts[0].At != w.now() {
		t.Errorf("facts %+v", found[0].Facts)
	}
	if found[0].Names[0] != broker.Resource("volume/"+w.ShopData) || found[0].Places[0].Identity != "railway:"+w.Shop+"/"+w.Production {
		t.Errorf("%+v", found[0])
	}
}

// TestProductionsIDWithStagingsEnvironment: an environment beside an id does not make the id staging's.
func TestProductionsIDWithStagingsEnvironment(t *testing.T) {
	w := newWorld(t, 0)
	p := w.staging()
	domains := w.server.IDs("CustomDomain") // production's is the older
	w.refused(p, `mutation { customDomainUpdate(id: "`+domains[0]+`", environmentId: "`+w.Staging+`") }`, "domain production.shop.example.com", "staging")
	w.expect(p, `mutation { customDomainUpdate(id: "`+domains[1]+`", environmentId: "`+w.Staging+`") }`, "service/web: staging")
	w.expect(p, `mutation { customDomainDelete(id: "`+domains[0]+`") }`, "service/web: production")
	w.refused(p, `mutation { volumeInstanceUpdate(volumeId: "`+w.ShopData+`", environmentId: "`+w.BillingProduction+`", input: {serviceId: "`+w.Web+`"}) }`, "project shop", "project billing")
	w.refused(p, `mutation { variableUpsert(input: {projectId: "`+w.Billing+`", environmentId: "`+w.Staging+`", name: "A", value: "1"}) }`, "project shop", "billing")
	w.refused(p, `mutation { variableUpsert(input: {projectId: "`+w.Shop+`", environmentId: "`+w.Staging+`", serviceId: "`+w.BillingAPI+`", name: "A", value: "1"}) }`, "project billing")
	// A backup of production's instance, said to lie on staging's.
	w.refused(p, `mutation { volumeInstanceBackupDelete(volumeInstanceId: "`+w.ShopDataStaging+`", volumeInstanceBackupId: "`+w.ShopDataBackups[0]+`") { workflowId } }`, "no such backup")
	w.refused(p, `mutation { volumeInstanceUpdate(volumeId: "`+w.RenderCache+`", environmentId: "`+w.Production+`", input: {serviceId: "`+w.Web+`"}) }`, "no part in production", "it lives in staging")
}

// TestEnvironmentOmitted: every environment is meant.
func TestEnvironmentOmitted(t *testing.T) {
	w := newWorld(t, 0)
	p := w.staging()
	w.expect(p, `mutation { volumeInstanceUpdate(volumeId: "`+w.ShopData+`", input: {serviceId: "`+w.Postgres+`"}) }`, "volume/shop-data: production, staging", "service/postgres: production, staging")
	w.expect(p, `mutation { volumeInstanceUpdate(volumeId: "`+w.ShopData+`", environmentId: "`+w.Staging+`", input: {serviceId: "`+w.Postgres+`"}) }`, "volume/shop-data: staging", "service/postgres: staging")
	w.expect(p, `mutation { volumeCreate(input: {projectId: "`+w.Shop+`", mountPath: "/d"}) { id } }`, "volume/(new): production, staging")
	w.expect(p, `mutation { volumeCreate(input: {projectId: "`+w.Shop+`", mountPath: "/d", environmentId: "`+w.Staging+`"}) { id } }`, "volume/(new): staging")
	w.expect(p, `mutation { volumeDelete(volumeId: "`+w.RenderCache+`") }`, "volume/render-cache: staging")
	w.expect(p, `mutation { bucketCreate(input: {projectId: "`+w.Shop+`", environmentId: "`+w.Staging+`"}) { id } }`, "bucket/(new): production, staging")
	w.expect(p, `mutation { projectUpdate(id: "`+w.Shop+`", input: {description: "d"}) { id } }`, "project/shop: production, staging")
}

// TestNoForkStandsForAllThatAreNone: Railway's own words for creating, updating and deleting services.
func TestNoForkStandsForAllThatAreNone(t *testing.T) {
	w := newWorld(t, 0)
	fork := w.server.AddFork(w.Staging, "pr-7")
	p := w.staging()
	update := func(in string) string {
		return `mutation { serviceInstanceUpdate(serviceId: "` + w.Web + `", ` + in + `input: {startCommand: "x"}) }`
	}
	w.expect(p, update(`environmentId: "`+w.Staging+`", `), "service/web: production, staging")
	w.expect(p, update(`environmentId: "`+fork+`", `), "service/web: pr-7")
	w.expect(p, update(``), "service/web: pr-7, production, staging")
	w.expect(p, `mutation { serviceDelete(id: "`+w.Web+`", environmentId: "`+fork+`") }`, "service/web: pr-7")
	w.expect(p, `mutation { serviceCreate(input: {projectId: "`+w.Shop+`", environmentId: "`+w.Staging+`"}) { id } }`, "service/(new): production, staging")
	w.expect(p, `mutation { serviceCreate(input: {projectId: "`+w.Shop+`", environmentId: "`+fork+`"}) { id } }`, "service/(new): pr-7")
	w.expect(p, `mutation { serviceInstanceRedeploy(serviceId: "`+w.Web+`", environmentId: "`+w.Staging+`") }`, "service/web: staging")
	found, err := w.resolve(p, update(`environmentId: "`+w.Staging+`", `))
	if err != nil || !strings.Contains(found[0].Says, "staging is no fork") {
		t.Errorf("says %v, %v", found, err)
	}
}

// TestAnIDThatResolvesNowhere is refused, whatever kind it is said to be.
func TestAnIDThatResolvesNowhere(t *testing.T) {
	w := newWorld(t, 0)
	p := w.staging()
	if _, err := p.Identify(t.Context()); err != nil {
		t.Fatal(err)
	}
	for kind := range resolvers() {
		if isOfAccount(kind) || kind == "signals" {
			continue
		}
		for _, id := range []string{"3d2c42fb-9f0b-4c38-8d5f-0a5d1a1c9e42", "*", "x\ny", "../" + w.ShopData, w.Staging + "/" + w.Production} {
			for _, in := range []string{"", w.Staging, w.Web} {
				found, err := p.Resolve(t.Context(), []judge.Named{{Kind: kind, ID: id, In: in, At: "input.id"}}, false)
				if broker.CodeOf(err) != broker.CodeDenied || !strings.Contains(err.Error(), "input.id") {
					t.Errorf("%s %q in %q: %v, %v", kind, id, in, found, err)
				}
			}
		}
	}
	w.refused(p, `mutation { volumeDelete(volumeId: "3d2c42fb-9f0b-4c38-8d5f-0a5d1a1c9e42") }`, "volumeId", "none of the projects")
}

// TestOfAnotherProject: it is found there, and that is another place.
func TestOfAnotherProject(t *testing.T) {
	w := newWorld(t, 0)
	p := w.staging()
	volume := w.server.IDs("Volume")[2]
	w.expect(p, `mutation { volumeDelete(volumeId: "`+volume+`") }`, "volume/invoices: production of project billing")
	w.expect(p, `mutation { serviceConnect(id: "`+w.BillingAPI+`", input: {image: "x"}) { id } }`, "service/api: production of project billing")
	w.expect(p, `{ project(id: "`+w.Billing+`") { name } }`, "project/billing: production of project billing")
	w.expect(p, `{ project(id: "`+w.Shop+`") { name } }`, "environment/staging: staging")
	w.expect(p, `{ environment(id: "`+w.Production+`") { name } }`, "environment/production: production")
	found, err := w.resolve(p, `{ project(id: "`+w.Billing+`") { name } }`)
	if err != nil || found[0].Places[0].Identity != "railway:"+w.Billing+"/"+w.BillingProduction {
		t.Errorf("%v, %v", found, err)
	}
}

// TestEveryKindIsFound: one thing of each kind, where it lives.
func TestEveryKindIsFound(t *testing.T) {
	w := newWorld(t, 0)
	last := func(kind string) string { // staging's are the younger
		all := w.server.IDs(kind)
		return all[len(all)-1]
	}
	staging := func(of string) string { return w.server.Instance(of, w.Staging) }
	patches := w.server.IDs("EnvironmentPatch")
	for _, fresh := range []bool{false, true} {
		for _, c := range []struct {
			named judge.Named
			want  string
		}{
			{judge.Named{Kind: "project", ID: w.Shop}, "project/shop: production, staging"},
			{judge.Named{Kind: "project", ID: w.Shop, In: w.Staging}, "environment/staging: staging"},
			{judge.Named{Kind: "project-view", ID: w.Shop, In: w.Production}, "environment/production: production"},
			{judge.Named{Kind: "environment-view", ID: w.Production}, "environment/production: production"},
			{judge.Named{Kind: "service-view", ID: w.Web}, "service/web: staging"},
			{judge.Named{Kind: "project-service", ID: w.Web, In: w.Staging}, "service/web: staging"},
			{judge.Named{Kind: "service-instance", ID: staging(w.Web)}, "service/web: staging"},
			{judge.Named{Kind: "volume-instance", ID: w.ShopDataProduction}, "volume/shop-data: production"},
			{judge.Named{Kind: "backup", ID: w.ShopDataProduction + "/" + w.ShopDataBackups[1], At: "a/b"}, "volume/shop-data: production"},
			{judge.Named{Kind: "deployment", ID: w.server.IDs("Deployment")[0]}, "service/web: production"},
			{judge.Named{Kind: "bucket", ID: w.Shop + "/" + last("Bucket"), In: w.Staging, At: "a/b"}, "bucket/uploads: staging"},
			{judge.Named{Kind: "plugin", ID: last("Plugin")}, "plugin/queue: production, staging"},
			{judge.Named{Kind: "group", ID: last("Group")}, "group/cluster: production, staging"},
			{judge.Named{Kind: "service-domain", ID: last("ServiceDomain")}, "service/web: staging"},
			{judge.Named{Kind: "tcp-proxy", ID: last("TCPProxy")}, "service/postgres: staging"},
			{judge.Named{Kind: "deployment-trigger", ID: last("DeploymentTrigger")}, "service/web: staging"},
			{judge.Named{Kind: "private-network", ID: last("PrivateNetwork"), In: w.Staging}, "environment/staging: staging"},
			{judge.Named{Kind: "private-network-endpoint", ID: last("PrivateNetworkEndpoint")}, "service/postgres: staging"},
			{judge.Named{Kind: "dashboard", ID: last("ObservabilityDashboard")}, "environment/staging: staging"},
			{judge.Named{Kind: "integration", ID: last("Integration")}, "project/shop: production, staging"},
			{judge.Named{Kind: "project-token", ID: w.server.IDs("ProjectToken")[0]}, "environment/production: production"},
			{judge.Named{Kind: "project-invitation", ID: last("ProjectInvitation")}, "project/shop: production, staging"},
			{judge.Named{Kind: "sandbox", ID: last("Sandbox"), In: w.Staging}, "sandbox/" + last("Sandbox") + ": staging"},
			{judge.Named{Kind: "sandbox-checkpoint", ID: last("SandboxCheckpoint"), In: w.Staging}, "sandbox/" + last("SandboxCheckpoint") + ": staging"},
			{judge.Named{Kind: "patch", ID: patches[0]}, "environment/production: production"},
			{judge.Named{Kind: "variables", ID: w.Shop + "/" + w.Staging, In: w.Web, At: "a/b"}, "service/web: staging"},
			{judge.Named{Kind: "variables", ID: w.Shop + "/" + w.Staging, At: "a/b"}, "environment/staging: staging"},
			{judge.Named{Kind: "signals", ID: "project:" + w.Shop}, "project/shop: production, staging"},
			{judge.Named{Kind: "signals", ID: "workspace:" + w.Workspace}, "workspace/workspace:" + w.Workspace + ": the whole account, which is no environment's"},
			{judge.Named{Kind: "account"}, "account/*: the whole account, which is no environment's"},
			{judge.Named{Kind: "workspace", ID: w.Workspace}, "workspace/" + w.Workspace + ": the whole account, which is no environment's"},
			{judge.Named{Kind: "project-view"}, "environment/staging: staging"},
			{judge.Named{Kind: "service"}, "service/*: production, staging"},
		} {
			found, err := w.staging().Resolve(t.Context(), []judge.Named{c.named}, fresh)
			if err != nil {
				t.Errorf("%+v: %v", c.named, err)
				continue
			}
			if got := lives(found)[0]; got != c.want {
				t.Errorf("%+v lives in %q, want %q", c.named, got, c.want)
			}
			if found[0].Says == "" {
				t.Errorf("%+v: nothing is said", c.named)
			}
		}
	}
}

// TestAProjectTokenSeesOneEnvironment: what it does not see may be reached all the same.
func TestAProjectTokenSeesOneEnvironment(t *testing.T) {
	w := newWorld(t, 0)
	p := w.open(w.StagingToken, "project", "shop", "staging")
	w.expect(p, `mutation { volumeDelete(volumeId: "`+w.ShopData+`") }`, "volume/shop-data: staging, "+unseen)
	w.expect(p, `mutation { serviceInstanceRedeploy(serviceId: "`+w.Web+`", environmentId: "`+w.Staging+`") }`, "service/web: staging")
}

func TestInventory(t *testing.T) {
	w := newWorld(t, 0)
	facts, err := w.staging().Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range facts {
		got = append(got, f.About)
	}
	slices.Sort(got)
	if want := []string{"service/postgres", "service/web", "volume/render-cache", "volume/shop-data"}; !slices.Equal(got, want) {
		t.Error(got)
	}
}

// TestScopesAreFoundByName for the description of a request.
func TestScopesAreFoundByName(t *testing.T) {
	w := newWorld(t, 0)
	p := w.staging()
	for name, want := range map[broker.Resource]string{
		"volume/shop-data": "volume/shop-data: production, staging", "volume/render-cache": "volume/render-cache: staging",
		broker.Resource("service/" + w.Web): "service/web: production, staging", "service/(new)": "service/(new): staging",
		"sandbox/x": "sandbox/x: staging", "account/x": "account/x: the whole account, which is no environment's",
	} {
		found, err := p.Find(t.Context(), name)
		if err != nil || lives([]gateway.Found{found})[0] != want {
			t.Errorf("%s: %v, %v", name, found, err)
		}
	}
	if _, err := p.Find(t.Context(), "volume/nothing"); broker.CodeOf(err) != broker.CodeInvalid {
		t.Error(err)
	}
}
