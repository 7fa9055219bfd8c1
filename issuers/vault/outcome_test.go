package vault_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/vault"
	"github.com/hourkey/hourkey/issuers/vault/vaulttest"
)

// The ways around a lease for read and write that are known, each tried with a live lease on the real server. The tables in the
// documentation are made of the outcomes, and the outcomes are held to the descriptions: what works is said by a wall, and what
// destroys in spite of a scope without delete must be among what that wall gives.

var update = flag.Bool("update", false, "write the outcomes of the bypasses into the documentation")

type bypass struct {
	try   func(context.Context, broker.Credential) error
	wall  string         // what the wall stops by whose weakness it works; empty: it must be refused
	loses string         // the resource of which something is destroyed when it works
	gains string         // the resource over which power is gained when it works
	as    broker.Actions // the action of the description's own scopes as which humans approve it
}

// refusals makes bypasses of attacks that must be refused.
func refusals(attacks map[string]func(context.Context, broker.Credential) error) map[string]bypass {
	all := map[string]bypass{}
	for name, try := range attacks {
		all[name] = bypass{try: try}
	}
	return all
}

// hold tries the bypasses with one lease and gives the outcomes: a table of what works, and what is refused.
func hold(t *testing.T, d broker.Description, c broker.Credential, all map[string]bypass, refused func(error) bool, by string) string {
	t.Helper()
	table := "| what works | said in the description as |\n|---|---|\n"
	var no []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		one := all[name]
		switch err := one.try(t.Context(), c); {
		case err == nil:
			table += fmt.Sprintf("| %s | %s |\n", name, saidBy(t, d, name, one))
			continue
		case !refused(err):
			t.Errorf("%s: neither done nor refused: %v", name, err)
		case one.wall != "" || one.as != 0:
			t.Errorf("%s: refused: the wall %q is stronger than declared", name, one.wall)
		}
		no = append(no, name)
	}
	return table + "\n" + folded("Refused by "+by+": "+strings.Join(no, "; ")+".")
}

// folded breaks a text into lines.
func folded(text string) string {
	const width = 150
	var lines strings.Builder
	at := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case at > 0 && at+1+len(word) > width:
			lines.WriteString("\n")
			at = 0
		case at > 0:
			lines.WriteString(" ")
			at++
		}
		lines.WriteString(word)
		at += len(word)
	}
	return lines.String() + "\n"
}

// saidBy holds a bypass that worked to the description.
func saidBy(t *testing.T, d broker.Description, name string, one bypass) string {
	t.Helper()
	if one.as != 0 {
		if !broker.AllActions(d.Scopes).Has(one.as) || !one.as.NeedsHuman() {
			t.Errorf("%s: it works, and the scopes %v do not say so", name, broker.Texts(d.Scopes))
		}
		return "a scope with " + one.as.String() + ", whatever was asked; needs the approvals of " + one.as.String()
	}
	at := slices.IndexFunc(d.Walls, func(w broker.WallFact) bool { return one.wall != "" && strings.Contains(w.Stops, one.wall) })
	if at < 0 || d.Walls[at].Wall != broker.WallWeak && d.Walls[at].Wall != broker.WallNone {
		t.Errorf("%s: it works, and no weak or missing wall says so", name)
		return ""
	}
	said := fmt.Sprintf("%s: %s", d.Walls[at].Stops, d.Walls[at].Wall)
	for resource, action := range map[string]broker.Actions{one.loses: broker.Delete, one.gains: broker.Admin} {
		if resource == "" {
			continue
		}
		more := broker.Scope{Target: "orders-db", Resource: broker.Resource(resource), Actions: action}
		if !broker.Covers(d.Walls[at].Gives, []broker.Scope{more}) || !broker.Covers(d.Means(), []broker.Scope{more}) {
			t.Errorf("%s: it works at %s, and humans would not approve it as %s", name, resource, action)
		}
		said += "; needs the approvals of " + action.String()
	}
	return said
}

