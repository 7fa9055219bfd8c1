package kubetest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

// Refusal is an answer of the server that is no success.
type Refusal struct {
	Status  int    `json:"-"`
	Reason  string // "Forbidden", "NotFound", "Invalid"
	Message string
}

func (r *Refusal) Error() string { return fmt.Sprintf("%d %s: %s", r.Status, r.Reason, r.Message) }

// Client gives a client that trusts the server's authority and nothing else.
func (s *Server) Client() *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CA)
	return &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true},
		Timeout:   time.Minute,
	}
}

// Do makes one call over a connection that all calls share: who calls is said by the token. Header are pairs of names and values.
func (s *Server) Do(ctx context.Context, token, method, path string, body, answer any, header ...string) error {
	return s.DoOver(ctx, s.client, token, method, path, body, answer, header...)
}

// DoOver is Do with a client that may have a connection already.
func (s *Server) DoOver(ctx context.Context, client *http.Client, token, method, path string, body, answer any, header ...string) error {
	text, isText := body.(string)
	raw := []byte(text)
	if body != nil && !isText {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, s.URL+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return read(response, answer)
}

func read(response *http.Response, answer any) error {
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode > 299 {
		refusal := &Refusal{Status: response.StatusCode}
		_ = json.Unmarshal(raw, refusal)
		refusal.Status = response.StatusCode
		return refusal
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(raw, answer)
}

// Apply makes or changes the objects of a YAML text as the superuser, by server-side apply.
func (s *Server) Apply(tb testing.TB, text string) {
	tb.Helper()
	if err := s.TryApply(tb.Context(), s.token, text); err != nil {
		tb.Fatal(err)
	}
}
