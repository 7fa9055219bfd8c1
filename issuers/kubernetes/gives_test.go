package kubernetes_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
)

// powerful are the bypasses that would give power; every other one that is not among the possible ones would delete.
var powerful = []string{
	"a pod with another account", "a pod with another account, by the older field", "a Deployment with another account", "another account for a Deployment",
	"another account for a Deployment, by the older field", "a Deployment with a lease's own account", "a pod whose identity another system believes (audience)",
	"a Deployment whose identity another system believes", "a pod with a certificate of its account", "overwrite what pods trust (kube-root-ca.crt)",
	"a pod whose claim names a volume of the cluster", "a StatefulSet whose claim names a volume of the cluster",
	"a pod on a machine of one's choice", "a Deployment on a machine of one's choice",
	"a Deployment on the machines of a label", "a pod that tolerates every taint", "a Deployment that no pod of any namespace may be near",
	"a Deployment of a class of runtimes (runtimeClassName)", "a Deployment with a Secret that it did not have", "a pod with a Secret in a variable",
	"a pod with a Secret of the namespace", "a pod with a Secret that holds an account's token", "have a machine call a host (probe)",
	"a Deployment with a volume of a driver (csi)", "a Deployment with a device of others (resource claim)",
	"a pod with a folder of the machine (hostPath)", "a pod in the machine's network", "a privileged pod", "a pod with a priority over others",
	"code in a Deployment whose account may do everything", "code in a running pod whose account may do everything",
	"a Deployment with a Secret to pull images by",
}

// kindOfPath is what a scope calls the resource of an attack's path, if it is one of the namespace.
func kindOfPath(path string) string {
	path, _, _ = strings.Cut(path, "?")
	parts, group := strings.Split(path, "/"), ""
	if strings.Contains(parts[0], ".") || slices.Contains([]string{"apps", "batch"}, parts[0]) {
		group, parts = "."+parts[0], parts[2:]
	}
	kind := parts[0] + group
	if len(parts) > 2 {
		kind += "+" + parts[2]
	}
	if len(parts) > 1 {
		return kind + "/" + parts[1]
	}
	return kind + "/*"
}

// isDeclared holds a bypass that works to the description of the lease that it works with: a human must have been asked for that.
func (s *site) isDeclared(t *testing.T, d broker.Description, name string, a attack) {
	t.Helper()
	needs := broker.Delete
	if slices.Contains(powerful, name) {
		needs = broker.Admin
	}
	wants := broker.Scope{Target: s.ref.Target, Resource: broker.Resource(kindOfPath(a.path)), Actions: needs}
	if !broker.Covers(d.Means(), []broker.Scope{wants}) {
		t.Errorf("%s works, and nobody was asked for %s: the description means %v", name, wants, broker.Texts(d.Means()))
	}
}

// On a cluster without the admission policy, which is accepted, and whose Pod Security label nobody enforces: whatever works and
// destroys, or gives power, is what reviewers approve.
func TestWhatWorksWithoutThePolicyIsWhatIsApproved(t *testing.T) {
	t.Parallel()
	s := makeSite(t, bareServer(t))
	s.furnish(t)
	s.inhabit(t)
	s.grantBroker(t, wideRules...)
	issuer := s.plainIssuer(t, "admission policy")
	data := describe(t, issuer, wish(t, "configmaps/*:read,write", "widgets.example.com/*:read,write", "deployments.apps+scale/*:read,write", "statefulsets.apps+scale/*:read,write"))
	pods := describe(t, issuer, wish(t, "pods/*:read,write,admin", "deployments.apps/*:read,write,admin", "statefulsets.apps/*:read,write,admin",
		"jobs.batch/*:read,write,admin", "replicasets.apps/*:read,write,admin", "replicationcontrollers/*:read,write,admin"))
	ofData, ofPods := leaseBy(t, issuer, data), leaseBy(t, issuer, pods)
	s.makeMine(t, ofPods)
	worked := 0
	for name, a := range s.everyBypass() {
		if possible[name] != "" {
			continue
		}
		for c, d := range map[*broker.Credential]broker.Description{&ofData: data, &ofPods: pods} {
			if s.try(t.Context(), *c, a.method, dry(a.path), a.body, a.header...) == nil {
				worked++
				s.isDeclared(t, d, name, a)
			}
		}
	}
	if worked < 30 {
		t.Errorf("only %d bypasses work without the policy: then they prove nothing with it", worked)
	}
}

