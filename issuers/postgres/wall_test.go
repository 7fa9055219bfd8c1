package postgres_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/postgres"
	"github.com/hourkey/hourkey/issuers/postgres/pgtest"
)

// hole is one way around a grant that the audit must see: opened by SQL as a superuser in the staging
// database ({owner}, {production} and {admin} are filled in), and closed by the SQL that the refusal prints.
type hole struct {
	opens  string
	asks   []string
	object string // as the refusal names it
	closes string // where the refusal cannot print SQL: what closes it
	never  bool   // it cannot be accepted
}

var readWrite = []string{"public.orders:read,write"}

const everything = "public.orders:read,write,delete"

var holes = map[string]hole{
	"staging key on production's database of the same server": {
		opens: "GRANT CONNECT ON DATABASE {production} TO PUBLIC", asks: readWrite, object: "database {production}"},
	"create a table in a schema": {
		opens: "GRANT CREATE ON SCHEMA public TO PUBLIC", asks: readWrite, object: "schema public", never: true},
	"create a schema": {
		opens: "GRANT CREATE ON DATABASE {staging} TO PUBLIC", asks: readWrite, object: "schemas of {staging}", never: true},
	"a definer function that wipes": {
		opens: "CREATE FUNCTION public.wipe(what text) RETURNS void LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM public.orders'",
		asks:  readWrite, object: "function public.wipe(what text)"},
	"a definer procedure": {
		opens: "CREATE PROCEDURE public.wipe() LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM public.orders'",
		asks:  readWrite, object: "function public.wipe()"},
	"a definer function in a schema that only the grant opens": {
		opens: "CREATE SCHEMA app AUTHORIZATION {owner}; GRANT USAGE ON SCHEMA app TO {admin} WITH GRANT OPTION; SET ROLE {owner}; CREATE TABLE app.t (id int);" +
			"CREATE FUNCTION app.wipe() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM public.orders'",
		asks: []string{"app.t:read"}, object: "function app.wipe()"},
	"a system function that was opened": {
		opens: "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO PUBLIC", asks: readWrite, object: "function pg_catalog.pg_read_file(text)"},
	"an event trigger that acts as a superuser": {
		opens: "CREATE FUNCTION public.onddl() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN END'; REVOKE EXECUTE ON FUNCTION public.onddl() FROM PUBLIC;" +
			"CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION public.onddl()",
		asks: readWrite, object: "event trigger watch"},
	"an INSERT that fires a definer trigger that deletes": {
		opens: definerTrigger("INSERT", "public.orders"), asks: readWrite, object: "trigger t on public.orders"},
	"a TRUNCATE that fires a definer trigger": {
		opens: definerTrigger("TRUNCATE", "public.orders"), asks: []string{everything}, object: "trigger t on public.orders"},
	"a definer trigger on a partition, reached by way of its table": {
		opens: "SET ROLE {owner}; CREATE TABLE public.log (id int) PARTITION BY RANGE (id); CREATE TABLE public.log_1 PARTITION OF public.log FOR VALUES FROM (0) TO (100);" +
			definerTrigger("DELETE", "public.log_1"),
		asks: []string{"public.log:read,write"}, object: "trigger t on public.log_1"}, // an UPDATE can move a row out of it
	"an INSERT with a rule that deletes": {
		opens: "CREATE RULE r AS ON INSERT TO public.orders DO ALSO DELETE FROM public.secrets", asks: readWrite, object: "rule r on public.orders"},
	"an UPDATE of a parent key, ON UPDATE CASCADE": {
		opens: child("ON UPDATE CASCADE"), asks: readWrite, object: "constraint child_parent_fkey on public.child"},
	"an UPDATE of a parent key, ON UPDATE SET NULL": {
		opens: child("ON UPDATE SET NULL"), asks: readWrite, object: "constraint child_parent_fkey on public.child"},
	"a DELETE of the parent, ON DELETE CASCADE": {
		opens: child("ON DELETE CASCADE"), asks: []string{everything}, object: "constraint child_parent_fkey on public.child"},
	"a DELETE of the parent, ON DELETE SET DEFAULT": {
		opens: child("ON DELETE SET DEFAULT"), asks: []string{everything}, object: "constraint child_parent_fkey on public.child"},
	"a cascade to a table that was granted for read only": {
		opens: child("ON DELETE CASCADE"), asks: []string{everything, "public.child:read"}, object: "constraint child_parent_fkey on public.child"},
	"a cascade through a granted table to the next": {
		opens: child("ON DELETE CASCADE") + "; CREATE TABLE public.grandchild (parent int REFERENCES public.child (id) ON DELETE CASCADE)",
		asks:  []string{everything, "public.child:delete"}, object: "constraint grandchild_parent_fkey on public.grandchild"},
	"a cascade runs a granted table's trigger as its owner": {
		opens: child("ON DELETE CASCADE") + "; CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM public.secrets; RETURN NULL; END';" +
			"CREATE TRIGGER t AFTER DELETE ON public.child EXECUTE FUNCTION public.f()",
		asks: []string{everything, "public.child:delete"}, object: "trigger t on public.child"},
	"a cascade from the partition of a parent": {
		opens: "SET ROLE {owner}; CREATE TABLE public.log (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE public.log_1 PARTITION OF public.log FOR VALUES FROM (0) TO (100);" +
			"CREATE TABLE public.lines (log int REFERENCES public.log ON DELETE CASCADE)",
		asks: []string{"public.log_1:read,delete"}, object: "constraint lines_log_fkey on public.lines"},
	"an UPDATE that moves a row out of a partition, ON DELETE CASCADE": {
		opens: "SET ROLE {owner}; CREATE TABLE public.log (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE public.log_1 PARTITION OF public.log FOR VALUES FROM (0) TO (100);" +
			"CREATE TABLE public.log_2 PARTITION OF public.log FOR VALUES FROM (100) TO (200); CREATE TABLE public.lines (log int REFERENCES public.log_1 ON DELETE CASCADE)",
		asks: []string{"public.log:read,write"}, object: "constraint lines_log_fkey on public.lines"},
	"a definer function in a closed schema, called by a check": {
		opens: "CREATE SCHEMA hidden; CREATE FUNCTION hidden.wipe(what text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN DELETE FROM public.secrets; RETURN true; END';" +
			"ALTER TABLE public.orders ADD CHECK (hidden.wipe(note))",
		asks: readWrite, object: "function hidden.wipe(what text)"},
	"a table by inheritance that was not asked for": {
		opens: "SET ROLE {owner}; CREATE TABLE public.orders_old () INHERITS (public.orders)", asks: readWrite, object: "table public.orders_old",
		closes: "ALTER TABLE public.orders_old NO INHERIT public.orders"},
	"a partition on another server": {
		opens: "CREATE EXTENSION postgres_fdw; CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw; SET ROLE {owner}; CREATE TABLE public.log (id int) PARTITION BY RANGE (id); RESET ROLE;" +
			"CREATE FOREIGN TABLE public.log_1 PARTITION OF public.log FOR VALUES FROM (0) TO (100) SERVER elsewhere",
		asks: []string{"public.log:read"}, object: "table public.log_1", closes: "DROP FOREIGN TABLE public.log_1"},
	"a table that everybody may write": {
		opens: "GRANT INSERT, DELETE ON public.secrets TO PUBLIC", asks: readWrite, object: "table public.secrets"},
	"a granted table that everybody may empty": {
		opens: "GRANT TRUNCATE ON public.orders TO PUBLIC", asks: readWrite, object: "table public.orders"},
	"a column that everybody may read": {
		opens: "GRANT SELECT (value) ON public.secrets TO PUBLIC", asks: readWrite, object: "table public.secrets"},
	"a sequence that everybody may set": {
		opens: "GRANT UPDATE ON SEQUENCE public.orders_id_seq TO PUBLIC", asks: readWrite, object: "sequence public.orders_id_seq"},
	"the password hashes, opened": {
		opens: "GRANT SELECT ON pg_catalog.pg_authid TO PUBLIC", asks: readWrite, object: "table pg_catalog.pg_authid"},
	"tables born later, open to everybody": {
		opens: "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT SELECT ON TABLES TO PUBLIC", asks: readWrite, object: "default privileges of {owner}"},
	"a parameter that switches triggers off": {
		opens: "GRANT SET ON PARAMETER session_replication_role TO PUBLIC", asks: readWrite, object: "parameter session_replication_role"},
	"another's large object": {
		opens: "SELECT lo_create(4242); GRANT UPDATE ON LARGE OBJECT 4242 TO PUBLIC", asks: readWrite, object: "large objects",
		closes: "SELECT lo_unlink(4242)"},
	"a foreign server with a login for everybody": {
		opens: "CREATE EXTENSION postgres_fdw; CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw; GRANT USAGE ON FOREIGN SERVER elsewhere TO PUBLIC;" +
			"CREATE USER MAPPING FOR PUBLIC SERVER elsewhere OPTIONS (user 'u', password 'p')",
		asks: readWrite, object: "server elsewhere"},
	"a foreign data wrapper for everybody": {
		opens: "CREATE EXTENSION postgres_fdw; GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO PUBLIC", asks: readWrite, object: "foreign data wrapper postgres_fdw"},
	"a view that reads with its owner's rights": {
		opens: "CREATE VIEW public.all_secrets AS SELECT * FROM public.secrets; ALTER VIEW public.all_secrets OWNER TO {owner}",
		asks:  []string{"public.all_secrets:read"}, object: "view public.all_secrets"},
	"a materialized view": {
		opens: "CREATE MATERIALIZED VIEW public.all_secrets AS SELECT * FROM public.secrets; ALTER MATERIALIZED VIEW public.all_secrets OWNER TO {owner}",
		asks:  []string{"public.all_secrets:read"}, object: "view public.all_secrets", closes: "-"},
}

