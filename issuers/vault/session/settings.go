package session

import (
	"cmp"
	"net"
	"net/url"
	"regexp"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// Settings says where Vault is and who logs in there.
type Settings struct {
	Address   string `yaml:"address"`   // https://vault.example:8200; plain http on loopback alone
	Namespace string `yaml:"namespace"` // of Vault Enterprise; empty: none
	CA        string `yaml:"ca"`        // a reference to the PEM of a private authority, like file:vault-ca.pem
	Login     Login  `yaml:"login"`
}

// Login is the way in: exactly one of them.
type Login struct {
	AppRole    AppRole `yaml:"approle"`
	Kubernetes Bearer  `yaml:"kubernetes"`
	JWT        Bearer  `yaml:"jwt"`
	Token      string  `yaml:"token"` // a reference to a token made by hand: renewed, but when it has ended, nobody can log in again
}

// AppRole is a login by role id and secret id.
type AppRole struct {
	RoleID   string `yaml:"role_id"`   // no secret: written as it is
	SecretID string `yaml:"secret_id"` // a reference; read again at every login
	Mount    string `yaml:"mount"`     // default approle
}

// Bearer is a login by a signed token: of a Kubernetes service account, or any JWT.
type Bearer struct {
	Role  string `yaml:"role"`
	Token string `yaml:"token"` // a reference; read again at every login, for such tokens are replaced by others
	Mount string `yaml:"mount"` // default kubernetes, or jwt
}

// pathPattern is what a mount, a role, a policy or a namespace may be called here: nothing that a URL or Vault's policies
// read in another way.
var pathPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$`)

// IsPath tells whether text is one or more plain names between slashes, as mounts are written here.
func IsPath(text string) bool { return len(text) <= 256 && pathPattern.MatchString(text) }

// Check says what is wrong with the settings. Errors are CodeInvalid and name the field.
func (s Settings) Check() error {
	if err := s.checkAddress(); err != nil {
		return err
	}
	if s.Namespace != "" && !IsPath(s.Namespace) {
		return invalid("namespace", "must be names between slashes, without a slash at either end")
	}
	return s.Login.check()
}

func (s Settings) checkAddress() error {
	if s.Address == "" {
		return invalid("address", "is missing: where Vault is, like https://vault.example:8200")
	}
	at, err := url.Parse(s.Address)
	switch {
	case err != nil || at.Host == "" || at.User != nil || at.RawQuery != "" || at.Fragment != "" || strings.Trim(at.Path, "/") != "":
		return invalid("address", "must be scheme, host and port alone, like https://vault.example:8200")
	case at.Scheme == "http" && !isLoopback(at.Hostname()):
		return invalid("address", "must begin with https: over plain http every token could be read on the way")
	case at.Scheme != "http" && at.Scheme != "https":
		return invalid("address", "must begin with https")
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (l Login) check() error {
	ways := 0
	for _, used := range []bool{l.AppRole != AppRole{}, l.Kubernetes != Bearer{}, l.JWT != Bearer{}, l.Token != ""} {
		if used {
			ways++
		}
	}
	if ways != 1 {
		return invalid("login", "must have exactly one of approle, kubernetes, jwt and token")
	}
	if l.AppRole != (AppRole{}) && (l.AppRole.RoleID == "" || l.AppRole.SecretID == "") {
		return invalid("login", "by approle wants role_id and secret_id")
	}
	for _, bearer := range []Bearer{l.Kubernetes, l.JWT} {
		if bearer != (Bearer{}) && (bearer.Role == "" || bearer.Token == "") {
			return invalid("login", "wants role and token, the token as a reference like file:PATH")
		}
	}
	for _, mount := range []string{l.AppRole.Mount, l.Kubernetes.Mount, l.JWT.Mount} {
		if mount != "" && !IsPath(mount) {
			return invalid("login", "has a mount that is no plain path: write approle, not auth/approle/")
		}
	}
	return nil
}

// secret is the reference to what the login proves itself with.
func (l Login) secret() string {
	return cmp.Or(l.AppRole.SecretID, l.Kubernetes.Token, l.JWT.Token, l.Token)
}

func invalid(field, problem string) *broker.Error {
	return broker.Errorf(broker.CodeInvalid, "vault: %s %s", field, problem).WithField(field)
}