// dry is a path whose call changes nothing, so that what works does not spoil it for the next.
func dry(path string) string {
	if strings.Contains(path, "?") {
		return path + "&dryRun=All"
	}
	return path + "?dryRun=All"
}

// Bindings that give every account something, and are accepted: the lease can do it, and it is what is approved.
func TestWhatAnAcceptedBindingGivesIsWhatIsApproved(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for rule, want := range map[string]broker.Actions{
		`{apiGroups: [""], resources: [configmaps], verbs: [get, list]}`:                           broker.Read,
		`{apiGroups: [""], resources: [configmaps], verbs: [get, delete]}`:                         broker.Read | broker.Delete,
		`{apiGroups: [""], resources: [configmaps], verbs: [deletecollection]}`:                    broker.Delete,
		`{apiGroups: [""], resources: [configmaps], verbs: [patch]}`:                               broker.Write,
		`{apiGroups: [""], resources: [secrets], verbs: [get]}`:                                    broker.Read | broker.Admin,
		`{apiGroups: [""], resources: [pods], verbs: [create]}`:                                    broker.Write | broker.Admin,
		`{apiGroups: [""], resources: [pods/exec], verbs: [get]}`:                                  broker.Read | broker.Write | broker.Delete | broker.Admin,
		`{apiGroups: [""], resources: [serviceaccounts/token], verbs: [create]}`:                   broker.Write | broker.Delete | broker.Admin,
		`{apiGroups: [autoscaling], resources: [horizontalpodautoscalers], verbs: [update]}`:       broker.Write | broker.Delete,
		`{apiGroups: [example.com], resources: [databases], verbs: [get]}`:                         broker.Read,
		`{apiGroups: [example.com], resources: [databases], verbs: [patch]}`:                       broker.Read | broker.Write | broker.Delete | broker.Admin,
		`{apiGroups: [example.com], resources: [databases/status, databases/scale], verbs: [get]}`: broker.Read,
		// What a subresource of somebody's own API does is not known: KubeVirt opens a console by GET.
		`{apiGroups: [subresources.kubevirt.io], resources: [virtualmachineinstances/console], verbs: [get]}`: broker.Read | broker.Write | broker.Delete | broker.Admin,
		`{apiGroups: ["*"], resources: [configmaps], verbs: [get]}`:                                           broker.Read | broker.Write | broker.Delete | broker.Admin,
		`{apiGroups: [""], resources: ["*"], verbs: [list]}`:                                                  broker.Read | broker.Write | broker.Delete | broker.Admin,
		`{apiGroups: [""], resources: [configmaps], verbs: ["*"]}`:                                            broker.Read | broker.Write | broker.Delete | broker.Admin,
		`{apiGroups: [""], resources: [nodes], verbs: [get]}`:                                                 broker.Read,
		`{apiGroups: [""], resources: [nodes/proxy], verbs: [get]}`:                                           broker.Read | broker.Write | broker.Delete | broker.Admin,
		`{apiGroups: [""], resources: [nodes], verbs: [delete]}`:                                              broker.Delete | broker.Admin,
		`{apiGroups: [""], resources: [users], verbs: [impersonate]}`:                                         broker.Read | broker.Write | broker.Delete | broker.Admin,
		`{nonResourceURLs: [/metrics], verbs: [get]}`:                                                         broker.Read,
	} {
		s.Apply(t, strings.NewReplacer("NAME", s.staging, "RULE", rule).Replace(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: everybody-in-NAME}
rules: [RULE]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: everybody, namespace: NAME}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: everybody-in-NAME}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:serviceaccounts:NAME"}]
`))
		d := describe(t, s.issuer(t, "rolebinding "+s.staging+"/everybody"), wish(t, "configmaps/settings:read"))
		given := slices.DeleteFunc(d.Means(), func(one broker.Scope) bool { return one.Resource != "*" })
		if len(given) != 1 || given[0].Actions != want {
			t.Errorf("%s: described as %v; want %s of everything", rule, broker.Texts(d.Means()), want)
		}
		if !slices.Equal(broker.Texts(d.Scopes), []string{"shop:configmaps/settings:read"}) {
			t.Errorf("%s: granted is %v", rule, broker.Texts(d.Scopes))
		}
	}
}

// What a binding gives in another namespace, or in all of them, is power over other environments: whoever it is given to, and by whatever way
// a lease comes to it.
func TestWhatReachesBeyondTheNamespaceIsApprovedAsAdmin(t *testing.T) {
	t.Parallel()
	const account, group = "{kind: ServiceAccount, name: NAME, namespace: NS}", "{apiGroup: rbac.authorization.k8s.io, kind: Group, name: 'system:serviceaccounts:NS'}"
	for _, one := range []struct{ name, to, accepts, scope string }{
		{"default", account, "account default", "pods/*:write"},
		{"everybody", group, "BINDING", "configmaps/*:read"},
		{"operator", account, "", "deployments.apps/web:write"},
	} {
		for binding, where := range map[string]string{
			"rolebinding NS/beyond":            "kind: RoleBinding\nmetadata: {name: beyond, namespace: NS}",
			"rolebinding production/beyond-NS": "kind: RoleBinding\nmetadata: {name: beyond-NS, namespace: production}",
			"clusterrolebinding beyond-NS":     "kind: ClusterRoleBinding\nmetadata: {name: beyond-NS}",
		} {
			s := newSite(t)
			fill := strings.NewReplacer("NS", s.staging, "NAME", one.name)
			const api = "apiVersion: rbac.authorization.k8s.io/v1\n"
			s.Apply(t, fill.Replace(api+"kind: ClusterRole\nmetadata: {name: beyond-NS}\nrules: [{apiGroups: [''], resources: [configmaps], verbs: [patch]}]\n"))
			s.Apply(t, fill.Replace(api+where+"\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: beyond-NS}\nsubjects: ["+one.to+"]\n"))
			if err := s.Do(t.Context(), s.Token(), http.MethodPatch, s.path("apps/v1/deployments/web"), `{"spec":{"template":{"spec":{"serviceAccountName":"operator"}}}}`, nil, "Content-Type", mergePatch); err != nil {
				t.Fatal(err)
			}
			want := broker.Write
			if where != "kind: RoleBinding\nmetadata: {name: beyond, namespace: NS}" {
				want |= broker.Admin
			}
			var accepts []string
			if one.accepts != "" {
				accepts = []string{strings.ReplaceAll(one.accepts, "BINDING", fill.Replace(binding))}
			}
			d := describe(t, s.issuer(t, accepts...), wish(t, one.scope))
			given := slices.DeleteFunc(d.Means(), func(one broker.Scope) bool { return one.Resource != "*" })
			if len(given) != 1 || given[0].Actions != want {
				t.Errorf("%s, by %s: described as %v; want %s of everything", one.name, binding, broker.Texts(d.Means()), want)
			}
			s.remove(t, fill.Replace(binding))
		}
	}
}

// remove deletes a binding, called as in a description: those of a cluster reach the other tests.
func (s *site) remove(t *testing.T, binding string) {
	t.Helper()
	kind, name, _ := strings.Cut(binding, " ")
	path := "/apis/rbac.authorization.k8s.io/v1/" + kind + "s/" + name
	if namespace, name, found := strings.Cut(name, "/"); found {
		path = "/apis/rbac.authorization.k8s.io/v1/namespaces/" + namespace + "/rolebindings/" + name
	}
	if err := s.Do(t.Context(), s.Token(), http.MethodDelete, path, nil, nil); err != nil {
		t.Fatal(err)
	}
}

// A binding that deletes, with a live lease to read. Its end is one, although its account may still read: everybody may.
func TestALeaseToReadThatCanDeleteIsApprovedAsDelete(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Apply(t, `
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: all-edit, namespace: `+s.staging+`}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: all-edit}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:serviceaccounts:`+s.staging+`"}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: all-edit, namespace: `+s.staging+`}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [get, list, delete]}]
`)
	issuer := s.issuer(t, "rolebinding "+s.staging+"/all-edit")
	d := describe(t, issuer, wish(t, "configmaps/settings:read"))
	c := leaseBy(t, issuer, d)
	if err := s.try(t.Context(), c, http.MethodDelete, "configmaps/other", nil); err != nil {
		t.Fatalf("the binding gives nothing: %v", err)
	}
	s.isDeclared(t, d, "deleting by a binding", attack{path: "configmaps/other"})
}

// Pods run as the account default; what it may do, who deploys may.
func TestWhatTheDefaultAccountMayDoIsWhatIsApproved(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Apply(t, `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: default-may, namespace: `+s.staging+`}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [get, delete]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: default-may, namespace: `+s.staging+`}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: default-may}
subjects: [{kind: ServiceAccount, name: default, namespace: `+s.staging+`}]
`)
	issuer := s.issuer(t, "account default")
	if d := describe(t, issuer, wish(t, "pods/*:write")); !broker.Covers(d.Means(), []broker.Scope{{Target: "shop", Resource: "*", Actions: broker.Read | broker.Delete}}) {
		t.Errorf("described as %v", broker.Texts(d.Means()))
	}
	if d := describe(t, issuer, wish(t, "configmaps/*:write")); len(d.Means()) != 1 {
		t.Errorf("a lease that makes no pods: %v", broker.Texts(d.Means()))
	}
}

// With the admission policy, a change of what a pod mounts already is the ordinary deployment of a service's own code.
func TestAServiceKeepsTheClaimThatItHas(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mounting := strings.NewReplacer("NS", s.staging).Replace(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: files, namespace: NS}
spec: {replicas: 1, selector: {matchLabels: {app: files}}, template: {metadata: {labels: {app: files}}, spec: {containers: [{name: c, image: "c:1"}], volumes: [{name: data, persistentVolumeClaim: {claimName: files}}]}}}
`)
	s.Apply(t, mounting)
	c := lease(t, s.issuer(t), "deployments.apps/files:read,write")
	if err := s.try(t.Context(), c, http.MethodPatch, "apps/v1/deployments/files", `{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"c:2"}]}}}}`, "Content-Type", strategicPatch); err != nil {
		t.Errorf("a new image: %v", err)
	}
	other := `{"spec":{"template":{"spec":{"volumes":[{"name":"data","persistentVolumeClaim":{"claimName":"others"}}]}}}}`
	if err := s.try(t.Context(), c, http.MethodPatch, "apps/v1/deployments/files", other, "Content-Type", strategicPatch); !isRefused(err) {
		t.Errorf("another claim under the same name: %v; want it refused", err)
	}
}

