package policies

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hourkey/hourkey/broker"
)

const everything = `fix-orders-data:
  agents: [claude-code]
  environments: [staging]
  gives: ["orders-db:*:read,write"]
  with_approval: ["orders-db:a*:delete,admin"]
`

// name draws from so few letters that names, stems and patterns often meet.
func name() *rapid.Generator[string] { return rapid.StringMatching(`[ab]{1,4}`) }

// condition draws a guardrail's condition, most forms that Cedar has among it, also ones that error.
func condition(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		if depth == 0 || rapid.IntRange(0, 2).Draw(t, "leaf") == 0 {
			return leaf(t)
		}
		sub := func() string { return condition(depth-1).Draw(t, "sub") }
		switch rapid.IntRange(0, 3).Draw(t, "form") {
		case 0:
			return "(" + sub() + " && " + sub() + ")"
		case 1:
			return "(" + sub() + " || " + sub() + ")"
		case 2:
			return "!(" + sub() + ")"
		default:
			return "(if " + sub() + " then " + sub() + " else " + sub() + ")"
		}
	})
}

func leaf(t *rapid.T) string {
	text := name().Draw(t, "text")
	return rapid.SampledFrom([]string{
		`resource.name == "` + text + `"`,
		`"` + text + `" != resource.name`,
		`resource.name like "` + text + `*"`,
		`resource.name like "*` + text + `"`,
		`resource.name like "` + text + `*` + text + `"`,
		`resource.name like "` + text + `\**"`,
		`resource.name like "` + text + `"`,
		`resource == Resource::"staging/orders-db/` + text + `"`,
		`resource in Resource::"staging/orders-db/` + text + `"`,
		`resource in [Resource::"staging/orders-db/` + text + `"]`,
		`["` + text + `", "b"].contains(resource.name)`,
		`resource is Resource in Resource::"staging/orders-db/` + text + `"`,
		`resource in Environment::"staging"`,
		`resource in [Environment::"staging", Environment::"production"]`,
		`resource in Target::"production/orders-db"`,
		`resource.environment like "prod*"`,
		`resource.target == "orders-db"`,
		`principal in Group::"contractors"`,
		`principal == Agent::"claude-code"`,
		`action == Action::"write"`,
		`action in [Action::"read", Action::"delete"]`,
		`9223372036854775807 + 1 > 0`,
		`Resource::"staging/orders-db/` + text + `".name == "` + text + `"`,
	}).Draw(t, "leaf")
}

func guardrailText(t *rapid.T, id string) string {
	head := rapid.SampledFrom([]string{
		"principal, action, resource", `principal in Group::"contractors", action, resource`, `principal, action == Action::"write", resource`,
		`principal, action, resource in Environment::"production"`, `principal, action, resource is Resource in Target::"staging/orders-db"`,
		`principal, action, resource == Resource::"staging/orders-db/ab"`,
	}).Draw(t, "head")
	clause := rapid.SampledFrom([]string{"when", "unless"})
	text := fmt.Sprintf("@id(%q) forbid (%s)", id, head)
	for range rapid.IntRange(0, 2).Draw(t, "clauses") {
		text += " " + clause.Draw(t, "clause") + " { " + condition(2).Draw(t, "condition") + " }"
	}
	return text + ";\n"
}

func drawSet(t *rapid.T, guardrails string) *Set {
	set, err := Load(sourceOf(everything, guardrails))
	if err != nil {
		t.Skip("Cedar's strict typing refuses it: ", err)
	}
	return set
}

func drawQuery(t *rapid.T) broker.Query {
	q := query()
	q.OwnerGroups = rapid.SampledFrom([][]string{nil, {"contractors"}}).Draw(t, "groups")
	q.Described = rapid.Bool().Draw(t, "described")
	for range rapid.IntRange(1, 3).Draw(t, "scopes") {
		resource := name().Draw(t, "name") + rapid.SampledFrom([]string{"", "*"}).Draw(t, "star")
		actions := broker.Actions(rapid.IntRange(1, 15).Draw(t, "actions"))
		q.Scopes = append(q.Scopes, broker.Scope{Target: "orders-db", Resource: broker.Resource(resource), Actions: actions})
	}
	return q
}

