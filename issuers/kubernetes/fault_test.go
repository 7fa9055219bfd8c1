package kubernetes_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/kubernetes"
)

// between is a server between the issuer and the API server that can break an answer.
type between struct {
	*httptest.Server
	breaks atomic.Pointer[breakage]
	broken atomic.Int32 // how many answers were broken
}

// breakage breaks the answers to some calls. answer gets what the API server said, after it has done what it was asked.
type breakage struct {
	method, ending string // of the path
	answer         func(w http.ResponseWriter, status int, body []byte)
}

func (s *site) between(t *testing.T) *between {
	t.Helper()
	b := &between{}
	client := s.Client()
	b.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		forward, err := http.NewRequestWithContext(r.Context(), r.Method, s.URL+r.URL.RequestURI(), bytes.NewReader(body))
		if err != nil {
			return
		}
		forward.Header = r.Header.Clone()
		forward.Header.Del("Accept-Encoding") // a long answer would come packed, and be handed on as if it were not
		response, err := client.Do(forward)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer response.Body.Close()
		answer, _ := io.ReadAll(response.Body)
		if breaks := b.breaks.Load(); breaks != nil && breaks.method == r.Method && strings.HasSuffix(r.URL.Path, breaks.ending) {
			b.broken.Add(1)
			breaks.answer(w, response.StatusCode, answer)
			return
		}
		w.WriteHeader(response.StatusCode)
		_, _ = w.Write(answer)
	}))
	t.Cleanup(func() { b.Close(); client.CloseIdleConnections() })
	return b
}

// issuer is one that goes through b.
func (b *between) issuer(t *testing.T, s *site, plain ...string) *kubernetes.Issuer {
	t.Helper()
	config := s.config()
	config.Settings.Server, config.Settings.Plain = b.URL, plain
	config.Resolve = func(field, reference string) (broker.Secret, error) {
		if field == "ca" {
			return broker.NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.Certificate().Raw}))), nil
		}
		return s.resolve(field, reference)
	}
	return open(t, config)
}

// answers are the ways in which an answer can be none.
func answers() map[string]func(http.ResponseWriter, int, []byte) {
	return map[string]func(http.ResponseWriter, int, []byte){
		"lost": func(http.ResponseWriter, int, []byte) { panic(http.ErrAbortHandler) },
		"broken off": func(w http.ResponseWriter, status int, body []byte) {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			w.WriteHeader(status)
			_, _ = w.Write(body[:len(body)/2])
			panic(http.ErrAbortHandler)
		},
		"cut short": func(w http.ResponseWriter, status int, body []byte) {
			w.WriteHeader(status)
			_, _ = w.Write(body[:len(body)/2])
		},
		"an error of a proxy": func(w http.ResponseWriter, _ int, _ []byte) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, "<html>bad gateway</html>")
		},
		"another error": func(w http.ResponseWriter, _ int, _ []byte) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{"kind":"Status","message":"etcdserver: request timed out","reason":"InternalError"}`)
		},
		"too many": func(w http.ResponseWriter, _ int, _ []byte) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
		},
		"a proxy that knows no such place": func(w http.ResponseWriter, _ int, _ []byte) {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, "<html>404</html>")
		},
		"a conflict": func(w http.ResponseWriter, _ int, _ []byte) {
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"kind":"Status","message":"the object has been modified","reason":"Conflict"}`)
		},
		"empty": func(w http.ResponseWriter, status int, _ []byte) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "{}")
		},
		"the answer with the token in an error": func(w http.ResponseWriter, _ int, body []byte) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = fmt.Fprintf(w, `{"message":%q,"reason":%q}`, body, body)
		},
	}
}

// someAnswers are all of them with HOURKEY_TEST_ALL=1, and else a third, another one for each step.
func someAnswers(step string) map[string]func(http.ResponseWriter, int, []byte) {
	all := answers()
	if issuertest.Whole() {
		return all
	}
	for at, name := range slices.Sorted(maps.Keys(all)) {
		if (at+len(step))%3 != 0 && !strings.HasPrefix(name, "a proxy") {
			delete(all, name)
		}
	}
	return all
}