// A policy that costs too much to judge refuses: an object can be made as large as the server takes it.
func TestAnObjectTooLargeToJudgeIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	data := map[string]string{}
	for at := range 5000 {
		data[fmt.Sprintf("k%d", at)] = "v"
	}
	if err := s.Do(t.Context(), s.Token(), http.MethodPost, s.path("configmaps"), map[string]any{"metadata": map[string]any{"name": "large"}, "data": data}, nil); err != nil {
		t.Fatal(err)
	}
	c := lease(t, s.issuer(t), "configmaps/*:read,write")
	err := s.try(t.Context(), c, http.MethodPatch, "configmaps/large", `{"data":{"k1":null}}`, "Content-Type", mergePatch)
	if err == nil || !strings.Contains(err.Error(), "hourkey-leases") {
		t.Errorf("removing one of 5000 keys: %v; want it refused", err)
	}
}

// A shell in a pod is whatever the pod is, and what it has stored.
func TestAShellInAPodCountsAsDelete(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.grantBroker(t, `- {apiGroups: [""], resources: [pods, pods/exec], verbs: [get, list, create]}`)
	d := describe(t, s.issuer(t, "open streams"), wish(t, "pods+exec/*:admin"))
	s.isDeclared(t, d, "exec", attack{path: "pods/*/exec"})
}

