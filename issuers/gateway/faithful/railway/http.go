package railway

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The most that a request may carry.
const (
	documentLimit = 10 << 20
	uploadLimit   = 64 << 20
)

// ServeHTTP answers POST and GET /graphql/v2, and the upload of code at
// POST /project/{project}/environment/{environment}/up.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/graphql/v2" && (r.Method == http.MethodPost || r.Method == http.MethodGet):
		s.serveGraphQL(w, r)
	case strings.HasSuffix(r.URL.Path, "/up") && r.Method == http.MethodPost:
		s.serveUpload(w, r)
	default:
		http.NotFound(w, r)
	}
}

// request is one GraphQL request, as clients send it.
type request struct {
	Query         string         `json:"query"`
	OperationName string         `json:"operationName"`
	Variables     map[string]any `json:"variables"`
	Extensions    struct {
		PersistedQuery struct {
			Hash string `json:"sha256Hash"`
		} `json:"persistedQuery"`
	} `json:"extensions"`
}

func (s *Server) serveGraphQL(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, documentLimit))
	if err != nil {
		writeJSON(w, http.StatusRequestEntityTooLarge, failure("request entity too large", "BAD_REQUEST"))
		return
	}
	requests, batch, err := readRequests(r, body)
	if err != nil {
		writeJSON(w, http.StatusBadRequest, failure(err.Error(), "BAD_REQUEST"))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.admit(w, r.Header) {
		return
	}
	c := s.call(r.Header)
	c.sent = string(body) + r.URL.RawQuery
	status, answers := http.StatusOK, make([]any, 0, len(requests))
	for _, q := range requests {
		answer, ok := s.answer(c, q)
		if !ok {
			status = http.StatusBadRequest
		}
		answers = append(answers, answer)
	}
	if s.disk != nil && s.disk.sync(s.st) != nil {
		writeJSON(w, http.StatusInternalServerError, failure("storage failed", "INTERNAL_SERVER_ERROR"))
		return
	}
	if batch {
		writeJSON(w, http.StatusOK, answers)
		return
	}
	writeJSON(w, status, answers[0])
}

// call begins a call; the caller holds the lock.
func (s *Server) call(h http.Header) *call {
	now := s.now().UTC()
	s.sweep(now)
	return &call{s: s, st: s.st, caller: s.st.authenticate(h), now: now}
}

// readRequests understands the ways in which clients send a request: JSON, a JSON list of them, the bare
// document as application/graphql, and a query string.
func readRequests(r *http.Request, body []byte) (all []request, batch bool, err error) {
	if r.Method == http.MethodGet {
		q, err := readQueryString(r)
		return []request{q}, false, err
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/graphql" {
		return []request{{Query: string(body)}}, false, nil
	}
	body = bytes.TrimSpace(body)
	if bytes.HasPrefix(body, []byte("[")) {
		err = decode(body, &all)
		if err == nil && len(all) == 0 {
			err = fmt.Errorf("a batch of no requests")
		}
		return all, true, err
	}
	var q request
	err = decode(body, &q)
	return []request{q}, false, err
}

func readQueryString(r *http.Request) (request, error) {
	values := r.URL.Query()
	q := request{Query: values.Get("query"), OperationName: values.Get("operationName")}
	for name, into := range map[string]any{"variables": &q.Variables, "extensions": &q.Extensions} {
		if text := values.Get(name); text != "" {
			if err := decode([]byte(text), into); err != nil {
				return request{}, err
			}
		}
	}
	return q, nil
}

func decode(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("the body is not JSON as expected: %w", err)
	}
	return nil
}

// recall finds the text of a persisted query, and keeps the one that was sent with its hash.
func (s *Server) recall(q *request) error {
	hash := q.Extensions.PersistedQuery.Hash
	if hash == "" {
		return nil
	}
	if q.Query == "" {
		q.Query = s.persisted[hash]
		if q.Query == "" {
			return fmt.Errorf("PersistedQueryNotFound")
		}
		return nil
	}
	sum := sha256.Sum256([]byte(q.Query))
	if hex.EncodeToString(sum[:]) != hash {
		return fmt.Errorf("provided sha does not match query")
	}
	s.persisted[hash] = q.Query
	return nil
}

// spending is what a token used of the hour that began at since.
type spending struct {
	since time.Time
	count int
}

// admit counts a request against its token's hour, and answers 429 when the hour is used up.
func (s *Server) admit(w http.ResponseWriter, h http.Header) bool {
	if s.limit == 0 {
		return true
	}
	token, now := h.Get("Authorization")+h.Get("Project-Access-Token"), s.now()
	used := s.spent[token]
	if now.Sub(used.since) >= time.Hour {
		used = spending{since: now}
	}
	used.count++
	s.spent[token] = used
	left := used.since.Add(time.Hour).Sub(now)
	w.Header().Set("X-RateLimit-Limit", strconv.Itoa(s.limit))
	w.Header().Set("X-RateLimit-Remaining", strconv.Itoa(max(0, s.limit-used.count)))
	w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(used.since.Add(time.Hour).Unix(), 10))
	if used.count <= s.limit {
		return true
	}
	w.Header().Set("Retry-After", strconv.Itoa(int(left.Seconds())+1))
	writeJSON(w, http.StatusTooManyRequests, failure("Too many requests", "RATE_LIMITED"))
	return false
}

func failure(message, code string) any {
	return map[string]any{"errors": []any{map[string]any{"message": message, "extensions": map[string]any{"code": code}}}}
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"errors":[{"message":"internal error"}]}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // nobody is left to tell when the caller is gone
}
