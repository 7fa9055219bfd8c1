package kubernetes_test

import (
	"maps"
	"strings"
	"testing"
)

const strategicPatch = "application/strategic-merge-patch+json"

// disguises are the same deeds in other words: patches of every kind, whole objects, fields that mean the same, other ways there.
func (s *site) disguises() map[string]attack {
	merge, strategic, jsonPatches := []string{"Content-Type", mergePatch}, []string{"Content-Type", strategicPatch}, []string{"Content-Type", jsonPatch}
	return map[string]attack{
		"remove a key by a strategic patch ($patch: delete)":      {"PATCH", "configmaps/settings", `{"data":{"$patch":"delete"}}`, strategic},
		"replace all keys by a strategic patch ($patch: replace)": {"PATCH", "configmaps/settings", `{"data":{"$patch":"replace","a":"b"}}`, strategic},
		"delete the object by a strategic patch ($patch: delete)": {"PATCH", "configmaps/settings", `{"$patch":"delete"}`, strategic},
		"keep one key by a strategic patch ($retainKeys)":         {"PATCH", "configmaps/settings", `{"data":{"$retainKeys":["size"],"size":"large"}}`, strategic},
		"move a key by a JSON patch":                              {"PATCH", "configmaps/settings", `[{"op":"move","from":"/data/color","path":"/data/moved"}]`, jsonPatches},
		"move a key to binaryData":                                {"PATCH", "configmaps/settings", `{"data":{"color":null},"binaryData":{"color":"YQ=="}}`, merge},
		"take a finalizer away by $deleteFromPrimitiveList":       {"PATCH", "configmaps/kept", `{"metadata":{"$deleteFromPrimitiveList/finalizers":["example.com/kept"]}}`, strategic},
		"take a finalizer away by PUT":                            {"PUT", "configmaps/kept", `{"metadata":{"name":"kept"}}`, nil},
		"make an object that nobody can delete (finalizer)":       {"POST", "configmaps", `{"metadata":{"name":"for-ever","finalizers":["example.com/kept"]}}`, nil},
		"make an object under an owner that blocks":               {"POST", "configmaps", `{"metadata":{"name":"owned","ownerReferences":[{"apiVersion":"apps/v1","kind":"Deployment","name":"web","uid":"1","controller":true,"blockOwnerDeletion":true}]}}`, nil},
		"replace a ConfigMap that was made anew (PUT with a uid)": {"PUT", "configmaps/settings", `{"metadata":{"name":"settings","uid":"11111111-1111-1111-1111-111111111111"},"data":{"color":"x","size":"y"}}`, nil},
		"replace an older state (PUT with a resourceVersion)":     {"PUT", "configmaps/settings", `{"metadata":{"name":"settings","resourceVersion":"1"},"data":{"color":"x","size":"y"}}`, nil},
		"overwrite what pods trust (kube-root-ca.crt)":            {"PUT", "configmaps/kube-root-ca.crt", `{"metadata":{"name":"kube-root-ca.crt"},"data":{"ca.crt":"mine"}}`, nil},
		"count a StatefulSet's pods from another number":          {"PATCH", "apps/v1/statefulsets/db", `{"spec":{"ordinals":{"start":5}}}`, merge},
		"scale a StatefulSet to its default (null)":               {"PATCH", "apps/v1/statefulsets/db", `{"spec":{"replicas":null}}`, merge},
		"scale a StatefulSet down by its subresource's PUT":       {"PUT", "apps/v1/statefulsets/db/scale", `{"metadata":{"name":"db"},"spec":{"replicas":1}}`, nil},
		"a StatefulSet that takes claims over and drops them":     {"POST", "apps/v1/statefulsets", claiming("left"), nil},
		"move a pod to another controller by its labels":          {"PATCH", "pods/lone", `{"metadata":{"labels":{"app":"other"}}}`, merge},
		"move a ReplicaSet to another controller by its labels":   {"PATCH", "apps/v1/replicasets/alone", `{"metadata":{"labels":{"app":"other"}}}`, merge},
		"a Job that takes pods over (manualSelector)":             {"POST", "batch/v1/jobs", grasping("takes"), nil},
		"have a ReplicationController take pods over":             {"PATCH", "replicationcontrollers/rc", `{"spec":{"selector":{"app":"lone"},"template":{"metadata":{"labels":{"app":"lone"}}}}}`, merge},
		"have a pod tolerate its machine's taint for a second":    {"PATCH", "pods/lone", `{"spec":{"tolerations":[{"key":"dedicated","operator":"Exists","effect":"NoExecute","tolerationSeconds":1}]}}`, strategic},
		"a pod with another account, by the older field":          {"POST", "pods", podWith("p", "serviceAccount", "powerful"), nil},
		"another account for a Deployment, by the older field":    {"PATCH", "apps/v1/deployments/web", `{"spec":{"template":{"spec":{"serviceAccount":"powerful"}}}}`, merge},
		"a pod whose identity another system believes (audience)": {"POST", "pods", podWith("p", "volumes", projected(`serviceAccountToken`, map[string]any{"path": "t", "audience": "sts.example.com"})), nil},
		"a Deployment whose identity another system believes":     {"PATCH", "apps/v1/deployments/web", `{"spec":{"template":{"spec":{"volumes":[{"name":"t","projected":{"sources":[{"serviceAccountToken":{"path":"t","audience":"sts.example.com"}}]}}]}}}}`, merge},
		"a pod with a certificate of its account":                 {"POST", "pods", podWith("p-certified", "volumes", projected(`podCertificate`, map[string]any{"signerName": "example.com/s", "keyType": "ED25519", "credentialBundlePath": "b"})), nil},
		"a pod on a machine of one's choice":                      {"POST", "pods", podWith("p", "nodeName", "control-plane"), nil},
		"a Deployment on a machine of one's choice":               {"PATCH", "apps/v1/deployments/web", `{"spec":{"template":{"spec":{"nodeName":"control-plane"}}}}`, merge},
		"a Deployment on the machines of a label":                 {"PATCH", "apps/v1/deployments/web", `{"spec":{"template":{"spec":{"nodeSelector":{"kubernetes.io/hostname":"control-plane"}}}}}`, merge},
		"a pod that tolerates every taint":                        {"POST", "pods", podWith("p", "tolerations", []any{map[string]any{"operator": "Exists"}}), nil},
		"a Deployment that no pod of any namespace may be near":   {"PATCH", "apps/v1/deployments/web", `{"spec":{"template":{"spec":{"affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"labelSelector":{},"namespaceSelector":{},"topologyKey":"kubernetes.io/os"}]}}}}}}`, merge},
		"a Deployment of a class of runtimes (runtimeClassName)":  {"PATCH", "apps/v1/deployments/web", `{"spec":{"template":{"spec":{"runtimeClassName":"kata"}}}}`, merge},
		"a Deployment with a Secret that it did not have":         {"PATCH", "apps/v1/deployments/web", `{"spec":{"template":{"spec":{"containers":[{"name":"web","envFrom":[{"secretRef":{"name":"password"}}]}]}}}}`, strategic},
		"a pod with a Secret in a variable":                       {"POST", "pods", pod("p", func(_, c map[string]any) { c["env"] = secretVariable() }), nil},
		"a Deployment with a Secret to pull images by":            {"PATCH", "apps/v1/deployments/web", `{"spec":{"template":{"spec":{"imagePullSecrets":[{"name":"password"}]}}}}`, merge},
		"a pod with a Secret to pull images by":                   {"POST", "pods?dryRun=All", podWith("p", "imagePullSecrets", []any{map[string]any{"name": "password"}}), nil},
		"a pod of the name of a StatefulSet's next one":           {"POST", "pods?dryRun=All", pod("db-2", nil), nil},
		"have a machine call a host (probe)":                      {"PATCH", "apps/v1/deployments/web", `{"spec":{"template":{"spec":{"containers":[{"name":"web","livenessProbe":{"httpGet":{"host":"169.254.169.254","port":80}}}]}}}}`, strategic},
		"a Deployment with a volume of a driver (csi)":            {"PATCH", "apps/v1/deployments/web", `{"spec":{"template":{"spec":{"volumes":[{"name":"v","csi":{"driver":"nfs.csi.k8s.io"}}]}}}}`, strategic},
		"a Deployment with a device of others (resource claim)":   {"PATCH", "apps/v1/deployments/web", `{"spec":{"template":{"spec":{"resourceClaims":[{"name":"gpu","resourceClaimName":"of-others"}]}}}}`, merge},
		"empty a custom resource by a JSON patch":                 {"PATCH", "example.com/v1/widgets/w", `[{"op":"remove","path":"/spec"}]`, jsonPatches},
		"empty the spec of a custom resource":                     {"PATCH", "example.com/v1/widgets/w", `{"spec":{"size":null}}`, merge},
		"turn the spec of a custom resource into something else":  {"PATCH", "example.com/v1/widgets/w", `[{"op":"replace","path":"/spec","value":{}}]`, jsonPatches},
		"a pod that mounts the claim of another":                  {"POST", "pods", podWith("p", "volumes", []any{claimOf("data-db-0")}), nil},
		"a Deployment that mounts the claim of another":           {"PATCH", "apps/v1/deployments/web", `{"spec":{"template":{"spec":{"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"data-db-0"}}]}}}}`, strategic},
		"a pod whose claim names a volume of the cluster":         {"POST", "pods", podWith("p", "volumes", []any{ephemeral()}), nil},
		"a StatefulSet whose claim names a volume of the cluster": {"POST", "apps/v1/statefulsets", naming(), nil},
		"a ReplicaSet of no pods that takes a pod over":           {"POST", "apps/v1/replicasets", selecting("takes", "ReplicaSet", "lone"), nil},
		"a Deployment of no pods that takes a ReplicaSet over":    {"POST", "apps/v1/deployments", selecting("takes", "Deployment", "alone"), nil},
		"write a status":                                     {"PATCH", "apps/v1/deployments/web/status", `{"status":{"replicas":0}}`, merge},
		"resize a running pod":                               {"PATCH", "pods/mine/resize", `{"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"1m"}}}]}}`, strategic},
		"a watch by the older path":                          {"GET", "/api/v1/watch/namespaces/" + s.staging + "/pods", nil, nil},
		"delete as a dry run":                                {"DELETE", "pods/mine?dryRun=All", nil, nil},
		"delete by PATCH with a deletionTimestamp":           {"PATCH", "pods/mine", `{"metadata":{"deletionTimestamp":"2020-01-01T00:00:00Z","deletionGracePeriodSeconds":0}}`, merge},
		"apply without what another manager wrote, by force": {"PATCH", "configmaps/settings?fieldManager=kubetest&force=true", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings"}}`, []string{"Content-Type", applyPatch}},
		"apply a StatefulSet without its replicas, by force": {"PATCH", "apps/v1/statefulsets/db?fieldManager=kubetest&force=true", `{"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":"db"},"spec":{"selector":{"matchLabels":{"app":"db"}},"template":{"metadata":{"labels":{"app":"db"}},"spec":{"containers":[{"name":"db","image":"db:1"}]}}}}`, []string{"Content-Type", applyPatch}},
	}
}

func projected(source string, what map[string]any) []any {
	return []any{map[string]any{"name": "t", "projected": map[string]any{"sources": []any{map[string]any{source: what}}}}}
}

// claiming is a StatefulSet whose claims may be there already: data that somebody kept.
func claiming(name string) map[string]any {
	set := workload(name, "StatefulSet", "apps/v1", "")
	spec := set["spec"].(map[string]any) //nolint:forcetypeassert // as workload makes it
	spec["persistentVolumeClaimRetentionPolicy"] = map[string]any{"whenDeleted": "Delete", "whenScaled": "Delete"}
	spec["volumeClaimTemplates"] = []any{map[string]any{
		"metadata": map[string]any{"name": "data"},
		"spec":     map[string]any{"accessModes": []string{"ReadWriteOnce"}, "resources": map[string]any{"requests": map[string]any{"storage": "1Gi"}}},
	}}
	return set
}

func secretVariable() []any {
	return []any{map[string]any{"name": "P", "valueFrom": map[string]any{"secretKeyRef": map[string]any{"name": "password", "key": "value"}}}}
}

func claimOf(name string) map[string]any {
	return map[string]any{"name": "v", "persistentVolumeClaim": map[string]any{"claimName": name}}
}

// claimSpec claims a volume that may be anybody's.
func claimSpec() map[string]any {
	return map[string]any{"accessModes": []string{"ReadWriteOnce"}, "volumeName": "free", "resources": map[string]any{"requests": map[string]any{"storage": "1Gi"}}}
}

func ephemeral() map[string]any {
	return map[string]any{"name": "v", "ephemeral": map[string]any{"volumeClaimTemplate": map[string]any{"spec": claimSpec()}}}
}

func naming() map[string]any {
	set := workload("names", "StatefulSet", "apps/v1", "")
	spec := set["spec"].(map[string]any) //nolint:forcetypeassert // as workload makes it
	spec["volumeClaimTemplates"] = []any{map[string]any{"metadata": map[string]any{"name": "data"}, "spec": claimSpec()}}
	return set
}

// grasping is a Job that runs no pod, and selects those of somebody else.
func grasping(name string) map[string]any {
	one := job(name)
	spec := one["spec"].(map[string]any) //nolint:forcetypeassert // as job makes it
	spec["manualSelector"], spec["suspend"], spec["selector"] = true, true, map[string]any{"matchLabels": map[string]any{"app": "lone"}}
	template := spec["template"].(map[string]any) //nolint:forcetypeassert // as job makes it
	template["metadata"] = map[string]any{"labels": map[string]any{"app": "lone"}}
	return one
}

// selecting is a controller that wants no pod, and selects those of somebody else.
func selecting(name, kind, app string) map[string]any {
	one := workload(name, kind, "apps/v1", "")
	spec := one["spec"].(map[string]any) //nolint:forcetypeassert // as workload makes it
	spec["replicas"], spec["selector"] = 0, map[string]any{"matchLabels": map[string]any{"app": app}}
	template := spec["template"].(map[string]any) //nolint:forcetypeassert // as workload makes it
	template["metadata"] = map[string]any{"labels": map[string]any{"app": app}}
	return one
}

// furnish makes what the disguises are tried on.
func (s *site) furnish(t *testing.T) {
	t.Helper()
	s.serve(t, "widgets")
	s.Apply(t, strings.ReplaceAll(`
apiVersion: v1
kind: ConfigMap
metadata: {name: kept, namespace: NS, finalizers: [example.com/kept]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: kube-root-ca.crt, namespace: NS}
data: {ca.crt: the cluster's}
---
apiVersion: v1
kind: Pod
metadata: {name: lone, namespace: NS, labels: {app: lone}}
spec:
  serviceAccountName: default
  tolerations: [{key: dedicated, operator: Exists, effect: NoExecute}]
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers: [{name: c, image: "i:1", securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: alone, namespace: NS, labels: {app: alone}}
spec: {replicas: 2, selector: {matchLabels: {app: alone}}, template: {metadata: {labels: {app: alone}}, spec: {containers: [{name: c, image: "i:1"}]}}}
---
apiVersion: v1
kind: ReplicationController
metadata: {name: rc, namespace: NS}
spec: {replicas: 1, selector: {app: rc}, template: {metadata: {labels: {app: rc}}, spec: {containers: [{name: c, image: "i:1"}]}}}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: w, namespace: NS}
spec: {size: 3, color: blue}
`, "NS", s.staging))
}

// intact holds what was furnished to what it was: an answer says what a server did, and this what it left.
func (s *site) intact(t *testing.T) {
	t.Helper()
	for path, want := range map[string]string{
		"configmaps/settings": `"color":"blue","size":"large"`, "configmaps/kept": `"finalizers":["example.com/kept"]`, "configmaps/kube-root-ca.crt": "the cluster's",
		"apps/v1/deployments/web": `"replicas":2`, "apps/v1/statefulsets/db": `"replicas":2`, "pods/lone": `"labels":{"app":"lone"}`, "pods/mine": `"name":"mine"`,
		"example.com/v1/widgets/w": `"size":3`, "replicationcontrollers/rc": `"selector":{"app":"rc"}`, "apps/v1/replicasets/alone": `"labels":{"app":"alone"}`,
	} {
		text := s.text(t, path)
		if !strings.Contains(text, want) || strings.Contains(text, "deletionTimestamp") || strings.Contains(text, "ordinals") || strings.Contains(text, "ownerReferences") {
			t.Errorf("%s is not what it was, want %s in it: %s", path, want, text)
		}
	}
}

// everyBypass is all that is tried.
func (s *site) everyBypass() map[string]attack {
	all := s.bypasses()
	for _, more := range []map[string]attack{s.disguises(), s.inhabited(), s.ofTheCluster()} {
		maps.Copy(all, more)
	}
	return all
}
