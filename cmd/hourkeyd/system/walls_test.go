package system

import (
	"testing"
	"time"
)

// TestStagingKeyBreaksOut tries everything with a key that came the whole way. PostgreSQL itself refuses.
func TestStagingKeyBreaksOut(t *testing.T) {
	t.Parallel()
	i := install(t)
	key := i.key(0)
	role, owner := key.Values["PGUSER"].Reveal(), i.staging.owner

	must(t, run(t.Context(), key, "UPDATE public.orders SET state = 'open' WHERE id = 7"))
	must(t, run(t.Context(), key, "INSERT INTO public.orders (state) VALUES ('more')"))
	for _, other := range []string{i.production.name, "template1"} {
		conn, err := login(t.Context(), key, other)
		if err == nil {
			shut(conn)
		}
		if state(err) != insufficientPrivilege {
			t.Errorf("the staging key on %s: got %v", other, err)
		}
	}
	for attack, sql := range map[string]string{
		"read outside the grant":      "SELECT * FROM public.secrets",
		"write outside the grant":     "UPDATE public.customers SET name = ''",
		"DELETE":                      "DELETE FROM public.orders WHERE id = 7",
		"TRUNCATE":                    "TRUNCATE public.orders",
		"DROP":                        "DROP TABLE public.orders",
		"DROP DATABASE":               "DROP DATABASE " + i.production.name,
		"ALTER":                       "ALTER TABLE public.orders ALTER COLUMN state DROP NOT NULL",
		"CREATE":                      "CREATE TABLE public.mine (id int)",
		"temporary table":             "CREATE TEMPORARY TABLE mine (id int)",
		"definer function of its own": "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
		"SET ROLE owner":              "SET ROLE " + owner,
		"SET ROLE superuser":          "SET ROLE postgres",
		"session authorization":       "SET SESSION AUTHORIZATION postgres",
		"COPY PROGRAM":                "COPY public.orders TO PROGRAM 'cat > /tmp/stolen'",
		"COPY to a file":              "COPY public.orders TO '/tmp/stolen'",
		"COPY from a file":            "COPY public.orders (state) FROM '/etc/passwd'",
		"definer function":            "SELECT public.wipe()",
		"read a file":                 "SELECT pg_read_file('/etc/passwd')",
		"read verifiers":              "SELECT rolpassword FROM pg_authid",
		"live longer":                 `ALTER ROLE "` + role + `" VALID UNTIL 'infinity'`,
		"power":                       `ALTER ROLE "` + role + `" SUPERUSER`,
		"another role":                "CREATE ROLE helper LOGIN",
		"membership":                  "GRANT " + owner + ` TO "` + role + `"`,
		"hand itself on":              `GRANT "` + role + `" TO ` + owner,
		"hand on":                     `GRANT SELECT ON public.secrets TO "` + role + `"`,
		"row security":                "ALTER TABLE public.orders DISABLE ROW LEVEL SECURITY",
		"trigger":                     "CREATE TRIGGER t BEFORE UPDATE ON public.orders EXECUTE FUNCTION suppress_redundant_updates_trigger()",
		"server setting":              "ALTER SYSTEM SET log_statement = 'all'",
		"large object from a file":    "SELECT lo_import('/etc/passwd')",
	} {
		if err := run(t.Context(), key, sql); state(err) != insufficientPrivilege {
			t.Errorf("%s: got %v, want %s", attack, err, insufficientPrivilege)
		}
	}
	if n := i.staging.number(t, "SELECT count(*) FROM public.orders"); n != 101 {
		t.Errorf("%d orders, want 101", n)
	}
	if n := i.production.number(t, "SELECT count(*) FROM public.orders"); n != 100 {
		t.Errorf("%d orders in production, want 100", n)
	}
}

// TestOldKeyAfterApprovalOfAnother: what a human approves is a new key; the old one gets nothing by it.
func TestOldKeyAfterApprovalOfAnother(t *testing.T) {
	t.Parallel()
	i := install(t)
	old := i.key(0)
	request, err := i.agent.request(t.Context(), "staging", time.Minute, rwd)
	must(t, err)
	_, err = i.agent.collect(t.Context(), request.ID)
	refused(t, "collecting before a human looked", err, "authorization_pending")
	i.approve(request.ID)
	fresh, err := i.agent.collect(t.Context(), request.ID)
	must(t, err)

	must(t, run(t.Context(), fresh, "DELETE FROM public.orders WHERE id = 8"))
	for _, sql := range []string{"DELETE FROM public.orders WHERE id = 9", "TRUNCATE public.orders"} {
		if err := run(t.Context(), old, sql); state(err) != insufficientPrivilege {
			t.Errorf("the old key, %s: got %v", sql, err)
		}
	}
	if err := run(t.Context(), fresh, "DELETE FROM public.customers"); state(err) != insufficientPrivilege {
		t.Errorf("the new key beyond its table: got %v", err)
	}
	if err := run(t.Context(), fresh, "DROP TABLE public.orders"); state(err) != insufficientPrivilege {
		t.Errorf("the new key, DROP: got %v", err)
	}
	if n := i.staging.number(t, "SELECT count(*) FROM public.orders"); n != 99 {
		t.Errorf("%d orders, want 99", n)
	}
}

// TestDefinerFunctionOpenToAll: PostgreSQL would not refuse this one, so no key is issued beside it.
func TestDefinerFunctionOpenToAll(t *testing.T) {
	t.Parallel()
	i := install(t)
	request, err := i.agent.request(t.Context(), "staging", 0)
	must(t, err)
	i.staging.Exec(t, i.staging.name, "GRANT EXECUTE ON FUNCTION public.wipe() TO PUBLIC")
	_, err = i.agent.collect(t.Context(), request.ID)
	refused(t, "a hole that came after the decision", err, "wall_missing")
	_, err = i.agent.request(t.Context(), "staging", 0)
	refused(t, "a hole", err, "wall_missing")
	i.staging.Exec(t, i.staging.name, "REVOKE EXECUTE ON FUNCTION public.wipe() FROM PUBLIC")
	i.none()
}
