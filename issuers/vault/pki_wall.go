package vault

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/vault/session"
)

// Walls of a certificate that have known ways around.
const (
	stopsServer  = "standing in for a server of the same name"
	stopsRevoked = "use after a revoke, before the end"
	stopsACME    = "certificates without a lease"
)

// usage is what the certificates of a role may be used for (RFC 5280, 4.2.1.3 and 4.2.1.12).
type usage struct {
	signs  string         // what of it signs for the authority; empty if nothing does
	server bool           // it is good for a server of the certificate's name
	plain  broker.Actions // what it gives besides, whatever is declared
}

// usageOf reads a role as Vault makes certificates by it: it trims names and takes any letters for them, and skips what it does not know.
func usageOf(data map[string]any) usage {
	is := func(name string) bool { value, _ := data[name].(bool); return value }
	var all usage
	extended := names(data["ext_key_usage"])
	if is("server_flag") {
		extended = append(extended, "serverauth")
	}
	if is("client_flag") {
		extended = append(extended, "clientauth")
	}
	for _, one := range names(data["key_usage"]) {
		if one == "certsign" || one == "crlsign" {
			all.signs = one
		}
	}
	if slices.Contains(extended, "ocspsigning") { // it could say of revoked certificates that they are good
		all.signs = "ocspsigning"
	}
	anything := len(extended) == 0 || slices.Contains(extended, "any") // none named is any
	all.server = anything || slices.Contains(extended, "serverauth")
	other := slices.ContainsFunc(extended, func(one string) bool { return one != "serverauth" && one != "clientauth" })
	if anything || other || is("code_signing_flag") || is("email_protection_flag") || len(session.Texts(data["ext_key_usage_oids"])) > 0 {
		all.plain |= broker.Admin // whoever signs code, mail or times speaks for others
	}
	if slices.ContainsFunc(slices.Concat(names(data["organization"]), names(data["ou"])), func(one string) bool { return strings.HasPrefix(one, "system:") }) {
		all.plain |= everything // Kubernetes takes organizations for groups: system:masters may do anything
	}
	return all
}

// names are some texts in one spelling.
func names(value any) []string {
	list := session.Texts(value)
	for at, one := range list {
		list[at] = strings.ToLower(strings.TrimSpace(one))
	}
	return list
}

// pkiWalls says what holds a certificate, and what does not.
func (i *Issuer) pkiWalls(read papers, usage usage, found *offered) error {
	revoked, err := i.revocation(read)
	if err != nil {
		return err
	}
	acme, err := i.acme(read)
	if err != nil {
		return err
	}
	server := broker.WallFact{Stops: stopsServer, Wall: broker.WallNative, How: "the certificate is for clients alone"}
	if usage.server {
		server.Wall, server.How = broker.WallNone, "the role makes certificates that are good for servers too: whoever trusts the authority takes who holds one for the server "+found.CommonName
	}
	found.walls = append([]broker.WallFact{
		{Stops: "other names", Wall: broker.WallNative, How: "the certificate bears the one name, and cannot sign another"},
		i.trusted("services"),
		{Stops: stopsAfter, Wall: broker.WallNative, How: "the certificate expires, by the clock of whoever checks it"},
		revoked,
		{Stops: "a connection that is open at the end, or resumed", Wall: broker.WallNone, How: "nobody closes it; a server that resumes TLS sessions may not look at the revocation list again, and what it gave for the certificate, like a session of its own, lives as it says"},
		server, acme,
	}, found.walls...)
	found.mends = map[string]string{
		stopsServer: "where no server is meant: set server_flag=false client_flag=true on the role",
		stopsACME:   "vault write " + acmePath(i.config.Settings) + " enabled=false, or eab_policy=always-required",
	}
	if revoked.How != revokedAtOnce { // better than that, Vault cannot do
		found.mends[stopsRevoked] = "vault write " + crlPath(i.config.Settings) + " disable=false auto_rebuild=false ocsp_disable=false"
	}
	return nil
}

// trusted is the wall between environments of what an authority signs. The mount and the authority's key are in no two environments,
// for they are parts of the identity; who trusts the authority, Vault does not know.
func (i *Issuer) trusted(what string) broker.WallFact {
	return broker.WallFact{Stops: what + " of other environments", Wall: broker.WallWeak, How: fmt.Sprintf(
		"the mount and its authority belong to this environment alone; that no %s elsewhere trust the authority, or one above it, neither Vault nor Hourkey can see", what)}
}

const revokedAtOnce = "it is put on Vault's revocation list at once: only a server that reads the list, or asks Vault's OCSP, refuses it"

// revocation says what a revoke does, as the mount is set.
func (i *Issuer) revocation(read papers) (broker.WallFact, error) {
	data, err := read.at(crlPath(i.config.Settings))
	if err != nil {
		return broker.WallFact{}, i.fault("reading how the engine revokes", err)
	}
	off := func(name string) bool { value, _ := data[name].(bool); return value }
	wall := broker.WallFact{Stops: stopsRevoked, Wall: broker.WallWeak, How: revokedAtOnce}
	switch list, asked := !off("disable"), !off("ocsp_disable"); {
	case !list && !asked:
		wall.Wall, wall.How = broker.WallNone, "the mount has its revocation list and its OCSP switched off: nobody can tell that it was revoked"
	case !list:
		wall.How = "the mount has its revocation list switched off: only a server that asks Vault's OCSP refuses it"
	case off("auto_rebuild") && !asked:
		wall.How = "Vault makes its revocation list anew by its own timetable, and has its OCSP switched off: until then every server accepts it"
	case off("auto_rebuild"):
		wall.How = "Vault makes its revocation list anew by its own timetable: until then only a server that asks its OCSP refuses it"
	}
	return wall, nil
}

// acme says whether the mount hands out certificates of the same authority to whoever asks (RFC 8555): no lease would end those.
func (i *Issuer) acme(read papers) (broker.WallFact, error) {
	data, err := read.at(acmePath(i.config.Settings))
	if err != nil && session.StatusOf(err) != http.StatusNotFound { // before Vault 1.14 there is none
		return broker.WallFact{}, i.fault("reading whether the engine speaks ACME", err)
	}
	wall := broker.WallFact{Stops: stopsACME, Wall: broker.WallNative, How: "Vault makes none without a token, or a key for ACME that its operator gave out"}
	bound, _ := data["eab_policy"].(string)
	if on, _ := data["enabled"].(bool); on && bound != "always-required" {
		wall.Wall, wall.How = broker.WallNone, "ACME is on at the mount: whoever reaches Vault and answers for a name gets certificates of the same authority by himself, which no lease ends"
	}
	return wall, nil
}
