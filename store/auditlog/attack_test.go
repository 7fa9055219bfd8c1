package auditlog

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/store"
	"github.com/hourkey/hourkey/store/storetest"
)

func decodeLine(line string) eventLine {
	var l eventLine
	if err := json.Unmarshal([]byte(line), &l); err != nil {
		panic(err)
	}
	return l
}

func rehash(l eventLine) eventLine {
	l.Hash = tlog.RecordHash(l.Event)
	return l
}

func TestExportVerifies(t *testing.T) {
	for _, events := range []int{1, 2, 3, 7, 8, 255, 256, 257, 1023, 1024, 1025, 3000} {
		f := begin(t, events)
		report := holds(t, f.export(), f.public(), nil)
		if report.Events != int64(events) || report.Signed.IsZero() || !strings.Contains(report.String(), fmt.Sprintf("complete up to event %d at 2026-11-21T08:00:0", events-1)) ||
			!strings.Contains(report.String(), "later unknown") {
			t.Errorf("%d events: %s", events, report)
		}
	}
}

// Every single byte of an export matters.
func TestByteChangedInExport(t *testing.T) {
	f := begin(t, 5)
	export, public := f.export(), f.public()
	line := int64(1)
	for at := range export {
		changed := []byte(export)
		changed[at] ^= 1
		report, err := Verify(bytes.NewReader(changed), public, nil)
		if err == nil {
			t.Fatalf("byte %d (%q) of line %d changed, and it verifies", at, export[at], line)
		}
		named := false
		for _, p := range report.Problems {
			named = named || p.Line == line || p.Line == 0
		}
		if !named {
			t.Errorf("byte %d (%q) of line %d changed, found elsewhere:\n%s", at, export[at], line, report)
		}
		if export[at] == '\n' {
			line++
		}
	}
}

func TestByteAddedOrRemovedInExport(t *testing.T) {
	f := begin(t, 2)
	export, public := f.export(), f.public()
	for at := 0; at <= len(export); at++ {
		for _, add := range []string{" ", "\n", "\r", "\x00", "0", "}"} {
			if _, err := Verify(strings.NewReader(export[:at]+add+export[at:]), public, nil); err == nil {
				t.Fatalf("%q added at %d, and it verifies", add, at)
			}
		}
		if at < len(export) {
			if _, err := Verify(strings.NewReader(export[:at]+export[at+1:]), public, nil); err == nil {
				t.Fatalf("byte %d removed, and it verifies", at)
			}
		}
	}
}

func TestLineRemoved(t *testing.T) {
	f := begin(t, 10)
	l := lines(f.export())
	for at := range 10 {
		words := "removed"
		if at == 9 { // nothing follows that could be out of order: the signature tells
			words = "the end was cut"
		}
		found(t, strings.Join(append(append([]string(nil), l[:at]...), l[at+1:]...), ""), f.public(), nil, int64(at+1), words)
	}
}

func TestTwoLinesSwapped(t *testing.T) {
	f := begin(t, 10)
	l := lines(f.export())
	l[3], l[7] = l[7], l[3]
	found(t, strings.Join(l, ""), f.public(), nil, 4, "expected event 3, found 7")
	found(t, strings.Join(l, ""), f.public(), nil, 8, "expected event 7, found 3")
}

func TestLineRepeated(t *testing.T) {
	f := begin(t, 4)
	l := lines(f.export())
	found(t, l[0]+l[1]+l[1]+strings.Join(l[2:], ""), f.public(), nil, 3, "moved or repeated")
}

// Who adjusts the hash of the line too is found by the signed tree, and the stretch is named.
func TestForgedHash(t *testing.T) {
	f := begin(t, 3000)
	l := lines(f.export())
	l[1500] = forge(l[1500], "claude-code", "evil-code")
	export, public := strings.Join(l, ""), f.public()
	report, err := Verify(strings.NewReader(export), public, nil)
	if err == nil || report.Problems[0].Line != 1025 || report.Problems[0].To != 2048 {
		t.Errorf("got %v\n%s", err, report)
	}
}

