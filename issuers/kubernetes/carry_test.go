package kubernetes_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
)

const mayEverything = `[{apiGroups: ["*"], resources: ["*"], verbs: ["*"]}]`

// account makes a ServiceAccount in staging, with a Role of its own.
func (s *site) account(t *testing.T, name, rules string) {
	t.Helper()
	s.Apply(t, strings.NewReplacer("NAME", name, "NS", s.staging, "RULES", rules).Replace(`
apiVersion: v1
kind: ServiceAccount
metadata: {name: NAME, namespace: NS}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: NAME, namespace: NS}
rules: RULES
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: NAME, namespace: NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: NAME}
subjects: [{kind: ServiceAccount, name: NAME, namespace: NS}]
`))
}

// employ makes a workload of each kind that runs pods, all of one name, with one field of their pods set. It gives their scopes, to write.
func (s *site) employ(t *testing.T, name, field string, value any) (scopes []string) {
	t.Helper()
	s.grantBroker(t, `- {apiGroups: ["", apps], resources: [replicationcontrollers, daemonsets, pods], verbs: [get, list, create, update, patch, delete, deletecollection]}`)
	for path, scope := range map[string]string{
		"apps/v1/deployments": "deployments.apps/NAME:read,write", "apps/v1/statefulsets": "statefulsets.apps/NAME:read,write",
		"apps/v1/replicasets": "replicasets.apps/NAME:read,write", "apps/v1/daemonsets": "daemonsets.apps/NAME:write,delete",
		"replicationcontrollers": "replicationcontrollers/NAME:write", "batch/v1/cronjobs": "cronjobs.batch/NAME:write,delete", "pods": "pods/NAME:read,write",
	} {
		s.make(t, path, name, field, value)
		scopes = append(scopes, strings.ReplaceAll(scope, "NAME", name))
	}
	return scopes
}

// make makes one workload, by the path of its kind, with one field of its pods set.
func (s *site) make(t *testing.T, path, name, field string, value any) {
	t.Helper()
	labels, template := map[string]any{"app": name[:min(len(name), 20)]}, podWith("", field, value)
	template["metadata"] = map[string]any{"labels": labels}
	spec := map[string]any{"selector": map[string]any{"matchLabels": labels}, "template": template}
	finite := podWith("", field, value)
	finite["spec"].(map[string]any)["restartPolicy"] = "Never" //nolint:forcetypeassert // as podWith makes it
	delete(finite, "metadata")
	switch path {
	case "replicationcontrollers":
		spec["selector"] = labels
	case "batch/v1/jobs":
		spec = map[string]any{"template": finite}
	case "batch/v1/cronjobs":
		spec = map[string]any{"schedule": "0 0 * * *", "jobTemplate": map[string]any{"spec": map[string]any{"template": finite}}}
	case "pods":
		spec = podWith("", field, value)["spec"].(map[string]any) //nolint:forcetypeassert // as podWith makes it
	}
	if err := s.Do(t.Context(), s.Token(), http.MethodPost, s.path(path), map[string]any{"metadata": map[string]any{"name": name}, "spec": spec}, nil); err != nil {
		t.Fatalf("making %s/%s: %v", path, name, err)
	}
}

// beyond is what a description says that a lease can do beyond what is granted.
func (s *site) beyond(t *testing.T, scopes ...string) []string {
	t.Helper()
	d := describe(t, s.issuer(t), wish(t, scopes...))
	var beyond []broker.Scope
	for _, wall := range d.Walls {
		beyond = append(beyond, wall.Gives...)
	}
	return broker.Texts(broker.Normalize(beyond))
}

func allOf(scope string) string {
	kind, rest, _ := strings.Cut(scope, "/")
	_, actions, _ := strings.Cut(rest, ":")
	return kind + "/*:" + actions
}

