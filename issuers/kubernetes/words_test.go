package kubernetes_test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/kubernetes"
)

// What an operator has in hand when the first check fails is said, and not only that it failed.
func TestWhatIsWrongWithTheConnectionIsSaid(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	foreign := httptest.NewTLSServer(http.NotFoundHandler())
	defer foreign.Close()
	other := s.config()
	other.Resolve = func(field, reference string) (broker.Secret, error) {
		if field == "ca" {
			return broker.NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: foreign.Certificate().Raw}))), nil
		}
		return s.resolve(field, reference)
	}
	elsewhere := other
	elsewhere.Settings.Server = strings.Replace(foreign.URL, "127.0.0.1", "localhost", 1) // which its certificate does not have
	for _, one := range []struct {
		config     kubernetes.Config
		says, hint string
	}{
		{other, "of no authority that ca names", "kubectl config view --raw"},
		{elsewhere, "for another name than server has", "that the certificate has"},
	} {
		_, err := open(t, one.config).Identify(t.Context())
		if broker.CodeOf(err) != broker.CodeUnavailable || !strings.Contains(fmt.Sprint(err), one.says) || !strings.Contains(next(err), one.hint) {
			t.Errorf("%v\n%s; want it %s", err, next(err), one.says)
		}
	}
}

// A server says of a namespace that is not there that the account may not see it.
func TestANamespaceThatIsNotThereIsSaid(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	config := s.config()
	config.Settings.Namespace = "stagign"
	found := findings(t, open(t, config))
	if !slices.ContainsFunc(found, func(f broker.Finding) bool {
		return f.Refuses && strings.Contains(f.Problem, "or there is no namespace stagign")
	}) {
		t.Errorf("check finds %+v", found)
	}
	s.Apply(t, strings.ReplaceAll(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: sees-stagign-NS}
rules: [{apiGroups: [""], resources: [namespaces], resourceNames: [stagign], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: sees-stagign-NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: sees-stagign-NS}
subjects: [{kind: ServiceAccount, name: NS, namespace: hourkey}]
`, "NS", s.staging))
	issuertest.Until(t, func() bool { // the server learns of a binding a moment late
		_, err := open(t, config).Identify(t.Context())
		return err != nil && strings.Contains(err.Error(), "has no namespace stagign")
	})
}

// A namespace that was made a moment ago has no account yet, by which a pod could be tried: that is no mistake of the server's.
func TestANamespaceWithoutItsAccountIsToldToWait(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if err := s.Do(t.Context(), s.Token(), http.MethodDelete, s.path("serviceaccounts/default"), nil, nil); err != nil {
		t.Fatal(err)
	}
	found := findings(t, s.issuer(t))
	if len(found) != 1 || !strings.Contains(found[0].Problem, "has no account default yet") || !strings.Contains(found[0].Mend, "ask again in some seconds") {
		t.Errorf("check finds %+v", found)
	}
}
