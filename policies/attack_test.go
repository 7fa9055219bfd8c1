package policies

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
)

const fixOrders = `fix-orders-data:
  agents: [claude-code, "ci/*"]
  environments: [staging]
  gives: ["orders-db:public.*:read,write"]
  with_approval: ["orders-db:public.*:delete"]
  ttl: 30m
`

// sourceOf is the smallest complete source, with a task file and guardrails.
func sourceOf(tasks, guardrails string) Source {
	return Source{
		Tasks:        []File{{"tasks/orders.yaml", []byte(tasks)}},
		Guardrails:   []File{{"guardrails.cedar", []byte(guardrails)}},
		Environments: map[string][]string{"staging": {"orders-db"}, "production": {"orders-db"}},
		Groups:       map[string][]string{"contractors": {"bob"}},
	}
}

func mustLoad(t testing.TB, source Source) *Set {
	t.Helper()
	set, err := Load(source)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func refuses(t *testing.T, source Source, where, text string) {
	t.Helper()
	set, err := Load(source)
	if set != nil || err == nil {
		t.Fatalf("a set was loaded that should be refused at %s: %s", where, text)
	}
	if !strings.Contains(err.Error(), where+":") || !strings.Contains(err.Error(), text) {
		t.Errorf("refused with %q: expected %s and %q", err, where, text)
	}
}

func query(scopes ...string) broker.Query {
	q := broker.Query{Agent: "claude-code", Owner: "alice", Task: "fix-orders-data", Environment: "staging", Target: "orders-db"}
	for _, text := range scopes {
		scope, err := broker.ParseScope(text)
		if err != nil {
			panic(err)
		}
		q.Scopes = append(q.Scopes, scope)
	}
	return q
}

func decides(t *testing.T, set *Set, q broker.Query, want broker.Outcome, where string) {
	t.Helper()
	got := set.Evaluate(q)
	if got.Outcome != want || len(got.Reasons) == 0 || got.Reasons[0].Where != where {
		t.Errorf("%+v\n is decided %s because %v: expected %s because %s", q, got.Outcome, got.Reasons, want, where)
	}
}

// A permit in a guardrail file would give what no task gives, if anybody ever evaluated it.
func TestPermitInGuardrails(t *testing.T) {
	refuses(t, sourceOf(fixOrders, "\n@id(\"x\")\npermit (principal, action, resource);"), "guardrails.cedar:2", "only forbid is allowed")
}

// cedar-go skips a forbid that errors, and the decision would be an allow.
func TestCedarRuleThatErrorsDenies(t *testing.T) {
	set := mustLoad(t, sourceOf(fixOrders, `@id("overflows")
forbid (principal, action, resource) when { 9223372036854775807 + 1 > 0 };`))
	q := query("orders-db:public.orders:read")
	decides(t, set, q, broker.Deny, "guardrails.cedar:1")
	if reason := set.Evaluate(q).Reasons[0]; reason.Rule != "overflows" {
		t.Errorf("the reason does not name the guardrail: %v", reason)
	}
	decides(t, set, query("orders-db:public.*:read"), broker.Deny, "guardrails.cedar:1")
}

// A typo in a field must not drop the field: `agnets` would leave a task open, or `enviroments` anywhere.
func TestTypoInTask(t *testing.T) {
	for from, to := range map[string]string{"agents": "agnets", "environments": "enviroments", "gives": "give", "with_approval": "with_aproval", "ttl": "tll"} {
		refuses(t, sourceOf(strings.Replace(fixOrders, from+":", to+":", 1), ""), "tasks/orders.yaml", `did you mean "`+from+`"?`)
	}
}

// A pattern that is not anchored lets in whoever chooses a fitting name.
func TestUnanchoredAgentPattern(t *testing.T) {
	for _, p := range []string{"*", "ci*", "ci/*/x", ".*", "claude-code|evil", "^claude", "/*", "", "ci/ *"} {
		refuses(t, sourceOf(strings.Replace(fixOrders, `"ci/*"`, `"`+p+`"`, 1), ""), "tasks/orders.yaml:2", "agents")
	}
	set := mustLoad(t, sourceOf(fixOrders, ""))
	q := query("orders-db:public.orders:read")
	for agent, want := range map[string]broker.Outcome{
		"ci/deploy": broker.Allow, "ci/a/b": broker.Allow, "claude-code": broker.Allow,
		"ci": broker.Deny, "ci/": broker.Deny, "ci/*": broker.Deny, "cix/deploy": broker.Deny, "ci/deploy\n": broker.Deny,
		"ci//x": broker.Deny, "claude-code2": broker.Deny, "": broker.Deny, "x/ci/deploy": broker.Deny,
	} {
		q.Agent = agent
		if got := set.Evaluate(q).Outcome; got != want {
			t.Errorf("agent %q is decided %s: expected %s", agent, got, want)
		}
		if tasks := set.Tasks(agent); (len(tasks) == 1) != (want == broker.Allow) {
			t.Errorf("agent %q sees tasks %v", agent, tasks)
		}
	}
	if all := set.AllTasks(); len(all) != 1 || all[0].Name != set.Tasks("claude-code")[0].Name {
		t.Errorf("of all tasks it lists %v", all)
	}
}

// Invariant 11: the reason is the agent's words, whatever they claim.
func TestAgentsWordsNeverDecide(t *testing.T) {
	set := mustLoad(t, sourceOf(fixOrders, ""))
	for _, words := range []string{"", "alice has approved this already", `{"outcome":"allow"}`, "permit (principal, action, resource);"} {
		for _, scope := range []string{"orders-db:public.orders:admin", "orders-db:public.orders:read"} {
			ask := broker.Ask{Agent: "claude-code", Task: "fix-orders-data", Environments: []string{"staging"}, Scopes: query(scope).Scopes}
			plain, plainErr := set.Resolve(ask)
			ask.Reason = words
			worded, wordedErr := set.Resolve(ask)
			if diff := cmp.Diff(plain, worded); diff != "" || broker.CodeOf(plainErr) != broker.CodeOf(wordedErr) {
				t.Errorf("the words %q change what is resolved: %s, %v", words, diff, wordedErr)
			}
		}
	}
}

// Invariant 3 at the loader, and again at the decision should the loader ever be wrong.
func TestTaskGivingDelete(t *testing.T) {
	for _, actions := range []string{"delete", "admin", "read,delete", "read,write,delete,admin"} {
		refuses(t, sourceOf(strings.Replace(fixOrders, "read,write", actions, 1), ""), "tasks/orders.yaml:4", "invariant 3")
	}
	set := mustLoad(t, sourceOf(fixOrders, ""))
	set.tasks["fix-orders-data"].gives[0].scope.Actions = broker.Read | broker.Write | broker.Delete | broker.Admin
	decides(t, set, query("orders-db:public.orders:read,delete"), broker.Escalate, "invariant 3")
	decides(t, set, query("orders-db:public.orders:admin"), broker.Escalate, "invariant 3")
}

// A name within a prefix that nobody can expand must not slip by a guardrail on names.
func TestPrefixAgainstForbidOnName(t *testing.T) {
	for condition, denies := range map[string]string{ // condition → stems that are denied; those of "abc b " that are not, pass
		`resource.name == "public.abc"`:                                       "a ab abc",
		`"public.abc" == resource.name`:                                       "a ab abc",
		`resource.name like "public.ab*"`:                                     "a ab abc",
		`resource.name like "public.a*z"`:                                     "a ab abc",
		`resource.name like "*z"`:                                             "a ab abc b",
		`resource.name like "public.ab"`:                                      "a ab",
		`resource.name like "public.\*"`:                                      "",
		`resource.name != "public.abc"`:                                       "a ab abc b",
		`!(resource.name like "public.*")`:                                    "",
		`!(resource.name like "public.a*")`:                                   "b",
		`resource.name like "public.a*" && resource.target == "orders-db"`:    "a ab abc",
		`resource.name like "public.a*" && resource.environment != "staging"`: "",
		`resource.name like "public.z*" || resource.name like "public.b*"`:    "b",
		`resource == Resource::"staging/orders-db/public.abc"`:                "a ab abc",
		`resource == Resource::"production/orders-db/public.abc"`:             "",
		`resource in Resource::"staging/orders-db/public.abc"`:                "a ab abc",
		`resource is Resource in Resource::"staging/orders-db/public.abc"`:    "a ab abc b", // not understood: denies
		// Of any other name than that of the stem itself this is an error, which denies.
		`Resource::"staging/orders-db/public.ab".name != "public.ab"`:        "a ab abc b",
		`["public.zzz"].contains(resource.name)`:                             "a ab abc b", // not understood: denies
		`if resource.name like "public.a*" then true else false`:             "a ab abc",
		`if action == Action::"read" then false else resource.name like "*"`: "",
	} {
		set := mustLoad(t, sourceOf(fixOrders, `@id("g") forbid (principal, action, resource) when { `+condition+` };`))
		for _, stem := range []string{"a", "ab", "abc", "b"} {
			want, where := broker.Allow, "tasks/orders.yaml:4"
			if strings.Contains(" "+denies+" ", " "+stem+" ") {
				want, where = broker.Deny, "guardrails.cedar:1"
			}
			q := query("orders-db:public." + stem + "*:read")
			q.Described = true
			decides(t, set, q, want, where)
		}
	}
}

// Before the issuer has described, a prefix is not refused for a name that it may not contain.
func TestPrefixBeforeDescribeWaitsForNames(t *testing.T) {
	set := mustLoad(t, sourceOf(fixOrders, `@id("g") forbid (principal, action, resource) when { resource.name == "public.secret" };
@id("h") forbid (principal, action, resource in Environment::"production");`))
	q := query("orders-db:public.*:read")
	decides(t, set, q, broker.Allow, "tasks/orders.yaml:4")
	q.Described = true
	decides(t, set, q, broker.Deny, "guardrails.cedar:1")
}

// An agent whose owner nobody knows would be in no group, and out of reach of guardrails on groups.
func TestAgentWithoutOwner(t *testing.T) {
	q := query("orders-db:public.orders:read")
	q.Owner = ""
	decides(t, mustLoad(t, sourceOf(fixOrders, "")), q, broker.Deny, "invariant 6")
}

// Whatever the query leaves out or makes up, it is not allowed.
func TestUnknownIsDenied(t *testing.T) {
	set := mustLoad(t, sourceOf(fixOrders, ""))
	for name, change := range map[string]func(*broker.Query){
		"task":            func(q *broker.Query) { q.Task = "other" },
		"agent":           func(q *broker.Query) { q.Agent = "removed" },
		"environment":     func(q *broker.Query) { q.Environment = "production" },
		"no environment":  func(q *broker.Query) { q.Environment = "" },
		"target":          func(q *broker.Query) { q.Target = "vault" },
		"nothing asked":   func(q *broker.Query) { q.Scopes = nil },
		"foreign scope":   func(q *broker.Query) { q.Scopes[0].Target = "vault" },
		"no action":       func(q *broker.Query) { q.Scopes[0].Actions = 0 },
		"unknown action":  func(q *broker.Query) { q.Scopes[0].Actions = broker.Read | 1<<6 },
		"no resource":     func(q *broker.Query) { q.Scopes[0].Resource = "" },
		"star inside":     func(q *broker.Query) { q.Scopes[0].Resource = "public.*.x" },
		"invisible":       func(q *broker.Query) { q.Scopes[0].Resource = "public.or\u200bders" },
		"right to left":   func(q *broker.Query) { q.Scopes[0].Resource = "public.\u202esredro" },
		"one bad of two":  func(q *broker.Query) { q.Scopes = append(q.Scopes, broker.Scope{}) },
		"everything":      func(q *broker.Query) { q.Scopes[0].Resource = "*" },
		"other namespace": func(q *broker.Query) { q.Scopes[0].Resource = "publi*" },
	} {
		q := query("orders-db:public.orders:read")
		change(&q)
		if got := set.Evaluate(q); got.Outcome != broker.Deny || len(got.Reasons) == 0 {
			t.Errorf("%s: decided %v", name, got)
		}
	}
	if got := (&Set{}).Evaluate(query("orders-db:public.orders:read")).Outcome; got != broker.Deny {
		t.Errorf("the empty set decides %s", got)
	}
}

// A scope of another target, even one that the task gives, would be judged by this target's guardrails.
func TestScopeOfAnotherTarget(t *testing.T) {
	source := sourceOf(strings.Replace(fixOrders, `gives: [`, `gives: ["vault:*:read", `, 1), `@id("g") forbid (principal, action, resource in Target::"staging/vault");`)
	source.Environments["staging"] = []string{"orders-db", "vault"}
	decides(t, mustLoad(t, source), query("vault:key:read"), broker.Deny, "invariant 6")
}

// A target that another environment of the task has must not be found in this one.
func TestTargetOfAnotherEnvironment(t *testing.T) {
	source := sourceOf(strings.NewReplacer(`gives: [`, `gives: ["vault:*:read", `, "[staging]", "[staging, production]").Replace(fixOrders), "")
	source.Environments["staging"] = []string{"orders-db", "vault"}
	q := query("vault:key:read")
	q.Target = "vault"
	set := mustLoad(t, source)
	decides(t, set, q, broker.Allow, "tasks/orders.yaml:4")
	q.Environment = "production"
	decides(t, set, q, broker.Deny, "invariant 6")
}

// Nothing that speaks for a decision is a deny.
func TestNoReasonIsDeny(t *testing.T) {
	if got := reasons(nil).decision().Outcome; got != broker.Deny {
		t.Errorf("decided %s", got)
	}
}

// A set decides for many callers at once (run with -race).
func TestSetIsSafeForConcurrentUse(t *testing.T) {
	set := mustLoad(t, sourceOf(fixOrders, noAdmin+`@id("n") forbid (principal, action, resource) when { resource.name like "x*" };`))
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for _, scope := range []string{"orders-db:public.orders:read", "orders-db:public.a*:write"} {
				decides(t, set, query(scope), broker.Allow, "tasks/orders.yaml:4")
			}
			set.Tasks("claude-code")
		})
	}
	wait.Wait()
}

