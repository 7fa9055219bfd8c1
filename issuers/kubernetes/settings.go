package kubernetes

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// Settings is the body of a `kubernetes:` target in an environment's file. Either server and token, or a
// kubeconfig, say where the cluster is and who the broker is there.
type Settings struct {
	Server     string   `yaml:"server"`     // https://HOST:PORT of the API server
	CA         string   `yaml:"ca"`         // a reference to the PEM that its certificate is of; empty: the system's authorities
	Token      string   `yaml:"token"`      // a reference to the token of the broker's account: file:PATH is read again when it was exchanged
	Kubeconfig string   `yaml:"kubeconfig"` // a reference to a kubeconfig, in which everything must be inline
	Namespace  string   `yaml:"namespace"`  // the one namespace of this target: the environment
	Plain      []string `yaml:"plain"`      // kinds that are not built in and are nothing but data: widgets.example.com
	Accept     []Accept `yaml:"accept"`     // holes of the walls that are known and wanted
}

// Accept names one hole, as a refusal and check --live print it, and why it is accepted. Reviewers see both.
type Accept struct {
	Object string `yaml:"object"`
	Why    string `yaml:"why"`
}

// The objects that can be accepted, beside "clusterrolebinding NAME" and "rolebinding NAMESPACE/NAME".
const (
	objectPolicy  = "admission policy" // what RBAC leaves open stays open
	objectStreams = "open streams"     // watch, logs, exec, attach, portforward: they outlive the lease
	objectDefault = "account default"  // pods without an account of their own have the rights of this one
)

var (
	namespacePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	plainPattern     = regexp.MustCompile(`^[a-z0-9]+\.[a-z0-9-]+(\.[a-z0-9-]+)+$`)
)

// reserved namespaces belong to the cluster: whoever writes there has power over every environment.
var reserved = regexp.MustCompile(`^kube-`)

func (s Settings) check(kinds kindTable) error {
	switch {
	case !namespacePattern.MatchString(s.Namespace):
		return invalid("namespace", "is missing or no name of a namespace: a-z, 0-9 and dashes, at most 63")
	case reserved.MatchString(s.Namespace):
		return invalid("namespace", "is the cluster's own: it is no environment")
	case (s.Server == "") == (s.Kubeconfig == ""):
		return invalid("server", "or kubeconfig: expected exactly one of them")
	case s.Kubeconfig != "" && (s.CA != "" || s.Token != ""):
		return invalid("kubeconfig", "holds server, ca and token itself: leave those out")
	case s.Kubeconfig == "" && s.Token == "":
		return invalid("token", "is missing: a reference to the token of the broker's account")
	}
	for _, kind := range s.Plain {
		if !plainPattern.MatchString(kind) || strings.HasSuffix(kind, ".k8s.io") || kinds.has(kind) {
			return invalid("plain", fmt.Sprintf("has the entry %.80q: expected the plural name and the group of a kind that is not built in, like widgets.example.com", kind))
		}
	}
	return s.checkAccept()
}

func (s Settings) checkAccept() error {
	for at, accept := range s.Accept {
		if accept.Object == "" || accept.Why == "" {
			return invalid("accept", "has an entry without object or why: reviewers are shown both")
		}
		if !isAcceptable(accept.Object) {
			return invalid("accept", fmt.Sprintf("names %.80q, which cannot be accepted: a lease could not be issued, or not be ended", accept.Object))
		}
		if slices.ContainsFunc(s.Accept[:at], func(other Accept) bool { return other.Object == accept.Object }) {
			return invalid("accept", fmt.Sprintf("names %.80q twice", accept.Object))
		}
	}
	return nil
}

// isAcceptable tells whether a hole can be lived with. What the broker's account lacks cannot, nor a server that allows
// everything.
func isAcceptable(object string) bool {
	switch object {
	case objectPolicy, objectStreams, objectDefault:
		return true
	}
	return strings.HasPrefix(object, "clusterrolebinding ") || strings.HasPrefix(object, "rolebinding ")
}

func (s Settings) accepts(object string) (why string, accepted bool) {
	at := slices.IndexFunc(s.Accept, func(a Accept) bool { return a.Object == object })
	if at < 0 || !isAcceptable(object) {
		return "", false
	}
	return s.Accept[at].Why, true
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

func invalid(field, problem string) *broker.Error {
	return broker.Errorf(broker.CodeInvalid, "kubernetes: %s %s", field, problem).WithField(field)
}
