package forward_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/cmd/hourkey/forward"
	"github.com/hourkey/hourkey/web/api"
)

func TestBaseURLStandsForTheMainHost(t *testing.T) {
	w := newWorld(t, echo, nil)
	if want := "http://" + w.proxy().Host + "/" + w.password() + "/0/v1"; w.environ["PROVIDER_URL"] != want {
		t.Fatalf("base URL %q, want %q", w.environ["PROVIDER_URL"], want)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.environ["PROVIDER_URL"]+"/things?a=1;b=%zz&&c", strings.NewReader("the body"))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := w.base().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	if got := string(text); !strings.HasPrefix(got, "POST /v1/things?a=1;b=%zz&&c "+mainHost+"\n") || !strings.HasSuffix(got, "\n\nthe body") {
		t.Error(got)
	}
	if got := strings.Join(w.gateway.Opened(), ","); got != mainHost+" plain" {
		t.Error(got)
	}
}

func TestPathTricksStayInsideTheirTarget(t *testing.T) {
	w := newWorld(t, echo, nil)
	password := w.password()
	for path, want := range map[string]string{ // "" is refused
		"/" + password + "/0":                       "/",
		"/" + password + "/0/":                      "/",
		"/" + password + "/0?q":                     "/?q",
		"/" + password + "/0//evil.example/x":       "//evil.example/x",
		"/" + password + "/0/../1/x":                "/../1/x", // as it came, into target 0's tunnel: the broker judges it
		"/" + password + "/0/a%2f..%2fb/%2e%2e/c":   "/a%2f..%2fb/%2e%2e/c",
		"/" + password + "/0/" + password + "/0/x":  "/" + password + "/0/x",
		"/" + password + "/../" + password + "/0/x": "",
		"/" + password + "/./0/x":                   "",
		"/" + password + "//0/x":                    "",
		"/" + password + "/00/x":                    "",
		"/" + password + "/+0/x":                    "",
		"/" + password + "/-1/x":                    "",
		"/" + password + "/1/x":                     "",
		"/" + password + "/0x/x":                    "",
		"/" + password + "/%30/x":                   "",
		"/" + password + "/99999999999999999999/x":  "",
		"/" + password + "%2f0/x":                   "",
		"/" + password + "/":                        "",
		"/" + password:                              "",
		"/x/../" + password + "/0/x":                "",
		"/%68" + password[1:] + "/0/x":              "",
		"/" + strings.ToLower(password) + "/0/x":    "",
		"/" + password[:20] + "/0/x":                "",
		"/hourkey:" + password + "@/0/x":            "",
		"//" + password + "/0/x":                    "",
		"//0/x":                                     "",
		"/":                                         "",
	} {
		answer, text := w.raw("GET " + path + " HTTP/1.1\r\nHost: " + w.proxy().Host + "\r\nConnection: close\r\n\r\n")
		got, _, _ := strings.Cut(text, "\n")
		switch {
		case want != "" && (answer.StatusCode != 200 || got != "GET "+want+" "+mainHost):
			t.Errorf("%s arrives as %q (%s), want %q", path, got, answer.Status, want)
		case want == "" && (answer.StatusCode != http.StatusForbidden && answer.StatusCode != http.StatusNotFound || !strings.HasPrefix(text, "hourkey: ")):
			t.Errorf("%s is not refused: %s %q", path, answer.Status, text)
		}
	}
}

func TestBytesBehindOneRequestDoNotBecomeAnother(t *testing.T) {
	w := newWorld(t, echo, nil)
	line := "POST /" + w.password() + "/0/x HTTP/1.1\r\nHost: " + w.proxy().Host + "\r\n"
	for name, rest := range map[string]string{
		"length and chunked": "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
		"two lengths":        "Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
		"chunked twice":      "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
		"folded":             "X: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		_, text := w.raw(line + rest)
		if strings.Contains(text, "smuggled") || strings.Contains(text, "Transfer-Encoding: chunked, chunked") {
			t.Errorf("%s: %q", name, text)
		}
	}
}

func TestPasswordInAHeaderStaysHere(t *testing.T) {
	w := newWorld(t, echo, nil)
	encoded := base64.StdEncoding.EncodeToString([]byte("x-access-token:" + w.password()))
	_, text := w.get(w.base(), w.environ["PROVIDER_URL"], "Authorization: Bearer "+w.password(), "Private-Token: "+w.password(), "Referer: "+w.environ["PROVIDER_URL"],
		"X-Basic: Basic "+encoded, "X-Kept: 1", "Cookie: a=b", "Project-Access-Token: mine", "Connection: X-Hop", "X-Hop: 1", "Proxy-Authorization: Basic "+encoded, "X-Forwarded-For: 1.2.3.4")
	for _, gone := range []string{w.password(), encoded, "X-Hop", "Proxy-", "Referer", "Authorization", "X-Forwarded", "Accept-Encoding: gzip\nAccept-Encoding"} {
		if strings.Contains(text, gone) {
			t.Errorf("%q went through: %s", gone, text)
		}
	}
	for _, kept := range []string{"X-Kept: 1\n", "Cookie: a=b\n", "Project-Access-Token: mine\n"} {
		if !strings.Contains(text, kept) {
			t.Errorf("no %q in %s", kept, text)
		}
	}
}