// Tokens for the KV engine, where the file vouches for nothing.
func TestBypassesOfKV(t *testing.T) {
	d := newKV(t)
	d.settings.Accept = nil
	d.Write(t, d.settings.Mount+"/data/other/db", map[string]any{"data": map[string]string{"password": "another folder's"}})
	issuer := d.issuer(t)
	credential, handle := lease(t, issuer, "hk-by-1", "app/*:read,write")
	mount := d.settings.Mount
	write := func(ctx context.Context, c broker.Credential, data any) error {
		return call(ctx, c, http.MethodPost, mount+"/data/app/db", data)
	}
	all := refusals(d.attacks())
	all["overwriting a value until its first version is gone"] = bypass{wall: "overwriting values", loses: "app/db", try: func(ctx context.Context, c broker.Credential) error {
		for n := range 11 {
			if err := write(ctx, c, map[string]any{"data": map[string]string{"password": fmt.Sprint(n)}}); err != nil {
				return err
			}
		}
		if value, there := d.value(t, "app/db", 1); there {
			return fmt.Errorf("the first version is still there: %s", value)
		}
		return nil
	}}
	all["overwriting a value with nothing"] = bypass{wall: "overwriting values", try: func(ctx context.Context, c broker.Credential) error {
		return write(ctx, c, map[string]any{"data": map[string]any{}})
	}}
	all["overwriting a value with nothing, by check-and-set"] = bypass{wall: "overwriting values", try: func(ctx context.Context, c broker.Credential) error {
		return write(ctx, c, map[string]any{"data": map[string]any{}, "options": map[string]any{"cas": 13}})
	}}
	all["overwriting another folder's, by an encoded .. in the path"] = bypass{wall: "other paths of the same mount", loses: "other/db", try: func(ctx context.Context, c broker.Credential) error {
		for range 11 {
			if err := call(ctx, c, http.MethodPost, mount+"/data/app/%2e%2e/other/db", map[string]any{"data": map[string]string{"password": "mine"}}); err != nil {
				return err
			}
		}
		if value, there := d.value(t, "other/db", 1); there {
			return fmt.Errorf("what was there is still there: %s", value)
		}
		return nil
	}}
	all["the names in another folder, by an encoded .. in the path"] = bypass{wall: "other paths of the same mount", try: func(ctx context.Context, c broker.Credential) error {
		return call(ctx, c, "LIST", mount+"/metadata/app/%2e%2e/other/", nil)
	}}
	all["another folder's metadata, by an encoded .. in the path"] = bypass{wall: "other paths of the same mount", try: func(ctx context.Context, c broker.Credential) error {
		return call(ctx, c, http.MethodGet, mount+"/metadata/app%2f..%2fother/db", nil)
	}}
	all["deleting another folder's, by an encoded .. in the path"] = bypass{try: func(ctx context.Context, c broker.Credential) error {
		return call(ctx, c, http.MethodDelete, mount+"/data/app/%2e%2e/other/db", nil)
	}}
	all["another mount's, by an encoded .. in the path"] = bypass{try: func(ctx context.Context, c broker.Credential) error {
		err := call(ctx, c, http.MethodGet, mount+"/metadata/app/%2e%2e/%2e%2e/%2e%2e/%2e%2e/"+d.production+"/metadata/app/db", nil)
		if err != nil && strings.Contains(err.Error(), "status 404") {
			return errForbidden // there is no such name in this mount, and no way out of it
		}
		return err
	}}
	var wrapped string
	all["an answer wrapped before the end"] = bypass{wall: "wrapped before the end", try: func(ctx context.Context, c broker.Credential) (err error) {
		wrapped, err = wrap(ctx, c, mount+"/data/app/db")
		return err
	}}
	description := describe(t, issuer, wish(t, "app/*:read,write"))
	table := hold(t, description, credential, all, func(err error) bool { return errors.Is(err, errForbidden) }, "Vault")
	if err := issuer.Revoke(t.Context(), "hk-by-1", handle); err != nil {
		t.Fatal(err)
	}
	status, _, err := vaulttest.Call(t.Context(), server.Address, wrapped, http.MethodPost, "sys/wrapping/unwrap", map[string]any{})
	if err != nil || status != http.StatusOK {
		t.Errorf("unwrapping after the end: %d, %v: the wall is stronger than declared", status, err)
	}
	issuertest.HoldPage(t, *update, documentation, "outcomes of kv", table)
}

// wrap reads a path and has the answer wrapped for an hour.
func wrap(ctx context.Context, c broker.Credential, path string) (token string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.Address+"/v1/"+path, nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("X-Vault-Token", c.Values["VAULT_TOKEN"].Reveal())
	request.Header.Set("X-Vault-Wrap-TTL", "1h")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var wrapped struct {
		Wrap struct{ Token string } `json:"wrap_info"`
	}
	if err := json.NewDecoder(response.Body).Decode(&wrapped); err != nil || wrapped.Wrap.Token == "" {
		return "", errors.Join(errors.New("no wrapped answer"), err)
	}
	return wrapped.Wrap.Token, nil
}

