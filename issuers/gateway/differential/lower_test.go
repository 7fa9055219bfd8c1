package differential

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// lowering is one line of the pack made milder, and how calls are made that hit it.
type lowering struct {
	name   string
	lower  func(*judge.Pack)
	plan   func([]*plan) (*plan, *goal)        // the operation that it is in, and a condition that its calls meet
	travel func([]*destination) []*destination // or the answers that it is about
}

// found makes calls under a lowered pack until one does what must not be, and what it would not do under the pack
// itself; it gives the violation, and how many calls that took.
func (a *author) found(t testing.TB, l lowering, most int) (violation, int) {
	t.Helper()
	changed := copied(a.pack.Rows())
	l.lower(changed)
	g, err := judge.NewGraphQL(changed, a.schema)
	if err != nil {
		t.Errorf("%s: %v", l.name, err)
		return violation{}, 0
	}
	how := func(c judge.Call) judge.Verdict { return g.Judge(c, false) }
	numbers := seeded(l.name)
	for n := range most {
		call, can := a.aimed(l, numbers, n)
		if !can {
			continue
		}
		lowered := a.w.run(t, call, how).violations()
		if len(lowered) == 0 {
			continue
		}
		proper := a.w.run(t, call, a.judging()).violations()
		for _, v := range lowered {
			if !slices.ContainsFunc(proper, func(p violation) bool { return p.key() == v.key() }) {
				return v, n + 1
			}
		}
	}
	return violation{}, most
}

// aimed writes a call that hits what was lowered.
func (a *author) aimed(l lowering, numbers *rand.Rand, n int) (testCall, bool) {
	if l.travel != nil {
		to := l.travel(a.destinations)
		if len(to) == 0 {
			return testCall{}, false
		}
		d := *to[n%len(to)]
		d.rand = numbers
		return a.walk(&d)
	}
	p, g := l.plan(a.plans)
	if p == nil {
		return testCall{}, false
	}
	p.rand = numbers
	call, _ := a.call(p, g)
	return call, true
}

// milder is the class below another.
func milder(c judge.Class) judge.Class {
	switch c {
	case judge.Write:
		return judge.Read
	case judge.Delete:
		return judge.Write
	case judge.Admin:
		return judge.Delete
	case judge.Read, judge.Refused:
	}
	return c
}

// fifty are lines of every kind that stand between an agent and what it must not do: rows of all classes, conditions,
// touches left out, narrowed and of a narrower kind, types and secret fields.
func fifty() []string {
	return []string{
		"mutation volumeDelete: class", "mutation serviceDelete: class", "mutation environmentDelete: class", "mutation variableDelete: class",
		"mutation volumeInstanceBackupDelete: class", "mutation volumeInstanceBackupScheduleUpdate: class", "mutation volumeInstanceBackupRestore: class",
		"mutation deploymentStop: class", "mutation disablePitrForHaCluster: class", "mutation projectScheduleDelete: class", "mutation pluginReset: class",
		"mutation environmentPatchCommitStaged: class", "mutation projectTokenCreate: class", "mutation apiTokenCreate: class",
		"mutation projectInviteUser: class", "mutation usageLimitSet: class", "mutation variableUpsert: class", "mutation volumeCreate: class",
		"mutation volumeInstanceBackupLock: class",

		"mutation environmentPatchCommit: when patch.**.* null", "mutation environmentPatchCommit: when patch.services.*.isDeleted given",
		"mutation environmentPatchCommit: when patch.volumes.*.isDeleted given", "mutation environmentPatchCommit: when patch.buckets.*.isDeleted given",
		"mutation environmentPatchCommit: when patch.privateNetworkDisabled given", "mutation environmentPatchCommit: when patch.services.*.deploy.numReplicas < 1",
		`mutation environmentPatchCommit: when patch.**.* = ""`, "mutation environmentStageChanges: when input.services.*.isDeleted given",
		"mutation environmentStageChanges: when input.volumes.*.isDeleted given", "mutation variableCollectionUpsert: when input.replace = true",
		"mutation variableCollectionUpsert: when input.variables.* null", `mutation variableUpsert: when input.value = ""`,
		"mutation serviceInstanceUpdate: when input.numReplicas < 1", "mutation serviceInstanceUpdate: when input.multiRegionConfig given",
		"mutation egressGatewayAssociationsClear: when input.allEnvironments = true", "mutation templateDeploy: when input.projectId absent",
		"mutation projectUpdate: when input.isPublic given", "query signals: when owner absent",

		"mutation volumeDelete: touch volume volumeId", "mutation volumeInstanceUpdate: touch volume volumeId",
		"mutation variableUpsert: touch variables input.projectId/input.environmentId", "mutation deploymentRestart: touch deployment id",
		"mutation serviceDelete: touch base-service id as service", "mutation serviceInstanceUpdate: touch base-service serviceId as service",
		"mutation serviceCreate: touch base-new-service input.projectId as new-service", "mutation pluginRestart: touch plugin id in input.environmentId",
		"query projectInviteCode: touch project projectId",

		"type Environment", "type VolumeInstance", "field Environment.config", "field Query.variables",
	}
}

