package differential

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"

	faithful "github.com/hourkey/hourkey/issuers/gateway/faithful/railway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// violation is something that must not be.
type violation struct {
	rule      string // class, place, secret, sight, sent, answer
	operation string // name of the root field; of all, where it cannot be told which
	what      string // the kind of effect and of record, or what was told
	detail    string
	call      testCall
}

// key is by which violations are one.
func (v violation) key() string { return v.rule + " | " + v.operation + " | " + v.what }

// leastClass is the class that an operation has at least, for what it really did.
//
// To stop what runs counts as delete: nothing is lost that cannot be deployed again, but whoever is served by it
// loses it at once, the disk of a container goes, and nobody who asked for a write expects an outage. The rows
// say the same of themselves (rows.pack, "Taking away what runs is delete").
func leastClass(effect string) judge.Class {
	switch effect {
	case "created", "changed":
		return judge.Write
	case "cleared", "stopped", "destroyed", "weakened":
		return judge.Delete
	}
	return judge.Admin // governed, granted, revealed, and what this test does not know yet
}

// account is where things are that are in no environment.
const account = "railway:account"

// needed lists the places, as the look-ups call them, that an effect is in.
func (o *outcome) needed(e faithful.Effect) []string {
	project, known := e.Project, false
	if _, known = o.world.before.Records[project]; !known {
		return []string{account} // also all of a project that is new
	}
	var old []string
	for _, environment := range e.Environments {
		if _, there := o.world.before.Records[environment]; there {
			old = append(old, identity(project, environment))
		}
	}
	if len(old) == len(e.Environments) && len(old) > 0 {
		return old
	}
	for _, environment := range e.Environments { // the new one may be in another project than what it is made like
		if r := o.after.Records[environment]; r.Project != "" {
			project = r.Project
		}
	}
	if _, known := o.world.before.Records[project]; !known {
		return []string{account}
	}
	for environment, in := range o.world.pool.project { // an environment that is new is the whole project's
		if in == project && !slices.Contains(old, identity(project, environment)) {
			old = append(old, identity(project, environment))
		}
	}
	slices.Sort(old)
	return old
}

func identity(project, environment string) string { return "railway:" + project + "/" + environment }

// covers tells whether an operation was said to reach a place. What reaches the account is refused to every lease
// (no target is there), so that it may do anything anywhere. A project token is not told of the other
// environments: what it cannot see is one place.
func (o *outcome) covers(at int, place string) bool {
	if o.places[at][place] || o.places[at][account] {
		return true
	}
	_, environment, of := strings.Cut(strings.TrimPrefix(place, "railway:"), "/")
	if o.call.token != "project" || !of || environment == o.world.Staging {
		return false
	}
	for known := range o.places[at] {
		if strings.Contains(known, "(environments that a project token does not see)") {
			return true
		}
	}
	return false
}

// violations holds a call to all properties.
func (o *outcome) violations() []violation {
	if !o.passed() {
		return nil
	}
	all := o.effectsHeld()
	all = append(all, o.sentHeld()...)
	all = append(all, o.answerHeld()...)
	for i := range all {
		all[i].call = o.call
	}
	return all
}

// effectsHeld: every effect is of an operation of at least its class, that was said to reach where it is.
func (o *outcome) effectsHeld() []violation {
	var all []violation
	for _, e := range o.effects {
		least := leastClass(e.Kind)
		ranked := func(at int) bool {
			return judge.Worse(o.verdict.Operations[at].Class, least) == o.verdict.Operations[at].Class
		}
		if judge.Worse(o.verdict.Class, least) != o.verdict.Class {
			all = append(all, violation{rule: "class", operation: o.names(), what: e.Kind + " " + e.What,
				detail: fmt.Sprintf("judged %s, and it %s %s %q (%s), which is %s", o.verdict.Class, e.Kind, e.What, e.Name, e.ID, least)})
			continue
		}
		for _, place := range o.needed(e) {
			if !slices.ContainsFunc(indexes(o.places), func(at int) bool { return ranked(at) && o.covers(at, place) }) {
				all = append(all, violation{rule: "place", operation: o.names(), what: e.Kind + " " + e.What,
					detail: fmt.Sprintf("%s %s %q (%s) in %s; looked up: %s", e.Kind, e.What, e.Name, e.ID, o.shown(place), o.shownPlaces())})
			}
		}
	}
	return all
}

func indexes[T any](list []T) []int {
	all := make([]int, len(list))
	for at := range list {
		all[at] = at
	}
	return all
}

// shown names a place as people do.
func (o *outcome) shown(place string) string {
	for id, r := range o.world.before.Records {
		if r.Kind == "Environment" && identity(r.Project, id) == place {
			return r.Name + " of " + o.world.before.Records[r.Project].Name
		}
	}
	return place
}

