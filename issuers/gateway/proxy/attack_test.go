package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"
)

// The attack: two leases open the most tunnels they may, ask for answers that stream, and read none of
// them on. No other lease's call gets a connection to the provider any more, and waits without a bound.
func TestSlowReadersTakeEveryConnectionToTheProvider(t *testing.T) {
	stay := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		if r.URL.Path == "/slow" {
			<-stay
		}
	}))
	t.Cleanup(server.Close)
	transport := NewTransport()
	t.Cleanup(transport.CloseIdleConnections)
	t.Cleanup(func() { close(stay) })
	get := func(ctx context.Context, path string) (*http.Response, error) {
		request, _ := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+path, http.NoBody)
		return transport.RoundTrip(request)
	}
	for range 2 * mostPerLease {
		response, err := get(t.Context(), "/slow")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { response.Body.Close() })
	}
	late, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	response, err := get(late, "/other")
	if err != nil {
		t.Fatalf("a call of a third lease, while two leases read slowly: %v", err)
	}
	response.Body.Close()
}

// The attack: an answer's values are masked, and a digest of them stands in its ETag: short ones are found by
// trying, here or, by If-None-Match, at the provider.
func TestAnETagTellsMaskedValues(t *testing.T) {
	r := newRig(t)
	var asked http.Header
	const secret = `{"values":{"PIN":"4711"}}`
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(secret)))
	r.backend.answers(func(w http.ResponseWriter, q *http.Request) {
		asked = q.Header
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Etag", tag)
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		if q.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		say(w, secret)
	})
	for _, method := range []string{"GET", "HEAD"} {
		request, _ := http.NewRequestWithContext(t.Context(), method, "http://base.local/things/7/values", http.NoBody)
		request.Header.Set("If-None-Match", tag)
		response, err := r.client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode == http.StatusNotModified || response.Header.Get("Etag") != "" || asked.Get("If-None-Match") != "" {
			t.Errorf("%s: %d, ETag %q, asked with %q, body %s", method, response.StatusCode, response.Header.Get("Etag"), asked.Get("If-None-Match"), body)
		}
	}
}

// The attack: a look-up's refusal quotes the provider, who quotes the token. The caller does not see it, and
// the audit log, which many read and which lasts, must not either (invariant 10).
func TestATokenInARefusedLookUpIsNotInTheAuditLog(t *testing.T) {
	r := newRig(t)
	r.do(r.client(), "GET", "/things/leaky", "")
	_, _, refused := r.broker.seen()
	if len(refused) != 1 || strings.Contains(strings.Join(refused, ""), "0123456789") {
		t.Errorf("recorded: %q", refused)
	}
}

// The attack: the token is made to come back in a form of which the scrubber knows only a part. The token
// of the other tests has no capitals, which hid the first one.
func TestATokenInFormsThatTheScrubberMissed(t *testing.T) {
	const token = `Real/Tok+En=With"Odd&Ends<0123456789>`
	var everywhere, upper strings.Builder
	for _, c := range []byte(token) {
		fmt.Fprintf(&everywhere, "%%%02X", c)
	}
	raw, _ := json.Marshal(token)
	for at := 0; at < len(raw); at++ { // \u003c → \u003C, as .NET writes it
		if bytes.HasPrefix(raw[at:], []byte(`\u`)) {
			upper.WriteString(`\u` + strings.ToUpper(string(raw[at+2:at+6])))
			at += 5
			continue
		}
		upper.WriteByte(raw[at])
	}
	s := newScrubber([]string{token})
	for name, form := range map[string]string{
		"percent, small hex":     "Real%2fTok%2bEn%3dWith%22Odd%26Ends%3c0123456789%3e",
		"percent, every byte":    everywhere.String(),
		"JSON, capital hex":      upper.String(),
		"HTML, of an error page": html.EscapeString(token),
		"UTF-16":                 strings.Join(strings.Split(token, ""), "\x00") + "\x00", // the agent may ask for a charset in Accept
		"HTML, named":            strings.ReplaceAll(html.EscapeString(token), "&#34;", "&quot;"),
	} {
		if got := string(s.all([]byte("before " + form + " after"))); strings.Contains(got, form[5:len(form)-5]) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// The attack: rows and masks were written for one version of an API, and the agent chooses another.
func TestAnAgentDoesNotChooseTheVersionOfTheAPI(t *testing.T) {
	r := newRig(t)
	var got string
	r.backend.answers(func(w http.ResponseWriter, q *http.Request) {
		got = q.Header.Get("X-Github-Api-Version")
		w.Header().Set("Content-Type", "application/json")
		say(w, "{}")
	})
	r.do(r.client(), "GET", "/things/7/values", "", "X-GitHub-Api-Version", "2099-01-01")
	if got == "2099-01-01" {
		t.Errorf("the provider was asked by version %q", got)
	}
}

// The attack: bodies that are promised and never sent. Each promise takes the whole of its memory for a
// minute; a lease has 256 tunnels, and 4,096 of them are 4 GB.
func TestPromisedBodiesTakeNoMemory(t *testing.T) {
	const many = 128
	r := newRig(t)
	before := heap()
	conns := make([]net.Conn, many)
	for at := range conns {
		conns[at] = r.plain()
		defer conns[at].Close()
		fmt.Fprintf(conns[at], "PUT /things/7 HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n{", mostJudged)
	}
	time.Sleep(500 * time.Millisecond)
	if grown := heap() - before; grown > many*128<<10 {
		t.Errorf("%d promises took %d MB", many, grown>>20)
	}
}

// The attack: the same, with bodies that are sent but for their last byte.
func TestHeldBodiesShareTheBudget(t *testing.T) {
	const many = 24
	r := newRig(t)
	r.leave(8 * mostJudged) // of the budget
	conns := make([]net.Conn, many)
	for at := range conns {
		conns[at] = r.plain()
		defer conns[at].Close()
		fmt.Fprintf(conns[at], "PUT /things/7 HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", mostJudged, strings.Repeat(" ", mostJudged-1))
	}
	refused := 0
	for end := time.Now().Add(patience); refused == 0 && time.Now().Before(end); {
		for _, c := range conns {
			_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if text, _ := io.ReadAll(io.LimitReader(c, 20)); strings.HasPrefix(string(text), "HTTP/1.1 503") {
				refused++
			}
		}
	}
	if refused == 0 {
		t.Errorf("%d bodies of 1 MB are held although 8 MB are left", many)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// After a refused or an allowed chunked call nothing that was pipelined behind it is served.
func TestNothingIsServedBehindAChunkedBody(t *testing.T) {
	r := newRig(t)
	r.backend.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for _, first := range []string{"PUT /things/7", "GET /things/7", "HEAD /things/7", "GET /unknown"} {
		calls, _, _ := r.broker.seen()
		c := r.plain()
		say(c, first+" HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\nDELETE /things/8 HTTP/1.1\nHost: h\n\n")
		_ = c.SetReadDeadline(time.Now().Add(patience))
		text, _ := io.ReadAll(c)
		c.Close()
		after, _, _ := r.broker.seen()
		if strings.Count(string(text), "HTTP/1.1 ") != 1 || after > calls+1 {
			t.Errorf("%s: %q, %d calls", first, text, after-calls)
		}
	}
}
