package forward_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/cmd/hourkey/forward"
)

func TestChildsVariables(t *testing.T) {
	w := newWorld(t, echo, nil)
	proxy := "http://hourkey:" + w.password() + "@" + w.proxy().Host
	want := map[string]string{
		"HTTPS_PROXY": proxy, "https_proxy": proxy, "NODE_USE_ENV_PROXY": "1",
		"NO_PROXY": "localhost,127.0.0.1,::1,broker.example", "no_proxy": "localhost,127.0.0.1,::1,broker.example",
		"PROVIDER_TOKEN": w.password(), "PROVIDER_URL": "http://" + w.proxy().Host + "/" + w.password() + "/0/v1",
	}
	got := map[string]string{}
	for name, value := range w.environ {
		if !strings.HasPrefix(value, w.folder) && name != "NODE_OPTIONS" {
			got[name] = value
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNodeOptionsOfTheParentAreKept(t *testing.T) {
	w := newWorld(t, echo, map[string]string{"NODE_OPTIONS": "--max-old-space-size=512"})
	if got := w.environ["NODE_OPTIONS"]; !strings.HasPrefix(got, `--max-old-space-size=512 --require="`) || !strings.HasSuffix(got, `/preload.cjs"`) {
		t.Error(got)
	}
}

// The attack on oneself: a NO_PROXY that sends the child to the provider directly, with a placeholder.
func TestNoProxyDoesNotLeadPastTheGateway(t *testing.T) {
	for before, want := range map[string]string{
		"":                                   "",
		"corp.example, 10.0.0.0/8":           ",corp.example,10.0.0.0/8",
		"*":                                  "",
		mainHost + ",corp.example":           ",corp.example",
		".provider.example":                  "",
		"*.provider.example":                 "",
		"provider.example:443":               "",
		"Provider.EXAMPLE":                   "",
		"der.example":                        ",der.example",
		"x." + mainHost:                      ",x." + mainHost,
		"localhost,,broker.example,fd00::/8": ",fd00::/8",
	} {
		w := newWorld(t, echo, map[string]string{"no_proxy": before})
		if got := w.environ["NO_PROXY"]; got != "localhost,127.0.0.1,::1,broker.example"+want {
			t.Errorf("%q became %q, want …%q", before, got, want)
		}
	}
}

// certificatesIn counts the certificates of a PEM file.
func certificatesIn(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "BEGIN CERTIFICATE")
}

func TestFilesOfAuthoritiesHoldWhatEachToolNeeds(t *testing.T) {
	folder := t.TempDir()
	bundle := func(name string, count int) string {
		var text string
		for range count {
			text += strings.TrimSuffix(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("any")})), "\n")
			text += "\n"
		}
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(strings.TrimSuffix(text, "\n")), 0o600); err != nil { // without an end of line
			t.Fatal(err)
		}
		return path
	}
	w := newWorld(t, echo, map[string]string{
		"SSL_CERT_FILE": bundle("system", 5), "REQUESTS_CA_BUNDLE": bundle("python", 7), "CURL_CA_BUNDLE": "/nonesuch", "AWS_CA_BUNDLE": folder,
		"NODE_EXTRA_CA_CERTS": bundle("node", 3), "PIP_CERT": "",
	})
	for name, want := range map[string]int{
		"SSL_CERT_FILE": 6, "NIX_SSL_CERT_FILE": 6, "CURL_CA_BUNDLE": 6, "GIT_SSL_CAINFO": 6, "AWS_CA_BUNDLE": 6, "PIP_CERT": 6, "CARGO_HTTP_CAINFO": 6,
		"REQUESTS_CA_BUNDLE": 8, "NODE_EXTRA_CA_CERTS": 4, "DENO_CERT": 1,
	} {
		if got := certificatesIn(t, w.environ[name]); got != want {
			t.Errorf("%s names a file with %d certificates, want %d", name, got, want)
		}
	}
	own := filepath.Dir(w.environ["SSL_CERT_FILE"])
	if info, err := os.Stat(own); err != nil || info.Mode().Perm() != 0o700 || filepath.Dir(own) != w.folder {
		t.Errorf("%s: %v %v", own, info, err)
	}
	if said := w.said.list(); len(said) > 0 {
		t.Error(said)
	}
}

// authorityFor makes a certificate as template says, as PEM.
func authorityFor(t *testing.T, shape func(*x509.Certificate)) string {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{mainHost},
		ExcludedIPRanges: []*net.IPNet{{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, {IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}},
	}
	shape(template)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}))
}

func TestAuthorityWithoutLimitsIsNotHandedToTheChild(t *testing.T) {
	w := newWorld(t, echo, nil)
	good := authorityFor(t, func(*x509.Certificate) {})
	for name, text := range map[string]string{
		"none":                  "",
		"no certificate":        "hello",
		"for everything":        authorityFor(t, func(c *x509.Certificate) { c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = nil, false }),
		"not critical":          authorityFor(t, func(c *x509.Certificate) { c.PermittedDNSDomainsCritical = false }),
		"a top-level domain":    authorityFor(t, func(c *x509.Certificate) { c.PermittedDNSDomains = []string{mainHost, "example"} }),
		"all below it":          authorityFor(t, func(c *x509.Certificate) { c.PermittedDNSDomains = []string{".com"} }),
		"no authority":          authorityFor(t, func(c *x509.Certificate) { c.IsCA = false }),
		"one good and one bad":  good + authorityFor(t, func(c *x509.Certificate) { c.PermittedDNSDomainsCritical = false }),
		"a key beside it":       good + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})),
		"a damaged certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
	} {
		lease := w.gateway.Issue(nil)
		lease.CA = text
		f, err := forward.Start(forward.Config{
			Now:     time.Now,
			Targets: []forward.Target{{Name: "staging/a", Gateway: lease}}, Open: w.client.OpenTunnel, Say: w.said.say, Getenv: func(string) string { return "" },
		})
		if err == nil || !strings.Contains(err.Error(), "the gateway's authority for staging/a: ") {
			t.Errorf("%s: %v", name, err)
		}
		if f != nil {
			_ = f.Close()
		}
	}
	lease := w.gateway.Issue(nil)
	lease.CA = "words\n" + good + "more words\n" + good
	f, err := forward.Start(forward.Config{
		Now:     time.Now,
		Targets: []forward.Target{{Name: "staging/a", Gateway: lease}}, Open: w.client.OpenTunnel, Say: w.said.say, Getenv: func(string) string { return "" },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := os.ReadFile(f.Environ()["DENO_CERT"].Reveal())
	if err != nil || string(text) != good {
		t.Errorf("%v, the file holds %q", err, text)
	}
	if said := w.said.list(); slices.ContainsFunc(said, func(line string) bool { return strings.Contains(line, "refused") }) {
		t.Error(said)
	}
}
