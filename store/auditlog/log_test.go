package auditlog

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/store"
	"github.com/hourkey/hourkey/store/storetest"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// The tree is the one that tlog builds from the same leaves, whatever the groups they came in, and each
// earlier state is proven by the stored hashes.
func TestTreeIsThatOfRFC6962(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		f := newFixture(t, filepath.Join(t.TempDir(), "db"), 1)
		defer func() { _ = f.engine.Close() }()
		var stored []tlog.Hash
		reader := tlog.HashReaderFunc(func(indexes []int64) (out []tlog.Hash, err error) {
			for _, i := range indexes {
				out = append(out, stored[i])
			}
			return out, nil
		})
		var kept [][]byte
		total := int64(0)
		for range rapid.IntRange(1, 6).Draw(r, "groups") {
			f.append(rapid.IntRange(1, 40).Draw(r, "events"))
			kept = append(kept, f.checkpoint())
			for _, leaf := range f.leaves()[total:] {
				stored = append(stored, must(tlog.StoredHashes(total, leaf, reader))...)
				total++
			}
			want := tlog.Tree{N: total, Hash: must(tlog.TreeHash(total, reader))}
			if got := f.tree(); got != want {
				r.Fatalf("got %v, want %v", got, want)
			}
		}
		export, public := f.export(), f.public()
		for _, checkpoint := range kept {
			if err := f.log.Extends(t.Context(), checkpoint, public); err != nil {
				r.Fatal(err)
			}
			holds(t, export, public, checkpoint)
		}
	})
}

func (f *fixture) leaves() (leaves [][]byte) {
	_ = f.engine.View(f.t.Context(), func(s store.Snapshot) error {
		return scanLeaves(s, 0, func(_ uint64, _ tlog.Hash, leaf []byte) error {
			leaves = append(leaves, append([]byte(nil), leaf...))
			return nil
		})
	})
	return leaves
}

func (f *fixture) tree() (tree tlog.Tree) {
	_ = f.engine.View(f.t.Context(), func(s store.Snapshot) error {
		h, _, err := readHead(s)
		tree = h.tree()
		return err
	})
	return tree
}

