package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"
)

// SingleSignOn is `sso:` of hourkey.yaml: which token issuer says who a human is, and how that is read.
type SingleSignOn struct {
	Issuer       string            // https, or http on loopback; compared exactly with what tokens say
	ClientID     string            //
	ClientSecret string            // a reference
	Domains      []string          // of e-mail addresses that make a name
	Groups       map[string]string // the token issuer's group → ours
	NameClaim    string            // default: email
	GroupsClaim  string            // default: groups
	AuthTime     bool              // default true: tokens tell when the human last proved who it is
}

const maxTheirGroup = 256 // bytes

var (
	// claim is the name of a claim; some token issuers want a URL (OpenID Connect core, section 5.1.2).
	claim = regexp.MustCompile(`^[A-Za-z0-9_.:/-]{1,128}$`)
	// domain is a name of at least two labels (RFC 1123, section 2.1).
	domain = regexp.MustCompile(`^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$`)
	// issuerHost is what a browser and a certificate agree on.
	issuerHost = regexp.MustCompile(`^(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?$`)
)

// singleSignOn takes `sso:`; nothing below it leaves single sign-on off.
func (d document) singleSignOn(into **SingleSignOn) field {
	return func(node *yaml.Node) error {
		if isNull(node) {
			return nil
		}
		s := &SingleSignOn{NameClaim: "email", GroupsClaim: "groups", AuthTime: true}
		err := d.fields(node, map[string]field{
			"issuer": d.issuer(&s.Issuer), "client_id": d.text(&s.ClientID, "sso.client_id"), "client_secret": d.reference(&s.ClientSecret),
			"domains": d.domains(&s.Domains), "groups": d.groupMap(&s.Groups),
			"name_claim": d.claim(&s.NameClaim, "sso.name_claim"), "groups_claim": d.claim(&s.GroupsClaim, "sso.groups_claim"),
			"auth_time": d.truth(&s.AuthTime, "sso.auth_time"),
		})
		if err == nil {
			err = d.complete(node, s)
		}
		*into = s
		return err
	}
}

// complete refuses settings with which nobody, or anybody, would come in.
func (d document) complete(node *yaml.Node, s *SingleSignOn) error {
	for name, missing := range map[string]bool{
		"issuer": s.Issuer == "", "client_id": s.ClientID == "", "client_secret": s.ClientSecret == "", "groups": len(s.Groups) == 0,
		"domains": len(s.Domains) == 0 && s.NameClaim == "email",
	} {
		if missing {
			return d.errorf(node, "sso."+name, "sso.%s: is missing: single sign-on needs issuer, client_id, client_secret, domains and groups", name)
		}
	}
	return nil
}

func (d document) issuer(into *string) field {
	return func(node *yaml.Node) error {
		if err := d.text(into, "sso.issuer")(node); err != nil {
			return err
		}
		u, err := url.Parse(*into)
		if err != nil || !issuerHost.MatchString(u.Host) || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery {
			return d.errorf(node, "sso.issuer", "sso.issuer: expected https://host in lower case, with a path where there is one, and nothing after it")
		}
		address, _ := netip.ParseAddr(u.Hostname())
		if u.Scheme != "https" && (u.Scheme != "http" || !address.IsLoopback() && u.Hostname() != "localhost") {
			return d.errorf(node, "sso.issuer", "sso.issuer: expected https://: whoever is on the way could say who somebody is")
		}
		return nil
	}
}

// reference takes the reference to a secret. What is none may be the secret itself: it is not repeated.
func (d document) reference(into *string) field {
	return func(node *yaml.Node) error {
		if err := d.text(into, "sso.client_secret")(node); err != nil {
			return err
		}
		if !IsReference(*into) {
			return d.errorf(node, "sso.client_secret", "sso.client_secret: expected a reference to a secret, not the secret itself: env:NAME or file:PATH")
		}
		return nil
	}
}

func (d document) domains(into *[]string) field {
	return func(node *yaml.Node) error {
		texts, err := d.list(node, "sso.domains")
		if err != nil {
			return err
		}
		for i, text := range texts {
			if !domain.MatchString(text) {
				return d.errorf(node.Content[i], "sso.domains", "sso.domains: %q is not a domain in lower case, like example.com", clip(text))
			}
			if slices.Contains(texts[:i], text) {
				return d.errorf(node.Content[i], "sso.domains", "sso.domains: %q stands here twice", text)
			}
		}
		*into = texts
		return nil
	}
}

// groupMap takes theirs: ours. Theirs may be any text: an id, a path.
func (d document) groupMap(into *map[string]string) field {
	return func(node *yaml.Node) error {
		*into = map[string]string{}
		return d.each(node, "sso.groups", func(key, value *yaml.Node) error {
			if key.Value == "" || len(key.Value) > maxTheirGroup {
				return d.errorf(key, "sso.groups", "sso.groups: expected the token issuer's name of a group, at most %d bytes", maxTheirGroup)
			}
			var ours []string
			one := &yaml.Node{Kind: yaml.SequenceNode, Line: value.Line, Content: []*yaml.Node{value}}
			if err := d.names(&ours, "sso.groups")(one); err != nil {
				return err
			}
			(*into)[key.Value] = ours[0]
			return nil
		})
	}
}

func (d document) claim(into *string, name string) field {
	return func(node *yaml.Node) error {
		if err := d.text(into, name)(node); err != nil {
			return err
		}
		if !claim.MatchString(*into) {
			return d.errorf(node, name, "%s: expected the name of a claim, like preferred_username", name)
		}
		return nil
	}
}

// OurGroups lists, sorted, the groups of ours that single sign-on can put a human in; nil for no single sign-on.
func (s *SingleSignOn) OurGroups() []string {
	if s == nil {
		return nil
	}
	return slices.Compact(slices.Sorted(maps.Values(s.Groups)))
}

// Canonical gives what of it belongs into the configuration hash: all that decides who a human is and in which
// group, the same however it is written. nil for no single sign-on. The secret is no part of it.
func (s *SingleSignOn) Canonical() []byte {
	if s == nil {
		return nil
	}
	text, err := json.Marshal([]any{
		"hourkey/sso/1", s.Issuer, s.ClientID, slices.Sorted(slices.Values(s.Domains)), s.Groups, s.NameClaim, s.GroupsClaim, s.AuthTime,
	})
	if err != nil {
		panic(fmt.Sprintf("config: text that does not encode: %v", err)) // strings always do
	}
	return text
}
