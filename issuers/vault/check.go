package vault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/vault/session"
)

// Check tells, permission by permission, what the broker's own login lacks or has too much, and then what is wrong with the
// token role and with each offer.
func (i *Issuer) Check(ctx context.Context) ([]broker.Finding, error) {
	found, err := i.checkLogin(ctx)
	if err != nil {
		if finding, wall := asFinding("login", err); wall {
			return []broker.Finding{finding}, nil
		}
		return nil, i.fault("checking the broker's own login", err)
	}
	lacks := len(found) > 0
	read, err := i.look(ctx, append(i.allPaths(i.config.Settings), i.leasePolicyPaths()...))
	if finding, wall := asFinding("mount", err); wall {
		return append(found, finding), nil
	}
	if err != nil && lacks {
		return found, nil // it is said above why
	}
	if err != nil {
		return nil, err
	}
	found = append(found, i.checkTokenRole(read)...)
	found = append(found, i.checkOffers(read)...)
	found = append(found, i.checkDatabase(read)...)
	found = append(found, i.checkKeyIDs(read)...)
	found = append(found, i.checkLeasePolicies(read)...)
	slices.SortStableFunc(found, func(a, b broker.Finding) int { return cmp.Compare(rank(a), rank(b)) })
	return found, nil
}

func rank(f broker.Finding) int {
	if f.Refuses {
		return 0
	}
	return 1
}

// asFinding makes a finding of a missing wall.
func asFinding(object string, err error) (broker.Finding, bool) {
	known, ok := errors.AsType[*broker.Error](err)
	if !ok || known.Code != broker.CodeWall {
		return broker.Finding{}, false
	}
	return broker.Finding{Refuses: true, Object: object, Problem: known.Message, Mend: known.Next}, true
}

// checkLogin asks what the broker's own token may do: what it needs, and what it should not.
func (i *Issuer) checkLogin(ctx context.Context) ([]broker.Finding, error) {
	needs, excess := i.needs(), i.excess()
	var paths []string
	for _, n := range needs {
		paths = append(paths, cmp.Or(n.probe, n.path))
	}
	for _, e := range excess {
		paths = append(paths, e.path)
	}
	can, err := i.session.Capabilities(ctx, unique(paths))
	if err != nil {
		return nil, err
	}
	var found []broker.Finding
	for _, n := range needs {
		has := can[cmp.Or(n.probe, n.path)]
		if lacks := without(n.capabilities, has); len(lacks) > 0 {
			found = append(found, broker.Finding{
				Refuses: true, Object: "login " + n.path,
				Problem: fmt.Sprintf("the broker's login lacks %s on %s, to %s", strings.Join(lacks, " and "), n.path, n.why),
				Mend:    fmt.Sprintf("path %q { capabilities = [%s] }", n.path, quotedList(n.capabilities)),
			})
		}
	}
	for _, e := range excess {
		if more := slices.DeleteFunc(slices.Clone(e.capabilities), func(c string) bool { return !slices.Contains(can[e.path], c) }); len(more) > 0 {
			found = append(found, broker.Finding{
				Object: "login " + e.path, Problem: fmt.Sprintf("the broker's login has %s on %s and does not need it: with it, it could %s", strings.Join(more, ", "), e.path, e.why),
				Mend: "take it out of the login's policies",
			})
		}
	}
	return found, nil
}

// without gives what of wanted is not in has.
func without(wanted, has []string) []string {
	return slices.DeleteFunc(slices.Clone(wanted), func(one string) bool { return slices.Contains(has, one) })
}

// checkTokenRole reports every fault of the token role, and policies that it lacks or has too much.
func (i *Issuer) checkTokenRole(read papers) []broker.Finding {
	name := i.config.Settings.TokenRole
	object := "token role " + name
	data, err := read.at(tokenRolePath(name))
	if err != nil {
		if session.StatusOf(err) != http.StatusNotFound {
			return nil // the login lacks the permission: that is said already
		}
		return []broker.Finding{{Refuses: true, Object: object, Problem: "there is no token role " + name, Mend: i.tokenRoleMend()}}
	}
	var found []broker.Finding
	for _, wrong := range tokenRoleFaults(data) {
		found = append(found, broker.Finding{Refuses: true, Object: object, Problem: "the token role " + name + " " + wrong, Mend: i.tokenRoleMend()})
	}
	allowed, wanted := session.Texts(data["allowed_policies"]), i.allowedPolicies()
	if lacks := without(wanted, allowed); len(lacks) > 0 {
		found = append(found, broker.Finding{Refuses: true, Object: object, Problem: "the token role " + name + " does not allow the policies " + strings.Join(lacks, ", "), Mend: i.tokenRoleMend()})
	}
	if more := without(allowed, wanted); len(more) > 0 {
		found = append(found, broker.Finding{Object: object, Problem: "the token role " + name + " also allows the policies " + strings.Join(more, ", ") + ", which this target does not use", Mend: i.tokenRoleMend()})
	}
	return found
}

