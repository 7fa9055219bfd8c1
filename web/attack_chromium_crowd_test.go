package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// crowd puts so many pending requests, each for something else, into the store at once.
func (w *team) crowd(n int, change func(i int, r *broker.Request)) {
	w.Helper()
	pattern := w.waits("crowd")
	w.must(w.store.Update(w.Context(), func(tx broker.Tx) error {
		for i := range n {
			request := pattern
			request.ID = fmt.Sprintf("%026d", i)
			request.Fold, request.Loss, request.Deadline = request.ID, i%10, pattern.Deadline.Add(time.Duration(i)*time.Millisecond)
			item := pattern.Items[0]
			item.Description.Scopes = scopes(w, fmt.Sprintf("db:public.t%05d:read,delete", i))
			request.Items = []broker.Item{item}
			if change != nil {
				change(i, &request)
			}
			if err := tx.Save(&request); err != nil {
				return err
			}
		}
		return tx.Delete(&pattern)
	}))
}

var requestLink = regexp.MustCompile(`href="/requests/[0-9]{26}"`)

// TestTenThousandPendingRequestsBuryNothing: the inbox shows the worst fifty and tells how many there are; one request opens;
// neither page is longer for the crowd, nor takes more than a little memory to answer.
func TestTenThousandPendingRequestsBuryNothing(t *testing.T) {
	w := settled(t)
	few, _, err := w.alice.Read(t.Context(), "/")
	w.must(err)
	const many = 10_000
	w.crowd(many, nil)
	for path, want := range map[string]int{"/": 50, "/requests": 50, "/requests?state=pending&agent=crowd": 50, "/agents/crowd": 20} {
		w.clock.Advance(time.Second)
		person := w.alice
		page, _, err := person.Read(t.Context(), path)
		w.must(err)
		links := map[string]bool{}
		for _, link := range requestLink.FindAllString(page, -1) {
			links[link] = true
		}
		if len(links) > want || len(links) == 0 {
			t.Errorf("%s shows %d requests, want at most %d", path, len(links), want)
		}
		if len(page) > len(few)+50*2000 {
			t.Errorf("%s has %d bytes", path, len(page))
		}
		if path == "/" && !strings.Contains(page, "10,000") && !strings.Contains(page, "10000") {
			t.Errorf("the inbox does not tell how many wait:\n%.1500s", page)
		}
	}
	for _, link := range []string{fmt.Sprintf("%026d", 9), fmt.Sprintf("%026d", many-1)} {
		page, digest, err := w.alice.Read(t.Context(), "/requests/"+link)
		w.must(err)
		if digest == "" || len(page) > len(few)+100_000 {
			t.Errorf("request %s: %d bytes, digest %q", link, len(page), digest)
		}
	}
	inbox, err := w.broker.Inbox(t.Context(), "alice")
	w.must(err)
	if len(inbox.Requests) != 50 || inbox.Waiting != many || inbox.Requests[0].Loss != 9 {
		t.Errorf("%d of %d, the first with loss %d", len(inbox.Requests), inbox.Waiting, inbox.Requests[0].Loss)
	}
	w.sign(w.alice, broker.ActApprove, "/requests/"+inbox.Requests[0].ID, inbox.Requests[0].ID)
}

// TestAnAnswerHoldsNoCrowdInMemory: what one inbox allocates does not grow with what waits, but for what the store in
// memory of these tests needs to find it.
func TestAnAnswerHoldsNoCrowdInMemory(t *testing.T) {
	allocated := func(n int) uint64 {
		w := settled(t)
		w.crowd(n, nil)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		inbox, err := w.broker.Inbox(t.Context(), "alice")
		w.must(err)
		runtime.ReadMemStats(&after)
		if inbox.Waiting != n {
			t.Fatalf("%d wait", inbox.Waiting)
		}
		return after.TotalAlloc - before.TotalAlloc
	}
	if few, many := allocated(600), allocated(6000); many > few+6000*2000 {
		t.Errorf("6,000 requests take %d bytes more than 600", many-few)
	}
}

// TestRequestsOfTwoEnvironmentsAreCountedOnce: a human who reviews both is not told that twice as many wait.
func TestRequestsOfTwoEnvironmentsAreCountedOnce(t *testing.T) {
	w := settled(t)
	const both = 60 // more than are shown
	w.crowd(both, func(_ int, r *broker.Request) {
		r.Environments = []string{"shared", "staging"}
		r.Needs = []broker.Need{{Environment: "staging", Humans: 1}, {Environment: "shared", Humans: 2}}
	})
	inbox, err := w.broker.Inbox(t.Context(), "alice")
	w.must(err)
	if inbox.Waiting != both || len(inbox.Requests) != 50 {
		t.Errorf("%d wait, %d are shown, want %d and 50", inbox.Waiting, len(inbox.Requests), both)
	}
}

// TestWhatASignedCrowdHidesIsStillFound: hundreds of requests that this human signed already do not hide the one that
// needs her. (The broker reads 500 of each environment.)
func TestWhatASignedCrowdHidesIsStillFound(t *testing.T) {
	w := settled(t)
	w.signedCrowd(480)
	pattern := w.waits("urgent")
	pattern.Environments, pattern.Needs, pattern.Loss = []string{"shared"}, []broker.Need{{Environment: "shared", Humans: 2}}, 8
	w.keeps(&pattern)
	inbox, err := w.broker.Inbox(t.Context(), "alice")
	w.must(err)
	if len(inbox.Requests) != 1 || inbox.Requests[0].ID != pattern.ID {
		t.Errorf("%d requests are shown of %d that wait: the one that needs her is not among them", len(inbox.Requests), inbox.Waiting)
	}
	if text, _ := w.reads(w.alice, "/"); inbox.Cut || strings.Contains(text, "looks no further") {
		t.Errorf("something is said to be cut off:\n%s", text)
	}
}

