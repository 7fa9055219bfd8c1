package proxy

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// proof is what a DPoP proof says (RFC 9449 section 4), verified: a key, and that whoever holds it wanted
// this tunnel with this token a moment ago.
type proof struct {
	thumbprint string // RFC 7638 of the key, SHA-256, base64url
	id         string // jti
	issued     time.Time
}

type proofHeader struct {
	Type      string          `json:"typ"`
	Algorithm string          `json:"alg"`
	Key       json.RawMessage `json:"jwk"`
}

type proofClaims struct {
	ID     string   `json:"jti"`
	Method string   `json:"htm"`
	URL    string   `json:"htu"`
	Issued *float64 `json:"iat"` // seconds; may have a fraction
	Token  string   `json:"ath"`
}

const (
	typProof    = "dpop+jwt"
	mostProof   = 4096 // bytes
	mostToken   = 256
	leastID     = 16 // characters of a jti
	mostID      = 128
	proofLife   = 60 * time.Second
	proofAhead  = 5 * time.Second // an agent's clock may be so much ahead of ours
	schemeProof = "DPoP "
)

// readToken takes the lease token from the header; it is never in a URL.
func readToken(header http.Header) (broker.Secret, error) {
	values := header.Values("Authorization")
	if len(values) != 1 || !strings.HasPrefix(values[0], schemeProof) {
		return broker.Secret{}, unproven("a tunnel wants one header `Authorization: DPoP hkt_…`")
	}
	text := strings.TrimPrefix(values[0], schemeProof)
	if !strings.HasPrefix(text, broker.TokenPrefix) || len(text) > mostToken {
		return broker.Secret{}, unproven("this is no gateway token: expected one that begins with %s", broker.TokenPrefix)
	}
	return broker.NewSecret(text), nil
}

// readProof verifies the proof of a request that opens a tunnel with token. Whether it was used before is
// asked later, of who has a lease.
func (p *Proxy) readProof(header http.Header, token broker.Secret) (proof, error) {
	values := header.Values("DPoP")
	if len(values) != 1 || len(values[0]) > mostProof {
		return proof{}, unproven("a tunnel wants one DPoP proof of at most %d bytes", mostProof)
	}
	parts := strings.Split(values[0], ".")
	if len(parts) != 3 {
		return proof{}, unproven("the DPoP proof is not a compact JWS")
	}
	key, err := signerOf(parts)
	if err != nil {
		return proof{}, err
	}
	var claims proofClaims
	if raw, err := decode(parts[1]); err != nil || json.Unmarshal(raw, &claims) != nil {
		return proof{}, unproven("the claims of the DPoP proof are not JSON of the right types")
	}
	issued, err := p.checkClaims(claims, token)
	return proof{thumbprint: key.thumbprint, id: claims.ID, issued: issued}, err
}

// signerOf gives the key in the header, when it made the signature.
func signerOf(parts []string) (proofKey, error) {
	var header proofHeader
	raw, err := decode(parts[0])
	if err != nil || strictly(raw, &header) != nil {
		return proofKey{}, unproven("the header of the DPoP proof is not JSON with typ, alg and jwk alone")
	}
	if header.Type != typProof {
		return proofKey{}, unproven("the typ of the DPoP proof must be %s", typProof)
	}
	key, err := readKey(header.Key)
	if err != nil {
		return proofKey{}, err
	}
	signature, err := decode(parts[2])
	if err != nil || header.Algorithm != key.algorithm || !key.verify([]byte(parts[0]+"."+parts[1]), signature) {
		return proofKey{}, unproven("the DPoP proof is not signed with %s by the key in it", key.algorithm)
	}
	return key, nil
}

// checkClaims wants a proof for this method, this URL and this token, of the last minute. A proof from
// before the start is refused: what was used then is forgotten.
func (p *Proxy) checkClaims(claims proofClaims, token broker.Secret) (time.Time, error) {
	sum := sha256.Sum256([]byte(token.Reveal()))
	hash := base64.RawURLEncoding.EncodeToString(sum[:])
	switch {
	case len(claims.ID) < leastID || len(claims.ID) > mostID:
		return time.Time{}, unproven("the jti of the DPoP proof must have %d to %d characters", leastID, mostID)
	case claims.Method != http.MethodGet:
		return time.Time{}, unproven("the DPoP proof is for another method: htm must be GET")
	case claims.URL != p.origin+Path:
		return time.Time{}, unproven("the DPoP proof is for another URL: htu must be %s", p.origin+Path).WithNext("use the broker's own address, as it is in its configuration")
	case subtle.ConstantTimeCompare([]byte(claims.Token), []byte(hash)) != 1:
		return time.Time{}, unproven("the DPoP proof is for another token: ath must be the SHA-256 of the one presented")
	case claims.Issued == nil || !(math.Abs(*claims.Issued) < math.MaxInt32*2):
		return time.Time{}, unproven("the DPoP proof must have iat, in seconds")
	}
	whole, part := math.Modf(*claims.Issued)
	issued := time.Unix(int64(whole), int64(part*float64(time.Second)))
	now := p.proofs.latest(p.now())
	switch {
	case issued.After(now.Add(proofAhead)):
		return time.Time{}, unproven("the DPoP proof is from the future").WithNext("set the agent's clock")
	case now.Sub(issued) > proofLife:
		return time.Time{}, unproven("the DPoP proof is older than a minute").WithNext("make a new one for each tunnel; if it was new, set the agent's clock")
	case issued.Before(p.started):
		return time.Time{}, unproven("the DPoP proof is from before this broker's start").WithNext("make a new one")
	}
	return issued, nil
}

func decode(part string) ([]byte, error) { return base64.RawURLEncoding.Strict().DecodeString(part) }

// strictly refuses members that are not known, and anything after the object.
func strictly(raw []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the value")
	}
	return nil
}

func unproven(format string, args ...any) *broker.Error {
	return broker.Errorf(broker.CodeUnauthenticated, format, args...)
}
