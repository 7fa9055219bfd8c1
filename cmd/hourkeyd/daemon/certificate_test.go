package daemon

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/admin"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
)

// certify writes a self-signed certificate for localhost with the serial number.
func certify(t *testing.T, dir string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	until := options(dir).Now().Add(time.Hour)
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"}, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	put(t, dir, "tls/cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	put(t, dir, "tls/key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

func serialAt(t *testing.T, address string) int64 {
	t.Helper()
	dialer := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := dialer.DialContext(ctx, "tcp", address)
	must(t, err)
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func TestReloadTakesANewCertificate(t *testing.T) {
	dir := folder(t)
	put(t, dir, "hourkey.yaml", serverFile+"tls: {cert: tls/cert.pem, key: tls/key.pem}\n")
	certify(t, dir, 1)
	d, client, _ := serve(t, dir)
	address := d.http.Addr().String()
	if got := serialAt(t, address); got != 1 {
		t.Fatalf("serial %d", got)
	}
	certify(t, dir, 2)
	var done admin.Reloaded
	must(t, client.Call(t.Context(), http.MethodPost, "/reload", nil, &done))
	if got := serialAt(t, address); got != 2 {
		t.Errorf("serial %d after the reload", got)
	}
}

func TestReadableTLSKeyIsRefused(t *testing.T) {
	dir := folder(t)
	put(t, dir, "hourkey.yaml", serverFile+"tls: {cert: tls/cert.pem, key: tls/key.pem}\n")
	certify(t, dir, 1)
	must(t, os.Chmod(filepath.Join(dir, "tls/key.pem"), 0o644))
	if _, err := Open(t.Context(), options(dir)); broker.CodeOf(err) != broker.CodeInvalid {
		t.Errorf("got %v", err)
	}
}

// What serve would refuse, check tells.
func TestCertificateThatServeWouldRefuseIsFoundBefore(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	server := config.Server{TLSCert: filepath.Join(dir, "tls/cert.pem"), TLSKey: filepath.Join(dir, "tls/key.pem")}
	refuses := func(want string) {
		t.Helper()
		if err := CheckCertificate(server, config.NewGuard()); broker.CodeOf(err) != broker.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	refuses("tls.cert: " + server.TLSCert + " cannot be read")
	certify(t, dir, 1)
	must(t, CheckCertificate(server, config.NewGuard()))
	former, err := os.ReadFile(server.TLSKey)
	must(t, err)
	certify(t, dir, 2)
	put(t, dir, "tls/key.pem", string(former))
	refuses("are not a certificate and its key")
	must(t, os.Remove(server.TLSKey))
	refuses("tls.key: " + server.TLSKey + " cannot be read")
	must(t, CheckCertificate(config.Server{}, config.NewGuard()))
}
