package postgres

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// judge gives every way around the grants that the snapshot and the probes show, in a fixed order.
func (i *Issuer) judge(seen *snapshot, p probes, grants []grant) []broker.Finding {
	found := slices.Concat(
		otherDatabases(p), seen.creation(), seen.definers(schemasOf(seen, grants)), seen.openings(),
		seen.publicRelations(grants), named(grants), follow(seen, grants).holes(), seen.missing(grants), i.adminHoles(seen),
	)
	slices.SortStableFunc(found, func(a, b broker.Finding) int { return strings.Compare(a.Object, b.Object) })
	return slices.CompactFunc(found, func(a, b broker.Finding) bool { return a.Object == b.Object && a.Refuses == b.Refuses })
}

// otherDatabases: PUBLIC, and so the lease, may connect to another database of the server.
func otherDatabases(p probes) []broker.Finding {
	var found []broker.Finding
	for _, d := range p.databases {
		finding := broker.Finding{
			Refuses: true, Object: "database " + d.name,
			Problem: fmt.Sprintf("every role may connect to the database %s, which holds %s", d.name, d.holds),
			Mend:    fmt.Sprintf("REVOKE CONNECT ON DATABASE %s FROM PUBLIC;  -- then GRANT CONNECT ON DATABASE %s TO each role that uses it", quote(d.name), quote(d.name)),
		}
		if d.empty {
			finding.Refuses, finding.Problem = false, fmt.Sprintf("every role may connect to the database %s; it is empty", d.name)
		}
		found = append(found, finding)
	}
	return found
}

// creation: what PUBLIC may create, the lease may, and would own.
func (s *snapshot) creation() []broker.Finding {
	var found []broker.Finding
	for _, schema := range s.CreateIn {
		found = append(found, broker.Finding{
			Refuses: true, Object: "schema " + schema,
			Problem: fmt.Sprintf("every role may create tables and functions in the schema %s", schema),
			Mend:    fmt.Sprintf("REVOKE CREATE ON SCHEMA %s FROM PUBLIC;", quote(schema)),
		})
	}
	if s.CreateSchema {
		found = append(found, broker.Finding{
			Refuses: true, Object: "schemas of " + s.Database,
			Problem: fmt.Sprintf("every role may create schemas in the database %s", s.Database),
			Mend:    fmt.Sprintf("REVOKE CREATE ON DATABASE %s FROM PUBLIC;", quote(s.Database)),
		})
	}
	if s.Temporary {
		found = append(found, broker.Finding{
			Object:  "temporary tables",
			Problem: fmt.Sprintf("every role may create temporary tables in the database %s, which can fill its disk", s.Database),
			Mend:    fmt.Sprintf("REVOKE TEMPORARY ON DATABASE %s FROM PUBLIC;", quote(s.Database)),
		})
	}
	return found
}

// definers: functions that act with another role's rights, where PUBLIC may execute them. One in a schema that
// neither PUBLIC nor the lease may use cannot be named; it is reached all the same where a default, a check, an operator or a
// policy calls it.
func (s *snapshot) definers(granted []string) []broker.Finding {
	var found []broker.Finding
	for _, f := range s.Functions {
		if !f.Usage && !f.Used && !slices.Contains(granted, f.Schema) {
			continue
		}
		why := "acts with its owner's rights (SECURITY DEFINER)"
		if !f.Definer {
			why = "is closed when PostgreSQL is installed"
		}
		found = append(found, broker.Finding{
			Refuses: true, Object: "function " + f.Name,
			Problem: fmt.Sprintf("every role may execute %s, which %s", f.Name, why),
			Mend:    fmt.Sprintf("REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC;", f.Name),
		})
	}
	for _, e := range s.EventTriggers {
		found = append(found, broker.Finding{
			Refuses: true, Object: "event trigger " + e.Name,
			Problem: fmt.Sprintf("the event trigger %s runs %s with its owner's rights, whoever causes the event", e.Name, e.Function),
			Mend:    fmt.Sprintf("ALTER FUNCTION %s SECURITY INVOKER;", e.Function),
		})
	}
	return found
}

