package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn/dextest"
	"github.com/hourkey/hourkey/web/authn/softkey"
)

// dexTeam is a settled team that asks a real dex, by the real time.
func dexTeam(t *testing.T, people ...dextest.Person) (*signOnTeam, *dextest.Dex) {
	t.Helper()
	w := bareSignOnTeam(t, time.Now())
	dex := dextest.Start(t, w.client(), people...)
	w.use(dex.Issuer, true) // dex tells no auth_time
	w.settle()
	return w, dex
}

// through signs somebody on at dex.
func (w *signOnTeam) through(dex *dextest.Dex, p *softkey.Person, form url.Values, email string) (page string, err error) {
	w.Helper()
	callback, err := dex.SignIn(w.Context(), w.depart(p, form), email)
	w.must(err)
	w.catchUp()
	return w.back(p, callback)
}

// catchUp sets our clock to the real time, by which dex dates its tokens: one that is a minute ahead is refused.
func (w *signOnTeam) catchUp() {
	if behind := time.Since(w.clock.Now()); behind > 0 {
		w.clock.Advance(behind)
	}
}

var (
	doraAtDex = dextest.Person{Email: "Dora@example.com", UserID: "u-1", Username: "dora", Groups: []string{"eng-oncall", "cooks"}}
	evanAtDex = dextest.Person{Email: "evan@example.com", UserID: "u-2", Username: "evan", Groups: []string{"cooks"}}
)

func TestDexFromSingleSignOnToAFirstApproval(t *testing.T) {
	w, dex := dexTeam(t, doraAtDex)
	dora := w.browser()
	page, err := w.through(dex, dora, fresh, doraAtDex.Email)
	w.must(err)
	if got := w.leadsTo(page); got != pathNewPasskey {
		t.Fatalf("it leads to %s", got)
	}
	login, found, err := w.broker.Login(t.Context(), "dora")
	if err != nil || !found || login.Issuer != dex.Issuer || !strings.EqualFold(login.Email, doraAtDex.Email) || strings.Join(login.Groups, " ") != "oncall" {
		t.Fatalf("%+v, %v", login, err)
	}
	_, err = w.make(dora, "phone")
	w.must(err)
	w.sign(w.alice, broker.ActAdmitHuman, "/humans/dora", "dora")
	w.must(dora.SignIn(t.Context()))
	request := w.ask("")
	w.sign(dora, broker.ActApprove, "/requests/"+request.ID, request.ID)
	if got := w.state(request.ID); got != broker.RequestApproved {
		t.Fatalf("the request is %s", got)
	}
}

// Dex is restarted without the group, and with other keys.
func TestDexARemovedGroupTakesItsPowerAtTheNextSignIn(t *testing.T) {
	w, dex := dexTeam(t, doraAtDex, evanAtDex)
	first, second := w.browser(), w.browser()
	_, err := w.through(dex, first, nil, doraAtDex.Email)
	w.must(err)
	_, err = w.through(dex, w.browser(), nil, evanAtDex.Email)
	w.refusedWith(http.StatusForbidden, err) // who is in no group of ours never comes in

	removed := doraAtDex
	removed.Groups = []string{"cooks"}
	dex.Restart(removed)
	if got := w.isSignedIn(first); got != "dora" {
		t.Fatalf("%q is signed in: dex was not asked, and could not have said so", got)
	}
	_, err = w.through(dex, second, nil, doraAtDex.Email)
	w.refusedWith(http.StatusForbidden, err)
	if got := w.isSignedIn(first) + w.isSignedIn(second); got != "" {
		t.Fatalf("%q is signed in", got)
	}
	if w.broker.Configuration().MayReview("dora", "staging") {
		t.Error("dora still reviews")
	}
}

func TestDexAnotherUserWithTheSameEmailIsNotTheSameHuman(t *testing.T) {
	w, dex := dexTeam(t, doraAtDex)
	_, err := w.through(dex, w.browser(), nil, doraAtDex.Email)
	w.must(err)
	recycled := doraAtDex // the address was given to somebody else
	recycled.UserID = "u-9"
	dex.Restart(recycled)
	_, err = w.through(dex, w.browser(), nil, doraAtDex.Email)
	w.refusedWith(http.StatusConflict, err)
}

func TestDexAnUnverifiedEmailNamesNobody(t *testing.T) {
	unverified := doraAtDex
	unverified.Unverified = true
	w, dex := dexTeam(t, unverified)
	_, err := w.through(dex, w.browser(), nil, doraAtDex.Email)
	if body := w.refusedWith(http.StatusForbidden, err); !strings.Contains(body, "has not verified your e-mail address") {
		t.Errorf("the page says:\n%s", body)
	}
}

// Dex does not tell when it last asked, so a fresh sign-on wants the setting that says so.
func TestDexTellsNoAuthTimeAndThePageSaysWhatToDo(t *testing.T) {
	w, dex := dexTeam(t, doraAtDex)
	w.use(dex.Issuer, false)
	_, err := w.through(dex, w.browser(), fresh, doraAtDex.Email)
	if body := w.refusedWith(http.StatusForbidden, err); !strings.Contains(body, "auth_time") {
		t.Errorf("the page says:\n%s", body)
	}
	_, err = w.through(dex, w.browser(), nil, doraAtDex.Email) // one that need not be fresh goes on
	w.must(err)
}

// The broker outlives dex, and finds it again.
func TestDexThatIsDownConcernsNobodyWithAPasskey(t *testing.T) {
	w, dex := dexTeam(t, doraAtDex)
	dex.Stop()
	_, err := w.browser().Submit(t.Context(), "/sign-in/sso", nil)
	w.refusedWith(http.StatusServiceUnavailable, err)
	again := w.person()
	again.Key = w.alice.Key
	w.must(again.SignIn(t.Context()))
	dex.Restart(doraAtDex)
	w.clock.Advance(10 * time.Second)
	_, err = w.through(dex, w.browser(), nil, doraAtDex.Email)
	w.must(err)
}
