package authn

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hourkey/hourkey/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestThumbprint is the example of RFC 8037, appendix A.3.
func TestThumbprint(t *testing.T) {
	key, err := ParseAgentKey([]byte(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`))
	if err != nil || key.Thumbprint != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("got %s %v", key.Thumbprint, err)
	}
}

// TestOneKeyHasOneThumbprint: order, extra members and other encodings make no second name for a key.
func TestOneKeyHasOneThumbprint(t *testing.T) {
	const x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
	first, err := ParseAgentKey([]byte(`{"kty":"OKP","crv":"Ed25519","x":"` + x + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	second, err := ParseAgentKey([]byte(`{"x":"` + x + `","kid":"mine","use":"sig","alg":"EdDSA","crv":"Ed25519","kty":"OKP","key_ops":["verify"]}`))
	if err != nil || second.Thumbprint != first.Thumbprint || string(second.JWK) != string(first.JWK) {
		t.Errorf("got %s %v", second.JWK, err)
	}
	for _, other := range []string{x + "=", x[:42] + "p", strings.ReplaceAll(x, "_", "/"), x + "AA", x[:40], ""} { // ...o and ...p differ in bits that are not used
		if _, err := ParseAgentKey([]byte(`{"kty":"OKP","crv":"Ed25519","x":"` + other + `"}`)); broker.CodeOf(err) != broker.CodeInvalid {
			t.Errorf("%q: got %v", other, err)
		}
	}
}

// TestVerifiedTokensAreBounded, forget what is expired, and keep what is used.
func TestVerifiedTokensAreBounded(t *testing.T) {
	v := &verifiedTokens{most: 10}
	now := time.Unix(1000, 0)
	hash := func(name string) [sha256.Size]byte { return sha256.Sum256([]byte(name)) }
	v.keep(hash("steady"), verifiedToken{broker.Caller{Name: "steady"}, now.Add(time.Hour)})
	for i := range 1000 {
		v.keep(hash(fmt.Sprint(i)), verifiedToken{broker.Caller{Name: "x"}, now.Add(time.Minute)})
		if caller, found := v.find(hash("steady"), now); !found || caller.Name != "steady" {
			t.Fatalf("forgotten after %d others", i)
		}
	}
	if n := len(v.young) + len(v.old); n > 20 {
		t.Errorf("%d tokens are kept", n)
	}
	if _, found := v.find(hash("999"), now.Add(time.Minute)); found {
		t.Error("an expired token is known")
	}
	if _, found := v.find(hash("never"), now); found {
		t.Error("a token that was never verified is known")
	}
}

// FuzzParseAgentKey: no key has two thumbprints, and nothing panics.
func FuzzParseAgentKey(f *testing.F) {
	f.Add([]byte(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`))
	f.Add([]byte(`{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}`))
	f.Add([]byte(`{"kty":"OKP","crv":"Ed25519","x":"","d":"AA"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		key, err := ParseAgentKey(raw)
		if err != nil {
			if broker.CodeOf(err) != broker.CodeInvalid {
				t.Errorf("got %v", err)
			}
			return
		}
		again, err := ParseAgentKey(key.JWK)
		if err != nil || again.Thumbprint != key.Thumbprint {
			t.Errorf("%s: read again it is %s, %v", key.JWK, again.Thumbprint, err)
		}
	})
}
