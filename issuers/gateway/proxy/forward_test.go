package proxy

import (
	"bufio"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

func (r *rig) wantOutcomes(want ...string) {
	r.Helper()
	var got []string
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if _, got, _ = r.broker.seen(); len(got) >= len(want) || time.Now().After(end) {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		r.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

// The attack: a provider, or who stands for it, sends the broker on with its token.
func TestARedirectIsNotFollowedWithTheToken(t *testing.T) {
	r := newRig(t)
	var elsewhere atomic.Int32
	other := newBackend(t)
	other.answers(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
	client := r.client()
	for _, status := range []int{301, 302, 303, 307, 308} {
		r.backend.answers(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", other.URL+"/?t="+url.QueryEscape(realToken)+"&u=x")
			w.Header().Set("Set-Cookie", "session=1")
			w.WriteHeader(status)
			say(w, "go to "+realToken)
		})
		request, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://base.local/things/7", strings.NewReader("{}"))
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if got := response.Header.Get("Location"); response.StatusCode != status || got != other.URL+"/?t=REDACTED&u=x" || len(response.Cookies()) > 0 || strings.Contains(string(raw), realToken) {
			t.Errorf("%d to %q with %v: %s", response.StatusCode, got, response.Cookies(), raw)
		}
	}
	if elsewhere.Load() != 0 {
		t.Error("it was followed")
	}
}

func TestAProviderThatIsSlow(t *testing.T) {
	r := newRig(t, func(c *Config) {
		quick := NewTransport()
		quick.ResponseHeaderTimeout = 100 * time.Millisecond
		c.Transport = quick
	})
	var seen atomic.Int32
	r.backend.answers(func(_ http.ResponseWriter, q *http.Request) {
		seen.Add(1)
		_, _ = io.Copy(io.Discard, q.Body)
		<-q.Context().Done()
	})
	client := r.client()
	for method, says := range map[string]string{"PUT": "whether it was done is not known, and it is not sent again", "DELETE": "whether it was done is not known", "GET": "there is no answer: timeout"} {
		seen.Store(0)
		if status, text := r.do(client, method, "/things/7", ""); status != 504 || !strings.Contains(text, says) {
			t.Errorf("%s: %d %s", method, status, text)
		}
		wait(t, method+" to arrive", func() bool { return seen.Load() > 0 })
		if seen.Load() != 1 {
			t.Errorf("%s: sent %d times", method, seen.Load())
		}
	}
	var outcomes []string
	wait(t, "the outcomes", func() bool { _, outcomes, _ = r.broker.seen(); return len(outcomes) >= 3 })
	slices.Sort(outcomes)
	if diff := cmp.Diff([]string{"DELETE timeout: outcome unknown", "GET timeout: outcome unknown", "PUT timeout: outcome unknown"}, outcomes); diff != "" {
		t.Error(diff)
	}
}

func TestAProviderThatIsDown(t *testing.T) {
	r := newRig(t)
	r.backend.Close()
	if status, text := r.do(r.client(), "PUT", "/things/7", "{}"); status != 503 || !strings.Contains(text, "nothing was sent") {
		t.Errorf("%d %s", status, text)
	}
	r.wantOutcomes("PUT not sent: the provider cannot be reached")
}

// The attack: an answer that ends early looks like a whole one, and a list like a shorter list.
func TestAProviderThatLiesAboutItsLength(t *testing.T) {
	r := newRig(t)
	hijacked := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, q *http.Request) {
			_, _ = io.Copy(io.Discard, q.Body)
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			say(c, text)
			c.Close()
		}
	}
	client := r.client()
	big := strings.Repeat("x", smallAnswer)
	for name, c := range map[string]struct {
		answer string
		status int
		says   string
	}{
		"a small answer":           {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"half\":", 502, "the provider answered 200, and its answer is not shown: it broke off"},
		"a small error":            {"HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\n{\"half\":", 404, "it broke off"},
		"a large answer":           {"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + big, 200, "broken off"},
		"chunks":                   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", 200, "broken off"},
		"chunks and a length":      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n4\r\nhalf\r\n0\r\n\r\n", 200, "half"},
		"two lengths":              {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nhalf", 504, "there is no answer"},
		"more than its length":     {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhalf and the rest", 200, "half"},
		"nothing":                  {"", 504, "there is no answer"},
		"no HTTP":                  {"SSH-2.0-x\r\n", 504, "there is no answer"},
		"a switch of protocols":    {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", 502, "no answer to a call"},
		"hints, then the answer":   {"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, "{}"},
		"a header beyond bounds":   {"HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 200<<10) + "\r\n\r\n", 504, "there is no answer"},
		"a header with a line in":  {"HTTP/1.1 200 OK\r\nLocation: /x\r\n\tSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n", 200, ""},
		"a status without a digit": {"HTTP/1.1 xyz OK\r\n\r\n", 504, "there is no answer"},
	} {
		r.backend.answers(hijacked(c.answer))
		status, text := r.do(client, "GET", "/things/7", "")
		if status != c.status || !strings.Contains(text, c.says) || strings.Contains(text, "rest") {
			t.Errorf("%s: %d %.200s, want %d %q", name, status, text, c.status, c.says)
		}
	}
}

func TestAnAnswerThatCannotBeFilteredIsNotShown(t *testing.T) {
	r := newRig(t)
	client := r.client()
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		status int
		says   string
	}{
		"no JSON": {func(w http.ResponseWriter, _ *http.Request) { say(w, "PASSWORD=hunter2") }, 502, "not JSON"},
		"JSON in another encoding": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json; charset=utf-16")
			say(w, "\x00{\x00}")
		}, 502, "not JSON"},
		"JSON that is none": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			say(w, `{"values":{"PASSWORD":"hunter2"`)
		}, 502, "cannot be filtered"},
		"JSON with a name twice": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			say(w, `{"values":1,"values":{"PASSWORD":"hunter2"}}`)
		}, 502, "cannot be filtered"},
		"too large": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, io.LimitReader(endless{}, mostRewritten+1))
		}, 502, "too large"},
		"says so": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(mostRewritten+1))
		}, 502, "too large"},
		"an error page": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503); say(w, "down") }, 503, "down"},
		"compressed": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.Copy(z, io.LimitReader(endless{}, 1<<30)) // a bomb, were it unpacked
			z.Close()
		}, 502, "encoded"},
	} {
		r.backend.answers(c.answer)
		status, text := r.do(client, "GET", "/things/7/values", "")
		if status != c.status || !strings.Contains(text, c.says) || strings.Contains(text, "hunter2") {
			t.Errorf("%s: %d %.200s, want %d %q", name, status, text, c.status, c.says)
		}
	}
}

