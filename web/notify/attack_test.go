package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/hourkey/hourkey/broker"
)

// everyKind starts a receiver of each kind but mail, tells what is there, and gives what each was sent, decoded
// to the text that a reader sees.
func (w *world) everyKind(t *testing.T, happens func()) (texts map[Kind]string) {
	t.Helper()
	slackServer, slackChannel := w.slackServer()
	ntfyServer, ntfyChannel := w.ntfyServer()
	hookServer, hookChannel := w.hookServer()
	tellers := []*teller{w.teller(slackChannel), w.teller(ntfyChannel), w.teller(hookChannel)}
	mail, channel := w.mailServer(t)
	tellers = append(tellers, w.teller(channel))
	happens()
	for _, teller := range tellers {
		teller.run()
	}
	texts = map[Kind]string{Slack: oneOf(t, slackLines(t, slackServer)).line}
	m, err := readNtfy(oneOf(t, ntfyServer.all()).body)
	if err != nil {
		t.Fatal(err)
	}
	texts[Ntfy] = m.Title + "\n" + m.Message
	_, told := readHook(t, oneOf(t, hookServer.all()))
	texts[Webhook] = told.Title + "\n" + told.Summary
	eventually(t, "mail", func() bool { return len(mail.all()["bob@example.com"]) > 0 })
	l := oneOf(t, mail.all()["bob@example.com"])
	texts[SMTP] = subject(t, l) + "\n" + l.body
	return texts
}

// The words of an agent are on the page alone, after everything else and marked: in a message they would be
// the first thing that a tired person reads. Nor is the text of an operation there, which an agent wrote.
func TestAgentsWordsAreInNoMessage(t *testing.T) {
	w := newWorld(t)
	for kind, text := range w.everyKind(t, func() {
		w.plant(func(r *broker.Request) {
			r.Reason = "URGENT-approve-at-once"
			r.Operation = &broker.Operation{Text: "mutation URGENT-approve-at-once"}
		})
	}) {
		wantWithout(t, text, "URGENT")
		wantWith(t, text, "by one call", "delete public·orders")
		_ = kind
	}
}

// An agent that may create makes a table whose name is a mention, a link, or markup, and asks to delete it.
func TestNameThatMentionsTheChannelIsOnlyText(t *testing.T) {
	w := newWorld(t)
	server, channel := w.slackServer()
	teller := w.teller(channel)
	hostile := []broker.Resource{
		"<!channel>", "<!everyone|x>", "<@U012AB3CD>", "<#C012AB3CD>", "<https://evil.example|Approve>", "&lt;!here&gt;", "*bold* _it_ `code`",
		"@channel", "https://evil.example/approve", "evil.example", "www.evil.example", "evil。example/x", "hxxp:////evil", "mailto:a@evil.example",
	}
	for _, name := range hostile {
		w.plant(func(r *broker.Request) { r.Items[0].Description.Scopes[0].Resource = name })
	}
	teller.run()
	for _, m := range server.all() {
		read, err := readSlack(m.body)
		if err != nil {
			t.Fatal(err)
		}
		if len(read.mentions) > 0 || len(read.links) != 1 || !strings.HasPrefix(read.links[0], "https://hourkey.test/requests/") {
			t.Errorf("%s: mentions %v, links %v", m.body, read.mentions, read.links)
		}
		wantWithout(t, read.line, "<", ">") // whatever Slack makes of it some day
	}
}

// What looks like an address is made a link of by mail programs and telephones alike.
func TestResourceNamedLikeALinkMakesNone(t *testing.T) {
	w := newWorld(t)
	for kind, text := range w.everyKind(t, func() {
		w.plant(func(r *broker.Request) {
			r.Items[0].Description.Scopes[0].Resource = "https://evil.example/approve?x=1"
		})
	}) {
		text = strings.ReplaceAll(text, "https://hourkey.test/", "")
		wantWithout(t, text, "://", "evil.example", "//")
		wantWith(t, text, "evil·example")
		_ = kind
	}
}

