package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
	"github.com/hourkey/hourkey/web/api"
)

func host(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }

// TestWrongHost is DNS rebinding: a page of evil.example whose name points to us reads nothing.
func TestWrongHost(t *testing.T) {
	x := newSite(t)
	me := bearer(x.agent.token())
	for _, name := range []string{"evil.example", "hourkey.test.evil.example", "hourkey.test:80", "hourkey.test.", "HOURKEY.TEST", "127.0.0.1", ""} {
		x.do("GET", api.PathTasks, "", me, host(name)).wantProblem(codeHost)
		x.do("GET", api.PathHealth, "", host(name)).wantProblem(codeHost)
		x.do("GET", "/sign-in", "", host(name)).wantProblem(codeHost)
	}
	x.do("GET", api.PathTasks, "", me, host("hourkey.test")).want(http.StatusOK)
}

// TestPlainHTTPFromElsewhere: whatever the listener, a token does not travel in the clear.
func TestPlainHTTPFromElsewhere(t *testing.T) {
	x := newSite(t, func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")} })
	plainFrom := func(address string) func(*http.Request) {
		return func(r *http.Request) { r.TLS, r.RemoteAddr = nil, address }
	}
	for _, address := range []string{"192.0.2.1:999", "10.2.0.1:999", "[2001:db8::1]:999", "nonsense", ""} {
		x.do("GET", api.PathHealth, "", plainFrom(address)).wantProblem(broker.CodeForbidden)
	}
	for _, address := range []string{"127.0.0.1:999", "[::1]:999", "10.1.2.3:999", "[::ffff:127.0.0.1]:999"} {
		x.do("GET", api.PathHealth, "", plainFrom(address)).want(http.StatusOK)
	}
}

// TestForwardedForIsBelievedOfProxiesAlone: else each call could bring its own address.
func TestForwardedForIsBelievedOfProxiesAlone(t *testing.T) {
	x := newSite(t, func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")} })
	for name, c := range map[string]struct{ peer, forwarded, want string }{
		"a stranger's word":            {"192.0.2.1:9", "203.0.113.5", "192.0.2.1"},
		"the proxy's word":             {"10.1.0.1:9", "203.0.113.5", "203.0.113.5"},
		"the client's word is left":    {"10.1.0.1:9", "1.1.1.1, 203.0.113.5", "203.0.113.5"},
		"two proxies":                  {"10.1.0.1:9", "1.1.1.1, 203.0.113.5, 10.1.0.2", "203.0.113.5"},
		"nothing said":                 {"10.1.0.1:9", "", "10.1.0.1"},
		"nonsense":                     {"10.1.0.1:9", "unknown", "10.1.0.1"},
		"nonsense behind a true entry": {"10.1.0.1:9", "x, 10.1.0.2", "10.1.0.2"},
		"IPv4 written as IPv6":         {"10.1.0.1:9", "::ffff:203.0.113.5", "203.0.113.5"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), "GET", brokertest.Origin, nil)
			r.RemoteAddr = c.peer
			r.Header.Set("X-Forwarded-For", c.forwarded)
			if got, _ := x.server.clientAddress(r); got.String() != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestEveryAnswerIsHardened, whatever it is: success, refusal, nothing there, another method.
func TestEveryAnswerIsHardened(t *testing.T) {
	x := newSite(t)
	for _, asked := range []*answer{
		x.do("GET", api.PathTasks, "", bearer(x.agent.token())), x.do("GET", api.PathTasks, ""), x.do("GET", "/nothing", ""), x.do("PUT", api.PathTasks, ""),
		x.do("GET", api.PathHealth, "", host("evil.example")), x.postForm(nil), x.do("OPTIONS", api.PathTasks, "", header("Origin", "https://evil.example")),
		x.do("POST", api.PathToken, strings.Repeat("a", 70_000)),
	} {
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin",
			"Strict-Transport-Security": "max-age=31536000", "Access-Control-Allow-Origin": "", "Server": "",
		} {
			if got := asked.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", asked.asked, name, got, want)
			}
		}
		if csp := asked.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") {
			t.Errorf("%s: Content-Security-Policy is %q", asked.asked, csp)
		}
	}
	if allow := x.do("PUT", api.PathTasks, "").Header().Get("Allow"); allow != "GET" {
		t.Errorf("Allow is %q", allow)
	}
}

// TestPanicTellsNothing: the caller gets a number, the log the place, and nobody the value.
func TestPanicTellsNothing(t *testing.T) {
	x := newSite(t)
	const planted = "secret-in-a-panic"
	x.Policy.Forbid = func(broker.Query) bool { panic(errors.New(planted)) }
	asked := x.do("POST", api.PathRequests, wish, bearer(x.agent.token()))
	p := asked.wantProblem(broker.CodeInternal)
	if strings.Contains(asked.Body.String()+x.log.String(), planted) {
		t.Error("the panic's value is in the answer or in the log")
	}
	call := strings.TrimPrefix(p.Instance, "urn:hourkey:call:")
	if !strings.Contains(x.log.String(), `"msg":"panic","call":"`+call+`"`) {
		t.Errorf("the log does not name the call %s", call)
	}
	x.Policy.Forbid = nil
	x.submit(x.agent.token(), wish)
}