func TestWebsocketIsRefused(t *testing.T) {
	w := newWorld(t, echo, nil)
	answer, text := w.raw("GET /" + w.password() + "/0/ HTTP/1.1\r\nHost: " + w.proxy().Host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n")
	if answer.StatusCode != http.StatusForbidden || !strings.HasPrefix(text, "hourkey: websockets") {
		t.Errorf("%s %q", answer.Status, text)
	}
}

func TestBodiesStreamBothWays(t *testing.T) {
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		for lines := bufio.NewScanner(r.Body); lines.Scan(); {
			fmt.Fprintln(w, "got "+lines.Text())
			_ = http.NewResponseController(w).Flush()
		}
	}, nil)
	for name, client := range map[string]*http.Client{w.environ["PROVIDER_URL"]: w.base(), "https://" + mainHost + "/": w.child()} {
		body, feed := io.Pipe()
		timer := time.AfterFunc(time.Minute, func() { _ = feed.CloseWithError(io.ErrUnexpectedEOF) })
		defer timer.Stop()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, name, body)
		if err != nil {
			t.Fatal(err)
		}
		go func() { fmt.Fprintln(feed, "line 0") }()
		answer, err := client.Do(request)
		if err != nil {
			_ = feed.Close()
			t.Fatal(err)
		}
		read := bufio.NewReader(answer.Body)
		for n := range 3 {
			if line, err := read.ReadString('\n'); err != nil || line != fmt.Sprintf("got line %d\n", n) {
				t.Errorf("%s: %q %v", name, line, err)
			}
			fmt.Fprintf(feed, "line %d\n", n+1)
		}
		_ = feed.Close()
		_ = answer.Body.Close()
	}
}

func TestTunnelsArePooled(t *testing.T) {
	w := newWorld(t, echo, nil)
	client := w.base()
	for range 20 {
		if status, _ := w.get(client, w.environ["PROVIDER_URL"]); status != 200 {
			t.Error(status)
		}
	}
	if opened := w.gateway.Opened(); len(opened) != 1 {
		t.Errorf("%d tunnels for 20 calls one after the other", len(opened))
	}
}

func TestManyCallsAtOnceStayWithinTheBound(t *testing.T) {
	var mu sync.Mutex
	now, most := 0, 0
	w := newWorld(t, func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		time.Sleep(30 * time.Millisecond)
		mu.Lock()
		now--
		mu.Unlock()
	}, nil)
	client := w.base()
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			answer, err := client.Get(w.environ["PROVIDER_URL"])
			if err != nil || answer.StatusCode != 200 {
				t.Error(answer, err)
				return
			}
			_ = answer.Body.Close()
		})
	}
	all.Wait()
	if most > 64 || most < 2 {
		t.Errorf("%d calls at once", most)
	}
}

func TestRedirectIsHandedToTheChild(t *testing.T) {
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://elsewhere.example/", http.StatusFound)
	}, nil)
	if status, _ := w.get(w.base(), w.environ["PROVIDER_URL"]); status != http.StatusFound {
		t.Error(status)
	}
	if opened := w.gateway.Opened(); len(opened) != 1 {
		t.Error(opened)
	}
}

func TestCompressedAnswerStaysAsItIs(t *testing.T) {
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Asked", r.Header.Get("Accept-Encoding"))
		w.Header().Set("Content-Encoding", "gzip")
		fmt.Fprint(w, "not really gzip")
	}, nil)
	answer, text := w.raw("GET /" + w.password() + "/0/ HTTP/1.1\r\nHost: " + w.proxy().Host + "\r\nConnection: close\r\n\r\n")
	if text != "not really gzip" || answer.Header.Get("X-Asked") != "" || answer.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("%q %v", text, answer.Header)
	}
}

func TestCallWhoseTunnelBreaksIsNotSentAgain(t *testing.T) {
	var mu sync.Mutex
	arrived := 0
	w := newWorld(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			mu.Lock()
			arrived++
			mu.Unlock()
			panic(http.ErrAbortHandler)
		}
	}, nil)
	client := w.base()
	w.get(client, w.environ["PROVIDER_URL"]) // a tunnel for the pool
	answer, err := client.Post(w.environ["PROVIDER_URL"], "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusBadGateway || !strings.Contains(string(text), "whether the call was done is not known") {
		t.Errorf("%s %s", answer.Status, text)
	}
	mu.Lock()
	defer mu.Unlock()
	if arrived != 1 {
		t.Errorf("it arrived %d times", arrived)
	}
}

func TestEachTargetHasItsOwnBase(t *testing.T) {
	w := newWorld(t, echo, nil)
	other := w.gateway.Issue(map[string]string{"OTHER_URL": "{base}"})
	other.Hosts = []string{"second.provider.example"}
	var mu sync.Mutex
	var opened []string
	f, err := forward.Start(forward.Config{
		Now:     time.Now,
		Targets: []forward.Target{{Name: "staging/a", Gateway: w.lease}, {Name: "staging/b", Gateway: other}},
		Say:     w.said.say, Getenv: func(string) string { return "" },
		Open: func(_ context.Context, to api.Tunnel) (api.Stream, error) {
			mu.Lock()
			defer mu.Unlock()
			opened = append(opened, fmt.Sprintf("%s %v %v", to.Host, to.Plain, to.Token.Reveal() == w.lease.Token.Reveal()))
			return nil, net.ErrClosed
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, want := range map[string]string{"PROVIDER_URL": mainHost + " true true", "OTHER_URL": "second.provider.example true false"} {
		if status, text := w.get(w.base(), f.Environ()[name].Reveal()); status != http.StatusBadGateway || !strings.Contains(text, "use of closed network connection") {
			t.Errorf("%d %s", status, text)
		}
		mu.Lock()
		if !slices.Contains(opened, want) || len(opened) != 1 {
			t.Errorf("%s opened %q, want %q", name, opened, want)
		}
		opened = nil
		mu.Unlock()
	}
}
