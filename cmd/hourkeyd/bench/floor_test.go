package bench

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hourkey/hourkey/store"
	"github.com/hourkey/hourkey/store/bolt"
)

// floor is the least that a broker could do: for each call it verifies an access token of the same kind
// (RFC 9068, EdDSA) by golang-jwt, commits as many keys with as many bytes as the broker's call does, in
// one transaction, and answers 204. Of ours this file imports the store engine alone.
type floor struct {
	origin string
	key    ed25519.PrivateKey
	engine store.Engine
	parser *jwt.Parser
	calls  []plan // what each call commits
	events uint64 // changed inside Update alone, where functions run one at a time
}

// plan is what one call commits: keys with holes for the id, the agent and the event's number.
type plan []planned

type planned struct {
	key   string // "\x01" stands for an id, "\x02" for the agent's number, "\x03" at the end for the event's
	value []byte // nil: the key is deleted
}

type floorClaims struct {
	jwt.RegisteredClaims
	ClientID string `json:"client_id"`
	Confirm  struct {
		Thumbprint string `json:"jkt"`
	} `json:"cnf"`
}

// newFloor serves on loopback until the test ends.
func newFloor(tb testing.TB, calls []plan) *floor {
	tb.Helper()
	engine, err := bolt.Open(filepath.Join(tb.TempDir(), "floor.db"), bolt.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	f := &floor{origin: "http://" + listener.Addr().String(), key: key, engine: engine, calls: calls}
	f.parser = jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithStrictDecoding(),
		jwt.WithIssuer(f.origin), jwt.WithAudience(f.origin+"/v1"), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
	)
	server := &http.Server{Handler: f, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			tb.Error(err)
		}
	}()
	tb.Cleanup(func() { _, _ = server.Close(), engine.Close() })
	return f
}

// ServeHTTP serves /0/ID, /1/ID, …: the first call of a way, the second, …
func (f *floor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	worker, err := f.authenticate(r.Header.Get("Authorization"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := f.commit(r.Context(), f.calls[r.URL.Path[1]-'0'], worker, r.URL.Path[3:]); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (f *floor) authenticate(header string) (subject string, err error) {
	var claims floorClaims
	_, err = f.parser.ParseWithClaims(strings.TrimPrefix(header, "Bearer "), &claims, func(t *jwt.Token) (any, error) {
		if t.Header["typ"] != "at+jwt" {
			return nil, errors.New("no access token")
		}
		return f.key.Public(), nil
	})
	return claims.Subject, err
}

func (f *floor) commit(ctx context.Context, call plan, agent, id string) error {
	return f.engine.Update(ctx, func(c store.Change) error {
		for _, one := range call {
			key := []byte(strings.ReplaceAll(strings.ReplaceAll(one.key, "\x01", id), "\x02", agent))
			if before, found := strings.CutSuffix(one.key, "\x03"); found {
				f.events++
				key = binary.BigEndian.AppendUint64([]byte(before), f.events)
			}
			if err := f.write(c, key, one.value); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *floor) write(c store.Change, key, value []byte) error {
	if value == nil {
		return c.Delete(key)
	}
	return c.Put(key, value)
}

// token makes an access token with the same claims as the broker's.
func (f *floor) token(tb testing.TB, agent string) string {
	tb.Helper()
	now := time.Now()
	claims := floorClaims{ClientID: agent, RegisteredClaims: jwt.RegisteredClaims{
		Issuer: f.origin, Subject: agent, Audience: jwt.ClaimStrings{f.origin + "/v1"}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(time.Hour)),
	}}
	claims.Confirm.Thumbprint = base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
	token.Header["typ"], token.Header["kid"] = "at+jwt", claims.Confirm.Thumbprint
	signed, err := token.SignedString(f.key)
	if err != nil {
		tb.Fatal(err)
	}
	return signed
}
