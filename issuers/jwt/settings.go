package jwt

import (
	"regexp"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

const (
	defaultTTL = 5 * time.Minute
	// ttlFloor leaves at least a second to use a token: its expiry counts whole seconds, rounded down.
	ttlFloor    = 2 * time.Second
	maxAudience = 256
)

// Settings is the body of a `jwt:` target in an environment's file.
type Settings struct {
	Audience  string        `yaml:"audience"`  // the service, as it knows itself: the claim aud
	Resources []string      `yaml:"resources"` // what may be asked for: names, or prefixes that end in "*"
	TTL       time.Duration `yaml:"ttl"`       // the longest life of a token; default 5m, at most 60m
	Variable  string        `yaml:"variable"`  // environment variable that carries the token; default HOURKEY_TOKEN_<TARGET>
}

var variablePattern = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,63}$`)

// complete checks the settings and fills in what may be left out. Its errors name the field.
func (s Settings) complete(target string) (Settings, error) {
	if s.TTL == 0 {
		s.TTL = defaultTTL
	}
	if s.Variable == "" {
		s.Variable = "HOURKEY_TOKEN_" + strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToUpper(target))
	}
	switch {
	case s.Audience == "":
		return s, invalid("audience", "is missing: the name by which the service knows itself, like https://orders.example")
	case len(s.Audience) > maxAudience || !isVisible(s.Audience):
		return s, invalid("audience", "must be at most 256 visible ASCII characters")
	case s.TTL < ttlFloor || s.TTL > broker.Hour:
		return s, invalid("ttl", "is "+s.TTL.String()+": expected 2s to 60m, with a unit")
	case !variablePattern.MatchString(s.Variable):
		return s, invalid("variable", "must be an environment variable's name: A-Z, 0-9 and _, at most 64")
	case len(s.Resources) == 0:
		return s, invalid("resources", `is missing: list what may be asked for, like ["orders/*"]`)
	}
	for _, resource := range s.Resources {
		if _, err := broker.ParseScope(target + ":" + resource + ":read"); err != nil || !isScopeToken(resource) {
			return s, invalid("resources", "has an entry that is neither a name nor a prefix ending in *, in ASCII without spaces, quotes and backslashes")
		}
	}
	return s, nil
}

func invalid(field, problem string) *broker.Error {
	return broker.Errorf(broker.CodeInvalid, "jwt: %s %s", field, problem).WithField(field)
}

func isVisible(text string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' })
}

// isScopeToken tells whether text can stand in a scope claim (RFC 6749 section 3.3: scope-token), where
// a space would make two scopes of one.
func isScopeToken(text string) bool {
	return isVisible(text) && !strings.ContainsAny(text, `"\`)
}
