package system

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/issuers/kubernetes"
	issuer "github.com/hourkey/hourkey/issuers/vault"
	"github.com/hourkey/hourkey/web/api"
)

// wall is one that stands at the provider, and can be taken away and be put back.
type wall struct {
	name     string
	takeAway func()
	putBack  func()
	asks     string   // a scope that goes by it
	asked    []string // how the broker answers who asks without it: codes, or "waits" for a human
	believed bool     // the issuer goes by what it saw up to a minute ago, so the broker is started anew
}

// without takes the walls away one by one: after the decision, so that what was decided is not issued, and before one, so that
// nothing is decided. With all of them in place again it issues.
func (f *fort) without(walls ...wall) {
	f.Helper()
	for _, w := range walls {
		decided, err := f.agent.request(f.Context(), "staging", f.ttl, w.asks)
		must(f, err)
		before := len(f.loot())
		w.takeAway()
		if w.believed {
			f.stop()
			f.serve()
		}
		eventually(f, func() error { // an API server learns of it a moment late
			request, err := f.agent.request(f.Context(), "staging", f.ttl, w.asks)
			if request.State == api.StatePending { // or who asks for the same is given this one
				must(f, f.agent.call(f.Context(), http.MethodDelete, api.PathRequests+"/"+request.ID, nil, nil, nil))
			}
			return w.answers(request, err)
		})
		_, err = f.agent.collect(f.Context(), decided.ID)
		refused(f, "without "+w.name+", collecting what was decided with it", err, api.CodeWall, api.CodeConflict, api.CodePending, api.CodeInvalid, api.CodeDenied)
		if made := len(f.loot()) - before; made > 0 {
			f.Errorf("without %s: %d credentials were made", w.name, made)
		}
		w.putBack()
		eventually(f, func() error {
			key, err := f.agent.get(f.Context(), "staging", f.ttl, w.asks)
			if err != nil {
				return fmt.Errorf("with %s back: %w", w.name, err)
			}
			return f.agent.release(f.Context(), key.Lease)
		})
	}
	f.none()
}

// answers tells whether the broker answers as it should to who asks without the wall.
func (w wall) answers(request api.Request, err error) error {
	got := "waits"
	if problem, is := api.AsProblem(err); is {
		got = problem.Code
		if problem.Next == "" && problem.Code == api.CodeWall {
			return fmt.Errorf("without %s the agent is told no next step: %s", w.name, problem.Detail)
		}
	} else if err != nil {
		return err
	} else if request.State != api.StatePending {
		got = request.State
	}
	for _, want := range w.asked {
		if got == want {
			return nil
		}
	}
	return fmt.Errorf("without %s: %s (%w), want one of %v", w.name, got, err, w.asked)
}

// TestAWSWallsTakenAway: a wide user behind the sessions changes nothing.
func TestAWSWallsTakenAway(t *testing.T) {
	t.Parallel()
	f, m := fortAndMinIO(t)
	m.allow(t, "staging", `{"Effect":"Allow","Action":["s3:*"],"Resource":["arn:aws:s3:::*"]}`)
	request, err := f.agent.request(t.Context(), "staging", f.ttl, "files:s3/acme-staging/*:read,write")
	must(t, err)
	if request.State == api.StatePending { // the server lets a write replace what it likes
		f.approve(request.ID)
	}
	key, err := f.agent.collect(t.Context(), request.ID)
	must(t, err)
	held := func(name string) string { return key.Values[name].Reveal() }
	client := shared.program(t, "./testdata/native/s3")
	s3 := func(line string) (string, int) {
		c := exec.CommandContext(t.Context(), client, strings.Fields(line)...)
		c.Env = []string{"AWS_REGION=us-east-1", "AWS_ENDPOINT_URL=" + m.tap.URL, "AWS_ACCESS_KEY_ID=" + held("AWS_ACCESS_KEY_ID"), "AWS_SECRET_ACCESS_KEY=" + held("AWS_SECRET_ACCESS_KEY"), "AWS_SESSION_TOKEN=" + held("AWS_SESSION_TOKEN")}
		return f.ran(c)
	}
	for line, may := range map[string]bool{
		"get acme-staging app/one": true, "put acme-staging app/new x": true, "delete acme-staging app/one": false,
		"get acme-production app/one": false, "put acme-production app/one x": false, "delete acme-production app/one": false,
	} {
		if out, code := s3(line); (code == 0) != may || !may && !strings.Contains(out, "refused: AccessDenied") {
			t.Errorf("with a wide user behind it, %s: exit code %d\n%s", line, code, out)
		}
	}
}

