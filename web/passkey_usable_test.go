package web

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn/softkey"
)

// notOffered wants the page of a request that offers no approval, says why, and lets deny; and the same why where a
// script asks for a statement all the same, before any passkey is touched.
func (w *team) notOffered(p *softkey.Person, request broker.Request, why string) {
	w.Helper()
	text, page := w.reads(p, "/requests/"+request.ID)
	w.wantsText(text, why, "You can deny it.")
	if strings.Contains(page, `data-ceremony="sign"`) || !strings.Contains(page, `/deny"`) {
		w.Errorf("the page offers to approve, or not to deny:\n%s", text)
	}
	_, _, err := w.prepares(p, approval(request, nil))
	said := w.refusedWith(http.StatusForbidden, err)
	first, next, _ := strings.Cut(strings.TrimSuffix(why, "."), ". ") // of the problem's JSON, in the broker's spelling
	for _, part := range []string{first, next} {
		if !strings.Contains(said, part[1:]) {
			w.Errorf("the refusal lacks %q: %s", part, said)
		}
	}
}

func TestWithoutAPasskeyNothingIsOfferedToSign(t *testing.T) {
	w := newSignOnTeam(t)
	dora := w.browser()
	_, err := w.arrive(dora, fresh, w.dora())
	w.must(err)
	request := w.ask("")
	w.notOffered(dora, request, "You have no passkey here. Make one: You, then Make a passkey.")
	_, err = w.make(dora, "phone")
	w.must(err)
	w.notOffered(dora, request, "The passkey that you made waits for operators. Ask them to sign it.")
	w.sign(w.alice, broker.ActAdmitHuman, "/humans/dora", "dora")
	w.must(dora.SignIn(t.Context()))
	w.sign(dora, broker.ActApprove, "/requests/"+request.ID, request.ID)
}

// The attack on patience: a touch that can only be refused, again and again.
func TestAPasskeyThatIsTooNewIsNotAskedFor(t *testing.T) {
	w := settled(t)
	request := w.ask("")
	old := w.keysOf("alice")[0]
	fresh := old
	fresh.ID, fresh.UsableFrom = "bmV3", w.clock.Now().Add(24*time.Hour)
	save := func(passkeys ...broker.Passkey) {
		w.must(w.store.Update(t.Context(), func(tx broker.Tx) error {
			for _, k := range passkeys {
				if err := tx.Save(&k); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	save(fresh)
	var answer struct {
		Options struct {
			AllowCredentials []struct{ ID string } `json:"allowCredentials"`
		}
	}
	w.must(w.alice.Post(t.Context(), "/sign/prepare", approval(request, nil), &answer))
	if got := answer.Options.AllowCredentials; len(got) != 1 || got[0].ID != old.ID {
		raw, _ := json.Marshal(got)
		t.Errorf("the browser is asked for %s, want %s alone", raw, old.ID)
	}

	old.UsableFrom = w.clock.Now().Add(2 * time.Hour)
	save(old)
	w.notOffered(w.alice, request, "Your passkey is too new: it may sign from 24 Apr 2026 14:00 UTC on. Wait until then, or leave it to others.")
	if w.events(broker.EventReviewRefused) != 0 {
		t.Error("a refused signature is in the log: it came to a touch")
	}
}

// The attack: a newcomer's further passkey, made within the first hours, whose predecessor is removed at once.
func TestAFurtherPasskeyIsAnnouncedWhenTheFirstIsGone(t *testing.T) {
	x := newSite(t)
	now := x.Clock.Now()
	x.save(&broker.Human{Name: "nora", Created: now})
	first := &broker.Passkey{ID: "nora-1", Human: "nora", Created: now}
	x.save(first)
	bob := x.as("bob")
	x.get(bob, "/").without("nora")
	x.save(&broker.Passkey{ID: "nora-2", Human: "nora", Further: true, Created: now, UsableFrom: now.Add(24 * time.Hour)})
	x.get(bob, "/").wants("nora (just now, approves from 25 Apr 2026 12:00 UTC)")
	x.must(x.Store.Update(t.Context(), func(tx broker.Tx) error { return tx.Delete(first) }))
	x.get(bob, "/").wants("nora (just now, approves from 25 Apr 2026 12:00 UTC)")
}
