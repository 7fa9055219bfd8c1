package kubernetes_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/kubernetes/kubetest"
)

// What a template has may stay, and what stays can make more of a write than it looks like.

// wallOf is what reviewers are told about one thing.
func (s *site) wallOf(t *testing.T, stops string, scopes ...string) broker.WallFact {
	t.Helper()
	d := describe(t, s.issuer(t), wish(t, scopes...))
	at := slices.IndexFunc(d.Walls, func(w broker.WallFact) bool { return w.Stops == stops })
	if at < 0 {
		t.Fatalf("%v: no wall says what stops %q: %+v", scopes, stops, d.Walls)
	}
	return d.Walls[at]
}

// withoutSets takes away the StatefulSet that every site has.
func (s *site) withoutSets(t *testing.T) {
	t.Helper()
	if err := s.Do(t.Context(), s.Token(), http.MethodDelete, s.path("apps/v1/statefulsets/db"), nil, nil); err != nil {
		t.Fatal(err)
	}
}

const (
	stopsEvicting = "ending pods of every namespace by a priority that is there"
	stopsRoom     = "taking the room on machines"
	stopsMachine  = "pods that take over their machine"
)

// The attack: a workload of staging that has a priority is scaled up, and the scheduler ends production's pods to make room.
func TestScalingWhatHasAPriorityIsApprovedAsEndingPodsElsewhere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Apply(t, "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: important}\nvalue: 1000000\n")
	scopes := s.employ(t, "vip", "priorityClassName", "important")
	s.grantBroker(t, `- {apiGroups: ["", apps], resources: [replicationcontrollers, daemonsets, pods], verbs: [get, list, create, update, patch, delete, deletecollection]}`,
		`- {apiGroups: ["", apps], resources: [replicationcontrollers/scale, replicasets/scale], verbs: [get, update, patch]}`,
		`- {apiGroups: [autoscaling], resources: [horizontalpodautoscalers], verbs: [get, list, create, update, patch, delete, deletecollection]}`)
	s.make(t, "batch/v1/jobs", "vip", "priorityClassName", "important")
	scopes = append(scopes, "deployments.apps+scale/vip:read,write", "statefulsets.apps+scale/vip:write", "replicasets.apps+scale/vip:write",
		"replicationcontrollers+scale/vip:write", "jobs.batch/vip:write,delete")
	for _, scope := range scopes {
		for _, asked := range []string{scope, allOf(scope), strings.Replace(scope, "/vip", "/vi*", 1)} {
			if got := s.beyond(t, asked); !slices.Contains(got, "shop:*:delete,admin") {
				t.Errorf("%s gives %v beyond; want the delete of anything", asked, got)
			}
		}
	}
	for _, scope := range []string{"horizontalpodautoscalers.autoscaling/*:write,delete", "pods/vip-1:write"} {
		if got := s.beyond(t, scope); !slices.Contains(got, "shop:*:delete,admin") {
			t.Errorf("%s gives %v beyond; want the delete of anything", scope, got)
		}
	}
	for _, scope := range []string{
		"deployments.apps/web:read,write", "deployments.apps+scale/web:write", "statefulsets.apps+scale/db:write", "deployments.apps/vip:read", "deployments.apps/vip:delete",
		"deployments.apps/new:write", "jobs.batch/*:read,write", "configmaps/*:write,delete",
	} {
		if got := s.beyond(t, scope); slices.Contains(got, "shop:*:delete,admin") {
			t.Errorf("%s gives %v beyond: no pod of a priority comes of it", scope, got)
		}
	}
	c := lease(t, s.issuer(t), "deployments.apps+scale/vip:write")
	if err := s.try(t.Context(), c, http.MethodPatch, "apps/v1/deployments/vip/scale", `{"spec":{"replicas":4}}`, "Content-Type", mergePatch); err != nil {
		t.Errorf("scaling it: %v; then the description says too much", err)
	}
	wall := s.wallOf(t, stopsEvicting, "deployments.apps+scale/*:write")
	if wall.Wall != broker.WallNone || !strings.Contains(wall.How, "deployments.apps/vip") || strings.Contains(wall.How, "deployments.apps/web") {
		t.Errorf("reviewers are told %+v; want what has a priority", wall)
	}
	if got := s.wallOf(t, stopsRoom, "deployments.apps+scale/web:write"); got.Wall != broker.WallNone {
		t.Errorf("of the room that scaling takes, reviewers are told %+v", got)
	}
}

