package vault_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/vault"
	"github.com/hourkey/hourkey/issuers/vault/vaulttest"
)

// The ways around a lease for read and write that are known, each tried with a live lease on the real server. What works is
// said in the description; what works and deletes makes the scope delete.

// value reads a field of a secret of KV version 2, as root.
func (d *drawer) value(t *testing.T, path string, version int) (value string, there bool) {
	t.Helper()
	status, answer, err := vaulttest.Call(t.Context(), server.Address, server.Root, http.MethodGet, fmt.Sprintf("%s/data/%s?version=%d", d.settings.Mount, path, version), nil)
	if err != nil {
		t.Fatal(err)
	}
	data, _ := answer["data"].(map[string]any)
	inner, _ := data["data"].(map[string]any)
	value, there = inner["password"].(string)
	return value, there && status == http.StatusOK
}

func hasWall(d broker.Description, stops string, wall broker.Wall) bool {
	return slices.ContainsFunc(d.Walls, func(w broker.WallFact) bool { return strings.Contains(w.Stops, stops) && w.Wall == wall })
}

// Where a single write loses what was there, writing is delete: at version 1 of the engine, and where one version is kept.
func TestBypassWriteThatLosesTheOldValueIsDelete(t *testing.T) {
	d := newKV(t)
	d.Write(t, d.settings.Mount+"/config", map[string]any{"max_versions": 1})
	all := broker.AllActions(describe(t, d.issuer(t), wish(t, "app/*:read")).Scopes)
	if !all.Has(broker.Delete) {
		t.Errorf("with one version kept, the policy for writing is %s; want delete in it", all)
	}
	one := newKV1(t)
	description := describe(t, one.issuer(t), wish(t, "app/*:read"))
	if all := broker.AllActions(description.Scopes); !all.Has(broker.Delete) {
		t.Errorf("at version 1 the policy for writing is %s; want delete in it", all)
	}
	credential, _ := lease(t, one.issuer(t), "hk-by-2", "app/*:read")
	if err := call(t.Context(), credential, http.MethodPut, one.settings.Mount+"/app/db", map[string]any{"password": "new"}); err != nil {
		t.Errorf("overwriting at version 1: %v: the judgement is too strict", err)
	}
}

// newKV1 is a site whose engine is KV version 1, with one policy that reads, creates and updates.
func newKV1(t *testing.T) *site {
	t.Helper()
	needsVault(t)
	mount, policy := fmt.Sprintf("kv1-%d", serial+1), fmt.Sprintf("kv1-rw-%d", serial+1)
	server.Write(t, "sys/mounts/"+mount, map[string]any{"type": "kv", "options": map[string]string{"version": "1"}})
	server.Write(t, mount+"/app/db", map[string]any{"password": "old"})
	s := newSite(t, server, vault.Settings{Engine: "kv1", Mount: mount, Folders: []string{"app"}, Offers: []vault.Offer{{Policies: []string{policy}}}})
	s.policy(t, policy, fmt.Sprintf("path \"%s/app/*\" { capabilities = [\"create\", \"read\", \"update\"] }", mount))
	return s
}

// A path with dots in it reads no value of another folder. What else it does at version 2 is in TestBypassesOfKV; at version 1 it does
// nothing.
func TestBypassDotsInAPath(t *testing.T) {
	d := newKV(t)
	d.Write(t, d.settings.Mount+"/data/other/db", map[string]any{"data": map[string]string{"password": "another folder's"}})
	credential, _ := lease(t, d.issuer(t), "hk-by-3", "app/*:read,write")
	for _, path := range []string{"/data/app/%2e%2e/other/db", "/data/app/..%2fother%2fdb", "/data/app/%2e%2e%2fother/db", "//data/other/db", "/data//other/db", "/data/app/../../data/other/db"} {
		_, answer, err := vaulttest.Call(t.Context(), server.Address, credential.Values["VAULT_TOKEN"].Reveal(), http.MethodGet, d.settings.Mount+path, nil)
		text, _ := json.Marshal(answer)
		if err == nil && strings.Contains(string(text), "another folder's") {
			t.Errorf("%s reads another folder", path)
		}
	}
	one := newKV1(t)
	one.Write(t, one.settings.Mount+"/other/db", map[string]any{"password": "another folder's"})
	credential, _ = lease(t, one.issuer(t), "hk-by-10", "app/*:read")
	for _, path := range []string{"/app/%2e%2e/other/db", "/app%2f..%2fother%2fdb"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete, "LIST"} {
			if err := call(t.Context(), credential, method, one.settings.Mount+path, map[string]any{"password": "mine"}); err == nil {
				t.Errorf("version 1, %s %s: done; want it refused: its folders are a wall", method, path)
			}
		}
	}
	if got := one.Read(t, one.settings.Mount+"/other/db")["data"].(map[string]any)["password"]; got != "another folder's" {
		t.Errorf("the other folder's is now %v", got)
	}
}