func TestSwappedAndRenumbered(t *testing.T) {
	f := begin(t, 10)
	l := lines(f.export())
	a, b := decodeLine(l[3]), decodeLine(l[7])
	a.Number, b.Number = b.Number, a.Number
	l[3], l[7] = string(b.bytes()), string(a.bytes())
	found(t, strings.Join(l, ""), f.public(), nil, 1, "not the one that was signed")
}

func TestTailCutWithKeptCheckpoint(t *testing.T) {
	f := begin(t, 5)
	early, public := f.export(), f.public()
	f.append(5)
	kept := f.checkpoint()
	holds(t, f.export(), public, kept)
	found(t, early, public, kept, 0, "the end was cut")
}

// Without a kept checkpoint an earlier export is a true one; the report says how far it goes.
func TestTailCutWithoutKeptCheckpointIsSaidHonestly(t *testing.T) {
	f := begin(t, 5)
	early := f.export()
	f.append(5)
	report := holds(t, early, f.public(), nil)
	for _, words := range []string{"complete up to event 4 at", "later unknown", "No kept checkpoint was given"} {
		if !strings.Contains(report.String(), words) {
			t.Errorf("%q does not say %q", report, words)
		}
	}
}

func TestTailCutInTheFile(t *testing.T) {
	f := begin(t, 3000)
	l, public := lines(f.export()), f.public()
	found(t, strings.Join(l[:2000], ""), public, nil, 0, "cut after 2000 events")
	// A checkpoint on the way cannot pass as the end.
	way, key := l[3000], l[len(l)-1]
	if !strings.Contains(way, "\\nof 3000\\n") {
		t.Fatal(way)
	}
	found(t, strings.Join(l[:1024], "")+way+key, public, nil, 1025, "signed when the log had 3000 events, but the file has 1024")
	found(t, strings.Join(l[:len(l)-2], "")+key, public, nil, 0, "the checkpoint over the whole log is missing")
	if _, err := Verify(strings.NewReader(""), public, nil); err == nil {
		t.Error("an empty file verifies")
	}
}

func TestLinesAddedToExport(t *testing.T) {
	f := begin(t, 3)
	export, public := f.export(), f.public()
	l := lines(export)
	found(t, export+l[0], public, nil, 6, "not what follows here")
	found(t, strings.Join(l[:4], "")+l[0]+l[4], public, nil, 5, "not what follows here")
	found(t, strings.Join(l[:4], "")+l[3]+l[4], public, nil, 5, "a checkpoint after the last one")
	more := decodeLine(l[2])
	more.Number++
	found(t, strings.Join(l[:3], "")+string(more.bytes())+l[3]+l[4], public, nil, 5, "events were added")
}

func TestSignedByAnotherKey(t *testing.T) {
	f := begin(t, 3)
	public := f.public()
	f.key = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed25519.SeedSize))
	other := f.export()
	found(t, other, public, nil, 4, "not signed by this key")
	found(t, other, public, nil, 5, "another public key")
}

// A signature can be written in more ways than one: only one is taken.
func TestSignatureWrittenOtherwise(t *testing.T) {
	f := begin(t, 3)
	kept, public := f.checkpoint(), f.public()
	last := bytes.LastIndexByte(kept, '=') - 1 // its lowest two bits are unused
	alphabet := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	at := strings.IndexByte(alphabet, kept[last])
	for bits := 1; bits < 4; bits++ {
		changed := bytes.Clone(kept)
		changed[last] = alphabet[at|bits]
		if _, err := OpenCheckpoint(changed, public); broker.CodeOf(err) != broker.CodeInvalid {
			t.Errorf("%d: got %v", bits, err)
		}
	}
	other := string(begin(t, 1).checkpoint())
	foreign := other[strings.LastIndex(other, "\n\n")+2:]
	if _, err := OpenCheckpoint([]byte(string(kept)+foreign), public); broker.CodeOf(err) != broker.CodeInvalid {
		t.Errorf("a second signature: got %v", err)
	}
}

func TestCheckpointOfAnotherLog(t *testing.T) {
	f, other := begin(t, 3), begin(t, 3)
	if _, err := Verify(strings.NewReader(f.export()), f.public(), other.checkpoint()); broker.CodeOf(err) != broker.CodeInvalid {
		t.Errorf("got %v", err)
	}
}