// What no controller owns is taken over by a new one, which removes it. Such pods and ReplicaSets make the lease one to delete.
func TestWhatNobodyOwnsMakesANewControllerADelete(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	issuer := s.issuer(t)
	deletes := func(scopes ...string) bool {
		return broker.AllActions(describe(t, issuer, wish(t, scopes...)).Means()).Has(broker.Delete)
	}
	controllers := []string{"deployments.apps/*:write", "statefulsets.apps/*:write", "replicasets.apps/*:write"}
	if deletes(controllers...) {
		t.Error("delete, where nothing can be taken over")
	}
	s.furnish(t)
	s.withoutSets(t)
	for scope, want := range map[string]bool{
		"replicasets.apps/*:write": true, "replicasets.apps/new:write": true, "replicasets.apps/alone:write": false, "deployments.apps/*:write": true,
		"deployments.apps/web:write": false, "statefulsets.apps/*:write": false, "configmaps/*:write": false, "pods/*:write": false, "replicasets.apps/*:read": false,
	} {
		if deletes(scope) != want {
			t.Errorf("%s: delete is %t; want %t", scope, !want, want)
		}
	}
	named := pod("db-0", nil)
	if err := s.Do(t.Context(), s.Token(), http.MethodPost, s.path("pods"), named, nil); err != nil {
		t.Fatal(err)
	}
	d := describe(t, issuer, wish(t, "replicasets.apps/*:write", "deployments.apps/*:write"))
	if got := broker.Texts(d.Means()); !slices.Contains(got, "shop:pods/lone:delete") || !slices.Contains(got, "shop:replicasets.apps/alone:delete") || slices.Contains(got, "shop:*:delete") {
		t.Errorf("described as %v; want what can be taken over by its name", got)
	}
	d = describe(t, issuer, wish(t, "statefulsets.apps/*:write"))
	if !broker.AllActions(d.Means()).Has(broker.Delete) || len(d.Facts) != 2 || d.Facts[1].About != "pods/db-0" {
		t.Errorf("a StatefulSet would call pod db-0 its own: %v, %+v", broker.Texts(d.Means()), d.Facts)
	}
}

// A namespace can bear the label of a Pod Security level that nobody enforces.
func TestALabelThatNobodyEnforcesIsNoWall(t *testing.T) {
	t.Parallel()
	s := makeSite(t, bareServer(t))
	issuer := s.issuer(t, "admission policy")
	refuses(t, issuer, broker.CodeDenied, "deployments.apps/web:write", "counts as admin", "lets pods pass that the level refuses")
	if found := findings(t, issuer); !slices.Contains(objectsOf(found), "pod security") {
		t.Errorf("check finds %v", objectsOf(found))
	}
	describe(t, issuer, wish(t, "deployments.apps/web:write,admin"))
}

// Where the broker cannot try the level, it is not taken for enforced.
func TestALevelThatCannotBeTriedIsNoWall(t *testing.T) {
	t.Parallel()
	s := newSiteOn(t, orSkip(t, shared), `resources: ["configmaps", "pods"], verbs`, `resources: ["configmaps"], verbs`)
	refuses(t, s.issuer(t), broker.CodeDenied, "jobs.batch/*:write", "counts as admin", "cannot try it", "cannot create resource")
}