// Each refusal says what would be allowed, names the line, and gives the next step.
func TestRefusedAskSaysTheNextStep(t *testing.T) {
	set := mustLoad(t, sourceOf(fixOrders, ""))
	good := broker.Ask{Agent: "claude-code", Task: "fix-orders-data", Environments: []string{"staging"}}
	for name, one := range map[string]struct {
		change      func(*broker.Ask)
		code        broker.Code
		field, next string
	}{
		"task":           {func(a *broker.Ask) { a.Task = "x" }, broker.CodeDenied, "task", "fix-orders-data"},
		"agent":          {func(a *broker.Ask) { a.Agent = "x" }, broker.CodeDenied, "task", "a person adds it"},
		"environment":    {func(a *broker.Ask) { a.Environments = []string{"production"} }, broker.CodeDenied, "environment", "staging"},
		"no environment": {func(a *broker.Ask) { a.Environments = nil }, broker.CodeInvalid, "environment", "name one"},
		"scope":          {func(a *broker.Ask) { a.Scopes = query("orders-db:x:read").Scopes }, broker.CodeDenied, "scope", "orders-db:public.*:read,write orders-db:public.*:delete"},
		"made-up scope":  {func(a *broker.Ask) { a.Scopes = []broker.Scope{{}} }, broker.CodeInvalid, "scope", ""},
		"ttl":            {func(a *broker.Ask) { a.TTL = 31 * time.Minute }, broker.CodeDenied, "ttl", "at most 30m"},
		"negative ttl":   {func(a *broker.Ask) { a.TTL = -time.Minute }, broker.CodeInvalid, "ttl", "at most 30m"},
	} {
		ask := good
		one.change(&ask)
		_, err := set.Resolve(ask)
		refusal, ok := err.(*broker.Error) //nolint:errorlint // Resolve promises it
		if !ok || refusal.Code != one.code || refusal.Field != one.field || !strings.Contains(refusal.Next, one.next) {
			t.Errorf("%s: refused with %#v", name, err)
		}
		if ok && one.code == broker.CodeDenied && (len(refusal.Reasons) != 1 || refusal.Reasons[0].Where == "") {
			t.Errorf("%s: reasons %v", name, refusal.Reasons)
		}
	}
}

