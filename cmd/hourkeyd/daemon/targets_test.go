package daemon

import (
	"crypto/sha256"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/admin"
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

// Issuers ask again while they work, from any goroutine: that neither races with the digest nor changes what a reload compares.
func TestSecretThatIsAskedForLaterIsNotDigested(t *testing.T) {
	values := map[string]string{"A": "the first", "B": "the second"}
	lookup := func(name string) (string, bool) { value, set := values[name]; return value, set }
	digest := func(references ...string) string {
		s := &seen{secrets: config.Secrets{Lookup: lookup}, digest: sha256.New()}
		for _, reference := range references {
			_, _ = s.resolve(reference)
		}
		sum, _, _ := s.end()
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if secret, err := s.resolve("env:B"); err != nil || secret.Reveal() != "the second" {
					t.Errorf("asked later: %v", err)
				}
			})
		}
		all.Wait()
		return string(sum)
	}
	one, again, both, turned := digest("env:A"), digest("env:A"), digest("env:A", "env:B"), digest("env:B", "env:A")
	if one != again || one == both || both == turned {
		t.Error("the digest is not that of what a target was opened with")
	}
}

// Whoever sets a broker up mends them in one go; what is wrong otherwise is told as it is found.
func TestMissingSecretsAreToldTogether(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	put(t, dir, "environments/staging.yaml", stagingFile+"  one:\n    github: {token: env:ONE, repositories: [acme/shop]}\n  three:\n    github: {token: env:ONE, repositories: [acme/web]}\n"+
		"  two:\n    github: {token: file:secrets/two, repositories: [acme/app]}\n")
	set, err := config.Load(filepath.Join(dir, "hourkey.yaml"), config.NewGuard())
	must(t, err)
	authority, err := ThrowawayAuthority()
	must(t, err)
	none := func(string) (string, bool) { return "", false }
	build := Build{Secrets: config.Secrets{Dir: dir, Guard: config.NewGuard(), Lookup: none}, Signer: Throwaway, Now: options(dir).Now, Authority: authority}
	_, err = build.Configuration(t.Context(), set, nil)
	problem := admin.ProblemOf(err)
	for _, want := range []string{"staging/one: token: env:ONE cannot be read", "staging/three: token: env:ONE cannot be read", "staging/two: token: file:secrets/two cannot be read"} {
		if !strings.Contains(problem.Message, want) {
			t.Errorf("no %q in %s", want, problem.Message)
		}
	}
	if strings.Count(problem.Next, "export ONE") != 1 || !strings.Contains(problem.Next, "write the secret there") {
		t.Errorf("hint: %s", problem.Next)
	}
}