func definerTrigger(event, table string) string {
	return "CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN DELETE FROM public.secrets; RETURN NULL; END';" +
		"REVOKE EXECUTE ON FUNCTION public.f() FROM PUBLIC; CREATE TRIGGER t AFTER " + event + " ON " + table + " EXECUTE FUNCTION public.f()"
}

func child(action string) string {
	return "SET ROLE {owner}; CREATE TABLE public.child (id int PRIMARY KEY, parent int REFERENCES public.orders " + action + ")"
}

// Each hole: refused by name, with SQL that closes it; then nothing is refused. Accepted by name instead, it is
// shown to the reviewer, with the reason.
func TestEveryWayAroundIsRefusedAndMendedByThePrintedSQL(t *testing.T) {
	for name, h := range holes {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			fill := strings.NewReplacer("{owner}", s.owner, "{production}", s.production, "{staging}", s.staging, "{admin}", s.admin).Replace
			object := fill(h.object)
			s.Exec(t, s.staging, fill(h.opens))

			issuer := s.issuer(t)
			_, err := issuer.Describe(t.Context(), wish(t, h.asks...))
			if broker.CodeOf(err) != broker.CodeWall || !strings.Contains(err.Error(), "["+object+"]") {
				t.Fatalf("Describe: %v; want %s naming [%s]", err, broker.CodeWall, object)
			}
			if strings.Count(err.Error(), "[") != 1 {
				t.Errorf("more than the one hole is refused: %v", err)
			}

			if h.never {
				if _, err := postgres.New(s.config(object)); broker.CodeOf(err) != broker.CodeInvalid {
					t.Errorf("accepting it: %v; want it refused", err)
				}
				_, sql, _ := strings.Cut(next(err), "\n")
				s.Exec(t, s.staging, sql)
				describe(t, issuer, wish(t, h.asks...))
				return
			}
			accepted := describe(t, s.issuer(t, object), wish(t, h.asks...))
			if len(accepted.Exceptions) != 1 || accepted.Exceptions[0].Object != object || accepted.Exceptions[0].Why == "" {
				t.Errorf("accepted: the description shows %v; want %q with its reason", accepted.Exceptions, object)
			}
			if h.closes == "-" {
				return
			}
			_, sql, _ := strings.Cut(next(err), "\n")
			if h.closes != "" {
				sql = h.closes
			}
			s.Exec(t, s.staging, sql)
			describe(t, issuer, wish(t, h.asks...))
		})
	}
}

