package kubernetes_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/kubernetes"
	"github.com/hourkey/hourkey/issuers/kubernetes/kubetest"
)

// shared starts the one server for all tests of this package, when the first of them wants it; stopShared ends it.
var (
	stopShared = func() {}
	shared     = sync.OnceValues(func() (*kubetest.Server, error) {
		server, err := kubetest.New("--runtime-config=api/all=true", "--feature-gates=PodCertificateRequest=true") // every kind that there is
		if err == nil {
			stopShared = server.Stop
		}
		return server, err
	})
)

// bare starts a second server, without the admission that walls are made of: a cluster of its own.
var (
	stopBare = func() {}
	bare     = sync.OnceValues(func() (*kubetest.Server, error) {
		server, err := kubetest.New("--disable-admission-plugins=ValidatingAdmissionPolicy,PodSecurity")
		if err == nil {
			stopBare = server.Stop
		}
		return server, err
	})
)

func bareServer(tb testing.TB) *kubetest.Server {
	tb.Helper()
	return orSkip(tb, bare)
}

func orSkip(tb testing.TB, start func() (*kubetest.Server, error)) *kubetest.Server {
	tb.Helper()
	server, err := start()
	issuertest.Needs(tb, err, kubetest.ErrAbsent)
	return server
}

func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.parallel").Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) { // nobody asked for another number
		_ = flag.Set("test.parallel", "6") // most of the time they wait for the server, or for time to pass
	}
	code := m.Run()
	stopShared()
	stopBare()
	os.Exit(code)
}

// site is a staging namespace beside production's in the same cluster, made as the documentation says.
type site struct {
	*kubetest.Server
	staging, production string // namespaces
	token               string // of the broker's account
	ref                 broker.TargetRef
}

