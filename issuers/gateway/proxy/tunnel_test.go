package proxy

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// refusedTunnel opens a tunnel that must be refused, and gives the problem.
func (r *rig) refusedTunnel(name string, a ask, status int, says string) {
	r.Helper()
	c, _, response := r.open(a)
	if c != nil {
		c.Close()
		r.Errorf("%s: the tunnel was opened", name)
		return
	}
	var problem struct{ Type, Title, Detail, Code, Next string }
	raw, _ := io.ReadAll(response.Body)
	if err := json.Unmarshal(raw, &problem); err != nil || problem.Code == "" || problem.Type != "/problems/"+problem.Code || response.Header.Get("Content-Type") != "application/problem+json" {
		r.Errorf("%s: no problem: %s", name, raw)
	}
	if response.StatusCode != status || !strings.Contains(problem.Detail, says) {
		r.Errorf("%s: %d %s, want %d %q", name, response.StatusCode, problem.Detail, status, says)
	}
	if challenge := response.Header.Get("WWW-Authenticate"); (status == 401) != strings.HasPrefix(challenge, "DPoP ") {
		r.Errorf("%s: %d with WWW-Authenticate %q", name, status, challenge)
	}
	if strings.Contains(string(raw), a.token) && a.token != "" {
		r.Errorf("%s: the token is in the answer", name)
	}
}

func TestATokenFromElsewhere(t *testing.T) {
	r := newRig(t)
	thief := newKey(t)
	a := r.ask(mainHost, true)
	a.proof = thief.prove(r.origin, leaseToken, time.Now())
	r.refusedTunnel("another key", a, 401, "another key")

	a = r.ask(mainHost, true)
	a.proof = ""
	r.refusedTunnel("no proof", a, 401, "one DPoP proof")

	a = r.ask(mainHost, true)
	a.headers = map[string]string{"Authorization": "Bearer " + leaseToken}
	r.refusedTunnel("as a bearer token", a, 401, "Authorization: DPoP")

	a = r.ask(mainHost, true)
	a.query += "&access_token=" + leaseToken
	r.refusedTunnel("in the URL", a, 400, "nothing else")

	// The thief shows the agent's public key and signs with his own.
	a = r.ask(mainHost, true)
	stolen := *thief
	stolen.jwk = r.key.jwk
	a.proof = stolen.prove(r.origin, leaseToken, time.Now())
	r.refusedTunnel("signed by another than the key in it", a, 401, "not signed")
}

func TestATokenAfterRelease(t *testing.T) {
	r := newRig(t)
	client := r.client()
	if status, _ := r.do(client, "GET", "/things/7", ""); status != 200 {
		t.Fatal(status)
	}
	open := r.plain()
	r.broker.end()
	if _, err := open.Read(make([]byte, 1)); err == nil {
		t.Error("an idle tunnel stays open")
	}
	r.refusedTunnel("after release", r.ask(mainHost, true), 401, "has ended")
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://base.local/things/7", http.NoBody)
	if response, err := client.Do(request); err == nil {
		response.Body.Close()
		if response.StatusCode < 400 {
			t.Error("a call passes after release")
		}
	}
	if seen := len(r.backend.seen()); seen != 1 {
		t.Errorf("the provider saw %d calls, want 1", seen)
	}
}

func TestATokenOnAnotherTargetOrHost(t *testing.T) {
	r := newRig(t)
	for name, to := range map[string]string{
		"another host":     "bank.example",
		"a name below":     "x." + mainHost,
		"another port":     mainHost + ":8443",
		"plain HTTP":       mainHost + ":80",
		"an address":       "127.0.0.1:443",
		"the host of two":  mainHost + ":443:443",
		"a user before it": "user@" + mainHost,
		"a path after it":  mainHost + "/x",
		"a dot after it":   mainHost + ".",
	} {
		r.refusedTunnel(name, r.ask(to, true), 403, "this lease leads to api.example.test, alias.example.test, port 443")
	}
	for _, to := range []string{mainHost, strings.ToUpper(mainHost), mainHost + ":443", otherHost} {
		c, _, response := r.open(r.ask(to, true))
		if c == nil {
			t.Errorf("%s: %d", to, response.StatusCode)
			continue
		}
		c.Close()
	}
	// A target that is not behind the gateway: its lease has no tunnels.
	r.broker.presented.Target.Issuer = struct {
		broker.Issuer
		broker.Declarer
	}{}
	r.refusedTunnel("a target of another kind", r.ask(mainHost, true), 403, "not reached through the gateway")
}

