package notify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/hourkey/hourkey/broker"
)

// receiver is an HTTPS server of somebody else. What it makes of a message is check; how it answers can be
// changed while it runs.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	got   []received
	fault func(http.ResponseWriter) bool // answers instead, true if it did
	wrong []error                        // what a message was not as the documentation has it
}

type received struct {
	header http.Header
	path   string
	body   []byte
}

// serve starts one. check gives the status and the body of the answer.
func (w *world) serve(check func(r *http.Request, body []byte) (int, string, error)) *receiver {
	w.Helper()
	s := &receiver{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 4<<20))
		s.mu.Lock()
		fault := s.fault
		s.mu.Unlock()
		if fault != nil && fault(rw) {
			return
		}
		code, answer, err := check(r, body)
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil {
			s.wrong = append(s.wrong, err)
		} else {
			s.got = append(s.got, received{r.Header.Clone(), r.URL.RequestURI(), body})
		}
		rw.WriteHeader(code)
		_, _ = io.WriteString(rw, answer)
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	s.StartTLS()
	w.roots.AddCert(s.Certificate())
	w.Cleanup(func() {
		s.Close()
		for _, err := range s.wrong {
			w.Error(err)
		}
	})
	return s
}

// answers makes the receiver answer otherwise, nil as it should.
func (s *receiver) answers(fault func(http.ResponseWriter) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// status answers with that code alone.
func status(code int) func(http.ResponseWriter) bool {
	return func(rw http.ResponseWriter) bool { rw.WriteHeader(code); return true }
}

func (s *receiver) all() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func strictly(body []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

// --- Slack

const slackPath = "/services/T000/B000/the-secret-of-slack"

// slackRead is what a reader in Slack gets: the lines, the links, the mentions.
type slackRead struct {
	line     string
	links    []string
	mentions []string
}

// slackServer takes messages as the documentation of incoming webhooks and of blocks has them.
func (w *world) slackServer() (*receiver, Channel) {
	s := w.serve(func(r *http.Request, body []byte) (int, string, error) {
		switch {
		case r.Method != http.MethodPost || r.URL.Path != slackPath:
			return http.StatusNotFound, "no_service", fmt.Errorf("%s %s", r.Method, r.URL.Path)
		case !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
			return http.StatusBadRequest, "invalid_payload", errors.New("it is not JSON")
		}
		if _, err := readSlack(body); err != nil {
			return http.StatusBadRequest, "invalid_payload", err
		}
		return http.StatusOK, "ok", nil
	})
	return s, Channel{Name: "oncall", Kind: Slack, URL: broker.NewSecret(s.URL + slackPath)}
}

// control is what Slack reads in angle brackets in mrkdwn.
var control = regexp.MustCompile(`<([^<>]+)>`)

func readSlack(body []byte) (read slackRead, err error) {
	var m struct {
		Text   string `json:"text"`
		Blocks []struct {
			Type string `json:"type"`
			Text struct {
				Type     string `json:"type"`
				Text     string `json:"text"`
				Verbatim *bool  `json:"verbatim"`
			} `json:"text"`
		} `json:"blocks"`
		UnfurlLinks bool `json:"unfurl_links"`
		UnfurlMedia bool `json:"unfurl_media"`
	}
	if err := strictly(body, &m); err != nil {
		return read, err
	}
	if m.Text == "" || len(m.Text) > 40000 || len(m.Blocks) == 0 || len(m.Blocks) > 50 {
		return read, errors.New("no text, too much text, or the wrong number of blocks")
	}
	marked := m.Text
	for _, block := range m.Blocks {
		n := utf8.RuneCountInString(block.Text.Text)
		if block.Type != "section" || n < 1 || n > 3000 {
			return read, fmt.Errorf("a %s of %d characters", block.Type, n)
		}
		switch block.Text.Type {
		case "plain_text":
			if block.Text.Verbatim != nil {
				return read, errors.New("verbatim is for mrkdwn")
			}
			read.line += block.Text.Text
		case "mrkdwn":
			if block.Text.Verbatim == nil || !*block.Text.Verbatim {
				return read, errors.New("Slack would look for links and names in this")
			}
			marked += block.Text.Text
		default:
			return read, fmt.Errorf("text of type %q", block.Text.Type)
		}
	}
	if m.UnfurlLinks || m.UnfurlMedia {
		return read, errors.New("Slack would fetch the page")
	}
	for _, found := range control.FindAllStringSubmatch(marked, -1) {
		if strings.ContainsAny(found[1][:1], "!@#") {
			read.mentions = append(read.mentions, found[1])
			continue
		}
		link, _, _ := strings.Cut(found[1], "|")
		read.links = append(read.links, link)
	}
	return read, nil
}

// slackLines is what stands in the channel.
func slackLines(t testing.TB, s *receiver) (lines []slackRead) {
	t.Helper()
	for _, m := range s.all() {
		read, err := readSlack(m.body)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, read)
	}
	return lines
}

// --- ntfy

type ntfyRead struct {
	Topic    string   `json:"topic"`
	Title    string   `json:"title"`
	Message  string   `json:"message"`
	Click    string   `json:"click"`
	Priority int      `json:"priority"`
	Tags     []string `json:"tags"`
	Actions  []any    `json:"actions"`
}

// ntfyServer publishes as ntfy's server does (its errors by number).
func (w *world) ntfyServer() (*receiver, Channel) {
	s := w.serve(func(r *http.Request, body []byte) (int, string, error) {
		m, err := readNtfy(body)
		switch {
		case r.Method != http.MethodPost || r.URL.Path != "/" || r.URL.RawQuery != "":
			return http.StatusNotFound, `{"code":40401}`, fmt.Errorf("%s %s", r.Method, r.URL)
		case r.Header.Get("Authorization") != "Bearer tk_the-secret-of-ntfy":
			return http.StatusForbidden, `{"code":40301}`, errors.New("not the token")
		case err != nil:
			return http.StatusBadRequest, `{"code":40024}`, err
		case !regexp.MustCompile(`^[-_A-Za-z0-9]{1,64}$`).MatchString(m.Topic):
			return http.StatusBadRequest, `{"code":40009}`, fmt.Errorf("topic %q", m.Topic)
		case len(m.Title) > 1024:
			return http.StatusBadRequest, `{"code":40057}`, errors.New("the title is too long")
		case len(m.Message) > 4096:
			return http.StatusOK, `{"event":"message"}`, errors.New("this became an attachment")
		case len(m.Actions) > 0 || m.Priority < 1 || m.Priority > 5:
			return http.StatusBadRequest, `{"code":40018}`, errors.New("buttons, or no priority")
		}
		return http.StatusOK, `{"id":"x","event":"message"}`, nil
	})
	return s, Channel{Name: "phone", Kind: Ntfy, URL: broker.NewSecret(s.URL + "/hourkey-9d1f"), Token: broker.NewSecret("tk_the-secret-of-ntfy")}
}

func readNtfy(body []byte) (m ntfyRead, err error) {
	err = strictly(body, &m)
	return m, err
}

// --- the signed webhook

const (
	hookKey    = "0123456789abcdef0123456789abcdef"
	hookSecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=" // hookKey in base64
)

// hookRead is a CloudEvent, decoded apart from what encodes it.
type hookRead struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Subject     string          `json:"subject"`
	Time        string          `json:"time"`
	DataType    string          `json:"datacontenttype"`
	Data        json.RawMessage `json:"data"`
}

// hookServer takes what is signed by its secret.
func (w *world) hookServer() (*receiver, Channel) {
	s := w.serve(func(r *http.Request, body []byte) (int, string, error) {
		if err := w.verifyHook(r.Header, body); err != nil {
			return http.StatusUnauthorized, "", err
		}
		return http.StatusNoContent, "", nil
	})
	return s, Channel{Name: "siem", Kind: Webhook, URL: broker.NewSecret(s.URL + "/hook/the-secret-of-hook"), Secret: broker.NewSecret(hookSecret)}
}

func readHook(t testing.TB, r received) (m hookRead, told Told) {
	t.Helper()
	if err := errors.Join(strictly(r.body, &m), strictly(m.Data, &told)); err != nil {
		t.Fatal(err)
	}
	return m, told
}
