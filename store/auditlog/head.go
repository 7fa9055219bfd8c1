package auditlog

import (
	"bytes"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/store"
)

// head is what an append needs to know of the tree: its right edge. It is a value of the engine like
// any other, so that it cannot fall out of step with the events when a transaction fails.
//
//	01                  layout
//	uvarint             epoch
//	uvarint             size, the number of leaves
//	8 bytes             name of the log
//	32 bytes each       roots of the complete subtrees that make up the tree, the largest first: one for
//	                    each bit of size that is set
type head struct {
	epoch    uint64
	size     uint64
	name     string
	frontier []tlog.Hash
}

const (
	headLayout = 1
	nameSize   = 8
)

var (
	errTooShort = errors.New("a value is too short")
	errHead     = errors.New("the head cannot be read")
)

// readHead gives the head; found is false before the first event.
func readHead(snapshot store.Snapshot) (h head, found bool, err error) {
	raw, err := snapshot.Get(headKey)
	if err != nil || raw == nil {
		return head{}, false, err
	}
	if len(raw) == 0 {
		return head{}, false, damaged(errHead)
	}
	if raw[0] != headLayout {
		return head{}, false, broker.Errorf(broker.CodeConflict, "the event log was written by a newer version of Hourkey").
			WithNext("run the newer version that wrote this store")
	}
	epoch, n := binary.Uvarint(raw[1:])
	if n <= 0 {
		return head{}, false, damaged(errHead)
	}
	raw = raw[1+n:]
	size, n := binary.Uvarint(raw)
	if n <= 0 || len(raw) != n+nameSize+bits.OnesCount64(size)*tlog.HashSize {
		return head{}, false, damaged(errHead)
	}
	raw = raw[n:]
	h = head{epoch: epoch, size: size, name: string(raw[:nameSize]), frontier: make([]tlog.Hash, 0, bits.OnesCount64(size)+1)}
	for raw = raw[nameSize:]; len(raw) > 0; raw = raw[tlog.HashSize:] {
		h.frontier = append(h.frontier, tlog.Hash(raw[:tlog.HashSize]))
	}
	return h, true, nil
}

func (l *Log) headOrNew(snapshot store.Snapshot) (*head, error) {
	h, found, err := readHead(snapshot)
	if err != nil || found {
		return &h, err
	}
	var raw [5]byte
	if _, err := io.ReadFull(l.random, raw[:]); err != nil {
		return nil, fmt.Errorf("naming the event log: %w", err)
	}
	h.name = strings.ToLower(base32.StdEncoding.EncodeToString(raw[:]))
	return &h, nil
}

func (h *head) encode() []byte {
	out := make([]byte, 0, 1+2*binary.MaxVarintLen64+nameSize+len(h.frontier)*tlog.HashSize)
	out = append(out, headLayout)
	out = binary.AppendUvarint(out, h.epoch)
	out = binary.AppendUvarint(out, h.size)
	out = append(out, h.name...)
	for _, hash := range h.frontier {
		out = append(out, hash[:]...)
	}
	return out
}

// origin names the log in checkpoints and in its public key.
func (h *head) origin() string { return originPrefix + h.name }

const originPrefix = "hourkey/"

// source is the CloudEvents source of its events: with their id, the number, it names each for good.
func (h *head) source() string { return fmt.Sprintf("/%s/%d", h.origin(), h.epoch) }

// add takes the leaf into the tree and gives what is stored for it: leaf becomes the beginning of that.
func (h *head) add(leaf *bytes.Buffer) []byte {
	hash := tlog.RecordHash(leaf.Bytes())
	leaf.Write(hash[:])
	completed := h.push(hash)
	for _, hash := range completed {
		leaf.Write(hash[:])
	}
	leaf.WriteByte(byte(1 + len(completed))) //nolint:gosec // at most 64 levels
	return leaf.Bytes()
}

// push adds the hash of a leaf and gives the roots of the subtrees that it completes, upwards.
func (h *head) push(hash tlog.Hash) (completed []tlog.Hash) {
	for n := h.size; n&1 == 1; n >>= 1 {
		last := len(h.frontier) - 1
		hash = tlog.NodeHash(h.frontier[last], hash)
		h.frontier = h.frontier[:last]
		completed = append(completed, hash)
	}
	h.frontier = append(h.frontier, hash)
	h.size++
	return completed
}

// tree is the tree as it stands: its size, and its root folded from the right edge.
func (h *head) tree() tlog.Tree {
	tree := tlog.Tree{N: int64(h.size)} //nolint:gosec // counts events
	if h.size == 0 {
		tree.Hash, _ = tlog.TreeHash(0, nil) // of no leaves; cannot fail
		return tree
	}
	last := len(h.frontier) - 1
	tree.Hash = h.frontier[last]
	for i := last - 1; i >= 0; i-- {
		tree.Hash = tlog.NodeHash(h.frontier[i], tree.Hash)
	}
	return tree
}
