package system

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/issuers/kubernetes"
	"github.com/hourkey/hourkey/issuers/kubernetes/kubetest"
)

// clusterTarget is the target of an environment, as docs/issuers/kubernetes.md has it.
const clusterTarget = `  cluster:
    kubernetes:
      server: %s
      ca: file:secrets/cluster-ca.pem
      token: file:secrets/%s-token
      namespace: shop-%s
`

const clusterTasks = gatewayTask + `:
  summary: Find and mend what is wrong in the shop's namespace
  agents: [claude-code]
  environments: [staging, production]
  gives: ["cluster:configmaps/*:read,write", "cluster:deployments.apps/*:read,write", "cluster:deployments.apps+scale/*:read,write"]
  with_approval: ["cluster:configmaps/*:delete", "cluster:deployments.apps/*:delete"]
  ttl: 30m
`

const clusterObjects = `
apiVersion: v1
kind: Namespace
metadata: {name: NS, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: NS}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: NS}
data: {color: blue}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: old, namespace: NS}
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
spec: {replicas: 2, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: web:1}]}}}
`

// newCluster makes the server, and what an installation at it is configured with.
func newCluster(t *testing.T) (*kubetest.Server, outpostFiles) {
	t.Helper()
	server := kubetest.Start(t)
	certificate, err := tls.LoadX509KeyPair(filepath.Join(server.Dir, "server.crt"), filepath.Join(server.Dir, "server.key"))
	must(t, err)
	client := server.Client()
	t.Cleanup(client.CloseIdleConnections)
	files := outpostFiles{tap: newTap(t, server.URL, client, &certificate), tasks: clusterTasks, targets: map[string]string{}, secrets: map[string]string{}, plain: map[string]string{"cluster-ca.pem": string(server.CA)}}
	server.Apply(t, kubernetes.PolicyYAML())
	for _, environment := range []string{"staging", "production"} {
		server.Apply(t, strings.ReplaceAll(clusterObjects, "NS", "shop-"+environment))
		server.Apply(t, kubernetes.AdminYAML("shop-"+environment))
		var made struct{ Status struct{ Token string } }
		path := "/api/v1/namespaces/hourkey/serviceaccounts/shop-" + environment + "/token"
		must(t, server.Do(t.Context(), server.Token(), http.MethodPost, path, map[string]any{"spec": map[string]any{"expirationSeconds": 7200}}, &made))
		files.targets[environment] = fmt.Sprintf(clusterTarget, files.tap.URL, environment, environment)
		files.secrets[environment+"-token"] = made.Status.Token
	}
	return server, files
}

func installAtCluster(t *testing.T) (*outpost, *kubetest.Server) {
	t.Helper()
	server, files := newCluster(t)
	o := prepareOutpost(t, files)
	o.checksOut()
	o.open("staging/cluster", "production/cluster")
	return o, server
}

// checksOut waits for check --live to be content: the server learns of admission policies a moment late.
func (o *outpost) checksOut() {
	o.Helper()
	eventually(o, func() error {
		if out, code := o.run("check", "--live"); code != 0 || strings.Contains(out, "warning") {
			return errors.New(out)
		}
		return nil
	})
}

