package api

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker/brokertest/freeport"
)

// serve starts a broker that gives tokens and leaves everything else to handle.
func serve(t *testing.T, handle http.HandlerFunc) (*Client, *[]time.Duration) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+PathToken, func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, http.StatusOK, map[string]any{"access_token": "token-secret", "token_type": "Bearer", "expires_in": 600})
	})
	mux.HandleFunc("/", handle)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return newTestClient(t, server.URL, nil)
}

// newTestClient makes a client that notes its pauses instead of taking them.
func newTestClient(t *testing.T, origin string, roots *x509.CertPool) (*Client, *[]time.Duration) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	pauses := &[]time.Duration{}
	client, err := NewClient(ClientConfig{
		Origin: origin, Agent: "claude-code", Key: key, Roots: roots, Now: time.Now,
		Sleep: func(ctx context.Context, d time.Duration) error {
			*pauses = append(*pauses, d)
			return ctx.Err()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.http.CloseIdleConnections)
	return client, pauses
}

func answerJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

func answerProblem(w http.ResponseWriter, status int, problem Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(problem)
}

func TestParseOrigin(t *testing.T) {
	for text, want := range map[string]string{
		"https://hourkey.example":         "https://hourkey.example",
		"https://Hourkey.Example:8443/":   "https://hourkey.example:8443",
		"http://localhost:7000":           "http://localhost:7000",
		"http://127.0.0.1:7000":           "http://127.0.0.1:7000",
		"http://[::1]:7000":               "http://[::1]:7000",
		"http://hourkey.example":          "", // a token in the open
		"http://127.0.0.1.evil.example/":  "",
		"http://10.0.0.1":                 "",
		"https://user:pw@hourkey.example": "",
		"https://hourkey.example/path":    "",
		"https://hourkey.example/?a=b":    "",
		"ftp://hourkey.example":           "",
		"hourkey.example":                 "",
		"https://":                        "",
		"":                                "",
	} {
		got, err := ParseOrigin(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("ParseOrigin(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
}

func TestNameThatResolvesToAnotherMachineGetsNoPlainHTTP(t *testing.T) {
	if err := loopbackOnly("tcp", "10.0.0.1:80", nil); err == nil {
		t.Error("dialled another machine in the open")
	}
	if err := loopbackOnly("tcp", "127.0.0.1:80", nil); err != nil {
		t.Error(err)
	}
}

func TestAssertionIsWhatTheBrokerExpects(t *testing.T) {
	client, _ := newTestClient(t, "https://hourkey.example", nil)
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	client.now = func() time.Time { return now }
	parts := strings.Split(client.signAssertion(), ".")
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !ed25519.Verify(client.publicKey(), []byte(parts[0]+"."+parts[1]), signature) {
		t.Fatal("the signature does not verify")
	}
	header, _ := base64.RawURLEncoding.DecodeString(parts[0])
	if string(header) != `{"alg":"EdDSA","typ":"client-authentication+jwt"}` {
		t.Errorf("header %s", header)
	}
	var claims map[string]any
	raw, _ := base64.RawURLEncoding.DecodeString(parts[1])
	if err := json.Unmarshal(raw, &claims); err != nil {
		t.Fatal(err)
	}
	if id, _ := claims["jti"].(string); len(id) < 16 {
		t.Errorf("jti %q", id)
	}
	delete(claims, "jti")
	want := map[string]any{
		"iss": "claude-code", "sub": "claude-code", "aud": "https://hourkey.example",
		"iat": float64(now.Unix() - 10), "exp": float64(now.Unix() + 49),
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Error(diff)
	}
}

// The example of RFC 8037 appendix A.3.
func TestThumbprint(t *testing.T) {
	x, _ := base64.RawURLEncoding.DecodeString("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
	if got := Thumbprint(x); got != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Error(got)
	}
}

func TestLostAnswerIsAskedAgainWithTheSameIdempotencyKey(t *testing.T) {
	var mu sync.Mutex // an answer that is lost orders nothing
	var keys []string
	client, pauses := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		keys = append(keys, r.Header.Get(HeaderIdempotencyKey))
		if len(keys) < 3 {
			panic(http.ErrAbortHandler) // the connection dies without an answer
		}
		answerJSON(w, http.StatusCreated, Request{ID: "r1", State: StateApproved})
	})
	request, err := client.Submit(t.Context(), RequestCreate{Task: "t"}, "the-key")
	if err != nil || request.ID != "r1" {
		t.Fatal(request, err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, key := range keys {
		if key != "the-key" {
			t.Errorf("keys %q", keys)
		}
	}
	if len(*pauses) == 0 {
		t.Error("asked again without a pause")
	}
}

func TestBrokerThatIsGoneIsGivenUp(t *testing.T) {
	port, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	gone := fmt.Sprintf("http://127.0.0.1:%d", port)
	client, pauses := newTestClient(t, gone, nil)
	_, err = client.Tasks(t.Context())
	if err == nil || !strings.Contains(err.Error(), "cannot reach the broker at "+gone) {
		t.Fatal(err)
	}
	if len(*pauses) != attempts-1 {
		t.Errorf("pauses %v", *pauses)
	}
	for i := 1; i < len(*pauses); i++ {
		if (*pauses)[i] < (*pauses)[0]/2 {
			t.Errorf("pauses do not grow: %v", *pauses)
		}
	}
}

func TestSlowDownIsObeyed(t *testing.T) {
	var calls int
	client, pauses := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls++; calls == 1 {
			w.Header().Set("Retry-After", "7")
			answerProblem(w, http.StatusTooManyRequests, Problem{Code: CodeSlowDown, Detail: "too many"})
			return
		}
		answerJSON(w, http.StatusOK, TaskList{})
	})
	if _, err := client.Tasks(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(*pauses) != 1 || (*pauses)[0] < 7*time.Second {
		t.Errorf("pauses %v", *pauses)
	}
}

func TestRetryAfterBeyondPatienceIsToldNotWaitedFor(t *testing.T) {
	client, pauses := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "86400")
		answerProblem(w, http.StatusTooManyRequests, Problem{Code: CodeSlowDown, Detail: "tomorrow"})
	})
	_, err := client.Tasks(t.Context())
	if problem, ok := AsProblem(err); !ok || problem.Code != CodeSlowDown || len(*pauses) != 0 {
		t.Error(err, *pauses)
	}
}