// signedCrowd puts so many requests into the environment "shared" that alice has signed, and that wait for another human.
func (w *team) signedCrowd(n int) {
	w.Helper()
	w.crowd(n, func(i int, r *broker.Request) {
		r.Loss, r.Environments, r.Needs = 9, []string{"shared"}, []broker.Need{{Environment: "shared", Humans: 2}}
	})
	passkey := w.keysOf("alice")[0].ID
	w.must(w.store.Update(w.Context(), func(tx broker.Tx) error {
		for i := range n {
			if err := tx.Save(&broker.Approval{Request: fmt.Sprintf("%026d", i), Reviewer: "alice", Passkey: passkey, At: w.clock.Now()}); err != nil {
				return err
			}
		}
		return nil
	}))
}

// TestWhatASignedCrowdCutsOffIsSaid: behind more than the broker reads, the inbox never says that nothing waits.
func TestWhatASignedCrowdCutsOffIsSaid(t *testing.T) {
	w := settled(t)
	w.signedCrowd(540)
	pattern := w.waits("urgent")
	pattern.Environments, pattern.Needs, pattern.Loss = []string{"shared"}, []broker.Need{{Environment: "shared", Humans: 2}}, 8
	w.keeps(&pattern)
	text, page := w.reads(w.alice, "/")
	w.wantsText(text, "Waiting for you", "Up to 41 may wait for you.", "looks no further", "All that wait")
	if strings.Contains(text, "Nothing waits") || !strings.Contains(page, `href="/requests?state=pending"`) {
		t.Errorf("the inbox says:\n%s", text)
	}
	if _, page := w.reads(w.alice, "/requests?state=pending&agent=urgent"); !strings.Contains(page, pattern.ID) {
		t.Error("the list of all that wait does not have it")
	}
}

// TestTheStorybookServesNothingElse: no file of the machine, no page of a broker, by whatever name it is asked for.
func TestTheStorybookServesNothingElse(t *testing.T) {
	s := storybook(t)
	for _, path := range []string{
		"/../hourkey.yaml", "/assets/../../go.mod", "/..%2f..%2fetc/passwd", "/assets/%2e%2e/%2e%2e/go.mod", "//etc/passwd", "/etc/passwd", "/assets/", "/assets", "/.git/config",
		"/requests/x", "/metrics", "/v1/requests", "/live", "/storybook.go", "/request-pending", "/request-pending.html/..;/x", "/index.html%00.css", "/assets/hourkey.js.map",
	} {
		r := httptest.NewRequest(http.MethodGet, "http://localhost/", nil)
		r.URL.Path, r.URL.RawPath = strings.NewReplacer("%2f", "/", "%2e", ".", "%00", "\x00").Replace(path), path
		answer := httptest.NewRecorder()
		s.ServeHTTP(answer, r)
		if answer.Code != http.StatusNotFound || strings.Contains(answer.Body.String(), "root:") || !json.Valid(answer.Body.Bytes()) {
			t.Errorf("%s: %d %.200s", path, answer.Code, answer.Body)
		}
	}
	for _, name := range []string{"none", "..", "../ui.go", "hourkey.js/", "", "hourkey.JS", "template/request.html"} {
		w := settled(t)
		robber := &thief{team: w}
		status, body := robber.send(http.MethodGet, "/assets/"+strings.ReplaceAll(name, "/", "%2f"), "", "")
		if status == http.StatusOK {
			t.Errorf("the asset %q: %d %.200s", name, status, body)
		}
	}
}

// TestTheStreamTakesNoOrders: whatever its query and headers say, it tells no line that was not to be told, and stops for
// nobody else.
func TestTheStreamTakesNoOrders(t *testing.T) {
	w := settled(t)
	w.waits("streamed")
	robber := &thief{team: w, cookie: w.cookieOf(w.alice)}
	for name, path := range map[string]string{
		"a number that is none":   "/live?from=x",
		"a negative one":          "/live?from=-1",
		"one with a sign":         "/live?from=%2B1",
		"too large a one":         "/live?from=18446744073709551616",
		"twice":                   "/live?from=1&from=2",
		"another field":           "/live?from=1&human=bob",
		"a line in it":            "/live?from=1%0Adata:%20x",
		"somebody else's session": "/live?from=1&session=x",
	} {
		status, body := robber.send(http.MethodGet, path, "", "")
		if status != http.StatusBadRequest || strings.Contains(body, "event:") {
			t.Errorf("%s: %d %.200s", name, status, body)
		}
	}
	robber.edit = func(r *http.Request) { r.Header.Set("Last-Event-ID", "1e3") }
	status, body := robber.send(http.MethodGet, "/live?from=1", "", "")
	w.want(t, http.StatusBadRequest, "a header that is no number", status, body)
	robber.edit, robber.cookie = nil, ""
	status, body = robber.send(http.MethodGet, "/live?from=0", "", "")
	if status != http.StatusUnauthorized || strings.Contains(body, "streamed") {
		t.Errorf("a stranger: %d %.200s", status, body)
	}
}
