package system

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/cmd/hourkeyd/daemon"
)

// TestAuthorityUsedForAnotherHost: whoever gets hold of the key of a lease's authority (here: the test, from
// the broker's own store) makes a certificate for a bank. curl, Python, Node and Go, which were told to trust
// that authority, believe it for Railway and not for the bank.
func TestAuthorityUsedForAnotherHost(t *testing.T) {
	t.Parallel()
	g := installGateway(t)
	c := g.exec()
	authority := g.authority(c)
	wantHosts := []string{"backboard.railway.com", "backboard.railway.app"}
	if diff := cmp.Diff(wantHosts, authority.PermittedDNSDomains); diff != "" || !authority.PermittedDNSDomainsCritical || len(authority.ExcludedIPRanges) != 2 {
		t.Errorf("its constraints: critical %t, excluded %v, hosts:\n%s", authority.PermittedDNSDomainsCritical, authority.ExcludedIPRanges, diff)
	}
	if lease := g.leases(false)[0]; authority.NotAfter.After(lease.Expires) || !authority.MaxPathLenZero {
		t.Errorf("it ends at %s, the lease at %s; path length %d", authority.NotAfter, lease.Expires, authority.MaxPathLen)
	}
	said := c.run(`openssl x509 -noout -ext nameConstraints,basicConstraints,keyUsage -in "$NODE_EXTRA_CA_CERTS"`)
	for _, want := range []string{"X509v3 Name Constraints: critical", "DNS:backboard.railway.com", "X509v3 Basic Constraints: critical", "pathlen:0", "Certificate Sign"} {
		if !strings.Contains(said, want) {
			t.Errorf("openssl does not see %q: %s", want, said)
		}
	}

	forger := g.forge(authority)
	curl := func(address, name string) string {
		return fmt.Sprintf("curl -sS -o /dev/null -m 60 --noproxy '*' --connect-to %s:443:%s https://%s/ && echo believed", name, address, name)
	}
	for _, name := range []string{"backboard.railway.com", "bank.example", "railway.com", "notbackboard.railway.com", "backboard.railway.com.bank.example", "*.railway.com"} {
		server := forger.serve(name)
		shown := strings.Replace(name, "*", "billing", 1)
		for who, out := range map[string]string{
			"curl": c.run(curl(server, shown)), "Python": c.run(python(g) + " handshake " + server + " " + shown),
			"Node": c.run(node(g) + " handshake " + server + " " + shown), "Go": c.run(goProgram(g) + " handshake " + server + " " + shown),
		} {
			if believed := strings.Contains(out, "believed"); believed != (name == "backboard.railway.com") {
				t.Errorf("%s, shown a certificate for %s: %s", who, name, out)
			}
		}
	}
}

// authority is the one that the child was told to trust.
func (g *gatehouse) authority(c *child) *x509.Certificate {
	g.Helper()
	block, rest := pem.Decode([]byte(strings.TrimSpace(c.run(`cat "$NODE_EXTRA_CA_CERTS"`))))
	if block == nil || strings.Contains(string(rest), "BEGIN") {
		g.Fatal("it is not one certificate")
	}
	authority, err := x509.ParseCertificate(block.Bytes)
	must(g, err)
	return authority
}

// forger has a lease's key.
type forger struct {
	testing.TB
	authority *x509.Certificate
	key       *ecdsa.PrivateKey
}

// forge stops the broker and derives the key of the only lease as issuers/gateway documents it.
func (g *gatehouse) forge(authority *x509.Certificate) *forger {
	g.Helper()
	lease := strings.Split(g.leaseTokens()[0], "_")[1]
	g.broker.kill()
	server, err := config.LoadServer(g.path("hourkey.yaml"), config.NewGuard())
	must(g, err)
	stack, err := daemon.OpenStack(g.Context(), server, config.Secrets{Guard: config.NewGuard()}, time.Now)
	must(g, err)
	defer stack.Close()
	signer, err := stack.Keys.Signer(g.Context(), "gateway-ca")
	must(g, err)
	raw, err := hkdf.Key(sha256.New, signer.Seed(), nil, "gateway-ca/"+lease, 32)
	must(g, err)
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	must(g, err)
	if !key.PublicKey.Equal(authority.PublicKey) {
		g.Fatal("this is not the key of the lease's authority: nothing would be tested")
	}
	return &forger{g, authority, key}
}

// serve is a TLS server with a forged certificate for a name.
func (f *forger) serve(name string) (address string) {
	f.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Second), NotAfter: f.authority.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(f, err)
	raw, err := x509.CreateCertificate(rand.Reader, template, f.authority, &key.PublicKey, f.key)
	must(f, err)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}, MinVersion: tls.VersionTLS12})
	must(f, err)
	f.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			line, err := listener.Accept()
			if err != nil {
				return
			}
			go answerOnce(line)
		}
	}()
	return listener.Addr().String()
}

func answerOnce(line net.Conn) {
	defer line.Close()
	_ = line.SetDeadline(time.Now().Add(patience))
	if n, _ := line.Read(make([]byte, 4096)); n > 0 {
		_, _ = line.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
	}
}

