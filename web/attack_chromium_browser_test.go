package web

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn/softkey"
)

// hunt is one Chromium that several attacks share, each in a window with cookies of its own. The name
// evil.example leads to this machine, as a name does that was bound anew.
func hunt(t *testing.T) *tab {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		return chromium(t) // under another name, or not at all, which it says; rebinding is then skipped
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("host-resolver-rules", "MAP evil.example 127.0.0.1"),
		chromedp.WSURLReadTimeout(2*time.Minute))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // the first call starts the browser, and must have no timeout of its own
		t.Fatal(err)
	}
	return &tab{t, ctx}
}

// window is a new one, incognito, with a phone's authenticator.
func (b *tab) window(t *testing.T) (*tab, webauthn.AuthenticatorID) {
	t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	n := &tab{t, ctx}
	return n, n.plug(webauthn.VirtualAuthenticatorOptions{
		HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
	})
}

// second is another page of the same window: the same cookies, and no authenticator.
func (b *tab) second() *tab {
	b.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	b.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		b.Fatal(err)
	}
	return &tab{b.T, ctx}
}

// plug puts an authenticator into the page's browser.
func (b *tab) plug(options webauthn.VirtualAuthenticatorOptions) webauthn.AuthenticatorID {
	b.Helper()
	options.Protocol, options.Transport = webauthn.AuthenticatorProtocolCtap2, webauthn.AuthenticatorTransportInternal
	if _, err := chromedp.Call(b.ctx, webauthn.Enable, webauthn.EnableParams{}); err != nil {
		b.Fatal(err)
	}
	plugged, err := chromedp.Call(b.ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &options})
	if err != nil {
		b.Fatal(err)
	}
	return plugged.AuthenticatorID
}

// credential is the one that the authenticator holds.
func (b *tab) credential(of webauthn.AuthenticatorID) *webauthn.Credential {
	b.Helper()
	held, err := chromedp.Call(b.ctx, webauthn.GetCredentials, webauthn.GetCredentialsParams{AuthenticatorID: of})
	if err != nil || len(held.Credentials) != 1 {
		b.Fatalf("%d credentials, %v", len(held.Credentials), err)
	}
	return held.Credentials[0]
}

// run evaluates an async function's body in the page, and gives the text that it returns.
func (b *tab) run(body string) string {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	answer, err := chromedp.Run(ctx, chromedp.Evaluate[string](`(async () => {`+body+`})().then(String, String)`, chromedp.EvalAwaitPromise))
	if err != nil {
		b.Fatal(err)
	}
	return answer
}

// prey is a team in which bob (by a program) and alice (in that window) have passkeys, and everything is
// confirmed. change comes before anybody asks the targets who they are.
func prey(b *tab, change ...func(*team)) *team {
	b.Helper()
	w := newTeam(b.T)
	for _, c := range change {
		c(w)
	}
	w.bob = w.person()
	w.must(w.bob.Enrol(b.Context(), "bob", w.invite("bob")))
	w.learn()
	for ref := range w.config.Targets {
		w.sign(w.bob, broker.ActConfirmTarget, "/targets/"+ref.String(), ref.String())
	}
	code := w.invite("alice")
	w.sign(w.bob, broker.ActAdmitHuman, "/humans/alice", "alice")
	b.do("enrolling", goTo(w.origin+"/invite"), fill(`input[name=name]`, "alice"), fill(`input[name=code]`, code),
		tap(`button.big`), shows("Welcome, alice"), tap(`form[data-ceremony=register] button`), shows("Nothing waits for you"))
	return w
}

// wish is an ask for one delete in staging; change makes it another one.
func (w *team) wish(agent string, change ...func(*broker.Ask)) broker.Ask {
	w.Helper()
	w.active(agent, "carol")
	ask := broker.Ask{Agent: agent, AgentKey: "thumb-of-" + agent, Task: "fix", Environments: []string{"staging"}, Scopes: scopes(w, "db:public.orders:read,delete")}
	for _, c := range change {
		c(&ask)
	}
	return ask
}

// waits submits a wish of an agent, each time another agent's so that nothing folds and nothing rests.
func (w *team) waits(agent string, change ...func(*broker.Ask)) broker.Request {
	w.Helper()
	w.clock.Advance(5 * time.Second) // callers may call again
	request, err := w.broker.Submit(w.Context(), w.wish(agent, change...))
	w.must(err)
	return request
}

// approvals counts those of a request.
func (w *team) approvals(id string) int {
	w.Helper()
	approvals, err := w.broker.Approvals(w.Context(), broker.Caller{Kind: broker.CallerSocket}, id)
	w.must(err)
	return len(approvals)
}

// wantUndecided fails the test when somebody's signature counted, or the request is over.
func (w *team) wantUndecided(t *testing.T, id string) {
	t.Helper()
	if state, signed := w.state(id), w.approvals(id); state != broker.RequestPending || signed != 0 {
		t.Fatalf("the request is %s, with %d approvals", state, signed)
	}
}

// wantRefused fails the test unless so many refusals to sign came into the log.
func (w *team) wantRefused(t *testing.T, before, more int) {
	t.Helper()
	if got := w.events(broker.EventReviewRefused); got != before+more {
		t.Errorf("%d refusals are in the log, want %d", got-before, more)
	}
}

