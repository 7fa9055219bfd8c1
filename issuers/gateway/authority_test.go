package gateway

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
)

var (
	leaseFrom  = time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	leaseUntil = leaseFrom.Add(30 * time.Minute)
	apiHosts   = []string{"api.example.test", "uploads.example.test"}
)

func newAuthority(t *testing.T, seed byte) *Authority {
	t.Helper()
	a, err := NewAuthority([]byte(strings.Repeat(string(rune(seed)), 32)), "inst7")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func pool(t *testing.T, pemText string) (*x509.CertPool, *x509.Certificate) {
	t.Helper()
	block, rest := pem.Decode([]byte(pemText))
	if block == nil || len(rest) > 0 {
		t.Fatalf("not one PEM block: %q", pemText)
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	return roots, ca
}

func leafOf(t *testing.T, c tls.Certificate) *x509.Certificate {
	t.Helper()
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func verify(leaf *x509.Certificate, roots *x509.CertPool, host string, at time.Time) error {
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: at})
	return err
}

func TestALeafIsBelievedForItsHostAndTime(t *testing.T) {
	a := newAuthority(t, 'a')
	ca, err := a.Certificate("l1", apiHosts, leaseFrom, leaseUntil)
	if err != nil {
		t.Fatal(err)
	}
	roots, _ := pool(t, ca)
	again := newAuthority(t, 'a') // after a restart: the same lease, the same key
	made, err := again.Leaf("l1", "api.example.test", apiHosts, leaseFrom.Add(time.Minute), leaseUntil)
	if err != nil {
		t.Fatal(err)
	}
	leaf := leafOf(t, made)
	if err := verify(leaf, roots, "api.example.test", leaseFrom.Add(2*time.Minute)); err != nil {
		t.Error(err)
	}
	for name, check := range map[string]error{
		"another host of the target": verify(leaf, roots, "uploads.example.test", leaseFrom.Add(2*time.Minute)),
		"a name below":               verify(leaf, roots, "x.api.example.test", leaseFrom.Add(2*time.Minute)),
		"after the lease":            verify(leaf, roots, "api.example.test", leaseUntil.Add(time.Second)),
		"before it":                  verify(leaf, roots, "api.example.test", leaseFrom.Add(-time.Second)),
	} {
		if check == nil {
			t.Errorf("%s: believed", name)
		}
	}
	if leaf.IsCA || leaf.NotAfter.After(leaseUntil) || !cmp.Equal(leaf.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) {
		t.Errorf("the leaf can more than it should: CA %v, until %s, usage %v", leaf.IsCA, leaf.NotAfter, leaf.ExtKeyUsage)
	}
}

func TestTheCASaysWhatItIsFor(t *testing.T) {
	text, err := newAuthority(t, 'a').Certificate("l1", apiHosts, leaseFrom, leaseUntil)
	if err != nil {
		t.Fatal(err)
	}
	_, ca := pool(t, text)
	type facts struct {
		Subject                   string
		CA, PathLenZero, Critical bool
		Usage                     x509.KeyUsage
		Hosts                     []string
		Excluded                  int
		From, Until               time.Time
	}
	got := facts{ca.Subject.CommonName, ca.IsCA, ca.MaxPathLen == 0 && ca.MaxPathLenZero, ca.PermittedDNSDomainsCritical, ca.KeyUsage, ca.PermittedDNSDomains, len(ca.ExcludedIPRanges), ca.NotBefore, ca.NotAfter}
	want := facts{"Hourkey inst7 l1", true, true, true, x509.KeyUsageCertSign, apiHosts, 2, leaseFrom.Add(-time.Minute), leaseUntil}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The attack: whoever gets hold of a lease's CA key makes a certificate for another site, and the agent's
// tools, which trust that CA, believe it.
func TestOurCAUsedForAHostOutsideTheTargets(t *testing.T) {
	a := newAuthority(t, 'a')
	text, err := a.Certificate("l1", apiHosts, leaseFrom, leaseUntil)
	if err != nil {
		t.Fatal(err)
	}
	roots, ca := pool(t, text)
	stolen, err := a.key("l1")
	if err != nil {
		t.Fatal(err)
	}
	forge := func(template x509.Certificate) *x509.Certificate {
		template.SerialNumber = serial("forged", &stolen.PublicKey)
		template.NotBefore, template.NotAfter = leaseFrom, leaseUntil.Add(24*time.Hour)
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		raw, err := x509.CreateCertificate(rand.Reader, &template, ca, &stolen.PublicKey, stolen)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(raw)
		if err != nil {
			t.Fatal(err)
		}
		return leaf
	}
	at := leaseFrom.Add(time.Minute)
	for name, leaf := range map[string]*x509.Certificate{
		"bank.example":                     forge(x509.Certificate{DNSNames: []string{"bank.example"}}),
		"example.test":                     forge(x509.Certificate{DNSNames: []string{"example.test"}}),
		"notapi.example.test":              forge(x509.Certificate{DNSNames: []string{"notapi.example.test"}}),
		"*.example.test":                   forge(x509.Certificate{DNSNames: []string{"*.example.test"}}),
		"api.example.test.bank.example":    forge(x509.Certificate{DNSNames: []string{"api.example.test.bank.example"}}),
		"api.example.test with bank added": forge(x509.Certificate{DNSNames: []string{"api.example.test", "bank.example"}}),
		"an address":                       forge(x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}),
		"an IPv6 address":                  forge(x509.Certificate{IPAddresses: []net.IP{net.IPv6loopback}}),
	} {
		if err := verify(leaf, roots, "", at); err == nil {
			t.Errorf("%s: believed", name)
		} else if bad := (x509.CertificateInvalidError{}); !errors.As(err, &bad) || bad.Reason != x509.CANotAuthorizedForThisName {
			t.Errorf("%s: refused for another reason: %v", name, err)
		}
	}
	if err := verify(forge(x509.Certificate{DNSNames: []string{"api.example.test"}}), roots, "api.example.test", leaseUntil.Add(time.Hour)); err == nil {
		t.Error("a leaf that outlives the lease: believed after the lease")
	}
	if below := forge(x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}); below.CheckSignatureFrom(ca) != nil {
		t.Error("the forged CA is not even signed: nothing was tested")
	} else if err := chained(t, below, stolen, roots, at); err == nil {
		t.Error("a CA below the lease's CA: believed")
	}
}

