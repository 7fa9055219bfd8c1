package kubernetes

import (
	"fmt"
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

// check says what is wrong with the settings; its errors are CodeInvalid and name the field.
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

// accepts gives the reason for which the file accepts a hole.
func (s Settings) accepts(object string) (why string, accepted bool) {
	at := slices.IndexFunc(s.Accept, func(a Accept) bool { return a.Object == object })
	if at < 0 || !isAcceptable(object) {
		return "", false
	}
	return s.Accept[at].Why, true
}

// accepted gives the exception for a hole that the configuration accepts.
func (i *Issuer) accepted(object string) (broker.Exception, bool) {
	why, accepted := i.config.Settings.accepts(object)
	return broker.Exception{Object: object, Why: why}, accepted
}

func invalid(field, problem string) *broker.Error {
	return broker.Errorf(broker.CodeInvalid, "kubernetes: %s %s", field, problem).WithField(field)
}
