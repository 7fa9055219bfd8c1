package policies

import (
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
)

// FuzzTasks: whatever a task file holds, Load neither panics nor lets through what it must not.
func FuzzTasks(f *testing.F) {
	for _, seed := range []string{
		fixOrders, everything, "", "#", "[]", "a", "a:", "a: {}", "---\n---\n", "a: &a [*a]", "a: {<<: {agents: [x]}}", "? [a]\n: b", "? {a: b}\n: c", "*a: b",
		strings.Replace(fixOrders, "read,write", "read,delete", 1), strings.Replace(fixOrders, "30m", "24h", 1), strings.Replace(fixOrders, "30m", "-1m", 1),
		strings.Replace(fixOrders, "30m", "1e9h", 1), strings.Replace(fixOrders, `"ci/*"`, `"*"`, 1), strings.Replace(fixOrders, "claude-code", "!!binary Y2xhdWRl", 1),
		strings.Replace(fixOrders, "staging", "~", 1), strings.Replace(fixOrders, "agents", "agents\u200b", 1), fixOrders + "\tx: y\n", fixOrders + "...\nb: {}\n",
		strings.Replace(fixOrders, "public.*", "public.\\u202e*", 1), "\xff\xfea\x00", "%YAML 9.9\n--- a\n", "a: |\n  x\n", "a: >+\n\n", "{a: {agents: [a], environments: [staging], gives: ['orders-db:*:admin']}}",
		strings.Repeat("a: {", 100), "a: !!map {agents: !!seq [x]}", "a: !<tag:yaml.org,2002:str> x", "a: {agents: [0x10, 1_000, 1e3, .inf, 2001-01-01, yes]}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		source := sourceOf("", "")
		source.Tasks[0].Data = data
		set, err := Load(source)
		if (set == nil) == (err == nil) {
			t.Fatalf("Load gave %v and %v", set, err)
		}
		if err != nil {
			checkRefusal(t, err)
			return
		}
		for _, task := range set.tasks {
			checkTask(t, set, task)
		}
	})
}

func checkRefusal(t *testing.T, err error) {
	refusal, ok := err.(*broker.Error) //nolint:errorlint // Load promises it
	if !ok || refusal.Code != broker.CodeInvalid || len(refusal.Reasons) == 0 || len(refusal.Reasons) > mostProblems {
		t.Fatalf("refused with %#v", err)
	}
	for _, reason := range refusal.Reasons {
		if reason.Where == "" || strings.HasSuffix(reason.Where, ":0") || reason.Text == "" {
			t.Fatalf("a problem without place or text: %+v", reason)
		}
	}
}

func checkTask(t *testing.T, set *Set, one *task) {
	if len(one.agents) == 0 || len(one.environments) == 0 || one.ttl < 0 || one.ttl > broker.Hour {
		t.Fatalf("loaded %+v", one)
	}
	for _, p := range one.agents {
		if p.matches("") || p.matches("nobody-that-is-listed-here") && p != "nobody-that-is-listed-here" {
			t.Fatalf("agents: %q", p)
		}
	}
	if broker.AllActions(one.gives.scopes()).NeedsHuman() {
		t.Fatalf("gives %v", one.gives.texts())
	}
	q := broker.Query{Agent: strings.TrimSuffix(string(one.agents[0]), "*") + "x", Owner: "alice", Task: one.name, Target: "orders-db"}
	for _, actions := range []broker.Actions{broker.Delete, broker.Admin, broker.Read | broker.Delete} {
		for _, environment := range []string{"staging", "production"} {
			q.Environment, q.Scopes = environment, []broker.Scope{{Target: "orders-db", Resource: "public.orders", Actions: actions}}
			if got := set.Evaluate(q); got.Outcome == broker.Allow {
				t.Fatalf("%s is allowed: %v", actions, got.Reasons)
			}
		}
	}
}

// FuzzGuardrails: whatever a guardrail file holds, Load neither panics nor makes a decision better.
func FuzzGuardrails(f *testing.F) {
	for _, seed := range []string{
		noAdmin, "", "//", "permit (principal, action, resource);", `@id("x") permit (principal, action, resource);`, `@id("x") forbid (principal, action, resource) when { 9223372036854775807 + 1 > 0 };`,
		`@id("x") forbid (principal, action, resource) when { resource.name like "a*" };`, `@id("x") forbid (principal, action, resource) unless { resource.name == "\u{0}" };`,
		`@id("x") forbid (principal is Agent in Group::"contractors", action in [], resource);`, `@id("x") forbid (principal, action, resource) when { if true then false else context.x };`,
		`@id("x") forbid (principal == ?principal, action, resource);`, `@id("x") forbid (principal, action, resource) when { {a: 1}.a == 1 };`, `@id("x") forbid (principal, action, resource) when { ["a"].containsAny([resource.name]) };`,
		`@id("\u{202e}") forbid (principal, action, resource);`, "\xff", "@id(\"x\")\x00", `@id("x") forbid (principal, action, resource) when { !!!!!!true };`,
	} {
		f.Add([]byte(seed))
	}
	plain := mustLoad(f, sourceOf(fixOrders, ""))
	f.Fuzz(func(t *testing.T, data []byte) {
		source := sourceOf(fixOrders, "")
		source.Guardrails[0].Data = data
		set, err := Load(source)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		for _, scope := range []string{"orders-db:public.orders:read", "orders-db:public.*:read,write", "orders-db:public.orders:delete", "orders-db:x:admin"} {
			for _, described := range []bool{false, true} {
				q := query(scope)
				q.Described = described
				before, after := plain.Evaluate(q).Outcome, set.Evaluate(q).Outcome
				if broker.Worse(before, after) != after {
					t.Fatalf("%s: %s becomes %s", scope, before, after)
				}
			}
		}
	})
}
