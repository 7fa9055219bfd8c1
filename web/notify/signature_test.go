package notify

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// verifyHook is a receiver's own check, written from RFC 2104 and not from our code: an inner and an outer hash
// over a padded key.
func (w *world) verifyHook(header http.Header, body []byte) error {
	id, at := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil || id == "" || strings.ContainsAny(id, ". ") {
		return fmt.Errorf("id %q, timestamp %q", id, at)
	}
	if age := w.Clock.Now().Sub(time.Unix(seconds, 0)); age > 5*time.Minute || age < -5*time.Minute {
		return fmt.Errorf("signed %s ago", age)
	}
	var inner, outer [64]byte
	copy(inner[:], hookKey)
	copy(outer[:], hookKey)
	for i := range inner {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	hash := sha256.Sum256(append(inner[:], id+"."+at+"."+string(body)...))
	hash = sha256.Sum256(append(outer[:], hash[:]...))
	want := "v1," + base64.StdEncoding.EncodeToString(hash[:])
	if subtle.ConstantTimeCompare([]byte(want), []byte(header.Get("webhook-signature"))) != 1 {
		return fmt.Errorf("the signature %q does not hold", header.Get("webhook-signature"))
	}
	return nil
}

// A third program agrees: OpenSSL.
func TestSignatureHoldsForOpenSSL(t *testing.T) {
	program := installed(t, "openssl", "openssl")
	w := newWorld(t)
	server, channel := w.hookServer()
	teller := w.teller(channel)
	w.MustAsk("staging", "db:public.orders:delete")
	teller.run()
	got := oneOf(t, server.all())

	command := exec.CommandContext(t.Context(), program, "dgst", "-sha256", "-mac", "HMAC", "-macopt", "hexkey:"+hex.EncodeToString([]byte(hookKey)), "-binary")
	command.Stdin = strings.NewReader(got.header.Get("webhook-id") + "." + got.header.Get("webhook-timestamp") + "." + string(got.body))
	mac, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := "v1," + base64.StdEncoding.EncodeToString(mac); got.header.Get("webhook-signature") != want {
		t.Errorf("signature %s, want %s", got.header.Get("webhook-signature"), want)
	}
}

func TestChangedWebhookDoesNotVerify(t *testing.T) {
	w := newWorld(t)
	server, channel := w.hookServer()
	teller := w.teller(channel)
	w.MustAsk("staging", "db:public.orders:delete")
	teller.run()
	got := oneOf(t, server.all())
	for name, change := range map[string]func(http.Header, []byte) []byte{
		"the body": func(_ http.Header, body []byte) []byte {
			return []byte(strings.Replace(string(body), "staging", "nowhere", 1))
		},
		"the id": func(h http.Header, body []byte) []byte { h.Set("webhook-id", "other-1"); return body },
		"the time": func(h http.Header, body []byte) []byte {
			at, _ := strconv.Atoi(h.Get("webhook-timestamp"))
			h.Set("webhook-timestamp", strconv.Itoa(at+1))
			return body
		},
	} {
		header := got.header.Clone()
		body := change(header, got.body)
		if w.verifyHook(header, body) == nil {
			t.Errorf("%s was changed, and the signature holds", name)
		}
	}
	w.Clock.Advance(time.Hour)
	if w.verifyHook(got.header, got.body) == nil {
		t.Error("a message of an hour ago is taken again")
	}
}

// Each try is signed anew: a receiver that was away for half an hour would refuse an old time.
func TestRetryIsSignedWithItsOwnTime(t *testing.T) {
	w := newWorld(t)
	server, channel := w.hookServer()
	teller := w.teller(channel)
	w.MustAsk("staging", "db:public.orders:delete")
	server.answers(status(http.StatusBadGateway))
	teller.before = func() {
		if len(teller.pauses) == 18 { // half an hour
			server.answers(nil)
		}
	}
	teller.run()
	oneOf(t, server.all()) // which verified it
}

// installed finds a program, or says which Debian package brings it.
func installed(t *testing.T, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, "no "+name+": install "+debian)
	}
	return path
}

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("HOURKEY_TEST_ALL") == "1" {
		t.Fatal(what)
	}
	t.Skip(what)
}
