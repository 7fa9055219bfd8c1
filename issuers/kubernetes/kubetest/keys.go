package kubetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// keys are the files that the server reads: its certificate, the key that signs the tokens of ServiceAccounts, the
// superuser's token.
type keys struct {
	dir       string
	authority []byte // PEM
	token     string
	accounts  *ecdsa.PrivateKey
}

func newKeys(dir string) (*keys, error) {
	k := &keys{dir: dir, token: "superuser-" + rand.Text()}
	var err error
	if k.accounts, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	if err := k.certify(); err != nil {
		return nil, err
	}
	if err := k.writeAccountsKey(); err != nil {
		return nil, err
	}
	return k, os.WriteFile(k.path("tokens.csv"), fmt.Appendf(nil, "%s,superuser,1,system:masters\n", k.token), 0o600)
}

func (k *keys) path(name string) string { return filepath.Join(k.dir, name) }

// certify makes an authority and the server's certificate.
func (k *keys) certify() error {
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	begin, end := time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubetest"}, NotBefore: begin, NotAfter: end,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "kube-apiserver"}, NotBefore: begin, NotAfter: end,
		IPAddresses: []net.IP{net.ParseIP(loopback)}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, &ca.PublicKey, ca)
	if err != nil {
		return err
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, &own.PublicKey, ca)
	if err != nil {
		return err
	}
	k.authority = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER})
	if err := os.WriteFile(k.path("server.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leafDER}), 0o600); err != nil {
		return err
	}
	return k.writeKey("server.key", own)
}

// writeAccountsKey writes the key by which tokens are signed in the one form that is also read as a public key.
func (k *keys) writeAccountsKey() error {
	der, err := x509.MarshalECPrivateKey(k.accounts)
	if err != nil {
		return err
	}
	return os.WriteFile(k.path("accounts.key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

func (k *keys) writeKey(name string, key crypto.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(k.path(name), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

// Aged gives a ServiceAccount's token anew with another end, signed by the server's own key: for tests that would
// else have to wait ten minutes, the shortest life that the server gives.
func (s *Server) Aged(token string, expires time.Time) (string, error) {
	parser := jwt.NewParser(jwt.WithoutClaimsValidation())
	was, _, err := parser.ParseUnverified(token, jwt.MapClaims{})
	if err != nil {
		return "", err
	}
	claims := was.Claims.(jwt.MapClaims) //nolint:forcetypeassert // as given
	claims["exp"] = expires.Unix()
	aged := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	aged.Header["kid"] = was.Header["kid"]
	return aged.SignedString(s.keys.accounts)
}
