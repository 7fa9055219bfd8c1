package policies

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
)

const noAdmin = `@id("no-admin") forbid (principal in Group::"contractors", action == Action::"admin", resource);`

func TestWider(t *testing.T) {
	former := sourceOf(fixOrders, noAdmin)
	for name, one := range map[string]struct {
		change func(*Source)
		want   []string
	}{
		"nothing":       {func(*Source) {}, nil},
		"agent":         {inTask("claude-code,", "claude-code, renovate,"), []string{"task fix-orders-data: renovate may now ask (tasks/orders.yaml:2)"}},
		"narrow agent":  {inTask(`"ci/*"`, `ci/deploy`), nil},
		"environment":   {inTask("[staging]", "[staging, production]"), []string{"task fix-orders-data: works now in production (tasks/orders.yaml:3)"}},
		"scope":         {inTask(`"orders-db:public.*:read,write"`, `"orders-db:*:read,write"`), []string{"task fix-orders-data: gives orders-db:*:read,write (tasks/orders.yaml:4)"}},
		"narrow scope":  {inTask(`"orders-db:public.*:read,write"`, `"orders-db:public.a:read", "orders-db:public.*:write"`), nil},
		"with approval": {inTask(`public.*:delete`, `public.*:delete,admin`), []string{"task fix-orders-data: orders-db:public.*:delete,admin may now be asked for with approval (tasks/orders.yaml:5)"}},
		"ttl":           {inTask("30m", "45m"), []string{"task fix-orders-data: keys may now live 45 minutes instead of 30 minutes"}},
		"no ttl":        {inTask("  ttl: 30m\n", ""), []string{"task fix-orders-data: keys may now live 60 minutes instead of 30 minutes"}},
		"shorter ttl":   {inTask("30m", "5m"), nil},
		"new task":      {inTask("fix-orders-data", "other"), []string{"task other is new: claude-code, ci/* may ask, in staging (tasks/orders.yaml:1)"}},
		"no guardrail":  {func(s *Source) { s.Guardrails = nil }, []string{"guardrail no-admin is gone (it was at guardrails.cedar:1)"}},
		"guardrail": {inGuardrails("admin", "delete"), []string{
			"guardrail no-admin is gone (it was at guardrails.cedar:1)",
		}},
		"condition":     {inGuardrails("resource);", `resource) when { resource.name == "x" };`), []string{"guardrail no-admin changed (guardrails.cedar:1)"}},
		"new guardrail": {inGuardrails("@id", `@id("x") forbid (principal, action, resource); @id`), nil},
		"layout":        {inGuardrails("forbid ", "\n// words\nforbid   "), nil},
		"group":         {func(s *Source) { s.Groups = map[string][]string{"contractors": {}} }, []string{"group contractors, which guardrail no-admin names, is now nobody instead of bob"}},
		"target": {func(s *Source) {
			s.Environments["staging"] = []string{"orders-db", "vault"}
			inTask(`"orders-db:public.*:read,write"`, `"orders-db:public.*:read,write", "vault:x:read"`)(s)
		}, []string{"task fix-orders-data: target vault is new in staging", "task fix-orders-data: gives vault:x:read (tasks/orders.yaml:4)"}},
	} {
		next := sourceOf(fixOrders, noAdmin)
		one.change(&next)
		if diff := cmp.Diff(one.want, Wider(mustLoad(t, former), mustLoad(t, next))); diff != "" {
			t.Errorf("%s (-expected +said):\n%s", name, diff)
		}
	}
}

// What only needed a human's word before is told apart from what could not be asked for.
func TestWiderGivesWhatNeededApproval(t *testing.T) {
	former := strings.Replace(fixOrders, `"orders-db:public.*:delete"`, `"orders-db:audit.*:read"`, 1)
	next := strings.Replace(former, `gives: [`, `gives: ["orders-db:audit.*:read", `, 1)
	want := []string{"task fix-orders-data: gives orders-db:audit.*:read, for which a human was needed (tasks/orders.yaml:4)"}
	if diff := cmp.Diff(want, Wider(mustLoad(t, sourceOf(former, "")), mustLoad(t, sourceOf(next, "")))); diff != "" {
		t.Error(diff)
	}
}

func TestWiderThanNothing(t *testing.T) {
	if got := Wider(nil, mustLoad(t, sourceOf(fixOrders, noAdmin))); len(got) != 1 || !strings.Contains(got[0], "is new") {
		t.Errorf("said: %q", got)
	}
}

func inTask(from, to string) func(*Source) {
	return func(s *Source) { s.Tasks[0].Data = []byte(strings.ReplaceAll(string(s.Tasks[0].Data), from, to)) }
}

func inGuardrails(from, to string) func(*Source) {
	return func(s *Source) {
		s.Guardrails[0].Data = []byte(strings.ReplaceAll(string(s.Guardrails[0].Data), from, to))
	}
}

func readDefault(t *testing.T) Source {
	t.Helper()
	source := Source{Environments: map[string][]string{"staging": {"orders-db"}}}
	err := fs.WalkDir(Default, "default", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := Default.ReadFile(path)
		if file := (File{path, data}); strings.HasSuffix(path, ".cedar") {
			source.Guardrails = append(source.Guardrails, file)
		} else {
			source.Tasks = append(source.Tasks, file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// What init writes must be safe before anybody has read it.
func TestDefaultIsSafeWithNoEdit(t *testing.T) {
	set := mustLoad(t, readDefault(t))
	if len(set.tasks) != 1 || len(set.guardrails) != 1 {
		t.Errorf("%d tasks, %d guardrails", len(set.tasks), len(set.guardrails))
	}
	for scope, want := range map[string]broker.Outcome{
		"orders-db:public.orders:read,write": broker.Allow,
		"orders-db:public.orders:delete":     broker.Escalate,
		"orders-db:public.orders:admin":      broker.Deny,
		"orders-db:*:read":                   broker.Deny,
	} {
		if got := set.Evaluate(query(scope)); got.Outcome != want {
			t.Errorf("%s is decided %v", scope, got)
		}
	}
}

// The examples to copy in the default guardrails must load once what they name exists.
func TestDefaultExamplesLoad(t *testing.T) {
	source := readDefault(t)
	source.Environments["production"] = []string{"orders-db"}
	source.Groups = map[string][]string{"contractors": nil}
	text := string(source.Guardrails[0].Data)
	_, examples, found := strings.Cut(text, "// More, to copy:\n//\n")
	if !found {
		t.Fatal("the examples are gone")
	}
	source.Guardrails[0].Data = []byte(text + strings.ReplaceAll(examples, "// ", ""))
	source.Guardrails[0].Data = []byte(strings.ReplaceAll(string(source.Guardrails[0].Data), "\n//\n", "\n"))
	if set := mustLoad(t, source); len(set.guardrails) != 3 {
		t.Errorf("%d guardrails", len(set.guardrails))
	}
}
