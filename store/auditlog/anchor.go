package auditlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/store"
)

// Anchor is what must not be forgotten when somebody puts an older copy of the data folder in place:
// how far the log had come, and what was frozen. It lies in a file outside that folder.
type Anchor struct {
	Log     string          `json:"log"`    // hourkey/NAME
	Epoch   uint64          `json:"epoch"`  //
	Height  uint64          `json:"height"` // number of events
	Root    tlog.Hash       `json:"root"`   // of the tree over them
	Freezes []broker.Freeze `json:"freezes"`
	// Installations are the ids, former ones too, under which credentials may live at providers.
	Installations []string `json:"installations"`
}

// Anchor gives the anchor of the log as it stands, with the freezes in force.
func (l *Log) Anchor(ctx context.Context, freezes []broker.Freeze) (Anchor, error) {
	var h head
	err := l.engine.View(ctx, func(snapshot store.Snapshot) error {
		var err error
		h, _, err = readHead(snapshot)
		return err
	})
	if err != nil {
		return Anchor{}, err
	}
	return Anchor{Log: h.origin(), Epoch: h.epoch, Height: h.size, Root: h.tree().Hash, Freezes: freezes}, nil
}

// Reaches is nil when the log is the one of the anchor, at it or further. CodeConflict says that it is
// an older copy, another log, or a changed one: open frozen, with the anchor's freezes.
func (l *Log) Reaches(ctx context.Context, a Anchor) error {
	return l.engine.View(ctx, func(snapshot store.Snapshot) error {
		h, _, err := readHead(snapshot)
		switch {
		case err != nil:
			return err
		case a.Height == 0:
			return nil
		case h.origin() != a.Log:
			return behind("the store holds the log %s, but the anchor is of %s", h.origin(), a.Log)
		case h.size < a.Height, h.epoch < a.Epoch:
			return behind("the store has %d events in epoch %d, but its anchor says %d in epoch %d: it is an older copy", h.size, h.epoch, a.Height, a.Epoch)
		}
		root, err := tlog.TreeHash(int64(a.Height), hashReader(snapshot)) //nolint:gosec // at most the log's size
		if err != nil {
			return damaged(err)
		}
		if root != a.Root {
			return behind("the first %d events of the store are not those of its anchor: it was changed, or goes another way since a backup was restored", a.Height)
		}
		return nil
	})
}

func behind(format string, args ...any) error {
	return broker.Errorf(broker.CodeConflict, format, args...).
		WithNext("find out why; the broker stays frozen until operators lift it")
}

// ReadAnchor reads the file. CodeNotFound says that there is none yet.
func ReadAnchor(path string) (Anchor, error) {
	var a Anchor
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return a, broker.Errorf(broker.CodeNotFound, "there is no anchor file yet").Because(err)
	}
	if err == nil {
		err = json.Unmarshal(raw, &a)
	}
	if err != nil {
		return Anchor{}, broker.Errorf(broker.CodeInternal, "the anchor file cannot be read").Because(err).
			WithNext("if you know why, remove it; the broker writes a new one")
	}
	return a, nil
}

// WriteAnchor replaces the file at once or not at all, and returns when it is durable.
func WriteAnchor(path string, a Anchor) error {
	raw, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encoding the anchor: %w", err)
	}
	if err := replace(path, append(raw, '\n')); err != nil {
		return broker.Errorf(broker.CodeUnavailable, "the anchor file cannot be written").Because(err)
	}
	return nil
}

// replace writes a new file beside the old one, for the owner alone, and renames it over.
func replace(path string, content []byte) (err error) {
	folder := filepath.Dir(path)
	file, err := os.CreateTemp(folder, filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(content)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncFolder(folder)
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