// Whoever changes a workload runs code as its account: a lease to deploy an operator is one for what that operator may do. The admission policy
// stops none of it.
func TestDeployingIntoAWorkloadIsApprovedAsItsAccount(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.account(t, "operator", mayEverything)
	scopes := s.employ(t, "operator", "serviceAccountName", "operator")
	for _, scope := range scopes {
		for _, asked := range []string{scope, allOf(scope), strings.Replace(scope, "/operator", "/oper*", 1)} {
			if got := s.beyond(t, asked); !slices.Contains(got, "shop:*:read,write,delete,admin") {
				t.Errorf("%s gives %v beyond; want what the account may do", asked, got)
			}
		}
	}
	for _, scope := range []string{
		"deployments.apps/web:read,write", "deployments.apps/web*:read,write", "deployments.apps/new:read,write", "deployments.apps/*:read", "deployments.apps/operator:read",
		"deployments.apps+scale/operator:read,write", "deployments.apps/operator:read,delete", "jobs.batch/*:read,write", "configmaps/*:read,write",
	} {
		if got := s.beyond(t, scope); slices.Contains(got, "shop:*:read,write,delete,admin") {
			t.Errorf("%s gives %v beyond: it puts no code into the operator", scope, got)
		}
	}
	c := lease(t, s.issuer(t), "deployments.apps/operator:read,write", "pods/operator:read,write")
	for path, body := range map[string]string{
		"apps/v1/deployments/operator": `{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"mine:1","command":["sh"]}]}}}}`,
		"pods/operator":                `{"spec":{"containers":[{"name":"c","image":"mine:1"}]}}`,
	} {
		if err := s.try(t.Context(), c, http.MethodPatch, path, body, "Content-Type", strategicPatch); err != nil {
			t.Errorf("%s: %v; then the description says too much", path, err)
		}
	}
	if err := s.Do(t.Context(), s.tokenOf(t, s.staging, "operator"), http.MethodDelete, s.path("configmaps/other"), nil, nil); err != nil {
		t.Errorf("what the code of the new image could do: %v", err)
	}
}

// A CronJob's pods are there at night alone, and a StatefulSet's come and go: who may write every pod, or one that is not there yet, may write those.
func TestPodsThatAreNotThereYetCountAsAnyOfTheNamespace(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.withoutSets(t)
	if got := s.beyond(t, "pods/*:read,write", "pods/debug:write"); len(got) > 0 {
		t.Errorf("where no account has rights and no claim is there: %v beyond", got)
	}
	s.account(t, "operator", `[{apiGroups: [""], resources: [configmaps], verbs: [delete]}]`)
	s.Apply(t, "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data, namespace: "+s.staging+"}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n")
	lease(t, s.issuer(t), "configmaps/*:read") // whose account is bound to something as well
	for _, scope := range []string{"pods/*:read,write", "pods/db-0:write"} {
		if got := s.beyond(t, scope); !slices.Equal(got, []string{"shop:*:delete", "shop:persistentvolumeclaims/data:delete"}) {
			t.Errorf("%s gives %v beyond", scope, got)
		}
	}
	if err := s.Do(t.Context(), s.Token(), http.MethodPost, s.path("pods"), pod("there", nil), nil); err != nil {
		t.Fatal(err)
	}
	for _, scope := range []string{"pods/there:read,write", "pods/th*:write", "pods/*:read"} {
		if got := s.beyond(t, scope); len(got) > 0 {
			t.Errorf("%s gives %v beyond: it has no account and no claim", scope, got)
		}
	}
}

// What a template has, its pods have once they are there, and whoever may write any pod may write those: an identity for another system, and a
// claim. A template of any kind counts.
func TestPodsThatAreNotThereYetHaveWhatTheirTemplatesHave(t *testing.T) {
	t.Parallel()
	token := map[string]any{"name": "t", "projected": map[string]any{"sources": []any{map[string]any{"serviceAccountToken": map[string]any{"path": "t", "audience": "sts.example.com"}}}}}
	for _, kind := range []string{"apps/v1/deployments", "apps/v1/replicasets", "apps/v1/statefulsets", "apps/v1/daemonsets", "replicationcontrollers", "batch/v1/cronjobs", "batch/v1/jobs"} {
		s := newSite(t)
		s.withoutSets(t)
		if err := s.Do(t.Context(), s.Token(), http.MethodPost, s.path("pods"), pod("there", nil), nil); err != nil {
			t.Fatal(err)
		}
		s.make(t, kind, "nightly", "volumes", []any{token, ephemeral()})
		want := []string{"shop:*:read,write,delete,admin", "shop:persistentvolumeclaims/nightly-*:delete"}
		if kind == "apps/v1/statefulsets" {
			want = append(want, "shop:statefulsets.apps/nightly:delete") // which such a pod can stop
		}
		for _, scope := range []string{"pods/*:read,write", "pods/nightly-1:write"} {
			if got := s.beyond(t, scope); !slices.Equal(got, want) {
				t.Errorf("%s: %s gives %v beyond", kind, scope, got)
			}
		}
		for _, scope := range []string{"pods/there:read,write", "pods/*:read"} {
			if got := s.beyond(t, scope); len(got) > 0 {
				t.Errorf("%s: %s gives %v beyond: it is no pod of the template", kind, scope, got)
			}
		}
	}
}

