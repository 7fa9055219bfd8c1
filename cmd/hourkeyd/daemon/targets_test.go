package daemon

import (
	"path/filepath"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
)

const databaseFile = "protected: false\ntargets:\n  db:\n    postgres: {dsn: env:DSN, owner: o}\n"

func buildWith(t *testing.T, dir, dsn string, former *Built) *Built {
	t.Helper()
	set, err := config.Load(filepath.Join(dir, "hourkey.yaml"), config.NewGuard())
	must(t, err)
	lookup := func(string) (string, bool) { return dsn, dsn != "" }
	built, err := Build{
		Secrets: config.Secrets{Dir: dir, Guard: config.NewGuard(), Lookup: lookup}, Signer: Throwaway, Now: options(dir).Now,
	}.Configuration(t.Context(), set, former)
	must(t, err)
	t.Cleanup(func() { must(t, built.Close()) })
	return built
}

// A rotated secret must be taken by a reload, though the configuration itself, and so the binding, is
// the same.
func TestRotatedSecretIsTaken(t *testing.T) {
	dir := folder(t)
	put(t, dir, "environments/staging.yaml", databaseFile)
	put(t, dir, "policies/tasks/fix.yaml", "fix:\n  agents: [robot]\n  environments: [staging]\n  gives: [\"db:public.*:read\"]\n")
	ref := broker.TargetRef{Environment: "staging", Target: "db"}
	first := buildWith(t, dir, "postgres://broker:one@127.0.0.1:1/db", nil)
	same := buildWith(t, dir, "postgres://broker:one@127.0.0.1:1/db", first)
	if same.Targets[ref] != first.Targets[ref] {
		t.Error("a target that did not change was opened anew")
	}
	rotated := buildWith(t, dir, "postgres://broker:two@127.0.0.1:1/db", same)
	if rotated.Targets[ref] == first.Targets[ref] {
		t.Error("the old secret stays in use")
	}
	if rotated.Targets[ref].Binding != first.Targets[ref].Binding {
		t.Error("the binding depends on the secret")
	}
}
