package kubernetes_test

import (
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/kubernetes"
	"github.com/hourkey/hourkey/issuers/kubernetes/kubetest"
)

var update = flag.Bool("update", false, "write the outcomes of the bypasses into the documentation")

// pod is one that the restricted Pod Security level lets pass. change may be nil.
func pod(name string, change func(spec, container map[string]any)) map[string]any {
	container := map[string]any{
		"name": "c", "image": "i:1",
		"securityContext": map[string]any{"allowPrivilegeEscalation": false, "capabilities": map[string]any{"drop": []string{"ALL"}}},
	}
	spec := map[string]any{
		"securityContext": map[string]any{"runAsNonRoot": true, "seccompProfile": map[string]any{"type": "RuntimeDefault"}},
	}
	if change != nil {
		change(spec, container)
	}
	spec["containers"] = []any{container}
	return map[string]any{"metadata": map[string]any{"name": name}, "spec": spec}
}

func podWith(name, field string, value any) map[string]any {
	return pod(name, func(spec, _ map[string]any) { spec[field] = value })
}

func workload(name, kind, version, account string) map[string]any {
	template := podWith("", "serviceAccountName", account)
	template["metadata"] = map[string]any{"labels": map[string]any{"app": name}}
	return map[string]any{
		"apiVersion": version, "kind": kind, "metadata": map[string]any{"name": name},
		"spec": map[string]any{"selector": map[string]any{"matchLabels": map[string]any{"app": name}}, "template": template},
	}
}

// wide is the widest lease to write that needs no human: what makes pods, in a namespace with the restricted level.
var wide = []string{
	"configmaps/*:read,write", "pods/*:read,write", "deployments.apps/*:read,write", "statefulsets.apps/*:read,write", "jobs.batch/*:read,write",
	"replicasets.apps/*:read,write", "replicationcontrollers/*:read,write", "widgets.example.com/*:read,write",
	"deployments.apps+scale/*:read,write", "statefulsets.apps+scale/*:read,write",
}

// wideRules are what the broker's account must have beside what the documentation gives it, to give that.
var wideRules = []string{
	`- {apiGroups: [""], resources: [replicationcontrollers], verbs: [get, list, create, update, patch]}`,
	`- {apiGroups: [example.com], resources: [widgets], verbs: [get, list, create, update, patch]}`,
}