// Whatever a caller does with what it was given, the set stays as it was loaded.
func TestSetCannotBeChangedFromOutside(t *testing.T) {
	source := sourceOf(fixOrders, "")
	set := mustLoad(t, source)
	ask := broker.Ask{Agent: "claude-code", Task: "fix-orders-data", Environments: []string{"staging"}}
	first, _ := set.Resolve(ask)
	first.Items[0].Scopes[0].Actions = broker.Admin
	set.Tasks("claude-code")[0].Environments[0] = "production"
	source.Environments["staging"][0] = "vault"
	source.Groups["contractors"][0] = "alice"
	second, err := set.Resolve(ask)
	if err != nil || second.Items[0].Scopes[0].String() != "orders-db:public.*:read,write" || set.Tasks("claude-code")[0].Environments[0] != "staging" || set.groups["contractors"][0] != "bob" {
		t.Errorf("the set changed: %v, %v", second, err)
	}
}

// Files made to hurt the parsers are refused, quickly.
func TestHugeFiles(t *testing.T) {
	big := strings.Repeat("x", maxFile+1)
	refuses(t, sourceOf(big, ""), "tasks/orders.yaml:1", "at most")
	refuses(t, sourceOf(fixOrders, big), "guardrails.cedar:1", "at most")
	refuses(t, sourceOf(strings.Repeat("[", maxFile), ""), "tasks/orders.yaml", "not YAML")
	refuses(t, sourceOf(fixOrders, `@id("x") forbid (principal, action, resource) when { `+strings.Repeat("(", maxGuardrails-100)), "guardrails.cedar:1", "not Cedar")
	refuses(t, sourceOf("a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]", ""), "tasks/orders.yaml", "anchor")
	refuses(t, sourceOf(fixOrders+"\xff", ""), "tasks/orders.yaml:7", "UTF-8")
	refuses(t, sourceOf(fixOrders, "// \x00"), "guardrails.cedar:1", "UTF-8")
	refuses(t, sourceOf("\ufeff"+fixOrders, ""), "tasks/orders.yaml:1", "UTF-8")
}

// A slash in a name would let one resource pass as another's.
func TestSlashInEnvironmentName(t *testing.T) {
	source := sourceOf(fixOrders, "")
	source.Environments["stag/ing"] = []string{"orders-db"}
	refuses(t, source, "environments/stag/ing:1", "not a name")
}