// openings: what else PUBLIC was given that leads out of the grant.
func (s *snapshot) openings() []broker.Finding {
	var found []broker.Finding
	add := func(object, problem, mend string) {
		found = append(found, broker.Finding{Refuses: true, Object: object, Problem: problem, Mend: mend})
	}
	for _, name := range s.Parameters {
		add("parameter "+name, fmt.Sprintf("every role may set the parameter %s, which is closed by default", name),
			fmt.Sprintf("REVOKE ALL ON PARAMETER %s FROM PUBLIC;", quoteParameter(name)))
	}
	for _, name := range s.Servers {
		add("server "+name, fmt.Sprintf("every role may use the foreign server %s with a user mapping for PUBLIC", name),
			fmt.Sprintf("REVOKE USAGE ON FOREIGN SERVER %s FROM PUBLIC;", quote(name)))
	}
	for _, name := range s.Wrappers {
		add("foreign data wrapper "+name, fmt.Sprintf("every role may make servers of the foreign data wrapper %s", name),
			fmt.Sprintf("REVOKE USAGE ON FOREIGN DATA WRAPPER %s FROM PUBLIC;", quote(name)))
	}
	for _, name := range s.Defaults {
		add("default privileges of "+name, fmt.Sprintf("tables that %s makes later are open to every role: a lease would reach what was born after it", name),
			fmt.Sprintf("ALTER DEFAULT PRIVILEGES FOR ROLE %s REVOKE ALL ON TABLES FROM PUBLIC;  -- and ON SEQUENCES, ON SCHEMAS, IN SCHEMA …: see \\ddp", quote(name)))
	}
	if s.LargeObjects {
		add("large objects", "large objects are open to every role, by a GRANT to PUBLIC or by lo_compat_privileges",
			"SELECT format('REVOKE ALL ON LARGE OBJECT %s FROM PUBLIC;', oid) FROM pg_largeobject_metadata WHERE lomacl IS NOT NULL;  -- run what it prints; ALTER SYSTEM SET lo_compat_privileges = off;")
	}
	return found
}

func quoteParameter(name string) string {
	parts := strings.Split(name, ".")
	for at, part := range parts {
		parts[at] = quote(part)
	}
	return strings.Join(parts, ".")
}

// publicRelations: tables, columns, views and sequences that every role may use, beyond what is granted.
func (s *snapshot) publicRelations(grants []grant) []broker.Finding {
	var found []broker.Finding
	schemas := schemasOf(s, grants)
	for _, p := range s.Public {
		if !p.Usage && !slices.Contains(schemas, p.Schema) {
			continue
		}
		beyond := slices.DeleteFunc(slices.Clone(p.Privileges), func(privilege string) bool {
			return slices.ContainsFunc(grants, func(g grant) bool {
				return g.OID == p.OID && slices.Contains(privileges(g.actions), privilege)
			})
		})
		if len(beyond) > 0 {
			found = append(found, p.finding(beyond))
		}
	}
	return found
}

func (p publicGrant) finding(beyond []string) broker.Finding {
	r := relation{Schema: p.Schema, Name: p.Name}
	word, sql := "table ", "TABLE"
	switch p.Kind {
	case kindSequence:
		word, sql = "sequence ", "SEQUENCE"
	case kindView, kindMaterialized:
		word = "view "
	}
	list := strings.Join(beyond, ", ")
	// What an extension lets everybody read (pg_stat_statements, spatial_ref_sys) is its own, not the application's.
	harmless := p.Extension && slices.Equal(beyond, []string{"SELECT"})
	return broker.Finding{
		Refuses: !harmless, Object: word + r.resource(),
		Problem: fmt.Sprintf("every role has %s on %s, or on columns of it", list, r.resource()),
		Mend:    fmt.Sprintf("REVOKE %s ON %s %s FROM PUBLIC;", list, sql, r.quoted()),
	}
}

