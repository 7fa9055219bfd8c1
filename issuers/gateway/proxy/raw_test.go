package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// raw sends bytes in a tunnel in base-URL mode and gives the answers that came until the connection was
// closed: those that are sure to come, and one that could come after them.
func (r *rig) raw(text string, sure int) (answers []string, closed bool) {
	r.Helper()
	c := r.plain()
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, text); err != nil {
		r.Fatal(err)
	}
	reader := bufio.NewReader(c)
	for len(answers) <= sure {
		if len(answers) == sure {
			_ = c.SetDeadline(time.Now().Add(300 * time.Millisecond))
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return answers, !errors.Is(err, os.ErrDeadlineExceeded)
		}
		body, _ := io.ReadAll(response.Body)
		answers = append(answers, fmt.Sprintf("%d %s", response.StatusCode, body))
		if response.Close {
			return answers, true
		}
	}
	return answers, false
}

// Each is one request that two servers read in two ways, or that asks for something else than it says. None
// reaches the provider, whatever follows it, and the connection is not used for more.
func TestRequestsThatCanBeReadInTwoWays(t *testing.T) {
	const host = "Host: base.local\r\n"
	r := newRig(t)
	smuggled := "DELETE /things/smuggled HTTP/1.1\r\n" + host + "\r\n"
	for name, c := range map[string]struct{ text, says string }{
		"chunked with a length":           {"PUT /things/7 HTTP/1.1\r\n" + host + "Content-Type: application/json\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, "both Transfer-Encoding and Content-Length"},
		"a length with chunked":           {"PUT /things/7 HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n" + smuggled, "both Transfer-Encoding and Content-Length"},
		"two lengths":                     {"PUT /things/7 HTTP/1.1\r\n" + host + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}" + smuggled, "two Content-Length"},
		"two lengths that differ":         {"PUT /things/7 HTTP/1.1\r\n" + host + "Content-Length: 2\r\nContent-Length: 60\r\n\r\n{}" + smuggled, "two Content-Length"},
		"a list of lengths":               {"PUT /things/7 HTTP/1.1\r\n" + host + "Content-Length: 2, 2\r\n\r\n{}", "Content-Length of the request is no number"},
		"a length with a sign":            {"PUT /things/7 HTTP/1.1\r\n" + host + "Content-Length: +2\r\n\r\n{}", "no number"},
		"a length in hex":                 {"PUT /things/7 HTTP/1.1\r\n" + host + "Content-Length: 0x2\r\n\r\n{}", "no number"},
		"a length below nothing":          {"PUT /things/7 HTTP/1.1\r\n" + host + "Content-Length: -2\r\n\r\n{}", "no number"},
		"an endless length":               {"PUT /things/7 HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999\r\n\r\n{}", "no number"},
		"chunked twice":                   {"PUT /things/7 HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "chunked, once"},
		"chunked among others":            {"PUT /things/7 HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "chunked, once"},
		"nearly chunked":                  {"PUT /things/7 HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "chunked, once"},
		"chunked with a vertical tab":     {"PUT /things/7 HTTP/1.1\r\n" + host + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", "two ways"},
		"a blank before the colon":        {"PUT /things/7 HTTP/1.1\r\n" + host + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "two ways"},
		"a folded line":                   {"PUT /things/7 HTTP/1.1\r\n" + host + "X-A: b\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "two ways"},
		"lines without CR":                {"GET /things/7 HTTP/1.1\nHost: base.local\n\n" + smuggled, "CR LF"},
		"one line without CR":             {"GET /things/7 HTTP/1.1\r\nX-A: b\nTransfer-Encoding: chunked\r\n" + host + "\r\n", "CR LF"},
		"a CR within a line":              {"GET /things/7 HTTP/1.1\r\nX-A: b\rX-B: c\r\n" + host + "\r\n", "CR LF"},
		"a NUL":                           {"GET /things/7 HTTP/1.1\r\nX-A: b\x00\r\n" + host + "\r\n", "CR LF"},
		"an empty line first":             {"\r\nGET /things/7 HTTP/1.1\r\n" + host + "\r\n", "CR LF"},
		"a line without a colon":          {"GET /things/7 HTTP/1.1\r\nX-A\r\n" + host + "\r\n", "two ways"},
		"two Host headers":                {"GET /things/7 HTTP/1.1\r\n" + host + "Host: other.local\r\n\r\n", "exactly one Host"},
		"two equal Host headers":          {"GET /things/7 HTTP/1.1\r\n" + host + host + "\r\n", "exactly one Host"},
		"no Host header":                  {"GET /things/7 HTTP/1.1\r\n\r\n", "exactly one Host"},
		"an empty Host header":            {"GET /things/7 HTTP/1.1\r\nHost: \r\n\r\n", "exactly one Host"},
		"HTTP/1.0":                        {"GET /things/7 HTTP/1.0\r\n" + host + "\r\n", "only HTTP/1.1"},
		"HTTP/0.9":                        {"GET /things/7\r\n\r\n", "two ways"},
		"two blanks in the line":          {"GET  /things/7 HTTP/1.1\r\n" + host + "\r\n", "two ways"},
		"a tab in the line":               {"GET\t/things/7 HTTP/1.1\r\n" + host + "\r\n", "two ways"},
		"the preface of HTTP/2":           {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2 is not spoken"},
		"a preface after a call":          {"POST /things/7 HTTP/2.0\r\n" + host + "\r\n", "HTTP/2 is not spoken"},
		"an upgrade to h2c":               {"GET /things/7 HTTP/1.1\r\n" + host + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", "upgrades"},
		"a websocket":                     {"GET /things/7 HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n", "upgrades"},
		"an upgrade without a connection": {"GET /things/7 HTTP/1.1\r\n" + host + "Upgrade: websocket\r\n\r\n", "upgrades"},
		"a CONNECT":                       {"CONNECT " + mainHost + ":443 HTTP/1.1\r\n" + host + "\r\n", "different hosts"},
		"a CONNECT to the Host":           {"CONNECT base.local HTTP/1.1\r\nHost: base.local\r\n\r\n", "different hosts"},
		"OPTIONS *":                       {"OPTIONS * HTTP/1.1\r\n" + host + "\r\n", "different hosts"},
		"another host, absolute":          {"GET https://bank.example/things/7 HTTP/1.1\r\nHost: bank.example\r\n\r\n", "the request line names"},
		"absolute, another Host":          {"GET https://" + mainHost + "/things/7 HTTP/1.1\r\nHost: bank.example\r\n\r\n", "different hosts"},
		"absolute with a user":            {"GET https://" + mainHost + "@bank.example/things/7 HTTP/1.1\r\nHost: " + mainHost + "@bank.example\r\n\r\n", ""},
		"absolute, another scheme":        {"GET ftp://" + mainHost + "/things/7 HTTP/1.1\r\nHost: " + mainHost + "\r\n\r\n", "is a path"},
		"a method in a header":            {"POST /things/7 HTTP/1.1\r\n" + host + "X-HTTP-Method-Override: DELETE\r\nContent-Length: 0\r\n\r\n", "X-Http-Method-Override"},
		"a method in another header":      {"POST /things/7 HTTP/1.1\r\n" + host + "X-Method-Override: DELETE\r\nContent-Length: 0\r\n\r\n", "X-Method-Override"},
		"a path in a header":              {"GET /things HTTP/1.1\r\n" + host + "X-Original-URL: /things/7\r\n\r\n", "X-Original-Url"},
		"a method in the query":           {"GET /things?_method=DELETE HTTP/1.1\r\n" + host + "\r\n", "_method"},
		"a method in the query, escaped":  {"GET /things?%5fmethod=DELETE HTTP/1.1\r\n" + host + "\r\n", "_method"},
		"an encoded body":                 {"PUT /things/7 HTTP/1.1\r\n" + host + "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", "encoded (gzip)"},
		"two content types":               {"PUT /things/7 HTTP/1.1\r\n" + host + "Content-Type: application/json\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}", "two Content-Type"},
		"announced trailers":              {"PUT /things/7 HTTP/1.1\r\n" + host + "Trailer: X-A\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-A: b\r\n\r\n", "trailers"},
		"trailers":                        {"PUT /things/7 HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-A: b\r\n\r\n", "trailers"},
		"another expectation":             {"PUT /things/7 HTTP/1.1\r\n" + host + "Expect: 200-maybe\r\nContent-Length: 2\r\n\r\n{}", ""},
		"a chunk that is none":            {"PUT /things/7 HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", "did not arrive whole"},
		"a chunk beyond all":              {"PUT /things/7 HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n{}\r\n0\r\n\r\n", "did not arrive whole"},
		"a path up":                       {"GET /things/../keys/7 HTTP/1.1\r\n" + host + "\r\n", ""},
		"a path up, escaped":              {"GET /things/%2e%2e/keys/7 HTTP/1.1\r\n" + host + "\r\n", ""},
		"a slash, escaped":                {"GET /things%2f7 HTTP/1.1\r\n" + host + "\r\n", ""},
		"a path escaped twice":            {"GET /things/%252e%252e HTTP/1.1\r\n" + host + "\r\n", ""},
		"two slashes":                     {"GET //things/7 HTTP/1.1\r\n" + host + "\r\n", ""},
		"a fragment":                      {"GET /things/7#x HTTP/1.1\r\n" + host + "\r\n", ""},
		"a head beyond bounds":            {"GET /things/7 HTTP/1.1\r\n" + host + "X-A: " + strings.Repeat("a", mostHead) + "\r\n\r\n", "has more than"},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(r.backend.seen())
			answers, closed := r.raw(c.text, 1)
			if len(answers) == 0 || answers[0][0] != '4' || !strings.Contains(answers[0], c.says) {
				t.Errorf("answers %q, want a refusal with %q", answers, c.says)
			}
			if len(answers) > 1 && answers[1][0] != '4' || c.says != "" && strings.HasPrefix(answers[0], "400") && !closed {
				t.Errorf("then %q, closed %v", answers, closed)
			}
			if seen := r.backend.seen()[before:]; len(seen) > 0 {
				t.Errorf("the provider saw %s %s", seen[0].Method, seen[0].RequestURI)
			}
		})
	}
}

func TestRequestsThatAreWell(t *testing.T) {
	const host = "Host: base.local\r\n"
	r := newRig(t)
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"a chunked body":     {"PUT /things/7 HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", []string{`200 {"path":"/things/7","body":"{}"}`}},
		"absolute":           {"GET https://" + mainHost + "/things/7?a=1 HTTP/1.1\r\nHost: " + mainHost + "\r\n\r\n", []string{`200 {"path":"/things/7?a=1","body":""}`}},
		"absolute with port": {"GET http://" + mainHost + ":443/things/7 HTTP/1.1\r\nHost: " + mainHost + ":443\r\n\r\n", []string{`200 {"path":"/things/7","body":""}`}},
		"one after another": {
			"PUT /things/1 HTTP/1.1\r\n" + host + "Content-Length: 2\r\n\r\n{}GET /things/2 HTTP/1.1\r\n" + host + "\r\nGET /things/3 HTTP/1.1\r\n" + host + "\r\n",
			[]string{`200 {"path":"/things/1","body":"{}"}`, `200 {"path":"/things/2","body":""}`, `200 {"path":"/things/3","body":""}`},
		},
		"what follows a chunked body is not read": {
			"PUT /things/1 HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nDELETE /things/2 HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n" + host + "\r\n",
			[]string{`200 {"path":"/things/1","body":""}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			answers, _ := r.raw(c.text, len(c.want))
			if fmt.Sprint(answers) != fmt.Sprint(c.want) {
				t.Errorf("answers %q, want %q", answers, c.want)
			}
		})
	}
}

func TestExpectContinue(t *testing.T) {
	r := newRig(t)
	c := r.plain()
	_ = c.SetDeadline(time.Now().Add(patience))
	say(c, "PUT /things/7 HTTP/1.1\r\nHost: base.local\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	reader := bufio.NewReader(c)
	if line, _ := reader.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q", line)
	}
	_, _ = reader.ReadString('\n')
	say(c, "{}")
	if response, err := http.ReadResponse(reader, nil); err != nil || response.StatusCode != 200 {
		t.Errorf("%v %v", response, err)
	}
}

// In forward mode the Host header is the tunnel's, whatever the certificate said.
func TestAnotherHostInForwardMode(t *testing.T) {
	r := newRig(t)
	for host, want := range map[string]int{
		mainHost: 200, mainHost + ":443": 200, strings.ToUpper(mainHost): 200,
		otherHost: 421, "bank.example": 421, mainHost + ":80": 421, "127.0.0.1": 421, mainHost + ".": 421,
	} {
		request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+mainHost+"/things/7", http.NoBody)
		request.Host = host
		response, err := r.client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: %d, want %d", host, response.StatusCode, want)
		}
	}
}

func TestBodiesAreBounded(t *testing.T) {
	r := newRig(t)
	client := r.client()
	big := strings.Repeat("x", mostJudged+1)
	for name, c := range map[string]struct {
		method, path, body string
		status             int
	}{
		"JSON at the bound": {"PUT", "/things/7", `{"a":"` + strings.Repeat("x", mostJudged-8) + `"}`, 200},
		"JSON beyond":       {"PUT", "/things/7", `{"a":"` + big + `"}`, 413},
		"raw beyond JSON's": {"POST", "/things/7/upload", big, 200},
		"raw at the bound":  {"POST", "/things/7/upload", strings.Repeat("y", mostRaw), 200},
		"raw beyond":        {"POST", "/things/7/upload", strings.Repeat("y", mostRaw+1), 413},
		"raw of a class that is not write, beyond JSON's": {"POST", "/things/7/bury", big, 200},
	} {
		before := len(r.backend.bodies)
		status, text := r.do(client, c.method, c.path, c.body)
		if status != c.status {
			t.Errorf("%s: %d %.200s", name, status, text)
		}
		if got := r.backend.bodies[before:]; (len(got) == 1) != (c.status == 200) || len(got) == 1 && len(got[0]) != len(c.body) {
			t.Errorf("%s: the provider got %d bodies", name, len(got))
		}
	}
	// An endless chunked body ends at the bound, not with the memory.
	response, err := client.Post("http://base.local/things/7", "application/json", io.LimitReader(endless{}, 1<<40))
	if err == nil {
		response.Body.Close()
		if response.StatusCode < 400 {
			t.Errorf("an endless body: %d", response.StatusCode)
		}
	}
	r.leave(mostRaw - 1)
	if status, text := r.do(client, "POST", "/things/7/upload", big); status != 503 || !strings.Contains(text, "large bodies") {
		t.Errorf("without room: %d %s", status, text)
	}
}

type endless struct{}

func (endless) Read(into []byte) (int, error) {
	for i := range into {
		into[i] = ' '
	}
	return len(into), nil
}

// The attack: a body that says another length than it has keeps a write half done.
func TestABodyThatIsShorterThanItSays(t *testing.T) {
	r := newRig(t)
	c := r.plain()
	say(c, "PUT /things/7 HTTP/1.1\r\nHost: base.local\r\nContent-Length: 20\r\n\r\n{\"half\":")
	c.(*readerConn).Conn.(*net.TCPConn).CloseWrite()
	raw, _ := io.ReadAll(c)
	if len(r.backend.seen()) != 0 {
		t.Errorf("the provider saw it; the caller %s", raw)
	}
}

// What the guard lets pass, net/http reads, and in the same way: the same number of requests with the same
// targets and bodies, however the bytes come.
func FuzzGuardAgreesWithTheServer(f *testing.F) {
	for _, text := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nHost: b\r\n\r\n",
		"PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: b\r\n\r\n",
		"PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
		"GET / HTTP/1.1\nHost: a\n\n",
		"GET / HTTP/1.1\r\nHost: a\r\n X: y\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"\r\n\r\n",
	} {
		f.Add([]byte(text), uint8(1))
		f.Add([]byte(text), uint8(200))
	}
	f.Fuzz(func(t *testing.T, text []byte, step uint8) {
		through := readAllRequests(t, &guard{in: bufio.NewReaderSize(steps(text, step), 16)})
		straight := readAllRequests(t, bytes.NewReader(text))
		for at, got := range through {
			if got == refusedMark {
				return // and nothing may come after, which readAllRequests checks
			}
			if at >= len(straight) || straight[at] != got {
				t.Errorf("request %d: guarded %q, straight %q", at, got, straight)
			}
		}
	})
}

const refusedMark = "refused"

// readAllRequests reads as the server does: request by request from one reader.
func readAllRequests(t *testing.T, from io.Reader) (requests []string) {
	reader := bufio.NewReader(from)
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return requests
		}
		if request.Host == "refused.invalid" {
			if _, err := reader.ReadByte(); !errors.Is(err, io.EOF) {
				t.Errorf("something follows what was refused: %v", err)
			}
			return append(requests, refusedMark)
		}
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return requests
		}
		requests = append(requests, request.Method+" "+request.RequestURI+" "+request.Host+" "+string(body))
		if len(request.TransferEncoding) > 0 {
			return requests // the handler closes
		}
	}
}

// steps gives a text in parts of that many bytes.
func steps(text []byte, step uint8) io.Reader {
	return &stepper{text, max(1, int(step))}
}

type stepper struct {
	text []byte
	step int
}

func (s *stepper) Read(into []byte) (int, error) {
	if len(s.text) == 0 {
		return 0, io.EOF
	}
	n := copy(into, s.text[:min(s.step, len(s.text))])
	s.text = s.text[n:]
	return n, nil
}

// The guard goes on where it was when a deadline interrupts it, as the server's own deadlines do.
func TestTheGuardAfterADeadline(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	g := &guard{in: bufio.NewReader(there)}
	var writing sync.WaitGroup
	defer writing.Wait()
	writing.Go(func() {
		say(here, "GET / HTTP/1.1\r\nHo")
		_ = there.SetReadDeadline(time.Now()) // as soon as that was read
	})
	if _, err := g.Read(make([]byte, 100)); err == nil {
		t.Fatal("half a head passed")
	}
	writing.Wait()
	_ = there.SetReadDeadline(time.Time{})
	writing.Go(func() { say(here, "st: a\r\n\r\n") })
	got := make([]byte, 100)
	n, err := g.Read(got)
	if string(got[:n]) != "GET / HTTP/1.1\r\nHost: a\r\n\r\n" || err != nil {
		t.Errorf("%q %v", got[:n], err)
	}
}
