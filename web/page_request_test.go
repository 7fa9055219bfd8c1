package web

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
	"github.com/hourkey/hourkey/web/authn/softkey"
)

// intent is what the page's script sends to /sign/prepare.
type intent map[string]any

func approval(request broker.Request, change intent) intent {
	sent := intent{"act": broker.ActApprove, "subject": request.ID, "digest": request.Digest()}
	for name, value := range change {
		sent[name] = value
	}
	return sent
}

// preparedAnswer is what /sign/prepare answers.
type preparedAnswer struct {
	Nonce, Says, Statement string
	Worst                  []string
	Options                struct{ Challenge string }
}

// prepares posts an intent, and gives the statement with what is needed to sign it.
func (w *team) prepares(p *softkey.Person, sent intent) (preparedAnswer, softkey.Prepared, error) {
	w.Helper()
	var answer preparedAnswer
	if err := p.Post(w.Context(), "/sign/prepare", sent, &answer); err != nil {
		return answer, softkey.Prepared{}, err
	}
	challenge, err := base64.RawURLEncoding.DecodeString(answer.Options.Challenge)
	w.must(err)
	return answer, softkey.Prepared{Nonce: answer.Nonce, Challenge: challenge}, nil
}

func narrowTo(ttl int, scopes ...string) intent {
	return intent{"narrow": intent{"items": []intent{{"environment": "staging", "target": "db", "scopes": scopes}}, "ttl_seconds": ttl}}
}

func (w *team) request(id string) broker.Request {
	w.Helper()
	request, err := w.broker.Request(w.Context(), broker.Caller{Kind: broker.CallerSocket}, id)
	w.must(err)
	return request
}

func TestANarrowedApprovalGrantsWhatTheStatementSays(t *testing.T) {
	w := settled(t)
	request := w.ask("")
	answer, prepared, err := w.prepares(w.alice, approval(request, narrowTo(60, "db:public.orders:read")))
	w.must(err)
	if strings.Contains(answer.Says, "delete") || !strings.Contains(answer.Says, "for 1 minute") || len(answer.Worst) != 1 || answer.Worst[0] != "read" {
		t.Errorf("the statement says %q, and names %v", answer.Says, answer.Worst)
	}
	w.must(w.alice.Sign(t.Context(), prepared))
	got := w.request(request.ID)
	if got.State != broker.RequestApproved || got.Actions() != broker.Read || got.EffectiveTTL() != time.Minute {
		t.Errorf("granted is %s for %s, the request is %s", got.Actions(), got.EffectiveTTL(), got.State)
	}
}

// The attack: whoever writes to the page's script makes "narrow" say more than was asked.
func TestNarrowingNeverWidens(t *testing.T) {
	w := settled(t)
	request := w.ask("")
	many := strings.Repeat("x", 600)
	for name, sent := range map[string]intent{
		"another action":      narrowTo(0, "db:public.orders:read,delete,admin"),
		"another resource":    narrowTo(0, "db:public.users:read"),
		"a prefix":            narrowTo(0, "db:public.*:read"),
		"another target":      narrowTo(0, "other:public.orders:read"),
		"a longer life":       narrowTo(3600, "db:public.orders:read"),
		"a negative life":     narrowTo(-1, "db:public.orders:read"),
		"a life that is over": narrowTo(1<<40, "db:public.orders:read"),
		"nothing left":        narrowTo(0),
		"no scope":            narrowTo(0, "all"),
		"a very long scope":   narrowTo(0, "db:"+many+":read"),
		"an unknown item":     {"narrow": intent{"items": []intent{{"environment": "shared", "target": "db", "scopes": []string{"db:public.orders:read"}}}}},
		"an unknown field":    {"narrow": intent{"all": true}},
	} {
		_, _, err := w.prepares(w.alice, approval(request, sent))
		if err == nil {
			t.Errorf("%s was prepared", name)
			continue
		}
		w.refusedWith(http.StatusBadRequest, err)
	}
	_, _, err := w.prepares(w.alice, intent{"act": broker.ActConfirmTarget, "subject": "staging/db", "digest": "x", "narrow": intent{}})
	w.refusedWith(http.StatusBadRequest, err)
	if got := w.state(request.ID); got != broker.RequestPending {
		t.Errorf("the request is %s", got)
	}
}