// The attack: an agent asks for many large answers at once, until the broker has no memory left.
func TestLargeAnswersShareABudget(t *testing.T) {
	r := newRig(t)
	large := `{"values":{},"pad":"` + strings.Repeat("x", 2*freeAnswer) + `"}`
	r.backend.answers(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.small+json; charset=utf-8")
		say(w, large)
	})
	client := r.client()
	if status, text := r.do(client, "GET", "/things/7/values", ""); status != 200 || len(text) != len(large) {
		t.Errorf("one: %d, %d bytes", status, len(text))
	}
	r.leave(treeOf*mostRewritten - 1)
	if status, text := r.do(client, "GET", "/things/7/values", ""); status != 502 || !strings.Contains(text, "too many large ones") {
		t.Errorf("without room: %d %.200s", status, text)
	}
}

// The attack: another representation is asked for, in which values are not where the pack knows them.
func TestAnotherRepresentationOfSecrets(t *testing.T) {
	r := newRig(t)
	client := r.client()
	for path, want := range map[string]string{"/things/7": "text/plain", "/things/7/values": "application/json"} {
		var got string
		r.backend.answers(func(w http.ResponseWriter, q *http.Request) {
			got = q.Header.Get("Accept")
			w.Header().Set("Content-Type", "application/json")
			say(w, "{}")
		})
		if status, _ := r.do(client, "GET", path, "", "Accept", "text/plain"); status != 200 || got != want {
			t.Errorf("%s: %d, accepts %q, want %q", path, status, got, want)
		}
	}
}

// net/http repeats by itself what broke on a kept connection. What is more than a read is sent once.
func TestNothingIsSentTwice(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var sent atomic.Int32
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go breaksAtSecond(c, &sent)
		}
	}()
	r := newRig(t)
	r.provider.base = "http://" + listener.Addr().String()
	client := r.client()
	for _, c := range []struct {
		method, path, body string
		want               int32
	}{
		{"DELETE", "/things/7", "", 1}, {"PUT", "/things/7", "{}", 1}, {"PUT", "/things/7", "", 1}, {"PATCH", "/things/7", "{}", 1}, {"GET", "/keys/7", "", 1}, {"HEAD", "/keys/7", "", 1},
	} {
		status, text := 200, ""
		for try := 0; status == 200 && try < 10; try++ { // 200: no connection was kept, which a slow machine may bring about
			if status, _ := r.do(client, "GET", "/things/7", ""); status != 200 { // so that one is kept
				t.Fatalf("the first call: %d", status)
			}
			sent.Store(0)
			status, text = r.do(client, c.method, c.path, c.body, "Idempotency-Key", "x", "X-Idempotency-Key", "x")
		}
		if status != 504 || sent.Load() != c.want {
			t.Errorf("%s %s: sent %d times, answered %d %s", c.method, c.path, sent.Load(), status, text)
		}
	}
	listener.Close()
	<-served
}