// Whatever becomes of an answer at any step of issuing: a clear error without a secret, and nothing of the lease is left after it is ended.
func TestHalfAnAnswerAtEveryStepOfIssuing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.between(t)
	issuer := b.issuer(t, s)
	d := describe(t, issuer, wish(t, "configmaps/*:read"))
	count := 0
	for step, ending := range map[string]string{"role": "/roles", "binding": "/rolebindings", "account": "/serviceaccounts", "token": "/token", "proof": "/selfsubjectaccessreviews"} {
		for what, answer := range someAnswers(step) {
			count++
			name := fmt.Sprintf("hk-half-%d", count)
			b.breaks.Store(&breakage{http.MethodPost, ending, answer})
			before := b.broken.Load()
			patience := time.Minute
			if step == "proof" && what == "empty" {
				patience = time.Second // it is asked again until the time is over
			}
			credential, err := issueWithin(t, issuer, orderFor(d, name), patience)
			for ; b.broken.Load() == before && patience < time.Minute; patience *= 4 { // the machine stood still: it did not come so far
				if err := issuer.Revoke(t.Context(), name, nil); err != nil {
					t.Fatal(err)
				}
				credential, err = issueWithin(t, issuer, orderFor(d, name), patience)
			}
			b.breaks.Store(nil)
			lateButWhole := (what == "empty" || what == "cut short") && (step == "role" || step == "binding" || step == "account") // nothing of these answers is needed
			if b.broken.Load() == before || (err == nil) != lateButWhole {
				t.Errorf("%s, %s: %v (%d answers broken)", step, what, err, b.broken.Load()-before)
			}
			s.unavailable(t, step+", "+what, err)
			if err == nil && credential.Values == nil {
				t.Errorf("%s, %s: neither error nor credential", step, what)
			}
			if err := issuer.Revoke(t.Context(), name, nil); err != nil {
				t.Errorf("%s, %s: Revoke: %v", step, what, err)
			}
			if left := s.left(t, name); len(left) > 0 {
				t.Errorf("%s, %s: %v is left", step, what, left)
			}
		}
	}
}

func issueWithin(t *testing.T, issuer *kubernetes.Issuer, order broker.Order, patience time.Duration) (broker.Credential, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	credential, _, err := issuer.Issue(ctx, order)
	return credential, err
}

// unavailable holds an error to what the broker and the agent need of it.
func (s *site) unavailable(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if broker.CodeOf(err) != broker.CodeUnavailable || !strings.Contains(err.Error(), "staging/shop") {
		t.Errorf("%s: %v (%s); want it unavailable, and said of which target", what, err, broker.CodeOf(err))
	}
	if next(err) == "" {
		t.Errorf("%s: %v: it does not say what to do next", what, err)
	}
	for _, secret := range []string{s.token, s.Token(), "eyJ", base64.RawURLEncoding.EncodeToString([]byte(s.token))} {
		if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), secret) {
			t.Errorf("%s: a secret stands in the error", what)
		}
	}
}

// The same at the end: it is not called ended before the server says so, and what is tried again succeeds.
func TestHalfAnAnswerAtEveryStepOfEnding(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.between(t)
	issuer, healthy := b.issuer(t, s), s.issuer(t)
	d := describe(t, healthy, wish(t, "configmaps/*:read"))
	count := 0
	for step, breaks := range map[string]breakage{
		"reading the role": {method: http.MethodGet, ending: "roles/NAME"}, "the binding": {method: http.MethodDelete, ending: "rolebindings/NAME"},
		"the account": {method: http.MethodDelete, ending: "serviceaccounts/NAME"}, "the role": {method: http.MethodDelete, ending: "roles/NAME"},
		"verifying": {method: http.MethodGet, ending: "serviceaccounts/NAME"}, "asking": {method: http.MethodPost, ending: "/localsubjectaccessreviews"},
	} {
		for what, answer := range someAnswers(step) {
			if (what == "empty" || what == "cut short") && (breaks.method == http.MethodDelete || step == "verifying") {
				continue // nothing of the answer to a delete is needed, and any object is one that is still there
			}
			count++
			name := fmt.Sprintf("hk-ending-%d", count)
			c, _, err := healthy.Issue(t.Context(), orderFor(d, name))
			if err != nil {
				t.Fatal(err)
			}
			b.breaks.Store(&breakage{breaks.method, strings.Replace(breaks.ending, "NAME", name, 1), answer})
			before := b.broken.Load()
			err = issuer.Revoke(t.Context(), name, nil)
			b.breaks.Store(nil)
			if b.broken.Load() == before || err == nil {
				t.Errorf("%s, %s: %v (%d answers broken)", step, what, err, b.broken.Load()-before)
			}
			s.unavailable(t, step+", "+what, err)
			if err := issuer.Revoke(t.Context(), name, nil); err != nil {
				t.Errorf("%s, %s: Revoke again: %v", step, what, err)
			}
			if err := s.try(t.Context(), c, http.MethodGet, "configmaps", nil); !isRefused(err) {
				t.Errorf("%s, %s: the token: %v; want it refused", step, what, err)
			}
		}
	}
}