// production adds a protected environment with a target of its own, confirmed by alice.
func (w *team) production() {
	w.Helper()
	w.config.Environments["production"] = broker.Environment{
		Name: "production", Protected: true, Approval: map[broker.Actions]int{broker.Write: 1, broker.Delete: 1, broker.Admin: 1}, Where: "production.yaml:1",
	}
	w.config.Targets[broker.TargetRef{Environment: "production", Target: "db"}] = broker.Target{
		Binding: "production/db", Issuer: &brokertest.Issuer{ID: "postgres:9/orders", Can: broker.Capabilities{Kind: "memory"}, Tables: []string{"public.orders"}},
	}
}

func (w *team) askIn(environments ...string) broker.Request {
	w.Helper()
	request, err := w.broker.Submit(w.Context(), broker.Ask{
		Agent: "claude", AgentKey: "thumb-of-claude", Task: "fix", Environments: environments, Scopes: scopes(w, "db:public.orders:read,delete"),
	})
	w.must(err)
	return request
}

// The attack: a hurried thumb approves a delete in production as if it were staging.
func TestADeleteInAProtectedEnvironmentIsNotPreparedWithoutItsName(t *testing.T) {
	w := settled(t)
	w.production()
	w.learn()
	w.sign(w.alice, broker.ActConfirmTarget, "/targets/production/db", "production/db")
	request := w.askIn("production", "staging")
	page, _, err := w.alice.Read(t.Context(), "/requests/"+request.ID)
	w.must(err)
	if strings.Count(page, "data-typed-in=") != 1 || !strings.Contains(page, `data-typed-in="production"`) {
		t.Errorf("the page does not ask for the one name:\n%s", page)
	}
	for name, sent := range map[string]intent{"nothing": {}, "the other": {"typed": []string{"staging"}}, "nearly": {"typed": []string{"Production"}}, "a part": {"typed": []string{"prod"}}} {
		_, _, err := w.prepares(w.alice, approval(request, sent))
		if body := w.refusedWith(http.StatusBadRequest, err); !strings.Contains(body, "type the name of the environment: production") {
			t.Errorf("%s: %s", name, body)
		}
	}
	w.must(func() error {
		_, _, err := w.prepares(w.alice, approval(request, intent{"narrow": intent{"items": []intent{{"environment": "production", "target": "db", "scopes": []string{"db:public.orders:read"}}}}}))
		return err
	}())
	answer, prepared, err := w.prepares(w.alice, approval(request, intent{"typed": []string{"production"}}))
	w.must(err)
	if !strings.Contains(answer.Statement, `"typed":["production"]`) {
		t.Errorf("the name is not in the statement: %s", answer.Statement)
	}
	w.must(w.alice.Sign(t.Context(), prepared))
}

