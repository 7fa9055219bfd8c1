package kubernetes

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// access is the way to the API server and the broker's own credential there.
type access struct {
	server *url.URL
	tls    *tls.Config
	token  broker.Secret
	renew  func() (broker.Secret, error)
}

// access resolves what leads to the cluster. Its errors hold no secret.
func (s Settings) access(resolve func(field, reference string) (broker.Secret, error)) (access, string, error) {
	if s.Kubeconfig != "" {
		text, err := resolve("kubeconfig", s.Kubeconfig)
		if err != nil {
			return access{}, "", err
		}
		return readKubeconfig(text)
	}
	token, err := resolve("token", s.Token)
	if err != nil {
		return access{}, "", err
	}
	ca := ""
	if s.CA != "" {
		text, err := resolve("ca", s.CA)
		if err != nil {
			return access{}, "", err
		}
		ca = text.Reveal()
	}
	a, err := newAccess("server", s.Server, "ca", ca)
	if err != nil {
		return access{}, "", err
	}
	if a.token, err = cleanToken("token", token); err != nil {
		return access{}, "", err
	}
	a.renew = func() (broker.Secret, error) {
		newer, err := resolve("token", s.Token)
		if err != nil {
			return newer, err
		}
		return cleanToken("token", newer)
	}
	return a, ca, nil
}

// newAccess makes the way to a server; the fields are named in errors.
func newAccess(serverField, server, caField, ca string) (access, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return access{}, invalid(serverField, "must be a URL like https://10.0.0.1:6443, without user, query and fragment")
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			return access{}, invalid(caField, "holds no certificate in PEM")
		}
	}
	return access{server: u, tls: config}, nil
}

// cleanToken takes the end of line off that a file has, and refuses what a header could not carry.
func cleanToken(field string, token broker.Secret) (broker.Secret, error) {
	text := strings.TrimSpace(token.Reveal())
	if text == "" || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return broker.Secret{}, invalid(field, "is no token: expected one line of visible ASCII characters")
	}
	return broker.NewSecret(text), nil
}
