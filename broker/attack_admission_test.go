package broker_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
)

// organised is a world of three operators who review nothing, and three reviewers of production, where deleting wants two.
func organised(t *testing.T, operators ...string) *brokertest.World {
	t.Helper()
	w := brokertest.NewWorld(t)
	next := w.Configuration()
	next.Hash = "config-2"
	next.Groups = map[string][]string{"ops": operators, "team": {"alice", "dora", "fred"}}
	next.Roles = map[broker.Role][]string{broker.RoleReviewer: {"team"}, broker.RoleOperator: {"ops"}}
	reconfigure(w, next)
	return w
}

func reconfigure(w *brokertest.World, next *broker.Configuration) {
	w.Helper()
	if err := w.Reload(w.Context(), broker.Caller{Kind: broker.CallerSocket}, next, nil); err != nil {
		w.Fatal(err)
	}
}

// withPasskeys gives people a passkey, NAME-key.
func withPasskeys(w *brokertest.World, names ...string) {
	w.Helper()
	err := w.Store.Update(w.Context(), func(tx broker.Tx) error {
		var failed []error
		for _, name := range names {
			failed = append(failed, tx.Save(&broker.Human{Name: name, Handle: []byte(name)}), tx.Save(&broker.Passkey{ID: name + "-key", Human: name}))
		}
		return errors.Join(failed...)
	})
	if err != nil {
		w.Fatal(err)
	}
}

func asHuman(name string) broker.Caller { return broker.Caller{Kind: broker.CallerHuman, Name: name} }

func mustInvite(w *brokertest.World, by, name string) (broker.Invite, broker.Secret) {
	w.Helper()
	invite, code, err := w.InviteHuman(w.Context(), asHuman(by), name)
	if err != nil {
		w.Fatal(err)
	}
	return invite, code
}

// The attack: an operator says that another one lost the passkeys, signs that alone, and is two people from then on:
// those two make the passkeys of two reviewers.
func TestOneOperatorTakesOverAnother(t *testing.T) {
	w := organised(t, "bob", "carol", "erin")
	withPasskeys(w, "dora", "erin", "fred")
	for _, victim := range []string{"carol", "dora"} {
		invite, code := mustInvite(w, "bob", victim)
		if invite.Needs != 2 {
			t.Errorf("%s's new passkey needs %d operators", victim, invite.Needs)
		}
		w.SignAs("bob", broker.ActAdmitHuman, victim)
		w.WantCode(w.TrySign("bob", broker.Intent{Act: broker.ActAdmitHuman, Subject: victim, Digest: w.SubjectDigest(broker.ActAdmitHuman, victim)}), broker.CodeForbidden)
		w.WantCode(w.AddPasskey(t.Context(), victim, code, broker.Passkey{ID: "bobs"}), broker.CodeForbidden)
	}
}

// With two operators there is only one to sign that the other's passkeys are lost: not enough where two must approve.
func TestOneOfTwoOperatorsBecomesTheOther(t *testing.T) {
	w := organised(t, "bob", "carol")
	_, _, err := w.InviteHuman(t.Context(), asHuman("bob"), "carol")
	w.WantCode(err, broker.CodeConflict)
	if told, ok := errors.AsType[*broker.Error](err); !ok || !strings.Contains(told.Next, "human reset carol") {
		t.Errorf("%+v", told)
	}
}

// Who could admit reviewers of every environment is admitted as hard as a reviewer of the strictest.
func TestAnOperatorIsAdmittedAsHardAsTheStrictestReview(t *testing.T) {
	w := organised(t, "bob", "carol", "erin")
	if invite, _ := mustInvite(w, "bob", "erin"); invite.Needs != 2 {
		t.Errorf("a new operator needs %d signatures", invite.Needs)
	}
}

