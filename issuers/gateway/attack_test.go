package gateway

import (
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"
)

// Not an attack, an outage: the agent's clock is half a minute behind. Its proofs are taken, but no tool
// believes the tunnel's end until the clock has come to the lease's beginning.
func TestAClockThatIsBehindBelievesTheTunnel(t *testing.T) {
	authority, err := NewAuthority([]byte(strings.Repeat("s", 32)), "i")
	if err != nil {
		t.Fatal(err)
	}
	hosts, from := []string{"api.example.test"}, time.Now()
	text, err := authority.Certificate("l", hosts, from, from.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := authority.Leaf("l", hosts[0], hosts, from, from.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(text))
	root, _ := x509.ParseCertificate(block.Bytes)
	end, _ := x509.ParseCertificate(leaf.Certificate[0])
	pool := x509.NewCertPool()
	pool.AddCert(root)
	if _, err := end.Verify(x509.VerifyOptions{Roots: pool, DNSName: hosts[0], CurrentTime: from.Add(-30 * time.Second)}); err != nil {
		t.Error(err)
	}
}
