package kubernetes_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/kubernetes"
)

// dies runs do with an issuer that dies at one point, and tells whether it came there.
func (s *site) dies(t *testing.T, point string, do func(*kubernetes.Issuer)) bool {
	t.Helper()
	return issuertest.Dies(point, func(failpoint func(string)) {
		config := s.config()
		config.Failpoint = failpoint
		do(open(t, config))
	})
}

// left names what of a lease is at the server.
func (s *site) left(t *testing.T, name string) []string {
	t.Helper()
	var left []string
	for _, path := range []string{"serviceaccounts/", "rbac.authorization.k8s.io/v1/roles/", "rbac.authorization.k8s.io/v1/rolebindings/"} {
		err := s.Do(t.Context(), s.Token(), http.MethodGet, s.path(path+name), nil, nil)
		if err == nil {
			left = append(left, path)
		} else if !strings.Contains(err.Error(), "404") {
			t.Fatal(err)
		}
	}
	return left
}

// A broker that dies between any two of its steps leaves what the next one finds by its label, and ends.
func TestACrashAtEveryStepLeavesNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	healthy := s.issuer(t)
	for at, point := range kubernetes.Failpoints() {
		for _, when := range []string{"before ", "after "} {
			name := fmt.Sprintf("hk-crash-%d-%s", at, strings.TrimSpace(when))
			order := orderFor(describe(t, healthy, wish(t, "configmaps/*:read")), name)
			var credential broker.Credential
			died := s.dies(t, when+point, func(issuer *kubernetes.Issuer) {
				credential, _, _ = issuer.Issue(context.Background(), order)
			})
			if strings.HasPrefix(point, "revoke") {
				if died || credential.Values == nil {
					t.Fatalf("%s: Issue did not come to its end", when+point)
				}
				died = s.dies(t, when+point, func(issuer *kubernetes.Issuer) { _ = issuer.Revoke(context.Background(), name, nil) })
			}
			if !died {
				t.Errorf("%s is never reached", when+point)
			}
			s.recovers(t, when+point, name, credential)
		}
	}
}

// recovers does what a broker does that is started anew.
func (s *site) recovers(t *testing.T, point, name string, c broker.Credential) {
	t.Helper()
	issuer := s.issuer(t)
	was := s.left(t, name)
	names, err := issuer.List(t.Context(), "hk-crash-")
	if err != nil {
		t.Fatal(err)
	}
	if listed := slices.Contains(names, name); listed != (len(was) > 0) {
		t.Errorf("killed %s: %v is left, and List gives %v", point, was, names)
	}
	for range 2 {
		if err := issuer.Revoke(t.Context(), name, nil); err != nil {
			t.Errorf("killed %s: Revoke: %v", point, err)
		}
	}
	if left := s.left(t, name); len(left) > 0 {
		t.Errorf("killed %s: %v is left after Revoke", point, left)
	}
	if c.Values == nil {
		return
	}
	if err := s.try(t.Context(), c, http.MethodGet, "configmaps", nil); !isRefused(err) {
		t.Errorf("killed %s: the token: %v; want it refused", point, err)
	}
}

// Two brokers, or two sweeps, may end the same lease at the same moment.
func TestRevokedByTwoAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	issuer, name := s.issuer(t), "hk-two-1"
	issuertest.Lease(t, issuer, orderFor(describe(t, issuer, wish(t, "configmaps/*:read")), name))
	failed := make(chan error, 8)
	for range cap(failed) {
		go func() { failed <- issuer.Revoke(context.Background(), name, nil) }()
	}
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	if left := s.left(t, name); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

// An object that somebody else keeps by a finalizer is not gone, and is not called so; its rights are gone all the same.
func TestAnObjectThatAFinalizerKeepsIsNotCalledEnded(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	issuer, name := s.issuer(t), "hk-kept-1"
	c, _ := issuertest.Lease(t, issuer, orderFor(describe(t, issuer, wish(t, "configmaps/*:read")), name))
	keep := func(finalizers string) {
		t.Helper()
		err := s.Do(t.Context(), s.Token(), http.MethodPatch, s.path("serviceaccounts/"+name), `{"metadata":{"finalizers":`+finalizers+`}}`, nil, "Content-Type", mergePatch)
		if err != nil && finalizers != "null" {
			t.Fatal(err)
		}
	}
	keep(`["example.com/keep"]`)
	if err := issuer.Revoke(t.Context(), name, nil); broker.CodeOf(err) != broker.CodeUnavailable {
		t.Errorf("Revoke: %v; want it to fail", err)
	}
	if err := s.try(t.Context(), c, http.MethodGet, "configmaps", nil); !isRefused(err) {
		t.Errorf("its rights: %v; want them gone", err)
	}
	keep("null")
	if err := issuer.Revoke(t.Context(), name, nil); err != nil {
		t.Errorf("Revoke, again: %v", err)
	}
}

// An account or a role that somebody made under the name of a lease is not taken for ours: nothing is issued on it.
func TestANameThatIsTakenIsNotUsed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	issuer := s.issuer(t)
	for at, taken := range []string{"ServiceAccount", "Role"} {
		name := fmt.Sprintf("hk-taken-%d", at)
		version := map[string]string{"ServiceAccount": "v1", "Role": "rbac.authorization.k8s.io/v1"}[taken]
		s.Apply(t, "apiVersion: "+version+"\nkind: "+taken+"\nmetadata: {name: "+name+", namespace: "+s.staging+"}\n")
		_, _, err := issuer.Issue(t.Context(), orderFor(describe(t, issuer, wish(t, "configmaps/*:read")), name))
		if broker.CodeOf(err) != broker.CodeUnavailable {
			t.Errorf("a %s under that name: %v; want a refusal", taken, err)
		}
	}
}
