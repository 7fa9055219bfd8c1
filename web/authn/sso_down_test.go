package authn

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
)

const discoveryPath = "/.well-known/openid-configuration"

// answering makes the token issuer answer one path in another way.
func answering(path string, with http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != path {
			return false
		}
		with(w, r)
		return true
	}
}

func text(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// impatient makes the waiting short enough for a test.
func (b *signOnBed) impatient() { b.sso.issuer.Load().http.Timeout = time.Second }

func hang(t *testing.T) http.HandlerFunc {
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	return func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-over:
		case <-r.Context().Done():
		}
	}
}

func TestATokenIssuerThatIsDownHangsOrLiesAboutItselfLetsNobodyIn(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, b *signOnBed){
		"down":  func(_ *testing.T, b *signOnBed) { b.liar.Close() },
		"hangs": func(t *testing.T, b *signOnBed) { b.liar.OnPath = answering(discoveryPath, hang(t)) },
		"fails": func(_ *testing.T, b *signOnBed) { b.liar.OnPath = answering(discoveryPath, text(500, clientSecret)) },
		"half": func(_ *testing.T, b *signOnBed) {
			b.liar.OnPath = answering(discoveryPath, text(200, `{"issuer":"http`))
		},
		"empty":      func(_ *testing.T, b *signOnBed) { b.liar.OnPath = answering(discoveryPath, text(200, `{}`)) },
		"no JSON":    func(_ *testing.T, b *signOnBed) { b.liar.OnPath = answering(discoveryPath, text(200, `<html>`)) },
		"is another": func(_ *testing.T, b *signOnBed) { b.liar.Metadata = says("issuer", "https://evil.test") },
		"points to another": func(_ *testing.T, b *signOnBed) {
			b.liar.OnPath = answering(discoveryPath, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://evil.test/", http.StatusFound)
			})
		},
		"without end": func(_ *testing.T, b *signOnBed) {
			b.liar.OnPath = answering(discoveryPath, func(w http.ResponseWriter, r *http.Request) {
				for line := strings.Repeat(" ", 1<<16); r.Context().Err() == nil; {
					if _, err := fmt.Fprint(w, line); err != nil {
						return
					}
				}
			})
		},
		"keys in the clear": func(_ *testing.T, b *signOnBed) { b.liar.Metadata = says("jwks_uri", "http://login.example/keys") },
		"tokens in the clear": func(_ *testing.T, b *signOnBed) {
			b.liar.Metadata = says("token_endpoint", "http://login.example/token")
		},
		"tokens nowhere": func(_ *testing.T, b *signOnBed) { b.liar.Metadata = says("token_endpoint", nil) },
		"a script to go to": func(_ *testing.T, b *signOnBed) {
			b.liar.Metadata = says("authorization_endpoint", "javascript:alert(1)")
		},
		"a policy in the address": func(_ *testing.T, b *signOnBed) {
			b.liar.Metadata = says("authorization_endpoint", "https://a;script-src *")
		},
		"a user in the address": func(_ *testing.T, b *signOnBed) {
			b.liar.Metadata = says("authorization_endpoint", "https://a@b.test/")
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newSignOnBed(t)
			b.impatient()
			spoil(t, b)
			_, _, err := b.sso.Begin(t.Context(), SignOn{})
			b.refused(err, broker.CodeUnavailable, "single sign-on does not work now")
			if len(err.Error()) > 500 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func says(name string, value any) func(map[string]any) {
	return func(metadata map[string]any) { metadata[name] = value }
}

func TestATokenIssuerThatFailsBetweenLetsNobodyInAndSaysSo(t *testing.T) {
	for name, test := range map[string]struct {
		path string
		with func(t *testing.T) http.HandlerFunc
		code broker.Code
	}{
		"the token endpoint hangs":            {"/token", hang, broker.CodeUnavailable},
		"the token endpoint fails":            {"/token", answer(503, clientSecret), broker.CodeUnavailable},
		"the token endpoint breaks off":       {"/token", answer(200, `{"access_token":`), broker.CodeUnavailable},
		"the token endpoint refuses":          {"/token", answer(400, `{"error":"invalid_grant","error_description":"`+clientSecret+`"}`), broker.CodeForbidden},
		"the token endpoint has our secret":   {"/token", answer(400, clientSecret), broker.CodeForbidden},
		"the token endpoint gives no token":   {"/token", answer(200, `{"access_token":"a","token_type":"Bearer"}`), broker.CodeForbidden},
		"the token endpoint gives a number":   {"/token", answer(200, `{"access_token":"a","token_type":"Bearer","id_token":7}`), broker.CodeForbidden},
		"the token endpoint sends us on":      {"/token", sendOn, broker.CodeForbidden},
		"the keys hang":                       {"/keys", hang, broker.CodeUnavailable},
		"the keys fail":                       {"/keys", answer(500, strings.Repeat("x", 10000)), broker.CodeUnavailable},
		"the keys break off":                  {"/keys", answer(200, `{"keys":[{"kty":`), broker.CodeUnavailable},
		"there are no keys":                   {"/keys", answer(200, `{"keys":[]}`), broker.CodeForbidden},
		"the keys are symmetric, and by name": {"/keys", answer(200, `{"keys":[{"kty":"oct","kid":"liar-1","k":"AAAA"}]}`), broker.CodeForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			b := newSignOnBed(t)
			link, cookie := b.begin(SignOn{})
			if strings.HasSuffix(name, "hang") || strings.HasSuffix(name, "hangs") {
				b.impatient()
			}
			b.liar.OnPath = answering(test.path, test.with(t))
			_, err := b.finish(b.liar.Allow(link, alice()), cookie)
			b.refused(err, test.code, "single sign-on")
			if len(err.Error()) > 500 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func answer(status int, body string) func(*testing.T) http.HandlerFunc {
	return func(*testing.T) http.HandlerFunc { return text(status, body) }
}

// sendOn redirects with 307, which would repeat the code and our secret elsewhere.
func sendOn(t *testing.T) http.HandlerFunc {
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("somebody else got %s", r.Header.Get("Authorization"))
	}))
	t.Cleanup(thief.Close)
	return func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
	}
}