// TestFiftyRowsLowered: one at a time, and each is found by what the server then does or tells.
func TestFiftyRowsLowered(t *testing.T) {
	s := newShared(t)
	a := newAuthor(t, s)
	known := map[string]lowering{}
	for _, l := range lowerings(s) {
		known[l.name] = l
	}
	if len(fifty()) < 50 {
		t.Errorf("%d lines are lowered, wanted 50", len(fifty()))
	}
	for _, name := range fifty() {
		l, there := known[name]
		if !there {
			t.Errorf("%s: the pack has no such line", name)
			continue
		}
		v, calls := a.found(t, l, 400)
		if v.rule == "" {
			t.Errorf("%s: %d calls under the milder line, and nothing was found", name, calls)
			continue
		}
		t.Logf("%-90s found after %3d calls: %s, %s", name, calls, v.rule, v.what)
	}
}

// TestEveryRowLowered tells of every line of the pack whether it can be told from a milder one by what the server
// does. Where it cannot, the row stands on its reason alone; why that is, says apart.
func TestEveryRowLowered(t *testing.T) {
	if target() < 100 {
		t.Skip("HOURKEY_TEST_ALL is not set")
	}
	s := newShared(t)
	all := lowerings(s)
	work := make(chan lowering, len(all))
	for _, l := range all {
		work <- l
	}
	close(work)
	var mu sync.Mutex
	var found int
	same := map[string][]string{}
	inWorlds(t, s, func(t testing.TB, a *author) {
		for l := range work {
			v, _ := a.found(t, l, 30)
			mu.Lock()
			if v.rule != "" {
				found++
			} else {
				why := apart(l.name, s.pack.Rows())
				same[why] = append(same[why], l.name)
			}
			mu.Unlock()
		}
	})
	t.Logf("%d lines lowered one at a time, %d found", len(all), found)
	for _, why := range sorted(same) {
		slices.Sort(same[why])
		t.Logf("not told apart, because %s: %d\n  %s", why, len(same[why]), strings.Join(same[why], "\n  "))
	}
}

// apart tells why a line of the pack cannot be told from a milder one by what the server does.
func apart(name string, rows *judge.Pack) string {
	operation, line, _ := strings.Cut(name, ": ")
	row := rows.Rows[operation]
	switch {
	case row == nil:
		return "a row before it is of the class as well, or the server keeps nothing there that could be told"
	case strings.HasPrefix(line, "touch") && strings.HasPrefix(operation, "query"):
		return "what it answers is kept by its type, or is nobody's in particular"
	case strings.HasPrefix(line, "touch"):
		return "another touch of the row reaches the same places, or nothing happens where it leads"
	case strings.HasPrefix(line, "class"):
		return "the answer's type is of the class too, or it is of power that no state shows: names, whose code runs, settings, who is told"
	}
	for _, c := range row.When {
		same := strings.HasPrefix(line, "when "+c.Path.String()+" "+string(c.Test)) && strings.HasSuffix(line, c.Value)
		switch {
		case same && judge.Worse(row.Class, c.Class) == row.Class:
			return "the whole row is of that class: the line only says why"
		case same && c.Class == judge.Refused:
			return "it refuses what cannot be looked up or read, which a state does not show"
		case same && c.Class == judge.Admin:
			return "it is of power that no state shows: whose code runs, with what secrets, who gets in"
		}
	}
	return "the state shows a change and not the loss behind it: where it runs, whether it sleeps, what a sealed value was"
}