// What the audit must not refuse: each of these leads nowhere.
func TestHarmlessNeighboursAreNotRefused(t *testing.T) {
	for name, test := range map[string]struct {
		opens string
		asks  []string
	}{
		"ON DELETE CASCADE where only writing was asked": {child("ON DELETE CASCADE"), readWrite},
		"ON UPDATE CASCADE where only reading was asked": {child("ON UPDATE CASCADE"), []string{"public.orders:read"}},
		"a cascade to a table granted as much":           {child("ON DELETE CASCADE"), []string{everything, "public.child:delete"}},
		"a plain foreign key":                            {child(""), []string{everything}},
		"a cascade to a partitioned table granted as much": {"SET ROLE {owner}; CREATE TABLE public.child (id int, parent int REFERENCES public.orders ON DELETE CASCADE) PARTITION BY RANGE (id);" +
			"CREATE TABLE public.child_1 PARTITION OF public.child FOR VALUES FROM (0) TO (100)", []string{everything, "public.child:delete"}},
		"a definer trigger on another event":  {definerTrigger("DELETE", "public.orders"), readWrite},
		"a definer trigger on another table":  {definerTrigger("INSERT", "public.secrets"), readWrite},
		"a trigger with the caller's rights":  {strings.Replace(definerTrigger("INSERT", "public.orders"), "SECURITY DEFINER", "", 1), readWrite},
		"a definer function closed to PUBLIC": {"CREATE FUNCTION public.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'; REVOKE EXECUTE ON FUNCTION public.f() FROM PUBLIC", readWrite},
		"a definer function out of reach":     {"CREATE SCHEMA app; CREATE FUNCTION app.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'", readWrite},
		"a view with its caller's rights":     {"CREATE VIEW public.v WITH (security_invoker = true) AS SELECT * FROM public.orders; ALTER VIEW public.v OWNER TO {owner}", []string{"public.v:read", "public.orders:read"}},
		"PUBLIC may read what was asked for":  {"GRANT SELECT ON public.orders TO PUBLIC", []string{"public.orders:read"}},
		"an extension's own readable table":   {"CREATE EXTENSION pg_stat_statements", readWrite},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.Exec(t, s.staging, strings.ReplaceAll(test.opens, "{owner}", s.owner))
			describe(t, s.issuer(t), wish(t, test.asks...))
		})
	}
}