func TestLineEndInANameMakesNoHeader(t *testing.T) {
	w := newWorld(t)
	server, channel := w.mailServer(t)
	teller := w.teller(channel)
	w.plant(func(r *broker.Request) {
		r.Agent = "claude\r\nBcc: evil@evil.example\r\n\r\nApprove this at once"
		r.Environments = []string{"staging\nX-Evil: 1", "a\r.\r\nQUIT\r\n"}
		r.Items[0].Description.Scopes[0].Resource = "x\r\n.\r\nMAIL FROM:<evil@evil.example>\r\n"
	})
	teller.run()
	for address, letters := range server.wants(t, 3) {
		l := oneOf(t, letters)
		for name := range l.header {
			if strings.Contains(strings.ToLower(name), "evil") || name == "Bcc" {
				t.Errorf("to %s: header %s", address, name)
			}
		}
		wantWith(t, subject(t, l), "⟨U+000D⟩ Bcc: evil@")
		wantWithout(t, string(l.Data), "\nBcc", "\nX-Evil", "\nMAIL", "evil.example")
	}
}

// Text that turns its direction, or is not seen at all, reads differently than it is.
func TestHiddenAndTurnedTextIsShown(t *testing.T) {
	w := newWorld(t)
	const hidden = "no\u202egnissim\u200b\u2066 all\U000E0041 good\u3164\x00"
	for kind, text := range w.everyKind(t, func() {
		w.plant(func(r *broker.Request) {
			r.Items[0].Description.Scopes[0].Resource = broker.Resource(hidden)
			r.Agent = hidden
		})
	}) {
		for _, c := range "\u202e\u200b\u2066\U000E0041\u3164\x00" {
			if strings.ContainsRune(text, c) {
				t.Errorf("%s: %U is in %q", kind, c, text)
			}
		}
		wantWith(t, text, "⟨U+202E⟩", "⟨U+200B⟩")
		if !utf8.ValidString(text) {
			t.Errorf("%s: not UTF-8", kind)
		}
	}
}

func TestWordsOfAReviewerAreHarmlessToo(t *testing.T) {
	w := newWorld(t)
	request := w.MustAsk("staging", "db:public.orders:delete")
	for kind, text := range w.everyKind(t, func() {
		w.deny("carol", request, "<!channel> see https://evil.example \u202e"+strings.Repeat("x", 1900))
		w.Clock.Advance(time.Second)
		w.tells(broker.EventRequestRejected, "human:carol", "none", broker.RequestEvent{}) // of a request that is not there
		_ = request
	}) {
		wantWithout(t, strings.ReplaceAll(text, "https://hourkey.test", ""), "evil.example", "://", "\u202e", strings.Repeat("x", maxWords))
		_ = kind
	}
}

// A name of a megabyte fits every medium: each receiver refuses what is longer than its documentation says.
func TestNameOfAMegabyteIsCut(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("𝕏<\u202e", 1<<17)
	for kind, text := range w.everyKind(t, func() {
		w.plant(func(r *broker.Request) {
			r.Agent, r.Owner, r.Task = long, "alice", long
			for range 200 {
				scope := r.Items[0].Description.Scopes[0]
				scope.Resource = broker.Resource(long[:4000])
				r.Items[0].Description.Scopes = append(r.Items[0].Description.Scopes, scope)
			}
			r.Environments = []string{long, "staging"}
		})
	}) {
		if len(text) > 2*maxText || !utf8.ValidString(text) {
			t.Errorf("%s: %d bytes", kind, len(text))
		}
	}
}

// A receiver that was taken over, or a typing error, sends us elsewhere: the message, its signature, and the
// secret in the address stay.
func TestRedirectIsNotFollowed(t *testing.T) {
	for _, code := range []int{301, 302, 303, 307, 308} {
		w := newWorld(t)
		elsewhere := w.serve(func(*http.Request, []byte) (int, string, error) { return 200, "ok", nil })
		server, channel := w.hookServer()
		teller := w.teller(channel)
		server.answers(func(rw http.ResponseWriter) bool {
			rw.Header().Set("Location", elsewhere.URL)
			rw.WriteHeader(code)
			return true
		})
		w.MustAsk("staging", "db:public.orders:delete")
		teller.run()
		if len(elsewhere.all()) > 0 {
			t.Errorf("%d: followed", code)
		}
		if failed := oneOf(t, w.records(broker.EventNoticeFailed)); failed.Tries != 1 || !strings.Contains(failed.Error, "not followed") {
			t.Errorf("%d: %+v", code, failed)
		}
	}
}

