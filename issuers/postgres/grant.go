package postgres

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/hourkey/hourkey/broker"
)

// grant is what a lease may do to one relation.
type grant struct {
	relation
	actions broker.Actions
}

// The kinds of relation (pg_class.relkind).
const (
	kindTable        = "r"
	kindPartitioned  = "p"
	kindView         = "v"
	kindMaterialized = "m"
	kindForeign      = "f"
	kindSequence     = "S"
)

// privileges gives the SQL privileges of an action; write includes no SELECT, which nobody asked for then.
func privileges(actions broker.Actions) []string {
	var list []string
	for _, action := range actions.Each() {
		switch action {
		case broker.Read:
			list = append(list, "SELECT")
		case broker.Write:
			list = append(list, "INSERT", "UPDATE")
		case broker.Delete:
			list = append(list, "DELETE", "TRUNCATE")
		case broker.Admin: // refused before: it gives no privilege
		}
	}
	return list
}

// resolve turns scopes into grants on concrete relations, sorted by name. It is never smaller than what
// was asked: what cannot be granted whole is refused.
func (i *Issuer) resolve(seen *snapshot, scopes []broker.Scope) ([]grant, error) {
	if len(scopes) == 0 {
		return nil, broker.Errorf(broker.CodeInvalid, "no scope is asked for").WithField("scope")
	}
	byOID := map[oid]*grant{}
	for _, scope := range scopes {
		if err := i.grantable(scope); err != nil {
			return nil, err
		}
		matches, err := seen.match(scope)
		if err != nil {
			return nil, err
		}
		for _, r := range matches {
			if byOID[r.OID] == nil {
				byOID[r.OID] = &grant{relation: r}
			}
			byOID[r.OID].actions |= scope.Actions
		}
	}
	grants := make([]grant, 0, len(byOID))
	for _, g := range byOID {
		grants = append(grants, *g)
	}
	slices.SortFunc(grants, func(a, b grant) int {
		return cmp.Or(cmp.Compare(a.Schema, b.Schema), cmp.Compare(a.Name, b.Name))
	})
	return grants, nil
}

func (i *Issuer) grantable(scope broker.Scope) error {
	switch {
	case scope.Target != i.config.Ref.Target:
		return broker.Errorf(broker.CodeInvalid, "scope %s is not of the target %s", scope, i.config.Ref.Target).WithField("scope")
	case scope.Actions.Has(broker.Admin):
		return broker.Errorf(broker.CodeInvalid, "scope %s: PostgreSQL has no admin that could be limited: ALTER, DROP and every other DDL on a table belong to its owner, and an owner may do anything to it", scope).
			WithField("scope").WithNext("run the migration under a human's own login, or ask for read, write and delete on the rows")
	case scope.Actions == 0 || !scope.Actions.IsSubsetOf(broker.Read|broker.Write|broker.Delete):
		return broker.Errorf(broker.CodeInvalid, "scope %s: expected read, write or delete", scope).WithField("scope")
	}
	return nil
}

// match finds what a scope's resource stands for.
func (s *snapshot) match(scope broker.Scope) ([]relation, error) {
	var found []relation
	names := map[string]bool{}
	for _, r := range s.Relations {
		if !r.Wanted || !scope.Resource.Covers(broker.Resource(r.resource())) || (scope.Resource.IsPrefix() && !r.isTable()) {
			continue
		}
		if !isNameable(r.resource()) {
			return nil, broker.Errorf(broker.CodeInvalid, "scope %s: the table %q has a name with a star or a character that cannot be seen: no reviewer could tell what is asked", scope, r.resource()).
				WithField("scope").WithNext("rename the table, or ask for others by name")
		}
		if names[r.resource()] {
			return nil, broker.Errorf(broker.CodeInvalid, "scope %s: two tables are called %s, because of a dot in a schema's or a table's name", scope, r.resource()).WithField("scope")
		}
		if err := s.kindAllows(scope, r); err != nil {
			return nil, err
		}
		names[r.resource()] = true
		found = append(found, r)
	}
	if len(found) == 0 {
		return nil, broker.Errorf(broker.CodeInvalid, "scope %s: the database %s has no such table: expected schema.table, unquoted, or a prefix like public.*", scope, s.Database).WithField("scope")
	}
	return found, nil
}

func (s *snapshot) kindAllows(scope broker.Scope, r relation) error {
	if (r.Kind == kindView || r.Kind == kindMaterialized) && scope.Actions != broker.Read {
		return broker.Errorf(broker.CodeInvalid, "scope %s: %s is a view: a change by way of it is done with its owner's rights on the tables beneath", scope, r.resource()).
			WithField("scope").WithNext("name the tables themselves")
	}
	return nil
}

func isNameable(name string) bool {
	return !strings.ContainsFunc(name, func(c rune) bool { return c == '*' || !unicode.IsPrint(c) })
}

// scopes gives the concrete scopes of grants.
func (i *Issuer) scopes(grants []grant) []broker.Scope {
	scopes := make([]broker.Scope, len(grants))
	for at, g := range grants {
		scopes[at] = broker.Scope{Target: i.config.Ref.Target, Resource: broker.Resource(g.resource()), Actions: g.actions}
	}
	return broker.Normalize(scopes)
}

// role is what a lease's role is created with.
type role struct{ name, verifier, until string }

// shownRole stands in a description for what is not known before the issue.
var shownRole = role{name: "{lease}", verifier: "'{SCRAM-SHA-256 verifier}'", until: "'{end of the lease}'"}

// statements is the SQL that makes a lease, in order: a description shows it, Issue runs it.
func (i *Issuer) statements(seen *snapshot, grants []grant, as role) []string {
	list := []string{
		fmt.Sprintf("CREATE ROLE %s LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT %d PASSWORD %s VALID UNTIL %s ROLE CURRENT_USER",
			as.name, connectionLimit, as.verifier, as.until),
		fmt.Sprintf("GRANT CONNECT ON DATABASE %s TO %s", quote(seen.Database), as.name),
	}
	for _, schema := range schemasOf(seen, grants) {
		list = append(list, fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s", quote(schema), as.name))
	}
	for _, g := range grants {
		list = append(list, fmt.Sprintf("GRANT %s ON TABLE %s TO %s", strings.Join(privileges(g.actions), ", "), g.quoted(), as.name))
	}
	for _, s := range sequencesOf(seen, grants) {
		list = append(list, fmt.Sprintf("GRANT USAGE ON SEQUENCE %s TO %s", s.quoted(), as.name))
	}
	return list
}

// connectionLimit is how many sessions a lease may hold open at once.
const connectionLimit = 16

// sequencesOf gives the sequences that an INSERT into the granted tables draws from, sorted.
func sequencesOf(seen *snapshot, grants []grant) []sequence {
	var list []sequence
	for _, s := range seen.Sequences {
		if slices.ContainsFunc(grants, func(g grant) bool { return g.OID == s.Table && g.actions.Has(broker.Write) }) {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b sequence) int {
		return cmp.Or(cmp.Compare(a.Schema, b.Schema), cmp.Compare(a.Name, b.Name))
	})
	return slices.CompactFunc(list, func(a, b sequence) bool { return a.quoted() == b.quoted() })
}

func schemasOf(seen *snapshot, grants []grant) []string {
	var list []string
	for _, g := range grants {
		list = append(list, g.Schema)
	}
	for _, s := range sequencesOf(seen, grants) {
		list = append(list, s.Schema)
	}
	slices.Sort(list)
	return slices.Compact(list)
}
