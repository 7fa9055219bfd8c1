package railway_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/hourkey/hourkey/issuers/gateway/faithful/railway"
	"github.com/hourkey/hourkey/issuers/gateway/lists"
)

// clock is a time that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)} }

func schema(t testing.TB) *ast.Schema {
	t.Helper()
	s, err := lists.Railway()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// seeded makes the world of the drill, always with the same ids.
func seeded(t testing.TB) (*railway.Server, railway.World) {
	t.Helper()
	s := railway.New(railway.Config{Now: newClock().Now, Random: rand.NewChaCha8([32]byte{1}), Schema: schema(t)})
	return s, s.Seed()
}

type answer struct {
	Status int             `json:"-"`
	Raw    string          `json:"-"`
	Data   json.RawMessage `json:"data"`
	Errors []struct {
		Message string `json:"message"`
		Path    []any  `json:"path"`
	} `json:"errors"`
}

// into reads the data of an answer that must have no errors.
func (a answer) into(t testing.TB, v any) {
	t.Helper()
	if len(a.Errors) > 0 {
		t.Fatalf("unexpected errors: %s", a.Raw)
	}
	if err := json.Unmarshal(a.Data, v); err != nil {
		t.Fatalf("%v: %s", err, a.Raw)
	}
}

// post sends a document with a bearer token.
func post(t testing.TB, s http.Handler, token, document string, variables map[string]any) answer {
	t.Helper()
	return send(t, s, "Authorization", "Bearer "+token, document, variables)
}

func send(t testing.TB, s http.Handler, header, token, document string, variables map[string]any) answer {
	t.Helper()
	body, err := json.Marshal(map[string]any{"query": document, "variables": variables})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/graphql/v2", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(header, token)
	return do(t, s, r)
}

func do(t testing.TB, s http.Handler, r *http.Request) answer {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	a := answer{Status: w.Code, Raw: w.Body.String()}
	if w.Body.Len() > 0 && w.Body.Bytes()[0] == '{' {
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
			t.Fatalf("the answer is not JSON: %v: %s", err, a.Raw)
		}
	}
	return a
}

// kinds counts the effects of a call by kind and what.
func kinds(all []railway.Effect) map[string]int {
	count := map[string]int{}
	for _, e := range all {
		count[e.Kind+" "+e.What]++
	}
	return count
}