func TestEventIsACloudEvent(t *testing.T) {
	f := begin(t, 1)
	var got map[string]any
	if err := json.Unmarshal(f.leaves()[0], &got); err != nil {
		t.Fatal(err)
	}
	name, _, _ := strings.Cut(f.public(), "+")
	want := map[string]any{
		"specversion": "1.0", "id": "0", "source": "/" + name + "/0", "type": "hourkey.lease.issued", "time": "2026-11-21T08:00:00.123456789Z",
		"subject": "lease-0", "actor": "agent:claude-code", "datacontenttype": "application/json", "data": map[string]any{"scopes": []any{"a:<b>:read"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// An event whose data holds newlines or is no JSON cannot break the lines of an export.
func TestDataThatWouldBreakTheLines(t *testing.T) {
	f := begin(t, 1)
	append1 := func(data string) error {
		event := storetest.Event("x\n{\"number\":9}")
		event.Data = json.RawMessage(data)
		return f.store.Update(t.Context(), func(tx broker.Tx) error { return tx.Append(event) })
	}
	if err := append1("{\n\"a\":\n1 }\n"); err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{"{", "{}{}", "\"a\nb\""} {
		if err := append1(data); err == nil {
			t.Errorf("%q was taken", data)
		}
	}
	if report := holds(t, f.export(), f.public(), nil); report.Events != 2 {
		t.Errorf("%+v", report)
	}
}

func TestEmptyLogCannotBeSigned(t *testing.T) {
	f := begin(t, 0)
	if _, err := f.log.Checkpoint(t.Context(), f.key); broker.CodeOf(err) != broker.CodeNotFound {
		t.Errorf("got %v", err)
	}
	f.append(1)
	if _, err := f.log.Checkpoint(t.Context(), nil); err == nil {
		t.Error("signed without a key")
	}
}

func TestHeadOfANewerVersion(t *testing.T) {
	f := begin(t, 1)
	write := func(value []byte) {
		if err := f.engine.Update(t.Context(), func(c store.Change) error { return c.Put(headKey, value) }); err != nil {
			t.Fatal(err)
		}
	}
	appendOne := func() error {
		return f.store.Update(t.Context(), func(tx broker.Tx) error { return tx.Append(storetest.Event("a")) })
	}
	write([]byte{9, 1, 2, 3})
	if err := appendOne(); broker.CodeOf(err) != broker.CodeConflict {
		t.Errorf("got %v", err)
	}
	for _, value := range [][]byte{{}, {1}, {1, 0}, {1, 0, 1}, append([]byte{1, 0, 3}, make([]byte, 8+32)...)} {
		write(value)
		if err := appendOne(); broker.CodeOf(err) != broker.CodeInternal {
			t.Errorf("%v: got %v", value, err)
		}
	}
}

func TestAnchor(t *testing.T) {
	f := begin(t, 5)
	path := filepath.Join(t.TempDir(), "anchor.json")
	if _, err := ReadAnchor(path); broker.CodeOf(err) != broker.CodeNotFound {
		t.Errorf("got %v", err)
	}
	freezes := []broker.Freeze{{Of: broker.FreezeAll, By: "human:alice", Reason: "night", At: time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)}}
	old := f.restore(t)
	f.append(3)
	written := must(f.log.Anchor(t.Context(), freezes))
	for range 2 {
		if err := WriteAnchor(path, written); err != nil {
			t.Fatal(err)
		}
	}
	read := must(ReadAnchor(path))
	if diff := cmp.Diff(written, read); diff != "" {
		t.Error(diff)
	}
	if info := must(os.Stat(path)); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if entries := must(os.ReadDir(filepath.Dir(path))); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	f.append(1)
	if err := f.log.Reaches(t.Context(), read); err != nil {
		t.Error(err)
	}
	for name, other := range map[string]*fixture{"an older copy": old, "another log": begin(t, 20), "an empty store": begin(t, 0)} {
		if err := other.log.Reaches(t.Context(), read); broker.CodeOf(err) != broker.CodeConflict {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := begin(t, 0).log.Reaches(t.Context(), Anchor{}); err != nil {
		t.Errorf("a new installation: %v", err)
	}
}

func TestAnchorThatCannotBeReadOrWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "anchor.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadAnchor(path); broker.CodeOf(err) != broker.CodeInternal {
		t.Errorf("got %v", err)
	}
	if err := WriteAnchor(filepath.Join(path, "x"), Anchor{}); broker.CodeOf(err) != broker.CodeUnavailable {
		t.Errorf("got %v", err)
	}
}

// brokenWriter fails after some bytes.
type brokenWriter struct{ left int }

var errBroken = errors.New("broken pipe")

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

func TestExportToABrokenPipe(t *testing.T) {
	f := begin(t, 2000)
	size := len(f.export())
	for _, left := range []int{0, size / 2, size - 1} {
		if err := f.log.Export(t.Context(), &brokenWriter{left}, f.key); !errors.Is(err, errBroken) {
			t.Errorf("after %d of %d bytes: %v", left, size, err)
		}
	}
}

// FuzzVerify feeds the log reader what attackers make of an export. It must not fail, and may
// confirm only what is, event by event, the log that was signed.
func FuzzVerify(f *testing.F) {
	x := begin(f, 3)
	early := x.export()
	x.append(2)
	export, public, kept := x.export(), x.public(), x.checkpoint()
	l := lines(export)
	for _, seed := range []string{
		export, early, "", "\n", "{}\n", export[:len(export)-1], strings.ToUpper(export), export + export,
		strings.Join(l[1:], ""), l[1] + l[0] + strings.Join(l[2:], ""), strings.Join(l[5:], ""), strings.Join(l[:5], ""),
		forge(l[0], "claude", "evil") + strings.Join(l[1:], ""), strings.Replace(export, `"number":1`, `"number":1,"number":1`, 1),
		strings.Replace(export, `"number":1`, `"number":18446744073709551615`, 1), strings.Replace(export, `{"number"`, ` {"number"`, 1),
		strings.Replace(export, "\n", "\r\n", 1), strings.Replace(export, "epoch 0", "epoch 1", 1), strings.Replace(export, "lease.issued", "broker.restored", 1),
	} {
		f.Add(seed, []byte(nil))
		f.Add(seed, kept)
	}
	f.Fuzz(func(t *testing.T, changed string, checkpoint []byte) {
		report, err := Verify(strings.NewReader(changed), public, checkpoint)
		_ = report.String()
		if err == nil && changed != export && changed != early {
			t.Errorf("it verifies:\n%s", changed)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	f := begin(b, 1000)
	event := storetest.Event("lease")
	b.ReportAllocs()
	err := f.store.Update(b.Context(), func(tx broker.Tx) error {
		for b.Loop() {
			if err := tx.Append(event); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

func BenchmarkVerify(b *testing.B) {
	f := begin(b, 10_000)
	export, public := f.export(), f.public()
	b.SetBytes(int64(len(export)))
	for b.Loop() {
		holds(b, export, public, nil)
	}
}
