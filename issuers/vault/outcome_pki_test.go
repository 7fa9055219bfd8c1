package vault_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/ocsp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/vault"
	"github.com/hourkey/hourkey/issuers/vault/vaulttest"
)

// office is a site whose engine is a pki engine with an authority of its own, and services that trust it.
type office struct {
	*site
	authority *x509.Certificate
}

func newOffice(t *testing.T) *office {
	t.Helper()
	offer := declaring("client", "orders-api:read,write")
	offer.CommonName = "agent.staging.example"
	o := &office{site: newEngine(t, "pki", "pki", offer, nil)}
	mount := o.settings.Mount
	o.Write(t, "sys/mounts/"+mount+"/tune", map[string]any{"max_lease_ttl": "240h"})
	made := o.Write(t, mount+"/root/generate/internal", map[string]any{"common_name": "staging", "ttl": "240h"})["data"].(map[string]any)
	o.authority = certificateOf(t, made["certificate"].(string))
	o.role(t, nil)
	return o
}

// role writes the role as Vault makes it by default, with leases, but for some changes.
func (o *office) role(t *testing.T, changes map[string]any) {
	t.Helper()
	role := map[string]any{"allowed_domains": "staging.example", "allow_subdomains": true, "max_ttl": "1h", "generate_lease": true}
	for name, value := range changes {
		role[name] = value
	}
	o.Delete(t, o.settings.Mount+"/roles/client")
	o.Write(t, o.settings.Mount+"/roles/client", role)
}

// service starts a TLS server that takes whom the authority signed, but for some changes.
func (o *office) service(t *testing.T, change func(*tls.Config)) *httptest.Server {
	t.Helper()
	trusted := x509.NewCertPool()
	trusted.AddCert(o.authority)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusted}
	if change != nil {
		change(s.TLS)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// enter connects to a service with a certificate, and asks for a page.
func enter(t *testing.T, s *httptest.Server, pair tls.Certificate, sessions tls.ClientSessionCache) (*tls.Conn, error) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	conn, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: "example.com", RootCAs: roots, Certificates: []tls.Certificate{pair}, ClientSessionCache: sessions,
	})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, ask(conn)
}