// Without a look at every template, nobody may write pods that are not there yet, and the check says by which line that is mended.
func TestTemplatesThatCannotBeSeenAreAMissingWall(t *testing.T) {
	t.Parallel()
	s := newSiteOn(t, orSkip(t, shared), `  - {apiGroups: ["apps"], resources: ["daemonsets"], verbs: ["get", "list"]}`+"\n", "")
	const line = `{apiGroups: ["apps"], resources: ["daemonsets"], verbs: ["list"]}`
	refuses(t, s.issuer(t), broker.CodeWall, "pods/*:read,write", "may not list daemonsets of apps", line)
	describe(t, s.issuer(t), wish(t, "pods/*:read", "deployments.apps/*:read,write"))
	found := findings(t, s.issuer(t))
	if len(found) != 1 || found[0].Refuses || found[0].Object != "admin apps/daemonsets" || !strings.Contains(found[0].Mend, line) {
		t.Errorf("check finds %+v", found)
	}
}

// The claim of a generic ephemeral volume is called after the pod: code can empty it as any other.
func TestTheClaimOfAnEphemeralVolumeCounts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, scope := range s.employ(t, "files", "volumes", []any{ephemeral()}) {
		want := "shop:persistentvolumeclaims/files-*:delete"
		if strings.HasPrefix(scope, "pods/") {
			want = "shop:persistentvolumeclaims/files-v:delete"
		}
		if got := s.beyond(t, scope); !slices.Equal(got, []string{want}) {
			t.Errorf("%s gives %v beyond; want %s", scope, got, want)
		}
	}
	long := strings.Repeat("n", 80) // of which the server leaves 58 in the names of its pods
	s.make(t, "apps/v1/replicasets", long, "volumes", []any{ephemeral()})
	if got := s.beyond(t, "replicasets.apps/"+long+":write"); !slices.Equal(got, []string{"shop:persistentvolumeclaims/" + long[:58] + "*:delete"}) {
		t.Errorf("one with a long name gives %v beyond", got)
	}
	var made struct{ Metadata struct{ Name string } }
	one := pod("", nil)
	one["metadata"] = map[string]any{"generateName": long + "-"} // as a controller asks for it
	if err := s.Do(t.Context(), s.Token(), http.MethodPost, s.path("pods"), one, &made); err != nil || len(made.Metadata.Name) != 63 || !strings.HasPrefix(made.Metadata.Name, long[:58]) {
		t.Errorf("the server calls a pod of it %q, %v", made.Metadata.Name, err)
	}
}

// The template of a Job that is there never changes, so no code is put into one.
func TestTheTemplateOfAJobCannotBeChanged(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	one := job("made")
	if err := s.Do(t.Context(), s.Token(), http.MethodPost, s.path("batch/v1/jobs"), one, nil); err != nil {
		t.Fatal(err)
	}
	change := `{"spec":{"suspend":true,"template":{"spec":{"containers":[{"name":"c","image":"mine:1"}]}}}}`
	err := s.Do(t.Context(), s.Token(), http.MethodPatch, s.path("batch/v1/jobs/made"), change, nil, "Content-Type", strategicPatch)
	if err == nil || !strings.Contains(err.Error(), "immutable") {
		t.Errorf("another image, by the superuser: %v; want it refused", err)
	}
}

