package keys

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/store"
	"github.com/hourkey/hourkey/store/auditlog"
	"github.com/hourkey/hourkey/store/bolt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func now() time.Time { return time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC) }

func openStore(t testing.TB, path string) (*store.Store, *bolt.Engine) {
	t.Helper()
	e, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	s, err := store.Open(e, auditlog.New(e, auditlog.Options{Now: now}), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s, e
}

func newStore(t testing.TB) *store.Store {
	s, _ := openStore(t, filepath.Join(t.TempDir(), "data", "hourkey.db"))
	return s
}

func newKEK(t testing.TB) KEK {
	t.Helper()
	kek, err := NewFileKEK(filepath.Join(t.TempDir(), "secrets", "kek"))
	if err != nil {
		t.Fatal(err)
	}
	return kek
}

func ring(t testing.TB, s broker.Store, kek KEK) *Ring {
	t.Helper()
	r, err := Open(t.Context(), s, kek, now)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func signer(t testing.TB, r *Ring, purpose string) ed25519.PrivateKey {
	t.Helper()
	key, err := r.Signer(t.Context(), purpose)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestOneKeyPerPurposeThatLasts(t *testing.T) {
	s, kek := newStore(t), newKEK(t)
	first, again := ring(t, s, kek), ring(t, s, kek)
	seen := map[string]string{}
	for _, purpose := range []string{"access-token", "checkpoint", "session", "target-token/staging", "target-token/production"} {
		key := signer(t, first, purpose)
		if !key.Equal(signer(t, first, purpose)) || !key.Equal(signer(t, again, purpose)) {
			t.Errorf("%s changed", purpose)
		}
		if other, taken := seen[string(key)]; taken {
			t.Errorf("%s and %s share a key", purpose, other)
		}
		seen[string(key)] = purpose
	}
	sealed, err := first.Seal([]byte("handle"), "lease/1")
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := again.Open(sealed, "lease/1"); err != nil || string(plain) != "handle" {
		t.Errorf("%q, %v", plain, err)
	}
	for _, purpose := range []string{"", "sealing"} {
		if _, err := first.Signer(t.Context(), purpose); err == nil {
			t.Errorf("purpose %q was given", purpose)
		}
	}
}

func TestTwoAskForAKeyAtOnce(t *testing.T) {
	s, kek := newStore(t), newKEK(t)
	var wait sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]bool{}
	for range 8 {
		wait.Go(func() {
			r, err := Open(context.Background(), s, kek, now)
			if err != nil {
				t.Error(err)
				return
			}
			key, err := r.Signer(context.Background(), "access-token")
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			seen[string(key)] = true
		})
	}
	wait.Wait()
	if len(seen) != 1 {
		t.Errorf("%d keys of one purpose", len(seen))
	}
}

func TestWrongKEK(t *testing.T) {
	s, kek, other := newStore(t), newKEK(t), newKEK(t)
	ring(t, s, kek)
	_, err := Open(t.Context(), s, other, now)
	if broker.CodeOf(err) != broker.CodeConflict || !strings.Contains(err.Error(), kek.ID()) || !strings.Contains(err.Error(), other.ID()) {
		t.Errorf("got %v", err)
	}
}

// impostor is another key that calls itself by the right name.
type impostor struct {
	KEK
	id string
}

func (i impostor) ID() string { return i.id }

func TestWrongKEKOfTheRightName(t *testing.T) {
	s, kek := newStore(t), newKEK(t)
	ring(t, s, kek)
	if _, err := Open(t.Context(), s, impostor{newKEK(t), kek.ID()}, now); broker.CodeOf(err) != broker.CodeConflict {
		t.Errorf("got %v", err)
	}
}

// Who can write to the store's file puts one purpose's key in another's place.
func TestKeyMovedToAnotherPurpose(t *testing.T) {
	s, kek := newStore(t), newKEK(t)
	r := ring(t, s, kek)
	signer(t, r, "access-token")
	signer(t, r, "checkpoint")
	move := func(from, to string) {
		t.Helper()
		err := s.Update(t.Context(), func(tx broker.Tx) error {
			key := Key{Purpose: from}
			err := tx.Load(&key)
			key.Purpose = to
			return errors.Join(err, tx.Save(&key))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	move("access-token", "checkpoint")
	move("sealing", "session")
	fresh := ring(t, s, kek)
	for _, purpose := range []string{"checkpoint", "session"} {
		if _, err := fresh.Signer(t.Context(), purpose); broker.CodeOf(err) != broker.CodeConflict {
			t.Errorf("%s: got %v", purpose, err)
		}
	}
	move("access-token", "sealing")
	if _, err := Open(t.Context(), s, kek, now); broker.CodeOf(err) != broker.CodeConflict {
		t.Errorf("sealing: got %v", err)
	}
}

func TestSealedValueMovedOrChanged(t *testing.T) {
	r, other := ring(t, newStore(t), newKEK(t)), ring(t, newStore(t), newKEK(t))
	sealed, err := r.Seal([]byte("handle"), "lease/1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Open(sealed, "lease/2"); err == nil {
		t.Error("it opens in another place")
	}
	if _, err := other.Open(sealed, "lease/1"); err == nil {
		t.Error("it opens in another installation")
	}
	for at := range sealed {
		changed := bytes.Clone(sealed)
		changed[at] ^= 1
		if _, err := r.Open(changed, "lease/1"); err == nil {
			t.Errorf("it opens with byte %d changed", at)
		}
		if _, err := r.Open(sealed[:at], "lease/1"); err == nil {
			t.Errorf("it opens cut at %d", at)
		}
	}
	again, err := r.Seal([]byte("handle"), "lease/1")
	if err != nil || bytes.Equal(sealed, again) {
		t.Error("equal values can be told by their seals", err)
	}
}

func TestSealOpensToWhatWasSealed(t *testing.T) {
	r := ring(t, newStore(t), newKEK(t))
	rapid.Check(t, func(rt *rapid.T) {
		plain, place := rapid.SliceOf(rapid.Byte()).Draw(rt, "plain"), rapid.String().Draw(rt, "context")
		sealed, err := r.Seal(plain, place)
		if err != nil {
			rt.Fatal(err)
		}
		opened, err := r.Open(sealed, place)
		if err != nil || !bytes.Equal(opened, plain) {
			rt.Fatalf("%q, %v", opened, err)
		}
		if _, err := r.Open(sealed, place+"x"); err == nil {
			rt.Fatal("it opens in another place")
		}
	})
}

// remoteKEK is a KEK at a service that fails.
type remoteKEK struct {
	KEK
	err error
}

func (k remoteKEK) Unwrap(context.Context, []byte, string) ([]byte, error) { return nil, k.err }

// A key service that does not answer, or whose key is another, is no reason to throw the store away for a backup.
func TestFailingKeyServiceIsNotTakenForAChangedStore(t *testing.T) {
	s, kek := newStore(t), newKEK(t)
	ring(t, s, kek)
	for _, err := range []error{
		broker.Errorf(broker.CodeUnavailable, "it does not answer").WithNext("try again"), broker.Errorf(broker.CodeConflict, "the key is another").WithNext("bring the key back"),
	} {
		_, got := Open(t.Context(), s, remoteKEK{kek, err}, now)
		told, _ := errors.AsType[*broker.Error](got)
		if told == nil || broker.CodeOf(got) != broker.CodeOf(err) || strings.Contains(got.Error()+told.Next, "backup") || told.Next == "" || !strings.Contains(got.Error(), err.Error()) {
			t.Errorf("%v became %v", err, got)
		}
	}
}

func TestKEKReadableByOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kek")
	if _, err := NewFileKEK(path); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o602, 0o610, 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := FileKEK(path); broker.CodeOf(err) != broker.CodeForbidden {
			t.Errorf("mode %o: got %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := FileKEK(path); err != nil {
		t.Error(err)
	}
}

func TestKEKIsNotOverwritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kek")
	first, err := NewFileKEK(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewFileKEK(path); broker.CodeOf(err) != broker.CodeConflict {
		t.Errorf("got %v", err)
	}
	if again, err := FileKEK(path); err != nil || again.ID() != first.ID() {
		t.Errorf("%v, %v", again, err)
	}
	if _, err := FileKEK(path + "x"); broker.CodeOf(err) != broker.CodeNotFound {
		t.Errorf("got %v", err)
	}
}

// What a damaged file says must not come out in the error.
func TestKEKThatCannotBeReadIsNotQuoted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kek")
	half := strings.Repeat("Q", 42)
	for _, content := range []string{"", half, kekPrefix + half, kekPrefix + half + "*", "hourkey-kek-2:" + half + "Q", kekPrefix + half + "QQQQ"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := FileKEK(path)
		if broker.CodeOf(err) != broker.CodeInvalid || strings.Contains(fmt.Sprintf("%+v", err), "QQQQ") {
			t.Errorf("%q: got %v", content, err)
		}
	}
	if _, err := FileKEK(t.TempDir()); err == nil {
		t.Error("a folder is no key")
	}
}

func TestKEKInTheDataFolder(t *testing.T) {
	base := t.TempDir()
	for _, folder := range []string{"data/deep", "data-of-others", "secrets"} {
		if err := os.MkdirAll(filepath.Join(base, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(base, "data"), filepath.Join(base, "link")); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(base, "data")
	for path, apart := range map[string]bool{
		"data/kek": false, "data/deep/kek": false, "link/kek": false, "secrets/../data/kek": false,
		"data/new/kek": false, "link/new/kek": false, "new/kek": true, "kek": true, "secrets/kek": true, "data-of-others/kek": true,
	} {
		if err := Apart(filepath.Join(base, path), data); (err == nil) != apart {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

// The raw file, and a backup, are searched for every secret in each form that an encoder might give it.
// The planted one shows that the search finds what is there.
func TestCopiedStoreWithoutKEKGivesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "hourkey.db")
	s, e := openStore(t, path)
	kek := newKEK(t)
	r := ring(t, s, kek)
	var secrets [][]byte
	for i := range 50 {
		secret := fmt.Appendf(nil, "postgres-password-%02d-%s", i, strings.Repeat("s3cr3t", 3))
		sealed, err := r.Seal(secret, fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		save(t, s, &broker.Lease{ID: fmt.Sprint(i), State: broker.LeaseLive, Handle: sealed})
		secrets = append(secrets, secret)
	}
	for _, purpose := range []string{"access-token", "checkpoint", "target-token/staging"} {
		key := signer(t, r, purpose)
		secrets = append(secrets, key.Seed(), key)
	}
	planted := []byte("planted-secret-for-the-search")
	save(t, s, &broker.Lease{ID: "raw", LastError: string(planted)})
	save(t, s, &broker.Lease{ID: "hex", LastError: hex.EncodeToString(planted)})
	save(t, s, &broker.Lease{ID: "base64", Handle: planted})

	var backup bytes.Buffer
	if err := e.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string][]byte{"file": raw, "backup": backup.Bytes()} {
		for _, form := range forms(planted)[:3] {
			if !bytes.Contains(file, form) {
				t.Errorf("%s: the search does not find the planted secret as %s", name, form)
			}
		}
		for _, secret := range secrets {
			for _, form := range forms(secret) {
				if bytes.Contains(file, form) {
					t.Errorf("%s holds a secret", name)
				}
			}
		}
	}
	// And by our own code, with any other KEK: nothing.
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(copied, backup.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	again, _ := openStore(t, copied)
	if _, err := Open(t.Context(), again, newKEK(t), now); broker.CodeOf(err) != broker.CodeConflict {
		t.Errorf("got %v", err)
	}
}

func save(t *testing.T, s broker.Store, record broker.Record) {
	t.Helper()
	if err := s.Update(t.Context(), func(tx broker.Tx) error { return tx.Save(record) }); err != nil {
		t.Fatal(err)
	}
}

// forms gives the secret raw, in hex, and in base64 at each of the three alignments, both alphabets.
func forms(secret []byte) [][]byte {
	out := [][]byte{secret, []byte(hex.EncodeToString(secret)), []byte(base64.StdEncoding.EncodeToString(secret))}
	out = append(out, bytes.ToUpper(out[1]))
	for shift := range 3 {
		inner := secret[shift:]
		inner = inner[:len(inner)/3*3]
		out = append(out, []byte(base64.StdEncoding.EncodeToString(inner)), []byte(base64.URLEncoding.EncodeToString(inner)))
	}
	return out
}

// Once a sealed value is erased from its record, neither the store nor a backup made later holds it.
func TestErasedHandleIsInNoLaterBackup(t *testing.T) {
	s, e := openStore(t, filepath.Join(t.TempDir(), "hourkey.db"))
	r := ring(t, s, newKEK(t))
	sealed, err := r.Seal([]byte("handle"), "lease/1")
	if err != nil {
		t.Fatal(err)
	}
	lease := broker.Lease{ID: "1", State: broker.LeaseLive, Handle: sealed}
	save(t, s, &lease)
	holds := func() bool {
		var out bytes.Buffer
		if err := e.Backup(t.Context(), &out); err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(out.Bytes(), []byte(base64.StdEncoding.EncodeToString(sealed)))
	}
	if !holds() {
		t.Fatal("the search does not find the handle while it is there")
	}
	lease.State, lease.Handle = broker.LeaseEnded, nil
	save(t, s, &lease)
	loaded := broker.Lease{ID: "1", Handle: []byte("stale")}
	if err := s.View(t.Context(), func(r broker.Reader) error { return r.Load(&loaded) }); err != nil || loaded.Handle != nil {
		t.Errorf("%q, %v", loaded.Handle, err)
	}
	if holds() {
		t.Error("a backup holds what was erased")
	}
}

func BenchmarkSeal(b *testing.B) {
	r := ring(b, newStore(b), newKEK(b))
	for b.Loop() {
		if _, err := r.Seal([]byte("a handle of a usual size"), "lease/1"); err != nil {
			b.Fatal(err)
		}
	}
}
