package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const keySet = `{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`

func TestKeysFromAPlaceThatOthersCanChangeAreRefused(t *testing.T) {
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(keySet)) }))
	defer thief.Close()
	redirects := httptest.NewServer(http.RedirectHandler(thief.URL, http.StatusFound))
	defer redirects.Close()
	for name, from := range map[string]string{
		"plain http to another host":        "http://hourkey.example/t/staging/jwks.json",
		"a host that only begins like ours": "http://127.0.0.1.example/jwks.json",
		"a redirect to another place":       redirects.URL,
		"another scheme":                    "ftp://127.0.0.1/jwks.json",
		"a file that is not there":          filepath.Join(t.TempDir(), "absent"),
	} {
		if _, err := loadKeySet(t.Context(), from); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if raw, err := loadKeySet(t.Context(), thief.URL); err != nil || string(raw) != keySet {
		t.Errorf("http on loopback: %q, %v", raw, err)
	}
}

func TestRunServesUntilItIsStopped(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(keys, []byte(keySet), 0o600); err != nil {
		t.Fatal(err)
	}
	arguments := []string{"-listen", "127.0.0.1:0", "-issuer", "https://hourkey.example/t/staging", "-keys", keys}
	if err := run(t.Context(), arguments, &bytes.Buffer{}); err == nil {
		t.Error("without an audience: no error")
	}
	ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	if err := run(ctx, append(arguments, "-audience", "https://orders.example"), &bytes.Buffer{}); err != nil {
		t.Errorf("stopped by its context: %v", err)
	}
}
