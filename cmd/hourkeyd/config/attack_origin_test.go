package config

import (
	"strings"
	"testing"
)

// Browsers leave a scheme's own port out of Host and Origin: with it in the setting, nothing is answered.
func TestOriginWithThePortThatBrowsersLeaveOut(t *testing.T) {
	for text, want := range map[string]string{
		"origin: https://a.example:443\n":             "write https://a.example",
		"origin: http://localhost:80\n":               "write http://localhost",
		"origin: \"http://hourkey.localhost:8750\"\n": "expected https://", // passkeys are refused there: serve would fail
	} {
		if _, err := DecodeServer("/x/hourkey.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v", text, err)
		}
	}
	for text, want := range map[string]string{
		"listen: 127.0.0.1:80\n": "http://localhost", "listen: 127.0.0.1:443\n": "http://localhost:443",
		"listen: 127.0.0.1:443\ntls: {cert: c, key: k}\n": "https://localhost",
	} {
		if s, err := DecodeServer("/x/hourkey.yaml", []byte(text)); err != nil || s.Origin != want {
			t.Errorf("%q: got %q, %v", text, s.Origin, err)
		}
	}
}