func TestKeptCheckpointFromTheMiddleOfAnExport(t *testing.T) {
	f := begin(t, 1500)
	var way checkpointLine
	if err := json.Unmarshal([]byte(lines(f.export())[1500]), &way); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(strings.NewReader(f.export()), f.public(), []byte(way.Checkpoint)); broker.CodeOf(err) != broker.CodeInvalid {
		t.Errorf("got %v", err)
	}
}

func TestKeptCheckpointOrKeyThatCannotBeRead(t *testing.T) {
	f := begin(t, 3)
	export, kept := f.export(), f.checkpoint()
	for _, public := range []string{"", "no key", "hourkey/x+00000000+AAAA"} {
		if _, err := Verify(strings.NewReader(export), public, nil); broker.CodeOf(err) != broker.CodeInvalid {
			t.Errorf("key %q: %v", public, err)
		}
	}
	if _, err := Verify(strings.NewReader(export), f.public(), []byte{}); broker.CodeOf(err) != broker.CodeInvalid {
		t.Errorf("an empty kept checkpoint: %v", err)
	}
	for at := range kept {
		changed := bytes.Clone(kept)
		changed[at] ^= 1
		if _, err := Verify(strings.NewReader(export), f.public(), changed); broker.CodeOf(err) != broker.CodeInvalid {
			t.Errorf("byte %d of the kept checkpoint changed: %v", at, err)
		}
	}
}