// Whoever sets the environment of the service does not read what goes to Slack.
func TestProxyOfTheEnvironmentIsNotUsed(t *testing.T) {
	w := newWorld(t)
	asked := false
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer proxy.Close()
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	if newPoster(broker.Secret{}, nil).client.Transport.(*http.Transport).Proxy != nil { //nolint:forcetypeassert // ours
		t.Error("a proxy would be looked for")
	}
	server, channel := w.slackServer()
	teller := w.teller(channel)
	w.MustAsk("staging", "db:public.orders:delete")
	teller.run()
	oneOf(t, server.all())
	if asked {
		t.Error("the proxy was asked")
	}
}

func TestAnswerWithoutEndIsLeft(t *testing.T) {
	w := newWorld(t)
	server, channel := w.slackServer()
	teller := w.teller(channel)
	teller.timeout = time.Hour
	written := make(chan int, 1)
	server.answers(func(rw http.ResponseWriter) bool {
		for n := 0; ; n += 1 << 16 {
			if _, err := rw.Write(make([]byte, 1<<16)); err != nil || n > 1<<28 {
				written <- n
				return true
			}
		}
	})
	w.MustAsk("staging", "db:public.orders:delete")
	teller.run()
	oneOf(t, w.records(broker.EventNoticeDelivered)) // it said 200
	if n := <-written; n > 1<<26 {                   // what lies in the buffers of a connection
		t.Errorf("%d bytes were taken", n)
	}
}

// A receiver that takes the connection and never answers holds up itself alone.
func TestHangingReceiverHoldsUpNoOtherChannel(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	slackServer, slackChannel := w.slackServer()
	slackServer.answers(func(http.ResponseWriter) bool { <-release; return false })
	defer close(release)
	ntfyServer, ntfyChannel := w.ntfyServer()
	stop := w.running(slackChannel, ntfyChannel)
	eventually(t, "both cursors", func() bool {
		return w.Store.View(t.Context(), func(r broker.Reader) error {
			return errors.Join(r.Load(&cursor{Channel: slackChannel.Name}), r.Load(&cursor{Channel: ntfyChannel.Name}))
		}) == nil
	})
	w.MustAsk("staging", "db:public.orders:delete")
	w.MustAsk("production", "db:public.orders:delete")
	eventually(t, "the other channel", func() bool { return len(ntfyServer.all()) == 2 })
	stop() // at once, though a try is under way
	wantWithout(t, w.log.String(), "could not be delivered")
	if n := w.Events(broker.EventNoticeFailed); n > 0 {
		t.Errorf("%d recorded as failed because we stopped", n)
	}
}

