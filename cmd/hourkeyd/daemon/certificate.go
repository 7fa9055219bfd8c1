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

// CheckCertificate tells what serve would refuse about the files of tls: that one is not there, closed, open to others, or
// that they are no pair.
func CheckCertificate(server config.Server, guard config.Guard) error {
	if server.TLSCert == "" {
		return nil
	}
	return (&certificate{cert: server.TLSCert, key: server.TLSKey, guard: guard}).load()
}

func (c *certificate) load() error {
	cert, err := c.guard.Read(c.cert)
	if err != nil {
		return unread("tls.cert", c.cert, err)
	}
	key, err := c.guard.ReadSecret(c.key)
	if err != nil {
		return unread("tls.key", c.key, err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return broker.Errorf(broker.CodeInvalid, "tls: %s and %s are not a certificate and its key", c.cert, c.key).WithField("tls").Because(err).
			WithNext("the certificate first, then those that signed it, in PEM; the key in a file of its own, which only the broker's user can read")
	}
	c.now.Store(&pair)
	return nil
}

// unread has the system's words follow ours; refusals of the guard stay as they are.
func unread(setting, path string, err error) error {
	if broker.CodeOf(err) != broker.CodeInternal {
		return err
	}
	return broker.Errorf(broker.CodeInvalid, "%s: %s cannot be read", setting, path).WithField(setting).Because(err).
		WithNext("put the file there, readable by the broker's own user, or set %s in hourkey.yaml to where it is", setting)
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
