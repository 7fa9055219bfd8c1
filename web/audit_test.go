package web

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest"
	"github.com/hourkey/hourkey/store"
	"github.com/hourkey/hourkey/store/auditlog"
	"github.com/hourkey/hourkey/store/bolt"
)

// log appends events of these types, a minute apart, the last one now.
func (x *site) events(n int, event func(i int) broker.Event) {
	x.Helper()
	x.must(x.Store.Update(x.Context(), func(tx broker.Tx) error {
		for i := range n {
			e := event(i)
			if e.Time.IsZero() {
				e.Time = x.Clock.Now().Add(-time.Duration(n-1-i) * time.Minute)
			}
			if err := tx.Append(e); err != nil {
				return err
			}
		}
		return nil
	}))
}

func data(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}

// numbers gives the numbers of the events on a page, and the path of the next.
func numbers(page string) (list []string, next string) {
	for _, found := range regexp.MustCompile(`number (\d+)`).FindAllStringSubmatch(page, -1) {
		list = append(list, found[1])
	}
	if found := regexp.MustCompile(`rel="next" href="([^"]+)"`).FindStringSubmatch(page); found != nil {
		next, _, _ = strings.Cut(strings.ReplaceAll(found[1], "&amp;", "&"), "#") // a browser keeps the fragment to itself
	}
	return list, next
}

func TestOnlyAuditorsReadTheLog(t *testing.T) {
	x := newSite(t, func(c *Config) {
		c.Export = func(context.Context, io.Writer) error { t.Error("it was exported"); return nil }
	})
	for _, human := range []string{"alice", "erin", "gus"} { // an operator, a reviewer, nobody
		who := x.as(human)
		x.get(who, "/audit").want(http.StatusForbidden).without("broker.started", "number 0")
		x.post(who, "/audit/export", nil).want(http.StatusForbidden)
	}
	x.do("GET", "/audit", "").want(http.StatusUnauthorized)
}

func TestEveryEventIsOnExactlyOnePageNewestFirst(t *testing.T) {
	x := newSite(t)
	before := len(x.Store.Log())
	x.events(777, func(i int) broker.Event {
		return broker.Event{Type: []broker.EventType{broker.EventLeaseIssued, broker.EventCallPassed, broker.EventFrozen}[i%3], Actor: []string{"agent:claude", "human:bob"}[i%2], Subject: fmt.Sprintf("s%d", i%7), Data: data(map[string]int{"n": i})}
	})
	dora := x.as("dora")
	for query, want := range map[string]int{
		"": before + 777, "?kind=leases": 259, "?kind=calls": 259, "?actor=human:bob&kind=freezes": 129, "?actor=claude&kind=calls": 129, "?subject=s3&kind=leases": 37,
		"?subject=s3&kind=targets": 0, "?text=%22n%22:7&kind=calls": 31, "?text=CALL.PASSED": 259, "?text=s3&kind=calls": 37,
	} {
		seen, last := map[string]bool{}, ^uint64(0)
		for path := "/audit" + query; path != ""; {
			page := x.get(dora, path).want(http.StatusOK)
			var found []string
			found, path = numbers(page.Body.String())
			for _, text := range found {
				number, err := number(text, "", 0)
				x.must(err)
				if number >= last || seen[text] {
					t.Fatalf("%q: %d comes after %d", query, number, last)
				}
				seen[text], last = true, number
			}
			if len(found) > eventsOnPage {
				t.Errorf("%q: %d on a page", query, len(found))
			}
		}
		if len(seen) != want {
			t.Errorf("%q: %d events, want %d", query, len(seen), want)
		}
	}
	for _, query := range []string{"?kind=all", "?from=yesterday", "?to=2026-13-01", "?before=x", "?before=-1", "?what=1", "?text=a&text=b", "?text=" + strings.Repeat("x", 1001)} {
		x.get(dora, "/audit"+query).want(http.StatusBadRequest)
	}
}