const objects = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: NS}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: powerful, namespace: NS}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: NS}
data: {color: blue, size: large}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other, namespace: NS}
data: {color: red}
---
apiVersion: v1
kind: Secret
metadata: {name: password, namespace: NS}
stringData: {value: not-yours}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NS}
spec: {replicas: 2, revisionHistoryLimit: 5, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: web:1}]}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: NS}
spec: {replicas: 2, selector: {matchLabels: {app: db}}, template: {metadata: {labels: {app: db}}, spec: {containers: [{name: db, image: db:1}]}}}
`

var serial atomic.Int32

// prepared maps a server to the once by which it gets what all its sites share.
var prepared sync.Map

// namespace is one with the restricted Pod Security level, and what is in it.
func namespace(name string, labels ...string) string {
	if labels == nil {
		labels = []string{"pod-security.kubernetes.io/enforce: restricted"}
	}
	return "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + name + ", labels: {" + strings.Join(labels, ", ") + "}}\n---" + strings.ReplaceAll(objects, "NS", name)
}

// newSite makes one on the server that all tests share.
func newSite(tb testing.TB) *site {
	tb.Helper()
	return newSiteOn(tb, orSkip(tb, shared))
}

// newSiteOn makes one on a server of the test's own. changes are put into the YAML of the broker's account: old, new, old, new…
func newSiteOn(tb testing.TB, server *kubetest.Server, changes ...string) *site {
	tb.Helper()
	s := makeSite(tb, server, changes...)
	s.awaitPolicies(tb)
	return s
}

// makeSite does not wait until the admission policies are in force.
func makeSite(tb testing.TB, server *kubetest.Server, changes ...string) *site {
	tb.Helper()
	s := &site{
		Server: server, staging: fmt.Sprintf("staging-%d", serial.Add(1)), production: "production",
		ref: broker.TargetRef{Environment: "staging", Target: "shop"},
	}
	server.Apply(tb, namespace(s.staging))
	once, _ := prepared.LoadOrStore(server, &sync.Once{})
	once.(*sync.Once).Do(func() { //nolint:forcetypeassert // as stored
		server.Apply(tb, namespace(s.production))
		server.Apply(tb, kubernetes.PolicyYAML())
	})
	server.Apply(tb, strings.NewReplacer(changes...).Replace(kubernetes.AdminYAML(s.staging)))
	s.token = s.tokenOf(tb, "hourkey", s.staging)
	return s
}

// awaitPolicies waits until the server, which learns of admission policies a moment late, refuses what they refuse.
func (s *site) awaitPolicies(tb testing.TB) {
	tb.Helper()
	for probe, token := range map[string]string{"hk-policy-probe": s.Token(), "hk-ends-probe": s.Token(), "policy-probe": s.token} {
		body := map[string]any{"metadata": map[string]any{"name": probe}}
		issuertest.Until(tb, func() bool {
			err := s.Do(tb.Context(), token, http.MethodPost, s.path("serviceaccounts?dryRun=All"), body, nil)
			return err != nil && strings.Contains(err.Error(), "ValidatingAdmissionPolicy")
		})
	}
}

// tokenOf makes a token for an account, as the superuser.
func (s *site) tokenOf(tb testing.TB, namespace, account string) string {
	tb.Helper()
	var answer struct{ Status struct{ Token string } }
	path := "/api/v1/namespaces/" + namespace + "/serviceaccounts/" + account + "/token"
	if err := s.Do(tb.Context(), s.Token(), http.MethodPost, path, map[string]any{"spec": map[string]any{"expirationSeconds": 3600}}, &answer); err != nil {
		tb.Fatal(err)
	}
	return answer.Status.Token
}

// config is what the broker opens the staging target with.
func (s *site) config(accept ...string) kubernetes.Config {
	settings := kubernetes.Settings{Server: s.URL, CA: "file:ca.pem", Token: "file:token", Namespace: s.staging}
	for _, object := range accept {
		settings.Accept = append(settings.Accept, kubernetes.Accept{Object: object, Why: "the test says so"})
	}
	return kubernetes.Config{Ref: s.ref, Settings: settings, Now: time.Now, Resolve: s.resolve}
}

func (s *site) resolve(_, reference string) (broker.Secret, error) {
	switch reference {
	case "file:ca.pem":
		return broker.NewSecret(string(s.CA)), nil
	case "file:token":
		return broker.NewSecret(s.token + "\n"), nil // as a file has it
	}
	return broker.Secret{}, errors.New("no such reference")
}

func (s *site) issuer(tb testing.TB, accept ...string) *kubernetes.Issuer {
	tb.Helper()
	return open(tb, s.config(accept...))
}

func open(tb testing.TB, config kubernetes.Config) *kubernetes.Issuer {
	tb.Helper()
	issuer, err := kubernetes.New(config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = issuer.Close() })
	return issuer
}

// What every adapter's tests do alike, by short names.
var (
	describe = issuertest.Describe
	orderFor = issuertest.Order
	findings = issuertest.Findings
	next     = issuertest.Next
)

func wish(tb testing.TB, texts ...string) broker.Wish {
	tb.Helper()
	return issuertest.Wish(tb, "shop", 15*time.Minute, texts...)
}

// lease issues what the scopes say and ends it with the test.
func lease(tb testing.TB, issuer *kubernetes.Issuer, texts ...string) broker.Credential {
	tb.Helper()
	return leaseBy(tb, issuer, describe(tb, issuer, wish(tb, texts...)))
}

// leaseBy issues what a description says and ends it with the test.
func leaseBy(tb testing.TB, issuer *kubernetes.Issuer, d broker.Description) broker.Credential {
	tb.Helper()
	credential, _ := issuertest.Lease(tb, issuer, orderFor(d, fmt.Sprintf("hk-test-%d", serial.Add(1))))
	return credential
}

func tokenOf(c broker.Credential) string { return c.Values["KUBE_TOKEN"].Reveal() }

// try makes one call with a credential, over a connection of its own. path is below the staging namespace, unless it begins with a slash.
func (s *site) try(ctx context.Context, c broker.Credential, method, path string, body any, header ...string) error {
	return s.Do(ctx, tokenOf(c), method, s.path(path), body, nil, header...)
}

// path completes the path of a resource in the staging namespace: "configmaps/x", "apps/v1/deployments/web".
func (s *site) path(path string) string {
	if strings.HasPrefix(path, "/") {
		return path
	}
	for _, group := range []string{"apps/v1", "batch/v1", "autoscaling/v2", "networking.k8s.io/v1", "rbac.authorization.k8s.io/v1", "policy/v1", "events.k8s.io/v1", "example.com/v1"} {
		if rest, found := strings.CutPrefix(path, group+"/"); found {
			return "/apis/" + group + "/namespaces/" + s.staging + "/" + rest
		}
	}
	return "/api/v1/namespaces/" + s.staging + "/" + path
}

const (
	mergePatch = "application/merge-patch+json"
	applyPatch = "application/apply-patch+yaml"
	jsonPatch  = "application/json-patch+json"
)

// isRefused tells whether the server itself refused: who it is, what it may do, or what the admission policy and Pod Security let pass.
func isRefused(err error) bool {
	r, ok := errors.AsType[*kubetest.Refusal](err)
	if !ok {
		return false
	}
	switch r.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return true
	case http.StatusUnprocessableEntity:
		return strings.Contains(r.Message, "ValidatingAdmissionPolicy 'hourkey-leases'") && !strings.Contains(r.Message, "resulted in error")
	}
	return false
}

// text is an object as the server has it, without what only the server writes there.
func (s *site) text(t *testing.T, path string) string {
	t.Helper()
	var object map[string]any
	if err := s.Do(t.Context(), s.Token(), http.MethodGet, s.path(path), nil, &object); err != nil {
		t.Fatal(err)
	}
	if metadata, is := object["metadata"].(map[string]any); is {
		delete(metadata, "managedFields")
	}
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