// breaksAtSecond answers the first call of a connection, and takes the second without an answer.
func breaksAtSecond(c net.Conn, sent *atomic.Int32) {
	defer c.Close()
	reader := bufio.NewReader(c)
	for at := range 2 {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, request.Body)
		sent.Add(1)
		if at == 0 {
			say(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
		}
	}
}

func TestHeadersThatDoNotCross(t *testing.T) {
	r := newRig(t)
	r.backend.answers(func(w http.ResponseWriter, _ *http.Request) {
		for _, name := range []string{
			"Set-Cookie", "Www-Authenticate", "Proxy-Authenticate", "Authorization", "Alt-Svc", "Strict-Transport-Security", "X-Oauth-Scopes", "Server", "Upgrade",
			"Access-Control-Allow-Origin", "Clear-Site-Data", "Trailer", "Connection", "Keep-Alive", "Refresh", "X-Token",
		} {
			w.Header().Set(name, "x")
		}
		w.Header().Set("Etag", `"`+realToken+`"`)
		w.Header().Set("X-Ratelimit-Remaining", "59")
		w.Header().Set("Content-Type", "application/json")
		say(w, "{}")
	})
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://base.local/things/7", http.NoBody)
	for _, name := range []string{
		"Authorization", "Cookie", "Proxy-Authorization", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Te", "Keep-Alive", "Proxy-Connection", "Range",
		"Prefer", "Idempotency-Key", "X-Custom", "Project-Access-Token", "Apikey", "Origin", "Referer", "Accept-Encoding", "X-Http-Version",
	} {
		request.Header.Set(name, "Bearer mine")
	}
	request.Header.Set("Connection", "Authorization, X-Custom") // the attack: a hop-by-hop header of ours
	var got http.Header
	inner := r.backend.handler
	r.backend.answers(func(w http.ResponseWriter, q *http.Request) { got = q.Header; inner(w, q) })
	response, err := r.client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	want := http.Header{"Authorization": {"Bearer " + realToken}, "Accept-Encoding": {"identity"}, "User-Agent": {"Go-http-client/1.1"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("to the provider (-want +got):\n%s", diff)
	}
	response.Header.Del("Date")
	wantBack := http.Header{"Content-Type": {"application/json"}, "Content-Length": {"2"}, "Etag": {`"REDACTED"`}, "X-Ratelimit-Remaining": {"59"}, "X-Content-Type-Options": {"nosniff"}}
	if diff := cmp.Diff(wantBack, response.Header); diff != "" {
		t.Errorf("to the caller (-want +got):\n%s", diff)
	}
}

// The attack: the provider is made to say the token back, in a body, in parts, in another form.
func TestTheTokenIsEchoed(t *testing.T) {
	quoted, _ := json.Marshal(realToken)
	forms := map[string]string{
		"as it is":               realToken,
		"in JSON":                string(quoted),
		"in JSON, slash escaped": strings.ReplaceAll(string(quoted), "/", `\/`),
		"in a query":             url.QueryEscape(realToken),
		"in a path":              url.PathEscape(realToken),
		"in hex":                 hex.EncodeToString([]byte(realToken)),
		"in base64":              base64.StdEncoding.EncodeToString([]byte(realToken)),
		"in base64 after one":    base64.StdEncoding.EncodeToString([]byte("x" + realToken + "yy")),
		"in base64 after two":    base64.RawURLEncoding.EncodeToString([]byte("xx" + realToken + "y")),
		"as Basic":               base64.StdEncoding.EncodeToString([]byte("x-access-token:" + realToken)),
	}
	r := newRig(t)
	client := r.client()
	for name, form := range forms {
		for _, part := range []int{1, 7, len(form) - 1, 1 << 20} {
			r.backend.answers(func(w http.ResponseWriter, _ *http.Request) {
				text := "before " + form + " between " + form + form + " after"
				for len(text) > 0 {
					n := min(part, len(text))
					say(w, text[:n])
					text = text[n:]
					if len(text) > 0 {
						_ = http.NewResponseController(w).Flush()
					}
				}
			})
			status, text := r.do(client, "GET", "/things/7", "")
			core := form[len(form)/4 : len(form)*3/4]
			if status != 200 || strings.Contains(text, core) || !strings.HasPrefix(text, "before ") || !strings.HasSuffix(text, " after") || strings.Count(text, scrubbedAway) != 3 {
				t.Errorf("%s, in parts of %d: %d %q", name, part, status, text)
			}
		}
	}
	r.backend.answers(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		say(w, `{"values":{},"name":`+string(quoted)+`}`)
	})
	if _, text := r.do(client, "GET", "/things/7/values", ""); strings.Contains(text, "0123456789") {
		t.Errorf("in an answer that is filtered: %s", text)
	}
	if strings.Contains(r.log.String(), "0123456789") {
		t.Error("the token is in the log")
	}
}