// Policies are looked up at every use: who may write them widens a live lease.
func TestBypassPolicyWidenedWhileTheLeaseLives(t *testing.T) {
	d := newKV(t)
	issuer := d.issuer(t)
	credential, _ := lease(t, issuer, "hk-by-5", "app/*:read,write")
	name := d.settings.Offers[0].Policies[0]
	d.policy(t, name, kvPolicy(d.settings.Mount, `"create", "read", "update", "delete"`))
	if err := call(t.Context(), credential, http.MethodDelete, d.settings.Mount+"/data/app/db", nil); err != nil {
		t.Errorf("delete after the policy was widened: %v: the wall is stronger than declared", err)
	}
	if all := broker.AllActions(describe(t, issuer, wish(t, "app/*:read,write")).Scopes); !all.Has(broker.Delete) {
		t.Errorf("the next description says %s; want delete in it", all)
	}
}

// Other databases of the server are open to PUBLIC by default, and Vault does not look: nothing is issued until the file
// says that somebody closed them.
func TestBypassAnotherDatabaseOfTheServer(t *testing.T) {
	s := newShop(t)
	s.settings.Accept = nil
	_, err := s.issuer(t).Describe(t.Context(), wish(t, "public.orders:read"))
	if broker.CodeOf(err) != broker.CodeWall || !strings.Contains(next(err), "REVOKE CONNECT") {
		t.Errorf("Describe: %v; want the missing wall, and how to build it", err)
	}
}

// A login that owns something cannot be dropped by Vault's own revocation. The statements of the documentation end it.
func TestBypassLoginThatOwnsALargeObject(t *testing.T) {
	s := newShop(t)
	issuer := s.issuer(t)
	credential, handle := lease(t, issuer, "hk-by-7", "public.orders:read,write")
	if err := run(t.Context(), credential, "SELECT lo_create(0); ALTER ROLE CURRENT_USER PASSWORD 'mine'"); err != nil {
		t.Fatal(err)
	}
	if err := issuer.Revoke(t.Context(), "hk-by-7", handle); err != nil {
		t.Errorf("with the statements of the documentation: %v", err)
	}
	s.nothingLeft(t, issuer, "hk-by-7")

	s.Delete(t, s.settings.Mount+"/roles/orders-rw")
	s.Write(t, s.settings.Mount+"/roles/orders-rw", map[string]any{
		"db_name": "orders", "default_ttl": "1h", "max_ttl": "1h", "creation_statements": append(s.common(), `GRANT SELECT, INSERT, UPDATE ON public.orders TO "{{name}}"`),
	})
	description := describe(t, issuer, wish(t, "public.orders:read,write"))
	if !hasWall(description, "owns at its end", broker.WallWeak) || !hasWall(description, "open session", broker.WallWeak) {
		t.Error("with Vault's own revocation, the description does not say what is left")
	}
	credential, handle = issuertest.Lease(t, issuer, orderFor(description, "hk-by-8"))
	if err := run(t.Context(), credential, "SELECT lo_create(0)"); err != nil {
		t.Fatal(err)
	}
	if err := issuer.Revoke(t.Context(), "hk-by-8", handle); broker.CodeOf(err) != broker.CodeUnavailable {
		t.Errorf("with Vault's own revocation: %v; want it not taken for ended", err)
	}
	database.Exec(t, s.staging, `REASSIGN OWNED BY "hk-by-8" TO `+s.owner) // what an operator does then
	if err := issuer.Revoke(t.Context(), "hk-by-8", handle); err != nil {
		t.Errorf("Revoke, once more: %v", err)
	}
	s.nothingLeft(t, issuer, "hk-by-8")
}

// Sessions are terminated at the end, busy ones too.
func TestBypassSessionThatGoesOn(t *testing.T) {
	s := newShop(t)
	issuer := s.issuer(t)
	credential, handle := lease(t, issuer, "hk-by-9", "public.orders:read,write")
	conn, err := pgx.Connect(t.Context(), credential.Values["DATABASE_URL"].Reveal())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE public.orders IN ROW EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	if err := issuer.Revoke(t.Context(), "hk-by-9", handle); err != nil {
		t.Errorf("Revoke: %v", err)
	}
	if _, err := conn.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("the session goes on")
	}
}

// The end is Vault's own, at the time that was ordered, though the role's credentials live for an hour.
func TestRoleThatLivesLongerThanTheLease(t *testing.T) {
	s := newShop(t)
	issuer := s.issuer(t)
	t.Parallel()
	d := describe(t, issuer, wish(t, "public.orders:read,write"))
	order := orderFor(d, "hk-short-1")
	order.TTL = 3_000_000_000
	order.Expires = order.Expires.Add(order.TTL - d.TTL)
	if _, _, err := issuer.Issue(t.Context(), order); err != nil {
		t.Fatal(err)
	}
	issuertest.Until(t, func() bool {
		return database.Try(s.staging, "DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'hk-short-1') THEN RAISE 'there'; END IF; END $$") == nil
	})
}