// TestNativeKubernetes: an agent's day with a real API server, by kubectl as it is.
func TestNativeKubernetes(t *testing.T) {
	t.Parallel()
	program, err := kubetest.Kubectl()
	if errors.Is(err, kubetest.ErrAbsent) && os.Getenv("HOURKEY_TEST_ALL") != "1" {
		t.Skip(err)
	}
	must(t, err)
	o, server := installAtCluster(t)
	kubectl := func(line string) []string { return append([]string{program}, strings.Fields(line)...) }
	o.try(
		step{"read", "", kubectl("get configmaps"), false, "settings"},
		step{"write", "", kubectl(`patch configmap settings -p {"data":{"color":"green"}}`), false, "patched"},
		step{"deploy", "", kubectl("set image deployment/web web=web:2"), false, "image updated"},
		step{"delete", "", kubectl("delete configmap old"), true, "forbidden"},
		step{"scale to zero", "", kubectl("scale deployment web --replicas 0"), true, "needs permission to delete"},
		step{"another environment", "", kubectl("--namespace shop-production get configmaps"), true, "forbidden"},
		step{"another environment, writing", "", kubectl(`--namespace shop-production patch configmap settings -p {"data":{"color":"green"}}`), true, "forbidden"},
		step{"secrets", "", kubectl("get secrets"), true, "forbidden"},
		step{"a token of the broker's", "", kubectl("--namespace hourkey create token shop-staging"), true, "forbidden"},
		step{"one object alone", "--scope cluster:configmaps/settings:read", kubectl("get configmap old"), true, "forbidden"},
		step{"no file is left", "", []string{"/bin/sh", "-c", "test -s $KUBECONFIG && ls tmp"}, false, "hourkey-exec-"},
	)
	o.empty("tmp")
	flags := o.approved("cluster:configmaps/*:read,delete")
	o.try(step{"delete, approved", flags, kubectl("delete configmap old"), false, "deleted"})
	o.plugin(program)
	o.ends(program, server)
	o.hides("Kubernetes token", "admin password")

	// What is taken away from the broker's account in the cluster is told, by the line that mends it.
	path := "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/hourkey-broker-shop-staging"
	must(t, server.Do(t.Context(), server.Token(), http.MethodDelete, path, nil, nil))
	eventually(t, func() error {
		if out, code := o.run("check", "--live"); code != 1 || !strings.Contains(out, "REFUSED") || !strings.Contains(out, "add to the ClusterRole hourkey-broker-shop-staging") {
			return fmt.Errorf("exit code %d\n%s", code, out)
		}
		return nil
	})
}

// plugin has kubectl run hourkey by itself, by a kubeconfig that holds no token.
func (o *outpost) plugin(kubectl string) {
	o.Helper()
	file := filepath.Join(o.home, "staging.yaml")
	if out, code := o.as("credential", "kubectl", "--kubeconfig", file, "--environment", "staging", "--ttl", "15m"); code != 0 {
		o.Fatalf("credential kubectl --kubeconfig: exit code %d\n%s", code, out)
	}
	text, err := os.ReadFile(file)
	must(o, err)
	if strings.Contains(string(text), "eyJ") || strings.Contains(string(text), `"token"`) {
		o.Errorf("the kubeconfig holds a token:\n%s", text)
	}
	for line, want := range map[string]string{"get configmaps": "settings", "delete configmap settings": "forbidden", "auth whoami": "system:serviceaccount:shop-staging:hk-"} {
		c := o.agentCommand()
		c.Path, c.Args = kubectl, append([]string{kubectl}, strings.Fields(line)...)
		c.Env = append(c.Env, "KUBECONFIG="+file)
		if out, code := o.ran(c); !strings.Contains(out, want) || (code != 0) != (want == "forbidden") {
			o.Errorf("kubectl %s with the plugin: exit code %d\n%s", line, code, out)
		}
	}
	for _, lease := range o.leases(false) {
		must(o, o.revoke(lease.ID)) // the plugin's live until their end
	}
}

// ends wants a token that was released to be worth nothing, and nothing of any lease to be left in the cluster.
func (o *outpost) ends(kubectl string, server *kubetest.Server) {
	o.Helper()
	kept := filepath.Join(o.home, "kept.yaml")
	o.try(step{"a copy of the file", "", []string{"/bin/sh", "-c", "cat $KUBECONFIG >" + kept + "; KUBECONFIG=" + kept + " " + kubectl + " get configmaps"}, false, "settings"})
	c := o.agentCommand()
	c.Path, c.Args = kubectl, []string{kubectl, "--kubeconfig", kept, "get", "configmaps"}
	if out, code := o.ran(c); code == 0 {
		o.Errorf("the token works after the command that it was for:\n%s", out)
	}
	eventually(o, func() error {
		var list struct {
			Items []struct{ Metadata struct{ Name string } }
		}
		for _, kind := range []string{"api/v1/serviceaccounts", "apis/rbac.authorization.k8s.io/v1/roles", "apis/rbac.authorization.k8s.io/v1/rolebindings"} {
			list.Items = nil
			if err := server.Do(o.Context(), server.Token(), http.MethodGet, "/"+kind+"?labelSelector=app.kubernetes.io/managed-by=hourkey", nil, &list); err != nil {
				return err
			}
			if len(list.Items) > 0 {
				return fmt.Errorf("%s: %v", kind, list.Items)
			}
		}
		return nil
	})
}

// empty wants a folder of the agent's to have nothing in it.
func (o *outpost) empty(folder string) {
	o.Helper()
	left, err := os.ReadDir(filepath.Join(o.home, folder))
	if err != nil || len(left) > 0 {
		o.Errorf("left in %s: %v, %v", folder, left, err)
	}
}
