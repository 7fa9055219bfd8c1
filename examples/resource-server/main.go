// Command resource-server runs the reference service against a broker:
//
//	go run ./examples/resource-server -issuer http://127.0.0.1:8750/t/staging -audience https://orders.example
//
// It takes the key set from -keys, a file or a URL, which is the issuer's jwks.json when not given.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/hourkey/hourkey/examples/resource-server/service"
)

const maxKeySet = 64 << 10 // bytes

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "resource-server: error:", err)
		os.Exit(1) //nolint:gocritic // stop has nothing left to undo
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("resource-server", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:8090", "address to serve on")
	issuer := flags.String("issuer", "", "the one token issuer to trust: BROKER/t/ENVIRONMENT")
	audience := flags.String("audience", "", "the name of this service in the claim aud")
	keys := flags.String("keys", "", "key set: a file or a URL (default ISSUER/jwks.json)")
	ask := flags.Bool("ask", false, "ask the broker about each token, so that one that was revoked is refused at once")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *keys == "" {
		*keys = *issuer + "/jwks.json"
	}
	keySet, err := loadKeySet(ctx, *keys)
	if err != nil {
		return fmt.Errorf("loading the key set: %w", err)
	}
	verifier, err := service.NewVerifier(*issuer, *audience, keySet, time.Now)
	if err != nil {
		return err
	}
	if *ask {
		verifier.Ask = asker(*issuer + "/introspect")
	}
	fmt.Fprintf(out, "resource-server: serving on http://%s for tokens of %s\n", *listen, *issuer)
	return serve(ctx, *listen, service.New(verifier))
}

// serve ends with ctx, after the calls under way.
func serve(ctx context.Context, address string, handler http.Handler) error {
	server := &http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		stopped <- server.Shutdown(grace)
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

// loadKeySet reads a file, or fetches a URL over https (plain http from loopback only: whoever can
// change the answer chooses the keys).
func loadKeySet(ctx context.Context, from string) ([]byte, error) {
	if !strings.Contains(from, "://") {
		return os.ReadFile(from)
	}
	u, err := url.Parse(from)
	if err != nil {
		return nil, errors.New("it is not a URL")
	}
	if host := u.Hostname(); u.Scheme != "https" && (u.Scheme != "http" || host != "localhost" && host != "127.0.0.1" && host != "::1") {
		return nil, errors.New("its URL is neither https nor http on loopback")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer was %s", response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, maxKeySet))
}

// asker asks an introspection endpoint (RFC 7662). Whatever goes wrong is an error: the caller refuses.
func asker(endpoint string) func(context.Context, string) (bool, error) {
	client := &http.Client{Timeout: 5 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return func(ctx context.Context, token string) (bool, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(url.Values{"token": {token}}.Encode()))
		if err != nil {
			return false, err
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		response, err := client.Do(request)
		if err != nil {
			return false, err
		}
		defer response.Body.Close()
		var answer struct {
			Active bool `json:"active"`
		}
		if response.StatusCode != http.StatusOK {
			return false, fmt.Errorf("the broker answered %d", response.StatusCode)
		}
		err = json.NewDecoder(io.LimitReader(response.Body, maxKeySet)).Decode(&answer)
		return answer.Active, err
	}
}
