package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn/softkey"
)

// away is a team in which dora, who reviews by a group of her single sign-on, has a passkey, and signs in with it that
// long after her sign-on.
func away(t *testing.T, age time.Duration) (*signOnTeam, *softkey.Person) {
	t.Helper()
	w := newSignOnTeam(t)
	dora := w.browser()
	_, err := w.arrive(dora, fresh, w.dora())
	w.must(err)
	_, err = w.make(dora, "phone")
	w.must(err)
	w.sign(w.alice, broker.ActAdmitHuman, "/humans/dora", "dora")
	w.clock.Advance(age)
	w.must(dora.SignIn(t.Context()))
	return w, dora
}

// seen gives a page's status and markup, refused or not.
func (w *team) seen(p *softkey.Person, path string) (int, string) {
	w.Helper()
	page, _, err := p.Read(w.Context(), path)
	if refusal, ok := errors.AsType[*softkey.Refusal](err); ok {
		return refusal.Status, refusal.Body
	}
	w.must(err)
	return http.StatusOK, page
}

// The attack is the night: who is waited for reads that there is nothing, and goes back to bed.
func TestWhoMustSignOnAgainIsToldSoOnEveryPage(t *testing.T) {
	for _, age := range []time.Duration{12*time.Hour + 30*time.Minute, 14 * time.Hour} {
		t.Run(age.String(), func(t *testing.T) {
			w, dora := away(t, age)
			request := w.ask("")
			for _, path := range []string{
				"/", "/requests", "/requests/" + request.ID, "/requests/none", "/leases", "/agents", "/environments", "/tasks", "/audit", "/me",
				"/people", "/targets/staging/db", "/agents/claude", "/humans/nobody", "/freezes/all", pathNewPasskey,
			} {
				_, page := w.seen(dora, path)
				form := fmt.Sprintf(`<form method="post" action="/sign-in/sso"><input type="hidden" name="next" value="%s">`, path)
				for _, want := range []string{"<strong>Sign on again.</strong> Your single sign-on is older than 12 hours.", form} {
					if !strings.Contains(page, want) {
						t.Errorf("%s lacks %s:\n%s", path, want, page)
					}
				}
				if regexp.MustCompile(`<p[^>]*>(?:[^<]|<[^/p])*<form`).MatchString(page) {
					t.Errorf("%s has a form within a paragraph", path)
				}
			}
			_, page := w.seen(w.alice, "/") // whose groups stand in the configuration
			if strings.Contains(page, "Sign on again") {
				t.Error("alice is told to sign on")
			}

			status, page := w.seen(dora, "/requests/"+request.ID)
			if strings.Contains(page, `data-ceremony="sign"`) {
				t.Error("she is offered to approve")
			}
			if status == http.StatusOK { // her groups still let her see it, and say no
				for _, want := range []string{"sign on again", "You can deny it.", `/deny"`} {
					if !strings.Contains(page, want) {
						t.Errorf("the page lacks %q:\n%s", want, page)
					}
				}
			}
			there, err := w.arrive(dora, url.Values{"next": {"/requests/" + request.ID}}, w.dora())
			w.must(err)
			if to := w.leadsTo(there); to != "/requests/"+request.ID {
				t.Fatalf("the sign-on comes back to %s", to)
			}
			_, page = w.seen(dora, "/requests/"+request.ID)
			if strings.Contains(page, "Sign on again") || !strings.Contains(page, `data-ceremony="sign"`) {
				t.Errorf("after signing on she reads:\n%s", page)
			}
			w.sign(dora, broker.ActApprove, "/requests/"+request.ID, request.ID)
		})
	}
}

// While the groups still let her see what waits, the inbox shows it; once they do not, it never says that nothing waits.
func TestTheInboxOfWhoMustSignOnAgainDoesNotSayThatNothingWaits(t *testing.T) {
	for age, want := range map[time.Duration]string{12*time.Hour + 30*time.Minute: "Waiting for you", 14 * time.Hour: "Sign on again to see what waits"} {
		w, dora := away(t, age)
		w.ask("")
		_, page := w.seen(dora, "/")
		if !strings.Contains(page, "<h1>"+want+"</h1>") || strings.Contains(page, "Nothing waits for you") {
			t.Errorf("%s after the sign-on the inbox says:\n%s", age, page)
		}
		_, err := w.arrive(dora, url.Values{"next": {"/"}}, w.dora())
		w.must(err)
		if _, page = w.seen(dora, "/"); !strings.Contains(page, "<h1>Waiting for you</h1>") {
			t.Errorf("signed on again, the inbox says:\n%s", page)
		}
	}
}

// The attack: who has no groups any more tries ids, and learns from the refusals which there are.
func TestSigningOnAgainIsAdvisedWhetherThereIsARequestOrNot(t *testing.T) {
	w, dora := away(t, 14*time.Hour)
	request := w.ask("")
	var said []string
	for _, id := range []string{request.ID, strings.Repeat("0", len(request.ID))} {
		status, page := w.seen(dora, "/requests/"+id)
		if status != http.StatusNotFound {
			t.Errorf("%s answers %d", id, status)
		}
		page = regexp.MustCompile(` data-(now|from)="[^"]*"`).ReplaceAllString(page, "")
		said = append(said, strings.ReplaceAll(page, id, "ID"))
	}
	if said[0] != said[1] || !strings.Contains(said[0], "Sign on again first: your groups may open it then.") {
		t.Errorf("one reads\n%s\nthe other\n%s", said[0], said[1])
	}
}

// On a page that answers a form there is nothing to come back to, and without single sign-on nothing to sign on with.
func TestTheWayBackFromASignOnIsAPage(t *testing.T) {
	w, dora := away(t, 14*time.Hour)
	_, err := dora.Submit(t.Context(), "/requests/none/deny", url.Values{"digest": {"x"}})
	body := w.refusedWith(http.StatusNotFound, err)
	if !strings.Contains(body, `name="next" value="/"`) {
		t.Errorf("the page is:\n%s", body)
	}
	w.must(w.signOn.Use(nil))
	_, page := w.seen(dora, "/")
	if !strings.Contains(page, "Sign on again.") || strings.Contains(page, `action="/sign-in/sso"`) {
		t.Errorf("the page is:\n%s", page)
	}
}
