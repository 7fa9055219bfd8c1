package postgres

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/hourkey/hourkey/broker"
)

// effect is what a statement of the lease can cause at a relation, as a set.
type effect uint8

const (
	reads effect = 1 << iota
	inserts
	updates
	deletes
	truncates
	moves   // an UPDATE of the parent may move rows out of, and into, this partition
	asOwner // a cascade acts with the rights of the table's owner: every trigger counts as a definer's
)

func effectsOf(actions broker.Actions) effect {
	var e effect
	for _, action := range actions.Each() {
		switch action {
		case broker.Read:
			e |= reads
		case broker.Write:
			e |= inserts | updates
		case broker.Delete:
			e |= deletes | truncates
		case broker.Admin: // refused before
		}
	}
	return e
}

// reach is everything that grants reach: by themselves, in children and partitions, by cascades.
type reach struct {
	seen    *snapshot
	granted map[oid]broker.Actions
	names   map[oid]relation
	effects map[oid]effect
}

// follow computes the closure: it ends because effects only grow.
func follow(seen *snapshot, grants []grant) *reach {
	r := &reach{seen: seen, granted: map[oid]broker.Actions{}, names: seen.byOID, effects: map[oid]effect{}}
	for _, g := range grants {
		r.granted[g.OID] = g.actions
		r.effects[g.OID] = effectsOf(g.actions)
	}
	for grew := true; grew; {
		grew = false
		for _, edge := range seen.Inherits {
			grew = r.add(edge.Child, r.inherited(edge)) || grew
		}
		for _, edge := range seen.References {
			grew = r.add(edge.From, r.cascaded(edge)) || grew
		}
	}
	return r
}

func (r *reach) add(to oid, e effect) bool {
	before := r.effects[to]
	r.effects[to] = before | e
	return r.effects[to] != before
}

func (r *reach) inherited(edge inheritance) effect {
	e := r.effects[edge.Parent]
	if e&updates != 0 && r.names[edge.Child].Partition {
		e |= moves
	}
	return e
}

// cascaded is what a change of the table referred to does to the one that refers.
func (r *reach) cascaded(edge reference) effect {
	var e effect
	from := r.effects[edge.To]
	if from&updates != 0 && isCascade(edge.Update) {
		e |= updates | asOwner
	}
	// A row that an UPDATE moves to another partition is deleted from this one, for a key that refers to this one by itself.
	if from&(deletes|moves) != 0 {
		switch edge.Delete {
		case "c":
			e |= deletes | asOwner
		case "n", "d":
			e |= updates | asOwner
		}
	}
	return e
}

func isCascade(action string) bool { return action == "c" || action == "n" || action == "d" }

// holes gives the ways around the grants: definer triggers, rules, cascades, children.
func (r *reach) holes() []broker.Finding {
	return slices.Concat(r.cascades(), r.children(), r.triggers(), r.rules())
}

// cascades: a foreign key's action changes the referring table without any right on it.
func (r *reach) cascades() []broker.Finding {
	var found []broker.Finding
	for _, edge := range r.seen.References {
		e := r.cascaded(edge)
		needs := broker.Actions(0)
		if e&updates != 0 {
			needs |= broker.Write
		}
		if e&deletes != 0 {
			needs |= broker.Delete
		}
		if needs == 0 || needs.IsSubsetOf(r.granted[edge.From]|r.granted[edge.Top]) {
			continue
		}
		table := relation{Schema: edge.Schema, Name: edge.Table}
		found = append(found, broker.Finding{
			Refuses: true,
			Object:  fmt.Sprintf("constraint %s on %s", edge.Name, table.resource()),
			Problem: fmt.Sprintf("changing %s changes rows of %s by a foreign key's action, without a right on it (%s)", r.names[edge.To].resource(), table.resource(), needs),
			Mend: fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s, ADD CONSTRAINT %s %s;",
				table.quoted(), quote(edge.Name), quote(edge.Name), foreignKeyAction.ReplaceAllString(edge.Definition, "")),
		})
	}
	return found
}

