// Package vaulttest starts a real Vault for a test: the program that tools/vault builds, on a free loopback port,
// with its storage in memory.
//
// It owns the server it started and stops it by closing its stdin; it touches no other. It is imported by tests only.
package vaulttest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Version is the release of Vault that tools/vault builds.
const Version = "v1.21.1"

// ErrAbsent means that the program has not been built on this machine.
var ErrAbsent = errors.New("no Vault on this machine: build it with (cd tools/vault && go build -trimpath -ldflags=-s -o ~/.cache/hourkey/bin/vault-" + Version + " .), or set HOURKEY_VAULT to it")

const (
	startWithin = time.Minute
	callWithin  = 30 * time.Second
)

// Server is a running Vault. Its methods are safe for concurrent use, Stop excepted.
type Server struct {
	Address string // http://127.0.0.1:…
	Root    string // its root token

	process *exec.Cmd
	stdin   io.Closer // closing it, or our death, stops the server
	log     *bytes.Buffer
}

// Start starts a server for one test and stops it at the test's end. Where it has not been built the test is
// skipped, or fails if HOURKEY_TEST_ALL=1.
func Start(tb testing.TB) *Server {
	tb.Helper()
	server, err := New()
	if errors.Is(err, ErrAbsent) && os.Getenv("HOURKEY_TEST_ALL") != "1" {
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatalf("starting Vault: %v", err)
	}
	tb.Cleanup(server.Stop)
	return server
}

// New starts a server that the caller must Stop: for TestMain, where there is no test yet.
func New() (*Server, error) {
	program, err := binary()
	if err != nil {
		return nil, err
	}
	s := &Server{log: &bytes.Buffer{}, process: exec.Command(program)}
	s.process.Env, s.process.Stderr = []string{"PATH=/usr/bin:/bin"}, s.log
	if s.stdin, err = s.process.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	if err := s.await(out); err != nil {
		s.Stop()
		return nil, fmt.Errorf("vault did not start: %w: %s", err, s.log)
	}
	return s, nil
}

// await reads the line that says where the server is.
func (s *Server) await(out io.Reader) error {
	late := time.AfterFunc(startWithin, func() { _ = s.process.Process.Kill() })
	defer late.Stop()
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, &struct{ Address, Root *string }{&s.Address, &s.Root})
}

// Stop ends the server. It may be called twice.
func (s *Server) Stop() {
	if s.process == nil {
		return
	}
	_ = s.stdin.Close()
	_ = s.process.Wait()
	s.process = nil
}

// MemoryKB is the server's resident memory.
func (s *Server) MemoryKB(tb testing.TB) int {
	tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.process.Process.Pid))
	if err != nil {
		tb.Fatal(err)
	}
	var size, resident int
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		tb.Fatal(err)
	}
	return resident * os.Getpagesize() / 1024
}

// Write sends data to a path as root, and fails the test if Vault refuses.
func (s *Server) Write(tb testing.TB, path string, data any) map[string]any {
	tb.Helper()
	return s.must(tb, http.MethodPost, path, data)
}

// Read reads a path as root.
func (s *Server) Read(tb testing.TB, path string) map[string]any {
	tb.Helper()
	return s.must(tb, http.MethodGet, path, nil)
}

// Delete deletes a path as root.
func (s *Server) Delete(tb testing.TB, path string) {
	tb.Helper()
	s.must(tb, http.MethodDelete, path, nil)
}

func (s *Server) must(tb testing.TB, method, path string, data any) map[string]any {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callWithin)
	defer cancel()
	status, answer, err := Call(ctx, s.Address, s.Root, method, path, data)
	if err != nil || status >= http.StatusBadRequest {
		tb.Fatalf("%s %s: status %d, %v, %v", method, path, status, err, answer["errors"])
	}
	return answer
}

// Call makes one bare call, with any token. LIST is a method of Vault's own.
func Call(ctx context.Context, address, token, method, path string, data any) (status int, answer map[string]any, err error) {
	return CallWith(ctx, http.DefaultClient, address, token, method, path, data)
}

// CallWith is Call by a client of the caller's.
func CallWith(ctx context.Context, client *http.Client, address, token, method, path string, data any) (status int, answer map[string]any, err error) {
	var body io.Reader
	if data != nil {
		text, err := json.Marshal(data)
		if err != nil {
			return 0, nil, err
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, address+"/v1/"+path, body)
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("X-Vault-Token", token)
	request.Header.Set("X-Vault-Request", "true")
	if method == http.MethodPatch {
		request.Header.Set("Content-Type", "application/merge-patch+json")
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || len(text) == 0 {
		return response.StatusCode, nil, err
	}
	return response.StatusCode, answer, json.Unmarshal(text, &answer)
}

// binary is HOURKEY_VAULT, else where test.sh puts it.
func binary() (string, error) {
	if path := os.Getenv("HOURKEY_VAULT"); path != "" {
		return path, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "hourkey", "bin", "vault-"+Version)
	if _, err := os.Stat(path); err != nil {
		return "", ErrAbsent
	}
	return path, nil
}
