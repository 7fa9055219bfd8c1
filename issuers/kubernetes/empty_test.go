package kubernetes_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/issuers/issuertest"
)

// An answer that is JSON and none of what was asked, while the walls are looked at: it must not look like a cluster without holes, nor
// like one without leases.
func TestAnEmptyAnswerIsNoCleanCluster(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.between(t)
	healthy := s.issuer(t)
	issuertest.Lease(t, healthy, orderFor(describe(t, healthy, wish(t, "configmaps/*:read")), "hk-empty-1"))
	for _, one := range []struct{ method, ending string }{
		{http.MethodGet, "/clusterrolebindings"}, {http.MethodGet, "/rolebindings"}, {http.MethodGet, "/clusterroles/system:basic-user"}, {http.MethodPost, "/localsubjectaccessreviews"},
		{http.MethodGet, "/configmaps"}, {http.MethodGet, "/apis"}, {http.MethodGet, "/namespaces/kube-system"}, {http.MethodPost, "/selfsubjectrulesreviews"},
		{http.MethodGet, "/validatingadmissionpolicies/hourkey-leases"}, {http.MethodGet, "/validatingadmissionpolicybindings/hourkey-leases"}, {http.MethodGet, "/validatingadmissionpolicies/hourkey-ends"}, {http.MethodGet, "/serviceaccounts"}, {http.MethodGet, "/pods"},
	} {
		for what, answer := range map[string]string{"empty": "{}", "null": "null", "another kind": `{"kind":"Status","status":"Success"}`} {
			if what != "empty" && !issuertest.Whole() {
				continue
			}
			b.breaks.Store(&breakage{one.method, one.ending, says(answer, http.StatusOK)})
			issuer, before := b.issuer(t, s), b.broken.Load()
			_, err := issuer.Describe(t.Context(), wish(t, "configmaps/*:read,write", "statefulsets.apps/*:write"))
			names, failed := issuer.List(t.Context(), "hk-empty-")
			b.breaks.Store(nil)
			if b.broken.Load() == before || err == nil && (failed == nil || len(names) > 0) {
				t.Errorf("%s, %s: described: %v, listed: %v, %v (%d answers broken)", one.ending, what, err, names, failed, b.broken.Load()-before)
			}
		}
	}
}

// A namespace that is deleted takes its accounts along, and the broker's own Role: its leases are ended, and not stuck for ever.
func TestALeaseOfADeletedNamespaceIsEnded(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.between(t)
	issuer := b.issuer(t, s)
	forbidden := says(`{"kind":"Status","reason":"Forbidden"}`, http.StatusForbidden)
	b.breaks.Store(&breakage{http.MethodDelete, "/rolebindings/hk-orphan-1", forbidden})
	if err := issuer.Revoke(t.Context(), "hk-orphan-1", nil); err == nil {
		t.Error("ended, where the broker may not look and the namespace is there")
	}
	config := s.config()
	config.Settings.Namespace = "deleted-" + s.staging
	s.Apply(t, strings.ReplaceAll(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: sees-NS}
rules: [{apiGroups: [""], resources: [namespaces], resourceNames: [deleted-NS], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: sees-NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: sees-NS}
subjects: [{kind: ServiceAccount, name: NS, namespace: hourkey}]
`, "NS", s.staging))
	issuertest.Until(t, func() bool { // the server learns of a binding a moment late
		return open(t, config).Revoke(t.Context(), "hk-orphan-1", nil) == nil
	})
}