func TestDenialIsNotAskedAgain(t *testing.T) {
	var calls int
	want := Problem{
		Type: PathProblems + CodeDenied, Title: "no", Status: 403, Detail: "the task does not give that", Code: CodeDenied, Next: "ask for less",
		Reasons: []Reason{{Where: "policies/tasks/orders.yaml:4", Rule: "fix-orders-data", Outcome: "deny", Text: "gives no delete"}},
	}
	client, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		calls++
		answerProblem(w, http.StatusForbidden, want)
	})
	_, err := client.Submit(t.Context(), RequestCreate{}, NewIdempotencyKey())
	problem, ok := AsProblem(err)
	if !ok || calls != 1 {
		t.Fatal(err, calls)
	}
	if diff := cmp.Diff(&want, problem); diff != "" {
		t.Error(diff)
	}
}

func TestRedirectWithTheTokenIsNotFollowed(t *testing.T) {
	var stolen atomic.Bool
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stolen.Store(true) }))
	defer thief.Close()
	client, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
	})
	if _, err := client.Tasks(t.Context()); err == nil || !strings.Contains(err.Error(), "redirect") {
		t.Error(err)
	}
	if stolen.Load() {
		t.Error("the redirect was followed")
	}
}

func TestEndlessAnswerIsCutOff(t *testing.T) {
	client, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.Copy(w, io.LimitReader(neverEnding{}, maxAnswer*2))
	})
	if _, err := client.Tasks(t.Context()); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Error(err)
	}
}

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestProxyPageIsNotTakenForTheBroker(t *testing.T) {
	for name, handle := range map[string]http.HandlerFunc{
		"an error": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<h1>Sign in</h1>", http.StatusForbidden) },
		"success":  func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<h1>Sign in</h1>") },
	} {
		client, _ := serve(t, handle)
		_, err := client.Tasks(t.Context())
		if err == nil || !strings.Contains(err.Error(), "is not a broker's") || strings.Contains(err.Error(), "Sign in") {
			t.Error(name, err)
		}
	}
}

