package web

import (
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn/softkey"
)

// from makes a person whose calls come from another address of loopback.
func (w *team) from(address string) *softkey.Person {
	w.Helper()
	transport := &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).DialContext}
	w.Cleanup(transport.CloseIdleConnections)
	p, err := softkey.NewPerson(w.origin, transport)
	w.must(err)
	return p
}

// The attack: a stranger who knows a newcomer's name guesses on and on, so that the right code is never looked at.
func TestAStrangerDoesNotKeepANewcomerFromTheCode(t *testing.T) {
	w := settled(t)
	code := w.invite("dora")
	w.sign(w.alice, broker.ActAdmitHuman, "/humans/dora", "dora")
	stranger := w.from("127.0.0.2")
	for range 3 * guessBurst {
		_, err := stranger.Submit(t.Context(), "/invite", url.Values{"name": {"dora"}, "code": {"00000-00000-00000-00000"}})
		if err == nil {
			t.Fatal("a guess was accepted")
		}
	}
	w.must(w.person().Enrol(t.Context(), "dora", code))
}

// The attack: one session, of somebody without a role, sends signatures that were never asked for. Each is a line of the log.
func TestASessionDoesNotFillTheLogWithSignatures(t *testing.T) {
	w := newSignOnTeam(t)
	mallory := w.browser()
	_, err := w.arrive(mallory, fresh, w.dora("sub", "m4llory", "email", "mallory@example.com"))
	w.must(err)
	before := len(w.store.Log())
	for range 60 {
		for range 10 {
			if err := mallory.Post(t.Context(), "/sign", map[string]any{"nonce": "x", "assertion": map[string]any{}}, nil); err == nil {
				t.Fatal("it was signed")
			}
		}
		w.clock.Advance(time.Second)
	}
	if lines := len(w.store.Log()) - before; lines > ceremonyBurst+31 {
		t.Errorf("a minute of it is %d lines", lines)
	}
}

// The attack: a newcomer whom nobody admitted begins to make passkeys without end, so that the one that another is making is forgotten.
func TestANewcomerPushesOutNobodysPasskey(t *testing.T) {
	w := newSignOnTeam(t)
	dora := w.browser()
	_, err := w.arrive(dora, fresh, w.dora())
	w.must(err)
	options, err := w.prepareMaking(dora)
	w.must(err)
	var sessions []*softkey.Person
	for range 4 {
		mallory := w.browser()
		_, err = w.arrive(mallory, fresh, w.dora("sub", "m4llory", "email", "mallory@example.com"))
		w.must(err)
		sessions = append(sessions, mallory)
	}
	made := 0
	for range 60 {
		for _, mallory := range sessions {
			for range 5 {
				if _, err := w.prepareMaking(mallory); err == nil {
					made++
				}
			}
		}
		w.clock.Advance(time.Second)
	}
	if made > ceremonyBurst+31 {
		t.Errorf("in a minute %d were begun", made)
	}
	w.must(dora.Post(t.Context(), "/me/passkeys", w.attest(dora, options, "phone"), nil))
}

// A reload that changes nothing of single sign-on ends no sign-on that is under way.
func TestAReloadEndsNoSignOnUnderWay(t *testing.T) {
	w := newSignOnTeam(t)
	dora, erin := w.browser(), w.browser()
	link := w.depart(dora, nil)
	same := w.settings
	w.must(w.signOn.Use(&same))
	_, err := w.back(dora, w.liar.Allow(link, w.dora()))
	w.must(err)
	link = w.depart(erin, nil)
	same.Domains = append([]string{"example.org"}, same.Domains...)
	w.must(w.signOn.Use(&same))
	if _, err := w.back(erin, w.liar.Allow(link, w.dora())); err == nil {
		t.Error("what was begun under other settings was finished")
	}
}