// ask gets a page over a connection: with TLS 1.3 it is here that a client learns that it was refused.
func ask(conn *tls.Conn) error {
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

func pairOf(t *testing.T, c broker.Credential) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(c.Values["TLS_CERTIFICATE"].Reveal()), []byte(c.Values["TLS_PRIVATE_KEY"].Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// refusedByTLS tells that one side would not have the other's certificate, or that Vault would not do it.
func refusedByTLS(err error) bool {
	var alert *net.OpError
	var name x509.HostnameError
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	return errors.Is(err, errForbidden) || errors.As(err, &alert) && alert.Op == "remote error" || errors.As(err, &name) || errors.As(err, &authority) || errors.As(err, &invalid)
}

// A certificate with its key, of a role as Vault makes it by default, at services that check it as services do.
func TestBypassesOfPKI(t *testing.T) {
	o := newOffice(t)
	issuer := o.issuer(t)
	d := describe(t, issuer, wish(t, "orders-api:read,write"))
	credential, _ := lease(t, issuer, "hk-by-11", "orders-api:read,write")
	all := refusals(o.attacks(t, credential))
	all["another service that trusts the same authority"] = bypass{wall: "services of other environments", try: func(_ context.Context, c broker.Credential) error {
		_, err := enter(t, o.service(t, nil), pairOf(t, c), nil)
		return err
	}}
	all["standing in for a server of its own name"] = bypass{wall: "standing in for a server", try: func(ctx context.Context, c broker.Credential) error {
		return o.standIn(ctx, t, c, "agent.staging.example")
	}}
	o.afterARevoke(t, issuer, all)
	issuertest.HoldPage(t, *update, documentation, "outcomes of pki", hold(t, d, credential, all, refusedByTLS, "the service, or Vault"))
}

// attacks are what must be refused.
func (o *office) attacks(t *testing.T, credential broker.Credential) map[string]func(context.Context, broker.Credential) error {
	t.Helper()
	pair := pairOf(t, credential)
	at := func(s *httptest.Server, pair tls.Certificate) func(context.Context, broker.Credential) error {
		return func(context.Context, broker.Credential) error {
			_, err := enter(t, s, pair, nil)
			return err
		}
	}
	named := o.service(t, func(c *tls.Config) {
		c.VerifyConnection = func(state tls.ConnectionState) error {
			if state.PeerCertificates[0].Subject.CommonName != "admin.staging.example" {
				return errors.New("not the administrator")
			}
			return nil
		}
	})
	attacks := map[string]func(context.Context, broker.Credential) error{
		"a service for another name":                        at(named, pair),
		"another name, signed by the certificate's own key": at(named, signedBy(t, pair, "admin.staging.example")),
		"use after the end":                                 at(o.service(t, func(c *tls.Config) { c.Time = func() time.Time { return time.Now().Add(11 * time.Minute) } }), pair),
		"a service that trusts another authority": at(o.service(t, func(c *tls.Config) {
			c.ClientCAs = x509.NewCertPool()
			c.ClientCAs.AddCert(certificateOf(t, newOffice(t).made(t)))
		}), pair),
		"standing in for a server of another name": func(ctx context.Context, c broker.Credential) error {
			return o.standIn(ctx, t, c, "orders.staging.example")
		},
		"signing code": func(context.Context, broker.Credential) error {
			roots := x509.NewCertPool()
			roots.AddCert(o.authority)
			_, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}})
			return err
		},
		"an account at ACME": func(ctx context.Context, _ broker.Credential) error { return o.register(ctx, t) },
	}
	for name, path := range map[string]string{
		"a longer life: another certificate of the role": "issue/client", "a certificate for whatever it writes (sign-verbatim)": "sign-verbatim/client",
		"an authority of its own (sign-intermediate)": "root/sign-intermediate", "a role that gives more": "roles/client",
	} {
		attacks[name] = func(ctx context.Context, _ broker.Credential) error {
			return withoutToken(ctx, o.settings.Mount+"/"+path)
		}
	}
	return attacks
}

// made gives the authority's certificate as Vault shows it.
func (o *office) made(t *testing.T) string {
	t.Helper()
	return o.Read(t, o.settings.Mount+"/cert/ca")["data"].(map[string]any)["certificate"].(string)
}

// withoutToken asks Vault as who has nothing but the credential: the lease's token never leaves the broker.
func withoutToken(ctx context.Context, path string) error {
	status, answer, err := vaulttest.Call(ctx, server.Address, "", http.MethodPost, path, map[string]any{"common_name": "agent.staging.example"})
	if err == nil && status == http.StatusForbidden {
		return errForbidden
	}
	if err == nil && status >= http.StatusBadRequest {
		return fmt.Errorf("status %d: %v", status, answer["errors"])
	}
	return err
}

// signedBy makes a certificate that another one's key signed, with the other behind it.
func signedBy(t *testing.T, parent tls.Certificate, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	made, err := x509.CreateCertificate(rand.Reader, template, parent.Leaf, key.Public(), parent.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{made, parent.Certificate[0]}, PrivateKey: key}
}

// standIn has a client that trusts the authority connect to who holds the credential, taking it for a server.
func (o *office) standIn(ctx context.Context, t *testing.T, c broker.Credential, name string) error {
	t.Helper()
	s := o.service(t, func(config *tls.Config) {
		config.ClientAuth, config.Certificates = tls.NoClientCert, []tls.Certificate{pairOf(t, c)}
	})
	roots := x509.NewCertPool()
	roots.AddCert(o.authority)
	dialer := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: name}}
	conn, err := dialer.DialContext(ctx, "tcp", s.Listener.Addr().String())
	if err != nil {
		return err
	}
	return conn.Close()
}

