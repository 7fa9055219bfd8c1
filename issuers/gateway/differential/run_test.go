package differential

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"

	faithful "github.com/hourkey/hourkey/issuers/gateway/faithful/railway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
	"github.com/hourkey/hourkey/issuers/gateway/lists"
	"github.com/hourkey/hourkey/issuers/gateway/packs/railway"
)

// shared is what all worlds have in common. It is not changed.
type shared struct {
	schema *ast.Schema
	pack   *railway.Pack
	probes []*judge.GraphQL // the n-th knows of every row its n-th condition alone, and refuses what meets it
	reach  *reach
}

func newShared(t testing.TB) *shared {
	t.Helper()
	schema, err := lists.Railway()
	if err != nil {
		t.Fatal(err)
	}
	pack, err := railway.New()
	if err != nil {
		t.Fatal(err)
	}
	s := &shared{schema: schema, pack: pack, reach: newReach(schema, pack.Rows())}
	s.probes = newProbes(t, schema, pack.Rows())
	return s
}

// testCall is one request, and what the world was told before it came.
type testCall struct {
	token   string // the kind of the target's token
	earlier []byte // a document that somebody else ran before, if any
	body    []byte
	fresh   bool // nothing remembered is used for looking up
}

// judging is a way to judge: the pack's, or that of a changed pack.
type judging func(judge.Call) judge.Verdict

func (s *shared) judging() judging {
	return func(c judge.Call) judge.Verdict { return s.pack.Judge(c, false) }
}

// outcome is all that is known of a call.
type outcome struct {
	call     testCall
	world    *world
	verdict  judge.Verdict
	places   []map[string]bool // of each operation: identities of where the things are that it names
	denied   error             // looking up refused it
	effects  []faithful.Effect // of what was sent instead of the call
	original []faithful.Effect // of the call as it was written
	status   [2]int            // of what was sent, of the original
	raw      []byte            // the answer to what was sent
	seen     []byte            // what the caller sees of it
	after    faithful.Snapshot
}

// passed tells whether the call was let through.
func (o *outcome) passed() bool { return o.verdict.Class != judge.Refused && o.denied == nil }

// run judges a call, looks up what it names, and makes it on two servers: as it is sent on, and as it came.
func (w *world) run(t testing.TB, call testCall, how judging) *outcome {
	t.Helper()
	if len(call.earlier) > 0 {
		next := w.after(t, call.earlier)
		call.earlier = nil
		return next.run(t, call, how)
	}
	o := &outcome{call: call, world: w}
	o.verdict = how(judge.Call{Method: http.MethodPost, Path: endpoint, ContentType: "application/json", Body: call.body})
	if o.verdict.Class == judge.Refused {
		return o
	}
	o.find(t.Context())
	if o.denied != nil {
		return o
	}
	o.effects, o.status[0], o.raw, o.after = w.effectsOf(call.token, o.verdict.Send.Body)
	o.original, o.status[1], _, _ = w.effectsOf(call.token, call.body)
	sight := w.lookUp[call.token].Sight()
	sight.Secrets = o.verdict.Class == judge.Admin
	seen, err := o.verdict.Answer.Rewrite(bytes.TrimSpace(o.raw), sight)
	if err != nil {
		t.Errorf("the answer cannot be rewritten: %v\n%s\n%s", err, call.body, o.raw)
	}
	o.seen = seen
	return o
}

// find looks up where the things are that each operation names, as the proxy does.
func (o *outcome) find(ctx context.Context) {
	var named []judge.Named
	for _, operation := range o.verdict.Operations {
		named = append(named, operation.Touches...)
	}
	found, err := o.world.lookUp[o.call.token].Resolve(ctx, named, o.call.fresh)
	if err != nil {
		o.denied = err
		return
	}
	for _, operation := range o.verdict.Operations {
		places := map[string]bool{}
		for _, f := range found[:len(operation.Touches)] {
			for _, place := range f.Places {
				places[place.Identity] = true
			}
		}
		found = found[len(operation.Touches):]
		o.places = append(o.places, places)
	}
}

// effectsOf makes a call on a clone and tells what that did, besides what the answer told. The clone is kept
// for another call if it was not changed.
func (w *world) effectsOf(token string, body []byte) (effects []faithful.Effect, status int, answer []byte, after faithful.Snapshot) {
	on := w.clone()
	w.random.Seed([32]byte{2})
	status, answer = w.serve(on, token, body)
	after = on.Snapshot()
	effects = slices.DeleteFunc(faithful.Compare(w.before, after), func(e faithful.Effect) bool { return e.Kind == "revealed" })
	if len(effects) == 0 && maps.EqualFunc(w.before.Records, after.Records, sameRecord) {
		w.spare = append(w.spare, on)
	}
	return effects, status, answer, after
}

func sameRecord(a, b faithful.Record) bool { return a.ID == b.ID && maps.Equal(a.Fields, b.Fields) }

// names are the operations of a verdict.
func (o *outcome) names() string {
	var names []string
	for _, operation := range o.verdict.Operations {
		names = append(names, operation.Name)
	}
	return strings.Join(names, ", ")
}

// read takes the body of the request apart again.
func (o *outcome) read() (document string, variables string) {
	var request struct {
		Query     string
		Variables json.RawMessage
	}
	if err := json.Unmarshal(o.call.body, &request); err != nil {
		return string(o.call.body), ""
	}
	return request.Query, string(request.Variables)
}