func TestTheLogIsSearchedByDay(t *testing.T) {
	x := newSite(t)
	dora := x.as("dora")
	day := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
	x.events(30*24, func(i int) broker.Event { // an hour apart, from 1 to 30 April
		return broker.Event{Type: broker.EventFrozen, Subject: "marked", Time: day.Add(time.Duration(i) * time.Hour)}
	})
	for query, want := range map[string]int{
		"from=2026-04-10&to=2026-04-10": 24, "from=2026-04-30": 24, "to=2026-04-01": 24, "from=2026-04-10&to=2026-04-11": 48, "from=2026-05-01": 0, "to=2026-03-31": 0, "from=2026-04-11&to=2026-04-10": 0,
	} {
		found, _ := numbers(x.get(dora, "/audit?subject=marked&"+query).want(http.StatusOK).Body.String())
		if len(found) != want {
			t.Errorf("%s: %d events, want %d", query, len(found), want)
		}
	}
}

// The attack: a search for what is not there makes the broker read a log of any length at once.
func TestASearchIsBoundedAndGoesOn(t *testing.T) {
	x := newSite(t)
	dora := x.as("dora")
	x.events(1, func(int) broker.Event { return broker.Event{Type: broker.EventFrozen, Subject: "the-one"} })
	x.events(eventsLooked+500, func(int) broker.Event { return broker.Event{Type: broker.EventCallPassed} })
	page := x.get(dora, "/audit?subject=the-one").want(http.StatusOK).wants("Search further back", "Searched 20,").Body.String()
	found, next := numbers(page)
	if len(found) != 0 || next == "" {
		t.Fatalf("found %v, next %q", found, next)
	}
	if found, _ = numbers(x.get(dora, next).want(http.StatusOK).Body.String()); len(found) != 1 {
		t.Errorf("found %v", found)
	}
}

func TestASearchForScriptsAndHiddenCharactersIsShownAndNotObeyed(t *testing.T) {
	x := newSite(t)
	dora := x.as("dora")
	const words = `<script>alert(1)</script> "quoted" ` + "\u202egnp.exe\u202c \u200bzero"
	x.events(2, func(i int) broker.Event {
		return broker.Event{Type: broker.EventRequestSubmitted, Actor: "agent:<b>", Subject: []string{"x\"y", "\u202ez"}[i], Data: data(map[string]string{"reason": words})}
	})
	for _, text := range []string{"<SCRIPT>", `"quoted"`, "\u202egnp", words} {
		page := x.get(dora, "/audit?text="+url.QueryEscape(text)).want(http.StatusOK).without("<script>alert", "<b>", "<SCRIPT>")
		if found, _ := numbers(page.Body.String()); len(found) != 2 {
			t.Errorf("%q finds %v", text, found)
		}
		shown := html.UnescapeString(regexp.MustCompile(`(?s)<ol class="entries">.*</ol>`).FindString(page.Body.String()))
		for _, hidden := range []string{"\u202e", "\u202c", "\u200b"} {
			if strings.Contains(shown, hidden) {
				t.Errorf("%q reached the list", hidden)
			}
		}
		if !strings.Contains(shown, "⟨U+202E⟩") {
			t.Errorf("nothing tells of the hidden characters:\n%s", shown)
		}
	}
	x.get(dora, "/audit?actor="+url.QueryEscape(`"><script>alert(1)</script>`)).want(http.StatusOK).without("<script>alert")
}

func TestAVeryLargeEventIsCutOnThePageAndSaysSo(t *testing.T) {
	x := newSite(t)
	dora := x.as("dora")
	x.events(1, func(int) broker.Event {
		return broker.Event{Type: broker.EventRequestSubmitted, Data: data(map[string]string{"reason": strings.Repeat("é", 1<<20)})}
	})
	page := x.get(dora, "/audit").want(http.StatusOK).wants("Cut: the data has 2,097,165 bytes")
	if page.Body.Len() > 100<<10 {
		t.Errorf("the page has %d bytes", page.Body.Len())
	}
}