// An empty maintenance database is worth a word; one with a table in it is a wall that is missing.
func TestMaintenanceDatabaseIsWarnedOfWhileEmptyAndRefusedWithATable(t *testing.T) {
	s := newSite(t)
	d := describe(t, s.issuer(t), wish(t, readWrite...))
	if !slices.ContainsFunc(d.Walls, func(w broker.WallFact) bool { return w.Stops == "database postgres" && w.Wall == broker.WallWeak }) {
		t.Errorf("the empty database postgres is not shown: %+v", d.Walls)
	}
	s.Exec(t, "postgres", "CREATE TABLE public.forgotten (id int)")
	t.Cleanup(func() { s.Exec(t, "postgres", "DROP TABLE public.forgotten") })
	if _, err := s.issuer(t).Describe(t.Context(), wish(t, readWrite...)); broker.CodeOf(err) != broker.CodeWall || !strings.Contains(err.Error(), "[database postgres]") {
		t.Errorf("Describe: %v; want it refused for the database postgres", err)
	}
}

// A database that the admin login cannot look into is not taken for empty.
func TestDatabaseThatCannotBeLookedIntoIsNotTakenForEmpty(t *testing.T) {
	server := pgtest.Start(t)
	s := newSiteOn(t, server)
	server.SetHBA(t, "host "+s.staging+" all 127.0.0.1/32 scram-sha-256")
	if _, err := s.issuer(t).Describe(t.Context(), wish(t, readWrite...)); broker.CodeOf(err) != broker.CodeWall || !strings.Contains(err.Error(), "cannot look into") {
		t.Errorf("Describe: %v; want it refused", err)
	}
}

