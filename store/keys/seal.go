package keys

import (
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

// What is sealed, by the KEK or by the ring's sealing key, is
//
//	01                  version
//	24 bytes            random nonce
//	rest                XChaCha20-Poly1305 of the plain text, with a domain and the context as associated data
//
// The nonce is long enough to be drawn at random for ever. The context ties it to its place: moved to
// another record, it does not open.
const (
	sealVersion = 1
	wrapDomain  = "hourkey/wrap/1\x00"
	sealDomain  = "hourkey/seal/1\x00"
)

var errSealed = errors.New("the sealed value does not open: another key, another place, or changed")

func seal(aead cipher.AEAD, plain []byte, data string) ([]byte, error) {
	out := make([]byte, 1+chacha20poly1305.NonceSizeX, 1+chacha20poly1305.NonceSizeX+len(plain)+chacha20poly1305.Overhead)
	out[0] = sealVersion
	nonce := out[1:]
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	return aead.Seal(out, nonce, plain, []byte(data)), nil
}

func open(aead cipher.AEAD, sealed []byte, data string) ([]byte, error) {
	const head = 1 + chacha20poly1305.NonceSizeX
	if len(sealed) < head+chacha20poly1305.Overhead || sealed[0] != sealVersion {
		return nil, errSealed
	}
	plain, err := aead.Open(nil, sealed[1:head], sealed[head:], []byte(data))
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}
