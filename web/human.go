package web

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/time/rate"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn"
	"github.com/hourkey/hourkey/web/ui"
)

// pages are what humans see: invite, sign-in, inbox, and what waits for a passkey. They decide nothing:
// what is shown carries a digest, what is signed is a statement that the broker made, and the broker
// checks both.
type pages struct {
	*Server
	ui            *ui.Pages
	signIns       *authn.SignIns
	registrations *authn.Challenges[registration]
	guesses       *limiter // of one-time codes, by address: by name, strangers would keep a newcomer out
	entries       *limiter // of who has proved who it is: each is written down, a sign-on for good
	ceremonies    *limiter // of passkeys, by session or human: each leaves a line for good, or is held here
	changes       changes  // for the pages that are open
	streams       seats    // of such pages, by session
	watchers      seats    // the same, by human
	redeems       seats    // of single sign-ons that come back, by address
	exports       seats    // of the log
}

// visit is one request for a page.
type visit struct {
	*call
	session authn.Session // zero where nobody is signed in
	human   string        // of the session
	height  uint64        // of the log, before anything was read for the page
}

func (v *visit) asHuman() broker.Caller {
	return broker.Caller{Kind: broker.CallerHuman, Name: v.human}
}

// pageRoute is one line of the pages' table.
type pageRoute struct {
	method, path string
	signedIn     bool // else a human who is not signed in is shown the way in
	body         body // jsonBody: asked by our script, and errors go to it as JSON
	serve        func(*pages, *visit) error
}

// pageTable is every page. GET changes nothing; what changes something is a POST from our own origin.
func pageTable() []pageRoute {
	return []pageRoute{
		{"GET", "/assets/:name", false, noBody, (*pages).asset},
		{"GET", "/invite", false, noBody, (*pages).inviteForm},
		{"POST", "/invite", false, formBody, (*pages).redeem},
		{"POST", "/invite/passkey", false, jsonBody, (*pages).register},
		{"GET", "/sign-in", false, noBody, (*pages).signInForm},
		{"POST", "/sign-in/prepare", false, jsonBody, (*pages).prepareSignIn},
		{"POST", "/sign-in", false, jsonBody, (*pages).signIn},
		{"POST", "/sign-in/sso", false, formBody, (*pages).beginSignOn},
		{"GET", authn.PathSignOnCallback, false, noBody, (*pages).finishSignOn},

		{"POST", "/sign-out", true, formBody, (*pages).signOut},
		{"GET", pathNewPasskey, true, noBody, (*pages).newPasskey},
		{"POST", "/me/passkeys/prepare", true, jsonBody, (*pages).preparePasskey},
		{"POST", "/me/passkeys", true, jsonBody, (*pages).makePasskey},
		{"GET", "/", true, noBody, (*pages).inbox},
		{"GET", "/requests", true, noBody, (*pages).requestsPage},
		{"GET", "/requests/:id", true, noBody, (*pages).requestPage},
		{"POST", "/requests/:id/deny", true, formBody, (*pages).deny},
		{"GET", "/leases", true, noBody, (*pages).leasesPage},
		{"GET", "/leases/:id/end", true, noBody, (*pages).endLeasePage},
		{"POST", "/leases/:id/end", true, formBody, (*pages).endLease},
		{"GET", "/agents", true, noBody, (*pages).agentsPage},
		{"POST", "/agents", true, formBody, (*pages).addAgent},
		{"GET", "/agents/*name", true, noBody, (*pages).agentPage},
		{"POST", "/agents/*name", true, formBody, (*pages).changeAgent},
		{"GET", "/environments", true, noBody, (*pages).environmentsPage},
		{"GET", "/tasks", true, noBody, (*pages).tasksPage},
		{"GET", "/audit", true, noBody, (*pages).auditPage},
		{"POST", "/audit/export", true, formBody, (*pages).exportLog},
		{"GET", "/me", true, noBody, (*pages).mePage},
		{"POST", "/me/passkeys/rename", true, formBody, (*pages).renamePasskey},
		{"POST", "/me/sessions/end", true, formBody, (*pages).endSession},
		{"POST", "/me/sessions/end-others", true, formBody, (*pages).endOtherSessions},
		{"GET", "/people", true, noBody, (*pages).peoplePage},
		{"POST", "/people", true, formBody, (*pages).invitePerson},
		{"GET", "/people/:name/invite", true, noBody, (*pages).invitePersonPage},
		{"GET", "/live", false, noBody, (*pages).live}, // finds the session by itself: a page left open is no use of it
		{"GET", "/targets/:environment/:target", true, noBody, (*pages).targetPage},
		{"GET", "/humans/:name", true, noBody, (*pages).humanPage},
		{"GET", "/freezes/*id", true, noBody, (*pages).freezePage},
		{"POST", "/sign/prepare", true, jsonBody, (*pages).prepareSign},
		{"POST", "/sign", true, jsonBody, (*pages).sign},
	}
}