// A server that lets leases in without the password makes VALID UNTIL void: nothing is issued there.
func TestServerThatTrustsIsRefused(t *testing.T) {
	server := pgtest.Start(t)
	s := newSiteOn(t, server)
	adminLine := "host all " + s.admin + " 127.0.0.1/32 scram-sha-256"
	for method, wrong := range map[string]bool{"trust": true, "password": true, "reject": true, "md5": false, "scram-sha-256": false} {
		server.SetHBA(t, adminLine, "host all all 127.0.0.1/32 "+method)
		issuer := s.issuer(t)
		_, err := issuer.Describe(t.Context(), wish(t, readWrite...))
		if wrong != (broker.CodeOf(err) == broker.CodeWall) || (!wrong && err != nil) {
			t.Errorf("%s: Describe gives %v; want a missing wall: %v", method, err, wrong)
		}
		found, err := issuer.Check(t.Context())
		if err != nil || wrong != slices.ContainsFunc(found, func(f broker.Finding) bool {
			return f.Object == "password login" && f.Refuses && strings.Contains(f.Mend, "pg_hba.conf")
		}) {
			t.Errorf("%s: Check gives %v, %v; want a finding: %v", method, found, err, wrong)
		}
	}
	if _, err := postgres.New(s.config("password login")); broker.CodeOf(err) != broker.CodeInvalid {
		t.Errorf("accepting a server that trusts: %v; want it refused", err)
	}
}

// Issue audits again: what was opened after the approval stops it.
func TestHoleOpenedBetweenDecisionAndIssue(t *testing.T) {
	s := newSite(t)
	issuer := s.issuer(t)
	for name, test := range map[string]struct {
		change string
		want   broker.Code
	}{
		"a wall fell":               {"GRANT DELETE ON public.secrets TO PUBLIC", broker.CodeWall},
		"what is granted changed":   {"ALTER TABLE public.orders ADD COLUMN more serial", broker.CodeConflict},
		"the table is another kind": {"DROP TABLE public.orders; CREATE VIEW public.orders AS SELECT 1 AS id", broker.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			issuer = s.issuer(t)
			order := orderFor(describe(t, issuer, wish(t, readWrite...)), "hk-conflict-1")
			s.Exec(t, s.staging, test.change)
			if _, _, err := issuer.Issue(t.Context(), order); broker.CodeOf(err) != test.want {
				t.Errorf("Issue: %v; want %s", err, test.want)
			}
			if names, err := issuer.List(t.Context(), "hk-"); err != nil || len(names) != 0 {
				t.Errorf("after the refusal the server has %v, %v", names, err)
			}
		})
	}
}

// A database that was dropped and made again under its name is another one.
func TestRecreatedDatabaseHasAnotherIdentity(t *testing.T) {
	s := newSite(t)
	before, err := s.issuer(t).Identify(t.Context())
	if err != nil || before.ID == "" || !strings.Contains(before.Shown, s.staging) {
		t.Fatalf("Identify: %+v, %v", before, err)
	}
	s.Exec(t, "postgres", "DROP DATABASE "+s.staging+" WITH (FORCE)", "CREATE DATABASE "+s.staging+" OWNER "+s.owner)
	after, err := s.issuer(t).Identify(t.Context())
	if err != nil || after.ID == before.ID {
		t.Errorf("Identify after: %+v, %v; want another identity than %s", after, err, before.ID)
	}
}

