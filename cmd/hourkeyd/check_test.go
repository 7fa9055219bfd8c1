package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/issuers/postgres/pgtest"
)

const plantedPassword = "planted-password-of-the-test"

// liveCheck runs `check --live -o json` with the DSN.
func liveCheck(t *testing.T, dir, dsn string) (checked, int) {
	t.Helper()
	var out, problems bytes.Buffer
	m := &Main{
		Args: []string{"check", "--live", "-o", "json", "--config", filepath.Join(dir, "hourkey.yaml")}, Stdout: &out, Stderr: &problems,
		Now: time.Now, Guard: config.NewGuard(),
		Lookup: func(string) (string, bool) { return dsn, true },
	}
	code := m.Run(t.Context())
	for _, text := range []string{out.String(), problems.String()} {
		if strings.Contains(text, plantedPassword) {
			t.Fatalf("the password was printed: %s", text)
		}
	}
	var result checked
	if err := json.Unmarshal(out.Bytes(), &result); err != nil {
		t.Fatalf("%v in %q, %s", err, out.String(), problems.String())
	}
	return result, code
}

// The way of a newcomer: what check --live prints is what makes it good, on a real server.
func TestCheckLivePrintsTheSQLThatMends(t *testing.T) {
	server := pgtest.Start(t)
	server.Exec(t, "postgres", "CREATE ROLE orders_owner", "CREATE DATABASE orders OWNER orders_owner", "CREATE DATABASE production")
	server.Exec(t, "orders", "SET ROLE orders_owner; CREATE TABLE orders (id int PRIMARY KEY)")
	server.Exec(t, "production", "CREATE TABLE orders (id int PRIMARY KEY)")
	dir := filepath.Join(t.TempDir(), "conf")
	if code := (&Main{Args: []string{"init", dir, "--human", "alice"}, Stdout: &bytes.Buffer{}, Stderr: os.Stderr, Guard: config.NewGuard()}).Run(t.Context()); code != exitDone {
		t.Fatalf("init exits %d", code)
	}
	dsn := server.DSN("broker", plantedPassword, "orders")

	result, code := liveCheck(t, dir, dsn)
	if code != exitError || !strings.Contains(result.Targets[0].Mend, "CREATE ROLE") {
		t.Fatalf("without a login: exit %d, %+v", code, result)
	}
	for line := range strings.Lines(result.Targets[0].Mend) {
		server.Exec(t, "orders", strings.Replace(line, "…", plantedPassword, 1))
	}

	result, code = liveCheck(t, dir, dsn)
	if code != exitError || !result.Refuses {
		t.Fatalf("production of the same server can be reached, and check exits %d: %+v", code, result)
	}
	for _, finding := range result.Targets[0].Findings {
		if finding.Refuses {
			server.Exec(t, "orders", finding.Mend)
		}
	}

	result, code = liveCheck(t, dir, dsn)
	if code != exitDone || result.Refuses || !strings.Contains(result.Targets[0].Identity, "database orders") {
		t.Errorf("after all was mended: exit %d, %+v", code, result)
	}

	// Invariant 12: a second environment on the same database.
	staging, err := os.ReadFile(filepath.Join(dir, "environments/staging.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	production := strings.NewReplacer("protected: false", "protected: true", "owner_may_approve: true", "owner_may_approve: false", "delete: 1", "delete: 2").Replace(string(staging))
	if err := os.WriteFile(filepath.Join(dir, "environments/production.yaml"), []byte(production), 0o600); err != nil {
		t.Fatal(err)
	}
	result, code = liveCheck(t, dir, dsn)
	if code != exitError || !strings.Contains(result.Targets[0].Problem+result.Targets[1].Problem, "is the same thing at the provider") {
		t.Errorf("two environments on one database: exit %d, %+v", code, result)
	}
}
