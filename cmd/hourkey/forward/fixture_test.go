package forward_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hourkey/hourkey/cmd/hourkey/forward"
	"github.com/hourkey/hourkey/cmd/hourkey/forward/forwardtest"
	"github.com/hourkey/hourkey/web/api"
)

func TestMain(m *testing.M) {
	if os.Getenv("BE") == "child" {
		beChild()
		return
	}
	goleak.VerifyTestMain(m)
}

// The hosts of the lease that most tests use.
const (
	mainHost  = "api.provider.example"
	otherHost = "uploads.provider.example"
)

// lines is what a forwarder says to the human.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) say(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
}

func (l *lines) list() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

// world is a broker with a gateway, an agent's client, and a forwarder for one lease.
type world struct {
	*testing.T
	*forward.Forwarder
	gateway *forwardtest.Gateway
	broker  *httptest.Server
	client  *api.Client
	lease   api.Gateway
	said    *lines
	environ map[string]string // the child's
	folder  string            // in which the forwarder keeps its own
}

// echo answers with what arrives: "METHOD RequestURI Host", the interesting headers, and the body.
func echo(w http.ResponseWriter, r *http.Request) {
	text, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s\n", r.Method, r.RequestURI, r.Host)
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range r.Header {
			if !yield(name) {
				return
			}
		}
	}) {
		fmt.Fprintf(w, "%s: %s\n", name, strings.Join(r.Header[name], ", "))
	}
	fmt.Fprintf(w, "\n%s", text)
}

// newWorld starts all of it; parent is the environment that the child would have without us.
func newWorld(t *testing.T, provider http.HandlerFunc, parent map[string]string) *world {
	t.Helper()
	w := &world{T: t, said: &lines{}, folder: filepath.Join(t.TempDir(), `a "folder" of\its own`)}
	if err := os.Mkdir(w.folder, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", w.folder)
	w.gateway = forwardtest.New(provider, mainHost, otherHost)
	t.Cleanup(w.gateway.Close)
	w.broker = httptest.NewServer(w.gateway)
	t.Cleanup(w.broker.Close)
	w.gateway.Origin = w.broker.URL
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.client, err = api.NewClient(api.ClientConfig{Origin: w.broker.URL, Agent: "claude-code", Key: key, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	w.lease = w.gateway.Issue(map[string]string{"PROVIDER_TOKEN": "{placeholder}", "PROVIDER_URL": "{base}/v1"})
	w.Forwarder, err = forward.Start(forward.Config{
		Now:     time.Now,
		Targets: []forward.Target{{Name: "staging/provider", Gateway: w.lease}},
		Open:    w.client.OpenTunnel, Say: w.said.say, Direct: []string{"broker.example"},
		Getenv: func(name string) string { return parent[name] },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.close() })
	w.environ = map[string]string{}
	for name, value := range w.Environ() {
		w.environ[name] = value.Reveal()
	}
	return w
}

func (w *world) close() {
	w.Helper()
	if err := w.Close(); err != nil {
		w.Error(err)
	}
}

// proxy is the URL that the child has in HTTPS_PROXY.
func (w *world) proxy() *url.URL {
	w.Helper()
	u, err := url.Parse(w.environ["HTTPS_PROXY"])
	if err != nil {
		w.Fatal(err)
	}
	return u
}

func (w *world) password() string {
	password, _ := w.proxy().User.Password()
	return password
}

// basic is a Proxy-Authorization line.
func basic(user, password string) string {
	return "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password)) + "\r\n"
}

// raw sends bytes to the forwarder and gives the answer with its body.
func (w *world) raw(text string) (*http.Response, string) {
	w.Helper()
	conn, err := net.Dial("tcp", w.proxy().Host)
	if err != nil {
		w.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, text); err != nil {
		w.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		w.Fatalf("%q: %v", text, err)
	}
	defer answer.Body.Close()
	if strings.HasPrefix(text, "CONNECT") && answer.StatusCode == http.StatusOK {
		return answer, "" // what follows is the tunnel
	}
	body, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	return answer, string(body)
}

// child is an HTTP client that goes by the child's variables.
func (w *world) child() *http.Client {
	w.Helper()
	text, err := os.ReadFile(w.environ["SSL_CERT_FILE"])
	if err != nil {
		w.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	transport := &http.Transport{Proxy: http.ProxyURL(w.proxy()), TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	w.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// get gives status and body of a GET, with header lines "Name: value".
func (w *world) get(client *http.Client, url string, header ...string) (int, string) {
	w.Helper()
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		w.Fatal(err)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		request.Header.Set(name, value)
	}
	answer, err := client.Do(request)
	if err != nil {
		w.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		w.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// base gives a client for base-URL mode.
func (w *world) base() *http.Client {
	transport := &http.Transport{}
	w.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// left lists what lies in the folder for temporary files.
func (w *world) left() []os.DirEntry {
	w.Helper()
	entries, err := os.ReadDir(w.folder)
	if err != nil {
		w.Fatal(err)
	}
	return entries
}

// patience is how long a test waits for what must come to pass: far longer than it takes, since the machine may do much else.
const patience = time.Minute

// eventually waits for something that other goroutines bring about.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to this: " + what)
		}
	}
}