// bypasses are the ways around "no delete" and "no power" that are known for Kubernetes, tried with that lease.
func (s *site) bypasses() map[string]attack {
	merge, apply := []string{"Content-Type", mergePatch}, []string{"Content-Type", applyPatch}
	return map[string]attack{
		"delete a pod":                                      {"DELETE", "pods/mine", nil, nil},
		"delete all pods (deletecollection)":                {"DELETE", "pods", nil, nil},
		"evict a pod":                                       {"POST", "pods/mine/eviction", `{"metadata":{"name":"mine"}}`, nil},
		"scale a Deployment to zero":                        {"PATCH", "apps/v1/deployments/web", `{"spec":{"replicas":0}}`, merge},
		"scale a Deployment to zero by its subresource":     {"PATCH", "apps/v1/deployments/web/scale", `{"spec":{"replicas":0}}`, merge},
		"scale a Deployment to zero by PUT":                 {"PUT", "apps/v1/deployments/web/scale", `{"metadata":{"name":"web"},"spec":{}}`, nil},
		"scale a Deployment to zero by server-side apply":   {"PATCH", "apps/v1/deployments/web?fieldManager=x&force=true", `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replicas":0}}`, apply},
		"scale a Deployment down to one":                    {"PATCH", "apps/v1/deployments/web/scale?dryRun=All", `{"spec":{"replicas":1}}`, merge},
		"scale a StatefulSet down to one":                   {"PATCH", "apps/v1/statefulsets/db/scale", `{"spec":{"replicas":1}}`, merge},
		"have a StatefulSet drop its claims":                {"PATCH", "apps/v1/statefulsets/db", `{"spec":{"persistentVolumeClaimRetentionPolicy":{"whenDeleted":"Delete","whenScaled":"Delete"}}}`, merge},
		"drop the history of a Deployment":                  {"PATCH", "apps/v1/deployments/web", `{"spec":{"revisionHistoryLimit":0}}`, merge},
		"give a Deployment an owner that is gone":           {"PATCH", "apps/v1/deployments/web", `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"gone","uid":"1"}]}}`, merge},
		"give a ConfigMap an owner that is gone":            {"PATCH", "configmaps/settings", `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"gone","uid":"1"}]}}`, merge},
		"take a finalizer away":                             {"PATCH", "configmaps/kept", `{"metadata":{"finalizers":null}}`, merge},
		"empty a ConfigMap by PUT":                          {"PUT", "configmaps/settings", `{"metadata":{"name":"settings"}}`, nil},
		"overwrite a value of a ConfigMap":                  {"PATCH", "configmaps/settings?dryRun=All", `{"data":{"color":""}}`, merge},
		"have a Job removed when it is finished":            {"PATCH", "batch/v1/jobs/mine", `{"spec":{"ttlSecondsAfterFinished":0}}`, merge},
		"suspend a Job":                                     {"PATCH", "batch/v1/jobs/mine", `{"spec":{"suspend":true}}`, merge},
		"give a pod a deadline":                             {"PATCH", "pods/mine", `{"spec":{"activeDeadlineSeconds":1}}`, merge},
		"a pod with another account":                        {"POST", "pods", podWith("p", "serviceAccountName", "powerful"), nil},
		"a Deployment with another account":                 {"POST", "apps/v1/deployments", workload("w", "Deployment", "apps/v1", "powerful"), nil},
		"another account for a Deployment":                  {"PATCH", "apps/v1/deployments/web", `{"spec":{"template":{"spec":{"serviceAccountName":"powerful"}}}}`, merge},
		"a Deployment with a lease's own account":           {"POST", "apps/v1/deployments", workload("w", "Deployment", "apps/v1", "hk-test-1"), nil},
		"a pod with a priority over others":                 {"POST", "pods", podWith("p", "priorityClassName", "system-cluster-critical"), nil},
		"a pod with a folder of the machine (hostPath)":     {"POST", "pods", podWith("p", "volumes", []any{map[string]any{"name": "v", "hostPath": map[string]any{"path": "/"}}}), nil},
		"a pod in the machine's network":                    {"POST", "pods", podWith("p", "hostNetwork", true), nil},
		"a privileged pod":                                  {"POST", "pods", pod("p", func(_, c map[string]any) { c["securityContext"] = map[string]any{"privileged": true} }), nil},
		"a pod with a Secret of the namespace":              {"POST", "pods", podWith("p", "volumes", []any{map[string]any{"name": "v", "secret": map[string]any{"secretName": "password"}}}), nil},
		"a pod with a Secret that holds an account's token": {"POST", "pods", podWith("p", "volumes", []any{map[string]any{"name": "v", "secret": map[string]any{"secretName": "token-of-powerful"}}}), nil},
		"an ephemeral container in a pod":                   {"PATCH", "pods/mine/ephemeralcontainers", `{"spec":{"ephemeralContainers":[{"name":"e","image":"i"}]}}`, merge},
		"exec in a pod":                                     {"POST", "pods/mine/exec?command=sh&stdout=true", nil, nil},
		"exec in a pod by GET":                              {"GET", "pods/mine/exec?command=sh&stdout=true", nil, nil},
		"attach to a pod":                                   {"POST", "pods/mine/attach?stdout=true", nil, nil},
		"a tunnel to a pod (portforward)":                   {"POST", "pods/mine/portforward?ports=80", nil, nil},
		"the proxy to a pod":                                {"GET", "pods/mine/proxy/", nil, nil},
		"a token of another account":                        {"POST", "serviceaccounts/powerful/token", `{"spec":{}}`, nil},
		"impersonation headers":                             {"GET", "secrets", nil, []string{"Impersonate-User", "superuser", "Impersonate-Group", "system:masters"}},
		"a RoleBinding":                                     {"POST", "rbac.authorization.k8s.io/v1/rolebindings", binding, nil},
		"a ClusterRole that is aggregated into others":      {"POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", `{"metadata":{"name":"m","labels":{"rbac.authorization.k8s.io/aggregate-to-edit":"true"}},"rules":[]}`, nil},
		"a Secret":                                         {"GET", "secrets/password", nil, nil},
		"a watch, which would outlive the lease":           {"GET", "pods?watch=1&timeoutSeconds=86400", nil, nil},
		"another namespace":                                {"GET", "/api/v1/namespaces/" + s.production + "/configmaps/settings", nil, nil},
		"all namespaces":                                   {"GET", "/api/v1/configmaps", nil, nil},
		"an image that does not run":                       {"PATCH", "apps/v1/deployments/web?dryRun=All", `{"spec":{"template":{"metadata":{"annotations":{"x":"y"}}}}}`, merge},
		"the template of a Deployment with a host's files": {"PATCH", "apps/v1/deployments/web?dryRun=All", `{"spec":{"template":{"spec":{"volumes":[{"name":"v","hostPath":{"path":"/"}}]}}}}`, merge},
	}
}

