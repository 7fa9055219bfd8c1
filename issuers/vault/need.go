package vault

import (
	"fmt"
	"slices"
	"strings"
)

// need is one permission that the broker's own login must have.
type need struct {
	path         string   // as a policy says it
	probe        string   // a path to ask about, where the policy's has a star
	capabilities []string // all of them
	why          string
}

// needs lists them, as a policy to paste (Policy) and as what Check asks about.
func (i *Issuer) needs() []need {
	s := i.config.Settings
	list := []need{
		{path: "auth/token/create/" + s.TokenRole, capabilities: []string{capUpdate}, why: "make the leases' tokens"},
		{path: tokenRolePath(s.TokenRole), capabilities: []string{capRead}, why: "see that they cannot outlive their lease"},
		{path: "auth/token/lookup-accessor", capabilities: []string{capUpdate}, why: "verify the end, and find orphans"},
		{path: "auth/token/revoke-accessor", capabilities: []string{capUpdate}, why: "end a lease"},
		{path: "auth/token/accessors/", capabilities: []string{capList, capSudo}, why: "find orphans"},
		{path: "sys/leases/lookup/auth/token/create/" + s.TokenRole + "/", capabilities: []string{capList, capSudo}, why: "see whether there are any"},
		{path: i.mountPath(), capabilities: []string{capRead}, why: "know the mount again"},
	}
	for _, path := range unique(append(i.engine.paths(s), i.identityPaths()...)) {
		list = append(list, need{path: path, capabilities: []string{capRead}, why: "describe what would be issued"})
	}
	if !i.engine.traits().leases {
		return list
	}
	list = append(list, need{path: "sys/leases/lookup", capabilities: []string{capUpdate}, why: "verify the end"})
	for _, offer := range s.Offers {
		path := i.engine.path(s, offer)
		list = append(list,
			need{path: "sys/leases/revoke/" + path + "/*", probe: "sys/leases/revoke/" + path + "/any", capabilities: []string{capUpdate}, why: "end what the role handed out"},
			need{path: "sys/leases/lookup/" + path + "/", capabilities: []string{capList, capSudo}, why: "verify the end of an orphan"})
	}
	return list
}

func unique(paths []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(paths)))
}

// Policy is the policy of the broker's own login, to paste: exactly what this target needs, beside Vault's default.
func (i *Issuer) Policy() string {
	var text strings.Builder
	for _, n := range i.needs() {
		_, _ = fmt.Fprintf(&text, "path %q { capabilities = [%s] } # %s\n", n.path, quotedList(n.capabilities), n.why)
	}
	return text.String()
}

func quotedList(names []string) string { return `"` + strings.Join(names, `", "`) + `"` }

// excess lists what the broker's own login should not be able to do.
func (i *Issuer) excess() []need {
	s := i.config.Settings
	writing := []string{capCreate, capUpdate, capPatch, capDelete}
	list := []need{
		{path: tokenRolePath(s.TokenRole), capabilities: writing, why: "let its tokens have other policies"},
		{path: i.mountPath(), capabilities: writing, why: "disable the engine"},
		{path: "sys/leases/revoke-prefix/hourkey-probe", capabilities: []string{capUpdate, capSudo}, why: "end everybody's leases"},
		{path: "sys/leases/revoke-force/hourkey-probe", capabilities: []string{capUpdate, capSudo}, why: "forget leases without ending them"},
	}
	for _, name := range i.allowedPolicies() {
		list = append(list, need{path: policyPath(name), capabilities: writing, why: "widen what the leases' tokens may do"})
	}
	if s.isKV() {
		for _, folder := range s.Folders {
			for _, path := range []string{s.Mount + "/data/" + folder + "/hourkey-probe", s.Mount + "/" + folder + "/hourkey-probe"} {
				list = append(list, need{path: path, capabilities: append([]string{capRead}, writing...), why: "read or write the secrets itself"})
			}
		}
		return list
	}
	for _, offer := range s.Offers {
		list = append(list,
			need{path: rolePath(s, offer), capabilities: writing, why: "change what the role hands out"},
			need{path: i.engine.path(s, offer), capabilities: []string{capRead, capCreate, capUpdate}, why: "take credentials for which no lease is kept"})
	}
	for _, path := range i.identityPaths() {
		list = append(list, need{path: path, capabilities: writing, why: "lead the engine elsewhere"})
	}
	if s.Engine == enginePKI {
		for _, path := range []string{"root/sign-intermediate", "sign-verbatim/" + s.Offers[0].Role} {
			list = append(list, need{path: s.Mount + "/" + path, capabilities: []string{capCreate, capUpdate}, why: "have anything signed, authorities too"})
		}
		list = append(list, need{path: crlPath(s), capabilities: writing, why: "switch the revocation list off"}, need{path: acmePath(s), capabilities: writing, why: "open the authority to whoever asks"})
	}
	return list
}
