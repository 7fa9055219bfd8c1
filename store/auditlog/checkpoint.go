package auditlog

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/store"
)

// Checkpoint says what a log was at one time. As text, signed as a note (golang.org/x/mod/sumdb/note):
//
//	hourkey/NAME        the log, also the name of the signing key
//	SIZE                number of events
//	ROOT                of the tree over them, base64
//	epoch E
//	time T              when it was signed, RFC 3339, UTC
//	of TOTAL            only on the way: the log had TOTAL events when this was signed
//
//	— hourkey/NAME SIGNATURE
//
// Whoever keeps one can prove that the first SIZE events never changed.
type Checkpoint struct {
	Origin string
	Tree   tlog.Tree
	Epoch  uint64
	Time   time.Time
	Of     int64 // 0 but for one on the way
}

func (c Checkpoint) text() string {
	text := fmt.Sprintf("%s\n%d\n%s\nepoch %d\ntime %s\n", c.Origin, c.Tree.N, c.Tree.Hash, c.Epoch, c.Time.UTC().Format(time.RFC3339Nano))
	if c.Of > 0 {
		text += fmt.Sprintf("of %d\n", c.Of)
	}
	return text
}

var errCheckpoint = errors.New("this is not a checkpoint of Hourkey")

// parseCheckpoint reads what text gives, and nothing else.
func parseCheckpoint(text string) (Checkpoint, error) {
	var c Checkpoint
	lines := strings.Split(text, "\n")
	if len(lines) < 6 {
		return c, errCheckpoint
	}
	size, err1 := strconv.ParseInt(lines[1], 10, 64)
	hash, err2 := tlog.ParseHash(lines[2])
	epoch, err3 := strconv.ParseUint(strings.TrimPrefix(lines[3], "epoch "), 10, 64)
	at, err4 := time.Parse(time.RFC3339Nano, strings.TrimPrefix(lines[4], "time "))
	if errors.Join(err1, err2, err3, err4) != nil || size < 0 {
		return c, errCheckpoint
	}
	c = Checkpoint{Origin: lines[0], Tree: tlog.Tree{N: size, Hash: hash}, Epoch: epoch, Time: at}
	if of, found := strings.CutPrefix(lines[5], "of "); found {
		c.Of, _ = strconv.ParseInt(of, 10, 64)
	}
	if c.text() != text {
		return Checkpoint{}, errCheckpoint
	}
	return c, nil
}

// OpenCheckpoint checks the signature of a checkpoint by the public key and reads it.
func OpenCheckpoint(signed []byte, publicKey string) (Checkpoint, error) {
	verifier, err := readPublicKey(publicKey)
	if err != nil {
		return Checkpoint{}, err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return Checkpoint{}, broker.Errorf(broker.CodeInvalid, "the checkpoint is not signed by this key").Because(err)
	}
	c, err := parseCheckpoint(opened.Text)
	if err == nil && (c.Origin != verifier.Name() || !isExact(opened)) {
		err = errCheckpoint
	}
	if err != nil {
		return Checkpoint{}, broker.Errorf(broker.CodeInvalid, "the checkpoint cannot be read").Because(err)
	}
	return c, nil
}

// isExact refuses what note.Open lets pass: signatures of unknown keys beside ours, and base64 whose
// unused bits are set, so that there is one way to write a checkpoint.
func isExact(opened *note.Note) bool {
	if len(opened.Sigs) != 1 || len(opened.UnverifiedSigs) != 0 {
		return false
	}
	_, err := base64.StdEncoding.Strict().DecodeString(opened.Sigs[0].Base64)
	return err == nil
}

func readPublicKey(line string) (note.Verifier, error) {
	verifier, err := note.NewVerifier(strings.TrimSpace(line))
	if err != nil {
		return nil, broker.Errorf(broker.CodeInvalid, "the public key cannot be read: expected one line hourkey/NAME+HASH+KEY").WithField("public key")
	}
	return verifier, nil
}

// signer implements note.Signer with a key of purpose "checkpoint".
type signer struct {
	key      ed25519.PrivateKey
	verifier note.Verifier
	public   string // the verifier's encoding
}

func newSigner(origin string, key ed25519.PrivateKey) (*signer, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, errors.New("auditlog: a checkpoint wants an Ed25519 private key")
	}
	public, err := note.NewEd25519VerifierKey(origin, key.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, fmt.Errorf("encoding the log's public key: %w", err)
	}
	verifier, err := note.NewVerifier(public)
	if err != nil {
		return nil, fmt.Errorf("encoding the log's public key: %w", err)
	}
	return &signer{key, verifier, public}, nil
}

func (s *signer) Name() string                    { return s.verifier.Name() }
func (s *signer) KeyHash() uint32                 { return s.verifier.KeyHash() }
func (s *signer) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(s.key, msg), nil }

