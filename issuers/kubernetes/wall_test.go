package kubernetes_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/kubernetes"
	"github.com/hourkey/hourkey/issuers/kubernetes/kubetest"
)

// refuses expects Describe to refuse with a code, and a message and next step that hold the words.
func refuses(t *testing.T, issuer *kubernetes.Issuer, code broker.Code, scope string, words ...string) {
	t.Helper()
	_, err := issuer.Describe(t.Context(), wish(t, strings.Fields(scope)...))
	if broker.CodeOf(err) != code {
		t.Errorf("%s: %v; want %s", scope, err, code)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error()+"\n"+next(err), word) {
			t.Errorf("%s: %v\n%s\nwant %q in it", scope, err, next(err), word)
		}
	}
}

// What gives power, or loses more than it names, is never part of read or write: kinds.txt, as it is asked for.
func TestPowerWantsAdminAndLossWantsDelete(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	issuer := s.issuer(t)
	for scope, words := range map[string]string{
		"secrets/password:read":                                                    "counts as admin",
		"secrets/*:read,write":                                                     "counts as admin",
		"pods+ephemeralcontainers/web:write":                                       "counts as admin",
		"services/web:write":                                                       "counts as admin",
		"ingresses.networking.k8s.io/web:write":                                    "counts as admin",
		"networkpolicies.networking.k8s.io/*:delete":                               "counts as admin",
		"endpoints/web:write":                                                      "counts as admin",
		"persistentvolumeclaims/data:write":                                        "counts as admin",
		"resourcequotas/*:write":                                                   "counts as admin",
		"leases.coordination.k8s.io/x:write":                                       "counts as admin",
		"horizontalpodautoscalers.autoscaling/web:write":                           "counts as delete",
		"poddisruptionbudgets.policy/web:write":                                    "counts as delete",
		"cronjobs.batch/backup:write":                                              "counts as delete",
		"daemonsets.apps/agent:write":                                              "counts as delete",
		"pods+resize/web:write":                                                    "counts as delete",
		"roles.rbac.authorization.k8s.io/*:write":                                  "never given",
		"rolebindings.rbac.authorization.k8s.io/*:write,admin":                     "never given",
		"serviceaccounts/mine:write,admin":                                         "never given",
		"serviceaccounts+token/powerful:write,admin":                               "never given",
		"pods+binding/web:write,admin":                                             "never given",
		"pods+eviction/web:write,delete":                                           "never given",
		"pods+proxy/web:read,admin":                                                "never given",
		"services+proxy/web:read,admin":                                            "never given",
		"events/*:write,admin":                                                     "never given",
		"deployments.apps+status/web:write,admin":                                  "never given",
		"namespaces/production:read":                                               "never given",
		"nodes/n:read":                                                             "never given",
		"persistentvolumes/*:read,write,delete,admin":                              "never given",
		"clusterroles.rbac.authorization.k8s.io/*:read":                            "never given",
		"customresourcedefinitions.apiextensions.k8s.io/*:read":                    "never given",
		"certificatesigningrequests.certificates.k8s.io/*:write":                   "never given",
		"mutatingwebhookconfigurations.admissionregistration.k8s.io/*:write,admin": "never given",
		"configmaps/*:admin":                                                       "needs admin",
		"configmaps/*:read,admin":                                                  "needs admin",
		"pods+log/web:write":                                                       "nothing to write",
		"pods+exec/web:read":                                                       "nothing to read",
		"pods/*:write,admin":                                                       "needs admin", // the namespace holds pods to the restricted level
		"deployments.apps+scale/web:delete":                                        "nothing to delete",
	} {
		refuses(t, issuer, broker.CodeDenied, scope, words)
	}
}

