package auditlog

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/hourkey/hourkey/broker"
)

// Report is what Verify found out.
type Report struct {
	Log      string    // its name, hourkey/NAME
	Events   int64     // in the file
	Last     time.Time // of the last event
	Signed   time.Time // when the checkpoint over all of them was signed; zero if there is none
	Epochs   []int64   // number of the first event of each epoch but the first: where a backup was restored
	Kept     int64     // size of the kept checkpoint, 0 without one
	Problems []Problem // empty: nothing was changed; at most 100
}

// Problem is one thing that is wrong, at a line or in a range of lines (counted from 1); 0 means the
// whole file.
type Problem struct {
	Line, To int64
	Text     string
}

// String names the line.
func (p Problem) String() string {
	switch {
	case p.Line == 0:
		return p.Text
	case p.To > p.Line:
		return fmt.Sprintf("lines %d to %d: %s", p.Line, p.To, p.Text)
	}
	return fmt.Sprintf("line %d: %s", p.Line, p.Text)
}

// String says in a few sentences what is proven, and what is not.
func (r Report) String() string {
	var out strings.Builder
	for _, p := range r.Problems {
		fmt.Fprintln(&out, p)
	}
	if len(r.Problems) > 0 {
		fmt.Fprintf(&out, "%s does NOT verify.", r.Log)
		return out.String()
	}
	fmt.Fprintf(&out, "%s verifies: complete up to event %d at %s, later unknown.", r.Log, r.Events-1, r.Signed.UTC().Format(time.RFC3339))
	for _, at := range r.Epochs {
		fmt.Fprintf(&out, " A backup was restored at event %d.", at)
	}
	if r.Kept > 0 {
		fmt.Fprintf(&out, " It continues the kept checkpoint of %d events.", r.Kept)
	} else {
		fmt.Fprint(&out, " No kept checkpoint was given: a log that was cut and exported again before that time cannot be told from a whole one.")
	}
	return out.String()
}

const (
	mostProblems = 100
	longestLine  = 16 << 20
)

// Verify checks an exported log from nothing but the file, the public key that the reader trusts, and,
// if there is one, a checkpoint that the reader kept. It computes everything anew. The error is nil only if
// nothing was changed; CodeConflict says that something was, and Report.Problems what and where.
//
// Without a kept checkpoint (nil) it proves the file up to the time of its own last checkpoint; who cut the end
// off and has an earlier export can pass that off as the present. A kept checkpoint uncovers it.
func Verify(export io.Reader, publicKey string, kept []byte) (Report, error) {
	v := &verification{publicKey: strings.TrimSpace(publicKey), roots: map[int64]tlog.Hash{}}
	if err := v.keep(kept); err != nil {
		return Report{}, err
	}
	lines := bufio.NewScanner(export)
	lines.Buffer(make([]byte, 0, 64<<10), longestLine)
	lines.Split(wholeLines)
	for lines.Scan() {
		v.number++
		v.line(lines.Bytes())
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		v.number++
		v.problem("longer than %d bytes: no event is", longestLine)
	case err != nil:
		return Report{}, fmt.Errorf("reading the export: %w", err)
	}
	v.conclude()
	if len(v.report.Problems) > 0 {
		return v.report, broker.Errorf(broker.CodeConflict, "the exported log does not verify: %s", v.report.Problems[0])
	}
	return v.report, nil
}

