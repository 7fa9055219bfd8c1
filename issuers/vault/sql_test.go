package vault_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/vault"
)

func TestCreationStatementsAreRead(t *testing.T) {
	const create = `CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';`
	for name, one := range map[string]struct{ sql, reach, promised string }{
		"nothing but a login":   {create, "", ""},
		"read":                  {create + `GRANT SELECT ON public.orders TO "{{name}}";`, "public.orders:read", "public.orders:read"},
		"read and write":        {`GRANT SELECT, INSERT, UPDATE ON TABLE public.orders TO "{{username}}"`, "public.orders:read,write", "public.orders:read,write"},
		"insert alone":          {`GRANT INSERT ON public.orders TO "{{name}}"`, "public.orders:write", ""},
		"delete":                {`GRANT DELETE ON public.orders TO "{{name}}"`, "public.orders:delete", "public.orders:delete"},
		"truncate is delete":    {`GRANT TRUNCATE ON public.orders TO "{{name}}"`, "public.orders:delete", ""},
		"references is delete":  {`GRANT REFERENCES ON public.orders TO "{{name}}"`, "public.orders:delete", ""},
		"all is everything":     {`GRANT ALL PRIVILEGES ON public.orders TO "{{name}}"`, "public.orders:read,write,delete,admin", "public.orders:read,write,delete"},
		"a trigger is admin":    {`GRANT TRIGGER ON public.orders TO "{{name}}"`, "public.orders:read,write,delete,admin", ""},
		"all tables":            {`GRANT SELECT ON ALL TABLES IN SCHEMA public, "Other" TO "{{name}}"`, "Other.*:read public.*:read", "Other.*:read public.*:read"},
		"several tables":        {`grant select on public.orders , "public"."Customers" to "{{name}}"`, "public.Customers:read public.orders:read", "public.Customers:read public.orders:read"},
		"upper case is folded":  {`GRANT SELECT ON PUBLIC.ORDERS TO "{{name}}"`, "public.orders:read", "public.orders:read"},
		"a sequence":            {`GRANT USAGE, SELECT ON SEQUENCE public.orders_id_seq TO "{{name}}"`, "", ""},
		"setting it back":       {`GRANT UPDATE ON SEQUENCE public.orders_id_seq TO "{{name}}"`, "public.orders_id_seq:delete", ""},
		"all sequences":         {`GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO "{{name}}"`, "", ""},
		"a schema":              {`GRANT USAGE ON SCHEMA public TO "{{name}}"`, "", ""},
		"creating in a schema":  {`GRANT CREATE ON SCHEMA public TO "{{name}}"`, "public.*:read,write,delete,admin", ""},
		"the database":          {`GRANT CONNECT ON DATABASE orders TO "{{name}}"`, "", ""},
		"creating in it":        {`GRANT CREATE ON DATABASE orders TO "{{name}}"`, "*:read,write,delete,admin", ""},
		"others become members": {`GRANT "{{name}}" TO vault_admin`, "", ""},
		"everybody's passwords": {`GRANT SELECT ON pg_catalog.pg_authid TO "{{name}}"`, "pg_catalog.pg_authid:read,admin", "pg_catalog.pg_authid:read"},
		"all of the catalog":    {`GRANT SELECT ON ALL TABLES IN SCHEMA pg_catalog TO "{{name}}"`, "pg_catalog.*:read,admin", "pg_catalog.*:read"},
		"changed after made":    {create + `ALTER ROLE "{{name}}" CONNECTION LIMIT 5`, "", ""},
		"blanks of all kinds":   {"GRANT\tSELECT\r\nON public.orders\nTO \"{{name}}\"", "public.orders:read", "public.orders:read"},
		"a name with a blank":   {`GRANT SELECT ON public."a b" TO "{{name}}"`, "public.a b:read", "public.a b:read"},
		"taking away":           {`REVOKE ALL ON SCHEMA public FROM "{{name}}"`, "", ""},
	} {
		reach, promised, unknown, other := vault.JudgeSQL("orders", one.sql)
		if got := withoutTarget(reach); got != one.reach || len(unknown)+len(other) > 0 {
			t.Errorf("%s: reaches %q, not understood %q, other databases %q; want %q", name, got, unknown, other, one.reach)
		}
		if got := withoutTarget(promised); got != one.promised {
			t.Errorf("%s: promises %q; want %q", name, got, one.promised)
		}
	}
}

