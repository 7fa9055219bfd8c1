package kubernetes_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hourkey/hourkey/broker"
)

// record is a server between the issuer and the API server that writes down what is asked of it.
type record struct {
	*httptest.Server
	mu    sync.Mutex
	calls []string
}

func (s *site) recorded(t *testing.T) *record {
	t.Helper()
	target, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := s.Client()
	proxy := &httputil.ReverseProxy{Transport: client.Transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	r := &record{}
	r.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, asked *http.Request) {
		body, _ := io.ReadAll(asked.Body)
		asked.Body = io.NopCloser(bytes.NewReader(body))
		r.mu.Lock()
		r.calls = append(r.calls, strings.TrimSpace(asked.Method+" "+asked.URL.Path+" "+string(body))) // whatever the query is: the same list by other pages is the same list
		r.mu.Unlock()
		proxy.ServeHTTP(w, asked)
	}))
	t.Cleanup(func() { r.Close(); client.CloseIdleConnections() })
	return r
}

// since gives what was asked, sorted, and begins anew.
func (r *record) since() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := slices.Sorted(slices.Values(r.calls))
	r.calls = nil
	return calls
}

// Nothing is asked twice: not within a description, be it the first of an issuer, and not within an issue.
func TestNothingIsLookedUpTwice(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.furnish(t)
	s.account(t, "operator", mayEverything)
	s.employ(t, "operator", "serviceAccountName", "operator")
	s.grantBroker(t, wideRules...)
	s.Apply(t, strings.ReplaceAll(`
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: also, namespace: NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: operator}
subjects: [{kind: ServiceAccount, name: operator, namespace: NS}, {kind: ServiceAccount, name: default, namespace: NS}]
`, "NS", s.staging))
	for _, scopes := range []string{
		"deployments.apps/web:read,write deployments.apps+scale/web:read,write",
		"configmaps/s*:read configmaps/o*:read,write configmaps/settings:write configmaps/*:read",
		"pods/*:read statefulsets.apps/*:write",
		"deployments.apps/*:write replicasets.apps/*:read replicasets.apps/new:write pods/lone:read",
		"deployments.apps/new:write replicasets.apps/*:read deployments.apps/operator:write",
		"replicasets.apps/new:write statefulsets.apps/new:write replicationcontrollers/new:write",
		strings.Join(wide, " "),
	} {
		r := s.recorded(t)
		config := s.config("account default")
		config.Settings.Server, config.Settings.Plain = r.URL, []string{"widgets.example.com"}
		config.Resolve = func(field, reference string) (broker.Secret, error) {
			if field == "ca" {
				return broker.NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}))), nil
			}
			return s.resolve(field, reference)
		}
		issuer, asked := open(t, config), wish(t, strings.Fields(scopes)...)
		describe(t, issuer, asked)
		r.once(t, "the first description of "+scopes)
		d := describe(t, issuer, asked)
		r.once(t, "the description of "+scopes)
		if _, _, err := issuer.Issue(t.Context(), orderFor(d, "hk-once-1")); err != nil {
			t.Fatal(err)
		}
		r.once(t, "the issue of "+scopes)
		if err := issuer.Revoke(context.Background(), "hk-once-1", nil); err != nil {
			t.Fatal(err)
		}
	}
}

// once wants no call to have been made twice, but the question by which a new token is tried until it works.
func (r *record) once(t *testing.T, what string) {
	t.Helper()
	calls := slices.DeleteFunc(r.since(), func(call string) bool { return strings.Contains(call, "selfsubjectaccessreviews") })
	for at := range calls {
		if at > 0 && calls[at] == calls[at-1] {
			t.Errorf("%s: asked twice: %s", what, calls[at])
		}
	}
	if len(calls) < 3 {
		t.Errorf("%s: only %q", what, calls)
	}
}
