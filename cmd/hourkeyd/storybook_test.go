package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// storybookRun runs the command with these arguments until ctx ends.
func storybookRun(ctx context.Context, out io.Writer, args ...string) error {
	m := &Main{Stdout: out, Stderr: io.Discard}
	c := m.storybookCommand()
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetArgs(args)
	return c.ExecuteContext(ctx)
}

var storyPages = regexp.MustCompile(`href="([^"#]+\.html)"`)

func TestStorybookIsServed(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	read, written := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- storybookRun(ctx, written) }()
	line := make([]byte, 100)
	n, err := read.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.TrimSpace(string(line[:n]))
	if !strings.HasPrefix(at, "http://127.0.0.1:") {
		t.Fatalf("it is at %s", at)
	}
	index := fetch(t, at)
	for _, found := range storyPages.FindAllStringSubmatch(index, -1) {
		if page := fetch(t, at+found[1]); !strings.Contains(page, "</html>") {
			t.Errorf("%s: %s", found[1], page)
		}
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("it does not end")
	}
}

func fetch(t *testing.T, address string) string {
	t.Helper()
	answer, err := http.Get(address) //nolint:noctx // a test's
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("%s: %s %v", address, answer.Status, err)
	}
	return string(text)
}

func TestStorybookIsServedOnThisMachineAlone(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "10.0.0.1:0", "nonsense"} {
		if err := storybookRun(t.Context(), io.Discard, "--listen", address); err == nil {
			t.Errorf("%s: it is served", address)
		}
	}
}

func TestStorybookIsWrittenTwice(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "a", "book")
	for range 2 {
		var out bytes.Buffer
		if err := storybookRun(t.Context(), &out, "--out", folder); err != nil {
			t.Fatal(err)
		}
		if want := "open " + filepath.Join(folder, "index.html"); !strings.Contains(out.String(), want) {
			t.Errorf("%q says no %q", out.String(), want)
		}
	}
	index, err := os.ReadFile(filepath.Join(folder, "index.html"))
	if err != nil {
		t.Fatal(err)
	}
	pages := storyPages.FindAllStringSubmatch(string(index), -1)
	if len(pages) < 20 {
		t.Errorf("%d pages", len(pages))
	}
	for _, found := range pages {
		if _, err := os.Stat(filepath.Join(folder, found[1])); err != nil {
			t.Error(err)
		}
	}
	if err := storybookRun(t.Context(), io.Discard, "--out", folder, "--listen", "127.0.0.1:0"); err == nil {
		t.Error("--out and --listen together")
	}
}
