package differential

import (
	"hash/fnv"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// goal is something that must be hit a number of times: an operation, an argument, a condition.
type goal struct {
	name     string
	argument string           // the path that must be given
	at       int              // of the condition in its row, or -1
	cond     *judge.Condition // must be met
	only     bool             // the row's only must be met
	worth    int              // how many hits each hit counts
	hits     int
	tries    int // calls that were made for it
}

// plan is what is to be hit of one operation, and what was.
type plan struct {
	kind  string // mutation, query, subscription
	field *ast.FieldDefinition
	row   *judge.Row
	goals []*goal
	rand  *rand.Rand
	told  tally
}

// tally counts what became of the calls of one operation.
type tally struct {
	calls, refused, denied, passed, acted int
	worst                                 judge.Class // of the effects
	cautious                              int         // acted, and judged higher than what it did
	hid                                   int         // answers with something in them that the caller did not see
}

// newPlans makes the plans of all operations, in the order of the schema.
func newPlans(schema *ast.Schema, rows *judge.Pack) []*plan {
	var all []*plan
	for _, kind := range []string{"mutation", "query", "subscription"} {
		root := map[string]*ast.Definition{"mutation": schema.Mutation, "query": schema.Query, "subscription": schema.Subscription}[kind]
		for _, f := range root.Fields {
			if row := rows.Rows[kind+" "+f.Name]; row != nil {
				all = append(all, newPlan(schema, kind, f, row))
			}
		}
	}
	return all
}

func newPlan(schema *ast.Schema, kind string, f *ast.FieldDefinition, row *judge.Row) *plan {
	p := &plan{kind: kind, field: f, row: row, rand: seeded(row.Operation)}
	p.add(&goal{name: "row"})
	walkArguments(schema, f, func(path string, t *ast.Type) {
		p.add(&goal{name: "argument " + path, argument: path})
		p.addNothings(schema, path, t)
	})
	if row.Only != nil {
		for _, path := range row.Only.Paths {
			if name := path.String(); !slices.ContainsFunc(p.goals, func(g *goal) bool { return g.argument == name }) {
				p.add(&goal{name: "argument " + name, argument: name})
			}
		}
		p.add(&goal{name: "only", only: true, at: len(row.When)})
	}
	for at, c := range row.When {
		words := []string{"when", c.Path.String(), string(c.Test), c.Value}
		p.add(&goal{name: strings.TrimSpace(strings.Join(words, " ")), at: at, cond: &row.When[at]})
	}
	return p
}

func (p *plan) add(g *goal) {
	if !g.only && g.cond == nil {
		g.at = -1
	}
	g.worth = max(g.worth, 1)
	p.goals = append(p.goals, g)
}

// addNothings adds that an argument is null, and that it is empty, which the rows need not speak of. A tenth of
// the calls is enough, but each is made for it: beside other arguments the class would be higher anyway.
func (p *plan) addNothings(schema *ast.Schema, path string, t *ast.Type) {
	at := judge.Path(strings.Split(path, "."))
	if !t.NonNull {
		p.goals = append(p.goals, &goal{name: "null " + path, at: -1, worth: 10, cond: &judge.Condition{Path: at, Test: judge.Null}})
	}
	names := slices.ContainsFunc(p.row.Touches, func(touch judge.Touch) bool { // an empty id is refused as it is read
		return slices.ContainsFunc(touch.Paths, func(named judge.Path) bool { return named.String() == path })
	})
	if !names && (t.Elem != nil || t.Name() == "String" && !strings.HasSuffix(strings.ToLower(path), "id")) {
		p.goals = append(p.goals, &goal{name: "empty " + path, at: -1, worth: 10, cond: &judge.Condition{Path: at, Test: judge.Empty}})
	}
}

// seeded gives random numbers that are the same each time for the same name, as long as HOURKEY_TEST_SEED is.
func seeded(name string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // a hash does not fail
	seed, err := strconv.ParseUint(os.Getenv("HOURKEY_TEST_SEED"), 10, 64)
	if err != nil {
		seed = 20261121
	}
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// walkArguments calls each for the arguments of a field and all that is in them, as far as the schema tells.
func walkArguments(schema *ast.Schema, f *ast.FieldDefinition, each func(path string, t *ast.Type)) {
	var walk func(path string, t *ast.Type)
	walk = func(path string, t *ast.Type) {
		each(path, t)
		if def := schema.Types[t.Name()]; def.Kind == ast.InputObject {
			for _, inner := range def.Fields {
				walk(path+"."+inner.Name, inner.Type)
			}
		}
	}
	for _, a := range f.Arguments {
		walk(a.Name, a.Type)
	}
}

// newProbes makes judges that each know one condition of every row: what meets it is refused by its line. The
// last condition of a row is its only.
func newProbes(t testing.TB, schema *ast.Schema, rows *judge.Pack) []*judge.GraphQL {
	t.Helper()
	most := 0
	for _, row := range rows.Rows {
		most = max(most, len(row.When)+1)
	}
	var probes []*judge.GraphQL
	for at := range most {
		changed := copied(rows)
		for _, row := range changed.Rows {
			if strings.HasPrefix(row.Operation, "subscription") {
				continue
			}
			when := row.When
			row.Class, row.When = judge.Read, nil
			if at < len(when) {
				row.When = []judge.Condition{when[at]}
				row.When[0].Class = judge.Refused
			}
			if at != len(when) {
				row.Only = nil
			}
			if row.Only != nil {
				row.Only.Class = judge.Refused
			}
		}
		g, err := judge.NewGraphQL(changed, schema)
		if err != nil {
			t.Fatal(err)
		}
		probes = append(probes, g)
	}
	return probes
}

// copied gives a pack that can be changed.
func copied(rows *judge.Pack) *judge.Pack {
	twin := *rows
	twin.Rows, twin.Types, twin.Fields = map[string]*judge.Row{}, map[string]*judge.Type{}, map[string]*judge.Field{}
	for name, row := range rows.Rows {
		r := *row
		r.When, r.Touches = slices.Clone(row.When), slices.Clone(row.Touches)
		if row.Only != nil {
			only := *row.Only
			r.Only = &only
		}
		twin.Rows[name] = &r
	}
	for name, typ := range rows.Types {
		t := *typ
		twin.Types[name] = &t
	}
	for name, field := range rows.Fields {
		f := *field
		twin.Fields[name] = &f
	}
	return &twin
}

// next is what is to be hit next: the conditions first, because their calls hit arguments as well. Nothing is
// left when everything was hit often enough, or tried too often.
func (p *plan) next(target int) *goal {
	var least *goal
	for _, g := range slices.Backward(p.goals) {
		if g.hits >= target || g.tries > 4*target+20 {
			continue
		}
		if least == nil || g.hits < least.hits {
			least = g
		}
	}
	return least
}
