package gateway

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Authority is a certification authority per lease, so that a tool of the agent's side believes our end
// of a tunnel, for the hosts of one target and until the lease ends. Nothing is kept: the key of a lease
// is derived whenever it is needed,
//
//	HKDF-SHA256(seed, no salt, "gateway-ca/" lease, 32 bytes) → a P-256 key
//
// and never leaves this type. It is immutable and safe for concurrent use.
type Authority struct {
	seed         []byte
	installation string
}

const (
	leastSeed      = 32 // bytes
	mostSubject    = 64 // characters of a common name (RFC 5280, ub-common-name)
	derivations    = 4  // of a key; each fails with a chance of 2^-32
	authorityLabel = "gateway-ca/"
	behind         = time.Minute // an agent's clock may be so much behind ours, as for its proofs
)

// NewAuthority makes the authority of an installation. seed is secret, at least 32 bytes, and of no other use.
func NewAuthority(seed []byte, installation string) (*Authority, error) {
	if len(seed) < leastSeed || installation == "" {
		return nil, broker.Errorf(broker.CodeInternal, "gateway: the authority wants a seed of at least %d bytes and the installation's id", leastSeed)
	}
	return &Authority{slices.Clone(seed), installation}, nil
}

// Certificate gives the lease's own CA certificate as PEM. Its critical name constraints (RFC 5280 section
// 4.2.1.10) permit the hosts, and by that RFC also names below them, and no address; its life is the lease's.
func (a *Authority) Certificate(lease string, hosts []string, from, until time.Time) (pemText string, err error) {
	key, err := a.key(lease)
	if err != nil {
		return "", err
	}
	template, err := a.template(lease, &key.PublicKey, hosts, from, until)
	if err != nil {
		return "", err
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return "", fmt.Errorf("making the certificate of a lease: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})), nil
}

// Leaf gives a server certificate for one of the hosts and for nothing else, with a new key. It ends with
// the lease.
func (a *Authority) Leaf(lease, host string, hosts []string, from, until time.Time) (tls.Certificate, error) {
	if !slices.Contains(hosts, host) {
		return tls.Certificate{}, broker.Errorf(broker.CodeDenied, "%s is no host of this target: expected %s", host, strings.Join(hosts, ", "))
	}
	authority, err := a.key(lease)
	if err != nil {
		return tls.Certificate{}, err
	}
	parent, err := a.template(lease, &authority.PublicKey, hosts, from, until)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making the key of a tunnel: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial("leaf/"+lease+"/"+host, &key.PublicKey), Subject: pkix.Name{CommonName: "Hourkey gateway"}, DNSNames: []string{host},
		NotBefore: from.Add(-behind).UTC(), NotAfter: until.UTC(), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, authority)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making the certificate of a tunnel: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, nil
}

// key derives the CA key of a lease. Which leases there are is no secret, the seed is.
func (a *Authority) key(lease string) (*ecdsa.PrivateKey, error) {
	if lease == "" {
		return nil, broker.Errorf(broker.CodeInternal, "gateway: a certificate wants a lease")
	}
	label := authorityLabel + lease
	for range derivations {
		raw, err := hkdf.Key(sha256.New, a.seed, nil, label, 32)
		if err != nil {
			return nil, fmt.Errorf("deriving the key of a lease: %w", err)
		}
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw); err == nil {
			return key, nil
		}
		label += "/" // what was derived is no number below the curve's order
	}
	return nil, errors.New("deriving the key of a lease: no number below the curve's order")
}

// template is the CA certificate. The same lease has the same name and the same key in it, so that what a
// leaf is checked against may have been made at another time.
func (a *Authority) template(lease string, public *ecdsa.PublicKey, hosts []string, from, until time.Time) (*x509.Certificate, error) {
	if !until.After(from) {
		return nil, broker.Errorf(broker.CodeExpired, "this lease has ended")
	}
	if len(hosts) == 0 || slices.ContainsFunc(hosts, notAHost) {
		return nil, broker.Errorf(broker.CodeInternal, "gateway: the hosts of a target are names, at least one: %q", hosts)
	}
	id, err := keyID(public)
	if err != nil {
		return nil, err
	}
	name := "Hourkey " + a.installation + " " + lease
	return &x509.Certificate{
		SerialNumber: serial("ca/"+lease, public), Subject: pkix.Name{CommonName: name[:min(len(name), mostSubject)]},
		NotBefore: from.Add(-behind).UTC(), NotAfter: until.UTC(), SubjectKeyId: id,
		KeyUsage: x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: slices.Clone(hosts), ExcludedIPRanges: everyAddress(),
	}, nil
}

// notAHost refuses what would make a constraint mean something else: "" permits every name, ".x" other ones
// than "x" in some readings, an address or a star none.
func notAHost(host string) bool {
	if host == "" || len(host) > 253 || net.ParseIP(host) != nil || !strings.Contains(host, ".") {
		return true
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return true
		}
	}
	return false
}

// everyAddress is excluded: a permitted name alone would leave addresses unconstrained.
func everyAddress() []*net.IPNet {
	return []*net.IPNet{
		{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
		{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
	}
}

// keyID is method 1 of RFC 7093 section 2.
func keyID(public crypto.PublicKey) ([]byte, error) {
	raw, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("naming the key of a lease: %w", err)
	}
	sum := sha256.Sum256(raw)
	return sum[:20], nil
}

// serial is 127 bits of a digest of what the certificate is for and of its key: positive, and its own.
func serial(purpose string, public *ecdsa.PublicKey) *big.Int {
	hash := sha256.New()
	_, _ = fmt.Fprintf(hash, "hourkey/serial/1\x00%s\x00", purpose)
	raw, _ := public.Bytes() // a key that was just made, of a curve that has such a form
	_, _ = hash.Write(raw)
	sum := hash.Sum(nil)
	sum[0] &= 0x7f
	return new(big.Int).SetBytes(sum[:16])
}
