package daemon

import (
	"crypto/tls"
	"net/url"
	"sync/atomic"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
)

// certificate is the broker's own, read anew at each reload.
type certificate struct {
	cert, key string // PEM files
	guard     config.Guard
	now       atomic.Pointer[tls.Certificate]
}

func (c *certificate) load() error {
	cert, err := c.guard.Read(c.cert)
	if err != nil {
		return err
	}
	key, err := c.guard.ReadSecret(c.key)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return broker.Errorf(broker.CodeInvalid, "tls: %s and %s are not a certificate and its key", c.cert, c.key).WithField("tls").Because(err)
	}
	c.now.Store(&pair)
	return nil
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.now.Load(), nil }}
}

// hostOf is the host of an origin, without port: the relying party of passkeys.
func hostOf(origin string) string {
	u, err := url.Parse(origin)
	if err != nil {
		return "" // no relying party: NewVerifier refuses it
	}
	return u.Hostname()
}
