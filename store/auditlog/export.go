package auditlog

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/store"
)

// An exported log is a text file of JSON lines. Line n+1 is event n:
//
//	{"number":0,"hash":"LEAF HASH, base64","event":{CloudEvents 1.0, the exact bytes of the leaf}}
//
// then come checkpoints, one per stretch of 1,024 events and one over all of them, and the key:
//
//	{"checkpoint":"signed note"}
//	{"public_key":"hourkey/NAME+HASH+KEY"}
//
// The checkpoints on the way let Verify name the stretch in which something was changed by somebody
// who has also adjusted every hash. They say how long the log was when they were signed, so that none of
// them can pass as the end of it.
type (
	eventLine struct {
		Number uint64          `json:"number"`
		Hash   tlog.Hash       `json:"hash"`
		Event  json.RawMessage `json:"event"`
	}
	checkpointLine struct {
		Checkpoint string `json:"checkpoint"`
	}
	publicKeyLine struct {
		PublicKey string `json:"public_key"`
	}
)

const (
	stretch    = 1024 // events between checkpoints on the way
	exportPage = 256  // events read per transaction, so that a slow reader holds none open
)

// Export writes the log as it stands now, signed with the key of purpose "checkpoint". A log that does not
// continue the last checkpoint is CodeConflict: its events are written all the same, for whoever must find out, but unsigned.
func (l *Log) Export(ctx context.Context, to io.Writer, key ed25519.PrivateKey) error {
	_, s, err := l.begun(ctx, key)
	if err != nil {
		return err
	}
	signed, conflict := l.Checkpoint(ctx, key)
	if conflict != nil && broker.CodeOf(conflict) != broker.CodeConflict {
		return conflict
	}
	x := &exporter{log: l, out: bufio.NewWriterSize(to, 64<<10), signer: s, unsigned: conflict != nil}
	if err := x.prepare(ctx, signed); err != nil {
		return err
	}
	if err := x.events(ctx); err != nil {
		return err
	}
	if conflict == nil {
		err = x.end(signed)
	}
	if err == nil {
		err = x.out.Flush()
	}
	if err != nil {
		return fmt.Errorf("writing the export: %w", err)
	}
	return conflict
}

// exporter is one export on its way.
type exporter struct {
	log      *Log
	out      *bufio.Writer
	signer   *signer
	unsigned bool
	last     Checkpoint // of the whole export
	done     head       // the tree over what was written
	onTheWay [][]byte   // signed
}

// prepare learns how far to go.
func (x *exporter) prepare(ctx context.Context, signed []byte) (err error) {
	if !x.unsigned {
		x.last, err = OpenCheckpoint(signed, x.signer.public)
		return err
	}
	return x.log.engine.View(ctx, func(snapshot store.Snapshot) error {
		h, _, err := readHead(snapshot)
		x.last = Checkpoint{Tree: h.tree()}
		return err
	})
}

func (x *exporter) events(ctx context.Context) error {
	for x.done.size < uint64(x.last.Tree.N) { //nolint:gosec // not negative
		if err := ctx.Err(); err != nil {
			return err
		}
		page, err := x.page(ctx)
		if err != nil {
			return err
		}
		for _, line := range page {
			if err := x.event(line); err != nil {
				return err
			}
		}
	}
	if !x.unsigned && x.done.tree() != x.last.Tree {
		return damaged(fmt.Errorf("the stored events do not make up the stored tree"))
	}
	return nil
}

// page reads the next events; there is at least one.
func (x *exporter) page(ctx context.Context) (page []eventLine, err error) {
	limit := min(exportPage, uint64(x.last.Tree.N)-x.done.size) //nolint:gosec // not negative
	err = x.log.engine.View(ctx, func(snapshot store.Snapshot) error {
		err := scanLeaves(snapshot, x.done.size, func(number uint64, hash tlog.Hash, leaf []byte) error {
			page = append(page, eventLine{number, hash, bytes.Clone(leaf)})
			if uint64(len(page)) == limit {
				return broker.ErrStop
			}
			return nil
		})
		if err == broker.ErrStop { //nolint:errorlint // it is the one above
			return nil
		}
		return err
	})
	if err == nil && len(page) == 0 {
		err = damaged(fmt.Errorf("event %d is missing", x.done.size))
	}
	return page, err
}

func (x *exporter) event(line eventLine) error {
	if _, err := x.out.Write(line.bytes()); err != nil {
		return fmt.Errorf("writing the export: %w", err)
	}
	x.done.push(line.Hash)
	if x.unsigned || x.done.size%stretch != 0 || x.done.size == uint64(x.last.Tree.N) { //nolint:gosec // not negative
		return nil
	}
	c := x.last
	c.Tree, c.Of = x.done.tree(), x.last.Tree.N
	signed, err := x.signer.sign(c)
	x.onTheWay = append(x.onTheWay, signed)
	return err
}

func (x *exporter) end(signed []byte) error {
	for _, text := range append(x.onTheWay, signed) {
		if _, err := x.out.Write(jsonLine(checkpointLine{string(text)})); err != nil {
			return err
		}
	}
	_, err := x.out.Write(jsonLine(publicKeyLine{x.signer.public}))
	return err
}

// bytes is the one way to write the line; Verify compares with it.
func (l eventLine) bytes() []byte {
	out := make([]byte, 0, len(l.Event)+128)
	out = fmt.Appendf(out, `{"number":%d,"hash":"%s","event":`, l.Number, rootLine(l.Hash))
	out = append(out, l.Event...)
	return append(out, "}\n"...)
}

// jsonLine is the one way to write the other lines.
func jsonLine(v any) []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(v) != nil { // structs of one string
		return nil
	}
	return out.Bytes()
}