// rewrite changes an event in the store itself, with every hash and the head: all that can be done
// without the key.
func (f *fixture) rewrite(subject string) {
	f.t.Helper()
	err := f.engine.Update(f.t.Context(), func(c store.Change) error {
		h, _, err := readHead(c)
		if err != nil {
			return err
		}
		fresh := head{name: h.name, epoch: h.epoch}
		var leaves [][]byte
		err = scanLeaves(c, 0, func(_ uint64, _ tlog.Hash, leaf []byte) error {
			leaves = append(leaves, bytes.Replace(leaf, []byte(subject), []byte("innocent"), 1))
			return nil
		})
		for _, leaf := range leaves {
			err = errors.Join(err, c.Put(eventKey(fresh.size), fresh.add(bytes.NewBuffer(leaf))))
		}
		return errors.Join(err, c.Put(headKey, fresh.encode()))
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

func TestStoreChangedFromOutsideIsNotSigned(t *testing.T) {
	f := begin(t, 20)
	kept, public := f.checkpoint(), f.public()
	f.append(5)
	if err := f.log.Extends(t.Context(), kept, public); err != nil {
		t.Fatal(err)
	}
	f.rewrite("lease-3")
	if err := f.log.Extends(t.Context(), kept, public); broker.CodeOf(err) != broker.CodeConflict {
		t.Errorf("Extends: %v", err)
	}
	if _, err := f.log.Checkpoint(t.Context(), f.key); broker.CodeOf(err) != broker.CodeConflict {
		t.Errorf("Checkpoint: %v", err)
	}
	var out bytes.Buffer
	if err := f.log.Export(t.Context(), &out, f.key); broker.CodeOf(err) != broker.CodeConflict {
		t.Errorf("Export: %v", err)
	}
	found(t, out.String(), public, nil, 0, "ends before its signature")
	found(t, out.String(), public, kept, 1, "not the one that the kept checkpoint covers")
}

// Who also removes the checkpoint from the store gets it signed; whoever kept one finds it, and so does the anchor.
func TestStoreChangedAndItsCheckpointRemoved(t *testing.T) {
	f := begin(t, 20)
	kept, public := f.checkpoint(), f.public()
	anchor, err := f.log.Anchor(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	f.rewrite("lease-3")
	if err := f.engine.Update(t.Context(), func(c store.Change) error { return c.Delete(checkpointKey) }); err != nil {
		t.Fatal(err)
	}
	found(t, f.export(), public, kept, 1, "not the one that the kept checkpoint covers")
	if err := f.log.Reaches(t.Context(), anchor); broker.CodeOf(err) != broker.CodeConflict {
		t.Errorf("Reaches: %v", err)
	}
}

// An event that somebody clumsily changed or removed in the store is named by its line.
func TestEventChangedInTheStore(t *testing.T) {
	f := begin(t, 9)
	change := func(edit func(c store.Change, value []byte) error) {
		t.Helper()
		err := f.engine.Update(t.Context(), func(c store.Change) error {
			value, err := c.Get(eventKey(4))
			return errors.Join(err, edit(c, bytes.Clone(value)))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	change(func(c store.Change, value []byte) error {
		return c.Put(eventKey(4), bytes.Replace(value, []byte("lease-4"), []byte("lease-5"), 1))
	})
	found(t, f.export(), f.public(), nil, 5, "event 4 was changed")
	change(func(c store.Change, _ []byte) error { return c.Delete(eventKey(4)) })
	if err := f.log.Export(t.Context(), &bytes.Buffer{}, f.key); err == nil {
		t.Error("a log with a gap was exported")
	}
	err := f.store.View(t.Context(), func(r broker.Reader) error {
		return r.Events(0, func(uint64, broker.Event) error { return nil })
	})
	if err == nil {
		t.Error("a log with a gap was read")
	}
}

// restore plays `hourkeyd restore`: a copy of the store goes on in a new epoch.
func (f *fixture) restore(t *testing.T) *fixture {
	t.Helper()
	var copied bytes.Buffer
	if err := f.engine.Backup(t.Context(), &copied); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "restored.db")
	if err := os.WriteFile(path, copied.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return newFixture(t, path, 1)
}

func (f *fixture) newEpoch(t *testing.T) {
	t.Helper()
	if err := f.appendRestored(f.checkpoint()); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) appendRestored(checkpoint []byte) error {
	data, err := json.Marshal(Restored{Checkpoint: string(checkpoint)})
	if err != nil {
		return err
	}
	event := storetest.Event("installation")
	event.Type, event.Data = broker.EventRestored, data
	return f.store.Update(f.t.Context(), func(tx broker.Tx) error { return tx.Append(event) })
}

func TestRestoredStoreBeginsANewEpoch(t *testing.T) {
	f := begin(t, 5)
	before := f.checkpoint()
	restored := f.restore(t)
	f.append(5)
	lost, anchor := f.checkpoint(), must(f.log.Anchor(t.Context(), nil))
	restored.newEpoch(t)
	restored.append(9)
	export, public := restored.export(), restored.public()
	report := holds(t, export, public, before)
	if len(report.Epochs) != 1 || report.Epochs[0] != 5 || !strings.Contains(report.String(), "A backup was restored at event 5") {
		t.Errorf("%+v", report)
	}
	if !strings.Contains(export, "/1\",\"type\":\"hourkey.broker.restored\"") {
		t.Error("the events of the new epoch do not bear it")
	}
	found(t, export, public, lost, 6, "events 5 to 9")
	if err := restored.log.Reaches(t.Context(), anchor); broker.CodeOf(err) != broker.CodeConflict {
		t.Errorf("the anchor of the lost events: %v", err)
	}
	// The old store, brought back, is an older copy to whoever kept a checkpoint of the new epoch.
	if _, err := Verify(strings.NewReader(f.export()), public, restored.checkpoint()); err == nil {
		t.Error("the former epoch verifies against the new one")
	}
}

func TestSecondRestore(t *testing.T) {
	f := begin(t, 5)
	first := f.restore(t)
	first.newEpoch(t)
	first.append(3)
	second := first.restore(t)
	second.newEpoch(t)
	second.append(3)
	if report := holds(t, second.export(), second.public(), first.checkpoint()); len(report.Epochs) != 2 {
		t.Errorf("%+v", report)
	}
}

func TestRestoredEventThatNamesAnotherState(t *testing.T) {
	f := begin(t, 5)
	old := f.checkpoint()
	f.append(1)
	for _, checkpoint := range [][]byte{old, begin(t, 6).checkpoint(), nil, []byte("no checkpoint\n\n"), []byte("\n\n")} {
		if err := f.appendRestored(checkpoint); err == nil {
			t.Errorf("%q was taken", checkpoint)
		}
	}
	// One that names the right state without a signature is taken by the log, which has no key, and found.
	unsigned, _, _ := strings.Cut(string(f.checkpoint()), "\n\n")
	if err := f.appendRestored([]byte(unsigned + "\n\n")); err != nil {
		t.Fatal(err)
	}
	found(t, f.export(), f.public(), nil, 7, "does not name the log before it")
}