// lowerings lists every way in which one line of the pack can be made milder.
func lowerings(s *shared) []lowering {
	var all []lowering
	rows := s.pack.Rows()
	for _, name := range sorted(rows.Rows) {
		row := rows.Rows[name]
		if row.Class == judge.Refused {
			continue
		}
		if row.Class != judge.Read {
			all = append(all, lowerClass(name))
		}
		for at := range row.When {
			all = append(all, dropWhen(row, at))
		}
		for at, touch := range row.Touches {
			if touch.Kind != "" {
				all = append(all, changeTouch(s, row, at)...)
			}
		}
	}
	for _, name := range sorted(rows.Types) {
		if rows.Types[name].Bound != judge.Open {
			all = append(all, openType(name))
		}
	}
	for _, name := range sorted(rows.Fields) {
		all = append(all, openField(name))
	}
	return all
}

// of finds the plan of an operation, as a copy that a lowering may change.
func of(operation string, at int) func([]*plan) (*plan, *goal) {
	return func(plans []*plan) (*plan, *goal) {
		for _, p := range plans {
			if p.row.Operation == operation {
				twin := *p
				if at >= 0 {
					return &twin, &goal{cond: &p.row.When[at], at: at}
				}
				return &twin, nil
			}
		}
		return nil, nil
	}
}

func lowerClass(name string) lowering {
	return lowering{
		name: name + ": class", plan: of(name, -1),
		lower: func(p *judge.Pack) { p.Rows[name].Class = milder(p.Rows[name].Class) },
	}
}

func dropWhen(row *judge.Row, at int) lowering {
	c := row.When[at]
	name := strings.TrimSpace(strings.Join([]string{row.Operation + ": when", c.Path.String(), string(c.Test), c.Value}, " "))
	return lowering{name: name, plan: of(row.Operation, at), lower: func(p *judge.Pack) {
		changed := p.Rows[row.Operation]
		changed.When = append(changed.When[:at:at], changed.When[at+1:]...)
	}}
}

// changeTouch leaves a touch out, gives it a narrower kind, or narrows it by an argument that does not narrow.
func changeTouch(s *shared, row *judge.Row, at int) []lowering {
	touch := row.Touches[at]
	var paths []string
	for _, path := range touch.Paths {
		paths = append(paths, path.String())
	}
	name := row.Operation + ": touch " + touch.Kind + " " + strings.Join(paths, "/")
	all := []lowering{{name: name, plan: of(row.Operation, -1), lower: func(p *judge.Pack) {
		changed := p.Rows[row.Operation]
		changed.Touches = append(changed.Touches[:at:at], changed.Touches[at+1:]...)
	}}}
	if kind, base := strings.CutPrefix(touch.Kind, "base-"); base {
		all = append(all, lowering{name: name + " as " + kind, plan: of(row.Operation, -1), lower: func(p *judge.Pack) {
			p.Rows[row.Operation].Touches[at].Kind = kind
		}})
	}
	for _, in := range []judge.Path{{"environmentId"}, {"input", "environmentId"}} {
		if touch.In == nil && len(touch.Paths) > 0 && !slices.ContainsFunc(touch.Paths, func(p judge.Path) bool { return p.String() == in.String() }) && s.has(row.Operation, in) {
			all = append(all, lowering{name: name + " in " + in.String(), plan: of(row.Operation, -1), lower: func(p *judge.Pack) {
				p.Rows[row.Operation].Touches[at].In = in
			}})
		}
	}
	return all
}

// has tells whether an operation has an argument.
func (s *shared) has(operation string, path judge.Path) bool {
	kind, name, _ := strings.Cut(operation, " ")
	root := s.schema.Mutation
	if kind == "query" {
		root = s.schema.Query
	}
	found := false
	walkArguments(s.schema, root.Fields.ForName(name), func(p string, _ *ast.Type) { found = found || p == path.String() })
	return found
}

func openType(name string) lowering {
	return lowering{
		name:   "type " + name,
		lower:  func(p *judge.Pack) { p.Types[name].Bound = judge.Open },
		travel: func(all []*destination) []*destination { return those(all, name, "") },
	}
}

func openField(name string) lowering {
	typ, field, _ := strings.Cut(name, ".")
	l := lowering{
		name: "field " + name, lower: func(p *judge.Pack) { delete(p.Fields, name) },
		travel: func(all []*destination) []*destination { return those(all, typ, field) },
	}
	if typ == "Query" || typ == "Mutation" {
		l.travel, l.plan = nil, of(strings.ToLower(typ)+" "+field, -1)
	}
	return l
}

// those lists the destinations of a type and, if one is named, of a field.
func those(all []*destination, typ, field string) []*destination {
	var found []*destination
	for _, d := range all {
		if d.typ == typ && (field == "" || d.field == field) {
			found = append(found, d)
		}
	}
	return found
}