func TestTokenTheBrokerNoLongerTakesIsRenewedOnce(t *testing.T) {
	var calls int
	client, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls++; calls == 2 {
			answerProblem(w, http.StatusUnauthorized, Problem{Code: CodeUnauthenticated, Detail: "old token"})
			return
		}
		answerJSON(w, http.StatusOK, TaskList{})
	})
	for range 2 {
		if _, err := client.Tasks(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if calls != 3 {
		t.Errorf("%d calls", calls)
	}
}

func TestTokenIsKeptUntilShortlyBeforeItsEnd(t *testing.T) {
	var tokens int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == PathToken {
			tokens++
			answerJSON(w, http.StatusOK, map[string]any{"access_token": "x", "token_type": "Bearer", "expires_in": 100})
			return
		}
		answerJSON(w, http.StatusOK, TaskList{})
	}))
	defer server.Close()
	client, _ := newTestClient(t, server.URL, nil)
	now := time.Now()
	client.now = func() time.Time { return now }
	for _, pause := range []time.Duration{0, 80 * time.Second, 15 * time.Second} {
		now = now.Add(pause)
		if _, err := client.Tasks(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if tokens != 2 {
		t.Errorf("%d tokens, want 2: the first serves twice, then is too near its end", tokens)
	}
}

func TestTokenRefusalSaysTheNextStep(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, http.StatusBadRequest, TokenError{Error: "unauthorized_client", Description: "its owner has not signed it; ask alice"})
	}))
	defer server.Close()
	client, _ := newTestClient(t, server.URL, nil)
	_, err := client.Tasks(t.Context())
	problem, ok := AsProblem(err)
	if !ok || problem.Code != CodeForbidden || problem.Detail != "its owner has not signed it" || problem.Next != "ask alice" {
		t.Errorf("%+v", problem)
	}
}

func TestBrokerUnderAnotherAuthorityIsRefusedAtOnce(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == PathToken {
			answerJSON(w, http.StatusOK, map[string]any{"access_token": "x", "token_type": "Bearer", "expires_in": 100})
			return
		}
		answerJSON(w, http.StatusOK, TaskList{})
	}))
	server.Config.ErrorLog = quiet()
	server.StartTLS()
	defer server.Close()
	client, pauses := newTestClient(t, server.URL, nil) // the system's authorities did not sign it
	if _, err := client.Tasks(t.Context()); err == nil || len(*pauses) != 0 {
		t.Error(err, *pauses)
	}
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	trusting, _ := newTestClient(t, server.URL, roots)
	if _, err := trusting.Tasks(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAwaitGoesOnUntilDecided(t *testing.T) {
	var polls int
	client, pauses := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("wait") != "30s" {
			t.Errorf("wait=%q", r.URL.Query().Get("wait"))
		}
		polls++
		state := StatePending
		if polls == 3 {
			state = StateDenied
		}
		answerJSON(w, http.StatusOK, Request{ID: "r1", State: state})
	})
	request, err := client.Await(t.Context(), "r1")
	if err != nil || request.State != StateDenied || len(*pauses) != 2 {
		t.Error(request, err, *pauses)
	}
}

func TestFollowShowsWhatIsStillPending(t *testing.T) {
	var polls int
	client, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		polls++
		request := Request{ID: "r1", State: StatePending, TTLSeconds: int64(polls)}
		if polls == 3 {
			request.State = StateApproved
		}
		answerJSON(w, http.StatusOK, request)
	})
	var seen []int64
	request, err := client.Follow(t.Context(), "r1", func(r Request) { seen = append(seen, r.TTLSeconds) })
	if err != nil || request.State != StateApproved || !slices.Equal(seen, []int64{1, 2}) {
		t.Error(request, err, seen)
	}
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	client, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	time.AfterFunc(50*time.Millisecond, func() { cancel(stop) })
	if _, err := client.Await(ctx, "r1"); !errors.Is(err, stop) {
		t.Error(err)
	}
}

func TestIDThatIsAPathStaysOneSegment(t *testing.T) {
	client, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.URL.EscapedPath(); got != "/v1/leases/..%2F..%2Fv1%2Ffreeze%3Fx" {
			t.Errorf("path %q", got)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	if err := client.Release(t.Context(), "../../v1/freeze?x"); err != nil {
		t.Error(err)
	}
}

func TestUnreadableCredentialIsNotQuoted(t *testing.T) {
	client, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"credentials":[{"values":{"PGPASSWORD":"hunter2"},"lease":hunter2}]}`)
	})
	if _, err := client.Collect(t.Context(), "r1"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}

func TestClientPrintsNoToken(t *testing.T) {
	client, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, http.StatusOK, TaskList{}) })
	if _, err := client.Tasks(t.Context()); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "%v %+v", client.token, client.token)
	if strings.Contains(out.String(), "token-secret") {
		t.Error(out.String())
	}
}

func TestEnrolmentIsSentOnce(t *testing.T) {
	var calls atomic.Int64
	client, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		var body EnrollRequest
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Code != "the-code" || strings.Contains(body.Proof, "the-code") {
			t.Errorf("%+v %v", body, err)
		}
		panic(http.ErrAbortHandler)
	})
	if _, err := client.Enroll(t.Context(), NewSecret("the-code")); err == nil || strings.Contains(err.Error(), "the-code") {
		t.Error(err)
	}
	if calls.Load() != 1 {
		t.Errorf("%d calls", calls.Load())
	}
}

// quiet drops what a test's server has to say about handshakes that are meant to fail.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
