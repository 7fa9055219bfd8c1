package differential

import (
	"bytes"
	"context"
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
	effects  []faithful.Effect // of what was sent instead of the call, and of its commit if it staged something
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
	asks := bytes.HasPrefix(o.verdict.Send.Body, []byte(`{"query":"query`))
	o.effects, o.status[0], o.raw, o.after = w.effectsOf(call.token, o.verdict.Send.Body, asks)
	o.original, o.status[1], _, _ = w.effectsOf(call.token, call.body, asks)
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

// effectsOf makes a call on a clone and tells what that did, besides what the answer told. The clone of a query
// is kept for another call if it was not changed; a mutation may leave what a picture does not show.
//
// What a call stages does nothing yet: somebody else commits it, and takes it for what it should be. So it is
// committed here, and what that does is the call's.
func (w *world) effectsOf(token string, body []byte, asks bool) (effects []faithful.Effect, status int, answer []byte, after faithful.Snapshot) {
	on := w.clone()
	w.random.Seed([32]byte{2})
	status, answer = w.serve(on, token, body)
	after = on.Snapshot()
	then, now := differing(w.before, after)
	if len(then.Records)+len(now.Records) == 0 {
		if asks {
			w.spare = append(w.spare, on)
		}
		return nil, status, answer, after
	}
	effects = faithful.Compare(then, now)
	if staged := stagedIn(now); len(staged) > 0 {
		for _, environment := range staged {
			w.serve(on, "account", commitOf(environment))
		}
		then, now = differing(w.before, on.Snapshot())
		effects = faithful.Compare(then, now)
	}
	return effects, status, answer, after
}

// stagedIn lists the environments in which something is staged that was not.
func stagedIn(now faithful.Snapshot) []string {
	var all []string
	for _, r := range now.Records {
		if r.Kind == "EnvironmentPatch" && r.Fields["status"] == `"STAGED"` {
			all = append(all, r.Environments...)
		}
	}
	slices.Sort(all)
	return all
}

func commitOf(environment string) []byte {
	return body(`mutation($e: String!) { environmentPatchCommitStaged(environmentId: $e) }`, map[string]any{"e": environment})
}

// differing keeps of two pictures the records that are not the same in both, and nothing of what answers told.
func differing(before, after faithful.Snapshot) (then, now faithful.Snapshot) {
	then.Records, now.Records = map[string]faithful.Record{}, map[string]faithful.Record{}
	for id, r := range after.Records {
		old, there := before.Records[id]
		if there && maps.Equal(old.Fields, r.Fields) {
			continue
		}
		now.Records[id] = r
		if there {
			then.Records[id] = old
		}
	}
	for id, old := range before.Records {
		if _, there := after.Records[id]; !there {
			then.Records[id] = old
		}
	}
	return then, now
}

// names are the operations of a verdict.
func (o *outcome) names() string {
	var names []string
	for _, operation := range o.verdict.Operations {
		names = append(names, operation.Name)
	}
	return strings.Join(names, ", ")
}