func TestThePageSaysHowFarTheLogIsKnownToBeWhole(t *testing.T) {
	known, err := Integrity{}, error(nil)
	x := newSite(t, func(c *Config) { c.Integrity = func(context.Context) (Integrity, error) { return known, err } })
	dora := x.as("dora")
	x.get(dora, "/audit").want(http.StatusOK).wants("No checkpoint is signed yet").without("verified (", "Show everything")
	known = Integrity{Checkpoint: []byte("hourkey/name\n3\n<b>root</b>\n"), Covers: 3, At: x.Clock.Now()}
	x.get(dora, "/audit").want(http.StatusOK).wants("the first 3 verified (numbers 0 to 2)", "&lt;b&gt;root&lt;/b&gt;", "later events are not signed yet")
	err = broker.Errorf(broker.CodeConflict, "the first 3 events are not those of the checkpoint")
	x.get(dora, "/audit").want(http.StatusOK).wants("The log does not hold.", "first 3 events are not those of the checkpoint", "Do not rely on the list below").without("verified (")
	err = errors.New("a secret of the disk")
	x.get(dora, "/audit").want(http.StatusInternalServerError).without("a secret of the disk", "verified (")
}

func TestAnExportIsStreamedToAnAuditor(t *testing.T) {
	x := newSite(t, func(c *Config) {
		c.Export = func(_ context.Context, to io.Writer) error {
			for range 3 {
				if _, err := io.WriteString(to, "{}\n"); err != nil {
					return err
				}
			}
			return nil
		}
	})
	dora := x.as("dora")
	x.get(dora, "/audit").wants("/audit/export")
	file := x.post(dora, "/audit/export", nil).want(http.StatusOK)
	if got := file.Body.String(); got != "{}\n{}\n{}\n" {
		t.Errorf("the file is %q", got)
	}
	if got := file.Header().Get("Content-Disposition"); !regexp.MustCompile(`^attachment; filename="hourkey-[0-9a-z]{8}-20260424-120000\.jsonl"$`).MatchString(got) {
		t.Errorf("Content-Disposition is %s", got)
	}
	x.get(dora, "/audit/export").want(http.StatusMethodNotAllowed)
}

// Half a log must not look like all of it.
func TestAnExportThatFailsBreaksOff(t *testing.T) {
	fails := func(after string) func(context.Context, io.Writer) error {
		return func(_ context.Context, to io.Writer) error {
			if after != "" {
				_, _ = io.WriteString(to, after)
			}
			return errors.New("the disk")
		}
	}
	x := newSite(t, func(c *Config) { c.Export = fails("") })
	x.post(x.as("dora"), "/audit/export", nil).want(http.StatusInternalServerError).without("the disk")
	x = newSite(t, func(c *Config) { c.Export = fails("{}\n") })
	who := x.as("dora")
	server := httptest.NewServer(x.server)
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/audit/export", nil)
	x.must(err)
	who(r)
	r.Host, r.Header = "hourkey.test", r.Header.Clone()
	r.Header.Set("Origin", brokertest.Origin)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := server.Client().Do(r)
	if err == nil { // the header may have come already
		_, err = io.ReadAll(answer.Body)
		_ = answer.Body.Close()
	}
	if err == nil {
		t.Error("it looks whole")
	}
}

func TestOneAuditorExportsOnceAtATime(t *testing.T) {
	began, goOn := make(chan struct{}), make(chan struct{})
	x := newSite(t, func(c *Config) {
		c.Export = func(_ context.Context, to io.Writer) error {
			close(began)
			<-goOn
			_, err := io.WriteString(to, "{}\n")
			return err
		}
	})
	dora := x.as("dora")
	done := make(chan *answer)
	go func() { done <- x.post(dora, "/audit/export", nil) }()
	<-began
	x.post(dora, "/audit/export", nil).want(http.StatusTooManyRequests)
	close(goOn)
	(<-done).want(http.StatusOK)
}