func TestCheckIsSilentAboutTheDocumentedSetupButForTheMaintenanceDatabases(t *testing.T) {
	s := newSite(t)
	found, err := s.issuer(t).Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.Refuses || !slices.Contains([]string{"database postgres", "database template1"}, f.Object) {
			t.Errorf("found %+v", f)
		}
	}
}

// Each permission of the admin login is checked by itself, and the SQL that is printed gives it.
func TestCheckNamesEachPermissionThatTheAdminLacks(t *testing.T) {
	for object, takes := range map[string]string{
		"admin createrole":     "ALTER ROLE {admin} NOCREATEROLE",
		"admin owner":          "REVOKE {owner} FROM {admin}; GRANT ALL ON ALL TABLES IN SCHEMA public TO {admin} WITH GRANT OPTION; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {admin} WITH GRANT OPTION",
		"admin connect":        "ALTER DATABASE {staging} OWNER TO postgres; REVOKE GRANT OPTION FOR CONNECT ON DATABASE {staging} FROM {admin}",
		"admin schema public":  "ALTER SCHEMA public OWNER TO postgres; REVOKE GRANT OPTION FOR USAGE ON SCHEMA public FROM {admin}",
		"admin public.secrets": "ALTER TABLE public.secrets OWNER TO postgres",
		"admin superuser":      "ALTER ROLE {admin} SUPERUSER",
		"admin bypassrls":      "ALTER ROLE {admin} BYPASSRLS",
		"admin replication":    "ALTER ROLE {admin} REPLICATION",
	} {
		t.Run(object, func(t *testing.T) {
			s := newSite(t)
			s.Exec(t, s.staging, strings.NewReplacer("{admin}", s.admin, "{owner}", s.owner, "{staging}", s.staging).Replace(takes))
			issuer := s.issuer(t)
			at := check(t, issuer, object)
			if at == nil {
				t.Fatalf("Check does not name %q", object)
			}
			if object == "admin superuser" {
				return // its mending is to make another login
			}
			s.Exec(t, s.staging, at.Mend)
			if at := check(t, issuer, object); at != nil {
				t.Errorf("after the printed SQL, still: %+v", at)
			}
		})
	}
}

func check(t *testing.T, issuer *postgres.Issuer, object string) *broker.Finding {
	t.Helper()
	for _, f := range issuertest.Findings(t, issuer) {
		if f.Object == object {
			return &f
		}
	}
	return nil
}

func TestCheckSaysWhichTableARequestWouldBeRefusedFor(t *testing.T) {
	s := newSite(t)
	s.Exec(t, s.staging, strings.ReplaceAll(child("ON DELETE CASCADE"), "{owner}", s.owner))
	f := check(t, s.issuer(t), "constraint child_parent_fkey on public.child")
	if f == nil || f.Refuses || !strings.Contains(f.Mend, "DROP CONSTRAINT") || strings.Contains(f.Mend, "CASCADE") {
		t.Errorf("found %+v; want a warning with SQL that takes the cascade away", f)
	}
	if f := check(t, s.issuer(t, "rule gone on public.orders"), "rule gone on public.orders"); f == nil || f.Refuses {
		t.Errorf("an acceptance of nothing is not told: %+v", f)
	}
}

// The broker may be an hour old when a probe is asked again: nothing is remembered longer than a minute.
func TestProbesAreNotBelievedForLong(t *testing.T) {
	s := newSite(t)
	now := time.Now()
	config := s.config()
	config.Now = func() time.Time { return now }
	issuer := open(t, config)
	describe(t, issuer, wish(t, readWrite...))
	s.Exec(t, "postgres", "CREATE TABLE public.forgotten (id int)")
	t.Cleanup(func() { s.Exec(t, "postgres", "DROP TABLE public.forgotten") })
	now = now.Add(61 * time.Second)
	if _, err := issuer.Describe(t.Context(), wish(t, readWrite...)); broker.CodeOf(err) != broker.CodeWall {
		t.Errorf("a minute later: %v; want the table seen", err)
	}
}
