package kubernetes_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
)

const mayDebug = `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: debug, namespace: NS}
rules:
  - {apiGroups: [""], resources: ["pods/ephemeralcontainers"], verbs: [update, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: debug, namespace: NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: debug}
subjects: [{kind: ServiceAccount, name: NS, namespace: hourkey}]
`

// The attack: the container for looking at one pod brings in every Secret of the namespace.
func TestAnEphemeralContainerGetsNoSecretThatItsPodDoesNotHave(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Apply(t, strings.ReplaceAll(mayDebug, "NS", s.staging))
	there := inContainer(t, "env", `[{"name":"P","valueFrom":{"secretKeyRef":{"name":"password","key":"value"}}}]`)
	if err := s.Do(t.Context(), s.Token(), http.MethodPost, s.path("pods"), maker("pods", "web-1", there), nil); err != nil {
		t.Fatal(err)
	}
	l := lease(t, s.issuer(t), "pods/*:read", "pods+ephemeralcontainers/web-1:write,admin")
	for name, one := range map[string]struct {
		more    string
		refused bool
	}{
		"plain":                 {"", false},
		"what its pod has":      {`,"env":[{"name":"P","valueFrom":{"secretKeyRef":{"name":"password","key":"value"}}}]`, false},
		"another key":           {`,"env":[{"name":"P","valueFrom":{"secretKeyRef":{"name":"password","key":"other"}}}]`, true},
		"all of a Secret":       {`,"envFrom":[{"secretRef":{"name":"password"}}]`, true},
		"all of another Secret": {`,"envFrom":[{"secretRef":{"name":"other"}}]`, true},
	} {
		body := `{"spec":{"ephemeralContainers":[{"name":"` + strings.ToLower(strings.ReplaceAll(name, " ", "-")) + `","image":"i:1",` +
			`"securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}}` + one.more + `}]}}`
		err := s.try(t.Context(), l, http.MethodPatch, "pods/web-1/ephemeralcontainers", body, "Content-Type", strategicPatch)
		if refused := err != nil && strings.Contains(err.Error(), "permission to read secrets"); refused != one.refused || !one.refused && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The attack: the same, privileged, where no level of Pod Security holds: it has the machine.
func TestAnEphemeralContainerMayHaveTheMachine(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Apply(t, strings.ReplaceAll(mayDebug, "NS", s.staging))
	wall := func() broker.Wall {
		d := describe(t, s.issuer(t), wish(t, "pods+ephemeralcontainers/*:write,admin"))
		at := slices.IndexFunc(d.Walls, func(w broker.WallFact) bool { return w.Stops == "pods that take over their machine" })
		if at < 0 {
			t.Fatalf("nothing is said of the machine: %+v", d.Walls)
		}
		return d.Walls[at].Wall
	}
	if got := wall(); got != broker.WallNative {
		t.Errorf("under restricted it is %s", got)
	}
	s.Apply(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+s.staging+", labels: {pod-security.kubernetes.io/enforce: privileged}}\n")
	if got := wall(); got != broker.WallNone {
		t.Errorf("without it is %s", got)
	}
}

// The attack: scaling ends pods, and with them the claims of their ephemeral volumes.
func TestScalingADeploymentNamesTheClaimsThatGoWithItsPods(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	volume := in(t, "volumes", `[{"name":"v","ephemeral":{"volumeClaimTemplate":{"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}}}]`)
	if err := s.Do(t.Context(), s.Token(), http.MethodPost, s.path("apps/v1/deployments"), maker("apps/v1/deployments", "cache", volume), nil); err != nil {
		t.Fatal(err)
	}
	for _, asked := range []string{"deployments.apps+scale/cache:write", "deployments.apps+scale/*:write"} {
		if got := strings.Join(s.beyond(t, asked), " "); got != "shop:persistentvolumeclaims/cache-*:delete" {
			t.Errorf("%s gives %s beyond", asked, got)
		}
	}
}

// What a ReplicaSet owns goes with the Deployment that owns the ReplicaSet.
func TestWhatIsOwnedByWhatIsMadeGoesAlong(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if err := s.Do(t.Context(), s.Token(), http.MethodPost, s.path("apps/v1/replicasets"), maker("apps/v1/replicasets", "web-1", nil), nil); err != nil {
		t.Fatal(err)
	}
	s.own(t, "apps/v1/replicasets/web-1", "apps/v1", "Deployment", s.uid(t, "apps/v1/deployments/web"))
	s.own(t, "configmaps/other", "apps/v1", "ReplicaSet", s.uid(t, "apps/v1/replicasets/web-1"))
	if got := strings.Join(s.beyond(t, "deployments.apps/web:delete"), " "); got != "shop:configmaps/other:delete" {
		t.Errorf("it gives %q beyond", got)
	}
}
