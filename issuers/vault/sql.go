package vault

import (
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// verdict is what creation statements give to a lease at PostgreSQL.
type verdict struct {
	made    bool      // the login, by a statement that was read
	expires bool      // it has the end that Vault gives it, at the database too
	reach   []reached // resource → actions, what is plain to see
	unknown []string  // statements that are not understood, or give a power that they do not name: admin, unless declared
	other   []string  // databases that the lease is let into beside its own
	schemas []string  // that it may use
}

type reached struct {
	resource broker.Resource
	actions  broker.Actions // that can happen
	promised broker.Actions // that can be relied on: what may be asked for
}

// judgeSQL reads the creation statements of a role for PostgreSQL, in database. It is conservative: only
// what it knows to be harmless counts as read or write.
func judgeSQL(texts []string, database string) verdict {
	var v verdict
	for _, text := range statements(texts) {
		list, ok := words(text)
		if !ok || !v.statement(list, database) {
			v.unknown = append(v.unknown, oneLine(text))
		}
	}
	return v
}

// statement judges one; false if it is not understood. A login is changed only after it was made: otherwise it could be one
// that was there before (the attack: a username_template that says the owner's name).
func (v *verdict) statement(list []word, database string) bool {
	switch {
	case len(list) > 3 && list[0].is("CREATE") && list[1].is("ROLE", "USER") && list[2].isLease():
		v.made, v.expires = true, expires(list)
		return harmlessAttributes(list[3:])
	case len(list) > 3 && list[0].is("ALTER") && list[1].is("ROLE", "USER") && list[2].isLease():
		v.expires = v.expires && (expires(list) || !slices.ContainsFunc(list, func(w word) bool { return w.is("VALID") }))
		return v.made && harmlessAttributes(list[3:])
	case len(list) > 3 && list[0].is("GRANT"):
		return v.grant(list[1:], database)
	case len(list) > 3 && list[0].is("REVOKE"):
		return true // it only takes away
	}
	return false
}

// expires tells whether a statement says VALID UNTIL Vault's own time.
func expires(list []word) bool {
	at := slices.IndexFunc(list, func(w word) bool { return w.is("VALID") })
	return at >= 0 && at+2 < len(list) && list[at+2].kind == quotedText && list[at+2].text == "{{expiration}}"
}

// harmlessAttributes reads the attributes of CREATE ROLE; one that gives power, or is not known, is false.
func harmlessAttributes(list []word) bool {
	for at := 0; at < len(list); at++ {
		follows := func(kind wordKind) bool { return at+1 < len(list) && list[at+1].kind == kind }
		switch one := list[at]; {
		case one.is("WITH", "LOGIN", "NOINHERIT", "INHERIT", "ENCRYPTED", "NOSUPERUSER", "NOCREATEDB", "NOCREATEROLE", "NOREPLICATION", "NOBYPASSRLS"):
		case one.is("PASSWORD") && follows(quotedText):
			at++
		case one.is("VALID") && at+2 < len(list) && list[at+1].is("UNTIL") && list[at+2].kind == quotedText:
			at += 2
		case one.is("CONNECTION") && at+2 < len(list) && list[at+1].is("LIMIT") && list[at+2].kind == plainWord:
			at += 2
		default:
			return false
		}
	}
	return true
}

// grant reads GRANT … ON … TO "{{name}}". Membership, which names no privilege, is not understood; but that somebody else
// becomes a member of the lease's role gives the lease nothing.
func (v *verdict) grant(list []word, database string) bool {
	to := slices.IndexFunc(list, func(w word) bool { return w.is("TO") })
	if to < 1 || to != len(list)-2 { // WITH GRANT OPTION, GRANTED BY, several grantees
		return false
	}
	on := slices.IndexFunc(list[:to], func(w word) bool { return w.is("ON") })
	if on < 0 {
		return to == 1 && list[0].isLease() && !list[to+1].isLease() && !list[to+1].is("PUBLIC")
	}
	if !list[to+1].isLease() || on < 1 || on+1 >= to {
		return false
	}
	privileges, ok := privilegesOf(list[:on])
	return ok && v.object(list[on+1:to], privileges, database)
}

// privilegesOf gives the privileges of a GRANT in upper case. Those on columns are not understood.
func privilegesOf(list []word) (names []string, ok bool) {
	if len(list) == 2 && list[0].is("ALL") && list[1].is("PRIVILEGES") {
		list = list[:1]
	}
	for at, one := range list {
		isName := at%2 == 0
		if isName && one.kind != plainWord || !isName && !one.is(",") {
			return nil, false
		}
		if isName {
			names = append(names, one.key)
		}
	}
	return names, len(list)%2 == 1
}

// object finds out what a GRANT is on, and adds what it gives.
func (v *verdict) object(list []word, privileges []string, database string) bool {
	switch {
	case len(list) > 4 && list[0].is("ALL") && list[2].is("IN") && list[3].is("SCHEMA"):
		return v.allIn(list[1], list[4:], privileges)
	case list[0].is("SCHEMA"):
		return v.each(list[1:], 1, func(schema []string) bool {
			v.schemas = append(v.schemas, schema[0])
			return v.may(privileges, broker.Resource(schema[0]+".*"), map[string]broker.Actions{"USAGE": 0})
		})
	case list[0].is("DATABASE"):
		return v.each(list[1:], 1, func(name []string) bool {
			if name[0] != database {
				v.other = append(v.other, name[0])
			}
			return v.may(privileges, "*", map[string]broker.Actions{"CONNECT": 0, "TEMPORARY": 0, "TEMP": 0})
		})
	case list[0].is("SEQUENCE"):
		return v.each(list[1:], 2, func(name []string) bool {
			return v.may(privileges, broker.Resource(name[0]+"."+name[1]), sequencePrivileges())
		})
	case list[0].is("TABLE"):
		list = list[1:]
	case list[0].kind == plainWord && len(list) > 1 && !list[1].is(".", ","):
		return false // FUNCTION, LARGE OBJECT, PARAMETER, …
	}
	return v.each(list, 2, func(name []string) bool {
		return v.mayTable(privileges, broker.Resource(name[0]+"."+name[1]))
	})
}

func tablePrivileges() map[string]broker.Actions {
	return map[string]broker.Actions{"SELECT": broker.Read, "INSERT": broker.Write, "UPDATE": broker.Write}
}

// sequencePrivileges: UPDATE can set a sequence back.
func sequencePrivileges() map[string]broker.Actions {
	return map[string]broker.Actions{"USAGE": 0, "SELECT": 0}
}

func (v *verdict) allIn(what word, schemas []word, privileges []string) bool {
	return v.each(schemas, 1, func(schema []string) bool {
		resource := broker.Resource(schema[0] + ".*")
		switch {
		case what.is("TABLES"):
			return v.mayTable(privileges, resource)
		case what.is("SEQUENCES"):
			return v.may(privileges, resource, sequencePrivileges())
		}
		return false
	})
}

// each calls with every name of a list, which must have exactly so many parts: what a table without a schema is depends on
// a search path that nobody sees here.
func (v *verdict) each(list []word, parts int, add func(name []string) bool) bool {
	var name []string
	wantsName := true
	for at, one := range list {
		switch {
		case wantsName && (one.kind == plainWord || one.kind == quotedName) && !strings.ContainsAny(one.text, ".{"):
			name, wantsName = append(name, one.text), false
		case !wantsName && one.is("."):
			wantsName = true
			continue
		case !wantsName && one.is(","):
			if len(name) != parts || !add(name) {
				return false
			}
			name, wantsName = nil, true
			continue
		default:
			return false
		}
		if at == len(list)-1 {
			return len(name) == parts && add(name)
		}
	}
	return false
}

// may adds what the privileges give on a resource. One that is not in known is a delete.
func (v *verdict) may(privileges []string, resource broker.Resource, known map[string]broker.Actions) bool {
	var all broker.Actions
	if strings.HasPrefix(string(resource), "pg_") { // PostgreSQL's own: pg_authid has the passwords of all
		all = broker.Admin
	}
	for _, name := range privileges {
		action, harmless := known[name]
		switch {
		case harmless:
		case slices.Contains([]string{"ALL", "TRIGGER", "CREATE"}, name): // TRIGGER runs code as whoever writes the table
			action = everything
		default:
			action = broker.Delete
		}
		all |= action
	}
	if all != 0 {
		v.reach = append(v.reach, reached{resource, all, 0})
	}
	return true
}

// mayTable is may for tables, whose privileges can be asked for. Write is both INSERT and UPDATE: with one of them alone it
// can happen, but nobody can rely on it; and so it is with delete and TRUNCATE.
func (v *verdict) mayTable(privileges []string, resource broker.Resource) bool {
	v.may(privileges, resource, tablePrivileges())
	has := func(name string) bool { return slices.Contains(privileges, name) || slices.Contains(privileges, "ALL") }
	var promised broker.Actions
	if has("SELECT") {
		promised |= broker.Read
	}
	if has("INSERT") && has("UPDATE") {
		promised |= broker.Write
	}
	if has("DELETE") {
		promised |= broker.Delete
	}
	v.reach[len(v.reach)-1].promised = promised
	return true
}