// The rate of guessing a one-time code. A code has 100 bits: this keeps the log readable, not the code.
const (
	guessEvery = 6 * time.Second
	guessBurst = 10

	entryEvery = 10 * time.Second // sign-ins of one account, or passkey
	entryBurst = 30

	ceremonyEvery = 2 * time.Second
	ceremonyBurst = 60
)

// humanRoutes adds the pages to the router.
func (s *Server) humanRoutes(group *gin.RouterGroup) *pages {
	templates, err := ui.New()
	must(err)
	p := &pages{
		Server: s, ui: templates,
		signIns:       authn.NewSignIns(s.now),
		registrations: authn.NewChallenges[registration](s.now),
		guesses:       newLimiter(rate.Every(guessEvery), guessBurst, s.limits.Remembered, s.now),
		entries:       newLimiter(rate.Every(entryEvery), entryBurst, s.limits.Remembered, s.now),
		ceremonies:    newLimiter(rate.Every(ceremonyEvery), ceremonyBurst, s.limits.Remembered, s.now),
		streams:       seats{each: streamsOfOne, all: streamsOfAll}, watchers: seats{each: streamsOfHuman, all: streamsOfAll},
		exports: seats{each: 1, all: exportsOfAll}, redeems: seats{each: redeemsOfOne, all: redeemsOfAll},
	}
	for _, line := range pageTable() {
		group.Handle(line.method, line.path, func(g *gin.Context) { p.run(g, line) })
	}
	return p
}

// nowhere answers at every path that is none of ours: a browser with a page, a program as the API does.
func (p *pages) nowhere(g *gin.Context) {
	nothing := broker.Errorf(broker.CodeNotFound, "there is nothing at this path")
	v := &visit{call: callOf(g)}
	v.gin, v.request = g, g.Request
	if g.Request.Method != http.MethodGet || !strings.Contains(g.Request.Header.Get("Accept"), "text/html") {
		p.fail(v.call, nothing)
		return
	}
	pageHeaders(v.writer.Header())
	p.failPage(v, pageRoute{method: http.MethodGet}, nothing)
}

// must stops on what only a mistake in this package can cause: an embedded template that does not parse.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// run is the one gate of the pages: headers, where it comes from, who it is, what it brings.
func (p *pages) run(g *gin.Context, line pageRoute) {
	v := &visit{call: callOf(g)}
	v.gin, v.route, v.request = g, line.method+" "+line.path, g.Request
	pageHeaders(v.writer.Header())
	err := p.enter(v, line)
	if err == nil {
		err = p.serve(v, line)
	}
	if err != nil {
		p.failPage(v, line, err)
	}
}

func (p *pages) enter(v *visit, line pageRoute) error {
	if err := fromOwnPage(v.request); err != nil {
		return err
	}
	if err := p.count(v, line); err != nil {
		return err
	}
	return v.check(line.body)
}

// count counts a call for the session of who is signed in, else for the address and what it asks. The attack: a flood
// from the human's own machine, or behind the same proxy, that leaves no room to deny, or to sign in.
func (p *pages) count(v *visit, line pageRoute) error {
	switch {
	case line.signedIn:
		return p.recognise(v)
	case isSafe(v.request.Method), line.proves(), line.begins():
		return nil
	}
	return p.charge(v.call, "page "+line.path)
}

// proves tells whether a stranger proves something here by a challenge and a key, which nobody guesses. What does not
// hold is counted afterwards.
func (l pageRoute) proves() bool {
	return l.method+l.path == "POST/sign-in" || l.path == "/invite/passkey" || l.path == authn.PathSignOnCallback
}

// begins tells whether a stranger begins to sign in here. It costs less than the page that it stands on and leaves
// nothing behind, so it is counted as little: counted, a flood would keep out the human behind the same address.
func (l pageRoute) begins() bool { return l.path == "/sign-in/prepare" || l.path == "/sign-in/sso" }

// serve counts a proof that did not hold.
func (p *pages) serve(v *visit, line pageRoute) error {
	err := line.serve(p, v)
	if err != nil && line.proves() {
		return p.failed(v.call, "page "+line.path, err)
	}
	return err
}

