package github

import (
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// Settings is the body of a `github:` target in an environment's file.
type Settings struct {
	Token        string   `yaml:"token"`        // reference to a token: of a GitHub App's installation, or a fine-grained one
	Repositories []string `yaml:"repositories"` // the environment: ["acme/shop", "acme/web"], as GitHub writes them
	URL          string   `yaml:"url"`          // of the API, for an Enterprise Server: https://github.acme.example/api/v3
}

// mostRepositories bounds how often GitHub is asked who a target is.
const mostRepositories = 50

var repositoryPattern = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?/[A-Za-z0-9._-]{1,100}$`)

// Pack is the pack for the server that the settings name.
func (s Settings) Pack() (*Pack, error) {
	base, err := s.base()
	if err != nil {
		return nil, err
	}
	pack, err := New()
	if err != nil || s.URL == "" {
		return pack, err
	}
	return pack.at(base), nil
}

// isRepository tells whether name is OWNER/NAME, in a path too.
func isRepository(name string) bool {
	return repositoryPattern.MatchString(name) && !strings.HasSuffix(name, "/.") && !strings.HasSuffix(name, "/..")
}

// check tells what is wrong with the settings. Its errors name the field.
func (s Settings) check() error {
	if len(s.Repositories) == 0 {
		return invalid("repositories", `is missing: list the repositories of the environment, like ["acme/shop"]`)
	}
	if len(s.Repositories) > mostRepositories {
		return invalid("repositories", "has more than 50 entries: make several targets")
	}
	var seen []string
	for _, name := range s.Repositories {
		switch {
		case !isRepository(name):
			return invalid("repositories", "has an entry that is no repository: expected OWNER/NAME")
		case slices.Contains(seen, strings.ToLower(name)):
			return invalid("repositories", "names "+name+" twice: GitHub does not tell upper from lower case")
		}
		seen = append(seen, strings.ToLower(name))
	}
	_, err := s.base()
	return err
}

// base is where the API is.
func (s Settings) base() (*url.URL, error) {
	if s.URL == "" {
		return &url.URL{Scheme: "https", Host: mainHost}, nil
	}
	base, err := url.Parse(s.URL)
	switch {
	case err != nil, base.Hostname() == "", base.User != nil, base.RawQuery != "", base.Fragment != "", base.Opaque != "":
		return nil, invalid("url", "must be the address of an API, like https://github.acme.example/api/v3")
	case base.Scheme != "https" && (base.Scheme != "http" || !isLoopback(base.Hostname())):
		return nil, invalid("url", "must begin with https://")
	}
	base.Path = strings.TrimSuffix(base.Path, "/")
	if base.Path != "" && base.Path != "/api/v3" {
		return nil, invalid("url", "has a path that is not /api/v3")
	}
	return base, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func invalid(field, problem string) *broker.Error {
	return broker.Errorf(broker.CodeInvalid, "github: %s %s", field, problem).WithField(field)
}
