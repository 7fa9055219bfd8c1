package issuertest

import (
	"encoding/base64"
	"encoding/hex"
	"testing"
)

// A search that finds nothing proves something only if it finds what was planted.
func TestPlantedSecretIsFoundInEachForm(t *testing.T) {
	const secret = "correct-horse-battery"
	for _, text := range []string{
		"login failed for " + secret,
		"dump " + hex.EncodeToString([]byte(secret)),
		"blob " + base64.StdEncoding.EncodeToString([]byte(secret)),
		"blob " + base64.RawURLEncoding.EncodeToString([]byte(secret)),
	} {
		if len(leaks([]string{text}, []string{secret})) != 1 {
			t.Errorf("not found in %q", text)
		}
	}
	if len(leaks([]string{"nothing here"}, []string{secret, ""})) != 0 {
		t.Error("found where it is not")
	}
}