// A cluster that hangs, and one whose store does, at every call: an error when the caller's time is over, and the end is made good
// later. It is not parallel: it hangs the server of all tests.
func TestAClusterThatHangs(t *testing.T) {
	s := newSite(t)
	s.hangs(t, "the server", s.Pause)
	if issuertest.Whole() {
		s.hangs(t, "its store", s.PauseStore)
	}
	gone := s.config()
	gone.Settings.Server = "https://127.0.0.1:1"
	s.unavailable(t, "a cluster that is gone", open(t, gone).Revoke(t.Context(), "hk-hangs-1", nil))
}

func (s *site) hangs(t *testing.T, what string, pause func() (func(), error)) {
	t.Helper()
	issuer := s.issuer(t)
	d := describe(t, issuer, wish(t, "configmaps/*:read"))
	c, _, err := issuer.Issue(t.Context(), orderFor(d, "hk-hangs-1"))
	if err != nil {
		t.Fatal(err)
	}
	resume, err := pause()
	if err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func(context.Context) error{
		"Issue":  func(ctx context.Context) error { _, _, err := issuer.Issue(ctx, orderFor(d, "hk-hangs-2")); return err },
		"Revoke": func(ctx context.Context) error { return issuer.Revoke(ctx, "hk-hangs-1", nil) },
		"List":   func(ctx context.Context) error { _, err := issuer.List(ctx, "hk-"); return err },
		"Check":  func(ctx context.Context) error { _, err := issuer.Check(ctx); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		began := time.Now()
		err := call(ctx)
		cancel()
		if (err == nil && what == "the server") || time.Since(began) > 15*time.Second { // by itself a call waits for 20
			t.Errorf("%s hangs, %s: %v after %s", what, name, err, time.Since(began))
		}
		s.unavailable(t, name, err)
	}
	resume()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for ctx.Err() == nil && (issuer.Revoke(ctx, "hk-hangs-1", nil) != nil || issuer.Revoke(ctx, "hk-hangs-2", nil) != nil) {
		time.Sleep(100 * time.Millisecond)
	}
	if err := s.try(t.Context(), c, http.MethodGet, "configmaps", nil); !isRefused(err) {
		t.Errorf("%s hung: the token, after it came back: %v; want it refused", what, err)
	}
	for _, name := range []string{"hk-hangs-1", "hk-hangs-2"} {
		if left := s.left(t, name); len(left) > 0 {
			t.Errorf("%s hung: %v is left of %s", what, left, name)
		}
	}
}

// A server that sends the broker elsewhere does not get its token there.
func TestARedirectDoesNotTakeTheTokenAlong(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var elsewhere atomic.Int32
	other := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	b := s.between(t)
	b.breaks.Store(&breakage{http.MethodGet, "/kube-system", func(w http.ResponseWriter, _ int, _ []byte) {
		w.Header().Set("Location", other.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}})
	_, err := b.issuer(t, s).Identify(t.Context())
	if err == nil || elsewhere.Load() > 0 {
		t.Errorf("%v; the other server was called %d times", err, elsewhere.Load())
	}
	s.unavailable(t, "a redirect", err)
}

// A server with another certificate than that of the configuration is not the cluster.
func TestAnotherCertificateIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.between(t)
	config := s.config()
	config.Settings.Server = b.URL // and the authority of the real one
	_, err := open(t, config).Identify(t.Context())
	if err == nil {
		t.Error("identified through a server that anybody could be")
	}
	s.unavailable(t, "another certificate", err)
}

// A token in a file is exchanged for a newer one now and then; the broker goes on.
func TestATokenThatWasExchangedIsReadAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var reads atomic.Int32
	config := s.config()
	config.Resolve = func(field, reference string) (broker.Secret, error) {
		if field == "token" && reads.Add(1) == 1 {
			return broker.NewSecret("expired-by-now"), nil
		}
		return s.resolve(field, reference)
	}
	issuer := open(t, config)
	for range 3 {
		if _, err := issuer.Identify(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := reads.Load(); n < 2 || n > 3 { // both namespaces are asked for at once, so both may see the old one
		t.Errorf("the token was read %d times", n)
	}
}

// The server's token may live no longer than was decided, whatever the server thinks.
func TestATokenThatLivesLongerIsNotHandedOut(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.between(t)
	issuer := b.issuer(t, s)
	d := describe(t, issuer, wish(t, "configmaps/*:read"))
	now := time.Now().Unix()
	for name, claims := range map[string]string{
		"longer":          fmt.Sprintf(`{"sub":"system:serviceaccount:%s:hk-longer-1","iat":%d,"exp":%d}`, s.staging, now, now+3600),
		"another account": fmt.Sprintf(`{"sub":"system:serviceaccount:%s:powerful","iat":%d,"exp":%d}`, s.staging, now, now+600),
		"no end":          fmt.Sprintf(`{"sub":"system:serviceaccount:%s:hk-longer-1","iat":%d}`, s.staging, now),
		"no beginning":    fmt.Sprintf(`{"sub":"system:serviceaccount:%s:hk-longer-1","exp":%d}`, s.staging, now+600),
		"no JSON":         "x",
	} {
		token := "eyJhbGciOiJFUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".x"
		b.breaks.Store(&breakage{http.MethodPost, "/token", func(w http.ResponseWriter, _ int, _ []byte) {
			_, _ = fmt.Fprintf(w, `{"status":{"token":%q}}`, token)
		}})
		_, _, err := issuer.Issue(t.Context(), orderFor(d, "hk-longer-1"))
		if err == nil || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v", name, err)
		}
		b.breaks.Store(nil)
		if err := issuer.Revoke(t.Context(), "hk-longer-1", nil); err != nil {
			t.Error(err)
		}
	}
}

func says(text string, status int) func(http.ResponseWriter, int, []byte) {
	return func(w http.ResponseWriter, _ int, _ []byte) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

// Other authorizers than RBAC make the server's list of rights incomplete; then each is asked about.
func TestAnIncompleteListOfRightsIsAskedAboutOneByOne(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.between(t)
	b.breaks.Store(&breakage{http.MethodPost, "/selfsubjectrulesreviews", says(`{"status":{"incomplete":true}}`, http.StatusCreated)})
	describe(t, b.issuer(t, s), wish(t, "configmaps/*:read,write"))
	refuses(t, b.issuer(t, s), broker.CodeWall, "secrets/password:read,admin", "may not get, list secrets named password")
}

// A cluster may let no account ask about itself: then the broker asks about the lease, and cannot tell what it may do itself.
func TestAClusterThatAnswersNobodyAboutThemselves(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.between(t)
	issuer := b.issuer(t, s)
	b.breaks.Store(&breakage{http.MethodPost, "/selfsubjectaccessreviews", says(`{"reason":"Forbidden"}`, http.StatusForbidden)})
	c := lease(t, issuer, "configmaps/*:read")
	if err := s.use(t.Context(), c, broker.Read); err != nil {
		t.Errorf("the lease: %v", err)
	}
	b.breaks.Store(&breakage{http.MethodPost, "/selfsubjectrulesreviews", says(`{"reason":"Forbidden"}`, http.StatusForbidden)})
	refuses(t, b.issuer(t, s), broker.CodeWall, "configmaps/*:read", "may not ask what it may do itself", "selfsubjectrulesreviews")
	b.breaks.Store(nil)
}

// A token that never works is not handed out: the server is given some seconds, and then the lease is one that failed.
func TestATokenThatDoesNotWorkIsNotHandedOut(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.between(t)
	issuer := b.issuer(t, s)
	d := describe(t, issuer, wish(t, "configmaps/*:read"))
	for what, answer := range map[string]func(http.ResponseWriter, int, []byte){
		"unknown": says(`{}`, http.StatusUnauthorized), "without rights": says(`{"status":{"allowed":false}}`, http.StatusCreated),
	} {
		b.breaks.Store(&breakage{http.MethodPost, "/selfsubjectaccessreviews", answer})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, _, err := issuer.Issue(ctx, orderFor(d, "hk-useless-1"))
		cancel()
		if err == nil {
			t.Errorf("%s: handed out", what)
		}
		s.unavailable(t, what, err)
		b.breaks.Store(nil)
		if err := issuer.Revoke(t.Context(), "hk-useless-1", nil); err != nil {
			t.Error(err)
		}
	}
}