// What a template says beside its class counts where the server does not work the priority out itself.
func TestAPriorityIsNotBroughtInByItsNumber(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	token, path := s.worker(t, mayMakePods), "apps/v1/deployments"
	for name, one := range map[string]change{"plain": nil, "numbered": in(t, "priority", "1000")} {
		if err := s.Do(t.Context(), s.Token(), http.MethodPost, s.path(path), maker(path, name, one), nil); err != nil {
			t.Fatal(err)
		}
	}
	s.isNotBroughtIn(t, token, "a priority takes room", "a priority by its number", path, "plain", in(t, "priority", "1000"))
	s.isNotBroughtIn(t, token, "a priority takes room", "a higher one", path, "numbered", in(t, "priority", "1001"))
	s.mayStay(t, token, "a priority by its number", path, in(t, "priority", "1000"))
	if got := s.beyond(t, "deployments.apps/numbered:write"); !slices.Equal(got, []string{"shop:*:delete,admin"}) {
		t.Errorf("it gives %v beyond", got)
	}
}

// A class can stand for less than nothing: of a pod the server has written down for how much, of a template nobody can tell.
func TestAPodOfALowPriorityEndsNoOther(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Apply(t, "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: humble}\nvalue: -10\n")
	for _, path := range []string{"pods", "apps/v1/deployments"} {
		s.make(t, path, "last", "priorityClassName", "humble")
	}
	if got := s.beyond(t, "pods/last:write"); len(got) > 0 {
		t.Errorf("the pod gives %v beyond", got)
	}
	if got := s.beyond(t, "deployments.apps/last:write"); !slices.Equal(got, []string{"shop:*:delete,admin"}) {
		t.Errorf("the template gives %v beyond", got)
	}
}

const excepting = `apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: PodSecurity
  configuration: {apiVersion: pod-security.admission.config.k8s.io/v1, kind: PodSecurityConfiguration, exemptions: {runtimeClasses: [vendor]}}
`

// classes are two of runtimes.
const classes = "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {name: vendor}\nhandler: runc\n---\napiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {name: sandbox}\nhandler: runsc\n"