func TestDenyAndFreezeStopsTheAgentForAnHour(t *testing.T) {
	w := settled(t)
	request := w.ask("")
	page, err := w.bob.Submit(t.Context(), "/requests/"+request.ID+"/deny", url.Values{"digest": {request.Digest()}, "freeze": {"hour"}, "words": {"enough"}})
	w.must(err)
	for _, want := range []string{"bob denied this", "enough", "claude is frozen until"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	freezes, err := w.broker.Freezes(t.Context())
	w.must(err)
	if len(freezes) != 1 || freezes[0].ID() != "agent:claude" || freezes[0].By != "human:bob" || freezes[0].Until.Sub(w.clock.Now()) != time.Hour {
		t.Errorf("the freezes are %+v", freezes)
	}
}

// The attack: a form that freezes an agent, sent by whoever may only look.
func TestWhoMayNotDenyDoesNotFreeze(t *testing.T) {
	w := settled(t)
	request := w.ask("")
	good := url.Values{"digest": {request.Digest()}, "freeze": {"hour"}}
	w.config.Groups["team"] = []string{"alice", "carol"} // bob has left
	_, err := w.bob.Submit(t.Context(), "/requests/"+request.ID+"/deny", good)
	w.refusedWith(http.StatusNotFound, err)
	for _, form := range []url.Values{
		{"digest": {request.Digest()}, "freeze": {"for ever"}}, {"digest": {request.Digest()}, "freeze": {"hour", "hour"}}, {"digest": {request.Digest()}, "frieze": {"hour"}},
	} {
		_, err := w.alice.Submit(t.Context(), "/requests/"+request.ID+"/deny", form)
		w.refusedWith(http.StatusBadRequest, err)
	}
	_, err = w.alice.Submit(t.Context(), "/requests/"+request.ID+"/deny", url.Values{"digest": {"another"}, "freeze": {"hour"}})
	w.refusedWith(http.StatusConflict, err)
	freezes, err := w.broker.Freezes(t.Context())
	w.must(err)
	if got := w.state(request.ID); got != broker.RequestPending || len(freezes) != 0 {
		t.Errorf("the request is %s, the freezes are %v", got, freezes)
	}
}

func TestWhoDecidesSecondIsToldWhoWasFirst(t *testing.T) {
	w := settled(t)
	var requests []broker.Request
	for i := range 3 { // the log has denials of others too
		requests = append(requests, w.ask(fmt.Sprint("try ", i)))
		w.must(w.store.Update(t.Context(), func(tx broker.Tx) error { // as if each had asked for something else
			requests[i].Fold, requests[i].AskFold = fmt.Sprint(i), fmt.Sprint(i)
			return tx.Save(&requests[i])
		}))
	}
	request := requests[1]
	_, prepared, err := w.prepares(w.alice, approval(request, nil))
	w.must(err)
	w.must(w.bob.Deny(t.Context(), requests[0].ID, ""))
	w.must(w.bob.Deny(t.Context(), request.ID, ""))
	w.must(w.alice.Deny(t.Context(), requests[2].ID, ""))
	w.clock.Advance(20 * time.Second)

	_, err = w.alice.Submit(t.Context(), "/requests/"+request.ID+"/deny", url.Values{"digest": {request.Digest()}})
	if page := w.refusedWith(http.StatusConflict, err); !strings.Contains(page, "bob denied this 20 seconds ago") || !strings.Contains(page, "Look at it again") {
		t.Errorf("denying says:\n%s", page)
	}
	_, _, err = w.prepares(w.alice, approval(request, nil))
	if body := w.refusedWith(http.StatusConflict, err); !strings.Contains(body, "bob denied this 20 seconds ago") {
		t.Errorf("preparing says: %s", body)
	}
	if body := w.refusedWith(http.StatusConflict, w.alice.Sign(t.Context(), prepared)); strings.Contains(body, "bob") {
		t.Errorf("signing without a subject says: %s", body)
	}
	page, _, err := w.bob.Read(t.Context(), "/requests/"+requests[2].ID)
	w.must(err)
	if !strings.Contains(page, "alice denied this 20 seconds ago") {
		t.Errorf("the page does not say who denied:\n%s", page)
	}
}

func TestWhoSignsSecondIsToldWhoWasFirst(t *testing.T) {
	w := settled(t)
	request := w.ask("")
	w.sign(w.bob, broker.ActApprove, "/requests/"+request.ID, request.ID)
	w.clock.Advance(5 * time.Second)
	_, _, err := w.prepares(w.alice, approval(request, nil))
	if body := w.refusedWith(http.StatusConflict, err); !strings.Contains(body, "bob approved this 5 seconds ago") {
		t.Errorf("preparing says: %s", body)
	}
}

// The attack: a stranger asks who decided a request that is not theirs to see, by the words of a refusal.
func TestARefusalTellsNothingOfARequestOfOthers(t *testing.T) {
	w := settled(t)
	request := w.ask("")
	w.must(w.alice.Deny(t.Context(), request.ID, "secret plans"))
	w.config.Groups["team"] = []string{"alice", "carol"} // bob has left
	_, _, err := w.prepares(w.bob, approval(request, nil))
	body := w.refusedWith(http.StatusNotFound, err)
	err = w.bob.Post(t.Context(), "/sign", intent{"nonce": "AAAA", "subject": request.ID, "assertion": intent{}}, nil)
	if body += w.refusedWith(http.StatusConflict, err); strings.Contains(body, "alice") || strings.Contains(body, "secret") {
		t.Errorf("bob is told: %s", body)
	}
}

// The attack: an operation of a megabyte, approved by a program that asks for the statement without the page.
func TestWhatCannotBeShownWholeIsNotPrepared(t *testing.T) {
	w := settled(t)
	request := w.ask("")
	w.must(w.store.Update(t.Context(), func(tx broker.Tx) error {
		request.Items[0].Description.Native = append(request.Items[0].Description.Native, strings.Repeat("GRANT ", 100_000))
		return tx.Save(&request)
	}))
	page, _, err := w.alice.Read(t.Context(), "/requests/"+request.ID)
	w.must(err)
	if strings.Contains(page, `data-ceremony="sign"`) || !strings.Contains(page, "cannot be shown whole") {
		t.Errorf("the page is:\n%.2000s", page)
	}
	_, _, err = w.prepares(w.alice, approval(request, nil))
	w.refusedWith(http.StatusForbidden, err)
	w.must(w.alice.Deny(t.Context(), request.ID, ""))
}

// What a page offers is what the broker would prepare, not what a list happens to hold.
func TestAPageOffersToApproveOnlyToWhomItCounts(t *testing.T) {
	w := settled(t)
	w.production()
	w.learn()
	w.sign(w.alice, broker.ActConfirmTarget, "/targets/production/db", "production/db")
	w.config.Environments["production"] = broker.Environment{
		Name: "production", Protected: true, Approval: map[broker.Actions]int{broker.Delete: 2, broker.Admin: 2}, Where: "production.yaml:1",
	}
	w.config.Groups["team"] = append(w.config.Groups["team"], "erin", "dora")
	request := w.askIn("production")
	offers := func(p *softkey.Person) (approves, denies bool) {
		page, _, err := p.Read(t.Context(), "/requests/"+request.ID)
		w.must(err)
		return strings.Contains(page, `data-ceremony="sign"`), strings.Contains(page, `/deny"`)
	}
	if approves, denies := offers(w.alice); !approves || !denies {
		t.Error("alice, who may, is not offered to")
	}
	_, prepared, err := w.prepares(w.alice, approval(request, intent{"typed": []string{"production"}}))
	w.must(err)
	w.must(w.alice.Sign(t.Context(), prepared))
	if approves, denies := offers(w.alice); approves || !denies {
		t.Error("alice, who has signed, is offered to sign again, or cannot take it back by denying")
	}
	page, _, err := w.bob.Read(t.Context(), "/requests/"+request.ID)
	w.must(err)
	for _, want := range []string{"1 signed, waits for 1 more human", "1 of 2 approvals, 1 missing", "signed just now"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	w.must(w.alice.Deny(t.Context(), request.ID, "I was wrong"))
	if got := w.state(request.ID); got != broker.RequestDenied {
		t.Errorf("the request is %s", got)
	}
}

func TestTheInboxShowsWhatWasAskedAgain(t *testing.T) {
	w := settled(t)
	request := w.ask("one")
	for i := range 4 {
		if again := w.ask(fmt.Sprint("please ", i)); again.ID != request.ID {
			t.Fatalf("the same ask is another request: %s", again.ID)
		}
	}
	page, _, err := w.alice.Read(t.Context(), "/")
	w.must(err)
	if !strings.Contains(page, "asked 5 times") {
		t.Errorf("the inbox does not say it:\n%s", page)
	}
	page, _, err = w.alice.Read(t.Context(), "/requests/"+request.ID)
	w.must(err)
	if !strings.Contains(page, "Asked 5 times") || !strings.Contains(page, request.Phrase()) {
		t.Errorf("the page does not say it, or lacks the phrase:\n%s", page)
	}
}

func TestThePageTellsWhatWasDeniedBefore(t *testing.T) {
	w := settled(t)
	first := w.ask("")
	w.must(w.bob.Deny(t.Context(), first.ID, "you do not need this"))
	w.clock.Advance(2 * time.Minute)
	request, err := w.broker.Submit(context.Background(), broker.Ask{
		Agent: "claude", AgentKey: "thumb-of-claude", Task: "fix", Environments: []string{"staging"}, Scopes: scopes(w, "db:public.orders:delete"),
	})
	w.must(err)
	page, _, err := w.alice.Read(t.Context(), "/requests/"+request.ID)
	w.must(err)
	for _, want := range []string{"/requests/" + first.ID, "you do not need this", "1 denied", "2 minutes ago"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}

// The attack: a notice of yesterday leads to nowhere, or to a page that asks for what is done or over.
func TestTheLinkOfAnInviteOpensWhateverBecameOfIt(t *testing.T) {
	w := settled(t)
	dave := w.person()
	code := w.invite("dave")
	text, _ := w.reads(w.bob, "/humans/dave")
	w.wantsText(text, "Waits for operators", "Admit")
	w.sign(w.alice, broker.ActAdmitHuman, "/humans/dave", "dave")
	text, page := w.reads(w.bob, "/humans/dave")
	w.wantsText(text, "Admitted: the code may be typed in")
	if strings.Contains(page, `data-ceremony="sign"`) {
		t.Error("it is still to be signed")
	}
	w.must(dave.Enrol(t.Context(), "dave", code))
	text, _ = w.reads(dave, "/humans/dave") // it is dave's
	w.wantsText(text, "Has made a passkey")

	w.invite("erin")
	w.clock.Advance(broker.CodeFor + time.Second)
	w.must(w.bob.SignIn(t.Context()))
	text, page = w.reads(w.bob, "/humans/erin")
	w.wantsText(text, "Its time is over", "An operator can invite erin again.")
	if strings.Contains(page, `data-ceremony="sign"`) || strings.Contains(text, "Sign only if") {
		t.Errorf("it is still to be signed:\n%s", text)
	}
}