// TestKubernetesWallsTakenAway: rights that every account has, and an admission policy that is not in force.
func TestKubernetesWallsTakenAway(t *testing.T) {
	t.Parallel()
	f, server := fortAndCluster(t)
	const rbac, admission = "/apis/rbac.authorization.k8s.io/v1/", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/hourkey-leases"
	remove := func(path string) func() {
		return func() { must(t, server.Do(t.Context(), server.Token(), http.MethodDelete, path, nil, nil)) }
	}
	f.without(
		wall{
			"accounts that have no rights of their own", func() {
				server.Apply(t, "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: everybody, namespace: shop-staging}\n"+
					"roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\n"+
					"subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: \"system:serviceaccounts:shop-staging\"}]\n")
			}, remove(rbac + "namespaces/shop-staging/rolebindings/everybody"), f.asks, []string{api.CodeWall}, true,
		},
		wall{
			"the other environment's namespace being out of reach", func() {
				server.Apply(t, "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: everybody}\n"+
					"roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}\n"+
					"subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: \"system:serviceaccounts\"}]\n")
			}, remove(rbac + "clusterrolebindings/everybody"), f.asks, []string{api.CodeWall}, true,
		},
		wall{
			"the admission policy in force", remove(admission),
			func() { server.Apply(t, kubernetes.PolicyYAML()) }, f.asks, []string{api.CodeWall}, true,
		},
		wall{
			"the restricted level of the namespace's pods", func() {
				server.Apply(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop-staging, labels: {pod-security.kubernetes.io/enforce: privileged}}\n")
			},
			func() {
				server.Apply(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop-staging, labels: {pod-security.kubernetes.io/enforce: restricted}}\n")
			}, "cluster:deployments.apps/*:read,write", []string{api.CodeWall, api.CodeDenied, api.CodeInvalid, "waits"}, false,
		},
	)
}

// TestVaultWallsTakenAway: roles and policies that give more than they did, and a connection that leads elsewhere.
func TestVaultWallsTakenAway(t *testing.T) {
	t.Parallel()
	f, s := fortAndVault(t)
	keep := func(path string) (former map[string]any, putBack func()) {
		former, _ = s.Read(t, path)["data"].(map[string]any)
		return former, func() { s.Write(t, path, former) }
	}
	changed := func(path, field string, value any) func() {
		former, _ := keep(path)
		return func() {
			next := map[string]any{}
			for name, was := range former {
				next[name] = was
			}
			next[field] = value
			s.Write(t, path, next)
		}
	}
	const role, tokens = "database-staging/roles/orders-rw", "auth/token/roles/hourkey-staging-orders"
	creation, _ := keep(role)
	statements, _ := creation["creation_statements"].([]any)
	_, roleBack := keep(role)
	_, tokensBack := keep(tokens)
	d, other := s.databases["staging"], s.databases["production"]
	connection := func(to *database) func() {
		return func() {
			s.Write(t, "database-staging/config/orders", map[string]any{
				"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "username": to.admin, "password": to.password, "username_template": issuer.UsernameTemplate,
				"connection_url": fmt.Sprintf("postgresql://{{username}}:{{password}}@%s:%d/%s?sslmode=disable", to.Host, to.Port, to.name),
			})
		}
	}
	more := append(append([]any{}, statements...), `GRANT DELETE ON public.orders TO "{{name}}"`)
	f.without(
		wall{"a role without DELETE", changed(role, "creation_statements", more), roleBack, f.asks, []string{"waits"}, false},
		// The offer that is left may delete.
		wall{"a role of this connection", changed(role, "db_name", "elsewhere"), roleBack, f.asks, []string{"waits"}, false},
		wall{"tokens that cannot be renewed", changed(tokens, "renewable", true), tokensBack, f.asks, []string{api.CodeWall}, false},
		wall{"tokens that end within the hour", changed(tokens, "token_explicit_max_ttl", "48h"), tokensBack, f.asks, []string{api.CodeWall}, false},
		wall{"a connection to this environment", connection(other), connection(d), f.asks, []string{api.CodeWall, api.CodeConflict, api.CodeUnconfirmed}, false},
		wall{
			"a policy without delete", func() {
				s.policy(t, "staging-app-rw", grantsOf(`create", "read", "update", "delete`, "kv-staging/data/app/*")+grantsOf(`list", "read`, "kv-staging/metadata/app/*"))
			}, func() { s.secretPolicy(t, "staging", "rw", `create", "read", "update`) }, "app-secrets:app/*:read,write", []string{"waits"}, false,
		},
		wall{
			"policies of this environment alone", func() {
				for _, name := range []string{"staging-app-rw", "staging-app-all"} {
					s.policy(t, name, grantsOf(`create", "read", "update", "delete`, "kv-staging/data/app/*", "kv-production/data/app/*"))
				}
			}, func() {
				s.secretPolicy(t, "staging", "rw", `create", "read", "update`)
				s.secretPolicy(t, "staging", "all", `create", "read", "update", "delete`)
			}, "app-secrets:app/*:read,write", []string{api.CodeWall}, false,
		},
	)
}
