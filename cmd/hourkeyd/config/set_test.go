package config

import (
	"os"
	"path/filepath"
	"testing"
)

// write makes a configuration folder; later files replace earlier ones.
func write(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o700))
	good := []string{
		"hourkey.yaml", "groups: {humans: [alice, bob]}\nroles: {operator: [humans], reviewer: [humans]}\n",
		"environments/staging.yaml", "protected: false\napproval: {reviewers: [humans]}\n",
		"policies/tasks/orders.yaml", "fix-orders: {}\n",
		"policies/guardrails.cedar", "// none\n",
	}
	for files = append(good, files...); len(files) > 0; files = files[2:] {
		path := filepath.Join(dir, files[0])
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, []byte(files[1]), 0o600))
	}
	return dir
}

func load(dir string) (*Set, error) { return Load(filepath.Join(dir, "hourkey.yaml"), NewGuard()) }

func TestSetIsLoaded(t *testing.T) {
	set, err := load(write(t, "policies/README.md", "words", "policies/extra/more.cedar", "// more\n", "policies/tasks/.orders.yaml.swp", "x"))
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Environments) != 1 || len(set.Tasks) != 1 || len(set.Guardrails) != 2 || set.Hash == "" {
		t.Errorf("got %+v", set)
	}
}

func TestSetRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		files []string
		want  string
	}{
		"an environment that would not be read":     {[]string{"environments/production.yml", "protected: true\n"}, "would not be read"},
		"an environment in a folder below":          {[]string{"environments/old/production.yaml", "protected: true\n"}, "would not be read"},
		"a task outside its folder":                 {[]string{"policies/orders.yaml", "x: {}\n"}, "would not be read"},
		"a reviewer group with a typo":              {[]string{"environments/staging.yaml", "approval: {reviewers: [human]}\n"}, `no group "human" in hourkey.yaml: did you mean "humans"?`},
		"a role's group with a typo":                {[]string{"hourkey.yaml", "groups: {humans: [alice]}\nroles: {operator: [humnas]}\n"}, `no group "humnas"`},
		"an environment that cannot be read as one": {[]string{"environments/production.yaml", "protectd: true\n"}, "environments/production.yaml:1: unknown field"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(write(t, test.files...))
			refused(t, err, test.want)
		})
	}
}

func TestMissingFoldersAreRefused(t *testing.T) {
	for _, folder := range []string{"environments", "policies", "policies/tasks"} {
		dir := write(t)
		must(t, os.RemoveAll(filepath.Join(dir, folder)))
		_, err := load(dir)
		refused(t, err, folder)
	}
}

func TestWorldWritableGuardrailIsRefused(t *testing.T) {
	dir := write(t)
	must(t, os.Chmod(filepath.Join(dir, "policies/guardrails.cedar"), 0o666))
	_, err := load(dir)
	refused(t, err, "can be written by other users")
}

func TestWorldWritablePolicyFolderIsRefused(t *testing.T) {
	dir := write(t)
	must(t, os.Chmod(filepath.Join(dir, "policies/tasks"), 0o777))
	_, err := load(dir)
	refused(t, err, "can be written by other users")
}

// WalkDir does not follow links: guardrails behind one would silently not hold.
func TestLinkedFolderOfGuardrailsIsRefused(t *testing.T) {
	dir := write(t)
	elsewhere := t.TempDir()
	must(t, os.WriteFile(filepath.Join(elsewhere, "forbid.cedar"), nil, 0o600))
	must(t, os.Symlink(elsewhere, filepath.Join(dir, "policies", "shared")))
	_, err := load(dir)
	refused(t, err, "link to a folder")
}

func TestPoliciesFolderThatIsALinkIsRead(t *testing.T) {
	dir, real := write(t), write(t)
	must(t, os.RemoveAll(filepath.Join(dir, "policies")))
	must(t, os.Symlink(filepath.Join(real, "policies"), filepath.Join(dir, "policies")))
	set, err := load(dir)
	if err != nil || len(set.Guardrails) != 1 {
		t.Fatalf("got %v, %v", set, err)
	}
}

// Invariant 12: whatever changes what is decided changes the hash.
func TestHashPinsEveryFile(t *testing.T) {
	hashOf := func(files ...string) string {
		set, err := load(write(t, files...))
		if err != nil {
			t.Fatal(err)
		}
		return set.Hash
	}
	base := hashOf()
	if hashOf("policies/NOTES.md", "words") != base {
		t.Error("a file that decides nothing changes the hash")
	}
	if hashOf("hourkey.yaml", "roles: {reviewer: [humans], operator: [humans]}\n# the same, written differently\ngroups: {humans: [bob, alice]}\n") != base {
		t.Error("the order of groups changes the hash")
	}
	for name, files := range map[string][]string{
		"an environment's bytes": {"environments/staging.yaml", "protected: false\napproval: {reviewers: [humans], delete: 2}\n"},
		"a new environment":      {"environments/production.yaml", "protected: true\n"},
		"a task's bytes":         {"policies/tasks/orders.yaml", "fix-orders: {ttl: 5m}\n"},
		"a guardrail":            {"policies/guardrails.cedar", "// one\n"},
		"a new guardrail":        {"policies/more.cedar", ""},
		"a group":                {"hourkey.yaml", "groups: {humans: [alice, mallory]}\nroles: {operator: [humans], reviewer: [humans]}\n"},
		"a role":                 {"hourkey.yaml", "groups: {humans: [alice, bob]}\nroles: {operator: [humans]}\n"},
	} {
		if hashOf(files...) == base {
			t.Errorf("%s does not change the hash", name)
		}
	}
}

func TestConfigurationIsFoundOrTheNextStepIsNamed(t *testing.T) {
	_, err := Find(filepath.Join(t.TempDir(), "hourkey.yaml"))
	refused(t, err, "there is no")
}
