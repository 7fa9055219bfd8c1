package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn"
)

// Groups of a sign-on let sign for twelve hours. Whoever signs in with a passkey signs on again from their own page,
// however old the passkey's session is; an account of somebody else gets in that way no more than before.
func TestAnAccountThatIsOldSignsOnAgainFromItsHumansPage(t *testing.T) {
	w := newSignOnTeam(t)
	claim := func() map[string]any { return w.dora("sub", "a11ce", "email", "alice@example.com") }
	alice := w.browser()
	alice.Key = w.alice.Key
	w.must(alice.SignIn(t.Context()))
	_, err := w.arrive(alice, nil, claim())
	w.must(err)
	page, _, err := alice.Read(t.Context(), "/me")
	w.must(err)
	if strings.Contains(page, "Sign on again") {
		t.Error("a fresh account is to sign on again")
	}

	w.clock.Advance(broker.SignedOnFor)
	w.must(alice.SignIn(t.Context()))
	w.clock.Advance(authn.FreshFor)
	_, err = w.arrive(alice, url.Values{"next": {"/me"}}, w.dora("sub", "m4llory", "email", "alice@example.com"))
	w.refusedWith(http.StatusForbidden, err)
	page, _, err = alice.Read(t.Context(), "/me")
	w.must(err)
	if !strings.Contains(page, "its groups let you sign nothing") || !strings.Contains(page, `name="next" value="/me"><button class="quiet">Sign on again`) {
		t.Fatalf("the page says:\n%s", page)
	}
	page, err = w.arrive(alice, url.Values{"next": {"/me"}}, claim())
	w.must(err)
	if to := w.leadsTo(page); to != "/me" {
		t.Errorf("it leads to %s", to)
	}
	page, _, err = alice.Read(t.Context(), "/me")
	w.must(err)
	if strings.Contains(page, "Sign on again") {
		t.Error("it still asks for it")
	}
}