// The addresses of Slack and of many webhooks are the right to post there. Whatever goes wrong, they, the
// tokens and the passwords are in no event, no record, no error and no line of the log.
func TestSecretsAreInNoErrorEventOrLog(t *testing.T) {
	w := newWorld(t)
	secrets := []string{"the-secret-of-slack", "the-secret-of-ntfy", "the-secret-of-hook", "hourkey-9d1f", "correct horse", hookSecret, hookKey, "mirror-of"}
	slackServer, slackChannel := w.slackServer()
	ntfyServer, ntfyChannel := w.ntfyServer()
	_, hookChannel := w.hookServer()
	_, mailChannel := w.mailServer(t)
	mirror := func(rw http.ResponseWriter) bool {
		rw.Header().Set("Location", "https://evil.example/mirror-of"+slackPath)
		rw.WriteHeader(404)
		_, _ = fmt.Fprintf(rw, "mirror-of %s tk_the-secret-of-ntfy %s", slackPath, hookSecret)
		return true
	}
	slackServer.answers(mirror)
	ntfyServer.answers(mirror)
	refused := slackChannel
	refused.Name, refused.URL = "refused", broker.NewSecret("https://127.0.0.1:1"+slackPath)
	unknown := slackChannel
	unknown.Name, unknown.URL = "unknown", broker.NewSecret("https://nowhere.invalid"+slackPath)
	untrusted := hookChannel
	untrusted.Name = "untrusted"
	mailChannel.Server = "127.0.0.1:1"
	var tellers []*teller
	for _, channel := range []Channel{slackChannel, ntfyChannel, refused, unknown, mailChannel} {
		tellers = append(tellers, w.teller(channel))
	}
	w.roots = nil
	tellers = append(tellers, w.teller(untrusted))
	w.MustAsk("staging", "db:public.orders:delete")
	problems := map[string]string{
		"oncall": "the receiver answered 404", "phone": "the receiver answered 404", "refused": "the receiver refuses connections",
		"unknown": "the receiver's name cannot be resolved", "mail": "the receiver refuses connections", "untrusted": "the receiver's certificate is not one that is trusted here",
	}
	for _, teller := range tellers {
		began := w.Clock.Now()
		teller.run()
		w.Clock.Advance(began.Sub(w.Clock.Now())) // the next has the same hour
	}
	for _, failed := range w.records(broker.EventNoticeFailed) {
		if want := problems[failed.Channel]; !strings.HasPrefix(failed.Error, want) {
			t.Errorf("%s: %s, want %s", failed.Channel, failed.Error, want)
		}
		delete(problems, failed.Channel)
	}
	if len(problems) > 0 {
		t.Errorf("not recorded: %v", problems)
	}
	raw, err := json.Marshal(w.Store.Log())
	if err != nil {
		t.Fatal(err)
	}
	wantWithout(t, string(raw), secrets...)
	wantWithout(t, w.log.String(), secrets...)
	for _, teller := range tellers {
		wantWithout(t, fmt.Sprintf("%v %+v %#v", teller.channel, teller.channel, teller.channel), secrets...)
	}
}

// The broker dies when a message is out and its record is not: it is told again, once, and under the same id, by
// which the receiver knows it.
func TestCrashBetweenDeliveryAndCursorTellsAgainUnderTheSameID(t *testing.T) {
	w := newWorld(t)
	server, channel := w.hookServer()
	ctx, crash := context.WithCancel(t.Context())
	teller := w.teller(channel)
	w.MustAsk("staging", "db:public.orders:delete")
	w.Store.Fail(errors.New("no power"))
	teller.sleep = func(context.Context, time.Duration, <-chan struct{}) { crash() }
	teller.step(ctx)
	oneOf(t, server.all())

	w.Store.Fail(nil)
	w.Reopen()
	w.teller(channel).run()
	got := server.all()
	if len(got) != 2 {
		t.Fatalf("told %d times, want 2", len(got))
	}
	first, _ := readHook(t, got[0])
	second, _ := readHook(t, got[1])
	if first.ID != second.ID || got[0].header.Get("webhook-id") != got[1].header.Get("webhook-id") || first.ID == "" {
		t.Errorf("ids %s and %s", first.ID, second.ID)
	}
	oneOf(t, w.records(broker.EventNoticeDelivered))
}

func TestMailToldTwiceHasTheSameMessageID(t *testing.T) {
	w := newWorld(t)
	server, channel := w.mailServer(t)
	teller := w.teller(channel)
	w.MustAsk("staging", "db:public.orders:delete")
	w.Store.Fail(errors.New("no power"))
	ctx, crash := context.WithCancel(t.Context())
	teller.sleep = func(context.Context, time.Duration, <-chan struct{}) { crash() }
	teller.step(ctx)
	w.Store.Fail(nil)
	w.teller(channel).run()
	seen := map[string]bool{}
	for address, letters := range server.wants(t, 6) {
		id := letters[0].header.Get("Message-Id")
		if len(letters) != 2 || letters[1].header.Get("Message-Id") != id || seen[id] || !strings.HasSuffix(id, "@example.com>") {
			t.Errorf("to %s: %d letters, id %q", address, len(letters), id)
		}
		seen[id] = true
	}
}

// The disk is full for an hour after a message went out: it is recorded when that is possible again, and not told
// every half minute until then.
func TestStoreThatTakesNoWritesDoesNotRepeatTheMessage(t *testing.T) {
	w := newWorld(t)
	server, channel := w.slackServer()
	teller := w.teller(channel)
	w.MustAsk("staging", "db:public.orders:delete")
	w.Store.Fail(errors.New("disk full"))
	sleep := teller.sleep
	teller.sleep = func(ctx context.Context, d time.Duration, wake <-chan struct{}) {
		sleep(ctx, d, wake)
		if len(teller.pauses) == 120 {
			w.Store.Fail(nil)
		}
	}
	teller.run()
	oneOf(t, server.all())
	oneOf(t, w.records(broker.EventNoticeDelivered))
}