// What is no resource, or none that is known, is refused before the cluster is asked.
func TestUnknownKindsAndNamesAreRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	issuer := s.issuer(t)
	for _, scope := range []string{
		"*:read", "conf*:read", "configmaps:read", "configmaps/:read", "/x:read", "configmap/settings:read", "Configmaps/settings:read", "deployments/web:read",
		"deployments.extensions/web:read", "widgets.example.com/x:write", "databases.rds.services.k8s.aws/prod:delete", "pods+status/web:read",
		"configmaps/..:read", "configmaps/a/b:read", "configmaps/a%2fb:read", "configmaps/a?b:read", "configmaps/-:read", "pods/web/exec:admin", "pods+exec+x/web:admin",
		"configmaps/a b:read", "configmaps/a,b:read", "configmaps/nowhere:read", "configmaps/nowhere-*:read", "pods+resize/nowhere:write,delete",
		"podgroups.scheduling.k8s.io.evil.com/x:read",
	} {
		if _, err := issuer.Describe(t.Context(), wish(t, scope)); broker.CodeOf(err) != broker.CodeInvalid && broker.CodeOf(err) != broker.CodeDenied {
			t.Errorf("%s: %v; want it refused", scope, err)
		}
	}
	other := broker.Wish{Scopes: []broker.Scope{{Target: "other", Resource: "configmaps/*", Actions: broker.Read}}, TTL: 15 * time.Minute}
	if _, err := issuer.Describe(t.Context(), other); broker.CodeOf(err) != broker.CodeInvalid {
		t.Errorf("a scope of another target: %v", err)
	}
}

// Streams outlive a lease, so nothing that streams is given unless the environment accepts that, by name and for all to see.
func TestWhatStreamsIsRefusedUnlessAccepted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	closed := s.issuer(t)
	for _, scope := range []string{"pods+log/*:read", "pods+exec/*:admin", "pods+attach/*:admin", "pods+portforward/*:admin"} {
		refuses(t, closed, broker.CodeWall, scope, "[open streams]")
	}
	s.grantBroker(t, `- {apiGroups: [""], resources: [pods, pods/log, pods/exec, configmaps], verbs: [get, list, watch, create]}`)
	accepting := s.issuer(t, "open streams")
	d := describe(t, accepting, wish(t, "configmaps/*:read", "pods+log/*:read", "pods+exec/*:admin"))
	if !slices.Contains(d.Exceptions, broker.Exception{Object: "open streams", Why: "the test says so"}) || !strings.Contains(d.Ends, "watch") {
		t.Errorf("reviewers are not told: %+v, %s", d.Exceptions, d.Ends)
	}
	if native := strings.Join(d.Native, "\n"); !strings.Contains(native, "get, list, watch of configmaps") || !strings.Contains(native, "get of pods/log") || !strings.Contains(native, "create, get of pods/exec") {
		t.Errorf("native:\n%s", native)
	}
	if !slices.ContainsFunc(d.Walls, func(w broker.WallFact) bool { return w.Wall == broker.WallNone && strings.Contains(w.Stops, "watch") }) {
		t.Errorf("no wall says that a watch goes on: %+v", d.Walls)
	}
}

// grantBroker gives the broker's account more rules in staging, and waits until the server, which learns of them a moment late, goes by them.
func (s *site) grantBroker(t *testing.T, rules ...string) {
	t.Helper()
	marker := fmt.Sprintf("m%d", serial.Add(1))
	rules = append(slices.Clone(rules), "- {apiGroups: [marker.example], resources: ["+marker+"], verbs: [get]}")
	defer s.awaitRule(t, marker)
	s.Apply(t, `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: more, namespace: `+s.staging+`}
rules:
`+strings.Join(rules, "\n")+`
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: more, namespace: `+s.staging+`}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: more}
subjects: [{kind: ServiceAccount, name: `+s.staging+`, namespace: hourkey}]
`)
}

func (s *site) awaitRule(t *testing.T, marker string) {
	t.Helper()
	review := map[string]any{"spec": map[string]any{
		"user":               "system:serviceaccount:hourkey:" + s.staging,
		"resourceAttributes": map[string]any{"namespace": s.staging, "group": "marker.example", "resource": marker, "verb": "get"},
	}}
	issuertest.Until(t, func() bool {
		var answer struct{ Status struct{ Allowed bool } }
		err := s.Do(t.Context(), s.Token(), http.MethodPost, "/apis/authorization.k8s.io/v1/subjectaccessreviews", review, &answer)
		return err == nil && answer.Status.Allowed
	})
}