var foreignKeyAction = regexp.MustCompile(` ON (UPDATE|DELETE) (CASCADE|SET (NULL|DEFAULT)( \([^)]*\))?)`)

// children: a statement on a table includes the tables that inherit from it. Partitions are the table; a child
// by inheritance is one of its own; a foreign one lies on another server.
func (r *reach) children() []broker.Finding {
	var found []broker.Finding
	for _, edge := range r.seen.Inherits {
		child, e := r.names[edge.Child], r.effects[edge.Parent]
		if e == 0 || (child.Kind != kindForeign && (child.Partition || r.covers(edge.Child, e))) {
			continue
		}
		found = append(found, broker.Finding{
			Refuses: true,
			Object:  "table " + child.resource(),
			Problem: fmt.Sprintf("statements on %s include %s, which was not asked for or lies on another server", r.names[edge.Parent].resource(), child.resource()),
			Mend:    "-- ask for " + child.resource() + " with the same actions, or name it in accept",
		})
	}
	return found
}

func (r *reach) covers(table oid, e effect) bool {
	return e&^(moves|asOwner)&^effectsOf(r.granted[table]) == 0
}

// The bits of pg_trigger.tgtype (PostgreSQL source, catalog/pg_trigger.h).
const (
	triggerInsert   = 1 << 2
	triggerDelete   = 1 << 3
	triggerUpdate   = 1 << 4
	triggerTruncate = 1 << 5
)

func (e effect) fires(events int) bool {
	return e&(inserts|moves) != 0 && events&triggerInsert != 0 ||
		e&(deletes|moves) != 0 && events&triggerDelete != 0 ||
		e&updates != 0 && events&triggerUpdate != 0 ||
		e&truncates != 0 && events&triggerTruncate != 0
}

// triggers: a trigger function that is SECURITY DEFINER, or that a cascade runs as the table's owner.
func (r *reach) triggers() []broker.Finding {
	var found []broker.Finding
	for _, t := range r.seen.Triggers {
		e, table := r.effects[t.Table], r.names[t.Table]
		if !e.fires(t.Events) || (!t.Definer && e&asOwner == 0) {
			continue
		}
		why, mend := "runs with the rights of its function's owner", fmt.Sprintf("ALTER FUNCTION %s SECURITY INVOKER;", t.Function)
		if !t.Definer {
			why, mend = "runs with the rights of the table's owner, when a foreign key's action fires it", fmt.Sprintf("ALTER TABLE %s DISABLE TRIGGER %s;", table.quoted(), quote(t.Name))
		}
		found = append(found, broker.Finding{
			Refuses: true,
			Object:  fmt.Sprintf("trigger %s on %s", t.Name, table.resource()),
			Problem: fmt.Sprintf("the trigger %s on %s %s: what it does is not limited by the lease", t.Name, table.resource(), why),
			Mend:    mend,
		})
	}
	return found
}

// rules: what a rule adds to a statement is done with the rights of the table's owner.
func (r *reach) rules() []broker.Finding {
	var found []broker.Finding
	for _, w := range r.seen.Rules {
		e, table := r.effects[w.Table], r.names[w.Table]
		fires := w.Event == "2" && e&updates != 0 || w.Event == "3" && e&inserts != 0 || w.Event == "4" && e&deletes != 0
		if !fires {
			continue
		}
		found = append(found, broker.Finding{
			Refuses: true,
			Object:  fmt.Sprintf("rule %s on %s", w.Name, table.resource()),
			Problem: fmt.Sprintf("the rule %s on %s runs with the rights of the table's owner", w.Name, table.resource()),
			Mend:    fmt.Sprintf("DROP RULE %s ON %s;", quote(w.Name), table.quoted()),
		})
	}
	return found
}

// partitions names what is reached as a part of a granted table, sorted.
func (r *reach) partitions() []string {
	var names []string
	for table := range r.effects {
		if _, granted := r.granted[table]; !granted && r.names[table].Partition && r.effects[table]&asOwner == 0 {
			names = append(names, r.names[table].resource())
		}
	}
	slices.Sort(names)
	return names
}
