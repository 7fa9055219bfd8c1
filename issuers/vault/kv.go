package vault

import (
	"cmp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/vault/session"
)

// kvEngine gives out tokens for the paths of a KV engine.
type kvEngine struct{ versioned bool }

func (kvEngine) traits() traits {
	return traits{
		mounted: "kv", early: true, floor: ttlFloor,
		ends: "At the TTL, by Vault's own clock, whether or not a broker runs; earlier, the moment that the broker revokes the token. " +
			"Values that were read stay known, and a wrapped answer that was asked for before the end can be unwrapped after it.",
	}
}

func (e kvEngine) version() string {
	if e.versioned {
		return "2"
	}
	return "1"
}

// paths are the offers' policies and, at version 2, the engine's settings.
func (e kvEngine) paths(s Settings) []string {
	var list []string
	if e.versioned {
		list = append(list, s.Mount+"/config")
	}
	for _, offer := range s.Offers {
		for _, name := range offer.Policies {
			list = append(list, policyPath(name))
		}
	}
	return list
}

func policyPath(name string) string { return "sys/policies/acl/" + name }

// judge reads the policies of an offer.
func (e kvEngine) judge(i *Issuer, read papers, offer Offer) (offered, error) {
	if found := cmp.Or(read.mount.options["version"], "1"); found != e.version() {
		return offered{}, broker.Errorf(broker.CodeWall, "%s: the mount %s is version %s of the kv engine", i.config.Ref, i.config.Settings.Mount, found).
			WithNext("write engine: kv for version 2, and engine: kv1 for version 1")
	}
	state := kvState{versioned: e.versioned}
	if e.versioned {
		data, err := read.at(i.config.Settings.Mount + "/config")
		if err != nil {
			return offered{}, i.fault("reading the engine's settings", err)
		}
		state.maxVersions = session.Number(data["max_versions"])
		state.deleteAfter, _ = data["delete_version_after"].(string)
	}
	var rules []rule
	for _, name := range offer.Policies {
		more, err := i.policy(read, name)
		if err != nil {
			return offered{}, err
		}
		rules = append(rules, more...)
	}
	return i.judgeKV(offer, state, rules)
}

// policy gives the rules of one policy of Vault.
func (i *Issuer) policy(read papers, name string) ([]rule, error) {
	data, err := read.at(policyPath(name))
	if err != nil {
		return nil, i.fault("reading the policy "+name, err)
	}
	text, _ := data["policy"].(string)
	return parsePolicy(name, text)
}

func (kvEngine) path(Settings, Offer) string { return "" }

func (kvEngine) ask(Settings, Offer, broker.Order, int64) (request, error) { return request{}, nil }

// values are the variables that the vault command and its libraries read.
func (kvEngine) values(s Settings, got issued) (credentialValues, error) {
	values := map[string]broker.Secret{"VAULT_ADDR": broker.NewSecret(s.Address), "VAULT_TOKEN": got.token}
	if s.Namespace != "" {
		values["VAULT_NAMESPACE"] = broker.NewSecret(s.Namespace)
	}
	return credentialValues{values: values}, nil
}