// A guardrail only takes away: with one more, no decision is better.
func TestGuardrailNeverGives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one, more := guardrailText(t, "one"), guardrailText(t, "more")
		q := drawQuery(t)
		none := drawSet(t, "").Evaluate(q).Outcome
		with := drawSet(t, one).Evaluate(q).Outcome
		both := drawSet(t, one+more).Evaluate(q).Outcome
		if broker.Worse(none, with) != with || broker.Worse(with, both) != both {
			t.Fatalf("%s%s%+v: %s, then %s, then %s", one, more, q, none, with, both)
		}
	})
}

// Narrowing is the only direction: whatever is part of what was allowed is allowed, of what was
// escalated is not denied. Of concrete scopes; a prefix has its own property.
func TestPartOfAllowedIsAllowed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := guardrailText(t, "one") + guardrailText(t, "two")
		set, q := drawSet(t, text), drawQuery(t)
		for i := range q.Scopes {
			q.Scopes[i].Resource = broker.Resource(q.Scopes[i].Resource.Stem())
		}
		whole := set.Evaluate(q).Outcome
		part := q
		at := rapid.IntRange(0, len(q.Scopes)-1).Draw(t, "at")
		each := q.Scopes[at].Actions.Each()
		scope := q.Scopes[at]
		scope.Actions = rapid.SampledFrom(each).Draw(t, "action")
		part.Scopes = []broker.Scope{scope}
		if got := set.Evaluate(part).Outcome; broker.Worse(whole, got) != whole {
			t.Fatalf("%s%+v is decided %s, its part %s %s", text, q, whole, scope, got)
		}
	})
}

// The analysis of prefixes is sound: what it lets pass holds no name that a guardrail would deny, and
// what it denies early holds none that a guardrail would let pass.
func TestPrefixHoldsNoForbiddenName(t *testing.T) {
	var passed, early int
	rapid.Check(t, func(t *rapid.T) {
		text := guardrailText(t, "one")
		set, q := drawSet(t, text), drawQuery(t)
		stem := rapid.StringMatching(`[ab]{0,3}`).Draw(t, "stem")
		q.Scopes = []broker.Scope{{Target: "orders-db", Resource: broker.Resource(stem + "*"), Actions: rapid.SampledFrom([]broker.Actions{broker.Read, broker.Write}).Draw(t, "action")}}
		q.Described = true
		after := set.Evaluate(q).Outcome
		q.Described = false
		before := set.Evaluate(q).Outcome
		for _, rest := range []string{"", "a", "b", "ab", "ba", "aab", "bbb", "abab", "*x", "\u00e9"} {
			if stem+rest == "" || strings.HasSuffix(rest, "*") || strings.Contains(rest, "*") {
				continue
			}
			concrete := q
			concrete.Scopes = []broker.Scope{{Target: "orders-db", Resource: broker.Resource(stem + rest), Actions: q.Scopes[0].Actions}}
			got := set.Evaluate(concrete).Outcome
			if after != broker.Deny && got == broker.Deny {
				t.Fatalf("%sthe prefix %q passes as %s, but %q is denied", text, stem, after, stem+rest)
			}
			if before == broker.Deny && got != broker.Deny {
				t.Fatalf("%sthe prefix %q is denied early, but %q passes", text, stem, stem+rest)
			}
		}
		if after != broker.Deny {
			passed++
		}
		if before == broker.Deny {
			early++
		}
	})
	if !testing.Short() && (passed == 0 || early == 0) { // a short run draws twenty
		t.Errorf("the draw is too narrow to prove anything: %d passed, %d denied early", passed, early)
	}
}

// A pattern matches exactly the names that one reads in it, and covers only patterns that match less.
func TestPatternCoversWhatItMatches(t *testing.T) {
	agent := rapid.StringMatching(`[ab]{1,2}(/[ab]{1,2}){0,2}`)
	drawn := rapid.Custom(func(t *rapid.T) pattern {
		return pattern(agent.Draw(t, "name") + rapid.SampledFrom([]string{"", "/*"}).Draw(t, "star"))
	})
	rapid.Check(t, func(t *rapid.T) {
		p, q, who := drawn.Draw(t, "p"), drawn.Draw(t, "q"), agent.Draw(t, "who")
		if !p.isValid() {
			t.Fatalf("%q is not valid", p)
		}
		if p.covers(q) && q.matches(who) && !p.matches(who) {
			t.Fatalf("%q covers %q, which matches %q, but does not itself", p, q, who)
		}
		below, is := strings.CutSuffix(string(p), "/*")
		if want := who == string(p) || is && strings.HasPrefix(who, below+"/"); p.matches(who) != want {
			t.Fatalf("%q matches %q: %t", p, who, !want)
		}
	})
}