func chained(t *testing.T, below *x509.Certificate, key any, roots *x509.CertPool, at time.Time) error {
	t.Helper()
	template := &x509.Certificate{SerialNumber: below.SerialNumber, DNSNames: []string{"api.example.test"}, NotBefore: leaseFrom, NotAfter: leaseUntil}
	raw, err := x509.CreateCertificate(rand.Reader, template, below, below.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	middle := x509.NewCertPool()
	middle.AddCert(below)
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: middle, CurrentTime: at})
	return err
}

// The attack: one lease's CA, trusted by one agent, stands for another's.
func TestTheCAOfOneLeaseIsNotThatOfAnother(t *testing.T) {
	a := newAuthority(t, 'a')
	text, err := a.Certificate("l1", apiHosts, leaseFrom, leaseUntil)
	if err != nil {
		t.Fatal(err)
	}
	roots, _ := pool(t, text)
	at := leaseFrom.Add(time.Minute)
	for name, make := range map[string]func() (tls.Certificate, error){
		"another lease": func() (tls.Certificate, error) {
			return a.Leaf("l2", apiHosts[0], apiHosts, leaseFrom, leaseUntil)
		},
		"another installation": func() (tls.Certificate, error) {
			return newAuthority(t, 'b').Leaf("l1", apiHosts[0], apiHosts, leaseFrom, leaseUntil)
		},
	} {
		c, err := make()
		if err != nil {
			t.Fatal(err)
		}
		if verify(leafOf(t, c), roots, apiHosts[0], at) == nil {
			t.Errorf("%s: believed", name)
		}
	}
}

func TestAnAuthorityRefuses(t *testing.T) {
	a := newAuthority(t, 'a')
	for name, make := range map[string]func() error{
		"a short seed":            func() error { _, err := NewAuthority([]byte("short"), "inst7"); return err },
		"no installation":         func() error { _, err := NewAuthority([]byte(strings.Repeat("a", 32)), ""); return err },
		"a host outside":          func() error { _, err := a.Leaf("l1", "bank.example", apiHosts, leaseFrom, leaseUntil); return err },
		"a lease that has ended":  func() error { _, err := a.Leaf("l1", apiHosts[0], apiHosts, leaseUntil, leaseUntil); return err },
		"no lease":                func() error { _, err := a.Certificate("", apiHosts, leaseFrom, leaseUntil); return err },
		"no hosts":                func() error { _, err := a.Certificate("l1", nil, leaseFrom, leaseUntil); return err },
		"a host that permits all": func() error { _, err := a.Certificate("l1", []string{""}, leaseFrom, leaseUntil); return err },
		"a star": func() error {
			_, err := a.Certificate("l1", []string{"*.example.test"}, leaseFrom, leaseUntil)
			return err
		},
		"a leading dot": func() error {
			_, err := a.Certificate("l1", []string{".example.test"}, leaseFrom, leaseUntil)
			return err
		},
		"a whole top-level domain": func() error { _, err := a.Certificate("l1", []string{"test"}, leaseFrom, leaseUntil); return err },
		"an address":               func() error { _, err := a.Certificate("l1", []string{"127.0.0.1"}, leaseFrom, leaseUntil); return err },
		"a name with upper letters": func() error {
			_, err := a.Certificate("l1", []string{"API.example.test"}, leaseFrom, leaseUntil)
			return err
		},
	} {
		if err := make(); broker.CodeOf(err) == "" {
			t.Errorf("%s: taken", name)
		}
	}
}

// A real handshake, by name and with Go's own client.
func TestAHandshakeWithALeaf(t *testing.T) {
	a := newAuthority(t, 'a')
	from := time.Now().Add(-time.Minute)
	text, err := a.Certificate("l1", apiHosts, from, from.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	roots, _ := pool(t, text)
	leaf, err := a.Leaf("l1", apiHosts[0], apiHosts, from, from.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{leaf}})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			_ = c.(*tls.Conn).Handshake()
			c.Close()
		}
	}()
	for name, want := range map[string]bool{apiHosts[0]: true, apiHosts[1]: false, "bank.example": false} {
		c, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{RootCAs: roots, ServerName: name})
		if (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			c.Close()
		}
	}
	listener.Close()
	<-served
}