func withoutTarget(scopes []broker.Scope) string {
	var list []string
	for _, text := range broker.Texts(scopes) {
		if text = strings.TrimPrefix(text, "orders-db:"); !strings.HasSuffix(text, ":") {
			list = append(list, text)
		}
	}
	return strings.Join(list, " ")
}

// What gives a power that it does not name, or is not plain, is never taken for harmless.
func TestCreationStatementsThatGiveMoreAreNotUnderstood(t *testing.T) {
	for name, sql := range map[string]string{
		"a superuser":                `CREATE ROLE "{{name}}" LOGIN SUPERUSER PASSWORD '{{password}}'`,
		"making roles":               `CREATE USER "{{name}}" CREATEROLE PASSWORD '{{password}}'`,
		"making databases":           `CREATE ROLE "{{name}}" CREATEDB`,
		"replication":                `CREATE ROLE "{{name}}" REPLICATION`,
		"past row security":          `CREATE ROLE "{{name}}" BYPASSRLS`,
		"membership while made":      `CREATE ROLE "{{name}}" LOGIN IN ROLE orders_owner`,
		"membership the other way":   `CREATE ROLE "{{name}}" LOGIN ADMIN alice`,
		"membership":                 `GRANT orders_owner TO "{{name}}"`,
		"membership with its option": `GRANT orders_owner TO "{{name}}" WITH ADMIN OPTION`,
		"handing on":                 `GRANT SELECT ON public.orders TO "{{name}}" WITH GRANT OPTION`,
		"a role made of the lease's": `GRANT "{{name}}" TO "{{name}}"`,
		"everybody":                  `GRANT SELECT ON public.orders TO PUBLIC`,
		"everybody as well":          `GRANT SELECT ON public.orders TO "{{name}}", PUBLIC`,
		"another role":               `GRANT SELECT ON public.orders TO alice`,
		"a name like the lease's":    `GRANT SELECT ON public.orders TO "{{name}}_too"`,
		"no schema":                  `GRANT SELECT ON orders TO "{{name}}"`,
		"three parts":                `GRANT SELECT ON a.b.c TO "{{name}}"`,
		"a name with a dot in it":    `GRANT SELECT ON "public.orders"."x" TO "{{name}}"`,
		"a name with a star in it":   `GRANT SELECT ON public."*" TO "{{name}}"`,
		"columns":                    `GRANT SELECT (id), UPDATE (note) ON public.orders TO "{{name}}"`,
		"a function":                 `GRANT EXECUTE ON FUNCTION public.wipe() TO "{{name}}"`,
		"all functions":              `GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO "{{name}}"`,
		"a language":                 `GRANT USAGE ON LANGUAGE plpython3u TO "{{name}}"`,
		"another server":             `GRANT USAGE ON FOREIGN SERVER files TO "{{name}}"`,
		"a parameter":                `GRANT SET ON PARAMETER session_replication_role TO "{{name}}"`,
		"a large object":             `GRANT UPDATE ON LARGE OBJECT 1 TO "{{name}}"`,
		"running as somebody":        `ALTER ROLE "{{name}}" SET role = orders_owner`,
		"another role changed":       `ALTER ROLE alice SUPERUSER`,
		"ownership":                  `ALTER TABLE public.orders OWNER TO "{{name}}"`,
		"default privileges":         `ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO "{{name}}"`,
		"code":                       `DO $$ BEGIN EXECUTE 'GRANT orders_owner TO "{{name}}"'; END $$`,
		"a call":                     `SELECT public.give('{{name}}')`,
		"a comment that hides":       "GRANT SELECT ON public.orders -- \nTO PUBLIC",
		"a comment within":           `GRANT SELECT /* */ ON public.orders TO "{{name}}"`,
		"an escape":                  `CREATE ROLE "{{name}}" PASSWORD E'\'' SUPERUSER`,
		"a doubled quote":            `GRANT SELECT ON public."a""b" TO "{{name}}"`,
		"a semicolon within quotes":  `GRANT SELECT ON public."a;b" TO "{{name}}"`,
		"an unfinished quote":        `GRANT SELECT ON public."orders TO {{name}}`,
		"an unfinished template":     `GRANT SELECT ON public.orders TO {{name`,
		"a merge":                    `MERGE INTO x USING y ON true WHEN MATCHED THEN DELETE`,
		"nothing granted":            `GRANT ON public.orders TO "{{name}}"`,
		"on nothing":                 `GRANT SELECT ON TO "{{name}}"`,
		"a list that ends too early": `GRANT SELECT, ON public.orders TO "{{name}}"`,
		"a login that was there":     `ALTER ROLE "{{name}}" LOGIN PASSWORD '{{password}}'`,
		"another login, then this":   `CREATE ROLE alice LOGIN; ALTER ROLE "{{name}}" LOGIN PASSWORD '{{password}}'`,
		"letters beyond ASCII":       "GRANT SELECT ON public.\u00d6rders TO \"{{name}}\"",
		"a Kelvin sign":              "GRANT SELECT ON public.to\u212aens TO \"{{name}}\"",
		"a long s in a keyword":      "GRANT \u017fELECT ON public.orders TO \"{{name}}\"",
		"a blank that is none":       "GRANT SELECT ON public.orders\u00a0TO \"{{name}}\"",
		"two blanks in a name":       `GRANT SELECT ON public."a  b" TO "{{name}}"`,
		"a newline in a name":        "GRANT SELECT ON public.\"a\nb\" TO \"{{name}}\"",
		"what cannot be seen":        "GRANT SELECT ON public.\"orders\u200b\" TO \"{{name}}\"",
		"a template in a name":       `GRANT SELECT ON public."orders{{expiration}}" TO "{{name}}"`,
		"a template for a table":     `GRANT SELECT ON public.{{password}} TO "{{name}}"`,
		"base64":                     "R1JBTlQgb3JkZXJzX293bmVyIFRPICJ7e25hbWV9fSI=",
		"base64 that looks like SQL": "REVOKE\nALL\nON\npublic\nFROM\nPUBLIC1=",
		"a list in JSON":             `["GRANT orders_owner TO \"{{name}}\""]`,
		"a definer function":         `CREATE FUNCTION f() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM public.orders'`,
		"dollar quoting":             `CREATE ROLE "{{name}}" PASSWORD $$x$$ SUPERUSER`,
		"unicode escapes":            `GRANT SELECT ON public.U&"\006frders" TO "{{name}}"`,
		"granted by somebody":        `GRANT SELECT ON public.orders TO "{{name}}" GRANTED BY postgres`,
		"a login without a password": `CREATE ROLE "{{name}}" LOGIN PASSWORD NULL`,
		"lower case superuser":       `create role "{{name}}" login superuser`,
	} {
		if reach, _, unknown, _ := vault.JudgeSQL("orders", sql); len(unknown) == 0 {
			t.Errorf("%s: understood as %v", name, broker.Texts(reach))
		}
	}
}