// possible maps the bypasses that work, everywhere, to what the wall of every description is said to stop and does not. The last makes no pod: see
// TestHostPathInATemplateMakesNoPod.
var possible = map[string]string{
	"an image that does not run":                       "deploying something that does not work",
	"code in a Deployment that has a Secret":           "the Secrets that a workload has, for code that is put into it",
	"a pod with a Secret to pull images by":            "a Secret to pull images by (imagePullSecrets), for a new pod",
	"overwrite a value of a ConfigMap":                 "overwriting what is in an object",
	"scale a Deployment down to one":                   "taking a Deployment down to one pod",
	"the template of a Deployment with a host's files": "deploying something that does not work",
}

// declared maps those that work, where there is such a thing, to what a human is then asked for: a delete of it, or its power.
var declared = map[string]string{
	"a ReplicaSet of no pods that takes a pod over":         "pods/lone",
	"a Deployment of no pods that takes a ReplicaSet over":  "apps/v1/replicasets/alone",
	"code in a Deployment whose account may do everything":  "apps/v1/deployments/operator",
	"code in a running pod whose account may do everything": "pods/operator",
	"code in a StatefulSet that mounts a claim":             "persistentvolumeclaims/files",
	"a pod of the name of a StatefulSet's next one":         "apps/v1/statefulsets/db",
}

// works holds a bypass that works to the description, and tells what that says of it.
func (s *site) works(t *testing.T, d broker.Description, name string) string {
	t.Helper()
	if path, is := declared[name]; is {
		s.isDeclared(t, d, name, attack{path: path})
		if slices.Contains(powerful, name) {
			return ": a lease that may do it is approved as all that the account may do"
		}
		return ": a lease that may do it is approved as the delete of that"
	}
	stops := possible[name]
	if !slices.ContainsFunc(d.Walls, func(w broker.WallFact) bool { return w.Stops == stops && w.Wall == broker.WallNone }) {
		t.Errorf("%s works, and no wall of the description says that nothing stops %q: %+v", name, stops, d.Walls)
	}
	return ", as every description says: nothing stops " + stops
}

func outcome(err error) string {
	r, answered := errors.AsType[*kubetest.Refusal](err)
	switch {
	case err == nil:
		return "**works**"
	case !answered:
		return "fault: " + err.Error()
	case r.Status == http.StatusForbidden && strings.Contains(r.Message, "violates PodSecurity"):
		return "refused by Pod Security"
	case r.Status == http.StatusForbidden && strings.Contains(r.Message, "cannot "):
		return "refused by RBAC"
	case isRefused(err) && r.Status == http.StatusUnprocessableEntity:
		return "refused by the admission policy"
	case r.Status == http.StatusUnprocessableEntity && r.Reason == "Invalid" && !strings.Contains(r.Message, "ValidatingAdmissionPolicy"), r.Status == http.StatusConflict, r.Status == http.StatusBadRequest:
		return "refused by the server itself"
	}
	return "fault: " + r.Error()
}

// Every known way around, each with a live lease. The table in the documentation is made of the outcomes.
func TestBypasses(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.furnish(t)
	s.inhabit(t)
	s.grantBroker(t, wideRules...)
	issuer := s.plainIssuer(t)
	d := describe(t, issuer, wish(t, wide...))
	c := leaseBy(t, issuer, d)
	s.makeMine(t, c)
	outcomes := map[string]string{}
	for name, a := range s.everyBypass() {
		err := s.try(t.Context(), c, a.method, a.path, a.body, a.header...)
		outcomes[name] = outcome(err)
		if strings.HasPrefix(outcomes[name], "fault") || err == nil != (possible[name]+declared[name] != "") {
			t.Errorf("%s: %s", name, outcomes[name])
		}
		if err == nil {
			outcomes[name] += s.works(t, d, name)
		}
	}
	s.intact(t)
	inDocumentation(t, outcomes)
}

// makeMine makes what a lease may make, for the bypasses to be tried on.
func (s *site) makeMine(t *testing.T, c broker.Credential) {
	t.Helper()
	for path, body := range map[string]any{"pods": pod("mine", nil), "batch/v1/jobs": job("mine")} {
		if err := s.try(t.Context(), c, http.MethodPost, path, body); err != nil {
			t.Fatalf("what a lease may do, %s: %v", path, err)
		}
	}
}

// plainIssuer is one for which widgets are nothing but data.
func (s *site) plainIssuer(t *testing.T, accept ...string) *kubernetes.Issuer {
	t.Helper()
	config := s.config(accept...)
	config.Settings.Plain = []string{"widgets.example.com"}
	return open(t, config)
}