// An event reaches the caller when it comes, and not when the answer ends.
func TestAnAnswerThatStreams(t *testing.T) {
	r := newRig(t)
	next := make(chan struct{})
	r.backend.answers(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for range 3 {
			say(w, "data: 1\n\n")
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	})
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://base.local/things/7", http.NoBody)
	response, err := r.client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	for range 3 {
		event := make([]byte, len("data: 1\n\n"))
		if _, err := io.ReadFull(response.Body, event); err != nil {
			t.Fatal(err)
		}
		next <- struct{}{}
	}
}

// The attack: a line break that is escaped in a path becomes a header.
func TestHeaderInjection(t *testing.T) {
	r := newRig(t)
	client := r.client()
	for _, path := range []string{"/things/7%0d%0aX-Evil:%201", "/things/7%0aX-Evil", "/things?a=%0d%0aX-Evil:%201", "/things/7%00"} {
		if status, text := r.do(client, "GET", path, ""); status < 400 {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	if got := r.backend.seen(); len(got) > 0 {
		t.Errorf("the provider saw %s", got[0].RequestURI)
	}
}

// What was judged and what goes out are one: a path that would be written in another way is not sent.
func TestAddressRefusesWhatItWouldChange(t *testing.T) {
	for name, send := range map[string]judge.Send{
		"no path":         {Method: "GET", Path: ""},
		"another host":    {Method: "GET", Path: "//bank.example/x"},
		"a host":          {Method: "GET", Path: "bank.example/x"},
		"a bad escape":    {Method: "GET", Path: "/%zz"},
		"a blank":         {Method: "GET", Path: "/a b"},
		"a line break":    {Method: "GET", Path: "/a\r\nX: y"},
		"a query":         {Method: "GET", Path: "/a?b"},
		"a fragment":      {Method: "GET", Path: "/a#b"},
		"no method":       {Method: "", Path: "/a"},
		"two in a method": {Method: "GET /x", Path: "/a"},
	} {
		if to, err := address("https://api.example.test", send); err == nil {
			t.Errorf("%s: %s", name, to)
		}
	}
	for _, base := range []string{"", "api.example.test", "https://u:p@api.example.test", "::"} {
		if _, err := address(base, judge.Send{Method: "GET", Path: "/a"}); err == nil {
			t.Errorf("base %q: taken", base)
		}
	}
	to, err := address("https://api.example.test", judge.Send{Method: "GET", Path: "/a%2Fb/%C3%A4", Query: url.Values{"q": {"1&2"}}})
	if err != nil || to.String() != "https://api.example.test/a%2Fb/%C3%A4?q=1%262" {
		t.Errorf("%s %v", to, err)
	}
}

// panics is a pack with a fault.
type panics struct{ gateway.Pack }

func (panics) Judge(judge.Call, bool) judge.Verdict { panic("a fault that knows " + realToken) }

func TestAFaultEndsTheConnectionAndTellsNothing(t *testing.T) {
	r := newRig(t)
	r.broker.presented.Target.Issuer = &issuer{pack: panics{newPack(t)}, provider: r.provider}
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://base.local/things/7", http.NoBody)
	if response, err := r.client().Do(request); err == nil {
		response.Body.Close()
		t.Errorf("answered %d", response.StatusCode)
	}
	if log := r.log.String(); !strings.Contains(log, "panic") || strings.Contains(log, "0123456789") {
		t.Error("the log has no word of it, or the value")
	}
	if len(r.backend.seen()) > 0 {
		t.Error("it was forwarded")
	}
}

func TestTheEnvironmentsProxyIsNotUsed(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	if transport := NewTransport(); transport.Proxy != nil || transport.TLSClientConfig.InsecureSkipVerify || !transport.DisableCompression {
		t.Error("the transport asks the environment, or believes anybody")
	}
}