func TestCreationStatementsThatLetIntoAnotherDatabase(t *testing.T) {
	for _, sql := range []string{`GRANT CONNECT ON DATABASE production TO "{{name}}"`, `GRANT CONNECT ON DATABASE orders, production TO "{{name}}"`, `GRANT CONNECT ON DATABASE "Orders" TO "{{name}}"`} {
		if _, _, _, other := vault.JudgeSQL("orders", sql); len(other) != 1 {
			t.Errorf("%s: other databases %q; want one", sql, other)
		}
	}
}

// What PostgreSQL gives a role by the statements, the judgement has said. Statements are put together at random and run; then
// PostgreSQL is asked for every privilege.
func TestPostgreSQLNeverGivesMoreThanWasJudged(t *testing.T) {
	needsDatabase(t)
	serial++
	name := fmt.Sprintf("judged_%d", serial)
	database.Exec(t, "postgres", "CREATE DATABASE "+name)
	t.Cleanup(func() { _ = database.Try("postgres", "DROP DATABASE "+name+" WITH (FORCE)") })
	database.Exec(t, name, "CREATE TABLE public.orders (id serial, note text); CREATE SCHEMA s; CREATE TABLE s.t (id int); CREATE TABLE s.u (id int)")
	conn, err := pgx.Connect(t.Context(), database.SuperuserDSN(name))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	random := rand.New(rand.NewPCG(11, 12))
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	ran := 0
	for range 400 {
		var sql []string
		for range 1 + random.IntN(2) {
			privileges := pick("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "TRIGGER", "REFERENCES", "ALL", "SELECT, INSERT", "SELECT, UPDATE, INSERT", "USAGE", "USAGE, SELECT")
			object := pick("public.orders", "TABLE s.t", "s.t, s.u", "ALL TABLES IN SCHEMA s", "ALL TABLES IN SCHEMA public", "SEQUENCE public.orders_id_seq", "SCHEMA s", `"public"."orders"`, "S.T")
			sql = append(sql, "GRANT "+privileges+" ON "+object+` TO "{{name}}"`)
		}
		if runJudged(t, conn, name, sql) {
			ran++
		}
	}
	if ran < 100 {
		t.Errorf("PostgreSQL took only %d of the statements: that proves little", ran)
	}
}

// runJudged runs statements for a role and compares; false if PostgreSQL did not take them.
func runJudged(t *testing.T, conn *pgx.Conn, database string, sql []string) bool {
	t.Helper()
	ctx := t.Context()
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	script := strings.ReplaceAll(`CREATE ROLE "{{name}}"; `+strings.Join(sql, "; "), "{{name}}", "hk-judged")
	if _, err := tx.Exec(ctx, script); err != nil {
		return false
	}
	reach, promised, unknown, _ := vault.JudgeSQL(database, sql...)
	if len(unknown) > 0 {
		return true // it counts as admin
	}
	rows, err := tx.Query(ctx, `
SELECT n.nspname || '.' || c.relname, p, has_table_privilege('hk-judged', c.oid, p)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, unnest(ARRAY['SELECT','INSERT','UPDATE','DELETE','TRUNCATE','REFERENCES','TRIGGER']) p
WHERE c.relkind = 'r' AND n.nspname IN ('public', 's')`)
	if err != nil {
		t.Fatal(err)
	}
	classes := map[string]broker.Actions{"SELECT": broker.Read, "INSERT": broker.Write, "UPDATE": broker.Write, "TRIGGER": broker.Admin}
	can := map[string]map[string]bool{} // table → privilege
	for rows.Next() {
		var table, privilege string
		var has bool
		if err := rows.Scan(&table, &privilege, &has); err != nil {
			t.Fatal(err)
		}
		if can[table] == nil {
			can[table] = map[string]bool{}
		}
		can[table][privilege] = has
		class, known := classes[privilege]
		if !known {
			class = broker.Delete
		}
		if has && !broker.Covers(reach, []broker.Scope{{Target: "orders-db", Resource: broker.Resource(table), Actions: class}}) {
			t.Errorf("PostgreSQL lets %s on %s, judged as %v: %v", privilege, table, broker.Texts(reach), sql)
		}
	}
	for table, has := range can {
		for action, wanted := range map[broker.Actions][]string{broker.Read: {"SELECT"}, broker.Write: {"INSERT", "UPDATE"}, broker.Delete: {"DELETE"}} {
			if !broker.Covers(promised, []broker.Scope{{Target: "orders-db", Resource: broker.Resource(table), Actions: action}}) {
				continue
			}
			for _, privilege := range wanted {
				if !has[privilege] {
					t.Errorf("PostgreSQL does not let %s on %s, promised as %v: %v", privilege, table, broker.Texts(promised), sql)
				}
			}
		}
	}
	return true
}

func FuzzCreationStatements(f *testing.F) {
	for _, seed := range []string{`GRANT SELECT ON public.orders TO "{{name}}"`, `CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}'`, "GRANT ALL ON ALL TABLES IN SCHEMA a,b TO {{name}}", `"`, "{{", "GRANT a TO b", "E'\\'"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		reach, promised, unknown, _ := vault.JudgeSQL("orders", sql)
		for _, scope := range promised {
			if scope.Actions != 0 && !broker.Covers(reach, []broker.Scope{scope}) {
				t.Errorf("%q promises %s, and does not reach it", sql, scope)
			}
		}
		for statement := range strings.SplitSeq(strings.ToUpper(sql), ";") {
			words := strings.Fields(statement)
			if len(unknown) == 0 && len(words) > 0 && !slices.Contains([]string{"CREATE", "ALTER", "GRANT", "REVOKE"}, words[0]) {
				t.Errorf("%q is taken for understood", statement)
			}
			if len(unknown) == 0 && len(words) > 3 && words[0] == "CREATE" && slices.Contains(words[3:], "SUPERUSER") {
				t.Errorf("%q is taken for harmless", statement)
			}
		}
	})
}