// What an account may do is read out of every binding that names it, wherever it holds. What cannot be told counts as everything.
func TestWhatAnAccountMayDoIsToldByItsBindings(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const all = "shop:*:read,write,delete,admin"
	role := func(name, namespace, more string) string {
		return "kind: Role\nmetadata: {name: " + name + ", namespace: " + namespace + "}\nrules: [{apiGroups: [''], resources: [configmaps], verbs: [get, delete]}]" + more
	}
	const toAccount, toUser = "[{kind: ServiceAccount, name: NAME, namespace: NS}]", "[{kind: User, apiGroup: rbac.authorization.k8s.io, name: 'system:serviceaccount:NS:NAME'}]"
	for name, one := range map[string]struct{ role, binding, to, want string }{
		"not-bound":    {},
		"by-name":      {role("NAME", "NS", ""), "kind: RoleBinding\nmetadata: {name: NAME, namespace: NS}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: NAME}", toAccount, "shop:*:read,delete"},
		"by-user":      {role("NAME", "NS", ""), "kind: RoleBinding\nmetadata: {name: NAME, namespace: NS}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: NAME}", toUser, "shop:*:read,delete"},
		"elsewhere":    {role("NAME-NS", "production", ""), "kind: RoleBinding\nmetadata: {name: NAME-NS, namespace: production}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: NAME-NS}", toAccount, "shop:*:read,delete,admin"},
		"everywhere":   {"kind: ClusterRole\nmetadata: {name: NAME-NS}\nrules: [{apiGroups: [''], resources: [configmaps], verbs: [get]}]", "kind: ClusterRoleBinding\nmetadata: {name: NAME-NS}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NAME-NS}", toAccount, "shop:*:read,admin"},
		"may-grow":     {"kind: ClusterRole\nmetadata: {name: NAME-NS}\naggregationRule: {clusterRoleSelectors: [{matchLabels: {a: b}}]}", "kind: RoleBinding\nmetadata: {name: NAME, namespace: NS}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NAME-NS}", toAccount, all},
		"role-is-gone": {"", "kind: RoleBinding\nmetadata: {name: NAME, namespace: NS}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: nowhere}", toAccount, ""},
		"asks-itself":  {"kind: ClusterRole\nmetadata: {name: NAME-NS}\nrules: [{apiGroups: [authorization.k8s.io], resources: [selfsubjectaccessreviews], verbs: [create]}]", "kind: ClusterRoleBinding\nmetadata: {name: NAME-NS}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NAME-NS}", toAccount, ""},
		"of-another":   {"", "kind: RoleBinding\nmetadata: {name: NAME, namespace: NS}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}", "[{kind: ServiceAccount, name: NAME, namespace: production}]", ""},
	} {
		const api = "apiVersion: rbac.authorization.k8s.io/v1\n"
		fill := strings.NewReplacer("NAME", name, "NS", s.staging)
		if one.role != "" {
			s.Apply(t, fill.Replace(api+one.role+"\n"))
		}
		if one.binding != "" {
			s.Apply(t, fill.Replace(api+one.binding+"\nsubjects: "+one.to+"\n"))
		}
		if err := s.Do(t.Context(), s.Token(), http.MethodPost, s.path("apps/v1/deployments"), workload(name, "Deployment", "apps/v1", name), nil); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(s.beyond(t, "deployments.apps/"+name+":write"), " "); got != one.want {
			t.Errorf("%s: gives %q beyond; want %q", name, got, one.want)
		}
	}
	d := describe(t, s.issuer(t), wish(t, "deployments.apps/elsewhere:write"))
	if at := slices.IndexFunc(d.Walls, func(w broker.WallFact) bool { return len(w.Gives) > 0 }); !strings.Contains(d.Walls[at].How, "elsewhere may read,delete,admin, by rolebinding production/elsewhere-"+s.staging) {
		t.Errorf("reviewers are told: %s", d.Walls[at].How)
	}
}