func (s *signer) sign(c Checkpoint) ([]byte, error) {
	signed, err := note.Sign(&note.Note{Text: c.text()}, s)
	if err != nil {
		return nil, fmt.Errorf("signing a checkpoint: %w", err)
	}
	return signed, nil
}

// PublicKey gives the line that Verify wants, for the key that signs this log's checkpoints.
func (l *Log) PublicKey(ctx context.Context, key ed25519.PrivateKey) (string, error) {
	_, s, err := l.begun(ctx, key)
	if err != nil {
		return "", err
	}
	return s.public, nil
}

// begun gives the head and a signer; a log without an event has no name yet.
func (l *Log) begun(ctx context.Context, key ed25519.PrivateKey) (h head, s *signer, err error) {
	found := false
	err = l.engine.View(ctx, func(snapshot store.Snapshot) error {
		h, found, err = readHead(snapshot)
		return err
	})
	if err == nil && !found {
		err = broker.Errorf(broker.CodeNotFound, "the event log is empty: it begins with the broker's first start")
	}
	if err != nil {
		return head{}, nil, err
	}
	s, err = newSigner(h.origin(), key)
	return h, s, err
}

// Checkpoint signs the log as it stands and keeps the result. It refuses, with CodeConflict, a log that
// does not continue the last one it signed: somebody has changed the store from outside.
func (l *Log) Checkpoint(ctx context.Context, key ed25519.PrivateKey) ([]byte, error) {
	h, s, err := l.begun(ctx, key)
	if err != nil {
		return nil, err
	}
	if err := l.continues(ctx, s.public); err != nil {
		return nil, err
	}
	signed, err := s.sign(Checkpoint{Origin: h.origin(), Tree: h.tree(), Epoch: h.epoch, Time: l.now()})
	if err != nil {
		return nil, err
	}
	err = l.engine.Update(ctx, func(change store.Change) error { return change.Put(checkpointKey, signed) })
	return signed, err
}

// continues proves that the log continues the last signed checkpoint, if there is one.
func (l *Log) continues(ctx context.Context, publicKey string) error {
	return l.engine.View(ctx, func(snapshot store.Snapshot) error {
		last, err := snapshot.Get(checkpointKey)
		if err != nil || last == nil {
			return err
		}
		return extends(snapshot, last, publicKey)
	})
}

// Extends proves by the hashes in the store that the log continues the one of a kept checkpoint: none
// of its events was changed or removed. CodeConflict says that it does not. It does not read the
// events; Verify does, from an export.
func (l *Log) Extends(ctx context.Context, kept []byte, publicKey string) error {
	return l.engine.View(ctx, func(snapshot store.Snapshot) error { return extends(snapshot, kept, publicKey) })
}

func extends(snapshot store.Snapshot, kept []byte, publicKey string) error {
	old, err := OpenCheckpoint(kept, publicKey)
	if err != nil {
		return err
	}
	h, _, err := readHead(snapshot)
	if err != nil {
		return err
	}
	tree := h.tree()
	if old.Origin != h.origin() || old.Tree.N > tree.N {
		return broker.Errorf(broker.CodeConflict, "the log of %d events does not reach the checkpoint of %s at %d: it was cut, or is an older copy", tree.N, old.Origin, old.Tree.N)
	}
	if old.Tree.N == 0 {
		return nil
	}
	proof, err := tlog.ProveTree(tree.N, old.Tree.N, hashReader(snapshot))
	if err != nil {
		return damaged(err)
	}
	if err := tlog.CheckTree(proof, tree.N, tree.Hash, old.Tree.N, old.Tree.Hash); err != nil {
		return broker.Errorf(broker.CodeConflict, "the first %d events are not those of the checkpoint: the log was changed", old.Tree.N).Because(err)
	}
	return nil
}

// hashReader finds a hash of the tree with the leaf that completed it.
func hashReader(snapshot store.Snapshot) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			hash, err := storedHash(snapshot, index)
			if err != nil {
				return nil, err
			}
			hashes[i] = hash
		}
		return hashes, nil
	})
}

func storedHash(snapshot store.Snapshot, index int64) (tlog.Hash, error) {
	level, n := tlog.SplitStoredHashIndex(index)
	leaf := (uint64(n)+1)<<level - 1 //nolint:gosec // index is not negative
	value, err := snapshot.Get(eventKey(leaf))
	if err != nil {
		return tlog.Hash{}, err
	}
	_, hashes, err := splitLeaf(value)
	if err != nil || len(hashes) < (level+1)*tlog.HashSize {
		return tlog.Hash{}, fmt.Errorf("the hash of level %d at %d is missing", level, n)
	}
	return tlog.Hash(hashes[level*tlog.HashSize:][:tlog.HashSize]), nil
}

// rootLine is how events and messages show a root.
func rootLine(hash tlog.Hash) string { return base64.StdEncoding.EncodeToString(hash[:]) }