// TestForwarderLeadsElsewhere: no other host, no other port, no plain http, no other name inside the tunnel,
// and nothing without the password of this run.
func TestForwarderLeadsElsewhere(t *testing.T) {
	t.Parallel()
	g := installGateway(t)
	c := g.exec()
	const noPlace = "is no place that this run's leases lead to"
	proxy := strings.TrimSpace(c.run(`printf %s "$HTTPS_PROXY"`))
	_, address, _ := strings.Cut(proxy, "@")
	for attack, step := range map[string]struct{ command, says string }{
		"another host, by curl":     {"curl -sSv -m 60 https://bank.invalid/", noPlace},
		"another host, by Go":       {goProgram(g) + " https://bank.invalid/ /dev/null", noPlace},
		"another host, by Python":   {python(g) + " https://bank.invalid/ /dev/null", noPlace},
		"another port":              {"curl -sSv -m 60 https://backboard.railway.com:8443/", noPlace},
		"a host below":              {"curl -sSv -m 60 https://x.backboard.railway.com/", noPlace},
		"an address":                {"curl -sSv -m 60 https://127.0.0.2/", noPlace},
		"plain http":                {`curl -sS -m 60 -x "$HTTPS_PROXY" http://backboard.railway.com/graphql/v2`, "plain http is not forwarded"},
		"no password":               {"curl -sSv -m 60 -x http://" + address + " https://backboard.railway.com/", "response 407"},
		"a wrong password":          {"curl -sSv -m 60 -x http://hourkey:hkp_wrong@" + address + " https://backboard.railway.com/", "response 407"},
		"base URL without password": {"curl -sS -m 60 http://" + address + "/0/graphql/v2", "the password of this run is wrong or missing"},
		"rebound name":              {`curl -sS -m 60 -H 'Host: bank.example' "$RAILWAY_API_URL"`, "this is no host of that name"},
		"another name in TLS":       {"curl -sSv -m 60 --connect-to bank.example:443:backboard.railway.com:443 https://bank.example/", "curl: (35)"},
		"another Host inside":       {"curl -sS -m 60 -H 'Host: bank.example' " + forwardURL, "this tunnel leads to backboard.railway.com"},
		"override":                  {"curl -sS -m 60 -H 'X-HTTP-Method-Override: POST' " + forwardURL + "?query=x", "X-Http-Method-Override"},
		"dressed path":              {"curl -sS -m 60 --path-as-is -d '{}' -H 'Content-Type: application/json' https://backboard.railway.com/x/../graphql/v2", "POST /graphql/v2"},
	} {
		out, _ := c.try(step.command)
		if !strings.Contains(out, step.says) {
			t.Errorf("%s: want %q: %s", attack, step.says, out)
		}
	}
	if told := c.said.String(); !strings.Contains(told, `refused: "bank.invalid:443" `+noPlace) {
		t.Errorf("whoever reads exec's own words is not told: %s", told)
	}
	if g.rail.times("mutation") > 0 {
		t.Error("something got through")
	}
}

// TestAnotherUserUsesTheForwarder has everything that the child has, the password too, but another uid.
func TestAnotherUserUsesTheForwarder(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("only root can be another user: cmd/hourkey/forward tests it against the kernel's table")
		return
	}
	g := installGateway(t)
	c := g.exec()
	must(t, os.Chmod(g.dir, 0o755)) // so that the other user is refused by the forwarder, not by a folder
	must(t, os.Chmod(g.home, 0o755))
	document := c.body(g.rail.asksProject())
	must(t, os.Chmod(document, 0o644))
	for how, url := range map[string]string{"forward": forwardURL, "base URL": baseURL} {
		ask := "curl -sSk -m 60 -H 'Content-Type: application/json' --data-binary @" + document + " " + url
		if out := c.run(ask); !strings.Contains(out, `"shop"`) {
			t.Errorf("%s, by its own user: %s", how, out)
		}
		out, status := c.try("env -u CURL_CA_BUNDLE setpriv --reuid 65534 --regid 65534 --clear-groups " + ask)
		if status != 52 && status != 56 || strings.Contains(out, "shop") { // curl's numbers for a connection that ends without an answer
			t.Errorf("%s, by another user: %d, %s", how, status, out)
		}
	}
	if told := c.said.String(); !strings.Contains(told, "refused a connection of another user (uid 65534)") {
		t.Errorf("nobody is told: %s", told)
	}
}

// TestTwoTargetsOfOneHost: a call to backboard.railway.com could be meant for either environment, so none is
// guessed.
func TestTwoTargetsOfOneHost(t *testing.T) {
	t.Parallel()
	g := installGateway(t)
	both := []string{"exec", "--environment", "staging", "--environment", "production", "--scope", "railway:project/*:read"}
	command := g.agentCommand(append(both, "--", "touch", "ran")...)
	out, err := command.CombinedOutput()
	if command.ProcessState.ExitCode() != 125 || !strings.Contains(string(out), "hint: choose one with --target ") {
		t.Errorf("two targets of one host: %v, %s", err, out)
	}
	if _, err := os.Stat(g.home + "/ran"); err == nil {
		t.Error("the command ran all the same")
	}
	eventually(t, func() error {
		if open := g.leases(false); len(open) > 0 {
			return fmt.Errorf("%d leases are alive, and nobody has them", len(open))
		}
		return nil
	})
	for target, environment := range map[string]string{"staging/railway": g.rail.Staging, "production/railway": g.rail.Production} {
		c := g.exec(append(both[1:], "--target", target)...)
		if out := c.run(c.curl(g.rail.asksProject())); !strings.Contains(out, `"id":"`+environment+`"`) || strings.Count(out, `"environments":{"edges":[{"node"`) != 1 {
			t.Errorf("--target %s: %s", target, out)
		}
	}
}
