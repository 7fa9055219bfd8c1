package notify

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// line tells the last event alone, and gives the channel's line, the link's path, and who hears it by mail.
func (w *world) line(t *testing.T) (line, path string, hearers []string) {
	t.Helper()
	n := w.last(t)
	if n == nil {
		t.Fatal("it is told to nobody")
	}
	for _, h := range n.hearers {
		hearers = append(hearers, h.human)
	}
	slices.Sort(hearers)
	return n.wide(), n.path, hearers
}

// last is what there is to tell of the last event that is told at all.
func (w *world) last(t *testing.T) (n *notice) {
	t.Helper()
	err := w.Store.View(t.Context(), func(r broker.Reader) error {
		log := w.Store.Log()
		for number := len(log) - 1; number >= 0; number-- {
			if _, told := aboutOf(log[number].Type); !told {
				continue
			}
			s := scene{Reader: r, number: uint64(number), event: log[number], config: w.Broker.Configuration(), now: w.Clock.Now()}
			var err error
			n, err = s.notice()
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// wantLine wants that line, that link, and those hearers, for each of whom the link opens.
func (w *world) wantLine(t *testing.T, line, path string, hearers ...string) {
	t.Helper()
	got, leads, who := w.line(t)
	wantSame(t, got, line)
	wantSame(t, leads, path)
	wantSame(t, who, hearers)
	for _, human := range who {
		w.opens(t, human, leads)
	}
}

func TestWhatIsSaidOfARequest(t *testing.T) {
	w := newWorld(t)
	request := w.MustAsk("production", "db:public.orders:delete", "db:public.customers:read,write")
	const wish = "delete public·orders of db in production; read and write public·customers of db in production, for 30 minutes, for task fix, on behalf of alice."
	w.wantLine(t, "claude asks to "+wish+" Must approve: 2 in production. May decide: bob and carol.", "/requests/"+request.ID, "alice", "bob", "carol")

	sign := func(human string) {
		w.Helper()
		err := w.TrySign(human, broker.Intent{Act: broker.ActApprove, Subject: request.ID, Digest: w.SubjectDigest(broker.ActApprove, request.ID), Typed: []string{"production"}})
		if err != nil {
			t.Fatal(err)
		}
	}
	sign("bob") // the first of two: nobody is told
	w.wantLine(t, "claude asks to "+wish+" Must approve: 2 in production. May decide: bob and carol.", "/requests/"+request.ID, "alice", "bob", "carol")
	sign("carol")
	w.wantLine(t, "Approved by bob and carol: claude may "+wish, "/requests/"+request.ID, "alice")

	w.Clock.Advance(broker.CollectFor + time.Second)
	w.Sweep(t.Context())
	w.wantLine(t, "Expired: approved by bob and carol, but not collected in time: claude asked to "+wish, "/requests/"+request.ID, "alice")
}

func TestWhatIsSaidOfOutcomes(t *testing.T) {
	w := newWorld(t)
	const wish = "delete public·orders of db in staging, for 30 minutes, for task fix, on behalf of alice."
	request := w.MustAsk("staging", "db:public.orders:delete")
	w.deny("bob", request, "which rows?\nAsk in #orders")
	w.wantLine(t, "Denied by bob: claude asked to "+wish+" In the words of bob: “which rows? Ask in #orders” Without: carol.", "/requests/"+request.ID, "alice", "carol")

	w.Clock.Advance(2 * time.Hour)
	request = w.MustAsk("staging", "db:public.orders:delete")
	if err := w.Cancel(t.Context(), w.Agent, request.ID); err != nil {
		t.Fatal(err)
	}
	w.wantLine(t, "Withdrawn by claude: claude asked to "+wish+" Without: bob and carol.", "/requests/"+request.ID, "alice", "bob", "carol")

	request = w.MustAsk("staging", "db:public.orders:delete")
	w.Clock.Advance(broker.PendingFor + time.Second)
	w.Sweep(t.Context())
	w.wantLine(t, "Expired before it was decided: claude asked to "+wish+" Without: bob and carol.", "/requests/"+request.ID, "alice", "bob", "carol")
}

// Whoever approved first of two hears that another said no.
func TestWhoApprovedHearsThatItCameToNothing(t *testing.T) {
	w := newWorld(t)
	request := w.MustAsk("production", "db:public.orders:delete")
	if err := w.TrySign("bob", broker.Intent{Act: broker.ActApprove, Subject: request.ID, Digest: w.SubjectDigest(broker.ActApprove, request.ID), Typed: []string{"production"}}); err != nil {
		t.Fatal(err)
	}
	w.deny("carol", request, "")
	w.wantLine(t, "Denied by carol: claude asked to delete public·orders of db in production, for 30 minutes, for task fix, on behalf of alice.", "/requests/"+request.ID, "alice", "bob")
}

func TestAllowedByPolicyIsToldToNobody(t *testing.T) {
	w := newWorld(t)
	before := len(w.Store.Log())
	w.MustAsk("staging", "db:public.orders:read")
	if _, err := w.Ask("staging", "db:secret.keys:admin"); err == nil {
		t.Fatal("that should have been denied")
	}
	w.Clock.Advance(broker.CollectFor + time.Second)
	w.Sweep(t.Context()) // nobody collected it
	if len(w.Store.Log()) != before+3 {
		t.Fatalf("%d events, want 3", len(w.Store.Log())-before)
	}
	if n := w.last(t); n != nil && n.number >= uint64(before) {
		t.Errorf("told: %s", n.text)
	}
}

func TestWhatIsSaidOfPeople(t *testing.T) {
	w := newWorld(t)
	everyone := []string{"alice", "bob", "carol"}
	socket := broker.Caller{Kind: broker.CallerSocket}

	if _, _, err := w.InviteHuman(t.Context(), broker.Caller{Kind: broker.CallerHuman, Name: "bob"}, "dave"); err != nil {
		t.Fatal(err)
	}
	w.wantLine(t, "dave was invited by bob; 2 operators must sign that first.", "/humans/dave", append(everyone, "dave")...)
	w.SignAs("carol", broker.ActAdmitHuman, "dave")
	w.wantLine(t, "carol signed that dave may come in.", "/humans/dave", append(everyone, "dave")...)

	if err := w.OfferPasskey(t.Context(), "alice", broker.Passkey{ID: "new", Name: "mine <!channel>"}); err != nil {
		t.Fatal(err)
	}
	w.wantLine(t, "A new passkey is offered for alice. It signs nothing until it is signed itself.", "/me", everyone...)
	w.tells(broker.EventPasskeyAdded, "human:alice", "alice", map[string]any{"passkey": map[string]any{"passkey": "new", "usable_from": w.Clock.Now().Add(24 * time.Hour)}})
	w.wantLine(t, "alice has a new passkey, which can sign from 12:00 UTC on 25 April 2026 on.", "/", everyone...)
	w.tells(broker.EventPasskeyAdded, "human:dave", "dave", map[string]any{"passkey": "first", "usable_from": w.Clock.Now()})
	w.wantLine(t, "dave has a new passkey.", "/", append(everyone, "dave")...)
	w.tells(broker.EventPasskeyRemoved, "human:alice", "alice", map[string]any{"passkey": "old"})
	w.wantLine(t, "A passkey of alice was removed.", "/", everyone...)

	code, err := w.AddAgent(t.Context(), socket, "ci/nightly", "dave")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.EnrolAgent(t.Context(), "ci/nightly", code, []byte(`{}`), "print"); err != nil {
		t.Fatal(err)
	}
	w.wantLine(t, "Agent ci/nightly has a key, and can do nothing until dave signs it.", "/agents/ci/nightly", append(everyone, "dave")...)

	if _, _, err := w.ResetHuman(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	w.wantLine(t, "The broker's shell froze everything: nothing is issued, and what was out is ended. Because: “the passkeys of alice were reset”", "/freezes/all", everyone...)
	w.tells(broker.EventHumanReset, "shell", "alice", map[string]int{"passkeys": 1})
	w.wantLine(t, "The passkeys of alice were removed from the broker's shell, for a new start. Everything is frozen, and what waited is void.", "/", everyone...)
}

func TestWhatIsSaidOfAlarms(t *testing.T) {
	w := newWorld(t)
	everyone := []string{"alice", "bob", "carol"}
	bob := broker.Caller{Kind: broker.CallerHuman, Name: "bob"}

	freeze := broker.Freeze{Of: broker.FreezeAgent, Name: "claude", Reason: "it guesses ids", Until: w.Clock.Now().Add(time.Hour)}
	if _, err := w.Freeze(t.Context(), bob, freeze); err != nil {
		t.Fatal(err)
	}
	w.wantLine(t, "bob froze agent claude until 13:00 UTC on 24 April 2026: nothing is issued, and what was out is ended. Because: “it guesses ids”", "/freezes/agent:claude", everyone...)
	w.SignAs("carol", broker.ActLiftFreeze, "agent:claude")
	w.wantLine(t, "carol lifted the freeze of agent claude.", "/", everyone...)

	stuck := w.plant(func(r *broker.Request) { r.Owner = "dave" })
	w.tells(broker.EventLeaseStuck, "broker", "lease-1", broker.LeaseEvent{
		Name: "hk-abc-lease1", Request: stuck.ID, Agent: "claude", Owner: "dave", Environment: "production", Target: "db", Attempts: 5, Error: "dial https://evil.example: no",
	})
	w.wantLine(t, "The key hk-abc-lease1 of claude, for db in production, could not be ended after 5 attempts. It is tried on; see whether the provider is reachable.", "/requests/"+stuck.ID, append(everyone, "dave")...)

	w.Staging.SetID("memory:elsewhere")
	if _, err := w.Learn(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.wantLine(t, "db in staging is not what was confirmed: its provider says that it is another. Nothing is issued there until an operator has looked.", "/targets/staging/db", everyone...)
	w.tells(broker.EventRestored, "shell", "abcdefgh", broker.Restored{})
	w.wantLine(t, "The store was restored from a backup: everything is frozen, and what waited is void.", "/", everyone...)
	w.tells(broker.EventSameUser, "broker", "abcdefgh", nil)
	w.wantLine(t, "Something that runs as the broker's own user talked to it: from now on this installation protects from mistakes only.", "/", everyone...)
}

// An operator whose single sign-on is too old to act hears of alarms all the same: that is who can sign on.
func TestOperatorWhoMustSignOnAgainHearsOfAlarms(t *testing.T) {
	config := &broker.Configuration{
		Groups: map[string][]string{"ops": {"alice"}}, Away: map[string][]string{"ops": {"bob"}, "dev": {"carol"}},
		Roles: map[broker.Role][]string{broker.RoleOperator: {"ops"}},
	}
	wantSame(t, operators(config), []string{"alice", "bob"})
}

func TestFilters(t *testing.T) {
	for name, test := range map[string]struct {
		about        []About
		environments []string
		want         []string // beginnings of lines
	}{
		"everything":       {nil, nil, []string{"claude asks to delete public·orders of db in staging", "Denied", "claude asks to delete public·orders of db in production", "bob froze environment staging", "bob froze everything", "dave was invited"}},
		"production":       {nil, []string{"production"}, []string{"claude asks to delete public·orders of db in production", "bob froze everything", "dave was invited"}},
		"alarms":           {[]About{AboutAlarms}, nil, []string{"bob froze environment staging", "bob froze everything"}},
		"people, requests": {[]About{AboutPeople, AboutRequests}, []string{"staging"}, []string{"claude asks to delete public·orders of db in staging", "dave was invited"}},
		"outcomes":         {[]About{AboutOutcomes}, nil, []string{"Denied"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			server, channel := w.slackServer()
			channel.About, channel.Environments = test.about, test.environments
			teller := w.teller(channel)
			bob := broker.Caller{Kind: broker.CallerHuman, Name: "bob"}
			request := w.MustAsk("staging", "db:public.orders:delete")
			teller.run()
			w.deny("bob", request, "")
			w.MustAsk("production", "db:public.orders:delete")
			for _, freeze := range []broker.Freeze{{Of: broker.FreezeEnvironment, Name: "staging"}, {Of: broker.FreezeAll}} {
				if _, err := w.Freeze(t.Context(), bob, freeze); err != nil {
					t.Fatal(err)
				}
			}
			if _, _, err := w.InviteHuman(t.Context(), bob, "dave"); err != nil {
				t.Fatal(err)
			}
			teller.run()
			got := slackLines(t, server)
			if len(got) != len(test.want) {
				t.Fatalf("%d lines: %+v", len(got), got)
			}
			for i, want := range test.want {
				if !strings.HasPrefix(got[i].line, want) {
					t.Errorf("line %d: %s, want %s…", i, got[i].line, want)
				}
			}
		})
	}
}

func TestWhatNtfyGets(t *testing.T) {
	w := newWorld(t)
	server, channel := w.ntfyServer()
	teller := w.teller(channel)
	request := w.MustAsk("staging", "db:public.orders:delete")
	teller.run()
	got, err := readNtfy(oneOf(t, server.all()).body)
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, got, ntfyRead{
		Topic: "hourkey-9d1f", Title: "claude asks to delete in staging", Priority: 4, Click: "https://hourkey.test/requests/" + request.ID,
		Message: "claude asks to delete public·orders of db in staging, for 30 minutes, for task fix, on behalf of alice. Must approve: 1 in staging. May decide: bob and carol.",
	})
}

func TestWhatSlackGets(t *testing.T) {
	w := newWorld(t)
	server, channel := w.slackServer()
	teller := w.teller(channel)
	request := w.MustAsk("staging", "db:public.orders:delete")
	teller.run()
	got := oneOf(t, slackLines(t, server))
	wantWith(t, got.line, "claude asks to delete public·orders", "May decide: bob and carol.")
	wantSame(t, got.links, []string{"https://hourkey.test/requests/" + request.ID})
}

func TestWhatTheWebhookGets(t *testing.T) {
	w := newWorld(t)
	server, channel := w.hookServer()
	teller := w.teller(channel)
	request := w.MustAsk("staging", "db:public.orders:delete")
	number := uint64(len(w.Store.Log()) - 1)
	teller.run()
	got := oneOf(t, server.all())
	event, told := readHook(t, got)
	event.Data = nil
	id := w.Installation().ID + "-" + decimal(number)
	wantSame(t, event, hookRead{
		SpecVersion: "1.0", ID: id, Source: "https://hourkey.test", Type: "hourkey.request.submitted", Subject: request.ID,
		Time: w.Clock.Now().Format(time.RFC3339Nano), DataType: "application/json",
	})
	wantSame(t, told, Told{
		About: AboutRequests, Title: "claude asks to delete in staging", Link: "https://hourkey.test/requests/" + request.ID, Environments: []string{"staging"}, Number: number,
		Summary: "claude asks to delete public·orders of db in staging, for 30 minutes, for task fix, on behalf of alice. Must approve: 1 in staging. May decide: bob and carol.",
	})
	for name, want := range map[string]string{"Content-Type": "application/cloudevents+json; charset=utf-8", "Webhook-Id": id, "User-Agent": "hourkey"} {
		if got.header.Get(name) != want {
			t.Errorf("%s: %s, want %s", name, got.header.Get(name), want)
		}
	}
}
