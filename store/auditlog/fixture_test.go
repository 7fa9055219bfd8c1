package auditlog

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/store"
	"github.com/hourkey/hourkey/store/bolt"
	"github.com/hourkey/hourkey/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a log with its store and key, and a clock that goes a second per look.
type fixture struct {
	t      testing.TB
	engine *bolt.Engine
	store  *store.Store
	log    *Log
	key    ed25519.PrivateKey
}

func newFixture(t testing.TB, path string, seed byte) *fixture {
	t.Helper()
	e, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	clock := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	log := New(e, Options{Now: func() time.Time { clock = clock.Add(time.Second); return clock }})
	s, err := store.Open(e, log, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{t, e, s, log, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))}
}

func begin(t testing.TB, events int) *fixture {
	t.Helper()
	f := newFixture(t, filepath.Join(t.TempDir(), "hourkey.db"), 1)
	f.append(events)
	return f
}

func (f *fixture) append(events int) {
	f.t.Helper()
	err := f.store.Update(context.Background(), func(tx broker.Tx) error {
		for i := range events {
			if err := tx.Append(storetest.Event(fmt.Sprintf("lease-%d", i))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) export() string {
	f.t.Helper()
	var out bytes.Buffer
	if err := f.log.Export(context.Background(), &out, f.key); err != nil {
		f.t.Fatal(err)
	}
	return out.String()
}

func (f *fixture) checkpoint() []byte {
	f.t.Helper()
	signed, err := f.log.Checkpoint(context.Background(), f.key)
	if err != nil {
		f.t.Fatal(err)
	}
	return signed
}

func (f *fixture) public() string {
	f.t.Helper()
	public, err := f.log.PublicKey(context.Background(), f.key)
	if err != nil {
		f.t.Fatal(err)
	}
	return public
}

// holds wants the export to verify.
func holds(t testing.TB, export, public string, kept []byte) Report {
	t.Helper()
	report, err := Verify(strings.NewReader(export), public, kept)
	if err != nil {
		t.Fatalf("%v\n%s", err, report)
	}
	return report
}

// found wants a problem at the line that says the words; line 0 is the whole file.
func found(t testing.TB, export, public string, kept []byte, line int64, words string) {
	t.Helper()
	report, err := Verify(strings.NewReader(export), public, kept)
	if broker.CodeOf(err) != broker.CodeConflict {
		t.Fatalf("got %v\n%s", err, report)
	}
	for _, p := range report.Problems {
		if p.Line == line && strings.Contains(p.Text, words) {
			return
		}
	}
	t.Errorf("no problem at line %d with %q:\n%s", line, words, report)
}

func lines(export string) []string { return strings.SplitAfter(strings.TrimSuffix(export, "\n"), "\n") }

// forge writes an event line anew with a matching hash, as who has understood the format does.
func forge(line, old, replacement string) string {
	l := decodeLine(line)
	l.Event = bytes.Replace(l.Event, []byte(old), []byte(replacement), 1)
	return string(rehash(l).bytes())
}
