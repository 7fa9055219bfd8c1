package judge

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// An attacker knows what is to be done and writes it so that a reader misses it. Here the test is that
// attacker: it knows the operations, writes them behind aliases, fragments, directives, variables, defaults
// and escapes as a random number says, adds others that are skipped, and wants the judge to have seen
// exactly the ones that are executed.
type obfuscator struct {
	*rand.Rand
	declared  []string
	variables map[string]any
	fragments []string
	names     int
}

func (o *obfuscator) name(prefix string) string {
	o.names++
	return fmt.Sprint(prefix, o.names)
}

// roots writes operations: what is executed, in its order, is added to want.
func (o *obfuscator) roots(depth int, executed bool, want *[]string) string {
	var b strings.Builder
	for range 1 + o.IntN(3) {
		switch n := o.IntN(10); {
		case n < 5 || depth == 0:
			b.WriteString(o.root(executed, want))
		case n < 7:
			directive, on := o.directive()
			fmt.Fprintf(&b, "... %s %s { %s } ", o.pick("", "on Mutation"), directive, o.roots(depth-1, executed && on, want))
		default:
			directive, on := o.directive()
			name := o.name("F")
			o.fragments = append(o.fragments, fmt.Sprintf("fragment %s on Mutation { %s }", name, o.roots(depth-1, executed && on, want)))
			fmt.Fprintf(&b, "...%s %s ", name, directive)
		}
	}
	return b.String()
}

func (o *obfuscator) pick(of ...string) string { return of[o.IntN(len(of))] }

// root writes one operation under an alias that is used once.
func (o *obfuscator) root(executed bool, want *[]string) string {
	directive, on := o.directive()
	id := o.pick("v", "prod", `a"b`, `c\d`, "é😀", "x y", "a#b", "{c}", `"""`)
	quoted := string(appendString(nil, id))
	var text, call string
	switch o.IntN(3) {
	case 0:
		text = fmt.Sprintf("volumeDelete(volumeId: %s)", o.value("String!", id))
		call = fmt.Sprintf("mutation volumeDelete(volumeId: %s)", quoted)
	case 1:
		text = fmt.Sprintf("volumesDelete(ids: %s)", o.value("[String!]!", id))
		call = fmt.Sprintf("mutation volumesDelete(ids: [%s])", quoted)
	default:
		deleted := o.IntN(2) == 0
		text = fmt.Sprintf(`configPatch(patch: {services: {s: {isDeleted: %s, of: %s}}}, environmentId: %s)`, o.boolean(deleted), o.value("JSON", id), o.value("String!", id))
		call = fmt.Sprintf(`mutation configPatch(environmentId: %s, patch: {"services":{"s":{"isDeleted":%t,"of":%s}}})`, quoted, deleted, quoted)
	}
	if executed && on {
		*want = append(*want, call)
	}
	return fmt.Sprintf("%s: %s %s ", o.name(o.pick("a", "status", "me", "__typename_")), text, directive)
}

// value writes a string as a literal of one kind or another, as a variable, or as a variable's default.
func (o *obfuscator) value(typ, s string) string {
	literal := string(appendString(nil, s))
	switch n := o.IntN(7); {
	case n == 0 && !strings.ContainsAny(s, `"\`):
		return `"""` + s + `"""`
	case n == 1:
		var b strings.Builder
		for _, c := range s {
			fmt.Fprintf(&b, `\u{%x}`, c)
		}
		return `"` + b.String() + `"`
	case n == 2 && strings.HasPrefix(typ, "["):
		return "[" + literal + "]"
	case n <= 4:
		name := o.name("v")
		o.declared, o.variables[name] = append(o.declared, fmt.Sprintf("$%s: %s", name, typ)), s
		if o.IntN(2) == 0 { // the default must not win
			o.declared[len(o.declared)-1] += ` = "default"`
		}
		return "$" + name
	case n == 5:
		name := o.name("v")
		o.declared = append(o.declared, fmt.Sprintf("$%s: %s = %s", name, typ, literal))
		return "$" + name
	}
	return literal
}

func (o *obfuscator) boolean(b bool) string {
	switch o.IntN(3) {
	case 0:
		name := o.name("b")
		o.declared = append(o.declared, fmt.Sprintf("$%s: Boolean! = %t", name, b))
		return "$" + name
	case 1:
		name := o.name("b")
		o.declared, o.variables[name] = append(o.declared, fmt.Sprintf("$%s: Boolean! = %t", name, !b)), b
		return "$" + name
	}
	return fmt.Sprint(b)
}

// directive writes none, one or both, and tells whether what they stand at is executed.
func (o *obfuscator) directive() (text string, on bool) {
	skip, include := o.IntN(3) == 0, o.IntN(3) != 0
	switch o.IntN(4) {
	case 0:
		return fmt.Sprintf("@skip(if: %s)", o.boolean(skip)), !skip
	case 1:
		return fmt.Sprintf("@include(if: %s)", o.boolean(include)), include
	case 2:
		return fmt.Sprintf("@include(if: %s) @skip(if: %s)", o.boolean(include), o.boolean(skip)), include && !skip
	}
	return "", true
}

func (o *obfuscator) call(want *[]string) Call {
	roots := o.roots(3, true, want)
	head := "mutation Decoy { agentRun(text: \"x\") } mutation M"
	if len(o.declared) > 0 {
		o.Shuffle(len(o.declared), func(a, b int) { o.declared[a], o.declared[b] = o.declared[b], o.declared[a] })
		head += "(" + strings.Join(o.declared, ", ") + ")"
	}
	o.Shuffle(len(o.fragments), func(a, b int) { o.fragments[a], o.fragments[b] = o.fragments[b], o.fragments[a] })
	text := strings.Join(o.fragments, " ") + head + " { " + roots + " } # } mutation N { volumeDelete(volumeId: \"no\") }"
	return post(string(appendJSON(nil, map[string]any{"query": text, "variables": o.variables, "operationName": "M"})))
}

func TestObfuscatedMutations(t *testing.T) {
	g := shop(t)
	for seed := range uint64(3000) {
		var want, got []string
		o := &obfuscator{Rand: rand.New(rand.NewPCG(seed, 1)), variables: map[string]any{}}
		call := o.call(&want)
		if len(want) == 0 || len(want) > maxRoots {
			refuses(t, g, call, "")
			continue
		}
		for _, operation := range judged(t, g, call).Operations {
			got = append(got, operation.Text)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d: -executed +judged\n%s\n%s", seed, diff, call.Body)
		}
	}
}