// real is a site on the store that hourkeyd uses.
func real(t *testing.T) (x *site, log *auditlog.Log, key ed25519.PrivateKey) {
	t.Helper()
	engine, err := bolt.Open(filepath.Join(t.TempDir(), "hourkey.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	_, key, err = ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	clock := &brokertest.Clock{}
	log = auditlog.New(engine, auditlog.Options{Now: clock.Now})
	kept, err := store.Open(engine, log, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	x = newSite(t, func(c *Config) {
		c.Export = func(ctx context.Context, to io.Writer) error { return log.Export(ctx, to, key) }
		c.Integrity = func(ctx context.Context) (Integrity, error) { return newest(ctx, log, key) }
	})
	x.Config.Store, x.config.Store = kept, kept
	x.serve()
	return x, log, key
}

// newest signs the log, then says how far it is whole, as hourkeyd does of the checkpoint that it signed last.
func newest(ctx context.Context, log *auditlog.Log, key ed25519.PrivateKey) (Integrity, error) {
	signed, err := log.Checkpoint(ctx, key)
	if err != nil {
		return Integrity{}, err
	}
	public, err := log.PublicKey(ctx, key)
	if err != nil {
		return Integrity{}, err
	}
	if err := log.Extends(ctx, signed, public); err != nil {
		return Integrity{}, err
	}
	c, err := auditlog.OpenCheckpoint(signed, public)
	return Integrity{Checkpoint: signed, Covers: uint64(c.Tree.N), At: c.Time}, err
}

func TestAnExportHoldsNoSecret(t *testing.T) {
	x, log, key := real(t)
	ctx := t.Context()
	save := func(record broker.Record) {
		x.must(x.Config.Store.Update(ctx, func(tx broker.Tx) error { return tx.Save(record) }))
	}
	save(&broker.Agent{Name: "claude", Owner: "alice", State: broker.AgentActive, Key: x.agent.key.JWK, Thumbprint: x.agent.key.Thumbprint})
	for _, human := range []string{"alice", "bob", "dora"} {
		save(&broker.Human{Name: human, Handle: []byte("handle-of-" + human)})
		save(&broker.Passkey{ID: human + "-key", Human: human, Credential: json.RawMessage(`"public"`)})
	}
	_, err := x.Learn(ctx)
	x.must(err)
	x.SignAs("bob", broker.ActConfirmTarget, "staging/db")
	secrets := []string{"handle-of-", "sealed:"}
	signIn := func(human string) as {
		cookie, err := x.server.sessions.Start(ctx, human, human+"-key")
		x.must(err)
		secrets = append(secrets, cookie.Value)
		return func(r *http.Request) { r.AddCookie(cookie) }
	}
	alice, dora := signIn("alice"), signIn("dora")
	token := x.agent.token()
	request := x.MustAsk("staging", "db:public.orders:read")
	for _, credential := range x.MustCollect(request) {
		for _, value := range credential.Values {
			secrets = append(secrets, value.Reveal())
		}
	}
	code := regexp.MustCompile(`[0-9a-z]{5}(-[0-9a-z]{5}){3}`)
	secrets = append(secrets, token,
		code.FindString(x.post(alice, "/agents", url.Values{"name": {"ci/nightly"}, "owner": {"bob"}}).want(http.StatusOK).Body.String()),
		code.FindString(x.post(alice, "/people", url.Values{"name": {"dave"}}).want(http.StatusOK).Body.String()))
	x.post(alice, "/agents/claude", url.Values{"do": {"freeze"}, "for": {"hour"}}).want(http.StatusSeeOther)

	file := x.post(dora, "/audit/export", nil).want(http.StatusOK).Body.Bytes()
	page := x.get(dora, "/audit").want(http.StatusOK).wants("verified (numbers 0 to", "— hourkey/").Body.String()
	for _, secret := range secrets {
		if secret == "" || len(secret) < 6 {
			t.Fatalf("no secret: %q", secret)
		}
		if bytes.Contains(file, []byte(secret)) || strings.Contains(page, secret) || strings.Contains(x.log.String(), secret) {
			t.Errorf("%q is in the export, on the page, or in the log", secret)
		}
	}
	public, err := log.PublicKey(ctx, key)
	x.must(err)
	report, err := auditlog.Verify(bytes.NewReader(file), public, nil)
	if err != nil || report.Events < 10 || len(report.Problems) > 0 {
		t.Errorf("the export does not verify: %+v %v", report, err)
	}
}