// In a namespace that does not enforce the restricted level, a pod can take over its machine.
func TestPodsWantAdminWithoutTheRestrictedLevel(t *testing.T) {
	t.Parallel()
	for labels, restricted := range map[string]bool{
		"x: y": false,
		"pod-security.kubernetes.io/enforce: baseline":                                                       false,
		"pod-security.kubernetes.io/warn: restricted":                                                        false,
		"pod-security.kubernetes.io/enforce: restricted, pod-security.kubernetes.io/enforce-version: v1.19":  false,
		"pod-security.kubernetes.io/enforce: restricted, pod-security.kubernetes.io/enforce-version: v1.30":  true,
		"pod-security.kubernetes.io/enforce: restricted, pod-security.kubernetes.io/enforce-version: latest": true,
	} {
		site := newSite(t)
		site.Apply(t, namespace(site.staging, labels))
		issuer := site.issuer(t)
		_, err := issuer.Describe(t.Context(), wish(t, "deployments.apps/web:write"))
		if got := err == nil; got != restricted {
			t.Errorf("%s: %v; restricted should be %t", labels, err, restricted)
		}
		if !restricted {
			for _, scope := range []string{"pods/*:write", "statefulsets.apps/db:write", "jobs.batch/*:write", "replicasets.apps/*:write"} {
				refuses(t, issuer, broker.CodeDenied, scope, "counts as admin", "enforce=restricted")
			}
			describe(t, issuer, wish(t, "deployments.apps/web:write,admin"))
			describe(t, issuer, wish(t, "deployments.apps+scale/web:write")) // makes no pod of another kind
		}
	}
}

