package vault

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl"
	"github.com/hashicorp/hcl/hcl/ast"

	"github.com/hourkey/hourkey/broker"
)

// rule is one path of a policy, as Vault reads it (developer.hashicorp.com/vault/docs/concepts/policies). Text is
// parsed by the parser that Vault itself uses, so that both read the same.
type rule struct {
	policy       string
	path         string   // as written, without a leading slash
	segments     []string // between slashes; "+" stands for any one
	glob         bool     // the last segment is a prefix of whatever follows
	capabilities []string
	narrowed     bool // parameters or wrapping limit it further: what it gives is not sure to work
}

// The capabilities that Vault knows; one from a newer version is an error, and nothing is issued.
const (
	capCreate    = "create"
	capRead      = "read"
	capUpdate    = "update"
	capPatch     = "patch"
	capDelete    = "delete"
	capList      = "list"
	capSudo      = "sudo"
	capDeny      = "deny"
	capSubscribe = "subscribe"
	capRecover   = "recover"
)

func capabilityNames() []string {
	return []string{capCreate, capRead, capUpdate, capPatch, capDelete, capList, capSudo, capDeny, capSubscribe, capRecover}
}

// oldPolicies are the words of Vault's first policies, which it still reads.
func oldPolicies() map[string][]string {
	return map[string][]string{
		"deny": {capDeny}, "read": {capRead, capList},
		"write": {capCreate, capRead, capUpdate, capDelete, capList},
		"sudo":  {capCreate, capRead, capUpdate, capDelete, capList, capSudo},
	}
}

// parsePolicy reads a policy in HCL or JSON. What it does not know is an error.
func parsePolicy(name, text string) ([]rule, error) {
	file, err := hcl.Parse(text)
	if err != nil {
		return nil, unreadable(name, "it is neither HCL nor JSON")
	}
	list, ok := file.Node.(*ast.ObjectList)
	if !ok {
		return nil, unreadable(name, "it has no paths")
	}
	for _, item := range list.Items {
		if key := keyOf(item); key != "path" && key != "name" {
			return nil, unreadable(name, "it has a part that is neither path nor name")
		}
	}
	var rules []rule
	for _, item := range list.Filter("path").Items {
		one, err := parseRule(item)
		if err != nil {
			return nil, unreadable(name, err.Error())
		}
		one.policy = name
		rules = append(rules, one)
	}
	return rules, nil
}

func unreadable(policy, why string) error {
	return broker.Errorf(broker.CodeWall, "policy %s cannot be judged: %s", policy, why).WithNext("write it as path blocks with capabilities")
}

func keyOf(item *ast.ObjectItem) string {
	if len(item.Keys) == 0 {
		return ""
	}
	text, _ := item.Keys[0].Token.Value().(string)
	return text
}

func parseRule(item *ast.ObjectItem) (rule, error) {
	path := strings.TrimPrefix(keyOf(item), "/")
	body, ok := item.Val.(*ast.ObjectType)
	if !ok || path == "" || len(item.Keys) != 1 {
		return rule{}, errors.New("a path is not a block with capabilities")
	}
	one := rule{path: path, glob: strings.HasSuffix(path, "*"), segments: strings.Split(strings.TrimSuffix(path, "*"), "/")}
	seen := map[string]bool{}
	for _, entry := range body.List.Items {
		key := keyOf(entry)
		switch {
		case seen[key]:
			return rule{}, fmt.Errorf("path %q says %s twice", path, key)
		case slices.Contains([]string{"capabilities", "policy", "comment"}, key):
		case slices.Contains([]string{"allowed_parameters", "denied_parameters", "required_parameters", "min_wrapping_ttl", "max_wrapping_ttl", "mfa_methods", "control_group", "subscribe_event_types"}, key):
			one.narrowed = true
		default:
			return rule{}, fmt.Errorf("path %q says something that is not known here", path)
		}
		seen[key] = true
	}
	var says struct {
		Policy       string   `hcl:"policy"`
		Capabilities []string `hcl:"capabilities"`
	}
	if err := hcl.DecodeObject(&says, item.Val); err != nil {
		return rule{}, fmt.Errorf("path %q cannot be read", path)
	}
	var err error
	one.capabilities, err = effective(path, says.Policy, says.Capabilities)
	return one, err
}

// effective gives the capabilities that count: deny puts out all others.
func effective(path, old string, listed []string) ([]string, error) {
	if old != "" {
		more, known := oldPolicies()[old]
		if !known {
			return nil, fmt.Errorf("path %q has an unknown policy", path)
		}
		listed = slices.Concat(listed, more)
	}
	for _, one := range listed {
		if !slices.Contains(capabilityNames(), one) {
			return nil, fmt.Errorf("path %q has an unknown capability", path)
		}
	}
	if slices.Contains(listed, capDeny) {
		return []string{capDeny}, nil
	}
	slices.Sort(listed)
	return slices.Compact(listed), nil
}

// can tells whether the rule gives one of the capabilities.
func (r rule) can(any ...string) bool {
	return slices.ContainsFunc(any, func(one string) bool { return slices.Contains(r.capabilities, one) })
}

// line writes the rule as it was judged.
func (r rule) line() string {
	text := fmt.Sprintf("policy %s: path %q { capabilities = [%s] }", r.policy, r.path, strings.Join(r.capabilities, ", "))
	if r.narrowed {
		text += " (limited further by parameters or wrapping)"
	}
	return text
}

// below tells whether the rule can apply to a path that begins with the prefix, and what it leaves open behind it: a
// literal, or a literal prefix and a star. sure is false where the rule is for fewer paths than rest says.
func (r rule) below(prefix ...string) (rest string, sure, applies bool) {
	for at, want := range prefix {
		last := at == len(r.segments)-1
		switch {
		case at >= len(r.segments):
			return "", false, false
		case last && r.glob:
			return "*", true, strings.HasPrefix(want, r.segments[at])
		case r.segments[at] != "+" && r.segments[at] != want:
			return "", false, false
		}
	}
	open := r.segments[len(prefix):]
	text := strings.Join(open, "/")
	if r.glob && len(open) > 0 {
		text += "*"
	}
	return limited(text)
}

// limited makes a resource of what a rule leaves open: up to the first thing in it that is no plain text.
func limited(text string) (rest string, sure, applies bool) {
	cut := len(text)
	if at := strings.Index(text, "{{"); at >= 0 { // a template: filled in from an identity, which these tokens have none of
		cut = at
	}
	if at := strings.Index("/"+text, "/+"); at >= 0 {
		cut = min(cut, at)
	}
	if at := strings.IndexByte(text, '*'); at >= 0 && at < len(text)-1 {
		cut = min(cut, at)
	}
	if cut < len(text) {
		return text[:cut] + "*", false, true
	}
	return text, true, true
}
