package kubernetes_test

import (
	"bytes"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/kubernetes/kubetest"
)

// kubeconfig is what docs/issuers/kubernetes.md writes of a credential's values.
func kubeconfig(c broker.Credential) string {
	value := func(name string) string { return c.Values[name].Reveal() }
	return `apiVersion: v1
kind: Config
current-context: hourkey
clusters: [{name: hourkey, cluster: {server: "` + value("KUBE_HOST") + `", certificate-authority-data: ` + base64.StdEncoding.EncodeToString([]byte(value("KUBE_CLUSTER_CA_CERT_DATA"))) + `}}]
users: [{name: hourkey, user: {token: "` + value("KUBE_TOKEN") + `"}}]
contexts: [{name: hourkey, context: {cluster: hourkey, user: hourkey, namespace: ` + value("KUBE_NAMESPACE") + `}}]
`
}

// kubectl gives the real client, with nothing of ours but a kubeconfig, and one home in which it remembers what the server has.
func kubectl(t *testing.T, c broker.Credential) func(stdin string, args ...string) (string, error) {
	t.Helper()
	program, err := kubetest.Kubectl()
	issuertest.Needs(t, err, kubetest.ErrAbsent)
	dir := t.TempDir()
	path := filepath.Join(dir, "config")
	if err := os.WriteFile(path, []byte(kubeconfig(c)), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(stdin string, args ...string) (string, error) {
		command := exec.CommandContext(t.Context(), program, args...)
		command.Env, command.Stdin = []string{"KUBECONFIG=" + path, "HOME=" + dir}, strings.NewReader(stdin)
		var out bytes.Buffer
		command.Stdout, command.Stderr = &out, &out
		err := command.Run()
		return out.String(), err
	}
}

// What the admission policy refuses must not be what everybody does every day.
func TestKubectlMakesAndChangesWorkloads(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.furnish(t)
	c := lease(t, s.issuer(t), "deployments.apps/*:read,write", "jobs.batch/*:read,write", "pods/*:read,write", "statefulsets.apps/*:read,write")
	run := kubectl(t, c)
	for _, one := range []struct {
		args, says string
		refused    bool
	}{
		{args: "create deployment shop --image shop:1 --replicas 3", says: "created"},
		{args: "set image deployment/shop shop=shop:2", says: "image updated"},
		{args: "set env deployment/shop COLOR=blue", says: "env updated"},
		{args: "set resources deployment/shop --limits cpu=1", says: "resource requirements updated"},
		{args: "rollout restart deployment/shop", says: "restarted"},
		{args: "rollout pause deployment/shop", says: "paused"},
		{args: "rollout restart statefulset/db", says: "restarted"},
		{args: "set image statefulset/db db=db:2", says: "image updated"},
		{args: "annotate pod lone a=b", says: "annotated"},
		{args: "label deployment shop tier=front", says: "labeled"},
		{args: "create job once --image shop:1", says: "created"},
		{args: "label pod lone app=other --overwrite", says: "needs permission to delete", refused: true},
		{args: "scale statefulset db --replicas 1", says: "forbidden", refused: true}, // by its subresource, which was not asked for
		{args: "set serviceaccount deployment shop powerful", says: "does not choose whose identity", refused: true},
	} {
		said, err := run("", strings.Fields(one.args)...)
		if (err != nil) != one.refused || !strings.Contains(said, one.says) {
			t.Errorf("kubectl %s: %v\n%s", one.args, err, said)
		}
	}
}

// The daily work of an agent, with kubectl as it is.
func TestKubectlWorksWithALease(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := lease(t, s.issuer(t), "deployments.apps/web:read,write", "deployments.apps+scale/web:read,write", "configmaps/*:read,write", "configmaps/new:read,write")
	run := kubectl(t, c)
	const object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: new}\ndata: {a: b}\n"
	for _, one := range []struct {
		args, stdin, says string
		refused           bool
	}{
		{args: "get deployment web", says: "web"},
		{args: "get deployments", says: "forbidden", refused: true},
		{args: "set image deployment/web web=web:2", says: "image updated"},
		{args: "scale deployment web --replicas 3", says: "scaled"},
		{args: "scale deployment web --replicas 0", says: "needs permission to delete", refused: true},
		{args: "rollout undo deployment/web", says: "forbidden", refused: true}, // it lists ReplicaSets, which were not asked for
		{args: "apply -f -", stdin: object, says: "created"},
		{args: "apply --server-side --force-conflicts -f -", stdin: object, says: "applied"},
		{args: "patch configmap settings -p {\"data\":{\"color\":\"green\"}}", says: "patched"},
		{args: "delete configmap settings", says: "forbidden", refused: true},
		{args: "delete deployment web", says: "forbidden", refused: true},
		{args: "replace --force -f -", stdin: object, says: "forbidden", refused: true},
		{args: "get secrets", says: "forbidden", refused: true},
		{args: "--namespace " + s.production + " get configmaps", says: "forbidden", refused: true},
		{args: "create token powerful", says: "forbidden", refused: true},
		{args: "--as superuser --as-group system:masters get secrets", says: "Forbidden", refused: true},
		{args: "auth can-i delete configmaps", says: "no", refused: true},
		{args: "auth can-i update configmaps", says: "yes"},
	} {
		said, err := run(one.stdin, strings.Fields(one.args)...)
		if (err != nil) != one.refused || !strings.Contains(said, one.says) {
			t.Errorf("kubectl %s: %v\n%s", one.args, err, said)
		}
	}
}
