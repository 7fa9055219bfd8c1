package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/kubernetes"
	"github.com/hourkey/hourkey/issuers/kubernetes/kubetest"
)

// BenchmarkKubernetes: a token of a real API server, beside the same calls by net/http over one connection.
func BenchmarkKubernetes(b *testing.B) { benchNative(b, openCluster) }

const (
	namespace = "shop-staging"
	object    = `
apiVersion: v1
kind: Namespace
metadata: {name: shop-staging, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop-staging}
data: {color: blue}
`
)

func openCluster(b *testing.B) (target, func(b *testing.B) bare) {
	server := kubetest.Start(b)
	for _, text := range []string{kubernetes.PolicyYAML(), object, kubernetes.AdminYAML(namespace)} {
		server.Apply(b, text)
	}
	var made struct{ Status struct{ Token string } }
	path := "/api/v1/namespaces/hourkey/serviceaccounts/" + namespace + "/token"
	if err := server.Do(b.Context(), server.Token(), http.MethodPost, path, map[string]any{"spec": map[string]any{"expirationSeconds": 7200}}, &made); err != nil {
		b.Fatal(err)
	}
	at := target{
		name: "cluster", kind: "kubernetes", scope: "configmaps/*:read,write", ttl: "15m", secrets: map[string]string{"env:CA": string(server.CA), "env:TOKEN": made.Status.Token},
		body: fmt.Sprintf(`{server: %q, ca: "env:CA", token: "env:TOKEN", namespace: %s}`, server.URL, namespace),
	}
	awaitPolicy(b, at)
	return at, func(b *testing.B) bare { return newBareCluster(b, server, made.Status.Token) }
}

// awaitPolicy waits for the server to learn of the admission policy: until then a write is not described.
func awaitPolicy(b *testing.B, at target) {
	b.Helper()
	var settings kubernetes.Settings
	if err := yaml.Unmarshal([]byte(at.body), &settings); err != nil {
		b.Fatal(err)
	}
	issuer, err := kubernetes.New(kubernetes.Config{
		Ref: broker.TargetRef{Environment: environment, Target: at.name}, Settings: settings, Now: time.Now,
		Resolve: func(_, reference string) (broker.Secret, error) { return broker.NewSecret(at.secrets[reference]), nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	defer issuer.Close()
	scope, err := broker.ParseScope(at.name + ":" + at.scope)
	if err != nil {
		b.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		_, err := issuer.Describe(b.Context(), broker.Wish{Scopes: []broker.Scope{scope}, TTL: 15 * time.Minute})
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			b.Fatal(err)
		}
	}
}

// bareCluster makes the calls of one description and one issue.
type bareCluster struct {
	testing.TB
	server *kubetest.Server
	client *http.Client
	token  string
	n      atomic.Int64
	mu     sync.Mutex
	made   []string
}

func newBareCluster(b *testing.B, server *kubetest.Server, token string) *bareCluster {
	b.Helper()
	f := &bareCluster{TB: b, server: server, client: server.Client(), token: token}
	b.Cleanup(f.client.CloseIdleConnections)
	return f
}

func (f *bareCluster) call(token, method, path string, body, answer any) error {
	return f.server.DoOver(context.Background(), f.client, token, method, path, body, answer)
}

// describe is both namespaces at once, then the list; the audit of the minute is not among it.
func (f *bareCluster) describe() error {
	failed := make(chan error, 2)
	for _, name := range []string{"kube-system", namespace} {
		go func() { failed <- f.call(f.token, http.MethodGet, "/api/v1/namespaces/"+name, nil, nil) }()
	}
	return errors.Join(<-failed, <-failed, f.call(f.token, http.MethodGet, "/api/v1/namespaces/"+namespace+"/configmaps?limit=1", nil, nil))
}

const (
	homePath = "/api/v1/namespaces/" + namespace + "/serviceaccounts"
	rbacPath = "/apis/rbac.authorization.k8s.io/v1/namespaces/" + namespace
)

func (f *bareCluster) issue(int) error {
	name := fmt.Sprintf("hk-floor-%d", f.n.Add(1))
	f.mu.Lock()
	f.made = append(f.made, name)
	f.mu.Unlock()
	meta := fmt.Sprintf(`"metadata":{"name":%q,"namespace":%q}`, name, namespace)
	for _, one := range [][2]string{
		{rbacPath + "/roles", `{` + meta + `,"rules":[{"apiGroups":[""],"resources":["configmaps"],"verbs":["get","list","create","update","patch"]}]}`},
		{rbacPath + "/rolebindings", `{` + meta + `,"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"` + name + `"},"subjects":[{"kind":"ServiceAccount","name":"` + name + `","namespace":"` + namespace + `"}]}`},
		{homePath, `{` + meta + `}`},
	} {
		if err := f.call(f.token, http.MethodPost, one[0], one[1], nil); err != nil {
			return err
		}
	}
	var made struct{ Status struct{ Token string } }
	if err := f.call(f.token, http.MethodPost, homePath+"/"+name+"/token", `{"spec":{"expirationSeconds":800}}`, &made); err != nil {
		return err
	}
	return f.prove(made.Status.Token)
}

// prove asks until the token works, as who is given it would.
func (f *bareCluster) prove(token string) error {
	for {
		var review struct{ Status struct{ Allowed bool } }
		err := f.call(token, http.MethodPost, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
			`{"spec":{"resourceAttributes":{"namespace":"`+namespace+`","verb":"get","resource":"configmaps"}}}`, &review)
		refusal, is := errors.AsType[*kubetest.Refusal](err)
		switch {
		case err == nil && review.Status.Allowed:
			return nil
		case err != nil && (!is || refusal.Status != http.StatusUnauthorized):
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

func (f *bareCluster) release() {
	for _, name := range f.made {
		for _, path := range []string{rbacPath + "/rolebindings/", homePath + "/", rbacPath + "/roles/"} {
			if err := f.call(f.token, http.MethodDelete, path+name, nil, nil); err != nil {
				f.Fatal(err)
			}
		}
	}
	f.made = nil
}