// The attack: operators come by single sign-on, and at night one of them is alone.
func TestAdmissionCountsThoseWhoMustSignOnAgain(t *testing.T) {
	w := brokertest.NewWorld(t)
	withPasskeys(w, "erin")
	next := w.Configuration()
	next.Hash, next.Groups = "config-2", map[string][]string{}
	next.SignOn = &broker.SignOn{Issuer: "https://login.example", Groups: []string{"team", "ops"}}
	next.Roles[broker.RoleOperator] = []string{"ops"}
	reconfigure(w, next)
	link := func(name string) {
		t.Helper()
		if _, err := w.SignedOn(t.Context(), account(name, "team", "ops"), name); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"bob", "carol", "erin"} {
		link(name)
	}
	w.Clock.Advance(13*time.Hour + 11*time.Minute)
	link("bob")
	mustSignOn(w, "dora", "team")
	night, err := w.AskAdmission(t.Context(), "dora", broker.Passkey{ID: "dora-key"})
	if err != nil || night.Needs != 2 {
		t.Errorf("at night a reviewer of production needs %d, %v", night.Needs, err)
	}
	lost, _ := mustInvite(w, "bob", "carol")
	if lost.Needs != 2 || !slices.Equal(lost.Groups, []string{"ops", "team"}) {
		t.Errorf("at night carol's new passkey needs %d, as a member of %v", lost.Needs, lost.Groups)
	}
}

// The attack: a name without groups is invited, which one operator signs; then single sign-on brings the groups.
func TestAnInviteBeforeTheFirstSignOnIsSignedAsHard(t *testing.T) {
	w := brokertest.NewWorld(t)
	if invite, _ := mustInvite(w, "bob", "dora"); invite.Needs != 2 {
		t.Errorf("somebody whom single sign-on may make a reviewer of production needs %d", invite.Needs)
	}
}

// The attack: an operator signs a newcomer, is thrown out for it, and the signature still counts a week later.
func TestASignatureOfAFormerOperatorAdmitsNobody(t *testing.T) {
	w := brokertest.NewWorld(t)
	throwOut := func(names ...string) {
		next := *w.Configuration()
		next.Hash, next.Groups = "without "+strings.Join(names, ","), map[string][]string{"team": slices.DeleteFunc([]string{"alice", "bob", "carol"}, func(n string) bool { return slices.Contains(names, n) })}
		reconfigure(w, &next)
	}
	mustSignOn(w, "dora", "team")
	if _, err := w.AskAdmission(t.Context(), "dora", broker.Passkey{ID: "dora-key"}); err != nil {
		t.Fatal(err)
	}
	_, code := mustInvite(w, "bob", "erin")
	w.SignAs("bob", broker.ActAdmitHuman, "dora")
	w.SignAs("bob", broker.ActAdmitHuman, "erin")
	w.SignAs("alice", broker.ActAdmitHuman, "erin")
	throwOut("bob")
	w.SignAs("carol", broker.ActAdmitHuman, "dora")
	if keys, err := w.Passkeys(t.Context(), "dora"); err != nil || len(keys) > 0 {
		t.Errorf("bob is no operator any more, and dora has %v, %v", keys, err)
	}
	w.WantCode(w.AddPasskey(t.Context(), "erin", code, broker.Passkey{ID: "erin-key"}), broker.CodeForbidden)
	w.SignAs("alice", broker.ActAdmitHuman, "dora")
	if keys, err := w.Passkeys(t.Context(), "dora"); err != nil || len(keys) != 1 {
		t.Errorf("two operators signed, and dora has %v, %v", keys, err)
	}
}

// The attack: with a stolen session of whoever invited, the invite is made anew, and its code is the thief's. What is
// signed says so, and the words are others.
func TestAnInviteMadeAnewByAStolenSessionReadsDifferently(t *testing.T) {
	w := brokertest.NewWorld(t)
	first, _ := mustInvite(w, "bob", "dora")
	w.Clock.Advance(time.Minute)
	shown := w.SubjectDigest(broker.ActAdmitHuman, "dora")
	second, _ := mustInvite(w, "bob", "dora")
	if first.Phrase() == second.Phrase() {
		t.Error("both have the words", first.Phrase())
	}
	if first.Instead != "" || !strings.Contains(second.Instead, "human:bob") {
		t.Errorf("the first is in place of %q, the second of %q", first.Instead, second.Instead)
	}
	w.WantCode(w.TrySign("carol", broker.Intent{Act: broker.ActAdmitHuman, Subject: "dora", Digest: shown}), broker.CodeConflict)
	ceremony, err := w.Prepare(t.Context(), "carol", broker.Intent{Act: broker.ActAdmitHuman, Subject: "dora", Digest: second.Digest()})
	if err != nil || !strings.Contains(ceremony.Statement.Says, "in place of what waited before: human:bob") {
		t.Errorf("signed is %q, %v", ceremony.Statement.Says, err)
	}
	w.Clock.Advance(2 * time.Hour)
	if third, _ := mustInvite(w, "bob", "dora"); third.Instead != "" {
		t.Errorf("in place of one that had ended: %q", third.Instead)
	}
}

