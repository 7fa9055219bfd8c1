package differential

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// author writes calls for one worker.
type author struct {
	*shared
	w            *world
	plans        []*plan        // of all operations
	destinations []*destination // of all answers
}

func newAuthor(t testing.TB, s *shared) *author {
	t.Helper()
	return &author{shared: s, w: newWorld(t, s), plans: newPlans(s.schema, s.pack.Rows()), destinations: newDestinations(s)}
}

// inWorlds does something in as many worlds as there are processors, at once.
func inWorlds(t *testing.T, s *shared, each func(testing.TB, *author)) {
	t.Helper()
	t.Run("worlds", func(t *testing.T) {
		for n := range runtime.GOMAXPROCS(0) {
			t.Run(strconv.Itoa(n), func(t *testing.T) {
				t.Parallel()
				each(t, newAuthor(t, s))
			})
		}
	})
}

// maker makes arguments for an operation: mostly of staging, mostly right.
func (a *author) maker(r *rand.Rand, operation string) *maker {
	m := &maker{Rand: r, w: a.w, operation: operation, home: a.w.Staging}
	switch n := r.IntN(100); {
	case n < 52:
	case n < 72:
		m.home = a.w.Production
	case n < 80:
		m.home = a.w.BillingProduction
	default:
		m.home = pick(r, a.w.pool.all["Environment"])
	}
	m.wrong = pick(r, []float64{0, 0, 0, 0.05, 0.1, 0.4})
	m.often = pick(r, []float64{0.02, 0.02, 0.1, 0.3, 0.5})
	return m
}

// root writes a root field with its arguments, and a selection.
func (a *author) root(m *maker, p *plan, g *goal) *node {
	m.want = nil
	if g != nil && g.argument != "" {
		m.want = append(m.want, g.argument)
	}
	if g != nil && g.name != "row" && m.chance(0.4) {
		m.often = 0.02
	}
	args := m.arguments(p.field)
	switch {
	case g != nil && g.cond != nil:
		m.aim(p.field, args, *g.cond)
	case g != nil && g.only:
		m.unknown(p.row.Only, args)
	}
	depth := 1 + m.IntN(2)
	if p.kind == "query" {
		depth = 1 + m.IntN(5)
	}
	s := selector{maker: m, rows: a.pack.Rows(), left: mostSelected, reach: a.reach}
	return &node{name: p.field.Name, field: p.field, args: args, below: s.below(p.field.Type, depth)}
}

// call writes a call of an operation that is to hit a goal, sometimes with other operations beside it.
func (a *author) call(p *plan, g *goal) (testCall, map[string]any) {
	m := a.maker(p.rand, p.field.Name)
	main := a.root(m, p, g)
	args := main.args
	roots := []*node{main}
	for p.kind != "subscription" && m.chance(0.12) && len(roots) < 4 {
		other := pick(m.Rand, a.plans)
		if other.kind == p.kind && other.row.Class != judge.Refused {
			beside := *m
			beside.operation = other.field.Name
			roots = append(roots, a.root(&beside, other, nil))
		}
	}
	m.Shuffle(len(roots), func(i, j int) { roots[i], roots[j] = roots[j], roots[i] })
	for at, r := range roots {
		if len(roots) > 1 {
			r.alias = string(rune('a' + at))
		}
	}
	w := writer{Rand: m.Rand, schema: a.schema, plain: m.chance(0.2)}
	call := testCall{token: a.token(m), earlier: a.earlier(m, p), body: w.request(p.kind, roots), fresh: m.chance(0.04)}
	if m.chance(0.03) {
		call.body = garbled(m.Rand, call.body)
	}
	return call, args
}

// garbled takes some bytes out, or puts them in again elsewhere.
func garbled(r *rand.Rand, body []byte) []byte {
	from := r.IntN(len(body))
	piece := body[from:min(len(body), from+1+r.IntN(12))]
	if r.IntN(2) == 0 {
		return slices.Concat(body[:from], body[from+len(piece):])
	}
	to := r.IntN(len(body))
	return slices.Concat(body[:to], piece, body[to:])
}

func (a *author) token(m *maker) string {
	switch n := m.IntN(100); {
	case n < 84:
		return "account"
	case n < 92:
		return "workspace"
	}
	return "project"
}

// earlier writes what somebody else did before, for operations that need it.
func (a *author) earlier(m *maker, p *plan) []byte {
	switch p.field.Name {
	case "environmentPatchCommitStaged":
		if m.chance(0.1) {
			return nil
		}
		stage := *m
		stage.operation, stage.want, stage.wrong = "environmentStageChanges", nil, pick(m.Rand, []float64{0, 0, 0.1})
		document := `mutation($e: String!, $i: EnvironmentConfig!) { environmentStageChanges(environmentId: $e, input: $i, merge: false) { id } }`
		return body(document, map[string]any{"e": m.home, "i": stage.patch("input")})
	case "projectScheduleDeleteCancel", "projectScheduleDeleteForce":
		return body(`mutation($p: String!) { projectScheduleDelete(id: $p) }`, map[string]any{"p": pick(m.Rand, []string{a.w.Shop, a.w.Billing})})
	}
	return nil
}

// unknown gives something that a row's only does not list, or a null or nothing in the place of a whole part.
func (m *maker) unknown(only *judge.Only, all map[string]any) {
	for range 40 {
		path := pick(m.Rand, only.Paths)
		cut := path[:1+m.IntN(len(path))]
		if cut[len(cut)-1] == "**" || len(cut) == len(path) && !m.chance(0.2) {
			continue
		}
		done := false
		m.aimAt(all, cut, nil, m.argumentType(cut[0]), func(t *ast.Type, _ []string, standing any) (any, bool) {
			var part any
			part, done = m.strange(t)
			if !done {
				part = standing
			}
			return part, part != nil || done
		})
		if done {
			return
		}
	}
}