func TestAReplayedProof(t *testing.T) {
	r := newRig(t)
	a := r.ask(mainHost, true)
	c, _, _ := r.open(a)
	if c == nil {
		t.Fatal("refused at first")
	}
	c.Close()
	r.refusedTunnel("the same proof again", a, 401, "used before")
	a.query = "to=" + otherHost
	r.refusedTunnel("for another host", a, 401, "used before")

	// The same jti signed anew: the jti is what counts.
	again := func(_, claims map[string]any) { claims["jti"] = "0123456789abcdef" }
	for at, want := range []bool{true, false} {
		a := r.ask(mainHost, true)
		a.proof = r.key.prove(r.origin, leaseToken, time.Now(), again)
		c, _, _ := r.open(a)
		if (c != nil) != want {
			t.Errorf("jti, time %d: opened %v", at+1, c != nil)
		}
		if c != nil {
			c.Close()
		}
	}
}

// The attack: a proof is taken, the broker is restarted and has forgotten which were used.
func TestAReplayedProofAfterARestart(t *testing.T) {
	first := newRig(t)
	for name, ahead := range map[string]time.Duration{"of now": 0, "from a clock that is a second ahead": time.Second} {
		a := first.ask(mainHost, true)
		a.proof = first.key.prove(first.origin, leaseToken, time.Now().Add(ahead))
		c, _, _ := first.open(a)
		if c == nil {
			t.Fatalf("%s: refused at first", name)
		}
		c.Close()
		again, err := New(Config{Broker: first.broker, Authority: first.authority, Origin: first.origin, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, first.origin+Path+"?"+a.query, http.NoBody)
		request.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {upgradeTo}, "Authorization": {"DPoP " + leaseToken}, "Dpop": {a.proof}}
		if _, err := again.open(request); broker.CodeOf(err) != broker.CodeUnauthenticated || !strings.Contains(err.Error(), "start") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAProofForSomethingElse(t *testing.T) {
	r := newRig(t)
	type m = map[string]any
	for name, c := range map[string]struct {
		change func(header, claims m)
		says   string
	}{
		"another method":      {func(_, c m) { c["htm"] = "POST" }, "htm must be GET"},
		"another URL":         {func(_, c m) { c["htu"] = "https://evil.example" + Path }, "htu must be"},
		"with the query":      {func(_, c m) { c["htu"] = r.origin + Path + "?to=" + mainHost }, "htu must be"},
		"another path":        {func(_, c m) { c["htu"] = r.origin + "/oauth/token" }, "htu must be"},
		"another token":       {func(_, c m) { c["ath"] = sha("hkt_other") }, "another token"},
		"no token":            {func(_, c m) { delete(c, "ath") }, "another token"},
		"too old":             {func(_, c m) { c["iat"] = time.Now().Add(-61 * time.Second).Unix() }, "older than a minute"},
		"from the future":     {func(_, c m) { c["iat"] = time.Now().Add(time.Minute).Unix() }, "from the future"},
		"no time":             {func(_, c m) { delete(c, "iat") }, "must have iat"},
		"a time beyond":       {func(_, c m) { c["iat"] = 1e300 }, "must have iat"},
		"a time as text":      {func(_, c m) { c["iat"] = "now" }, "right types"},
		"a short jti":         {func(_, c m) { c["jti"] = "0123456789abcde" }, "jti"},
		"a long jti":          {func(_, c m) { c["jti"] = strings.Repeat("x", 129) }, "jti"},
		"another type":        {func(h, _ m) { h["typ"] = "JWT" }, "typ"},
		"no algorithm":        {func(h, _ m) { h["alg"] = "none" }, "not signed with EdDSA"},
		"an HMAC":             {func(h, _ m) { h["alg"] = "HS256" }, "not signed with EdDSA"},
		"another algorithm":   {func(h, _ m) { h["alg"] = "ES256" }, "not signed with EdDSA"},
		"no key":              {func(h, _ m) { delete(h, "jwk") }, "not a public key"},
		"a key by its name":   {func(h, _ m) { h["kid"] = "agent" }, "typ, alg and jwk alone"},
		"a key by its URL":    {func(h, _ m) { h["jku"] = "https://evil.example/keys" }, "typ, alg and jwk alone"},
		"a critical header":   {func(h, _ m) { h["crit"] = []string{"b64"} }, "typ, alg and jwk alone"},
		"a symmetric key":     {func(h, _ m) { h["jwk"] = m{"kty": "oct", "k": "c2VjcmV0"} }, "not a public key"},
		"an RSA key":          {func(h, _ m) { h["jwk"] = m{"kty": "RSA", "n": "AQAB", "e": "AQAB"} }, "not a public key"},
		"a private key":       {func(h, _ m) { k := m{"d": "c2VjcmV0"}; copyKey(k, h); h["jwk"] = k }, "private part"},
		"another curve":       {func(h, _ m) { k := m{}; copyKey(k, h); k["crv"] = "Ed448"; h["jwk"] = k }, "unknown kind"},
		"a padded coordinate": {func(h, _ m) { k := m{}; copyKey(k, h); k["x"] = k["x"].(string) + "="; h["jwk"] = k }, "coordinate"},
		"a point off P-256": {func(h, _ m) {
			h["jwk"] = m{"kty": "EC", "crv": "P-256", "x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))}
		}, "no point"},
	} {
		a := r.ask(mainHost, true)
		a.proof = r.key.prove(r.origin, leaseToken, time.Now(), c.change)
		r.refusedTunnel(name, a, 401, c.says)
	}
	good := r.key.prove(r.origin, leaseToken, time.Now())
	for name, proof := range map[string]string{
		"nothing":            "x",
		"two parts":          good[:strings.LastIndex(good, ".")],
		"four parts":         good + ".x",
		"another signature":  good[:len(good)-8] + "AAAAAAAA",
		"too long":           good + strings.Repeat("A", mostProof),
		"claims that follow": good + " " + good,
		"a header and more":  b64([]byte(`{"typ":"dpop+jwt","alg":"EdDSA","jwk":{}}}`)) + good[strings.Index(good, "."):],
	} {
		a := r.ask(mainHost, true)
		a.proof = proof
		r.refusedTunnel(name, a, 401, "DPoP proof")
	}
}

func copyKey(to, header map[string]any) {
	for name, value := range header["jwk"].(map[string]string) {
		to[name] = value
	}
}

// The attack of old: the public key taken for an HMAC's secret.
func TestAProofSignedWithThePublicKeyAsASecret(t *testing.T) {
	r := newRig(t)
	forged := *r.key
	forged.algorithm = "HS256"
	forged.sign = func(signed string) []byte {
		mac := hmac.New(sha256.New, []byte(r.key.jwk["x"]))
		mac.Write([]byte(signed))
		return mac.Sum(nil)
	}
	a := r.ask(mainHost, true)
	a.proof = forged.prove(r.origin, leaseToken, time.Now())
	r.refusedTunnel("HS256", a, 401, "not signed with EdDSA")
}

func TestAProofByAP256Key(t *testing.T) {
	r := newRig(t)
	r.key = newECKey(t)
	r.broker.presented.Lease.AgentKey = r.key.thumbprint
	c, _, response := r.open(r.ask(mainHost, true))
	if c == nil {
		t.Fatalf("refused: %d", response.StatusCode)
	}
	c.Close()
	bad := *r.key
	bad.jwk = map[string]string{"kty": "EC", "crv": "P-256", "x": r.key.jwk["y"], "y": r.key.jwk["x"]}
	other := r.ask(mainHost, true)
	other.proof = bad.prove(r.origin, leaseToken, time.Now())
	r.refusedTunnel("a point off the curve", other, 401, "")
	cut := *r.key
	cut.sign = func(signed string) []byte { return r.key.sign(signed)[:63] }
	a := r.ask(mainHost, true)
	a.proof = cut.prove(r.origin, leaseToken, time.Now())
	r.refusedTunnel("a short signature", a, 401, "not signed with ES256")
}

func TestWhatIsNoAskForATunnel(t *testing.T) {
	r := newRig(t)
	for name, change := range map[string]func(*ask){
		"another method":      func(a *ask) { a.method = "POST" },
		"another path":        func(a *ask) { a.path = Path + "/" },
		"no upgrade":          func(a *ask) { a.headers = map[string]string{"Upgrade": ""} },
		"a websocket":         func(a *ask) { a.headers = map[string]string{"Upgrade": "websocket"} },
		"no connection":       func(a *ask) { a.headers = map[string]string{"Connection": "keep-alive"} },
		"no host":             func(a *ask) { a.query = "plain=1" },
		"two hosts":           func(a *ask) { a.query = "to=" + mainHost + "&to=" + otherHost },
		"plain that is not 1": func(a *ask) { a.query = "to=" + mainHost + "&plain=0" },
		"a query that is not": func(a *ask) { a.query = "to=%zz" },
		"a semicolon":         func(a *ask) { a.query = "to=" + mainHost + ";plain=1" },
		"a body":              func(a *ask) { a.headers = map[string]string{"Content-Length": "1", "Expect": "100-continue"} },
	} {
		a := r.ask(mainHost, true)
		change(&a)
		r.refusedTunnel(name, a, 400, "")
	}
}

func TestProofsAreForgottenOnlyWhenNoneIsLeft(t *testing.T) {
	memory := newReplays()
	at := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	one := proof{thumbprint: "key", id: "one"}
	if err := memory.use(one, at); err != nil {
		t.Fatal(err)
	}
	for _, later := range []time.Duration{0, time.Second, 59 * time.Second, 61 * time.Second} {
		if memory.use(one, at.Add(later)) == nil {
			t.Errorf("taken again after %s", later)
		}
	}
	if memory.use(one, at.Add(-time.Hour)) == nil {
		t.Error("taken again when the clock was set back")
	}
	if now := memory.latest(at.Add(-time.Hour)); now.Before(at) {
		t.Error("a clock that is set back makes old proofs new")
	}
	if err := memory.use(proof{thumbprint: "other", id: "one"}, at); err != nil {
		t.Errorf("one agent uses up another's: %v", err)
	}
	// The memory is bounded, and full it takes none.
	for len(memory.younger) < mostProofs {
		if err := memory.use(proof{id: rand.Text()}, at.Add(2*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if err := memory.use(proof{id: "more"}, at.Add(2*time.Minute)); broker.CodeOf(err) != broker.CodeUnavailable {
		t.Errorf("a full memory: %v", err)
	}
	if err := memory.use(proof{id: "more"}, at.Add(4*time.Minute)); err != nil {
		t.Errorf("a minute later: %v", err)
	}
}

func TestTooManyTunnels(t *testing.T) {
	s := newSlots()
	for range mostPerLease {
		if err := s.take("lease1", "claude"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.take("lease1", "claude"); broker.CodeOf(err) != broker.CodeUnavailable {
		t.Errorf("one more of the lease: %v", err)
	}
	if err := s.take("lease2", "claude"); err != nil {
		t.Errorf("another lease: %v", err)
	}
	s.give("lease1", "claude")
	if err := s.take("lease1", "claude"); err != nil {
		t.Errorf("after one was closed: %v", err)
	}
	r := newRig(t)
	r.do(r.client(), "GET", "/things/7", "")
	r.broker.end()
	wait(t, "the slot of a lease that ended", func() bool {
		r.proxy.slots.mu.Lock()
		defer r.proxy.slots.mu.Unlock()
		return r.proxy.slots.all == 0 && len(r.proxy.slots.taken) == 0
	})
}

// The attack: one agent opens tunnels with as many leases as it may have, until no other agent gets one.
func TestOneAgentLeavesTunnelsToOthers(t *testing.T) {
	s := newSlots()
	for n := range mostTunnels {
		_ = s.take(fmt.Sprintf("lease%d", n/mostPerLease), "greedy")
	}
	if err := s.take("lease-of-another", "claude"); err != nil {
		t.Error(err)
	}
}

// The attack: the tunnel to one host is used with another name, for which our CA would vouch too.
func TestAnotherNameInTheTunnel(t *testing.T) {
	r := newRig(t)
	for name, settings := range map[string]*tls.Config{
		"another host of the target": {ServerName: otherHost},
		"another host":               {ServerName: "bank.example"},
		"no name":                    {},
		"HTTP/2 alone":               {ServerName: mainHost, NextProtos: []string{"h2"}},
		"an old TLS":                 {ServerName: mainHost, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
	} {
		c, _, response := r.open(r.ask(mainHost, false))
		if c == nil {
			t.Fatalf("%s: %d", name, response.StatusCode)
		}
		settings.InsecureSkipVerify = true // a client that believes anything
		inner := tls.Client(c, settings)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err := inner.HandshakeContext(ctx); err == nil {
			t.Errorf("%s: taken", name)
		}
		cancel()
		c.Close()
	}
}

func TestTheLeafOfATunnel(t *testing.T) {
	r := newRig(t)
	c, _, _ := r.open(r.ask(mainHost, false))
	inner := tls.Client(c, &tls.Config{RootCAs: r.ca(), ServerName: mainHost, NextProtos: []string{"h2", "http/1.1"}})
	defer inner.Close()
	if err := inner.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	state := inner.ConnectionState()
	leaf := state.PeerCertificates[0]
	if len(leaf.DNSNames) != 1 || leaf.DNSNames[0] != mainHost || leaf.NotAfter.After(r.broker.presented.Lease.Expires) || state.NegotiatedProtocol != "http/1.1" {
		t.Errorf("names %v until %s, %s", leaf.DNSNames, leaf.NotAfter, state.NegotiatedProtocol)
	}
}