// The attack: what two people read to each other is computed from what the newcomer's browser sends; then a browser
// tries keys until the words are those of somebody else's.
func TestAKeyCannotBeGroundToTheWordsOfAnother(t *testing.T) {
	phrases := map[string]bool{}
	for range 3 {
		w := brokertest.NewWorld(t)
		mustSignOn(w, "dora", "team")
		invite, err := w.AskAdmission(t.Context(), "dora", broker.Passkey{ID: "dora-key", Credential: []byte(`{"public_key":"AAAA"}`)})
		if err != nil {
			t.Fatal(err)
		}
		phrases[invite.Phrase()] = true
	}
	if len(phrases) != 3 {
		t.Errorf("the same key has the same words: %v", phrases)
	}
}

// The attack: the owner of an agent is in a group that a guardrail forbids something, and does not sign on again.
func TestAGuardrailOnAGroupOfSingleSignOnOutlastsTheSignOn(t *testing.T) {
	w := brokertest.NewWorld(t, func(c *broker.Config) {
		c.Configuration.Groups["contractors"] = nil
		c.Configuration.SignOn.Groups = []string{"team", "contractors"}
	})
	w.Policy.Forbid = func(q broker.Query) bool { return slices.Contains(q.OwnerGroups, "contractors") }
	mustSignOn(w, "zoe", "contractors")
	err := w.Store.Update(t.Context(), func(tx broker.Tx) error {
		return tx.Save(&broker.Agent{Name: "zoes", Owner: "zoe", State: broker.AgentActive, Thumbprint: "z", Key: []byte(`{}`)})
	})
	if err != nil {
		t.Fatal(err)
	}
	ask := func() error {
		_, _, err := w.Take(t.Context(), broker.Ask{Agent: "zoes", AgentKey: "z", Task: "fix", Environments: []string{"staging"}, Scopes: []broker.Scope{w.Scope("db:public.orders:read,write")}})
		return err
	}
	w.WantCode(ask(), broker.CodeDenied)
	for _, wait := range []time.Duration{13*time.Hour + 11*time.Minute, 31 * 24 * time.Hour} {
		w.Clock.Advance(wait)
		w.WantCode(ask(), broker.CodeDenied)
	}
	mustSignOn(w, "zoe", "team") // the provider took the group away
	if err := ask(); err != nil {
		t.Error(err)
	}
}

// The attack: whoever stole an operator's passkey admits somebody with it before it is removed.
func TestASignatureByAPasskeyThatWasRemovedAdmitsNobody(t *testing.T) {
	w := brokertest.NewWorld(t)
	if err := w.OfferPasskey(t.Context(), "bob", broker.Passkey{ID: "bob2-key"}); err != nil {
		t.Fatal(err)
	}
	w.SignAs("bob", broker.ActAddPasskey, "bob2-key")
	mustSignOn(w, "dora", "team")
	if _, err := w.AskAdmission(t.Context(), "dora", broker.Passkey{ID: "dora-key"}); err != nil {
		t.Fatal(err)
	}
	_, code := mustInvite(w, "bob", "erin")
	w.SignAs("bob", broker.ActAdmitHuman, "dora") // the thief, by bob-key
	w.SignAs("bob", broker.ActAdmitHuman, "erin")
	w.SignAs("alice", broker.ActAdmitHuman, "erin")
	removed := w.SubjectDigest(broker.ActRemovePasskey, "bob-key")
	ceremony, err := w.Prepare(t.Context(), "bob", broker.Intent{Act: broker.ActRemovePasskey, Subject: "bob-key", Digest: removed})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Sign(t.Context(), "bob", ceremony.Nonce, brokertest.Assert(t, "bob2-key", ceremony)); err != nil {
		t.Fatal(err)
	}
	w.SignAs("carol", broker.ActAdmitHuman, "dora")
	if keys, err := w.Passkeys(t.Context(), "dora"); err != nil || len(keys) > 0 {
		t.Errorf("one honest signature, and dora has %v, %v", keys, err)
	}
	w.WantCode(w.AddPasskey(t.Context(), "erin", code, broker.Passkey{ID: "erin-key"}), broker.CodeForbidden)
	w.SignAs("carol", broker.ActAdmitHuman, "erin")
	if err := w.AddPasskey(t.Context(), "erin", code, broker.Passkey{ID: "erin-key"}); err != nil {
		t.Error(err)
	}
}

