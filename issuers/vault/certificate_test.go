package vault_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/vault"
)

// Roles of pki whose settings say plainly that their certificates are good for more: refused, or described as what they are.
func TestAttackRolesOfPKIThatGiveMore(t *testing.T) {
	o := newOffice(t)
	issuer := o.issuer(t)
	for name, one := range map[string]struct {
		change map[string]any
		next   string         // of the refusal; empty: it is described
		means  broker.Actions // beyond what is declared
		server bool
	}{
		"as Vault makes it":             {server: true},
		"for clients alone":             {change: map[string]any{"server_flag": false}},
		"it signs others":               {change: map[string]any{"key_usage": "DigitalSignature, CertSign "}, next: "key_usage"},
		"it signs revocation lists":     {change: map[string]any{"key_usage": "crlsign"}, next: "key_usage"},
		"it says that revoked are good": {change: map[string]any{"ext_key_usage": "OCSPSigning"}, next: "ext_key_usage"},
		"it ends at a fixed date":       {change: map[string]any{"not_after": "2099-01-01T00:00:00Z"}, next: "not_after"},
		"it is kept nowhere":            {change: map[string]any{"no_store": true}, next: "no_store"},
		"another issuer":                {change: map[string]any{"issuer_ref": o.settings.Mount}, next: "issuer_ref"},
		"it signs code":                 {change: map[string]any{"code_signing_flag": true, "server_flag": false}, means: broker.Admin},
		"it signs code, in other words": {change: map[string]any{"ext_key_usage": " CodeSigning", "server_flag": false}, means: broker.Admin},
		"it signs mail":                 {change: map[string]any{"email_protection_flag": true}, means: broker.Admin, server: true},
		"it is good for anything":       {change: map[string]any{"ext_key_usage": "Any", "server_flag": false}, means: broker.Admin, server: true},
		"nothing is said":               {change: map[string]any{"server_flag": false, "client_flag": false}, means: broker.Admin, server: true},
		"a use that nobody knows":       {change: map[string]any{"ext_key_usage_oids": "1.3.6.1.4.1.311.20.2.2"}, means: broker.Admin, server: true},
		"a group of Kubernetes":         {change: map[string]any{"organization": "system:masters"}, means: worst, server: true},
		"a unit of Kubernetes":          {change: map[string]any{"ou": "ops,System:Masters"}, means: worst, server: true},
	} {
		if name == "another issuer" {
			one.change["issuer_ref"] = o.Read(t, o.settings.Mount+"/config/issuers")["data"].(map[string]any)["default"]
		}
		o.role(t, one.change)
		d, err := issuer.Describe(t.Context(), wish(t, "orders-api:read"))
		if one.next != "" {
			if broker.CodeOf(err) != broker.CodeWall || !strings.Contains(next(err), one.next) {
				t.Errorf("%s: %v, %s; want it refused", name, err, next(err))
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if means := broker.AllActions(d.Means()); means != broker.Read|broker.Write|one.means {
			t.Errorf("%s: it means %s", name, means)
		}
		if hasWall(d, "standing in", broker.WallNone) != one.server || hasWall(d, "standing in", broker.WallNative) == one.server {
			t.Errorf("%s: that it is good for servers is %t: %+v", name, one.server, d.Walls)
		}
	}
}

// How the mount revokes, and whether it gives certificates to anybody, is read and not believed.
func TestWhatTheMountDoesBesides(t *testing.T) {
	o := newOffice(t)
	issuer := o.issuer(t)
	mount := o.settings.Mount
	for _, one := range []struct {
		crl  map[string]any
		wall broker.Wall
		says string
	}{
		{map[string]any{}, broker.WallWeak, "at once"},
		{map[string]any{"auto_rebuild": true}, broker.WallWeak, "only a server that asks its OCSP"},
		{map[string]any{"auto_rebuild": true, "ocsp_disable": true}, broker.WallWeak, "every server accepts it"},
		{map[string]any{"auto_rebuild": false, "disable": true, "ocsp_disable": false}, broker.WallWeak, "list switched off"},
		{map[string]any{"disable": true, "ocsp_disable": true}, broker.WallNone, "nobody can tell"},
	} {
		o.Write(t, mount+"/config/crl", one.crl)
		if d := describe(t, issuer, wish(t, "orders-api:read")); !hasWall(d, "use after a revoke", one.wall) || !says(d, one.says) {
			t.Errorf("%v: %+v", one.crl, d.Walls)
		}
	}
	o.Write(t, mount+"/config/cluster", map[string]any{"path": server.Address + "/v1/" + mount})
	o.Write(t, "sys/mounts/"+mount+"/tune", map[string]any{
		"passthrough_request_headers": []string{"If-Modified-Since"}, "allowed_response_headers": []string{"Last-Modified", "Location", "Replay-Nonce", "Link"},
	})
	for policy, wall := range map[string]broker.Wall{"not-required": broker.WallNone, "always-required": broker.WallNative} {
		o.Write(t, mount+"/config/acme", map[string]any{"enabled": true, "eab_policy": policy})
		if err := o.register(t.Context(), t); (err == nil) != (wall == broker.WallNone) {
			t.Errorf("an account at ACME, %s: %v", policy, err)
		}
		if d := describe(t, issuer, wish(t, "orders-api:read")); !hasWall(d, "without a lease", wall) {
			t.Errorf("ACME, %s: %+v", policy, d.Walls)
		}
	}
}

// What one authority signs works wherever it is trusted: neither a mount nor an authority's key is in two environments.
func TestAttackOneAuthorityForTwoEnvironments(t *testing.T) {
	office, harbour := newOffice(t), newHarbour(t)
	for name, s := range map[string]*site{"pki": office.site, "ssh": harbour.site} {
		first, err := s.issuer(t).Identify(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Fields(first.Parts)
		other := *s
		other.settings.Offers = slices.Clone(s.settings.Offers)
		other.settings.Offers[0].Role = "production"
		second, err := other.issuer(t).Identify(t.Context())
		if err != nil || first.ID == second.ID || first.Parts != second.Parts || len(parts) != 2 {
			t.Errorf("%s: another role of the same mount is %q, after %q, %v", name, second.Parts, first.Parts, err)
		}
		if !strings.Contains(first.ID, parts[1]) || !strings.Contains(first.Shown, parts[1]) {
			t.Errorf("%s: the authority is not in the identity: %+v", name, first)
		}
	}
	d := describe(t, harbour.issuer(t), wish(t, "web-host:read"))
	harbour.Delete(t, harbour.settings.Mount+"/config/ca")
	if _, err := harbour.issuer(t).Identify(t.Context()); broker.CodeOf(err) != broker.CodeWall || !strings.Contains(next(err), "config/ca") {
		t.Errorf("a mount without an authority: %v, %s", err, next(err))
	}
	harbour.Write(t, harbour.settings.Mount+"/config/ca", map[string]any{"generate_signing_key": true, "key_type": "ed25519"})
	credential, _, err := harbour.issuer(t).Issue(t.Context(), orderFor(d, "hk-other-ca"))
	if err == nil || len(credential.Values) > 0 {
		t.Errorf("a credential of another authority than was described: %v; want it not handed out", err)
	}
	empty := newEngine(t, "pki", "pki", office.settings.Offers[0], nil)
	if _, err := empty.issuer(t).Identify(t.Context()); broker.CodeOf(err) != broker.CodeWall || !strings.Contains(next(err), "root/generate") {
		t.Errorf("a pki mount without an authority: %v, %s", err, next(err))
	}
}

// Roles of ssh that give more, or that nobody vouches for.
func TestAttackRolesOfSSHThatGiveMore(t *testing.T) {
	s := newHarbour(t)
	force := func(command string) map[string]string { return map[string]string{"force-command": command} }
	for name, one := range map[string]struct {
		change map[string]any
		means  broker.Actions // beyond what is declared
	}{
		"any command":                       {nil, broker.Delete | broker.Admin},
		"a command that is forced":          {map[string]any{"default_critical_options": force("/usr/local/bin/report")}, 0},
		"sftp, which replaces files":        {map[string]any{"default_critical_options": force("internal-sftp")}, broker.Delete | broker.Admin},
		"what was asked for":                {map[string]any{"default_critical_options": force(`sh -c "$SSH_ORIGINAL_COMMAND"`)}, broker.Delete | broker.Admin},
		"a shell":                           {map[string]any{"default_critical_options": force("/bin/bash -l")}, broker.Delete | broker.Admin},
		"scp, which replaces files":         {map[string]any{"default_critical_options": force("scp -t /home/deploy")}, broker.Delete | broker.Admin},
		"rsync, too":                        {map[string]any{"default_critical_options": force("/usr/bin/rsync --server . /")}, broker.Delete | broker.Admin},
		"a script with shell in its name":   {map[string]any{"default_critical_options": force("/opt/publish.sh --shell")}, 0},
		"a file of the account runs first":  {map[string]any{"default_critical_options": force("/usr/local/bin/report"), "default_extensions": map[string]string{"permit-user-rc": ""}}, broker.Delete | broker.Admin},
		"a name at another service":         {map[string]any{"default_critical_options": force("/usr/local/bin/report"), "default_extensions": map[string]string{"login@github.com": "alice"}}, broker.Admin},
		"an option that forces no command":  {map[string]any{"default_critical_options": map[string]string{"source-address": "10.0.0.0/8"}}, broker.Delete | broker.Admin},
		"a command that requests may leave": {map[string]any{"allowed_critical_options": "force-command"}, broker.Delete | broker.Admin},
	} {
		s.role(t, one.change)
		if means := broker.AllActions(describe(t, s.issuer(t), wish(t, "web-host:read")).Means()); means != broker.Read|broker.Write|one.means {
			t.Errorf("%s: it means %s", name, means)
		}
	}
	s.role(t, nil)
	s.settings.Accept = []vault.Accept{{Object: vault.AcceptShell, Why: "the test's hosts run one command"}}
	d := describe(t, s.issuer(t), wish(t, "web-host:read"))
	if means := broker.AllActions(d.Means()); means.NeedsHuman() || !says(d, "run one command") || len(d.Exceptions) != 2 || !hasWall(d, "other commands", broker.WallWeak) {
		t.Errorf("vouched for, it means %s: %+v", means, d)
	}
}

// The lease's name is in what hosts log of a login, unless the role says otherwise: that is told.
func TestHostsLogTheLease(t *testing.T) {
	s := newHarbour(t)
	credential, _ := lease(t, s.issuer(t), "hk-logged-1", "web-host:read")
	if _, certificate := keyOf(t, credential); !strings.Contains(certificate.KeyId, "hk-logged-1") {
		t.Errorf("the key's id is %q", certificate.KeyId)
	}
	if found := shown(findings(t, s.issuer(t))); strings.Contains(found, "key_id_format") {
		t.Errorf("check --live:%s", found)
	}
	s.role(t, map[string]any{"key_id_format": "{{public_key_hash}}"})
	if found := shown(findings(t, s.issuer(t))); !strings.Contains(found, "key_id_format='{{token_display_name}}'") {
		t.Errorf("check --live:%s", found)
	}
}

// A role that is changed for the moment of the issue, and changed back, gives nothing.
func TestAttackRoleOfSSHChangedForTheMoment(t *testing.T) {
	s := newHarbour(t)
	forced := map[string]any{"default_critical_options": map[string]string{"force-command": "/usr/local/bin/report"}}
	s.role(t, forced)
	d := describe(t, s.issuer(t), wish(t, "web-host:read"))
	for name, change := range map[string]map[string]any{
		"no command is forced":   nil,
		"another command":        {"default_critical_options": map[string]string{"force-command": "/bin/sh"}},
		"one more extension":     {"default_critical_options": forced["default_critical_options"], "default_extensions": map[string]string{"permit-pty": "", "permit-port-forwarding": ""}},
		"an extension's meaning": {"default_critical_options": forced["default_critical_options"], "default_extensions": map[string]string{"permit-pty": "root"}},
	} {
		b := newBetween(t, server.Address)
		b.on("/sign/web", func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
			s.role(t, change)
			forward.ServeHTTP(w, r)
			s.role(t, forced)
		})
		spoiled := *s.site
		spoiled.settings.Address = b.URL
		credential, handle, err := spoiled.issuer(t).Issue(t.Context(), orderFor(d, "hk-moment-1"))
		if broker.CodeOf(err) != broker.CodeUnavailable || len(credential.Values) > 0 {
			t.Errorf("%s: %v; want it not handed out", name, err)
		}
		if err := s.issuer(t).Revoke(t.Context(), "hk-moment-1", handle); err != nil {
			t.Errorf("%s: Revoke: %v", name, err)
		}
	}
}

// A certificate of the wrong kind, or without an end, is not handed out, whatever Vault answers.
func TestAttackCertificateOfSSHThatIsMore(t *testing.T) {
	s := newHarbour(t)
	b := newBetween(t, server.Address)
	s.settings.Address = b.URL
	issuer := s.issuer(t)
	d := describe(t, issuer, wish(t, "web-host:read"))
	for name, change := range map[string]func(*ssh.Certificate){
		"a host's":             func(c *ssh.Certificate) { c.CertType = ssh.HostCert },
		"without an end":       func(c *ssh.Certificate) { c.ValidBefore = ssh.CertTimeInfinity },
		"a longer life":        func(c *ssh.Certificate) { c.ValidBefore += uint64(time.Hour / time.Second) },
		"for any account":      func(c *ssh.Certificate) { c.ValidPrincipals = nil },
		"for two accounts":     func(c *ssh.Certificate) { c.ValidPrincipals = append(c.ValidPrincipals, "root") },
		"for another":          func(c *ssh.Certificate) { c.ValidPrincipals = []string{"root"} },
		"of another authority": func(c *ssh.Certificate) { c.SignatureKey = plainKey(t).PublicKey() },
	} {
		b.on("/sign/web", rewrite(func(answer map[string]any) {
			data := answer["data"].(map[string]any)
			parsed, _, _, _, err := ssh.ParseAuthorizedKey([]byte(data["signed_key"].(string)))
			if err != nil {
				t.Error(err)
				return
			}
			change(parsed.(*ssh.Certificate))
			data["signed_key"] = string(ssh.MarshalAuthorizedKey(parsed))
		}))
		credential, handle, err := issuer.Issue(t.Context(), orderFor(d, "hk-moment-2"))
		if broker.CodeOf(err) != broker.CodeUnavailable || len(credential.Values) > 0 {
			t.Errorf("%s: %v; want it not handed out", name, err)
		}
		b.on("", nil)
		if err := issuer.Revoke(t.Context(), "hk-moment-2", handle); err != nil {
			t.Errorf("%s: Revoke: %v", name, err)
		}
	}
}

// Where the authority is below a root, what is handed out brings it along: a server that trusts the root alone takes it. That is why
// the wall between environments is said to be weak.
func TestCertificateBringsTheAuthoritiesBetween(t *testing.T) {
	above, o := newOffice(t), &office{site: newEngine(t, "pki", "pki", vault.Offer{Role: "client", CommonName: "agent.staging.example", Scopes: []string{"orders-api:read"}, Why: "tested"}, nil)}
	o.authority = above.authority
	field := func(path, name string, data map[string]any) any {
		return o.Write(t, path, data)["data"].(map[string]any)[name]
	}
	request := field(o.settings.Mount+"/intermediate/generate/internal", "csr", map[string]any{"common_name": "staging, below"})
	signed := field(above.settings.Mount+"/root/sign-intermediate", "certificate", map[string]any{"csr": request, "common_name": "staging, below", "ttl": "120h"})
	o.Write(t, o.settings.Mount+"/intermediate/set-signed", map[string]any{"certificate": fmt.Sprintf("%s\n%s", signed, above.made(t))})
	issuers := o.Read(t, o.settings.Mount+"/config/issuers")["data"].(map[string]any)
	if issuers["default"] == "" {
		t.Fatal("the mount has no default issuer")
	}
	o.role(t, nil)
	credential, _ := lease(t, o.issuer(t), "hk-below-1", "orders-api:read")
	if n := strings.Count(credential.Values["TLS_CERTIFICATE"].Reveal(), "BEGIN CERTIFICATE"); n != 2 {
		t.Errorf("%d certificates; want it and the authority between, without the root", n)
	}
	if _, err := enter(t, o.service(t, nil), pairOf(t, credential), nil); err != nil {
		t.Errorf("a service that trusts the root: %v", err)
	}
	if d := describe(t, o.issuer(t), wish(t, "orders-api:read")); !says(d, "or one above it") {
		t.Error("that a root is trusted elsewhere is not said")
	}
}

// A role that would refuse the principal, or a mount that would refuse the time, is told before anybody approves.
func TestRoleOfSSHThatWouldRefuse(t *testing.T) {
	s := newHarbour(t)
	s.role(t, map[string]any{"allowed_users": "root, admin"})
	if _, err := s.issuer(t).Describe(t.Context(), wish(t, "web-host:read")); broker.CodeOf(err) != broker.CodeWall || !strings.Contains(next(err), "allowed_users=deploy") {
		t.Errorf("another principal: %v, %s", err, next(err))
	}
	s.role(t, map[string]any{"allowed_users": "root, deploy", "max_ttl": 0})
	s.Write(t, "sys/mounts/"+s.settings.Mount+"/tune", map[string]any{"default_lease_ttl": "5m", "max_lease_ttl": "5m"})
	if d := describe(t, s.issuer(t), wish(t, "web-host:read")); d.TTL != 5*time.Minute {
		t.Errorf("at a mount of five minutes it lives %s", d.TTL)
	}
	lease(t, s.issuer(t), "hk-short-2", "web-host:read")
}
