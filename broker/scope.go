package broker

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Scope is what may be done to what at one target. Its text form is target:resource:actions, split at
// the first and the last colon: "orders-db:public.orders:read,write". A resource is a literal, or a
// literal prefix that ends in "*". (After the shape of RFC 9396 authorization details.)
type Scope struct {
	Target   string   `json:"target"`
	Resource Resource `json:"resource"`
	Actions  Actions  `json:"actions"`
}

// Resource names one thing at a target, or, when it ends in "*", every thing whose name begins with
// what stands before the star. A star elsewhere is not allowed.
type Resource string

// The longest texts that an agent may send.
const (
	maxScope = 512
	maxName  = 64
)

// ParseScope reads target:resource:actions.
func ParseScope(text string) (Scope, error) {
	first, last := strings.IndexByte(text, ':'), strings.LastIndexByte(text, ':')
	if first < 0 || first == last {
		return Scope{}, Errorf(CodeInvalid, "scope %q: expected target:resource:actions, like orders-db:public.orders:read,write", clip(text)).WithField("scope")
	}
	if len(text) > maxScope {
		return Scope{}, Errorf(CodeInvalid, "scope %q is longer than %d bytes", clip(text), maxScope).WithField("scope")
	}
	actions, err := ParseActions(text[last+1:])
	if err != nil {
		return Scope{}, Errorf(CodeInvalid, "scope %q: %s", clip(text), err.Error()).WithField("scope")
	}
	scope := Scope{Target: text[:first], Resource: Resource(text[first+1 : last]), Actions: actions}
	if err := scope.validate(); err != nil {
		return Scope{}, err
	}
	return scope, nil
}

func (s Scope) validate() error {
	if !IsName(s.Target) {
		return Errorf(CodeInvalid, "scope %q: target %q is not a name: expected a-z, 0-9 and dashes", clip(s.String()), clip(s.Target)).WithField("scope")
	}
	if why := s.Resource.wrong(); why != "" {
		return Errorf(CodeInvalid, "scope %q: resource %s", clip(s.String()), why).WithField("scope")
	}
	if s.Actions == 0 || s.Actions&^(Read|Write|Delete|Admin) != 0 {
		return Errorf(CodeInvalid, "scope %q: no known action", clip(s.String())).WithField("scope")
	}
	return nil
}

// String gives target:resource:actions.
func (s Scope) String() string { return s.Target + ":" + string(s.Resource) + ":" + s.Actions.String() }

// Covers tells whether everything that t allows is allowed by s.
func (s Scope) Covers(t Scope) bool {
	return s.Target == t.Target && s.Resource.Covers(t.Resource) && t.Actions.IsSubsetOf(s.Actions)
}

// IsPrefix tells whether r stands for every name that begins so.
func (r Resource) IsPrefix() bool { return strings.HasSuffix(string(r), "*") }

// Stem is the literal, or what stands before the star.
func (r Resource) Stem() string { return strings.TrimSuffix(string(r), "*") }

// Covers tells whether every name that o can stand for is one that r stands for.
func (r Resource) Covers(o Resource) bool {
	if r.IsPrefix() {
		return strings.HasPrefix(o.Stem(), r.Stem())
	}
	return r == o // a literal covers itself alone, never a prefix
}

// wrong says what is wrong with the resource, empty if nothing. Control and format characters are
// refused because a reviewer could not see them (the attack: bidi and zero-width text in a name).
func (r Resource) wrong() string {
	switch {
	case r.Stem() == "" && !r.IsPrefix():
		return "is empty"
	case strings.Contains(r.Stem(), "*"):
		return "has a star that is not at its end"
	case !utf8.ValidString(string(r)):
		return "is not UTF-8"
	}
	for _, c := range string(r) {
		if !unicode.IsPrint(c) {
			return "has a character that cannot be seen"
		}
	}
	return ""
}

// Covers tells whether each scope of inner is covered, action by action, by scopes of outer.
// Actions on one resource may be covered by different scopes.
func Covers(outer, inner []Scope) bool {
	for _, in := range inner {
		var have Actions
		for _, out := range outer {
			if out.Target == in.Target && out.Resource.Covers(in.Resource) {
				have |= out.Actions
			}
		}
		if in.Actions == 0 || !in.Actions.IsSubsetOf(have) {
			return false
		}
	}
	return true
}

// Normalize sorts scopes and joins the actions of equal resources, so that equal sets have equal
// texts and digests. It does not change its argument.
func Normalize(scopes []Scope) []Scope {
	sorted := slices.Clone(scopes)
	slices.SortFunc(sorted, func(a, b Scope) int {
		return cmp.Or(cmp.Compare(a.Target, b.Target), cmp.Compare(a.Resource, b.Resource))
	})
	joined := sorted[:0]
	for _, s := range sorted {
		if n := len(joined); n > 0 && joined[n-1].Target == s.Target && joined[n-1].Resource == s.Resource {
			joined[n-1].Actions |= s.Actions
			continue
		}
		joined = append(joined, s)
	}
	return joined
}

// AllActions is the union of the actions of scopes.
func AllActions(scopes []Scope) Actions {
	var all Actions
	for _, s := range scopes {
		all |= s.Actions
	}
	return all
}

// Texts gives the text form of each scope.
func Texts(scopes []Scope) []string {
	texts := make([]string, len(scopes))
	for i, s := range scopes {
		texts[i] = s.String()
	}
	return texts
}

// IsName tells whether text names an environment, a target, a task or a human: a-z, 0-9, "-", "_" and
// ".", beginning with a letter or digit, at most 64 bytes.
func IsName(text string) bool {
	for i, c := range []byte(text) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case i > 0 && (c == '-' || c == '_' || c == '.'):
		default:
			return false
		}
	}
	return text != "" && len(text) <= maxName
}

// IsAgentName is IsName for each of one or more parts between slashes: "ci/deploy".
func IsAgentName(text string) bool {
	for part := range strings.SplitSeq(text, "/") {
		if !IsName(part) {
			return false
		}
	}
	return len(text) <= maxName
}

// clip shortens what a caller sent before it goes into a message.
func clip(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