// The attack: a group of the files that single sign-on brings as well makes a newcomer look as if it had named him.
func TestAGroupOfTheFilesIsNoSignOn(t *testing.T) {
	w := brokertest.NewWorld(t)
	next := w.Configuration()
	next.Hash, next.SignOn.Groups = "config-2", []string{"team", "devs"}
	next.Groups["devs"] = []string{"mallory"}
	reconfigure(w, next)
	if invite, _ := mustInvite(w, "bob", "mallory"); invite.Needs != 2 {
		t.Errorf("somebody whom single sign-on may make a reviewer of production tomorrow needs %d", invite.Needs)
	}
}

// The attack: the other operator's passkeys were reset, as they must be, and the one who is left invites the other anew.
func TestAResetMakesNobodyANewcomer(t *testing.T) {
	w := organised(t, "bob", "carol")
	next := w.Configuration()
	next.Hash, next.SignOn = "config-3", nil
	next.Groups = map[string][]string{"ops": {"bob", "carol"}, "team": {"bob", "carol"}}
	next.Roles = map[broker.Role][]string{broker.RoleReviewer: {"team"}, broker.RoleOperator: {"ops"}}
	reconfigure(w, next)
	_, _, err := w.InviteHuman(t.Context(), asHuman("bob"), "carol")
	w.WantCode(err, broker.CodeConflict)
	w.Config.Configuration = next
	w.Reopen()
	_, code, err := w.ResetHuman(t.Context(), "carol")
	if err != nil {
		t.Fatal(err)
	}
	w.Reopen()
	_, _, err = w.InviteHuman(t.Context(), asHuman("bob"), "carol")
	w.WantCode(err, broker.CodeConflict)
	if err := w.AddPasskey(t.Context(), "carol", code, broker.Passkey{ID: "carols-own"}); err != nil {
		t.Errorf("carol, with the code from the shell: %v", err)
	}
}

// The attack: a stolen session offers a passkey, and it waits in the inbox for the one that is made after the reset.
func TestAResetForgetsWhatAStolenSessionOffered(t *testing.T) {
	w := brokertest.NewWorld(t)
	if err := w.OfferPasskey(t.Context(), "carol", broker.Passkey{ID: "thief-key", Name: "phone"}); err != nil {
		t.Fatal(err)
	}
	_, code, err := w.ResetHuman(t.Context(), "carol")
	if err != nil {
		t.Fatal(err)
	}
	w.Reopen()
	if err := w.AddPasskey(t.Context(), "carol", code, broker.Passkey{ID: "carol2-key"}); err != nil {
		t.Fatal(err)
	}
	if inbox, err := w.Inbox(t.Context(), "carol"); err != nil || len(inbox.Passkeys) > 0 {
		t.Errorf("carol is asked to sign %v, %v", inbox.Passkeys, err)
	}
}

// The attack: it is asked for while one operator's signature is enough, and signed once there are three operators.
func TestOperatorsWhoCameMeanwhileCount(t *testing.T) {
	w := brokertest.NewWorld(t)
	next := w.Configuration()
	next.Hash, next.Groups = "config-2", map[string][]string{"ops": {"alice"}, "team": {"alice", "bob", "carol"}}
	next.Roles[broker.RoleOperator] = []string{"ops"}
	reconfigure(w, next)
	mustSignOn(w, "dora", "team")
	if asked, err := w.AskAdmission(t.Context(), "dora", broker.Passkey{ID: "dora-key"}); err != nil || asked.Needs != 1 {
		t.Fatalf("needs %d, %v", asked.Needs, err)
	}
	more := w.Configuration()
	more.Hash, more.Groups, more.Roles = "config-3", map[string][]string{"ops": {"alice", "bob", "carol"}, "team": {"alice", "bob", "carol"}}, next.Roles
	reconfigure(w, more)
	w.SignAs("bob", broker.ActAdmitHuman, "dora")
	if keys, err := w.Passkeys(t.Context(), "dora"); err != nil || len(keys) > 0 {
		t.Errorf("of three operators one signed, and dora has %v, %v", keys, err)
	}
	w.SignAs("carol", broker.ActAdmitHuman, "dora")
	if keys, err := w.Passkeys(t.Context(), "dora"); err != nil || len(keys) != 1 {
		t.Errorf("two of them signed, and dora has %v, %v", keys, err)
	}
}

