package vault

import (
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// Two walls that the role's revocation statements can build.
const (
	stopsSession = "an open session after the end"
	stopsKept    = "what the login owns at its end"
)

func (i *Issuer) databaseWalls(role databaseRole) []broker.WallFact {
	session := broker.WallFact{Stops: stopsSession, Wall: broker.WallWeak, How: "Vault's own revocation takes the privileges and drops the login, but leaves the session connected"}
	kept := broker.WallFact{Stops: stopsKept, Wall: broker.WallWeak, How: "a login that owns something, like a large object, cannot be dropped by Vault's own revocation: its end fails, and is tried again"}
	text := strings.ToUpper(strings.Join(role.revocation, ";"))
	if strings.Contains(text, "PG_TERMINATE_BACKEND") {
		session.Wall, session.How = broker.WallNative, "the role's revocation statements terminate it; one that is opened at that very moment is left without any rights"
	}
	if strings.Contains(text, "DROP OWNED") {
		kept.Wall, kept.How = broker.WallNative, "the role's revocation statements give it away or drop it"
	}
	code := broker.WallFact{Stops: "functions, triggers and rules that do more than their caller may", Wall: broker.WallNone, How: "Vault does not look for them, so every role counts as delete"}
	if why, accepted := i.config.Settings.accepts(AcceptDefinerCode); accepted {
		code.Wall, code.How = broker.WallWeak, "Vault does not look for them; the environment's file says that there are none: "+why
	}
	elsewhere, _ := i.config.Settings.accepts(AcceptPublicConnect)
	return []broker.WallFact{
		{Stops: "tables that are not named", Wall: broker.WallNative, How: "the creation statements grant nothing on them; what PUBLIC may do, Vault does not look at"},
		{Stops: "other databases of the server", Wall: broker.WallWeak, How: "Vault does not look whether PUBLIC may connect to them; the environment's file says not: " + elsewhere},
		code,
		{Stops: "blanking or overwriting rows", Wall: broker.WallNone, How: "UPDATE can change every row of a granted table"},
		session, kept,
		{Stops: "use after the end", Wall: broker.WallNative, How: "Vault revokes the login at the TTL by its own clock"},
	}
}

// UsernameTemplate makes a login of the database bear the lease's name: the lease's token is called so.
const UsernameTemplate = `{{ .DisplayName | replace "token-" "" | truncate 63 }}`

// RevocationSQL is what ends a login of PostgreSQL for certain, sessions and belongings included: for the revocation
// statements of a role that lets into the database, and uses the schemas. owner gets what the login owns.
func RevocationSQL(owner, database string, schemas ...string) string {
	list := []string{
		`ALTER ROLE "{{name}}" NOLOGIN`,
		`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{{name}}'`,
		`REVOKE CONNECT ON DATABASE ` + database + ` FROM "{{name}}"`,
	}
	for _, schema := range schemas {
		list = append(list, `REVOKE USAGE ON SCHEMA `+schema+` FROM "{{name}}"`)
	}
	return strings.Join(append(list, `REASSIGN OWNED BY "{{name}}" TO `+owner, `DROP OWNED BY "{{name}}"`, `DROP ROLE "{{name}}"`), "; ") + ";"
}
