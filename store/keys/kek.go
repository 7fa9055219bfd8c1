package keys

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/hourkey/hourkey/broker"
)

// KEK is the key-encryption key: it seals the store's keys and lies apart from the store. A file holds it
// now; a key service can, because both methods may call out.
type KEK interface {
	// ID tells one KEK from another, and nothing else about it.
	ID() string
	// Wrap seals plain for the place that context names.
	Wrap(ctx context.Context, plain []byte, context string) ([]byte, error)
	// Unwrap opens what Wrap sealed for the same place.
	Unwrap(ctx context.Context, wrapped []byte, context string) ([]byte, error)
}

// fileKEK is a KEK of 32 random bytes in a file of one line:
//
//	hourkey-kek-1:BASE64URL
type fileKEK struct {
	id   string
	aead cipher.AEAD
}

var _ KEK = (*fileKEK)(nil)

const (
	kekPrefix  = "hourkey-kek-1:"
	kekSize    = chacha20poly1305.KeySize
	mostOfFile = 1024
)

// FileKEK reads the file that NewFileKEK made. It refuses one that group or others may read
// or write: whoever reads it and a copy of the store has every key.
func FileKEK(path string) (KEK, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, broker.Errorf(broker.CodeNotFound, "there is no key-encryption key at %s", path).Because(err).
			WithNext("`hourkeyd init` makes one; if the store is older, bring back the one it was made with")
	}
	if err != nil {
		return nil, fmt.Errorf("opening the key-encryption key: %w", err)
	}
	defer func() { _ = file.Close() }()
	if err := onlyOwner(file, path); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(file, mostOfFile))
	if err != nil {
		return nil, fmt.Errorf("reading the key-encryption key: %w", err)
	}
	return parseKEK(raw, path)
}

// onlyOwner looks at the open file, not at the path, so that nobody swaps it in between.
func onlyOwner(file *os.File, path string) error {
	info, err := file.Stat()
	switch {
	case err != nil:
		return fmt.Errorf("looking at the key-encryption key: %w", err)
	case !info.Mode().IsRegular():
		return broker.Errorf(broker.CodeInvalid, "the key-encryption key %s is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return broker.Errorf(broker.CodeForbidden, "the key-encryption key %s may be read or written by others (mode %04o)", path, info.Mode().Perm()).
			WithNext("chmod 600 %s; if somebody may have read it, make a new installation", path)
	}
	return nil
}

func parseKEK(raw []byte, path string) (KEK, error) {
	text, found := bytes.CutPrefix(bytes.TrimSpace(raw), []byte(kekPrefix))
	key, err := base64.RawURLEncoding.DecodeString(string(text))
	if !found || err != nil || len(key) != kekSize {
		// The cause is left out: it would quote the file (invariant 10).
		return nil, broker.Errorf(broker.CodeInvalid, "the key-encryption key %s cannot be read: expected one line %s and %d bytes of base64url", path, kekPrefix, kekSize)
	}
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, fmt.Errorf("using the key-encryption key: %w", err)
	}
	sum := sha256.Sum256(append([]byte("hourkey/kek-id/1\x00"), key...))
	return &fileKEK{id: hex.EncodeToString(sum[:8]), aead: aead}, nil
}

// NewFileKEK makes a new key in a new file, for its owner alone, and reads it back. It never overwrites.
func NewFileKEK(path string) (KEK, error) {
	key := make([]byte, kekSize)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("making the key-encryption key: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the key-encryption key: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, broker.Errorf(broker.CodeConflict, "there is a key-encryption key at %s already", path).Because(err)
	}
	if err != nil {
		return nil, fmt.Errorf("making the key-encryption key: %w", err)
	}
	_, err = fmt.Fprintf(file, "%s%s\n", kekPrefix, base64.RawURLEncoding.EncodeToString(key))
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("making the key-encryption key: %w", err), os.Remove(path))
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("making the key-encryption key: %w", err)
	}
	return FileKEK(path)
}

// syncFolder makes the new name durable: a store sealed with a key that a crash takes away is lost.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// Apart refuses a key-encryption key that lies in the data folder: it would be in every backup of it.
func Apart(kekPath, dataFolder string) error {
	kek, err := resolved(filepath.Dir(kekPath))
	if err != nil {
		return fmt.Errorf("looking for the key-encryption key: %w", err)
	}
	data, err := resolved(dataFolder)
	if err != nil {
		return fmt.Errorf("looking for the data folder: %w", err)
	}
	if rel, err := filepath.Rel(data, kek); err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return broker.Errorf(broker.CodeInvalid, "the key-encryption key %s lies in the data folder %s", kekPath, dataFolder).
			WithNext("move it to a folder that is not copied with the data")
	}
	return nil
}

// resolved follows symbolic links as far as the path exists; the rest may be made later.
func resolved(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if parent := filepath.Dir(path); errors.Is(err, fs.ErrNotExist) && parent != path {
		real, err = resolved(parent)
		return filepath.Join(real, filepath.Base(path)), err
	}
	return real, err
}

// ID implements KEK.
func (k *fileKEK) ID() string { return k.id }

// Wrap implements KEK.
func (k *fileKEK) Wrap(_ context.Context, plain []byte, context string) ([]byte, error) {
	return seal(k.aead, plain, wrapDomain+context)
}

// Unwrap implements KEK.
func (k *fileKEK) Unwrap(_ context.Context, wrapped []byte, context string) ([]byte, error) {
	return open(k.aead, wrapped, wrapDomain+context)
}
