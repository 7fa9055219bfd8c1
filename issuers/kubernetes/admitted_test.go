package kubernetes_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// change sets fields of a pod's spec and of its container.
type change = func(spec, container map[string]any)

// in is a change of the spec alone, as JSON says it.
func in(t *testing.T, field, value string) change {
	t.Helper()
	return func(spec, _ map[string]any) { spec[field] = parsed(t, value) }
}

// inContainer is a change of the container alone.
func inContainer(t *testing.T, field, value string) change {
	t.Helper()
	return func(_, container map[string]any) { container[field] = parsed(t, value) }
}

func parsed(t *testing.T, text string) (value any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// podMakers are the paths of all kinds in which a pod is written down.
var podMakers = []string{
	"pods", "podtemplates", "replicationcontrollers", "apps/v1/deployments", "apps/v1/statefulsets", "apps/v1/daemonsets", "apps/v1/replicasets",
	"batch/v1/jobs", "batch/v1/cronjobs",
}

// mayMakePods are the rights to write all of them, and none to delete.
const mayMakePods = `[{apiGroups: ["", apps, batch], resources: [pods, podtemplates, replicationcontrollers, deployments, statefulsets, daemonsets, replicasets, jobs, cronjobs], verbs: [get, create, update, patch]}]`

// maker is an object of the kind of a path, with a pod that is changed. change may be nil.
func maker(path, name string, change change) map[string]any {
	labels, template := map[string]any{"app": name}, pod("", change)
	template["metadata"] = map[string]any{"labels": labels}
	spec := map[string]any{"template": template}
	object := map[string]any{"metadata": map[string]any{"name": name}, "spec": spec}
	switch path {
	case "pods":
		object["spec"] = template["spec"]
	case "podtemplates":
		delete(object, "spec")
		object["template"] = template
	case "replicationcontrollers":
		spec["selector"] = labels
	case "batch/v1/jobs", "batch/v1/cronjobs":
		template["spec"].(map[string]any)["restartPolicy"] = "Never" //nolint:forcetypeassert // as pod makes it
		if path == "batch/v1/cronjobs" {
			object["spec"] = map[string]any{"schedule": "0 0 * * *", "jobTemplate": map[string]any{"spec": spec}}
		}
	default:
		spec["selector"] = map[string]any{"matchLabels": labels}
	}
	return object
}

// worker gives the token of an account that is called as a lease is, so that the policies hold it.
func (s *site) worker(t *testing.T, rules string) string {
	t.Helper()
	name := fmt.Sprintf("hk-worker-%d", serial.Add(1))
	s.account(t, name, rules)
	return s.tokenOf(t, s.staging, name)
}

// doesNotBringIn holds the admission policy to refusing each change in what is made and in what is there, in whatever kind, and to letting it
// stay where somebody else made it.
func (s *site) doesNotBringIn(t *testing.T, says string, changes map[string]change) {
	t.Helper()
	token := s.worker(t, mayMakePods)
	for _, path := range podMakers {
		plain := fmt.Sprintf("plain-%d", serial.Add(1))
		if err := s.Do(t.Context(), token, http.MethodPost, s.path(path), maker(path, plain, nil), nil); err != nil {
			t.Errorf("making plain %s: %v; want it to work", path, err)
		}
		for what, change := range changes {
			s.isNotBroughtIn(t, token, says, what, path, plain, change)
			s.mayStay(t, token, what, path, change)
		}
	}
}

func (s *site) isNotBroughtIn(t *testing.T, token, says, what, path, plain string, change change) {
	t.Helper()
	err := s.Do(t.Context(), token, http.MethodPost, s.path(path+"?dryRun=All"), maker(path, "new", change), nil)
	if !isRefused(err) || !strings.Contains(err.Error(), says) {
		t.Errorf("making %s with %s: %v; want it refused: %s", path, what, err, says)
	}
	if path == "pods" || path == "batch/v1/jobs" { // the server itself lets nobody change it
		return
	}
	err = s.Do(t.Context(), token, http.MethodPut, s.path(path+"/"+plain+"?dryRun=All"), maker(path, plain, change), nil)
	if !isRefused(err) || !strings.Contains(err.Error(), says) {
		t.Errorf("changing %s to %s: %v; want it refused: %s", path, what, err, says)
	}
}

// mayStay: a new image, and whatever else, where the change was made by somebody who may.
func (s *site) mayStay(t *testing.T, token, what, path string, there change) {
	t.Helper()
	name := fmt.Sprintf("has-%d", serial.Add(1))
	if err := s.Do(t.Context(), s.Token(), http.MethodPost, s.path(path), maker(path, name, there), nil); err != nil {
		t.Fatalf("making %s with %s: %v", path, what, err)
	}
	object := maker(path, name, func(spec, container map[string]any) {
		there(spec, container)
		container["image"] = "i:2"
	})
	body := any(object)
	method, header := http.MethodPut, []string(nil)
	switch path {
	case "pods":
		method, header, body = http.MethodPatch, []string{"Content-Type", strategicPatch}, `{"spec":{"containers":[{"name":"c","image":"i:2"}]}}`
	case "batch/v1/jobs":
		method, header, body = http.MethodPatch, []string{"Content-Type", mergePatch}, `{"metadata":{"labels":{"a":"b"}}}`
	}
	if err := s.Do(t.Context(), token, method, s.path(path+"/"+name), body, nil, header...); err != nil {
		t.Errorf("a new image in %s that had %s: %v; want it to work", path, what, err)
	}
}

// Required to be far from every pod of every namespace, one pod of staging's would keep production's off all machines, for longer than
// an hour.
func TestPodsOfOtherNamespacesAreNotKeptOffMachines(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const term = `{"labelSelector":{},"topologyKey":"kubernetes.io/os",WHOSE}`
	required := `{"SIDE":{"requiredDuringSchedulingIgnoredDuringExecution":[` + term + `]}}`
	preferred := `{"SIDE":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":1,"podAffinityTerm":` + term + `}]}}`
	changes := map[string]change{}
	for what, affinity := range map[string]string{"required": required, "preferred": preferred} {
		for _, side := range []string{"podAffinity", "podAntiAffinity"} {
			for _, whose := range []string{`"namespaceSelector":{}`, `"namespaces":["production"]`} {
				changes[what+" "+side+" "+whose] = in(t, "affinity", strings.NewReplacer("SIDE", side, "WHOSE", whose).Replace(affinity))
			}
		}
	}
	s.doesNotBringIn(t, "does not keep pods of other namespaces off machines", changes)
	own := strings.NewReplacer("SIDE", "podAntiAffinity", "WHOSE", `"namespaces":["`+s.staging+`"]`).Replace(required)
	if err := s.Do(t.Context(), s.worker(t, mayMakePods), http.MethodPost, s.path("pods"), maker("pods", "spread", in(t, "affinity", own)), nil); err != nil {
		t.Errorf("far from pods of its own namespace: %v; want it to work", err)
	}
}

// A wish that was there and meant little cannot become a demand: near to far, rather to never.
func TestANeighbourThatIsThereIsNotMadeAnEnemy(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const term = `{"labelSelector":{},"namespaceSelector":{},"topologyKey":"kubernetes.io/os"}`
	there := in(t, "affinity", `{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[`+term+`]},"podAntiAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":1,"podAffinityTerm":`+term+`}]}}`)
	if err := s.Do(t.Context(), s.Token(), http.MethodPost, s.path("apps/v1/deployments"), maker("apps/v1/deployments", "near", there), nil); err != nil {
		t.Fatal(err)
	}
	enemy := in(t, "affinity", `{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[`+term+`]}}`)
	err := s.Do(t.Context(), s.worker(t, mayMakePods), http.MethodPut, s.path("apps/v1/deployments/near"), maker("apps/v1/deployments", "near", enemy), nil)
	if !isRefused(err) {
		t.Errorf("far from all, of what was near to all: %v; want it refused", err)
	}
}

// A server can except a class of runtimes from Pod Security: a pod of that class may then be privileged.
func TestARuntimeClassIsNotChosen(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Apply(t, "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {name: kata}\nhandler: kata\n")
	s.doesNotBringIn(t, "does not choose the runtime of a pod", map[string]change{"a runtime class": in(t, "runtimeClassName", `"kata"`)})
}

// A pod tells what is in its Secrets to whoever wrote what runs in it: without the word of the human whom `secrets:read` takes.
func TestASecretIsNotReadByWayOfAPod(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.doesNotBringIn(t, "needs permission to read secrets", map[string]change{
		"a volume":             in(t, "volumes", `[{"name":"v","secret":{"secretName":"password"}}]`),
		"a projected volume":   in(t, "volumes", `[{"name":"v","projected":{"sources":[{"configMap":{"name":"settings"}},{"secret":{"name":"password"}}]}}]`),
		"a variable":           inContainer(t, "env", `[{"name":"A","value":"b"},{"name":"P","valueFrom":{"secretKeyRef":{"name":"password","key":"value"}}}]`),
		"all variables":        inContainer(t, "envFrom", `[{"configMapRef":{"name":"settings"}},{"secretRef":{"name":"password"}}]`),
		"one before the start": in(t, "initContainers", `[{"name":"i","image":"i:1","securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}},"envFrom":[{"secretRef":{"name":"password"}}]}]`),
	})
}

// What is there is one key of one Secret, and not the others.
func TestASecretThatIsThereDoesNotLeadToOthers(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const path = "apps/v1/deployments"
	there := inContainer(t, "env", `[{"name":"P","valueFrom":{"secretKeyRef":{"name":"password","key":"value"}}}]`)
	if err := s.Do(t.Context(), s.Token(), http.MethodPost, s.path(path), maker(path, "has", there), nil); err != nil {
		t.Fatal(err)
	}
	token := s.worker(t, mayMakePods)
	for what, change := range map[string]change{
		"another key":    inContainer(t, "env", `[{"name":"P","valueFrom":{"secretKeyRef":{"name":"password","key":"other"}}}]`),
		"another Secret": inContainer(t, "env", `[{"name":"P","valueFrom":{"secretKeyRef":{"name":"other","key":"value"}}}]`),
		"all of it":      inContainer(t, "envFrom", `[{"secretRef":{"name":"password"}}]`),
	} {
		if err := s.Do(t.Context(), token, http.MethodPut, s.path(path+"/has"), maker(path, "has", change), nil); !isRefused(err) {
			t.Errorf("%s: %v; want it refused", what, err)
		}
	}
	readers := s.worker(t, strings.TrimSuffix(mayMakePods, "]")+`, {apiGroups: [""], resources: [secrets], verbs: [get]}]`)
	if err := s.Do(t.Context(), readers, http.MethodPut, s.path(path+"/has"), maker(path, "has", inContainer(t, "envFrom", `[{"secretRef":{"name":"password"}}]`)), nil); err != nil {
		t.Errorf("all of it, for who may read secrets: %v; want it to work", err)
	}
}

// A machine has a name, labels and taints: by each of them a pod could go to a control plane, or to production's.
func TestAMachineIsNotChosenByLabelsOrTaints(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.doesNotBringIn(t, "does not choose the machine of a pod", map[string]change{
		"its label":    in(t, "nodeSelector", `{"kubernetes.io/hostname":"control-plane"}`),
		"all taints":   in(t, "tolerations", `[{"operator":"Exists"}]`),
		"one taint":    in(t, "tolerations", `[{"key":"node-role.kubernetes.io/control-plane","operator":"Exists","effect":"NoSchedule"}]`),
		"its name":     in(t, "affinity", `{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchFields":[{"key":"metadata.name","operator":"In","values":["control-plane"]}]}]}}}`),
		"a preference": in(t, "affinity", `{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":100,"preference":{"matchExpressions":[{"key":"kubernetes.io/hostname","operator":"In","values":["control-plane"]}]}}]}}`),
	})
	token := s.worker(t, mayMakePods)
	kind := in(t, "nodeSelector", `{"kubernetes.io/os":"linux","kubernetes.io/arch":"amd64"}`)
	if err := s.Do(t.Context(), token, http.MethodPost, s.path("apps/v1/deployments"), maker("apps/v1/deployments", "of-a-kind", kind), nil); err != nil {
		t.Errorf("a kind of machine: %v; want it to work", err)
	}
	pinned := in(t, "nodeSelector", `{"pool":"staging"}`)
	if err := s.Do(t.Context(), s.Token(), http.MethodPost, s.path("apps/v1/deployments"), maker("apps/v1/deployments", "pinned", pinned), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Do(t.Context(), token, http.MethodPut, s.path("apps/v1/deployments/pinned"), maker("apps/v1/deployments", "pinned", nil), nil); !isRefused(err) {
		t.Errorf("away from the machines that it is held to: %v; want it refused", err)
	}
}

// A machine calls what a probe or a hook names, from its own network: there a cloud tells keys. Pod Security refuses it from v1.34 on,
// and this in every version.
func TestAMachineIsNotMadeToCallOthers(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	label := `{"metadata":{"labels":{"pod-security.kubernetes.io/enforce-version":"v1.33"}}}`
	if err := s.Do(t.Context(), s.Token(), http.MethodPatch, "/api/v1/namespaces/"+s.staging, label, nil, "Content-Type", mergePatch); err != nil {
		t.Fatal(err)
	}
	const get, dial = `{"httpGet":{"host":"169.254.169.254","port":80,"path":"/"}}`, `{"tcpSocket":{"host":"169.254.169.254","port":80}}`
	s.doesNotBringIn(t, "leave host out of httpGet and tcpSocket", map[string]change{
		"a liveness probe":  inContainer(t, "livenessProbe", get),
		"a readiness probe": inContainer(t, "readinessProbe", dial),
		"a startup probe":   inContainer(t, "startupProbe", get),
		"a first hook":      inContainer(t, "lifecycle", `{"postStart":`+get+`}`),
		"a last hook":       inContainer(t, "lifecycle", `{"preStop":`+get+`}`),
	})
	plain := inContainer(t, "livenessProbe", `{"httpGet":{"port":80,"path":"/"}}`)
	if err := s.Do(t.Context(), s.worker(t, mayMakePods), http.MethodPost, s.path("pods"), maker("pods", "probed", plain), nil); err != nil {
		t.Errorf("a probe of the pod itself: %v; want it to work", err)
	}
}

// A driver mounts whatever its attributes say, and a claim to a device is of whoever made it.
func TestDriversAndDevicesAreNotBroughtIn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.doesNotBringIn(t, "brings in no volume of a driver (csi) and no device", map[string]change{
		"a volume of a driver": in(t, "volumes", `[{"name":"v","csi":{"driver":"nfs.csi.k8s.io","volumeAttributes":{"server":"nfs.production","share":"/"}}}]`),
		"a device":             in(t, "resourceClaims", `[{"name":"gpu","resourceClaimName":"of-others"}]`),
	})
}

// What a template has may stay: the day's work on a service that has one of everything that a lease could not bring in.
func TestKubectlGoesOnWithWhatATemplateHas(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	manifest := strings.ReplaceAll(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: rich, namespace: NS}
spec:
  replicas: 2
  selector: {matchLabels: {app: rich}}
  template:
    metadata: {labels: {app: rich}}
    spec:
      runtimeClassName: kata
      nodeSelector: {pool: staging}
      tolerations: [{key: dedicated, operator: Exists}]
      affinity:
        nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: pool, operator: Exists}]}]}}
        podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 5, podAffinityTerm: {labelSelector: {}, namespaceSelector: {}, topologyKey: kubernetes.io/hostname}}]}
      resourceClaims: [{name: gpu, resourceClaimName: gpu}]
      containers:
        - name: c
          image: i:1
          env: [{name: P, valueFrom: {secretKeyRef: {name: password, key: value}}}]
          envFrom: [{secretRef: {name: password}}]
          livenessProbe: {httpGet: {host: 10.0.0.1, port: 80}}
      volumes:
        - {name: s, secret: {secretName: password}}
        - {name: d, csi: {driver: nfs.csi.k8s.io}}
`, "NS", s.staging)
	s.Apply(t, manifest)
	run := kubectl(t, lease(t, s.issuer(t), "deployments.apps/*:read,write", "deployments.apps+scale/*:read,write"))
	for _, one := range []struct{ args, stdin, says string }{
		{"apply -f -", strings.Replace(manifest, "i:1", "i:2", 1), "configured"},
		{"apply -f -", strings.Replace(manifest, "i:1", "i:3", 1), "configured"},
		{"apply --server-side --force-conflicts -f -", strings.Replace(manifest, "i:1", "i:4", 1), "applied"},
		{"set image deployment/rich c=i:5", "", "image updated"},
		{"set env deployment/rich COLOR=blue", "", "env updated"},
		{"rollout restart deployment/rich", "", "restarted"},
		{"scale deployment rich --replicas 3", "", "scaled"},
		{"label deployment rich tier=front", "", "labeled"},
	} {
		if said, err := run(one.stdin, strings.Fields(one.args)...); err != nil || !strings.Contains(said, one.says) {
			t.Errorf("kubectl %s: %v\n%s", one.args, err, said)
		}
	}
}