// An identity that a workload has for another system than the cluster may be worth anything there.
func TestAnIdentityForAnotherSystemCountsAsEverything(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for name, source := range map[string]map[string]any{
		"audience":    {"serviceAccountToken": map[string]any{"path": "t", "audience": "sts.example.com"}},
		"certificate": {"podCertificate": map[string]any{"signerName": "example.com/s", "keyType": "ED25519", "credentialBundlePath": "b"}},
		"usual":       {"serviceAccountToken": map[string]any{"path": "t"}},
	} {
		one := workload(name, "Deployment", "apps/v1", "")
		one["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["volumes"] = []any{map[string]any{"name": "t", "projected": map[string]any{"sources": []any{source}}}} //nolint:forcetypeassert // as workload makes it
		if err := s.Do(t.Context(), s.Token(), http.MethodPost, s.path("apps/v1/deployments"), one, nil); err != nil {
			t.Fatal(err)
		}
		if got := len(s.beyond(t, "deployments.apps/"+name+":write")) > 0; got != (name != "usual") {
			t.Errorf("%s: gives something beyond is %t", name, got)
		}
	}
}

// Code can empty what is mounted to it: a write on what mounts a claim is a delete of what is in that.
func TestDeployingIntoAWorkloadWithClaimsIsADelete(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, scope := range s.employ(t, "files", "volumes", []any{claimOf("data")}) {
		for _, asked := range []string{scope, allOf(scope)} {
			if got := s.beyond(t, asked); !slices.Contains(got, "shop:persistentvolumeclaims/data:delete") {
				t.Errorf("%s gives %v beyond; want the delete of the claim", asked, got)
			}
		}
	}
	if err := s.Do(t.Context(), s.Token(), http.MethodPost, s.path("apps/v1/statefulsets"), claiming("kept"), nil); err != nil {
		t.Fatal(err)
	}
	if got := s.beyond(t, "statefulsets.apps/kept:write"); !slices.Equal(got, []string{"shop:persistentvolumeclaims/data-kept-*:delete"}) {
		t.Errorf("a StatefulSet with claims of its own gives %v beyond", got)
	}
	var volumes []any
	for _, name := range strings.Fields("a b c d e f g h i j k") {
		volumes = append(volumes, map[string]any{"name": name, "persistentVolumeClaim": map[string]any{"claimName": name}})
	}
	s.employ(t, "many", "volumes", volumes)
	if got := s.beyond(t, "deployments.apps/many:write"); !slices.Equal(got, []string{"shop:persistentvolumeclaims/*:delete"}) {
		t.Errorf("one with eleven claims gives %v beyond", got)
	}
}

// A workload that gets another account, or a claim, after it was described is described otherwise: who approved the one did not approve the other,
// and nothing is issued.
func TestAnAccountThatIsSwappedAfterwardsIsNotWhatWasApproved(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.account(t, "reader", `[{apiGroups: [""], resources: [configmaps], verbs: [get]}]`)
	s.account(t, "other-reader", `[{apiGroups: [""], resources: [configmaps], verbs: [get]}]`)
	issuer := s.issuer(t)
	was := describe(t, issuer, wish(t, "deployments.apps/*:read,write"))
	for _, change := range []string{
		`{"serviceAccountName":"reader"}`, `{"serviceAccountName":"other-reader","serviceAccount":"other-reader"}`,
		`{"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"data"}}]}`,
	} {
		if err := s.Do(t.Context(), s.Token(), http.MethodPatch, s.path("apps/v1/deployments/web"), `{"spec":{"template":{"spec":`+change+`}}}`, nil, "Content-Type", mergePatch); err != nil {
			t.Fatal(err)
		}
		now := describe(t, issuer, broker.Wish{Scopes: was.Scopes, TTL: was.TTL})
		if now.Digest() == was.Digest() {
			t.Errorf("%s: described as before: %v", change, broker.Texts(now.Means()))
		}
		was = now
	}
}

// What cannot be looked at is no workload without an account, and no account without rights.
func TestAWorkloadThatCannotBeLookedAtIsNotDescribed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.account(t, "operator", mayEverything)
	s.employ(t, "operator", "serviceAccountName", "operator")
	b := s.between(t)
	for _, ending := range []string{"/deployments/operator", "/deployments", "/roles/operator"} {
		scope := "deployments.apps/operator:write"
		if ending == "/deployments" {
			scope = "deployments.apps/*:write"
		}
		failures := answers()
		maps.Copy(failures, map[string]func(http.ResponseWriter, int, []byte){
			"null": says("null", http.StatusOK), "another kind": says(`{"kind":"Status","status":"Success"}`, http.StatusOK),
			"forbidden": says(`{"kind":"Status","reason":"Forbidden"}`, http.StatusForbidden),
		})
		for what, answer := range failures {
			b.breaks.Store(&breakage{http.MethodGet, ending, answer})
			issuer, before := b.issuer(t, s), b.broken.Load()
			d, err := issuer.Describe(t.Context(), wish(t, scope))
			b.breaks.Store(nil)
			if err == nil || b.broken.Load() == before {
				t.Errorf("%s, %s: described as %v (%d answers broken)", ending, what, broker.Texts(d.Means()), b.broken.Load()-before)
			}
		}
	}
}
