package postgres

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
)

const (
	passwordBytes   = 32
	saltBytes       = 16
	scramIterations = 4096 // PostgreSQL's own default (scram_iterations); the password has 256 random bits
)

// newPassword makes a password and the verifier that stands for it at the server, so that the password
// itself never goes over the admin connection, nor into a server's statement log.
func newPassword(random io.Reader) (password, verifier string, err error) {
	bytes := make([]byte, passwordBytes+saltBytes)
	if _, err := io.ReadFull(random, bytes); err != nil {
		return "", "", fmt.Errorf("reading random bytes: %w", err)
	}
	password = base64.RawURLEncoding.EncodeToString(bytes[:passwordBytes])
	verifier, err = scramVerifier(password, bytes[passwordBytes:])
	return password, verifier, err
}

// scramVerifier computes what PostgreSQL keeps in pg_authid.rolpassword (RFC 5802 section 3 with the hash of
// RFC 7677):
//
//	SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>     (base64)
//
// The password must be ASCII, for which SASLprep changes nothing.
func scramVerifier(password string, salt []byte) (string, error) {
	salted, err := pbkdf2.Key(sha256.New, password, salt, scramIterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("deriving the SCRAM key: %w", err)
	}
	stored := sha256.Sum256(sign(salted, "Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", scramIterations, encode(salt), encode(stored[:]), encode(sign(salted, "Server Key"))), nil
}

func sign(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