// strange is what nobody expects in the place of a whole part; not ok where the list of the API lets nothing be there.
func (m *maker) strange(t *ast.Type) (any, bool) {
	if t == nil {
		return pick(m.Rand, []any{nil, map[string]any{}, map[string]any{"notKnownYet": true}, []any{}, "text"}), true
	}
	def := m.w.schema.Types[t.Name()]
	_, own := map[string]bool{"String": true, "ID": true, "Int": true, "Float": true, "Boolean": true}[def.Name]
	switch {
	case t.Elem != nil && (def.Kind == ast.InputObject || !own && m.chance(0.5)):
		return []any{}, true
	case def.Kind == ast.Scalar && !own:
		return pick(m.Rand, []any{map[string]any{}, map[string]any{"notKnownYet": true}, []any{}}), true
	case def.Kind == ast.InputObject && !t.NonNull:
		return nil, true
	}
	return nil, false
}

func (m *maker) argumentType(name string) *ast.Type {
	for _, root := range []*ast.Definition{m.w.schema.Mutation, m.w.schema.Query} {
		if f := root.Fields.ForName(m.operation); f != nil && f.Arguments.ForName(name) != nil {
			return f.Arguments.ForName(name).Type
		}
	}
	return nil
}

// cover makes calls of an operation until all was hit often enough. Each is given what became of it.
func (a *author) cover(t testing.TB, p *plan, target int, each func(*outcome)) {
	for g := p.next(target); g != nil; g = p.next(target) {
		call, args := a.call(p, g)
		o := a.w.run(t, call, a.judging())
		g.tries++
		p.count(a.shared, o, args, g)
		p.told.add(o)
		each(o)
	}
}

// count notes what a call hit. A call that is refused for a condition says little of the arguments beside it: it
// counts for what it was made for, unless the whole row is refused.
func (p *plan) count(s *shared, o *outcome, args map[string]any, aimed *goal) {
	if !o.judged(p.field.Name) {
		return
	}
	lets := o.verdict.Class != judge.Refused || p.row.Class == judge.Refused
	for _, g := range p.goals {
		if (lets && g.cond == nil || g == aimed) && g.isHit(args) {
			g.hits += g.worth
		}
	}
	if aimed.at >= 0 && s.meets(o.call, p, aimed) {
		aimed.hits++
	}
}

// isHit tells whether arguments are what a goal is about; of the conditions of rows a probe tells.
func (g *goal) isHit(args map[string]any) bool {
	switch {
	case g.at >= 0:
		return false
	case g.cond != nil:
		return isEmptyAt(args, g.cond.Path, g.cond.Test)
	case g.argument != "":
		return isGiven(args, strings.Split(g.argument, "."))
	}
	return true
}

// isEmptyAt tells whether there is a null, or something empty, at a path.
func isEmptyAt(v any, path judge.Path, test judge.Test) bool {
	if list, is := v.([]any); is && len(path) > 0 {
		return slices.ContainsFunc(list, func(element any) bool { return isEmptyAt(element, path, test) })
	}
	if len(path) > 0 {
		object, _ := v.(map[string]any)
		inner, there := object[path[0]]
		return there && isEmptyAt(inner, path[1:], test)
	}
	list, isList := v.([]any)
	return v == nil || test == judge.Empty && (v == "" || isList && len(list) == 0)
}

// judged tells whether a row spoke of an operation.
func (o *outcome) judged(name string) bool {
	for _, operation := range o.verdict.Operations {
		if operation.Name == name {
			return true
		}
	}
	return false
}

// meets asks the probe whether a call meets a condition.
func (s *shared) meets(call testCall, p *plan, g *goal) bool {
	line := 0
	if g.only {
		line = p.row.Only.Line
	} else {
		line = g.cond.Line
	}
	v := s.probes[g.at].Judge(judge.Call{Method: "POST", Path: endpoint, ContentType: "application/json", Body: call.body}, false)
	for _, operation := range v.Operations {
		if operation.Name == p.field.Name && operation.Class == judge.Refused && operation.Line == line {
			return true
		}
	}
	return false
}

// isGiven tells whether there is something at a path.
func isGiven(v any, path []string) bool {
	if len(path) == 0 {
		return v != nil
	}
	switch v := v.(type) {
	case []any:
		for _, element := range v {
			if isGiven(element, path) {
				return true
			}
		}
	case map[string]any:
		if path[0] == "**" {
			return len(v) > 0
		}
		for key, value := range v {
			if (key == path[0] || path[0] == "*") && isGiven(value, path[1:]) {
				return true
			}
		}
	}
	return false
}

// add counts what became of a call.
func (y *tally) add(o *outcome) {
	y.calls++
	switch {
	case o.verdict.Class == judge.Refused:
		y.refused++
		return
	case o.denied != nil:
		y.denied++
		return
	}
	y.passed++
	if strings.Contains(string(o.raw), "-") && len(o.seen) < len(o.raw)/2 {
		y.hid++
	}
	if len(o.effects) == 0 {
		return
	}
	y.acted++
	worst := judge.Read
	for _, e := range o.effects {
		worst = judge.Worse(worst, leastClass(e.Kind))
	}
	if y.worst == "" || judge.Worse(y.worst, worst) == worst {
		y.worst = worst
	}
	if worst != o.verdict.Class && judge.Worse(worst, o.verdict.Class) == o.verdict.Class {
		y.cautious++
	}
}