// What we record wakes us, and is nothing to tell: or the first message would be followed by others for ever.
func TestOwnEventsAreNotTold(t *testing.T) {
	w := newWorld(t)
	server, channel := w.slackServer()
	teller := w.teller(channel)
	w.tells(broker.EventNoticeDelivered, "broker", "x", Record{Channel: "oncall"})
	w.tells(broker.EventNoticeFailed, "broker", "x", Record{Channel: "oncall"})
	height := len(w.Store.Log())
	teller.run()
	if len(server.all()) > 0 || len(w.Store.Log()) != height {
		t.Errorf("%d told, %d events more", len(server.all()), len(w.Store.Log())-height)
	}
	w.MustAsk("staging", "db:public.orders:delete")
	teller.run()
	teller.run()
	if len(w.Store.Log()) != height+2 {
		t.Errorf("%d events for one message", len(w.Store.Log())-height-1)
	}
}

// A link says where, and nothing else: not who, not with what right, nothing that a preview could use up.
func TestLinkCarriesNoAuthority(t *testing.T) {
	w := newWorld(t)
	server, channel := w.hookServer()
	teller := w.teller(channel)
	request := w.MustAsk("staging", "db:public.orders:delete")
	if _, _, err := w.InviteHuman(t.Context(), broker.Caller{Kind: broker.CallerSocket}, "dave"); err != nil {
		t.Fatal(err)
	}
	w.tells(broker.EventTargetChanged, "broker", "staging/db?x=1#y", nil)
	w.tells(broker.EventFrozen, "human:bob", "agent:ci/nightly", broker.Freeze{})
	teller.run()
	want := []string{"/requests/" + request.ID, "/humans/dave", "/targets/staging/db%3Fx=1%23y", "/freezes/agent:ci/nightly"}
	for i, got := range server.all() {
		_, told := readHook(t, got)
		u, err := url.Parse(told.Link)
		if err != nil {
			t.Fatal(err)
		}
		if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil || u.Scheme+"://"+u.Host != "https://hourkey.test" {
			t.Errorf("link %s", told.Link)
		}
		if u.EscapedPath() != want[i] {
			t.Errorf("path %s, want %s", u.EscapedPath(), want[i])
		}
	}
}

// An agent that submits and withdraws all day buries nobody's channel, and people hear that it tries.
func TestAgentThatSubmitsAndWithdrawsAllDayIsNotTold(t *testing.T) {
	w := newWorld(t)
	server, channel := w.slackServer()
	teller := w.teller(channel)
	for range 300 {
		request := w.MustAsk("staging", "db:public.orders:delete")
		teller.run()
		if err := w.Cancel(t.Context(), w.Agent, request.ID); err != nil {
			t.Fatal(err)
		}
		teller.run()
		w.update(func(tx broker.Tx) error { // past the broker, which slows whoever withdraws so often
			if err := tx.Load(&request); err != nil {
				return err
			}
			request.Decided = request.Decided.Add(-2 * time.Hour)
			return tx.Save(&request)
		})
		w.Clock.Advance(5 * time.Second)
	}
	lines := slackLines(t, server)
	if len(lines) > crowdBurst+20 {
		t.Errorf("%d lines in 25 minutes", len(lines))
	}
	wantWith(t, lines[crowdBurst].line, "claude asks so often that for a while not all of it is told")
	if failed := w.records(broker.EventNoticeFailed); len(failed)+len(lines) != 600 || failed[0].Error != "claude asks so often that not all of it is told" {
		t.Errorf("%d not told: %+v", len(failed), failed[0])
	}
	w.tells(broker.EventFrozen, "human:bob", "all", broker.Freeze{By: "human:bob"})
	teller.run()
	last := slackLines(t, server)
	wantWith(t, last[len(last)-1].line, "bob froze everything") // what others do is told all the same
}