func (o *outcome) shownPlaces() string {
	var all []string
	for at, operation := range o.verdict.Operations {
		for place := range o.places[at] {
			all = append(all, string(operation.Class)+" in "+o.shown(place))
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// sentHeld: what is sent does the same as the call would have done. Of several operations in a document only the
// one that is meant is read and sent; the server refuses all of it for a mistake in another, and that may differ.
func (o *outcome) sentHeld() []violation {
	sent, original := o.told(o.effects), o.told(o.original)
	if slices.Equal(sent, original) && o.status[0] == o.status[1] || o.status == [2]int{200, 400} && o.hasOthers() {
		return nil
	}
	return []violation{{rule: "sent", operation: o.names(), what: fmt.Sprintf("status %d and %d", o.status[0], o.status[1]),
		detail: fmt.Sprintf("what is sent does %q, the call itself would have done %q\nsent: %s", sent, original, o.verdict.Send.Body)}}
}

// hasOthers tells whether there are operations in the document besides the one that is meant.
func (o *outcome) hasOthers() bool {
	var request struct{ Query string }
	if json.Unmarshal(o.call.body, &request) != nil {
		return false
	}
	document, err := parser.ParseQuery(&ast.Source{Input: request.Query})
	return err == nil && len(document.Operations) > 1
}

// told writes effects so that those of two servers can be compared: what is new has other ids on each.
func (o *outcome) told(effects []faithful.Effect) []string {
	name := func(id string) string {
		if _, known := o.world.before.Records[id]; known || id == "" {
			return id
		}
		return "new"
	}
	var all []string
	for _, e := range effects {
		text := e.Kind + " " + e.What + " " + name(e.ID) + " in"
		var in []string
		for _, environment := range e.Environments {
			in = append(in, name(environment))
		}
		slices.Sort(in)
		all = append(all, text+" "+strings.Join(in, "+")+" of "+name(e.Project))
	}
	slices.Sort(all)
	return all
}

// answerHeld: what the caller sees tells no secret below admin, and nothing from elsewhere.
func (o *outcome) answerHeld() []violation {
	var all []violation
	sent := string(o.call.body)
	seen := string(o.seen)
	if o.verdict.Class != judge.Admin {
		for secret, origin := range o.after.Origin {
			if len(secret) >= 8 && strings.Contains(seen, secret) && !strings.Contains(sent, secret) {
				r := o.record(origin)
				all = append(all, violation{rule: "secret", operation: o.names(), what: r.Kind, detail: fmt.Sprintf("judged %s, and its answer tells %q of %s %q", o.verdict.Class, secret, r.Kind, r.Name)})
			}
		}
	}
	for _, mark := range texts(o.seen) {
		holders := o.world.marks[mark]
		if len(holders) == 0 || strings.Contains(sent, mark) || slices.ContainsFunc(holders, o.inSight) {
			continue
		}
		r := o.record(holders[0])
		all = append(all, violation{rule: "sight", operation: o.names(), what: r.Kind, detail: fmt.Sprintf("the answer tells of %s %q (%s), which is in %s", r.Kind, r.Name, mark, o.shownEnvironments(r))})
	}
	return all
}

func (o *outcome) record(id string) faithful.Record {
	if r, there := o.after.Records[id]; there {
		return r
	}
	return o.world.before.Records[id]
}

func (o *outcome) shownEnvironments(r faithful.Record) string {
	var all []string
	for _, environment := range r.Environments {
		all = append(all, o.shown(identity(r.Project, environment)))
	}
	if len(all) == 0 {
		return "no environment"
	}
	return strings.Join(all, ", ")
}

// inSight tells whether a caller may be told of a record: it lives in staging, or where the call was said to
// reach. What is in no environment is the account's, save whose account it is and what is public.
func (o *outcome) inSight(id string) bool {
	r := o.world.before.Records[id]
	if r.Project == "" {
		open := slices.Contains([]string{"User", "Workspace", "Template"}, r.Kind)
		return open || o.reaches(account)
	}
	if len(r.Environments) == 0 {
		return r.Project == o.world.Shop
	}
	return slices.ContainsFunc(r.Environments, func(environment string) bool {
		return environment == o.world.Staging || o.reaches(identity(r.Project, environment))
	})
}

func (o *outcome) reaches(place string) bool {
	return slices.ContainsFunc(indexes(o.places), func(at int) bool { return o.covers(at, place) })
}

// texts lists the strings and the keys in an answer, and the ids inside of them, each once; without the cursors
// of pages, which are passed on as they are (docs/issuers/railway.md, "Answers").
func texts(answer []byte) []string {
	known := map[string]bool{}
	var walk func(key string, v any)
	note := func(text string) {
		known[text] = true
		for _, id := range uuid.FindAllString(text, -1) {
			known[id] = true
		}
	}
	walk = func(key string, v any) {
		switch v := v.(type) {
		case string:
			if key != "cursor" && key != "startCursor" && key != "endCursor" {
				note(v)
			}
		case []any:
			for _, element := range v {
				walk(key, element)
			}
		case map[string]any:
			for key, value := range v {
				note(key)
				walk(key, value)
			}
		}
	}
	var value any
	if json.Unmarshal(answer, &value) == nil {
		walk("", value)
	}
	return sorted(known)
}
