// Package dextest gives tests of single sign-on somebody to ask: a real dex, started on loopback in a
// temporary directory, and a Liar, a token issuer of our own that says whatever a test wants.
//
// It knows nothing of Hourkey, so that what it proves, it proves from outside.
package dextest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/hourkey/hourkey/broker/brokertest/freeport"
)

// Version is that of tools/dex/go.mod.
const Version = "v0.0.0-20260303133905-11d2eeb52b42"

const startsIn = time.Minute

// Client is who asks dex.
type Client struct{ ID, Secret, Redirect string }

// Person is somebody whom dex knows.
type Person struct {
	Email      string
	UserID     string // from which dex makes the subject
	Username   string // preferred_username
	Unverified bool   // the e-mail address
	Groups     []string
}

// password is everybody's.
const password = "correct horse battery staple"

// Dex is a running dex.
type Dex struct {
	Issuer string

	t       testing.TB
	binary  string
	folder  string
	client  Client
	running *exec.Cmd
	log     *os.File
}

// Start runs dex until the test ends. Without the binary the test is skipped, and fails when
// HOURKEY_TEST_ALL says that nothing may be.
func Start(t testing.TB, client Client, people ...Person) *Dex {
	t.Helper()
	d := &Dex{t: t, binary: binary(t), folder: t.TempDir(), client: client, Issuer: "http://" + freeAddress(t) + "/dex"}
	t.Cleanup(d.Stop)
	d.Restart(people...)
	return d
}

func binary(t testing.TB) string {
	t.Helper()
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(home, ".cache")
	}
	path := filepath.Join(cache, "hourkey", "bin", "dex-"+Version)
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("HOURKEY_TEST_ALL") != "" {
			t.Fatalf("there is no %s: ./test.sh builds it from tools/dex", path)
		}
		t.Skipf("there is no %s: ./test.sh builds it from tools/dex", path)
	}
	return path
}

func freeAddress(t testing.TB) string {
	t.Helper()
	port, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// Restart runs dex anew at the same address, with other people and new keys.
func (d *Dex) Restart(people ...Person) {
	d.t.Helper()
	d.Stop()
	file := filepath.Join(d.folder, "config.json")
	if err := os.WriteFile(file, d.config(people), 0o600); err != nil {
		d.t.Fatal(err)
	}
	var err error
	if d.log, err = os.Create(filepath.Join(d.folder, "log")); err != nil {
		d.t.Fatal(err)
	}
	d.running = exec.Command(d.binary, "serve", file)
	d.running.Dir, d.running.Stdout, d.running.Stderr = d.folder, d.log, d.log
	if err := d.running.Start(); err != nil {
		d.t.Fatal(err)
	}
	for until := time.Now().Add(startsIn); !d.answers(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			said, _ := os.ReadFile(d.log.Name())
			d.t.Fatalf("dex does not answer: %s", said)
		}
	}
}

// config is dex's own: https://dexidp.io/docs/configuration. JSON is YAML.
func (d *Dex) config(people []Person) []byte {
	d.t.Helper()
	at, err := url.Parse(d.Issuer)
	if err != nil {
		d.t.Fatal(err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		d.t.Fatal(err)
	}
	known := []map[string]any{}
	for _, p := range people {
		known = append(known, map[string]any{
			"email": p.Email, "hash": string(hash), "userID": p.UserID, "username": p.Username, "preferredUsername": p.Username,
			"emailVerified": !p.Unverified, "groups": p.Groups,
		})
	}
	raw, err := json.Marshal(map[string]any{
		"issuer": d.Issuer, "storage": map[string]any{"type": "memory"}, "web": map[string]any{"http": at.Host},
		"oauth2": map[string]any{"skipApprovalScreen": true}, "enablePasswordDB": true, "staticPasswords": known,
		"staticClients": []map[string]any{{"id": d.client.ID, "secret": d.client.Secret, "name": "Hourkey", "redirectURIs": []string{d.client.Redirect}}},
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return raw
}

func (d *Dex) answers() bool {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(d.Issuer + "/.well-known/openid-configuration")
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// Stop ends dex, if it runs.
func (d *Dex) Stop() {
	if d.running == nil {
		return
	}
	_ = d.running.Process.Kill()
	_ = d.running.Wait()
	d.log.Close()
	d.running = nil
}

// SignIn does what a human does at dex: follows the link, types in name and password, and gives the address
// to which dex sends the browser back.
func (d *Dex) SignIn(ctx context.Context, link, email string) (callback string, err error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	browser := &http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), d.client.Redirect) {
			callback = r.URL.String()
			return http.ErrUseLastResponse
		}
		return nil
	}}
	page, at, err := visit(ctx, browser, http.MethodGet, link, nil)
	if err != nil || callback != "" {
		return callback, err
	}
	action := regexp.MustCompile(`<form[^>]*action="([^"]*)"`).FindStringSubmatch(page)
	if action == nil {
		return "", fmt.Errorf("dex shows no form: %s", page)
	}
	to, err := at.Parse(html.UnescapeString(action[1]))
	if err != nil {
		return "", err
	}
	page, _, err = visit(ctx, browser, http.MethodPost, to.String(), url.Values{"login": {email}, "password": {password}})
	if err == nil && callback == "" {
		err = errors.New("dex did not let " + email + " in: " + page)
	}
	return callback, err
}

func visit(ctx context.Context, browser *http.Client, method, to string, form url.Values) (page string, at *url.URL, err error) {
	r, err := http.NewRequestWithContext(ctx, method, to, bytes.NewBufferString(form.Encode()))
	if err != nil {
		return "", nil, err
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer, err := browser.Do(r)
	if err != nil {
		return "", nil, err
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	return string(raw), answer.Request.URL, err
}