// Every account of a namespace is in three groups; what they have, a lease would have beside its own.
func TestRightsOfEveryAccountAreAMissingWall(t *testing.T) {
	for name, subject := range map[string]string{
		"all accounts of the cluster":   "{kind: Group, apiGroup: rbac.authorization.k8s.io, name: 'system:serviceaccounts'}",
		"all accounts of the namespace": "{kind: Group, apiGroup: rbac.authorization.k8s.io, name: 'system:serviceaccounts:STAGING'}",
		"everybody":                     "{kind: Group, apiGroup: rbac.authorization.k8s.io, name: 'system:authenticated'}",
	} {
		for _, elsewhere := range []bool{false, true} {
			s := newSite(t)
			object, path := "clusterrolebinding too-much", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/too-much"
			text := "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: too-much}\n"
			if elsewhere {
				object, path = "rolebinding production/too-much", "/apis/rbac.authorization.k8s.io/v1/namespaces/production/rolebindings/too-much"
				text = "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: too-much, namespace: production}\n"
			}
			text += "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}\nsubjects: [" + strings.ReplaceAll(subject, "STAGING", s.staging) + "]\n"
			describe(t, s.issuer(t), wish(t, "configmaps/*:read"))
			s.Apply(t, text)
			refuses(t, s.issuer(t), broker.CodeWall, "configmaps/*:read", "["+object+"]", "kubectl delete "+strings.Fields(object)[0])
			d := describe(t, s.issuer(t, object), wish(t, "configmaps/*:read"))
			if len(d.Exceptions) != 1 || d.Exceptions[0].Object != object || d.Walls[0].Wall != broker.WallWeak {
				t.Errorf("%s: exceptions %+v, walls %+v", name, d.Exceptions, d.Walls)
			}
			if err := s.Do(t.Context(), s.Token(), http.MethodDelete, path, nil, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Pods that name no account run as "default".
func TestRightsOfTheDefaultAccountAreAMissingWall(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Apply(t, `
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: default-may, namespace: `+s.staging+`}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}
subjects: [{kind: ServiceAccount, name: default, namespace: `+s.staging+`}]
`)
	refuses(t, s.issuer(t), broker.CodeWall, "pods/*:write", "[account default]", "default-may")
	describe(t, s.issuer(t), wish(t, "configmaps/*:read,write"))
	describe(t, s.issuer(t, "account default"), wish(t, "pods/*:write"))
}

// The admission policy must be there, be ours, and be in force, whatever it is called.
func TestAMissingOrWeakenedPolicyIsAMissingWall(t *testing.T) {
	const policies, bindings = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/"
	for name, change := range map[string]struct{ method, path, body, says string }{
		"no policy":             {"DELETE", policies + "hourkey-leases", "", "is not there"},
		"no binding":            {"DELETE", bindings + "hourkey-leases", "", "is not there"},
		"a binding that warns":  {"PATCH", bindings + "hourkey-leases", `{"spec":{"validationActions":["Warn"]}}`, "is not the one"},
		"a policy for nobody":   {"PATCH", policies + "hourkey-leases", `{"spec":{"matchConditions":[{"name":"x","expression":"false"}]}}`, "is not the one"},
		"fewer rules":           {"PATCH", policies + "hourkey-leases", `{"spec":{"validations":[{"expression":"true"}]}}`, "is not the one"},
		"other failures":        {"PATCH", policies + "hourkey-leases", `{"spec":{"failurePolicy":"Ignore"}}`, "is not the one"},
		"a namespace left out":  {"PATCH", policies + "hourkey-leases", `{"spec":{"matchConstraints":{"namespaceSelector":{"matchExpressions":[{"key":"a","operator":"DoesNotExist"}]}}}}`, "is not the one"},
		"with parameters":       {"PATCH", policies + "hourkey-leases", `{"spec":{"paramKind":{"apiVersion":"v1","kind":"ConfigMap"}}}`, "is not the one"},
		"bound to a part alone": {"PATCH", bindings + "hourkey-leases", `{"spec":{"matchResources":{"namespaceSelector":{"matchLabels":{"a":"b"}}}}}`, "is not the one"},
	} {
		s := newSite(t)
		if err := s.Do(t.Context(), s.Token(), change.method, change.path, change.body, nil, "Content-Type", mergePatch); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		refuses(t, s.issuer(t), broker.CodeWall, "configmaps/*:write", "[admission policy]", change.says)
		describe(t, s.issuer(t), wish(t, "configmaps/*:read,delete")) // needs no policy
		d := describe(t, s.issuer(t, "admission policy"), wish(t, "configmaps/*:write"))
		if !slices.ContainsFunc(d.Walls, func(w broker.WallFact) bool {
			return w.Wall == broker.WallWeak && strings.Contains(w.Stops, "owner references")
		}) {
			t.Errorf("%s: an accepted hole is no weak wall: %+v", name, d.Walls)
		}
		for _, path := range []string{policies, bindings} { // applying would add to what is there
			_ = s.Do(t.Context(), s.Token(), http.MethodDelete, path+"hourkey-leases", nil, nil)
		}
		s.Apply(t, kubernetes.PolicyYAML())
	}
	s := newSite(t) // waits until they are in force again, for the next test
	if d := describe(t, s.issuer(t, "admission policy"), wish(t, "configmaps/*:write")); len(d.Exceptions) > 0 || slices.ContainsFunc(d.Walls, func(w broker.WallFact) bool {
		return w.Wall == broker.WallWeak && strings.Contains(w.Stops, "owner references")
	}) {
		t.Errorf("a hole that is accepted and not there is told as one: %+v, %+v", d.Exceptions, d.Walls)
	}
}

// A policy that is there and that the server does not enforce looks right in every field.
func TestAPolicyThatIsNotEnforcedIsAMissingWall(t *testing.T) {
	t.Parallel()
	s := makeSite(t, bareServer(t))
	refuses(t, s.issuer(t), broker.CodeWall, "configmaps/*:write", "is there and not in force", "admission plugin ValidatingAdmissionPolicy")
	for _, f := range findings(t, s.issuer(t)) {
		if f.Object == "admission policy" && (strings.Contains(f.Mend, "failurePolicy") || !strings.Contains(f.Mend, "some seconds")) {
			t.Errorf("check prints what is there already: %s", f.Mend)
		}
	}
}

// A server that allows everything makes no Role a limit. In the quick run its answer is made up.
func TestAServerThatAllowsEverythingIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.between(t)
	b.breaks.Store(&breakage{http.MethodPost, "/localsubjectaccessreviews", says(`{"kind":"LocalSubjectAccessReview","status":{"allowed":true}}`, http.StatusCreated)})
	refuses(t, b.issuer(t, s), broker.CodeWall, "configmaps/*:read", "authorization-mode=Node,RBAC")
	if issuertest.Whole() {
		real := newSiteOn(t, kubetest.Start(t, "--authorization-mode=AlwaysAllow"))
		refuses(t, real.issuer(t), broker.CodeWall, "configmaps/*:read", "authorization-mode=Node,RBAC")
	}
}

// A hole that comes up after the audit is seen within the minute, and one that was mended is seen at once.
func TestAMendedWallIsSeenAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	config := s.config()
	now := time.Now()
	config.Now = func() time.Time { return now }
	issuer := open(t, config)
	refuses(t, issuer, broker.CodeWall, "persistentvolumeclaims/*:delete", "may not delete")
	s.grantBroker(t, `- {apiGroups: [""], resources: [persistentvolumeclaims], verbs: [get, list, delete, deletecollection]}`)
	now = now.Add(time.Second)
	describe(t, issuer, wish(t, "persistentvolumeclaims/*:delete"))
}

// Kinds that are not built in are data only where the environment says so.
func TestCustomResourcesAreRefusedUnlessPlain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.serve(t, "widgets", "gadgets")
	s.grantBroker(t, `- {apiGroups: [example.com], resources: [widgets], verbs: [get, list, create, update, patch]}`)
	config := s.config()
	config.Settings.Plain = []string{"widgets.example.com"}
	issuer := open(t, config)
	refuses(t, issuer, broker.CodeInvalid, "gadgets.example.com/x:write", "no kind that is known to be harmless", "plain")
	c := lease(t, issuer, "widgets.example.com/*:read,write")
	path := "/apis/example.com/v1/namespaces/" + s.staging + "/widgets"
	create := `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w"},"spec":{"replicas":3}}`
	if err := s.try(t.Context(), c, http.MethodPost, path, create); err != nil {
		t.Errorf("creating one: %v", err)
	}
	for name, body := range map[string]string{
		"scaling to zero": `{"spec":{"replicas":0}}`,
		"an owner":        `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"gone","uid":"1"}]}}`,
	} {
		if err := s.try(t.Context(), c, http.MethodPatch, path+"/w", body, "Content-Type", mergePatch); !isRefused(err) {
			t.Errorf("%s: %v; want it refused", name, err)
		}
	}
}

// serve makes custom resources, and waits until the server has them.
func (s *site) serve(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		kind := strings.ToUpper(name[:1]) + name[1:len(name)-1]
		s.Apply(t, `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: `+name+`.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: `+name+`, singular: `+name[:len(name)-1]+`, kind: `+kind+`}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`)
		issuertest.Until(t, func() bool {
			return s.Do(t.Context(), s.Token(), http.MethodGet, s.path("example.com/v1/"+name), nil, nil) == nil
		})
	}
}

