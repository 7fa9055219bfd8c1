package vault

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/vault/session"
)

// Kind is the name of this kind of target in an environment's file.
const Kind = "vault"

// Settings is the body of a `vault:` target in an environment's file.
type Settings struct {
	Address   string        `yaml:"address"`
	Namespace string        `yaml:"namespace"`
	CA        string        `yaml:"ca"`
	Login     session.Login `yaml:"login"`

	Engine     string   `yaml:"engine"`     // one of Engines
	Mount      string   `yaml:"mount"`      // where it is mounted, like database-staging
	TokenRole  string   `yaml:"token_role"` // the role of auth/token that makes the leases' tokens
	Policies   []string `yaml:"policies"`   // of the token that asks for the credential; not for kv, where each offer has its own
	Connection string   `yaml:"connection"` // database: the one connection whose roles may be used
	URL        string   `yaml:"url"`        // database: where clients reach it, if not where Vault does: postgres://host:port/name?sslmode=verify-full
	Cluster    string   `yaml:"cluster"`    // kubernetes: the namespace is in the role; this is the API server for clients, https://…
	Folders    []string `yaml:"folders"`    // kv: the first names of the paths that belong to this environment
	Offers     []Offer  `yaml:"offers"`
	Accept     []Accept `yaml:"accept"` // database, kv, aws and ssh: what Vault cannot look at, and somebody else made sure of
}

// Accept names one thing that Hourkey cannot see by way of Vault, and how somebody made sure of it. Reviewers see both.
type Accept struct {
	Object string `yaml:"object"` // one of those below
	Why    string `yaml:"why"`
}

// What can be accepted.
const (
	// AcceptPublicConnect: PUBLIC may connect to no other database of the server. Without it nothing is issued, for a lease could
	// be outside its environment.
	AcceptPublicConnect = "public-connect"
	// AcceptDefinerCode: no function, trigger, rule, view or foreign key does more than who uses it may. Without it every request
	// needs the approvals of delete.
	AcceptDefinerCode = "definer-code"
	// AcceptVersionHistory: values of a kv engine are kept somewhere else too; at aws and aws-sts, the buckets keep versions. Without
	// it every request to write needs the approvals of delete, for writing, or writing again and again, destroys what was there.
	AcceptVersionHistory = "version-history"
	// AcceptWholeMount: a kv mount of version 2 holds nothing that its leases may not touch, or something in front of Vault refuses
	// paths with an encoded "..". Without it every request to write behind a star needs the approvals of delete (kv_wall.go).
	AcceptWholeMount = "whole-mount"
	// AcceptShell: the hosts of an ssh engine run no other commands for the account than harmless ones, though what the certificate forces
	// none. Without it every request needs the approvals of delete and admin (ssh_wall.go).
	AcceptShell = "shell"
)

// acceptable is what can be accepted at an engine.
func (s Settings) acceptable() []string {
	switch s.Engine {
	case engineDatabase:
		return []string{AcceptPublicConnect, AcceptDefinerCode}
	case engineKV:
		return []string{AcceptVersionHistory, AcceptWholeMount}
	case engineAWS, engineAWSSTS:
		return []string{AcceptVersionHistory}
	case engineSSH:
		return []string{AcceptShell}
	}
	return nil
}

// Offer is one thing that Vault can hand out: a role of the engine, or, at a KV engine, a token of these policies.
type Offer struct {
	Role     string   `yaml:"role"`
	Policies []string `yaml:"policies"`
	// What is asked for: the name in a certificate of pki, and the user name in one of ssh.
	CommonName string `yaml:"common_name"`
	Principal  string `yaml:"principal"`

	Scopes []string `yaml:"scopes"` // RESOURCE:ACTIONS, what Hourkey cannot read out of Vault; wants why
	Why    string   `yaml:"why"`    // how somebody made sure of it; reviewers see it
}

const mostOffers = 32

