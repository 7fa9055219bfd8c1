package api

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

// answering starts a broker whose tunnels begin with handle.
func answering(t *testing.T, handle http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	client, _ := newTestClient(t, server.URL, nil)
	t.Cleanup(client.tunnels.CloseIdleConnections)
	return client
}

// switching accepts every tunnel and hands over what is in it.
func switching(serve func(*bufio.ReadWriter, net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", UpgradeTunnel)
		serve(buffered, conn)
	}
}

func to(host string) Tunnel { return Tunnel{Token: NewSecret("hkt_the-token"), Host: host} }

func TestProofIsWhatRFC9449Wants(t *testing.T) {
	client, _ := newTestClient(t, "https://hourkey.example", nil)
	now := time.Date(2026, 11, 21, 12, 0, 0, int(678*time.Millisecond), time.UTC)
	client.now = func() time.Time { return now }
	proof := client.signProof(NewSecret("hkt_the-token"))
	token, err := jwt.NewParser(jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithStrictDecoding()).Parse(proof, func(token *jwt.Token) (any, error) {
		want := map[string]any{"typ": "dpop+jwt", "alg": "EdDSA", "jwk": map[string]any{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(client.publicKey())}}
		if diff := cmp.Diff(want, token.Header); diff != "" {
			t.Error(diff)
		}
		return ed25519.PublicKey(client.publicKey()), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	claims := token.Claims.(jwt.MapClaims)
	if id, _ := claims["jti"].(string); len(id) < 16 {
		t.Errorf("jti %q", id)
	}
	delete(claims, "jti")
	sum := sha256.Sum256([]byte("hkt_the-token"))
	want := jwt.MapClaims{"htm": "GET", "htu": "https://hourkey.example/gateway/connect", "iat": float64(now.UnixMilli()) / 1000, "ath": base64.RawURLEncoding.EncodeToString(sum[:])}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Error(diff)
	}
}

func TestReplayedProofIsNotWhatWeSend(t *testing.T) {
	seen := map[string]bool{}
	client := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if proof := r.Header.Get(HeaderProof); seen[proof] || proof == "" {
			t.Errorf("proof %q", proof)
		}
		seen[r.Header.Get(HeaderProof)] = true
		switching(func(*bufio.ReadWriter, net.Conn) {})(w, r)
	})
	for range 3 {
		stream, err := client.OpenTunnel(t.Context(), to("api.example"))
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.Close()
	}
}

func TestTunnelCarriesBytesBothWaysAndClosesByHalves(t *testing.T) {
	for name, start := range map[string]func(*httptest.Server){"http": (*httptest.Server).Start, "https": (*httptest.Server).StartTLS} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if got := r.URL.RequestURI() + " " + r.Proto + " " + r.Header.Get("Authorization"); got != "/gateway/connect?plain=1&to=api.example HTTP/1.1 DPoP hkt_the-token" {
					t.Errorf("request %q", got)
				}
				switching(func(buffered *bufio.ReadWriter, conn net.Conn) {
					text, err := io.ReadAll(buffered) // until the other side has ended its half
					fmt.Fprintf(conn, "%s|%v", text, err)
				})(w, r)
			}))
			server.EnableHTTP2 = true // a tunnel asks for HTTP/1.1 all the same
			start(server)
			defer server.Close()
			var roots *x509.CertPool
			if server.TLS != nil {
				roots = x509.NewCertPool()
				roots.AddCert(server.Certificate())
			}
			client, _ := newTestClient(t, server.URL, roots)
			defer client.tunnels.CloseIdleConnections()
			ctx, cancel := context.WithCancel(t.Context())
			where := to("api.example")
			where.Plain = true
			stream, err := client.OpenTunnel(ctx, where)
			if err != nil {
				t.Fatal(err)
			}
			defer stream.Close()
			cancel() // it was for the opening alone
			if _, err := io.WriteString(stream, strings.Repeat("x", 100_000)); err != nil {
				t.Fatal(err)
			}
			if err := stream.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(stream); err != nil || string(text) != strings.Repeat("x", 100_000)+"|<nil>" {
				t.Errorf("%d bytes came back, %v", len(text), err)
			}
		})
	}
}

func TestTunnelRefusalIsTheBrokersProblem(t *testing.T) {
	client := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		answerProblem(w, http.StatusForbidden, Problem{Code: CodeExpired, Detail: "the lease has ended"})
	})
	_, err := client.OpenTunnel(t.Context(), to("api.example"))
	if problem, refused := AsProblem(err); !refused || problem.Code != CodeExpired || problem.Error() != "the lease has ended" {
		t.Error(err)
	}
}

func TestClockThatIsFarOffIsSaid(t *testing.T) {
	for name, step := range map[string]struct {
		status int
		date   time.Duration // of the broker's clock, against ours
		says   string
	}{
		"behind":           {http.StatusUnauthorized, 3 * time.Minute, "this machine's clock is 3m0s behind the broker's"},
		"ahead":            {http.StatusUnauthorized, -2 * time.Hour, "this machine's clock is 2h0m0s ahead of the broker's"},
		"right":            {http.StatusUnauthorized, 5 * time.Second, "another lease"},
		"about else":       {http.StatusForbidden, 3 * time.Minute, "another lease"},
		"no clock is said": {http.StatusUnauthorized, 0, "another lease"},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Now().Truncate(time.Second)
			client := answering(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Date"] = nil
				if step.date != 0 {
					w.Header().Set("Date", now.Add(step.date).UTC().Format(http.TimeFormat))
				}
				code := map[bool]string{true: CodeUnauthenticated, false: CodeForbidden}[step.status == http.StatusUnauthorized]
				answerProblem(w, step.status, Problem{Code: code, Detail: "the proof is refused", Next: "another lease"})
			})
			client.now = func() time.Time { return now }
			_, err := client.OpenTunnel(t.Context(), to("api.example"))
			if problem, refused := AsProblem(err); !refused || !strings.HasPrefix(problem.Next, step.says) {
				t.Errorf("%+v", problem)
			}
		})
	}
}

// The attack: a token that goes to another place than the broker, or is shown.
func TestAnswerThatIsNoTunnelGetsNothingMore(t *testing.T) {
	for name, handle := range map[string]http.HandlerFunc{
		"another protocol": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
				_ = conn.Close()
			}
		},
		"a page":           func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "welcome") },
		"a redirect":       func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"a proxy's page":   func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) },
		"a hung up answer": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"an endless header": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 2*maxTunnelHead))
			w.WriteHeader(http.StatusForbidden)
		},
	} {
		t.Run(name, func(t *testing.T) {
			client := answering(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != PathTunnel {
					t.Errorf("it went on to %s", r.URL)
				}
				handle(w, r)
			})
			stream, err := client.OpenTunnel(t.Context(), to("api.example"))
			if err == nil {
				_ = stream.Close()
				t.Fatal("it was taken for a tunnel")
			}
			if strings.Contains(err.Error(), "hkt_") {
				t.Error(err)
			}
		})
	}
}

func TestTunnelOpeningEndsWithItsContext(t *testing.T) {
	client := answering(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := client.OpenTunnel(ctx, to("api.example")); err == nil || !strings.Contains(err.Error(), "deadline") && !strings.Contains(err.Error(), "timeout") {
		t.Error(err)
	}
}