// Where the file says that old versions are kept elsewhere, and that nothing else is in the mount, writing is writing, and reviewers are
// shown why.
func TestVersionHistoryIsVouchedFor(t *testing.T) {
	d := newKV(t)
	vouched := describe(t, d.issuer(t), wish(t, "app/*:read,write"))
	if broker.AllActions(vouched.Means()).Has(broker.Delete) || len(vouched.Exceptions) != 2 || !says(vouched, "the test keeps them") || !says(vouched, "the test has nothing else in it") {
		t.Errorf("means %v, exceptions %v", broker.Texts(vouched.Means()), vouched.Exceptions)
	}
	if reading := describe(t, d.issuer(t), wish(t, "app/*:read")); !broker.AllActions(reading.Scopes).Has(broker.Write) {
		t.Errorf("the smallest offer is %v: this test proves nothing", broker.Texts(reading.Scopes))
	}
	for _, one := range d.settings.Accept {
		d.settings.Accept = []vault.Accept{one}
		if means := describe(t, d.issuer(t), wish(t, "app/*:read,write")).Means(); !broker.Covers(means, wish(t, "app/*:delete").Scopes) {
			t.Errorf("%s alone is vouched for, and it means %v", one.Object, broker.Texts(means))
		}
	}
	d.settings.Accept = nil
	d.policy(t, d.settings.Offers[0].Policies[0], fmt.Sprintf(`path "%s/data/app/db" { capabilities = ["create", "read", "update"] }`, d.settings.Mount))
	d.settings.Accept = []vault.Accept{{Object: vault.AcceptVersionHistory, Why: "kept"}}
	if single := describe(t, d.issuer(t), wish(t, "app/db:read,write")); broker.AllActions(single.Means()).Has(broker.Delete) || !hasWall(single, "other paths", broker.WallNative) {
		t.Errorf("a policy for a single secret means %v", broker.Texts(single.Means()))
	}
	d.settings.Accept = nil
	d.policy(t, d.settings.Offers[0].Policies[0], kvPolicy(d.settings.Mount, `"create", "read"`))
	if means := describe(t, d.issuer(t), wish(t, "app/*:read")).Means(); broker.AllActions(means).Has(broker.Delete) {
		t.Errorf("a policy that only creates means %v", broker.Texts(means))
	}
}

const hostile = `
CREATE TABLE public.lines (id int REFERENCES public.orders ON UPDATE CASCADE ON DELETE CASCADE);
INSERT INTO public.lines SELECT id FROM public.orders;
INSERT INTO public.customers (name) VALUES ('a');
CREATE FUNCTION public.wipe() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM public.customers';
CREATE FUNCTION public.wipe_too() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN DELETE FROM public.customers; RETURN NEW; END';
CREATE TRIGGER t AFTER INSERT ON public.orders EXECUTE FUNCTION public.wipe_too();
CREATE VIEW public.notes AS SELECT * FROM public.orders;
CREATE RULE r AS ON INSERT TO public.notes DO ALSO DELETE FROM public.customers;
GRANT INSERT ON public.notes TO PUBLIC;`

// Logins of a database that has code with its owner's rights, where the file vouches for none of it.
func TestBypassesOfDatabase(t *testing.T) {
	s := newShop(t)
	database.Exec(t, s.staging, "SET ROLE "+s.owner+";"+hostile)
	s.settings.Accept = s.settings.Accept[:1]
	issuer := s.issuer(t)
	description := describe(t, issuer, wish(t, "public.orders:read,write"))
	if !slices.Equal(description.Scopes, wish(t, "public.orders:read,write").Scopes) {
		t.Errorf("what is granted is described as %v", broker.Texts(description.Scopes))
	}
	credential, _ := lease(t, issuer, "hk-by-6", "public.orders:read,write")
	all := refusals(sqlAttacks(s))
	works := func(name, wall, loses, sql string) {
		all[name] = bypass{wall: wall, loses: loses, try: func(ctx context.Context, c broker.Credential) error { return run(ctx, c, sql) }}
	}
	works("a function with its owner's rights that deletes", "functions, triggers", "public.customers", "SELECT public.wipe()")
	works("a trigger with its owner's rights that deletes", "functions, triggers", "public.customers", "INSERT INTO public.orders (note) VALUES ('x')")
	works("a rule that deletes", "functions, triggers", "public.customers", "INSERT INTO public.notes (note) VALUES ('x')")
	works("overwriting by INSERT ON CONFLICT", "blanking or overwriting", "", "INSERT INTO public.orders (id, note) VALUES (3, 'x') ON CONFLICT (id) DO UPDATE SET note = 'x'")
	works("changing rows of another table by a foreign key's cascade", "functions, triggers", "public.lines", "UPDATE public.orders SET id = 1000 WHERE id = 2")
	works("blanking every row", "blanking or overwriting", "", "UPDATE public.orders SET note = NULL")
	issuertest.HoldPage(t, *update, documentation, "outcomes of database", hold(t, description, credential, all, refusedBySQL, "PostgreSQL"))
}

var documentation = filepath.Join("..", "..", "docs", "issuers", "vault.md")