// fromOwnPage refuses programs, and whatever another site made the browser send; beforePage has compared Origin with
// ours.
func fromOwnPage(r *http.Request) error {
	switch {
	case r.Header.Get("Authorization") != "":
		return broker.Errorf(broker.CodeForbidden, "these pages are for humans: no token opens them").WithField("Authorization").WithNext("agents use /v1")
	case isSafe(r.Method):
		return nil
	}
	return sameSite(r)
}

// recognise finds out who is signed in.
func (p *pages) recognise(v *visit) error {
	session, err := p.sessions.Find(v.request)
	if err != nil {
		return err
	}
	v.session, v.human, v.caller = session, session.Human, broker.Caller{Kind: broker.CallerHuman, Name: session.Human}
	v.kinds = kinds(p.broker.Configuration(), session.Human)
	if v.height, err = p.height(v.ctx()); err != nil {
		return err
	}
	if err := p.chargeSession(v.call, session); err != nil {
		return err
	}
	if err := p.sessions.Touch(v.ctx(), session); err != nil {
		// A page can be read, and an approval denied, while the store takes no writes; the session then idles out.
		p.log.LogAttrs(v.ctx(), slog.LevelWarn, "the session's last use was not kept", slog.String("call", v.id), slog.Any("error", err))
	}
	return nil
}

// pageHeaders replace the API's where a page needs more. Referrer-Policy is same-origin and not
// no-referrer: under no-referrer browsers send "Origin: null" with a form (Fetch, "append a request
// Origin header"), and Origin could not be compared. Other sites get no referrer either way.
func pageHeaders(header http.Header) {
	header.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "+
		"connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Permissions-Policy", "publickey-credentials-get=(self), publickey-credentials-create=(self), "+
		"accelerometer=(), autoplay=(), camera=(), clipboard-read=(), display-capture=(), encrypted-media=(), fullscreen=(), "+
		"geolocation=(), gyroscope=(), hid=(), identity-credentials-get=(), idle-detection=(), magnetometer=(), microphone=(), midi=(), "+
		"otp-credentials=(), payment=(), screen-wake-lock=(), serial=(), usb=(), xr-spatial-tracking=()")
}

// show renders a page within its frame.
func (p *pages) show(v *visit, status int, name ui.Name, title string, view any) error {
	notices, err := p.notices(v.ctx(), v.human, backTo(v))
	if err != nil {
		return err
	}
	return p.render(v, status, name, ui.Frame{Title: title, Human: v.human, Nav: navigation(v), Notices: notices, Live: follows(v, name, p.now()), View: view})
}

func (p *pages) render(v *visit, status int, name ui.Name, frame ui.Frame) error {
	raw, err := p.ui.Render(name, frame)
	if err != nil {
		return err
	}
	v.send(status, "text/html; charset=utf-8", raw)
	return nil
}

// failPage answers an error: to our script as JSON, to a human as a page. Who is not signed in gets the
// way in, at the same address.
func (p *pages) failPage(v *visit, line pageRoute, err error) {
	if line.body == jsonBody {
		p.fail(v.call, err)
		return
	}
	told := refusal(err)
	kind := problems(told.Code)
	p.logFailure(v.call, told, kind.status, err)
	if told.Code == broker.CodeUnauthenticated && line.method == http.MethodGet {
		err = p.wayIn(v, http.StatusUnauthorized)
	} else {
		err = p.showProblem(v, told, kind)
	}
	if err != nil { // the store cannot be read, or a template broke
		p.fail(v.call, err)
	}
}

func (p *pages) showProblem(v *visit, told *broker.Error, kind kindOfProblem) error {
	told = p.orSignOn(v, told)
	again := ""
	if id := v.param("id"); told.Code == broker.CodeConflict && id != "" {
		again = ui.RequestPath(id)
	}
	notices, err := p.notices(v.ctx(), v.human, backTo(v))
	if err != nil { // perhaps the very error that is shown: the page comes out with what notices there are
		p.logFailure(v.call, told, kind.status, err)
	}
	return p.render(v, kind.status, ui.PageProblem, ui.Frame{Title: kind.title, Human: v.human, Nav: navigation(v), Notices: notices, View: ui.ProblemOf(kind.title, told, again)})
}

// redirect sends a human on after a POST, with GET.
func (v *visit) redirect(to string) {
	v.writer.Header().Set("Location", to)
	v.send(http.StatusSeeOther, "text/plain; charset=utf-8", nil)
}

// asset gives a style sheet, script or image.
func (p *pages) asset(v *visit) error {
	content, mediaType, found := ui.Asset(v.param("name"))
	if !found {
		return broker.Errorf(broker.CodeNotFound, "there is nothing at this path")
	}
	v.send(http.StatusOK, mediaType, content)
	return nil
}
