package kubernetes_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/kubernetes"
)

// late is a call of which the server has the head and has asked RBAC about, and whose body is still to come.
type late struct {
	connection *tls.Conn
	answers    *bufio.Reader
	body       string
}

// begin sends the head of a call and waits until the server asks for the body, which it does when the call is authorized.
func (s *site) begin(t *testing.T, c broker.Credential, method, path, kind, body string) late {
	t.Helper()
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(s.CA)
	host := strings.TrimPrefix(s.URL, "https://")
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12}}
	connection, err := dialer.DialContext(t.Context(), "tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	_ = connection.SetDeadline(time.Now().Add(2 * time.Minute))
	_, err = fmt.Fprintf(connection, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n",
		method, s.path(path), host, tokenOf(c), kind, len(body))
	answers := bufio.NewReader(connection)
	line, read := answers.ReadString('\n')
	if err != nil || read != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("%s %s: %q, %v, %v; want the server to ask for the body", method, path, line, err, read)
	}
	_, _ = answers.ReadString('\n')                    // the empty line after it
	return late{connection.(*tls.Conn), answers, body} //nolint:forcetypeassert // as tls.Dialer gives it
}

// finish sends the body, and gives the server's status.
func (l late) finish(t *testing.T) int {
	t.Helper()
	if _, err := l.connection.Write([]byte(l.body)); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(l.answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// The server asks RBAC when it has the head of a call, and acts when it has all of it: calls that are begun, and held, before the end of a lease
// would change and delete for up to a minute after it.
func TestACallWhoseBodyComesAfterTheEndChangesNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	issuer, name := s.issuer(t), fmt.Sprintf("hk-late-%d", serial.Add(1))
	c, handle := issuertest.Lease(t, issuer, orderFor(describe(t, issuer, wish(t, "configmaps/*:read,write,delete", "deployments.apps/*:read,delete")), name))
	const options = `{"kind":"DeleteOptions","apiVersion":"v1"}`
	begun := map[string]late{
		"PATCH":      s.begin(t, c, http.MethodPatch, "configmaps/settings", mergePatch, `{"data":{"late":"late"}}`),
		"PUT":        s.begin(t, c, http.MethodPut, "configmaps/settings", "application/json", `{"metadata":{"name":"settings"},"data":{"late":"late"}}`),
		"POST":       s.begin(t, c, http.MethodPost, "configmaps", "application/json", `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"late"}}`),
		"apply":      s.begin(t, c, http.MethodPatch, "configmaps/late?fieldManager=x", applyPatch, `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"late"}}`),
		"DELETE":     s.begin(t, c, http.MethodDelete, "configmaps/other", "application/json", options),
		"DELETE all": s.begin(t, c, http.MethodDelete, "apps/v1/deployments", "application/json", options),
	}
	inTime := s.begin(t, c, http.MethodPatch, "configmaps/settings", mergePatch, `{"data":{"in":"time"}}`)
	if status := inTime.finish(t); status != http.StatusOK {
		t.Fatalf("a slow call before the end: %d; want it to work", status)
	}
	if err := issuer.Revoke(t.Context(), name, handle); err != nil {
		t.Fatal(err)
	}
	for what, call := range begun {
		if status := call.finish(t); status < http.StatusBadRequest {
			t.Errorf("%s, begun before the end and finished after it: %d; want it refused", what, status)
		}
	}
	s.untouchedByTheLate(t)
}

func (s *site) untouchedByTheLate(t *testing.T) {
	t.Helper()
	for _, path := range []string{"configmaps/other", "apps/v1/deployments/web"} {
		if text := s.text(t, path); strings.Contains(text, "deletionTimestamp") {
			t.Errorf("%s is being deleted: %s", path, text)
		}
	}
	if text := s.text(t, "configmaps/settings"); strings.Contains(text, "late") || !strings.Contains(text, `"in":"time"`) {
		t.Errorf("configmaps/settings is %s", text)
	}
	if err := s.Do(t.Context(), s.Token(), http.MethodGet, s.path("configmaps/late"), nil, nil); statusOf(err) != http.StatusNotFound {
		t.Errorf("configmaps/late: %v; want it not to be there", err)
	}
}

// The policy for that must be there, be ours and be in force, for whatever changes something; to read wants none.
func TestAMissingPolicyForTheEndIsAMissingWall(t *testing.T) {
	const policies, bindings = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/"
	for name, change := range map[string]struct{ method, path, body, says string }{
		"no policy":            {"DELETE", policies + "hourkey-ends", "", "hourkey-ends is not there"},
		"a binding that warns": {"PATCH", bindings + "hourkey-ends", `{"spec":{"validationActions":["Warn"]}}`, "is not the one"},
		"not for deletes":      {"PATCH", policies + "hourkey-ends", `{"spec":{"validations":[{"expression":"true"}]}}`, "is not the one"},
	} {
		s := newSite(t)
		if err := s.Do(t.Context(), s.Token(), change.method, change.path, change.body, nil, "Content-Type", mergePatch); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, scope := range []string{"configmaps/*:write", "configmaps/*:read,delete"} {
			refuses(t, s.issuer(t), broker.CodeWall, scope, "[admission policy]", change.says)
			d := describe(t, s.issuer(t, "admission policy"), wish(t, scope))
			if weak := weakOf(d); !slices.Equal(weak, []string{"finishing after an early end what was begun before it"}) || !strings.Contains(d.Ends, "up to a minute after") {
				t.Errorf("%s, accepted, %s: weak are %q, and it ends so: %s", name, scope, weak, d.Ends)
			}
		}
		describe(t, s.issuer(t), wish(t, "configmaps/*:read"))
		if found := s.finds(t, "admission policy"); found[0].Refuses || !strings.Contains(found[0].Problem, "requests to write or delete are refused") {
			t.Errorf("%s: check finds %+v", name, found)
		}
		for _, path := range []string{policies, bindings} { // applying would add to what is there
			_ = s.Do(t.Context(), s.Token(), http.MethodDelete, path+"hourkey-ends", nil, nil)
		}
		s.Apply(t, kubernetes.PolicyYAML())
	}
	newSite(t) // waits until they are in force again, for the next test
}

// The policies are one file, and one thing to accept: check prints them once, and reviewers read of them once.
func TestMissingPoliciesAreToldOnce(t *testing.T) {
	s := newSite(t)
	for _, resource := range []string{"validatingadmissionpolicies/", "validatingadmissionpolicybindings/"} {
		for _, name := range []string{"hourkey-leases", "hourkey-ends"} {
			if err := s.Do(t.Context(), s.Token(), http.MethodDelete, "/apis/admissionregistration.k8s.io/v1/"+resource+name, nil, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	printed := 0
	for _, f := range s.finds(t, "admission policy", "admission policy") {
		printed += strings.Count(f.Mend, "kind: ValidatingAdmissionPolicyBinding\n")
	}
	if printed != 3 {
		t.Errorf("check prints %d bindings; want each of 3 policies once", printed)
	}
	if d := describe(t, s.issuer(t, "admission policy"), wish(t, "configmaps/*:read,write")); len(d.Exceptions) != 1 {
		t.Errorf("reviewers read of %+v", d.Exceptions)
	}
	s.Apply(t, kubernetes.PolicyYAML())
	newSite(t) // waits until they are in force again, for the next test
}

// weakOf is what the weak walls of a description are said to stop, but for the ten seconds for which every token is known.
func weakOf(d broker.Description) (weak []string) {
	for _, w := range d.Walls {
		if w.Wall == broker.WallWeak && !strings.Contains(w.Stops, "knowing that the namespace is there") {
			weak = append(weak, w.Stops)
		}
	}
	return weak
}
