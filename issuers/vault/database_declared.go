package vault

import (
	"regexp"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// declaredDatabase makes an offer of a role at a database other than PostgreSQL: what the file declares, and what is plain to
// see in the creation statements.
func (i *Issuer) declaredDatabase(offer Offer, role databaseRole, through connection) (offered, error) {
	if name := openDatabase(role.creation); name != "" && isMySQL(role.creation, through) {
		return offered{}, broker.Errorf(broker.CodeWall, "%s: role %s grants on %s: there a star, %% and _ stand for other databases too, which can be another environment's", i.config.Ref, offer.Role, name).
			WithNext("name one database, with a backslash before each _ of its name")
	}
	found := offered{Offer: offer, native: append(role.native(through), "plugin "+through.plugin), longest: role.longest}
	found.reach, found.gives, found.exceptions = declared(i.config.Ref.Target, offer, plainStatements(role.creation))
	after := "Vault ends the login at the TTL by its own clock, as " + through.plugin + " does it: Hourkey does not know how surely"
	if len(role.revocation) > 0 {
		after = "Vault runs the role's own revocation statements at the TTL: whether they end the login, Hourkey cannot tell"
	}
	found.walls = []broker.WallFact{
		believed(offer),
		{Stops: "other databases of the server", Wall: broker.WallWeak, How: "whatever " + through.plugin + " holds there: Hourkey does not know it"},
		{Stops: stopsAfter, Wall: broker.WallWeak, How: after},
	}
	return found, nil
}

// isMySQL tells whether statements are for MySQL or MariaDB, by the plugin's name or by logins like 'name'@'host'.
func isMySQL(creation []string, through connection) bool {
	return strings.Contains(through.plugin, "mysql") || strings.Contains(strings.Join(creation, ";"), "'@'")
}

// grantedOn finds the database of MySQL's GRANT … ON database.table.
var grantedOn = regexp.MustCompile("(?i)\\bON\\s+(?:TABLE\\s+)?(`[^`]*`|[^\\s.`]+)\\s*\\.")

// openDatabase gives the first database in a GRANT that stands for others too. In MySQL % and _ do, unless a backslash stands
// before them (dev.mysql.com/doc/refman/8.4/en/grant.html).
func openDatabase(texts []string) string {
	if strings.Contains(strings.Join(texts, ";"), "/*") {
		return "what a comment hides"
	}
	for _, found := range grantedOn.FindAllStringSubmatch(strings.Join(texts, ";"), -1) {
		name := strings.Trim(found[1], "`")
		if plain := strings.NewReplacer(`\_`, "", `\%`, "").Replace(name); strings.ContainsAny(plain, "*%_") {
			return found[1]
		}
	}
	return ""
}

// plainStatements gives the actions that the words of creation statements plainly allow, whatever language they are in. It is a
// floor, no judgement.
func plainStatements(texts []string) broker.Actions {
	deleting := []string{"DELETE", "TRUNCATE", "DROP", "ALTER", "ALL", "READWRITE", "READWRITEANYDATABASE"}
	powers := []string{
		"ALL", "SUPER", "SUPERUSER", "FILE", "EXECUTE", "PROXY", "TRIGGER", "EVENT", "OPTION", "RELOAD", "SHUTDOWN", "ROOT", "SYSTEM_USER", "CREATEROLE",
		"DBOWNER", "DBADMIN", "USERADMIN", "CLUSTERADMIN", "DBADMINANYDATABASE", "USERADMINANYDATABASE", "ADMIN", "DBA", "SYSADMIN",
	}
	var plain broker.Actions
	for _, text := range texts {
		for word := range strings.FieldsFuncSeq(strings.ToUpper(text), func(c rune) bool { return c != '_' && (c < 'A' || c > 'Z') }) {
			if slices.Contains(deleting, word) {
				plain |= broker.Delete
			}
			if slices.Contains(powers, word) {
				plain |= broker.Delete | broker.Admin
			}
		}
	}
	return plain
}