// A prefix stands for what is there when a human looks at it, and for no more.
func TestAPrefixStandsForWhatIsThere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, name := range []string{"web-a", "web-b", "api-a"} {
		s.Apply(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: "+name+", namespace: "+s.staging+"}\n")
	}
	issuer := s.issuer(t)
	d := describe(t, issuer, wish(t, "configmaps/web-*:read", "configmaps/web-b:write"))
	if got, want := broker.Texts(d.Scopes), []string{"shop:configmaps/web-a:read", "shop:configmaps/web-b:read,write"}; !slices.Equal(got, want) {
		t.Errorf("scopes %v; want %v", got, want)
	}
	if again := describe(t, issuer, broker.Wish{Scopes: d.Scopes, TTL: d.TTL}); again.Digest() != d.Digest() {
		t.Errorf("described again with its own scopes, the digest is another: %+v, %+v", again, d)
	}
	c := lease(t, issuer, "configmaps/web-*:read")
	s.Apply(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web-c, namespace: "+s.staging+"}\n")
	for name, refused := range map[string]bool{"web-a": false, "web-b": false, "web-c": true, "api-a": true} {
		if err := s.try(t.Context(), c, http.MethodGet, "configmaps/"+name, nil); isRefused(err) != refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Two namespaces, and the same name in two clusters, are never the same thing.
func TestIdentityIsClusterAndNamespace(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	identities := map[string]bool{}
	for _, config := range []kubernetes.Config{s.config(), newSite(t).config(), makeSite(t, bareServer(t)).config()} {
		who, err := open(t, config).Identify(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		identities[who.ID] = true
	}
	if len(identities) != 3 {
		t.Errorf("identities: %v; want three", slices.Collect(maps.Keys(identities)))
	}
}