// TestInternalCausesStayInside: what a store or a provider says is for the log.
func TestInternalCausesStayInside(t *testing.T) {
	x := newSite(t)
	token := x.agent.token()
	x.Store.Fail(errors.New("no space left on /var/lib/hourkey"))
	asked := x.do("POST", api.PathRequests, wish, bearer(token))
	asked.wantProblem(broker.CodeUnavailable)
	if asked.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if strings.Contains(asked.Body.String(), "/var/lib") || !strings.Contains(x.log.String(), "/var/lib") {
		t.Errorf("the cause is in the answer, or not in the log: %s", asked.Body)
	}
	for _, err := range []error{errors.New("dial 10.0.0.1"), &broker.Error{Code: "made up", Message: "dial"}, &broker.Error{Code: broker.CodeInternal, Message: "dial"}, fmt.Errorf("x: %w", http.ErrBodyNotAllowed)} {
		if told := refusal(err); told.Code != broker.CodeInternal || strings.Contains(told.Message, "dial") {
			t.Errorf("%v: tells %+v", err, told)
		}
	}
}

// TestNothingSecretIsLogged: tokens, assertions, credentials, queries and odd paths stay out of the log.
func TestNothingSecretIsLogged(t *testing.T) {
	x := newSite(t)
	assertion := x.agent.assertion()
	x.postForm(tokenForm(assertion)).want(http.StatusOK)
	x.postForm(tokenForm(assertion))
	token := x.agent.token()
	request := x.submit(token, wish)
	x.do("POST", "/v1/requests/"+request.ID+"/credentials", "", bearer(token)).want(http.StatusOK)
	x.do("GET", "/v1/leases?token="+token, "", bearer("forged-token"))
	x.do("GET", "/nothing/planted-path", "")
	asBob := httptest.NewRequestWithContext(t.Context(), "GET", brokertest.Origin, nil)
	x.signIn("bob")(asBob)
	session := strings.Split(asBob.Header.Get("Cookie"), "=")[1]
	x.do("GET", api.PathFreeze, "", header("Cookie", asBob.Header.Get("Cookie"))).want(http.StatusOK)
	text := x.log.String()
	for _, secret := range []string{assertion, token, strings.Split(token, ".")[2], secretPart, session, "forged-token", "planted-path", "token="} {
		if strings.Contains(text, secret) {
			t.Errorf("the log holds %.40s", secret)
		}
	}
	if !strings.Contains(text, `"route":"POST /v1/requests/{id}/credentials","status":200`) || !strings.Contains(text, `"caller":"agent:claude"`) {
		t.Error("the log does not say what happened")
	}
}

// TestProblemTypesResolve: the type of every problem leads to words about it.
func TestProblemTypesResolve(t *testing.T) {
	x := newSite(t)
	for _, code := range []broker.Code{
		broker.CodeInvalid, broker.CodeUnauthenticated, broker.CodeForbidden, broker.CodeNotFound, broker.CodeDenied, broker.CodePending, broker.CodeSlowDown,
		broker.CodeExpired, broker.CodeConflict, broker.CodeFrozen, broker.CodeWall, broker.CodeUnconfirmed, broker.CodeUnavailable, broker.CodeInternal,
		codeTooLarge, codeMediaType, codeMethod, codeHost,
	} {
		if asked := x.do("GET", api.PathProblems+string(code), "").want(http.StatusOK); !strings.HasPrefix(asked.Body.String(), string(code)+": ") {
			t.Errorf("got %s", asked.Body)
		}
		if code != broker.CodeInternal && problems(code).status == http.StatusInternalServerError {
			t.Errorf("%s has no status", code)
		}
	}
	x.do("GET", api.PathProblems+"nothing", "").wantProblem(broker.CodeNotFound)
}

// TestReadyOnlyWhenItCanIssue: a load balancer leaves a broker alone whose store takes no writes.
func TestReadyOnlyWhenItCanIssue(t *testing.T) {
	x := newSite(t)
	x.do("GET", api.PathReady, "").want(http.StatusOK)
	token := x.agent.token()
	x.Store.Fail(errors.New("disk full"))
	x.do("POST", api.PathRequests, wish, bearer(token)).wantProblem(broker.CodeUnavailable)
	x.Clock.Advance(2e9)
	x.do("GET", api.PathReady, "").wantProblem(broker.CodeUnavailable)
	x.do("GET", api.PathHealth, "").want(http.StatusOK)
	x.Store.Fail(nil)
	x.do("POST", api.PathRequests, wish, bearer(token)).want(http.StatusCreated)
	x.Clock.Advance(2e9)
	x.do("GET", api.PathReady, "").want(http.StatusOK)
}
