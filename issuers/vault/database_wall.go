package vault

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// Walls that the role's statements can build, or somebody's look at the database.
const (
	stopsSession = "an open session after the end"
	stopsKept    = "what the login owns at its end"
	stopsAfter   = "use after the end"
	stopsCode    = "functions, triggers and rules that do more than their caller may"
)

// databaseWalls says what stands at a database. expires tells that the database itself knows the login's end.
func (i *Issuer) databaseWalls(role databaseRole, expires bool) []broker.WallFact {
	session := broker.WallFact{Stops: stopsSession, Wall: broker.WallWeak, How: "Vault's own revocation takes the privileges and drops the login, but leaves the session connected"}
	kept := broker.WallFact{Stops: stopsKept, Wall: broker.WallWeak, How: "a login that owns something, like a large object, cannot be dropped by Vault's own revocation: its end fails, and is tried again"}
	if role.revokes(isTerminate) {
		session.Wall, session.How = broker.WallNative, "the role's revocation statements terminate it; one that is opened at that very moment is left without any rights"
	}
	if role.revokes(isDropOwned) {
		kept.Wall, kept.How = broker.WallNative, "the role's revocation statements give it away or drop it"
	}
	after := broker.WallFact{Stops: stopsAfter, Wall: broker.WallWeak, How: "Vault revokes the login at the TTL by its own clock; while Vault is down, or cannot reach the database, nobody does: the login has no end of its own within the hour"}
	if expires && role.longest > 0 && role.longest <= broker.Hour {
		after.Wall, after.How = broker.WallNative, fmt.Sprintf("Vault revokes the login at the TTL by its own clock; while Vault is down, or cannot reach the database, new sessions are refused %s after it was made (VALID UNTIL)", role.longest)
	}
	elsewhere, _ := i.config.Settings.accepts(AcceptPublicConnect)
	return []broker.WallFact{
		{Stops: "tables that are not named", Wall: broker.WallNative, How: "the creation statements grant nothing on them; what PUBLIC may do, Vault does not look at"},
		{Stops: "other databases of the server", Wall: broker.WallWeak, How: "Vault does not look whether PUBLIC may connect to them; the environment's file says not: " + elsewhere},
		i.codeWall(),
		{Stops: "blanking or overwriting rows", Wall: broker.WallNone, How: "UPDATE can change every row of a granted table, and set a granted sequence back"},
		session, kept, after,
	}
}

// databaseMends says what makes the walls stronger.
func (i *Issuer) databaseMends(database string, schemas []string) map[string]string {
	revocation := "set its revocation_statements to: " + RevocationSQL("OWNER", database, schemas...)
	mends := map[string]string{
		stopsSession: revocation, stopsKept: revocation,
		stopsAfter: "set its default_ttl to 1h at most, and make the login with: VALID UNTIL '{{expiration}}'",
	}
	if _, accepted := i.config.Settings.accepts(AcceptDefinerCode); !accepted {
		mends[stopsCode] = "have a postgres target of the same database checked (`hourkeyd check --live`); if there are none, accept: [{object: " + AcceptDefinerCode + ", why: …}]"
	}
	return mends
}

// codeWall is what stands before code that has its owner's rights. Where nobody looked, it can delete whatever the database holds.
func (i *Issuer) codeWall() broker.WallFact {
	wall := broker.WallFact{Stops: stopsCode, Wall: broker.WallWeak}
	if why, accepted := i.config.Settings.accepts(AcceptDefinerCode); accepted {
		wall.How = "Vault does not look for them; the environment's file says that there are none: " + why
		return wall
	}
	wall.Wall, wall.How = broker.WallNone, "Vault does not look for them, so everything in the database counts as open to delete"
	wall.Gives = []broker.Scope{{Target: i.config.Ref.Target, Resource: "*", Actions: broker.Delete}}
	return wall
}

// ends tells whether Vault's revocation drops the login: by its own statements, or because the last of the role's does. Others
// Vault runs as well, and then says that the login has ended.
func (r databaseRole) ends() bool {
	if len(r.revocation) == 0 {
		return true
	}
	list := statements(r.revocation)
	if len(list) == 0 {
		return false
	}
	last, ok := words(list[len(list)-1])
	return ok && isDropRole(last)
}

// revokes tells whether the role's revocation has a statement.
func (r databaseRole) revokes(is func([]word) bool) bool {
	return slices.ContainsFunc(statements(r.revocation), func(text string) bool {
		list, ok := words(text)
		return ok && is(list)
	})
}

func isDropRole(list []word) bool {
	if len(list) == 5 && list[2].is("IF") && list[3].is("EXISTS") {
		list = slices.Concat(list[:2], list[4:])
	}
	return len(list) == 3 && list[0].is("DROP") && list[1].is("ROLE", "USER") && list[2].isLease()
}

func isDropOwned(list []word) bool {
	return len(list) >= 4 && list[0].is("DROP") && list[1].is("OWNED") && list[2].is("BY") && list[3].isLease()
}

func isTerminate(list []word) bool {
	var texts []string
	for _, one := range list {
		texts = append(texts, one.text)
	}
	text := strings.Join(texts, " ")
	return slices.Contains([]string{"{{name}}", "{{username}}"}, strings.TrimPrefix(text, "select pg_terminate_backend ( pid ) from pg_stat_activity where usename = "))
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
