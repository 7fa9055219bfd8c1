package kubernetes_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/kubernetes"
)

// record is a server between the issuer and the API server that writes down what is asked of it.
type record struct {
	*httptest.Server
	mu    sync.Mutex
	calls []string
}

// recorded starts one. Each call is shown to slow, if there is any, before the server has it.
func (s *site) recorded(t *testing.T, slow ...func(*http.Request)) *record {
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
		for _, wait := range slow {
			wait(asked)
		}
		proxy.ServeHTTP(w, asked)
	}))
	t.Cleanup(func() { r.Close(); client.CloseIdleConnections() })
	return r
}

// issuer goes by the record.
func (r *record) issuer(t *testing.T, s *site) *kubernetes.Issuer {
	t.Helper()
	config := s.config("account default")
	config.Settings.Server, config.Settings.Plain = r.URL, []string{"widgets.example.com"}
	config.Resolve = func(field, reference string) (broker.Secret, error) {
		if field == "ca" {
			return broker.NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}))), nil
		}
		return s.resolve(field, reference)
	}
	return open(t, config)
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
		"configmaps/*:delete pods/*:delete statefulsets.apps/db:write,delete jobs.batch/*:write",
		"configmaps/settings:delete deployments.apps/*:delete pods/*:write",
		"pods/new:write deployments.apps/web:write replicasets.apps/*:write",
		"deployments.apps/*:write replicasets.apps/*:read replicasets.apps/new:write pods/lone:read",
		"deployments.apps/new:write replicasets.apps/*:read deployments.apps/operator:write",
		"replicasets.apps/new:write statefulsets.apps/new:write replicationcontrollers/new:write",
		strings.Join(wide, " "),
	} {
		r := s.recorded(t)
		issuer, asked := r.issuer(t, s), wish(t, strings.Fields(scopes)...)
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

// A namespace of many accounts is described in a few round trips to the server, not one for each; and the server is not flooded.
func TestRolesOfManyAccountsAreAskedForTogether(t *testing.T) {
	t.Parallel()
	const many, atOnce, delay = 48, 16, 50 * time.Millisecond
	s := newSite(t)
	for at := range many {
		s.account(t, fmt.Sprintf("program-%02d", at), `[{apiGroups: [""], resources: [configmaps], verbs: [get]}]`)
	}
	s.Apply(t, strings.ReplaceAll(`
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: also, namespace: NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: program-00}
subjects: [{kind: ServiceAccount, name: program-01, namespace: NS}]
`, "NS", s.staging)) // a role that two have is asked for once
	var mu sync.Mutex
	var now, most, all int
	count := func(more int) int {
		mu.Lock()
		defer mu.Unlock()
		now, all = now+more, all+max(more, 0)
		most = max(most, now)
		return now
	}
	together := make(chan struct{})
	complete := sync.OnceFunc(func() { close(together) })
	r := s.recorded(t, func(asked *http.Request) {
		if !strings.Contains(asked.URL.Path, "/roles/") {
			return
		}
		if count(1) == atOnce {
			complete()
		}
		select {
		case <-together: // the first wait for one another: they come when the machine lets them
		case <-time.After(20 * time.Second):
		}
		time.Sleep(delay) // in which one too many would show
		count(-1)
	})
	d := describe(t, r.issuer(t, s), wish(t, "pods/*:write"))
	if most != atOnce || all != many {
		t.Errorf("%d roles asked for, at most %d at once; want %d, %d", all, most, many, atOnce)
	}
	at := slices.IndexFunc(d.Walls, func(w broker.WallFact) bool { return strings.Contains(w.How, "program-") })
	if at < 0 || strings.Index(d.Walls[at].How, "program-00") > strings.Index(d.Walls[at].How, "program-01") || strings.Count(d.Walls[at].How, "program-") != 2*10 || !strings.Contains(d.Walls[at].How, "and 38 more") {
		t.Errorf("walls: %+v", d.Walls)
	}
}