var (
	namePattern      = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	certifiedPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$`)
	policyPattern    = regexp.MustCompile(`^[a-z0-9_][a-z0-9_.-]{0,127}$`) // Vault makes their names lower case
)

// connection gives the part of the settings that a session is made of.
func (s Settings) connection() session.Settings {
	return session.Settings{Address: s.Address, Namespace: s.Namespace, CA: s.CA, Login: s.Login}
}

// check says what is wrong with the settings. Errors are CodeInvalid and name the field.
func (s Settings) check(target string) error {
	if err := s.connection().Check(); err != nil {
		return err
	}
	if _, known := engines()[s.Engine]; !known {
		return invalid("engine", "must be one of "+strings.Join(Engines(), ", "))
	}
	switch {
	case !session.IsPath(s.Mount):
		return invalid("mount", "must be the engine's mount, without slashes at its ends: database-staging")
	case !namePattern.MatchString(s.TokenRole):
		return invalid("token_role", "must be the name of a role of auth/token, like hourkey-staging")
	case len(s.Offers) == 0 || len(s.Offers) > mostOffers:
		return invalid("offers", "must list 1 to 32 things that Vault can hand out, like [{role: orders-rw}]")
	}
	if err := s.checkKind(); err != nil {
		return err
	}
	if err := s.checkAccept(); err != nil {
		return err
	}
	for at, offer := range s.Offers {
		if err := s.checkOffer(target, offer); err != nil {
			return err
		}
		if slices.ContainsFunc(s.Offers[:at], func(o Offer) bool { return o.Role == offer.Role && slices.Equal(o.Policies, offer.Policies) }) {
			return invalid("offers", "names the same thing twice")
		}
	}
	return nil
}

// checkKind checks the fields that belong to one engine alone: set for another, they would promise a wall that is not there.
func (s Settings) checkKind() error {
	isKV, isDatabase := s.isKV(), s.Engine == engineDatabase
	switch {
	case isKV && len(s.Policies) > 0:
		return invalid("policies", "stand with each offer, at a kv engine")
	case !isKV && (len(s.Policies) == 0 || slices.ContainsFunc(s.Policies, isNoPolicy)):
		return invalid("policies", "must name the policies of the token that asks the engine: it may read the offers' paths, and nothing else")
	case isDatabase != (s.Connection != "") || isDatabase && isNoName(s.Connection):
		return invalid("connection", "must be the name of one connection of a database engine, and is for that alone")
	case isKV != (len(s.Folders) > 0) || slices.ContainsFunc(s.Folders, isNoName):
		return invalid("folders", "must list the first names of a kv engine's paths, like [app, web], and is for that alone")
	case s.Cluster != "" && (s.Engine != engineKubernetes || !strings.HasPrefix(s.Cluster, "https://")):
		return invalid("cluster", "must be the API server's address, https://…, and is for kubernetes alone")
	}
	return s.checkURL()
}

func (s Settings) checkAccept() error {
	for at, accept := range s.Accept {
		switch {
		case !slices.Contains(s.acceptable(), accept.Object):
			return invalid("accept", "names "+AcceptPublicConnect+" or "+AcceptDefinerCode+" at a database, "+AcceptVersionHistory+" or "+AcceptWholeMount+" at kv, "+AcceptVersionHistory+" at aws and aws-sts, "+AcceptShell+" at ssh, and is for no other")
		case accept.Why == "":
			return invalid("accept", "has an entry without why: reviewers are shown it")
		case slices.ContainsFunc(s.Accept[:at], func(a Accept) bool { return a.Object == accept.Object }):
			return invalid("accept", "names "+accept.Object+" twice")
		}
	}
	return nil
}

// accepts gives the reason for which something is accepted.
func (s Settings) accepts(object string) (why string, accepted bool) {
	for _, accept := range s.Accept {
		if accept.Object == object {
			return accept.Why, true
		}
	}
	return "", false
}

func (s Settings) checkURL() error {
	if s.URL == "" {
		return nil
	}
	at, err := url.Parse(s.URL)
	if err != nil || s.Engine != engineDatabase || at.Host == "" || at.User != nil || len(at.Path) < 2 || at.Scheme != "postgres" && at.Scheme != "postgresql" {
		return invalid("url", "must be a database's address without user and password: postgres://host:5432/orders?sslmode=verify-full")
	}
	return nil
}

func (s Settings) checkOffer(target string, offer Offer) error {
	isKV := s.isKV()
	switch {
	case isKV && (offer.Role != "" || len(offer.Policies) == 0 || slices.ContainsFunc(offer.Policies, isNoPolicy)):
		return invalid("offers", "of a kv engine are policies: [{policies: [staging-app-rw]}]")
	case !isKV && (len(offer.Policies) > 0 || isNoName(offer.Role)):
		return invalid("offers", "of this engine are roles: [{role: orders-rw}]")
	case (s.Engine == enginePKI) != (offer.CommonName != "") || (s.Engine == engineSSH) != (offer.Principal != ""):
		return invalid("offers", "of pki want common_name, those of ssh want principal, and no others do")
	case offer.CommonName != "" && !certifiedPattern.MatchString(offer.CommonName) || offer.Principal != "" && isNoName(offer.Principal):
		return invalid("offers", "must have a common_name or principal that is one plain name: a star or a comma would stand for others too")
	case (len(offer.Scopes) > 0) != (offer.Why != ""):
		return invalid("offers", "has scopes without why, or why without scopes: reviewers are shown both")
	case isKV && len(offer.Scopes) > 0:
		return invalid("offers", "of a kv engine declare no scopes: the policies themselves are read")
	case !isKV && s.Engine != engineDatabase && len(offer.Scopes) == 0:
		return invalid("offers", "of this engine want scopes and why: Hourkey cannot read out of Vault what the credential may do")
	}
	for _, text := range offer.Scopes {
		if _, err := broker.ParseScope(target + ":" + text); err != nil {
			return invalid("offers", "has scopes that are not RESOURCE:ACTIONS, like deploy:read,write")
		}
	}
	return nil
}

func (s Settings) isKV() bool { return s.Engine == engineKV || s.Engine == engineKV1 }

func isNoName(name string) bool { return !namePattern.MatchString(name) }

// isNoPolicy refuses root, which is everything, and default, which changes with Vault, besides what is no name.
func isNoPolicy(name string) bool {
	return !policyPattern.MatchString(name) || name == "root" || name == "default"
}

func invalid(field, problem string) *broker.Error {
	return broker.Errorf(broker.CodeInvalid, "vault: %s %s", field, problem).WithField(field)
}
