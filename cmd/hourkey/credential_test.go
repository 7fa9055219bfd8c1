package main

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/hourkey/hourkey/web/api"
)

// askEndpoint makes one call to a served credential.
func askEndpoint(t *testing.T, change func(*http.Request), method, url, password string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", password)
	r.Close = true
	if change != nil {
		change(r)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.Header.Get("Cache-Control") != "no-store" || answer.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%v, %v", err, answer.Header)
	}
	return answer.StatusCode, string(text)
}

// exported reads the value of a variable in what was printed.
func exported(t *testing.T, said, name string) string {
	t.Helper()
	_, after, found := strings.Cut(said, "export "+name+"='")
	value, _, closed := strings.Cut(after, "'")
	if !found || !closed {
		t.Fatalf("no %s in %q", name, said)
	}
	return value
}

// The attacks on a credential that is served on loopback: a guess, a page in a browser by way of a name of its own, another
// method or path.
func TestServedCredentialIsForWhoHasThePasswordAlone(t *testing.T) {
	fake, environ := enrolled(t)
	command, said := running(t, environ, "credential", "aws", "--serve", "--environment", "cloud")
	said.await(t, "serving the credential for files in cloud until")
	url, password := exported(t, said.String(), awsEndpoint), exported(t, said.String(), awsPassword)
	status, text := askEndpoint(t, nil, http.MethodGet, url, password)
	var got struct {
		AccessKeyID            string `json:"AccessKeyId"`
		SecretAccessKey, Token string
		Expiration             time.Time
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || status != http.StatusOK || got.AccessKeyID != "ASIA-lease-2" || fake.leaks(text) != 2 || time.Until(got.Expiration) < 29*time.Minute {
		t.Errorf("%d %q, %v", status, text, err)
	}
	for attack, step := range map[string]struct {
		method, url, password string
		change                func(*http.Request)
		want                  int
	}{
		"no password":       {"GET", url, "", nil, http.StatusForbidden},
		"a guess":           {"GET", url, password[:len(password)-1] + "_", nil, http.StatusForbidden},
		"a longer one":      {"GET", url, password + "A", nil, http.StatusForbidden},
		"as a bearer token": {"GET", url, "Bearer " + password, nil, http.StatusForbidden},
		"DNS rebinding":     {"GET", url, password, func(r *http.Request) { r.Host = "attacker.example" }, http.StatusForbidden},
		"another port":      {"GET", url, password, func(r *http.Request) { r.Host = "127.0.0.1:1" }, http.StatusForbidden},
		"by its name":       {"GET", url, password, func(r *http.Request) { r.Host = strings.Replace(r.URL.Host, "127.0.0.1", "localhost", 1) }, http.StatusForbidden},
		"a page's preflight": {"OPTIONS", url, password, func(r *http.Request) {
			r.Header.Set("Origin", "https://attacker.example")
			r.Header.Set("Access-Control-Request-Headers", "authorization")
		}, http.StatusNotFound},
		"HEAD":              {"HEAD", url, password, nil, http.StatusNotFound},
		"POST":              {"POST", url, password, nil, http.StatusNotFound},
		"another path":      {"GET", url + "role", password, nil, http.StatusNotFound},
		"a query":           {"GET", url + "?a=b", password, nil, http.StatusNotFound},
		"password in a URL": {"GET", url + "?token=" + password, "", nil, http.StatusForbidden},
	} {
		if status, text := askEndpoint(t, step.change, step.method, step.url, step.password); status != step.want || fake.leaks(text) > 0 {
			t.Errorf("%s: %d %q, want %d", attack, status, text, step.want)
		}
	}
	if fake.leaks(said.String()) > 0 || strings.Contains(said.String(), "ASIA") || exported(t, said.String(), "AWS_REGION") != "eu-central-1" {
		t.Errorf("what was printed holds the key, or lacks the region: %s", said)
	}
	wantLive(t, fake, 1, 3)
	send(t, command, unix.SIGINT)
	if code := ends(t, command); code != exitDone {
		t.Errorf("exit code %d, %s", code, said)
	}
	wantLive(t, fake, 0, 3)
	if answer, err := http.Get(url); err == nil {
		_ = answer.Body.Close()
		t.Error("it is still served")
	}
}

func TestServedCredentialEndsWithItsLease(t *testing.T) {
	fake, environ := enrolled(t)
	command, said := running(t, environ, "credential", "aws", "--serve", "--environment", "cloud", "--ttl", "1s")
	said.await(t, "the credential has ended")
	if code := ends(t, command); code != exitDone {
		t.Errorf("exit code %d, %s", code, said)
	}
	wantLive(t, fake, 0, 3)

	e := &endpoint{host: "127.0.0.1:1", password: api.NewSecret("p"), now: time.Now, credential: api.Credential{Expires: time.Now().Add(-time.Second)}}
	answer := answerOf(e, "127.0.0.1:1", "p")
	if answer.code != http.StatusGone {
		t.Errorf("after the end: %d", answer.code)
	}
}

// recorded is a ResponseWriter that remembers the status.
type recorded struct {
	header http.Header
	code   int
}

func (r *recorded) Header() http.Header            { return r.header }
func (r *recorded) WriteHeader(code int)           { r.code = code }
func (r *recorded) Write(text []byte) (int, error) { return len(text), nil }

func answerOf(e *endpoint, host, password string) *recorded {
	w := &recorded{header: http.Header{}}
	r, _ := http.NewRequest(http.MethodGet, "http://"+host+"/", nil)
	r.Header.Set("Authorization", password)
	e.ServeHTTP(w, r)
	return w
}

// kubernetesValues are those of a lease.
func kubernetesValues() map[string]api.Secret {
	return map[string]api.Secret{
		kubeHost: api.NewSecret("https://10.0.0.1:6443"), kubeToken: api.NewSecret("kube-token"), kubeNamespace: api.NewSecret("shop"), kubeCA: api.NewSecret("PEM"),
	}
}

// The attack: a broker that was taken over names a cluster so that its own YAML gets into the kubeconfig, a plugin for one.
func TestValueFullOfYAMLStaysOneValue(t *testing.T) {
	for _, value := range []string{"https://a\"\nusers: [{name: x, user: {exec: {command: id}}}]\n#", "https://a\x00", "https://{{}}", "https://a' , b: c"} {
		values := kubernetesValues()
		values[kubeHost], values[kubeNamespace] = api.NewSecret(value), api.NewSecret(value)
		text, err := kubeconfig(values, kubeUser{Token: "t"})
		var got kubeFile
		if err != nil || json.Unmarshal(text, &got) != nil || got.Clusters[0].Cluster.Server != value || got.Contexts[0].Context.Namespace != value || got.Users[0].User.Exec != nil {
			t.Errorf("%q: %s, %v", value, text, err)
		}
	}
}

// The attack: the token is sent in the clear.
func TestClusterWithoutTLSIsRefused(t *testing.T) {
	for _, server := range []string{"http://10.0.0.1:6443", "HTTPS://10.0.0.1", "10.0.0.1:6443", " https://10.0.0.1"} {
		values := kubernetesValues()
		values[kubeHost] = api.NewSecret(server)
		if remove, err := kubeconfigFor(values, time.Now()); err == nil || remove != nil || !values[kubeconfigPath].IsZero() {
			t.Errorf("%s: %v", server, err)
		}
	}
}

func TestKubeconfigOfExec(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	values := kubernetesValues()
	remove, err := kubeconfigFor(values, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	path := values[kubeconfigPath].Reveal()
	for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700 | os.ModeDir} {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Dir(path)); err == nil {
		t.Error("it is still there")
	}

	// What leads to no cluster gets no file; who sets KUBECONFIG would choose which programs kubectl runs.
	for _, missing := range []string{kubeHost, kubeToken} {
		values := kubernetesValues()
		delete(values, missing)
		if _, err := kubeconfigFor(values, time.Now()); err != nil || !values[kubeconfigPath].IsZero() {
			t.Errorf("without %s: %v", missing, err)
		}
	}
	values[kubeconfigPath] = api.NewSecret("/tmp/theirs")
	if _, err := kubeconfigFor(values, time.Now()); err == nil {
		t.Error("a credential's own KUBECONFIG is used")
	}
}

// The mistake: a profile, a service or a file of another environment goes before the lease, and production is written to.
func TestVariablesThatLeadPastTheLeaseAreTakenOut(t *testing.T) {
	leases := map[string]map[string]api.Secret{"kubernetes": kubernetesValues()}
	for of, name := range map[string]string{"aws": awsKeyID, "vault": "VAULT_TOKEN", "postgres": "PGPASSWORD"} {
		leases[of] = map[string]api.Secret{name: api.NewSecret("k")}
	}
	for of, names := range map[string]string{
		"aws": "AWS_PROFILE AWS_DEFAULT_PROFILE AWS_SESSION_TOKEN AWS_SECURITY_TOKEN AWS_ROLE_ARN AWS_WEB_IDENTITY_TOKEN_FILE AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE AWS_ENDPOINT_URL " +
			"AWS_ENDPOINT_URL_S3 AWS_S3_ENDPOINT AWS_CONTAINER_CREDENTIALS_RELATIVE_URI AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE " +
			"AWS_EC2_METADATA_SERVICE_ENDPOINT AWS_ACCESS_KEY AWS_SECRET_KEY AWS_ACCOUNT_ID",
		"kubernetes": "KUBECONFIG KUBE_CONFIG_PATH KUBE_CTX KUBE_INSECURE KUBE_PROXY_URL KUBE_TLS_SERVER_NAME KUBERNETES_SERVICE_HOST KUBERNETES_SERVICE_PORT KUBERNETES_MASTER HELM_KUBECONTEXT " +
			"HELM_KUBETOKEN HELM_NAMESPACE K8S_AUTH_KUBECONFIG",
		"vault":    "VAULT_ADDR VAULT_AGENT_ADDR VAULT_NAMESPACE VAULT_SKIP_VERIFY VAULT_CLIENT_CERT VAULT_CLIENT_KEY VAULT_PROXY_ADDR VAULT_HTTP_PROXY VAULT_CONFIG_PATH",
		"postgres": "PGSERVICE PGSERVICEFILE PGHOSTADDR PGPASSFILE PGSSLCERT PGSSLKEY PGOPTIONS",
		"nobody":   "AWS_PAGER AWS_CA_BUNDLE AWS_REGION KUBE_EDITOR HELM_PLUGINS VAULT_CACERT PGHOST PATH aws_profile",
	} {
		for name := range strings.FieldsSeq(names) {
			for lease, values := range leases {
				if misleads(name, values) != (lease == of) {
					t.Errorf("%s is of %s, and beside a lease of %s it is taken out: %t", name, of, lease, misleads(name, values))
				}
			}
		}
	}
}

// The attack: what is left when a variable is gone is a file in the home, or the machine's own role.
func TestToolsDoNotFallBackToTheHome(t *testing.T) {
	aws := map[string]api.Secret{awsKeyID: api.NewSecret("k")}
	shut(aws)
	if aws["AWS_CONFIG_FILE"].Reveal() != os.DevNull || aws["AWS_SHARED_CREDENTIALS_FILE"].Reveal() != os.DevNull || aws["AWS_EC2_METADATA_DISABLED"].Reveal() != "true" || len(aws) != 4 {
		t.Errorf("AWS: %v", slices.Collect(maps.Keys(aws)))
	}
	placeless := map[string]api.Secret{kubeToken: api.NewSecret("t")}
	shut(placeless)
	ours := map[string]api.Secret{kubeToken: api.NewSecret("t"), kubeconfigPath: api.NewSecret("/tmp/ours")}
	shut(ours)
	if placeless[kubeconfigPath].Reveal() != os.DevNull || ours[kubeconfigPath].Reveal() != "/tmp/ours" {
		t.Errorf("Kubernetes: %q, %q", placeless[kubeconfigPath].Reveal(), ours[kubeconfigPath].Reveal())
	}
	database := map[string]api.Secret{"PGPASSWORD": api.NewSecret("p")}
	shut(database)
	if len(database) != 1 {
		t.Errorf("PostgreSQL: %d variables", len(database))
	}
}

func TestProvidersAreReachedPastTheForwarder(t *testing.T) {
	aws, all := map[string]api.Secret{awsKeyID: api.NewSecret("k")}, kubernetesValues()
	all[awsKeyID], all["AWS_ENDPOINT_URL"], all["VAULT_ADDR"] = api.NewSecret("k"), api.NewSecret("https://minio.internal:9000"), api.NewSecret("https://vault.example:8200")
	for _, step := range []struct {
		values map[string]api.Secret
		want   []string
	}{
		{map[string]api.Secret{"PGHOST": api.NewSecret("db.example")}, nil},
		{aws, []string{".amazonaws.com", ".amazonaws.com.cn", ".api.aws"}},
		{all, []string{"10.0.0.1", "vault.example", "minio.internal"}},
	} {
		if diff := cmp.Diff(step.want, directHosts(step.values)); diff != "" {
			t.Error(diff)
		}
	}
}

// The attack: a cluster whose address holds a second host, so that a gateway's lease goes around the forwarder.
func TestAddressIsOneHost(t *testing.T) {
	for _, address := range []string{"https://10.0.0.1,backboard.railway.com", "https://*", "https://a b", "https://", "https://a%2cb", "nothing"} {
		if got := directHosts(map[string]api.Secret{kubeHost: api.NewSecret(address)}); len(got) > 0 {
			t.Errorf("%s: %v", address, got)
		}
	}
	if got := directHosts(map[string]api.Secret{kubeHost: api.NewSecret("https://[fd00::1]:6443")}); !slices.Equal(got, []string{"fd00::1"}) {
		t.Error(got)
	}
}

func TestServedCredentialAsJSON(t *testing.T) {
	_, environ := enrolled(t)
	environ = append(environ, "AWS_PROFILE=production", "AWS_SECRET_ACCESS_KEY=old")
	command, said := running(t, environ, "credential", "aws", "--serve", "--environment", "cloud", "-o", "json")
	said.await(t, "serving the credential for files in cloud until")
	text, _, _ := strings.Cut(said.String(), "hourkey: ")
	var got struct {
		Variables map[string]string
		Unset     []string
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || got.Variables[awsPassword] == "" || !slices.Contains(got.Unset, "AWS_PROFILE") || !slices.Contains(got.Unset, awsKey) {
		t.Errorf("%q, %v", text, err)
	}
	if _, holds := got.Variables[awsKey]; holds {
		t.Error("the key itself is printed")
	}
	send(t, command, unix.SIGTERM)
	if code := ends(t, command); code != exitDone {
		t.Errorf("exit code %d", code)
	}
}

func TestScopesThatAreGivenOnce(t *testing.T) {
	for scope, want := range map[string]bool{
		"cluster:pods/*:read": false, "cluster:pods/*:read,delete": true, "cluster:pods+exec/web:admin": true, "cluster:delete/*:read": false, "files:s3/a:b:write,delete": true,
	} {
		if got := needsHuman(scope); got != want {
			t.Errorf("%s: %t", scope, got)
		}
	}
}