// register asks for an account at ACME.
func (o *office) register(ctx context.Context, t *testing.T) error {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	client := &acme.Client{Key: key, DirectoryURL: server.Address + "/v1/" + o.settings.Mount + "/acme/directory"}
	_, err = client.Register(ctx, &acme.Account{}, acme.AcceptTOS)
	var refusal *acme.Error
	if errors.As(err, &refusal) && (refusal.StatusCode == http.StatusForbidden || refusal.StatusCode == http.StatusNotFound || refusal.StatusCode == http.StatusUnauthorized) {
		return errForbidden
	}
	return err
}

// afterARevoke adds what can still be done with a lease that was ended before its time.
func (o *office) afterARevoke(t *testing.T, issuer *vault.Issuer, all map[string]bypass) {
	t.Helper()
	c, handle := lease(t, issuer, "hk-by-12", "orders-api:read,write")
	pair, sessions := pairOf(t, c), tls.NewLRUClientSessionCache(1)
	blind, reading := o.service(t, nil), o.service(t, func(c *tls.Config) { c.VerifyPeerCertificate = o.notListed })
	asking := o.service(t, func(c *tls.Config) { c.VerifyPeerCertificate = o.isGood })
	open, err := enter(t, blind, pair, nil)
	for _, s := range []*httptest.Server{reading, asking} {
		_, failed := enter(t, s, pair, sessions)
		err = errors.Join(err, failed)
	}
	if _, failed := enter(t, reading, pair, sessions); errors.Join(err, failed) != nil {
		t.Fatalf("before the revoke: %v", errors.Join(err, failed))
	}
	if err := issuer.Revoke(t.Context(), "hk-by-12", handle); err != nil {
		t.Fatal(err)
	}
	at := func(s *httptest.Server, sessions tls.ClientSessionCache) func(context.Context, broker.Credential) error {
		return func(context.Context, broker.Credential) error {
			_, err := enter(t, s, pair, sessions)
			return err
		}
	}
	all["after a revoke: a service that reads the revocation list"] = bypass{try: at(reading, nil)}
	all["after a revoke: a service that asks OCSP"] = bypass{try: at(asking, nil)}
	all["after a revoke: a service that does not look"] = bypass{wall: "use after a revoke", try: at(blind, nil)}
	all["after a revoke: a session that is resumed, at a service that reads the list"] = bypass{wall: "open at the end, or resumed", try: at(reading, sessions)}
	all["after a revoke: a connection that was open"] = bypass{wall: "open at the end, or resumed", try: func(context.Context, broker.Credential) error { return ask(open) }}
}

// notListed looks for a certificate in Vault's revocation list, as it is there for everybody.
func (o *office) notListed(_ [][]byte, chains [][]*x509.Certificate) error {
	raw, err := fetch(http.Get(server.Address + "/v1/" + o.settings.Mount + "/crl"))
	if err != nil {
		return err
	}
	list, err := x509.ParseRevocationList(raw)
	if err != nil || list.CheckSignatureFrom(o.authority) != nil {
		return fmt.Errorf("the list cannot be read: %w", err)
	}
	if slices.ContainsFunc(list.RevokedCertificateEntries, func(e x509.RevocationListEntry) bool { return e.SerialNumber.Cmp(chains[0][0].SerialNumber) == 0 }) {
		return errors.New("it was revoked")
	}
	return nil
}

// isGood asks Vault's OCSP (RFC 6960).
func (o *office) isGood(_ [][]byte, chains [][]*x509.Certificate) error {
	question, err := ocsp.CreateRequest(chains[0][0], o.authority, nil)
	if err != nil {
		return err
	}
	raw, err := fetch(http.Post(server.Address+"/v1/"+o.settings.Mount+"/ocsp", "application/ocsp-request", bytes.NewReader(question)))
	if err != nil {
		return err
	}
	answer, err := ocsp.ParseResponse(raw, o.authority)
	if err == nil && answer.Status != ocsp.Good {
		err = errors.New("it is not good")
	}
	return err
}

func fetch(response *http.Response, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}