// wholeLines is a bufio.SplitFunc that drops nothing: a missing or added byte at the end of a line is a change.
func wholeLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if at := bytes.IndexByte(data, '\n'); at >= 0 {
		return at + 1, data[:at+1], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// part is which part of the file a line belongs to.
type part int

const (
	partEvents part = iota
	partCheckpoints
	partEnd
)

// verification is one run of Verify.
type verification struct {
	publicKey string
	kept      *Checkpoint
	report    Report
	number    int64 // of the line
	part      part
	expect    uint64 // number of the next event
	tree      head   // over the events so far, computed from their bytes
	roots     map[int64]tlog.Hash
	proven    int64 // events under a checkpoint that fits
	last      *Checkpoint
}

func (v *verification) problem(format string, args ...any) { v.problemAt(v.number, 0, format, args...) }

func (v *verification) problemAt(line, to int64, format string, args ...any) {
	if len(v.report.Problems) < mostProblems {
		v.report.Problems = append(v.report.Problems, Problem{line, to, fmt.Sprintf(format, args...)})
	}
}

// keep reads the kept checkpoint. An empty one is not none: somebody thinks that there is one.
func (v *verification) keep(kept []byte) error {
	if kept == nil {
		_, err := readPublicKey(v.publicKey)
		return err
	}
	c, err := OpenCheckpoint(kept, v.publicKey)
	if err != nil {
		return err
	}
	if c.Of != 0 {
		return broker.Errorf(broker.CodeInvalid, "the kept checkpoint is one from the middle of an export").
			WithNext("keep the last checkpoint of an export, or one that the broker printed")
	}
	v.kept, v.report.Kept = &c, c.Tree.N
	return nil
}

func (v *verification) line(line []byte) {
	switch {
	case bytes.HasPrefix(line, []byte(`{"number":`)) && v.part == partEvents:
		v.event(line)
	case bytes.HasPrefix(line, []byte(`{"checkpoint":`)) && v.part <= partCheckpoints:
		v.part = partCheckpoints
		v.checkpoint(line)
	case bytes.HasPrefix(line, []byte(`{"public_key":`)) && v.part == partCheckpoints:
		v.part = partEnd
		v.key(line)
	default:
		v.problem("this is not what follows here in an export: expected events, then checkpoints, then the public key")
	}
}

func (v *verification) event(line []byte) {
	var l eventLine
	var e cloudEvent
	if err := json.Unmarshal(line, &l); err != nil {
		v.problem("the line is no JSON: it was changed")
		v.expect++
		return
	}
	if err := json.Unmarshal(l.Event, &e); err != nil {
		v.problem("the event cannot be read: it was changed")
	}
	if !bytes.Equal(line, l.bytes()) {
		v.problem("the line is not written as an export writes it: it was changed")
	}
	v.sequence(l.Number)
	hash := tlog.RecordHash(l.Event)
	if hash != l.Hash {
		v.problem("event %d was changed: it does not have the hash of its line", l.Number)
	}
	if e.Type == broker.EventRestored {
		v.restored(e)
	}
	v.tree.push(hash)
	v.report.Events, v.report.Last = int64(v.tree.size), e.Time //nolint:gosec // counts lines
	if n := v.report.Events; n%stretch == 0 || v.kept != nil && n == v.kept.Tree.N {
		v.roots[n] = v.tree.tree().Hash
	}
}

// sequence checks the numbers, and goes on from the one it finds.
func (v *verification) sequence(number uint64) {
	switch {
	case number > v.expect:
		v.problem("expected event %d, found %d: %d removed or moved before this line", v.expect, number, number-v.expect)
	case number < v.expect:
		v.problem("expected event %d, found %d: moved or repeated", v.expect, number)
	}
	v.expect = number + 1
}

// restored notes a new epoch, which must name, signed, exactly what lies before it.
func (v *verification) restored(e cloudEvent) {
	before := v.report.Events
	var data Restored
	if err := json.Unmarshal(e.Data, &data); err != nil {
		v.problem("the restored event cannot be read")
	}
	c, err := OpenCheckpoint([]byte(data.Checkpoint), v.publicKey)
	if err != nil || c.Tree != v.tree.tree() || c.Epoch != uint64(len(v.report.Epochs)) {
		v.problem("the restored event does not name the log before it")
	}
	v.report.Epochs = append(v.report.Epochs, before)
}

func (v *verification) checkpoint(line []byte) {
	var l checkpointLine
	if err := json.Unmarshal(line, &l); err != nil || !bytes.Equal(line, jsonLine(l)) {
		v.problem("the checkpoint's line was changed")
		return
	}
	c, err := OpenCheckpoint([]byte(l.Checkpoint), v.publicKey)
	if err != nil {
		v.problem("%s", err)
		return
	}
	if v.last != nil && v.last.Of == 0 {
		v.problem("a checkpoint after the last one")
	}
	v.last = &c
	v.fits(c)
}

// fits compares a checkpoint of the file with the events. Once a line is known to be wrong, the roots
// tell nothing more.
func (v *verification) fits(c Checkpoint) {
	root, known := v.roots[c.Tree.N]
	if c.Tree.N == v.report.Events {
		root, known = v.tree.tree().Hash, true
	}
	switch {
	case len(v.report.Problems) > 0:
	case c.Of == 0 && c.Tree.N != v.report.Events, c.Of != 0 && c.Of != v.report.Events:
		v.problem("signed when the log had %d events, but the file has %d: the end was cut, or events were added", max(c.Tree.N, c.Of), v.report.Events)
	case !known:
		v.problem("a checkpoint at %d events is none of an export", c.Tree.N)
	case root != c.Tree.Hash:
		v.problemAt(v.proven+1, c.Tree.N, "an event among these is not the one that was signed")
	default:
		v.proven = max(v.proven, c.Tree.N)
	}
}

func (v *verification) key(line []byte) {
	var l publicKeyLine
	if err := json.Unmarshal(line, &l); err != nil || !bytes.Equal(line, jsonLine(l)) {
		v.problem("the public key's line was changed")
		return
	}
	if l.PublicKey != v.publicKey {
		v.problem("the file names another public key than the one it is verified with")
	}
}

// conclude says what the file as a whole lacks.
func (v *verification) conclude() {
	v.report.Log, _, _ = strings.Cut(v.publicKey, "+")
	switch {
	case v.part != partEnd || v.last == nil:
		v.problemAt(0, 0, "the file ends before its signature: it was cut after %d events", v.report.Events)
	case v.last.Of != 0:
		v.problemAt(0, 0, "the checkpoint over the whole log is missing")
	case v.last.Epoch != uint64(len(v.report.Epochs)):
		v.problemAt(0, 0, "the checkpoint was signed in epoch %d, but the file is in epoch %d", v.last.Epoch, len(v.report.Epochs))
	default:
		v.report.Signed = v.last.Time
	}
	if v.kept != nil {
		v.continues(*v.kept)
	}
}

// continues compares the events with the kept checkpoint.
func (v *verification) continues(kept Checkpoint) {
	epochs := v.report.Epochs
	switch {
	case kept.Epoch < uint64(len(epochs)) && kept.Tree.N > epochs[kept.Epoch]:
		v.problemAt(epochs[kept.Epoch]+1, 0, "a backup was restored here: events %d to %d, which the kept checkpoint of %s covers, are not in this log",
			epochs[kept.Epoch], kept.Tree.N-1, kept.Time.Format(time.RFC3339))
	case kept.Tree.N > v.report.Events:
		v.problemAt(0, 0, "the end was cut: the kept checkpoint of %s covers %d events, the file has %d", kept.Time.Format(time.RFC3339), kept.Tree.N, v.report.Events)
	case kept.Tree.N > 0 && v.roots[kept.Tree.N] != kept.Tree.Hash:
		v.problemAt(1, kept.Tree.N, "an event among these is not the one that the kept checkpoint covers")
	case kept.Epoch > uint64(len(epochs)):
		v.problemAt(0, 0, "the kept checkpoint is of epoch %d, the file of epoch %d: it is an older copy", kept.Epoch, len(epochs))
	}
}
