package system

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/issuers/gateway/faithful/railway"
)

// rail is Railway: it can be listened to, and held up.
type rail struct {
	*railway.Server
	railway.World
	http *httptest.Server

	mu    sync.Mutex
	heard []heardCall
	holds []*hold
}

type heardCall struct{ header, body string }

// hold holds up the next call whose body has a text.
type hold struct {
	text    string
	drip    bool          // it is answered, without end
	arrived chan struct{} // closed when the call is there
	let     chan struct{} // closed by the test: go on
	gone    chan struct{} // closed when the caller went away
}

func newRail(tb testing.TB) *rail {
	r := &rail{Server: railway.New(railway.Config{Now: time.Now})}
	r.World = r.Seed()
	r.http = httptest.NewServer(r)
	tb.Cleanup(func() { r.http.CloseClientConnections(); r.http.Close() })
	return r
}

// ServeHTTP is http.Handler's.
func (r *rail) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, _ := io.ReadAll(request.Body)
	request.Body = io.NopCloser(bytes.NewReader(body))
	header, _ := json.Marshal(request.Header)
	r.mu.Lock()
	r.heard = append(r.heard, heardCall{string(header), string(body)})
	at := slices.IndexFunc(r.holds, func(h *hold) bool { return strings.Contains(string(body), h.text) })
	var held *hold
	if at >= 0 {
		held = r.holds[at]
		r.holds = slices.Delete(r.holds, at, at+1)
	}
	r.mu.Unlock()
	if held != nil && !held.wait(w, request) {
		return
	}
	r.Server.ServeHTTP(w, request)
}

// wait tells whether the call is to be done.
func (h *hold) wait(w http.ResponseWriter, request *http.Request) bool {
	close(h.arrived)
	if h.drip {
		w.Header().Set("Content-Type", "application/json")
		for request.Context().Err() == nil {
			if _, err := io.WriteString(w, " "); err != nil || http.NewResponseController(w).Flush() != nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		close(h.gone)
		return false
	}
	select {
	case <-h.let:
		return true
	case <-request.Context().Done():
		close(h.gone)
		return false
	}
}

func (r *rail) hold(text string, drip bool) *hold {
	h := &hold{text: text, drip: drip, arrived: make(chan struct{}), let: make(chan struct{}), gone: make(chan struct{})}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holds = append(r.holds, h)
	return h
}

// times counts the calls that had a text.
func (r *rail) times(text string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, call := range r.heard {
		if strings.Contains(call.body, text) {
			n++
		}
	}
	return n
}

// has tells whether a volume is there.
func (r *rail) has(volume string) bool { return slices.Contains(r.IDs("Volume"), volume) }

// value is a variable's as Railway has it.
func (r *rail) value(environment, name string) string {
	for _, record := range r.Snapshot().Records {
		if record.Kind == "Variable" && record.Name == name && slices.Contains(record.Environments, environment) {
			return strings.Trim(record.Fields["value"], `"`)
		}
	}
	return ""
}

// wire passes on what agents and people say to the broker, and remembers it.
type wire struct {
	port int
	mu   sync.Mutex
	text bytes.Buffer
}

func newWire(tb testing.TB, to string) *wire {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(tb, err)
	tb.Cleanup(func() { _ = listener.Close() })
	w := &wire{port: listener.Addr().(*net.TCPAddr).Port}
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			go w.carry(from.(*net.TCPConn), to)
		}
	}()
	return w
}

func (w *wire) carry(from *net.TCPConn, to string) {
	conn, err := net.Dial("tcp", to)
	if err != nil {
		_ = from.SetLinger(0) // nobody is there
		_ = from.Close()
		return
	}
	broker := conn.(*net.TCPConn)
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(broker, io.TeeReader(from, w)); _ = broker.CloseWrite() })
	both.Go(func() { _, _ = io.Copy(from, io.TeeReader(broker, w)); _ = from.CloseWrite() })
	both.Wait()
	_, _ = from.Close(), broker.Close()
}

// Write is io.Writer's.
func (w *wire) Write(text []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(text)
}

// tokens gives what matched, each once, in the order in which it came.
func (w *wire) tokens(pattern string) (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, match := range regexp.MustCompile(pattern).FindAllString(w.text.String(), -1) {
		if !slices.Contains(all, match) {
			all = append(all, match)
		}
	}
	return all
}

// The documents of these tests.

func (r *rail) asksProject() string {
	return fmt.Sprintf(`{ project(id: %q) { name
		environments { edges { node { id name } } }
		services { edges { node { name serviceInstances { edges { node { environmentId } } } } } }
		volumes { edges { node { name volumeInstances { edges { node { environmentId state } } } } } } } }`, r.Shop)
}

func (r *rail) asksVariables(environment string) string {
	return fmt.Sprintf(`{ variables(projectId: %q, environmentId: %q, serviceId: %q) }`, r.Shop, environment, r.Web)
}

func (r *rail) sets(environment, name, value string) string {
	return fmt.Sprintf(`mutation { variableUpsert(input: {projectId: %q, environmentId: %q, serviceId: %q, name: %q, value: %q}) }`, r.Shop, environment, r.Web, name, value)
}

func (r *rail) unsets(environment, name string) string {
	return fmt.Sprintf(`mutation { variableDelete(input: {projectId: %q, environmentId: %q, serviceId: %q, name: %q}) }`, r.Shop, environment, r.Web, name)
}

func (r *rail) deletes(volume string) string {
	return fmt.Sprintf(`mutation { volumeDelete(volumeId: %q) }`, volume)
}