// jar is what lies in the browser's cookie jar for the broker, as whoever reads the profile folder sends it.
func (b *tab) jar(origin string) string {
	b.Helper()
	got, err := chromedp.Call(b.ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{origin + "/"}})
	if err != nil {
		b.Fatal(err)
	}
	var pairs []string
	for _, cookie := range got.Cookies {
		if !cookie.HTTPOnly || cookie.SameSite != network.CookieSameSiteStrict {
			b.Errorf("cookie %s: HttpOnly %t, SameSite %s", cookie.Name, cookie.HTTPOnly, cookie.SameSite)
		}
		pairs = append(pairs, cookie.Name+"="+cookie.Value)
	}
	if len(pairs) == 0 {
		b.Fatal("the jar is empty")
	}
	return strings.Join(pairs, "; ")
}

// sent is one request that the debugger saw.
type sent struct{ method, path, body string }

// ears hold what a page sends.
type ears struct {
	mu   sync.Mutex
	seen []sent
}

func (b *tab) eavesdrop() *ears {
	b.Helper()
	e := &ears{}
	if _, err := chromedp.Call(b.ctx, network.Enable, network.EnableParams{}); err != nil {
		b.Fatal(err)
	}
	err := chromedp.Listen(b.ctx, func(event any) {
		will, is := event.(*network.EventRequestWillBeSent)
		if !is {
			return
		}
		s := sent{method: will.Request.Method, path: "/" + strings.SplitN(strings.SplitN(will.Request.URL, "://", 2)[1]+"/", "/", 2)[1]}
		s.path = strings.TrimSuffix(s.path, "/")
		for _, entry := range will.Request.PostDataEntries {
			s.body += string(entry.Bytes)
		}
		e.mu.Lock()
		e.seen = append(e.seen, s)
		e.mu.Unlock()
	})
	if err != nil {
		b.Fatal(err)
	}
	return e
}

// last gives the body of the newest POST to a path.
func (e *ears) last(t *testing.T, path string) string {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	for at := len(e.seen) - 1; at >= 0; at-- {
		if e.seen[at].method == http.MethodPost && e.seen[at].path == path {
			return e.seen[at].body
		}
	}
	t.Fatalf("nothing went to %s: %v", path, e.seen)
	return ""
}

// blocks keeps a page from reaching some address, "/live" say, as a bad network does.
func (b *tab) blocks(pattern string) {
	b.Helper()
	if _, err := chromedp.Call(b.ctx, network.Enable, network.EnableParams{}); err != nil {
		b.Fatal(err)
	}
	_, err := chromedp.Call(b.ctx, network.SetBlockedURLs, network.SetBlockedURLsParams{URLPatterns: []*network.BlockPattern{{URLPattern: pattern, Block: true}}})
	if err != nil {
		b.Fatal(err)
	}
}

// thief is a program on the same machine that has a browser's cookies. It forges whatever a browser sends.
type thief struct {
	*team
	cookie string
	edit   func(*http.Request) // spoils the forgery; nil for none
}

// in is the same in a test within the test: what fails there fails it alone.
func (f *thief) in(t *testing.T) *thief {
	return &thief{team: f.team.in(t), cookie: f.cookie, edit: f.edit}
}

func (w *team) in(t *testing.T) *team {
	within := *w
	within.TB = t
	return &within
}

func (b *tab) in(t *testing.T) *tab { return &tab{t, b.ctx} }

// send gives the status and the body.
func (f *thief) send(method, path, contentType, body string) (int, string) {
	f.Helper()
	r, err := http.NewRequestWithContext(f.Context(), method, f.origin+path, strings.NewReader(body))
	f.must(err)
	for name, value := range map[string]string{
		"Cookie": f.cookie, "Content-Type": contentType, "Origin": f.origin, "Referer": f.origin + "/", "Accept": "*/*",
		"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Sec-Fetch-User": "?1",
		"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
	} {
		r.Header.Set(name, value)
	}
	if method == http.MethodGet {
		r.Header.Del("Content-Type")
		r.Header.Del("Origin")
	}
	if f.edit != nil {
		f.edit(r)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: time.Minute}
	answer, err := client.Do(r)
	f.must(err)
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, 4<<20))
	f.must(err)
	return answer.StatusCode, string(raw)
}

func (f *thief) json(path, body string) (int, string) {
	f.Helper()
	return f.send(http.MethodPost, path, "application/json", body)
}

func (f *thief) form(path, body string) (int, string) {
	f.Helper()
	return f.send(http.MethodPost, path, "application/x-www-form-urlencoded", body)
}

// want fails the test unless an answer has that status.
func (w *team) want(t *testing.T, status int, what string, got int, body string) string {
	t.Helper()
	if got != status {
		t.Errorf("%s: got status %d, want %d: %.300s", what, got, status, body)
	}
	return body
}

// page serves one page of another site: at 127.0.0.1, which to the browser is a site of its own, or at another
// port of localhost, which is the broker's own site, and another origin.
func otherSite(t *testing.T, host, html string) (origin string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(rw, html)
	}))
	t.Cleanup(server.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	return fmt.Sprintf("http://%s:%s", host, port)
}

// ownKey is a passkey of the thief's own that claims to be that credential.
func ownKey(t *testing.T, credential *webauthn.Credential) *softkey.Key {
	t.Helper()
	key, err := softkey.New("localhost")
	if err != nil {
		t.Fatal(err)
	}
	key.UserHandle, key.Counter = credential.UserHandle, 1000
	return key
}