// The attack: somebody without a passkey signs on once, in a week without duty; an operator makes a passkey in that name,
// and waits for the next week.
func TestAnInviteInAQuietWeekIsSignedAsHard(t *testing.T) {
	w := brokertest.NewWorld(t)
	next := w.Configuration()
	next.Hash, next.Groups = "config-2", map[string][]string{"ops": {"alice", "bob", "carol"}, "oncall": {"alice", "bob", "carol"}}
	next.SignOn.Groups = []string{"team", "oncall"}
	next.Roles = map[broker.Role][]string{broker.RoleReviewer: {"oncall"}, broker.RoleOperator: {"ops"}}
	reconfigure(w, next)
	mustSignOn(w, "dora", "team")
	w.Clock.Advance(time.Hour)
	if invite, _ := mustInvite(w, "bob", "dora"); invite.Needs != 2 {
		t.Errorf("who reviews production when on call needs %d", invite.Needs)
	}
}

// The attack: a newcomer whom nobody admitted offers one passkey after the other, until nobody reads what the channels say.
func TestANewcomerAsksOperatorsOnceAMinute(t *testing.T) {
	w := brokertest.NewWorld(t)
	mustSignOn(w, "dora", "team")
	asked := 0
	for n := range 600 { // ten minutes
		if _, err := w.AskAdmission(t.Context(), "dora", broker.Passkey{ID: fmt.Sprintf("dora-key-%d", n)}); err == nil {
			asked++
		} else {
			w.WantCode(err, broker.CodeSlowDown)
		}
		w.Clock.Advance(time.Second)
	}
	if asked != 10 {
		t.Errorf("operators were asked %d times in ten minutes", asked)
	}
}

// The attack: an account that is called like a reviewer is refused, and the log says that the reviewer did it.
func TestARefusedSignOnIsNobodysHere(t *testing.T) {
	w := brokertest.NewWorld(t)
	impostor := account("alice", "team")
	impostor.Subject, impostor.Email = "sub-mallory", "alice@other.example.com"
	_, err := w.SignedOn(t.Context(), impostor, "")
	w.WantCode(err, broker.CodeConflict)
	log := w.Store.Log()
	if last := log[len(log)-1]; last.Type != broker.EventSignOnRefused || last.Actor != "single-sign-on" {
		t.Errorf("the last line is %s by %s", last.Type, last.Actor)
	}
}

// The attack on honest people: the clock goes back by seconds, and who has just signed on is in no group for half a day.
func TestAClockThatGoesBackForAMomentTakesNoGroups(t *testing.T) {
	w := brokertest.NewWorld(t)
	next := w.Configuration()
	next.Hash, next.Groups = "config-2", map[string][]string{"team": {"alice", "bob"}}
	reconfigure(w, next)
	if _, err := w.SignedOn(t.Context(), account("carol", "team"), "carol"); err != nil {
		t.Fatal(err)
	}
	request := w.MustAsk("staging", "db:public.orders:delete")
	w.Clock.Advance(-4 * time.Second)
	_ = w.MaySign(t.Context(), "carol", broker.ActApprove, request.ID) // reads the groups, whatever comes of it
	w.Clock.Advance(10 * time.Second)
	if err := w.MaySign(t.Context(), "carol", broker.ActApprove, request.ID); err != nil {
		t.Error(err)
	}
}

// The attack on honest people: the only operator was reset, the hour of the code passed, and the shell makes no other.
func TestTheOnlyOperatorIsInvitedAgainByTheShell(t *testing.T) {
	w := brokertest.NewWorld(t)
	next := w.Configuration()
	next.Hash, next.Groups, next.SignOn = "config-2", map[string][]string{"team": {"alice"}}, nil
	next.Roles = map[broker.Role][]string{broker.RoleReviewer: {"team"}, broker.RoleOperator: {"team"}}
	w.Config.Configuration = next
	w.Reopen()
	if err := w.Store.Update(t.Context(), func(tx broker.Tx) error {
		return errors.Join(tx.Delete(&broker.Passkey{ID: "bob-key"}), tx.Delete(&broker.Passkey{ID: "carol-key"}))
	}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.ResetHuman(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	w.Reopen()
	w.Clock.Advance(2 * time.Hour)
	_, code, err := w.InviteHuman(t.Context(), broker.Caller{Kind: broker.CallerSocket}, "alice")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.AddPasskey(t.Context(), "alice", code, broker.Passkey{ID: "alice2-key"}); err != nil {
		t.Error(err)
	}
}