// The attack: a workload has a class of runtimes of which the server makes an exception, so its new template takes over a machine, in a namespace
// that enforces the level.
func TestAnExceptedRuntimeClassThatIsThereIsApprovedAsTheMachine(t *testing.T) {
	t.Parallel()
	issuertest.OnlyWhole(t, "starts a server of its own")
	file := filepath.Join(t.TempDir(), "admission.yaml")
	if err := os.WriteFile(file, []byte(excepting), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSiteOn(t, kubetest.Start(t, "--admission-control-config-file="+file))
	s.Apply(t, classes)
	for _, path := range []string{"apps/v1/deployments", "pods"} {
		s.make(t, path, "gpu", "runtimeClassName", "vendor")
		s.make(t, path, "guarded", "runtimeClassName", "sandbox")
	}
	for scope, want := range map[string]broker.Wall{
		"deployments.apps/gpu:read,write": broker.WallNone, "deployments.apps/g*:write": broker.WallNone, "pods/*:write": broker.WallNone,
		"deployments.apps/guarded:write": broker.WallNative, "pods/guarded:write": broker.WallNative, "deployments.apps/web:write": broker.WallNative,
	} {
		if got := s.wallOf(t, stopsMachine, scope); got.Wall != want || slices.Contains(broker.Texts(got.Gives), "shop:*:delete,admin") != (want == broker.WallNone) {
			t.Errorf("%s: reviewers are told %+v; want %s", scope, got, want)
		}
	}
	privileged := podWith("taken", "runtimeClassName", "vendor")
	privileged["spec"].(map[string]any)["hostPID"] = true //nolint:forcetypeassert // as podWith makes it
	if err := s.Do(t.Context(), s.Token(), http.MethodPost, s.path("pods"), privileged, nil); err != nil {
		t.Errorf("what the controller would make of such a template: %v; then the description says too much", err)
	}
}

// A class that is there is tried, as the level is. One of which no pod can be tried is not held.
func TestARuntimeClassThatIsThereIsTried(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.grantBroker(t, `- {apiGroups: [""], resources: [pods/ephemeralcontainers], verbs: [update, patch]}`)
	s.Apply(t, strings.ReplaceAll(classes, "vendor", "another"))
	s.make(t, "apps/v1/deployments", "guarded", "runtimeClassName", "sandbox")
	s.make(t, "pods", "guarded", "runtimeClassName", "sandbox")
	s.make(t, "pods", "other", "runtimeClassName", "another")
	s.make(t, "apps/v1/deployments", "nowhere", "runtimeClassName", "nowhere")
	for scope, want := range map[string]broker.Wall{
		"deployments.apps/guarded:write": broker.WallNative, "deployments.apps/nowhere:write": broker.WallNone, "deployments.apps/*:write": broker.WallNone,
		"pods/guarded:write": broker.WallNative, "pods/*:write": broker.WallNone, "pods+ephemeralcontainers/guarded:write,admin": broker.WallNative,
	} {
		if got := s.wallOf(t, stopsMachine, scope); got.Wall != want || want == broker.WallNone && !strings.Contains(got.How, "nowhere") {
			t.Errorf("%s: reviewers are told %+v; want %s", scope, got, want)
		}
	}
	if err := s.Do(t.Context(), s.Token(), http.MethodDelete, "/apis/node.k8s.io/v1/runtimeclasses/another", nil, nil); err != nil {
		t.Fatal(err)
	}
	issuertest.Until(t, func() bool { // the server knows a moment late that it is gone
		return s.wallOf(t, stopsMachine, "pods+ephemeralcontainers/other:write,admin").Wall == broker.WallNone
	})
}

// The attack: the limit of history stays, and as many rollouts push out all that an undo could go back to. An ordinary rollout needs no human for
// that, and reviewers are told.
func TestHistoryPushedOutIsTold(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.grantBroker(t, `- {apiGroups: [apps], resources: [daemonsets], verbs: [get, list, create, update, patch, delete]}`)
	s.make(t, "apps/v1/daemonsets", "web", "terminationGracePeriodSeconds", 1)
	const stops = "pushing out what a rollout could go back to"
	for _, scope := range []string{"deployments.apps/web:read,write", "statefulsets.apps/*:write", "daemonsets.apps/web:write,delete"} {
		if got := s.wallOf(t, stops, scope); got.Wall != broker.WallNone || len(got.Gives) > 0 || !strings.Contains(got.How, "revisionHistoryLimit") {
			t.Errorf("%s: reviewers are told %+v", scope, got)
		}
	}
	if got := s.beyond(t, "deployments.apps/web:read,write"); len(got) > 0 {
		t.Errorf("an ordinary rollout gives %v beyond", got)
	}
	c := lease(t, s.issuer(t), "deployments.apps/web:read,write")
	for _, image := range strings.Fields("a:1 a:2 a:3 a:4 a:5 a:6") { // the limit is 5
		body := `{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"` + image + `"}]}}}}`
		if err := s.try(t.Context(), c, http.MethodPatch, "apps/v1/deployments/web", body, "Content-Type", strategicPatch); err != nil {
			t.Errorf("%s: %v", image, err)
		}
	}
}

// The attack: a template names a share in a volume of a driver, which outlives its pods, and another image empties it.
func TestCodeInAWorkloadWithAVolumeOfADriverIsADelete(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.withoutSets(t)
	volume := func(readOnly bool) []any {
		return []any{map[string]any{"name": "v", "csi": map[string]any{"driver": "nfs.csi.k8s.io", "readOnly": readOnly, "volumeAttributes": map[string]any{"share": "/orders"}}}}
	}
	for _, scope := range s.employ(t, "files", "volumes", volume(false)) {
		for _, asked := range []string{scope, allOf(scope), strings.Replace(scope, "/files", "/fil*", 1)} {
			if got := s.beyond(t, asked); !slices.Contains(got, "shop:*:delete") {
				t.Errorf("%s gives %v beyond; want the delete of what the driver mounts", asked, got)
			}
		}
	}
	if got := s.wallOf(t, "what code destroys in volumes of drivers (csi) that its workload mounts", "deployments.apps/files:write"); !strings.Contains(got.How, "nfs.csi.k8s.io") {
		t.Errorf("reviewers are told %+v", got)
	}
	s = newSite(t)
	for _, scope := range s.employ(t, "secrets", "volumes", volume(true)) {
		if got := s.beyond(t, scope); len(got) > 0 {
			t.Errorf("%s gives %v beyond, of a volume that is read-only", scope, got)
		}
	}
	c := lease(t, s.issuer(t), "deployments.apps/secrets:write")
	body := map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"volumes": volume(false)}}}}
	if err := s.try(t.Context(), c, http.MethodPatch, "apps/v1/deployments/secrets", body, "Content-Type", mergePatch); !isRefused(err) {
		t.Errorf("to be written: %v; want it refused", err)
	}
}