// named: relations that may only be granted where the configuration accepts what they bring with them.
func named(grants []grant) []broker.Finding {
	var found []broker.Finding
	for _, g := range grants {
		switch {
		case g.Kind == kindView && !g.Invoker:
			found = append(found, broker.Finding{
				Refuses: true, Object: "view " + g.resource(),
				Problem: fmt.Sprintf("the view %s reads with its owner's rights whatever its query names", g.resource()),
				Mend:    fmt.Sprintf("ALTER VIEW %s SET (security_invoker = true);  -- then ask for the tables beneath as well", g.quoted()),
			})
		case g.Kind == kindMaterialized:
			found = append(found, broker.Finding{
				Refuses: true, Object: "view " + g.resource(),
				Problem: fmt.Sprintf("the materialized view %s shows what its owner could read", g.resource()),
				Mend:    "-- ask for the tables beneath, or name it in accept",
			})
		case g.Kind == kindForeign:
			found = append(found, broker.Finding{
				Refuses: true, Object: "table " + g.resource(),
				Problem: fmt.Sprintf("the foreign table %s lies on another server", g.resource()),
				Mend:    "-- ask for tables of this database, or name it in accept",
			})
		}
	}
	return found
}

// missing: privileges that the admin login could not hand on. PostgreSQL would only warn, and the lease
// would be smaller than described.
func (s *snapshot) missing(grants []grant) []broker.Finding {
	var found []broker.Finding
	add := func(object, what, on string) {
		found = append(found, broker.Finding{
			Refuses: true, Object: object,
			Problem: fmt.Sprintf("the admin login %s may not grant %s on %s", s.Admin.Name, what, on),
			Mend:    fmt.Sprintf("GRANT %s ON %s TO %s WITH GRANT OPTION;", what, on, quote(s.Admin.Name)),
		})
	}
	if !s.Admin.Connect {
		add("admin connect", "CONNECT", "DATABASE "+quote(s.Database))
	}
	for _, g := range grants {
		lacks := slices.DeleteFunc(privileges(g.actions), func(p string) bool { return slices.Contains(g.Grantable, p) })
		if len(lacks) > 0 {
			add("admin "+g.resource(), strings.Join(lacks, ", "), "TABLE "+g.quoted())
		}
		if !g.Usage {
			add("admin schema "+g.Schema, "USAGE", "SCHEMA "+quote(g.Schema))
		}
	}
	for _, q := range sequencesOf(s, grants) {
		if !q.Grantable {
			add("admin "+q.Schema+"."+q.Name, "USAGE", "SEQUENCE "+q.quoted())
		}
		if !q.Usage {
			add("admin schema "+q.Schema, "USAGE", "SCHEMA "+quote(q.Schema))
		}
	}
	return found
}

// adminHoles: what the admin login lacks, or has too much of.
func (i *Issuer) adminHoles(seen *snapshot) []broker.Finding {
	var found []broker.Finding
	a, name, owner := seen.Admin, quote(seen.Admin.Name), i.config.Settings.Owner
	add := func(wrong, refuses bool, object, problem, mend string) {
		if wrong {
			found = append(found, broker.Finding{Refuses: refuses, Object: object, Problem: problem, Mend: mend})
		}
	}
	add(!a.CreateRole && !a.Superuser, true, "admin createrole", fmt.Sprintf("the admin login %s may not create roles", a.Name), fmt.Sprintf("ALTER ROLE %s CREATEROLE;", name))
	add(!a.OwnerExists, true, "admin owner", fmt.Sprintf("the role %s, named as owner, does not exist", owner), "-- name the role that owns the tables as owner")
	add(a.OwnerExists && !a.OwnerMember, true, "admin owner", fmt.Sprintf("the admin login %s does not have the rights of %s, so a lease could not be ended completely", a.Name, owner), fmt.Sprintf("GRANT %s TO %s;  -- and ALTER ROLE %s INHERIT", quote(owner), name, name))
	add(a.OwnerSuperuser, true, "owner superuser", fmt.Sprintf("the owner %s is a superuser, and the admin login has its rights: the tables should belong to an ordinary role", owner), "CREATE ROLE app_owner NOLOGIN;  -- then ALTER TABLE … OWNER TO app_owner for each table")
	add(a.Superuser, false, "admin superuser", fmt.Sprintf("the admin login %s is a superuser: it needs far less", a.Name), AdminSQL("hourkey_admin", seen.Database, owner))
	add(a.BypassRLS, false, "admin bypassrls", fmt.Sprintf("the admin login %s bypasses row security", a.Name), fmt.Sprintf("ALTER ROLE %s NOBYPASSRLS;", name))
	add(a.Replication, false, "admin replication", fmt.Sprintf("the admin login %s may replicate the whole server", a.Name), fmt.Sprintf("ALTER ROLE %s NOREPLICATION;", name))
	add(seen.Standby, true, "standby", "the server is a standby: roles cannot be made there", "-- let the DSN lead to the primary")
	return found
}