// It may come up after us, and go down between: nobody restarts a broker for that.
func TestATokenIssuerThatComesBackIsAskedAgain(t *testing.T) {
	b := newSignOnBed(t)
	b.liar.OnPath = answering(discoveryPath, text(500, ""))
	for range 3 {
		_, _, err := b.sso.Begin(t.Context(), SignOn{})
		b.refused(err, broker.CodeUnavailable, "does not work now")
	}
	if got := b.liar.Asked(discoveryPath); got != 1 {
		t.Errorf("it was asked %d times within seconds", got)
	}
	b.liar.OnPath = nil
	b.now = b.now.Add(retryAfter)
	if _, err := b.signOn(SignOn{}, alice()); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(discoverEvery)
	if _, err := b.signOn(SignOn{}, alice()); err != nil {
		t.Fatal(err)
	}
	if got := b.liar.Asked(discoveryPath); got != 3 {
		t.Errorf("it was asked %d times in all", got)
	}
	if err := b.sso.Use(&b.settings); err != nil { // a reload, because its endpoints moved
		t.Fatal(err)
	}
	if _, err := b.signOn(SignOn{}, alice()); err != nil {
		t.Fatal(err)
	}
	if got := b.liar.Asked(discoveryPath); got != 4 {
		t.Errorf("after a reload it was asked %d times in all", got)
	}
}

func TestManyWhoWaitForASlowTokenIssuerAskItOnce(t *testing.T) {
	b := newSignOnBed(t)
	b.impatient()
	b.liar.OnPath = answering(discoveryPath, hang(t))
	began := time.Now()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, _, err := b.sso.Begin(t.Context(), SignOn{}); broker.CodeOf(err) != broker.CodeUnavailable {
				t.Errorf("got %v", err)
			}
		})
	}
	all.Wait()
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("they waited one after the other: %s", took)
	}
	if got := b.liar.Asked(discoveryPath); got != 1 {
		t.Errorf("it was asked %d times", got)
	}
}