func job(name string) map[string]any {
	template := pod("", func(spec, _ map[string]any) { spec["restartPolicy"] = "Never" })
	delete(template, "metadata")
	return map[string]any{"metadata": map[string]any{"name": name}, "spec": map[string]any{"template": template}}
}

// inDocumentation holds the table of the documentation to the outcomes.
func inDocumentation(t *testing.T, outcomes map[string]string) {
	t.Helper()
	table := "| | |\n|---|---|\n"
	for _, name := range slices.Sorted(maps.Keys(outcomes)) {
		table += "| " + name + " | " + outcomes[name] + " |\n"
	}
	issuertest.HoldPage(t, *update, documentation, "outcomes", table)
}

// There is no controller in the test, so the test does what the Deployment's would: it makes the pod of the template.
func TestHostPathInATemplateMakesNoPod(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	hostPath := podWith("of-the-template", "volumes", []any{map[string]any{"name": "v", "hostPath": map[string]any{"path": "/"}}})
	err := s.Do(t.Context(), s.Token(), http.MethodPost, s.path("pods"), hostPath, nil)
	if got := outcome(err); got != "refused by Pod Security" {
		t.Errorf("the controller's pod: %s", got)
	}
}

// Who may delete may also do what amounts to deleting: nobody asks a human twice.
func TestWhoMayDeleteMayScaleToZero(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	issuer := s.issuer(t)
	one := lease(t, issuer, "deployments.apps/web:read,write,delete", "configmaps/settings:write")
	merge := []string{"Content-Type", mergePatch}
	if err := s.try(t.Context(), one, http.MethodPatch, "apps/v1/deployments/web", `{"spec":{"replicas":0}}`, merge...); err != nil {
		t.Errorf("scaling to zero what may be deleted: %v", err)
	}
	err := s.try(t.Context(), one, http.MethodPatch, "configmaps/settings", `{"data":{"color":null}}`, merge...)
	if !isRefused(err) {
		t.Errorf("removing a key of what may not be deleted: %v; want it refused", err)
	}
	err = s.try(t.Context(), one, http.MethodPatch, "apps/v1/deployments/web", `{"spec":{"template":{"spec":{"serviceAccountName":"powerful"}}}}`, merge...)
	if !isRefused(err) {
		t.Errorf("another account, with delete: %v; want it refused: delete is not admin", err)
	}
}

// Create cannot be held to a name where the name is in the body (POST), and can where it is in the path.
func TestNamedWriteCreatesUnderThatNameAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := lease(t, s.issuer(t), "configmaps/new:read,write")
	apply := func(name string) error {
		object, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name}, "data": map[string]any{"a": "b"}})
		if err != nil {
			t.Fatal(err)
		}
		return s.try(t.Context(), c, http.MethodPatch, "configmaps/"+name+"?fieldManager=x", string(object), "Content-Type", applyPatch)
	}
	for name, err := range map[string]error{
		"POST":            s.try(t.Context(), c, http.MethodPost, "configmaps", `{"metadata":{"name":"new"}}`),
		"POST, generated": s.try(t.Context(), c, http.MethodPost, "configmaps", `{"metadata":{"generateName":"new"}}`),
		"another name":    apply("new2"),
		"another object":  s.try(t.Context(), c, http.MethodGet, "configmaps/settings", nil),
		"the list":        s.try(t.Context(), c, http.MethodGet, "configmaps", nil),
		"all by selector": s.try(t.Context(), c, http.MethodGet, "configmaps?fieldSelector=metadata.name%21%3Dnew", nil),
	} {
		if !isRefused(err) {
			t.Errorf("%s: %v; want it refused", name, err)
		}
	}
	for name, err := range map[string]error{
		"server-side apply": apply("new"),
		"its own list":      s.try(t.Context(), c, http.MethodGet, "configmaps?fieldSelector=metadata.name%3Dnew", nil),
	} {
		if err != nil {
			t.Errorf("%s: %v; want it to work", name, err)
		}
	}
}

// A role that is aggregated grows when somebody else labels another: a lease's Role is not one.
func TestAggregatedRolesGiveALeaseNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := lease(t, s.issuer(t), "configmaps/*:read")
	s.Apply(t, `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: aggregated-for-`+s.staging+`, labels: {rbac.authorization.k8s.io/aggregate-to-view: "true", rbac.authorization.k8s.io/aggregate-to-edit: "true"}}
rules: [{apiGroups: [""], resources: [secrets], verbs: [get]}]
`)
	if err := s.try(t.Context(), c, http.MethodGet, "secrets/password", nil); !isRefused(err) {
		t.Errorf("a secret: %v; want it refused", err)
	}
}