// AdminSQL prints the statements that make the admin login, for a superuser to run in the target's
// database. owner is the role that owns the tables and, in PostgreSQL 15 and newer, usually the database.
func AdminSQL(admin, database, owner string) string {
	a, d, o := quote(admin), quote(database), quote(owner)
	return strings.Join([]string{
		"CREATE ROLE " + a + " LOGIN CREATEROLE PASSWORD '…';  -- put the DSN's password for the dots; not a superuser",
		"GRANT " + o + " TO " + a + ";  -- lets it grant on the owner's tables, and give back what a lease leaves",
		"GRANT CONNECT ON DATABASE " + d + " TO " + a + " WITH GRANT OPTION;",
		"GRANT USAGE ON SCHEMA public TO " + a + " WITH GRANT OPTION;  -- and each other schema that tasks name",
		"REVOKE CONNECT, TEMPORARY ON DATABASE " + d + " FROM PUBLIC;  -- the wall between the environments of one server",
	}, "\n")
}

// weigh sorts the findings into what refuses, what the configuration accepts, and what is only worth a word.
func (i *Issuer) weigh(found []broker.Finding) (refusals, warnings []broker.Finding, exceptions []broker.Exception) {
	for _, f := range found {
		at := slices.IndexFunc(i.config.Settings.Accept, func(a Accept) bool { return a.Object == f.Object })
		switch {
		case f.Refuses && at >= 0 && isAcceptable(f.Object):
			exceptions = append(exceptions, broker.Exception{Object: f.Object, Why: i.config.Settings.Accept[at].Why})
		case f.Refuses:
			refusals = append(refusals, f)
		default:
			warnings = append(warnings, f)
		}
	}
	return refusals, warnings, exceptions
}

// isAcceptable tells whether a hole can be lived with. What the admin login lacks cannot: issuing or
// ending would fail. A server that trusts cannot either: no lease would ever end. Nor a place where a lease may create: its
// functions, views and rules would go to the owner at its end, and act with the owner's rights for every other lease.
func isAcceptable(object string) bool {
	return !strings.HasPrefix(object, "admin ") && !strings.HasPrefix(object, "schema ") && !strings.HasPrefix(object, "schemas of ") && object != "standby" && object != objectTrust
}

// mostPrinted is how many holes one refusal tells of.
const mostPrinted = 10

// wallError is the refusal for missing walls; it prints what mends each.
func (i *Issuer) wallError(refusals []broker.Finding) error {
	var problems, mends []string
	for at, f := range refusals {
		if at == mostPrinted {
			problems = append(problems, fmt.Sprintf("and %d more", len(refusals)-at))
			mends = append(mends, "-- hourkeyd check --live prints the rest")
			break
		}
		problems = append(problems, f.Problem+" ["+f.Object+"]")
		mends = append(mends, f.Mend)
	}
	return broker.Errorf(broker.CodeWall, "%s does not hold its walls: %s", i.config.Ref, strings.Join(problems, "; ")).
		WithNext("have the database's administrator run, or accept by the name in brackets in environments/%s.yaml:\n%s", i.config.Ref.Environment, strings.Join(mends, "\n"))
}
