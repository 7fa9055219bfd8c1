package vault_test

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/kubernetes/kubetest"
	"github.com/hourkey/hourkey/issuers/vault"
)

// bypassesOfKubernetes tries the ways around a role that reads and edits ConfigMaps, with a live lease. The admission policy that holds
// the kubernetes issuer's own leases is in force, and does not see Vault's accounts: that is why an edit is described as a delete, and as admin.
func bypassesOfKubernetes(t *testing.T, kube *kubetest.Server, issuer *vault.Issuer) {
	t.Helper()
	admissionPolicy(t, kube)
	kube.Apply(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: staging}\ndata: {a: one, b: two}\n")
	kube.Apply(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kube-root-ca.crt, namespace: staging}\ndata: {ca.crt: the cluster's}\n")
	d := describe(t, issuer, wish(t, "staging:read,write"))
	credential, handle := lease(t, issuer, "hk-by-9", "staging:read,write")
	all := refusals(kubernetesAttacks(kube))
	const settings = "/api/v1/namespaces/staging/configmaps/settings"
	all["giving a ConfigMap an owner that is gone, which the cluster takes for its end"] = bypass{as: broker.Delete, try: kubernetesCall(kube,
		"PATCH "+settings, `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"gone","uid":"1"}]}}`)}
	all["emptying a ConfigMap"] = bypass{as: broker.Delete, try: func(ctx context.Context, c broker.Credential) error {
		if err := kubernetesCall(kube, "PATCH "+settings, `{"data":null}`)(ctx, c); err != nil {
			return err
		}
		var after struct{ Data map[string]string }
		if err := kube.Do(ctx, kube.Token(), http.MethodGet, settings, nil, &after); err != nil || len(after.Data) > 0 {
			return errors.Join(errors.New("what was there is still there"), err)
		}
		return nil
	}}
	all["changing what pods trust (kube-root-ca.crt)"] = bypass{as: broker.Admin, try: kubernetesCall(kube,
		"PATCH /api/v1/namespaces/staging/configmaps/kube-root-ca.crt", `{"data":{"ca.crt":"mine"}}`)}
	var watch *bufio.Reader
	all["a watch that is open at the end"] = bypass{wall: "open at the end", try: func(_ context.Context, c broker.Credential) (err error) {
		watch, err = openWatch(t, kube, c)
		return err
	}}
	issuertest.HoldPage(t, *update, documentation, "outcomes of kubernetes", hold(t, d, credential, all, refusedByKubernetes, "the API server"))
	if err := issuer.Revoke(t.Context(), "hk-by-9", handle); err != nil {
		t.Fatal(err)
	}
	issuertest.Until(t, func() bool { return kubernetesCall(kube, "GET "+settings, "")(t.Context(), credential) != nil })
	kube.Apply(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: after-the-end, namespace: staging}\n")
	for line := ""; !strings.Contains(line, "after-the-end"); {
		var err error
		if line, err = watch.ReadString('\n'); err != nil {
			t.Fatalf("the watch after the end: %v: the wall is stronger than declared", err)
		}
	}
}

// admissionPolicy puts the kubernetes issuer's policy in force.
func admissionPolicy(t *testing.T, kube *kubetest.Server) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "kubernetes", "policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	kube.Apply(t, string(text))
	issuertest.Until(t, func() bool {
		err := kube.Do(t.Context(), kube.Token(), http.MethodPost, "/api/v1/namespaces/staging/serviceaccounts?dryRun=All", `{"metadata":{"name":"hk-policy-probe"}}`, nil)
		return err != nil && strings.Contains(err.Error(), "hourkey-leases is in force")
	})
}

// openWatch watches ConfigMaps until the server or the test ends it.
func openWatch(t *testing.T, kube *kubetest.Server, c broker.Credential) (*bufio.Reader, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, kube.URL+"/api/v1/namespaces/staging/configmaps?watch=1&timeoutSeconds=60&resourceVersion=0", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.Values["KUBE_TOKEN"].Reveal())
	response, err := kube.Client().Do(request)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	if response.StatusCode != http.StatusOK {
		return nil, &kubetest.Refusal{Status: response.StatusCode}
	}
	return bufio.NewReader(response.Body), nil
}

func kubernetesCall(kube *kubetest.Server, call, body string, header ...string) func(context.Context, broker.Credential) error {
	method, path, _ := strings.Cut(call, " ")
	if method == http.MethodPatch {
		header = append(header, "Content-Type", "application/merge-patch+json")
	}
	return func(ctx context.Context, c broker.Credential) error {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		return kube.Do(ctx, c.Values["KUBE_TOKEN"].Reveal(), method, path, body, nil, header...)
	}
}

func refusedByKubernetes(err error) bool {
	refusal, ok := errors.AsType[*kubetest.Refusal](err)
	return ok && refusal.Status == http.StatusForbidden
}

func kubernetesAttacks(kube *kubetest.Server) map[string]func(context.Context, broker.Credential) error {
	const core, rbac = "/api/v1/namespaces/staging", "/apis/rbac.authorization.k8s.io/v1"
	attacks := map[string]func(context.Context, broker.Credential) error{
		"acting as somebody else": kubernetesCall(kube, "GET "+core+"/secrets", "", "Impersonate-User", "system:admin"),
	}
	for name, one := range map[string][2]string{
		"DELETE":                                      {"DELETE " + core + "/configmaps/settings"},
		"deleting all of a kind":                      {"DELETE " + core + "/configmaps"},
		"deleting the namespace":                      {"DELETE " + core},
		"the namespace's Pod Security level":          {"PATCH " + core, `{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"privileged"}}}`},
		"another namespace":                           {"GET /api/v1/namespaces/production/configmaps"},
		"all namespaces":                              {"GET /api/v1/configmaps"},
		"secrets":                                     {"GET " + core + "/secrets"},
		"a pod":                                       {"POST " + core + "/pods", `{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}}`},
		"a Deployment":                                {"POST /apis/apps/v1/namespaces/staging/deployments", `{"metadata":{"name":"d"}}`},
		"a shell in a pod":                            {"POST " + core + "/pods/p/exec?command=sh", ""},
		"a call to a machine":                         {"GET /api/v1/nodes/n/proxy/pods"},
		"a longer life: a token of an account":        {"POST " + core + "/serviceaccounts/default/token", `{"spec":{"expirationSeconds":86400}}`},
		"an account of its own":                       {"POST " + core + "/serviceaccounts", `{"metadata":{"name":"mine"}}`},
		"a binding to the cluster's administrators":   {"POST " + rbac + "/clusterrolebindings", `{"metadata":{"name":"b"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"cluster-admin"}}`},
		"a binding in the namespace":                  {"POST " + rbac + "/namespaces/staging/rolebindings", `{"metadata":{"name":"b"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"admin"}}`},
		"the rules of the roles":                      {"GET " + rbac + "/namespaces/staging/roles"},
		"a webhook, which sees and changes all calls": {"POST /apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations", `{"metadata":{"name":"w"}}`},
		"a certificate for another name":              {"POST /apis/certificates.k8s.io/v1/certificatesigningrequests", `{"metadata":{"name":"c"}}`},
	} {
		attacks[name] = kubernetesCall(kube, one[0], one[1])
	}
	return attacks
}