// checkOffers judges each offer; a fault refuses the requests that need it alone.
func (i *Issuer) checkOffers(read papers) []broker.Finding {
	var found []broker.Finding
	for _, offer := range i.config.Settings.Offers {
		object := "offer " + cmp.Or(offer.Role, strings.Join(offer.Policies, ","))
		judged, err := i.engine.judge(i, read, offer)
		known, failed := errors.AsType[*broker.Error](err)
		switch {
		case failed && known.Code != broker.CodeWall && read.forbidden():
			continue // the login lacks a permission: that is said already
		case failed:
			found = append(found, broker.Finding{Object: object, Problem: "requests that need it are refused: " + known.Message, Mend: known.Next})
			continue
		}
		if broker.AllActions(judged.reach).Has(broker.Admin) {
			found = append(found, broker.Finding{Object: object, Problem: "it counts as admin, so every request for it needs the approvals of admin", Mend: "a narrower role or policy: the native policy of a request for it says which line counts so"})
		}
		for _, wall := range judged.walls {
			if mend := judged.mends[wall.Stops]; wall.Wall != broker.WallNative && mend != "" {
				found = append(found, broker.Finding{Object: object, Problem: wall.Stops + ": " + wall.How, Mend: mend})
			}
		}
	}
	return found
}

// checkDatabase tells whether the logins of a database bear the lease's name.
func (i *Issuer) checkDatabase(read papers) []broker.Finding {
	s := i.config.Settings
	if s.Engine != engineDatabase {
		return nil
	}
	var found []broker.Finding
	data, err := read.at(connectionPath(s))
	details, _ := data["connection_details"].(map[string]any)
	template, _ := details["username_template"].(string)
	if plugin, _ := data["plugin_name"].(string); err == nil && plugin == pluginPostgres && template != UsernameTemplate {
		found = append(found, broker.Finding{
			Object: "connection " + s.Connection, Problem: "logins at the database do not bear the lease's name, so nobody can tell there whose they are",
			Mend: fmt.Sprintf("vault write %s username_template='%s'", connectionPath(s), UsernameTemplate),
		})
	}
	return found
}

// checkKeyIDs tells whether the logs of an ssh engine's hosts bear the lease's name, as they do by Vault's own key_id_format.
func (i *Issuer) checkKeyIDs(read papers) []broker.Finding {
	s := i.config.Settings
	if s.Engine != engineSSH {
		return nil
	}
	var found []broker.Finding
	for _, offer := range s.Offers {
		data, err := read.at(rolePath(s, offer))
		if format, _ := data["key_id_format"].(string); err == nil && format != "" && !strings.Contains(format, "{{token_display_name}}") {
			found = append(found, broker.Finding{
				Object: "offer " + offer.Role, Problem: "what the hosts log of a login does not bear the lease's name, so nobody can tell there whose it is",
				Mend: "vault write " + rolePath(s, offer) + " key_id_format='{{token_display_name}}', with the role's other fields",
			})
		}
	}
	return found
}

// leasePolicyPaths are the policies of the token that asks the engine.
func (i *Issuer) leasePolicyPaths() []string {
	var list []string
	for _, name := range i.config.Settings.Policies {
		list = append(list, policyPath(name))
	}
	return list
}

// checkLeasePolicies looks whether the token that asks the engine may ask it, and nothing else. It needs to be able to read
// them, which issuing does not: where it cannot, nothing is said.
func (i *Issuer) checkLeasePolicies(read papers) []broker.Finding {
	s := i.config.Settings
	if s.isKV() {
		return nil
	}
	var rules []rule
	for _, name := range s.Policies {
		more, err := i.policy(read, name)
		if finding, wall := asFinding("policy "+name, err); wall {
			return []broker.Finding{finding}
		}
		if err != nil {
			return nil
		}
		rules = append(rules, more...)
	}
	var found []broker.Finding
	for _, offer := range s.Offers {
		path := i.engine.path(s, offer)
		if !slices.ContainsFunc(rules, func(r rule) bool { return r.opens(path) && r.can(capRead, capUpdate, capCreate) }) {
			found = append(found, broker.Finding{
				Object: "offer " + offer.Role, Problem: fmt.Sprintf("requests that need it are refused: the policies %s do not let the lease's token ask at %s", strings.Join(s.Policies, ", "), path),
				Mend: fmt.Sprintf("path %q { capabilities = [\"read\", \"update\"] }", path),
			})
		}
	}
	for _, r := range rules {
		if !r.can(capDeny) && !isOwnBusiness(r) && !slices.ContainsFunc(s.Offers, func(o Offer) bool { return r.path == i.engine.path(s, o) }) {
			found = append(found, broker.Finding{Object: "policy " + r.policy, Problem: fmt.Sprintf("policy %s also opens %q, which the lease's token does not need", r.policy, r.path), Mend: "take that path out of the policy"})
		}
	}
	return found
}

// opens tells whether the rule can apply to a path.
func (r rule) opens(path string) bool {
	rest, _, applies := r.below(strings.Split(path, "/")...)
	return applies && (rest == "" || rest == "*")
}
