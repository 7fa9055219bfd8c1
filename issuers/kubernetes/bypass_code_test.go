package kubernetes_test

import (
	"strings"
	"testing"
)

// inhabited are the deeds of code that is put into what others made: the admission policy lets each of them pass, because to deploy a service is
// to change its template.
func (s *site) inhabited() map[string]attack {
	strategic := []string{"Content-Type", strategicPatch}
	return map[string]attack{
		"code in a Deployment whose account may do everything":  {"PATCH", "apps/v1/deployments/operator", `{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"mine:1","command":["sh"]}]}}}}`, strategic},
		"code in a running pod whose account may do everything": {"PATCH", "pods/operator", `{"spec":{"containers":[{"name":"c","image":"mine:1"}]}}`, strategic},
		"code in a Deployment that has a Secret":                {"PATCH", "apps/v1/deployments/secretive?dryRun=All", `{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"mine:1","command":["env"]}]}}}}`, strategic},
		"code in a StatefulSet that mounts a claim":             {"PATCH", "apps/v1/statefulsets/files", `{"spec":{"template":{"spec":{"containers":[{"name":"c","command":["rm","-rf","/data"]}]}}}}`, strategic},
	}
}

// inhabit makes what they are tried on.
func (s *site) inhabit(t *testing.T) {
	t.Helper()
	s.account(t, "operator", mayEverything)
	s.Apply(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: token-of-powerful, namespace: "+s.staging+", annotations: {kubernetes.io/service-account.name: powerful}}\ntype: kubernetes.io/service-account-token\n")
	s.Apply(t, strings.ReplaceAll(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: operator, namespace: NS}
spec: {replicas: 1, selector: {matchLabels: {app: operator}}, template: {metadata: {labels: {app: operator}}, spec: {serviceAccountName: operator, containers: [{name: c, image: "i:1"}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: secretive, namespace: NS}
spec: {replicas: 1, selector: {matchLabels: {app: secretive}}, template: {metadata: {labels: {app: secretive}}, spec: {containers: [{name: c, image: "i:1", envFrom: [{secretRef: {name: password}}]}]}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: files, namespace: NS}
spec: {replicas: 1, selector: {matchLabels: {app: files}}, template: {metadata: {labels: {app: files}}, spec: {containers: [{name: c, image: "i:1"}], volumes: [{name: v, persistentVolumeClaim: {claimName: files}}]}}}
---
apiVersion: v1
kind: Pod
metadata: {name: operator, namespace: NS, labels: {app: operator}}
spec:
  serviceAccountName: operator
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers: [{name: c, image: "i:1", securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]
`, "NS", s.staging))
}
