package daemon

import (
	"net/url"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/issuers/vault"
	"github.com/hourkey/hourkey/issuers/vault/session"
)

// reference is a vault:PATH#FIELD of the configuration.
type reference struct {
	where string // file:line, or the setting
	path  string // of Vault's API
}

// vaultReferences lists what a configuration refers to at the broker's own Vault. What has not their form is left out: whoever
// resolves it says so.
func vaultReferences(set *config.Set) []reference {
	var list []reference
	add := func(where, text string) {
		rest, is := strings.CutPrefix(text, "vault:")
		if path, _, err := session.SplitReference(rest); is && err == nil {
			list = append(list, reference{where, path})
		}
	}
	for _, target := range set.Targets {
		each(target.Body, func(node *yaml.Node) { add(target.Where, node.Value) })
	}
	if sso := set.Server.SingleSignOn; sso != nil {
		add("sso.client_secret", sso.ClientSecret)
	}
	for _, c := range set.Server.Notify {
		for _, text := range []string{c.URL, c.Token, c.Secret, c.Password} {
			add(c.Where, text)
		}
	}
	return list
}

// each visits the values below a node.
func each(node *yaml.Node, visit func(*yaml.Node)) {
	if node == nil {
		return
	}
	if node.Kind == yaml.ScalarNode {
		visit(node)
	}
	for _, child := range node.Content {
		each(child, visit)
	}
}

// apart refuses references to what a target hands out of the same Vault: an agent could read the broker's own secret there with
// an ordinary lease, or put another in its place and so lead the broker elsewhere. Addresses are compared as text.
func apart(set *config.Set) error {
	references := vaultReferences(set)
	if len(references) == 0 || set.Server.Vault == nil {
		return nil
	}
	var own session.Settings
	if err := set.Server.Vault.Decode(&own); err != nil {
		return nil //nolint:nilerr // who opens it says so
	}
	for _, target := range set.Targets {
		var theirs vault.Settings
		if target.Kind != vault.Kind || target.Body.Decode(&theirs) != nil || host(theirs.Address) != host(own.Address) || theirs.Namespace != own.Namespace {
			continue
		}
		for _, r := range references {
			if handsOut(theirs, r.path) {
				return broker.Errorf(broker.CodeInvalid, "%s: vault:%s lies in an engine that the target %s hands out: an agent could read the broker's own secret, or exchange it", r.where, r.path, target.Ref).
					WithNext("keep what the broker refers to in an engine of its own, which no target names")
			}
		}
	}
	return nil
}

// handsOut tells whether leases of a target may reach a path: in its mount folders are no wall (docs/issuers/vault.md).
func handsOut(target vault.Settings, path string) bool {
	return strings.HasPrefix(path, target.Mount+"/")
}

func host(address string) string {
	at, err := url.Parse(address)
	if err != nil {
		return address
	}
	return strings.ToLower(at.Host)
}
