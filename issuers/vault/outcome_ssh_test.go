package vault_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/vault"
)

// harbour is a site whose engine is an ssh engine with an authority of its own.
type harbour struct {
	*site
	authority ssh.PublicKey
}

func newHarbour(t *testing.T) *harbour {
	t.Helper()
	offer := declaring("web", "web-host:read,write")
	offer.Principal = "deploy"
	h := &harbour{site: newEngine(t, "ssh", "ssh", offer, nil)}
	made := h.Write(t, h.settings.Mount+"/config/ca", map[string]any{"generate_signing_key": true, "key_type": "ed25519"})["data"].(map[string]any)
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(made["public_key"].(string)))
	if err != nil {
		t.Fatal(err)
	}
	h.authority = key
	h.role(t, nil)
	return h
}

// role writes a role for the one account, but for some changes.
func (h *harbour) role(t *testing.T, changes map[string]any) {
	t.Helper()
	role := map[string]any{"key_type": "ca", "allow_user_certificates": true, "allowed_users": "deploy", "max_ttl": "1h", "default_extensions": map[string]string{"permit-pty": ""}}
	for name, value := range changes {
		role[name] = value
	}
	h.Delete(t, h.settings.Mount+"/roles/web")
	h.Write(t, h.settings.Mount+"/roles/web", role)
}

// A certificate that forces no command, at a server that checks it as OpenSSH does.
func TestBypassesOfSSH(t *testing.T) {
	s := newHarbour(t)
	issuer := s.issuer(t)
	d := describe(t, issuer, wish(t, "web-host:read,write"))
	credential, handle := lease(t, issuer, "hk-by-13", "web-host:read,write")
	signer, certificate := keyOf(t, credential)
	web := newHost(t, s.authority)
	all := refusals(s.attacks(t, web, signer, certificate))
	all["deleting what the account may delete"] = bypass{wall: "other commands", loses: "web-host", try: func(ctx context.Context, _ broker.Credential) error {
		file := filepath.Join(web.home, "orders.db")
		if err := os.WriteFile(file, []byte("all orders"), 0o600); err != nil {
			return err
		}
		if err := web.run(ctx, signer, "rm orders.db"); err != nil {
			return err
		}
		if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
			return errors.New("it is still there")
		}
		return nil
	}}
	all["another host that trusts the same authority"] = bypass{wall: "hosts of other environments", try: func(ctx context.Context, _ broker.Credential) error {
		return newHost(t, s.authority).run(ctx, signer, "true")
	}}
	s.afterTheEnd(t, issuer, handle, web, signer, all)
	table := hold(t, d, credential, all, refusedBySSH, "the server, the client, or Vault")
	issuertest.HoldPage(t, *update, documentation, "outcomes of ssh", table)
}

// attacks are what must be refused.
func (h *harbour) attacks(t *testing.T, web *host, signer ssh.Signer, certificate *ssh.Certificate) map[string]func(context.Context, broker.Credential) error {
	t.Helper()
	as := func(to *host, account string, with ssh.Signer) func(context.Context, broker.Credential) error {
		return func(ctx context.Context, _ broker.Credential) error {
			client, err := to.login(ctx, account, with)
			if err != nil {
				return err
			}
			return client.Close()
		}
	}
	late := newHost(t, h.authority)
	late.later.Store(int64(11 * time.Minute))
	changed := *certificate
	changed.ValidPrincipals, changed.ValidBefore = []string{"deploy", "root"}, ssh.CertTimeInfinity
	own := changed
	if err := own.SignCert(rand.Reader, plainKey(t)); err != nil {
		t.Fatal(err)
	}
	attacks := map[string]func(context.Context, broker.Credential) error{
		"another account": as(web, "root", signer),
		"another account and no end, written into the certificate":  as(web, "root", disguised{signer, &changed}),
		"another account, in a certificate that another key signed": as(web, "root", disguised{signer, &own}),
		"a host that trusts another authority":                      as(newHost(t, plainKey(t).PublicKey()), "deploy", signer),
		"login after the end":                                       as(late, "deploy", signer),
		"forwarding a port":                                         func(ctx context.Context, _ broker.Credential) error { return through(ctx, t, web, signer) },
		"standing in for a host": func(context.Context, broker.Credential) error {
			checker := ssh.CertChecker{IsHostAuthority: func(ssh.PublicKey, string) bool { return true }}
			return checker.CheckHostKey("web:22", &net.TCPAddr{}, signer.PublicKey())
		},
	}
	for name, path := range map[string]string{"a longer life: another signature": "sign/web", "a key that Vault makes": "issue/web", "a role that gives more": "roles/web", "another authority": "config/ca"} {
		attacks[name] = func(ctx context.Context, _ broker.Credential) error {
			return withoutToken(ctx, h.settings.Mount+"/"+path)
		}
	}
	return attacks
}

// disguised signs by a key, and shows another certificate: the server has to see that.
type disguised struct {
	ssh.Signer
	shown ssh.PublicKey
}

// PublicKey implements ssh.Signer.
func (d disguised) PublicKey() ssh.PublicKey { return d.shown }

// through connects by way of the host to a server that only the host is thought to reach.
func through(ctx context.Context, t *testing.T, web *host, signer ssh.Signer) error {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = inner.Close() })
	go func() {
		if conn, err := inner.Accept(); err == nil {
			_, _ = io.WriteString(conn, "production")
			_ = conn.Close()
		}
	}()
	client, err := web.login(ctx, "deploy", signer)
	if err != nil {
		return err
	}
	defer client.Close()
	conn, err := client.DialContext(ctx, "tcp", inner.Addr().String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "production" {
		return errors.Join(errors.New("it was not reached"), err)
	}
	return nil
}

// afterTheEnd adds what goes on after the lease was revoked, and after its certificate has expired.
func (h *harbour) afterTheEnd(t *testing.T, issuer *vault.Issuer, handle broker.Handle, web *host, signer ssh.Signer, all map[string]bypass) {
	t.Helper()
	open, err := web.login(t.Context(), "deploy", signer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = open.Close() })
	left := plainKey(t)
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(left.PublicKey())))
	if err := web.run(t.Context(), signer, "echo '"+line+"' >> authorized_keys"); err != nil {
		t.Fatal(err)
	}
	goesOn := filepath.Join(web.home, "go-on")
	t.Cleanup(func() { _ = os.WriteFile(goesOn, nil, 0o600) })
	if err := web.run(t.Context(), signer, "(while [ ! -e go-on ] && [ -d . ]; do sleep 0.1; done; touch after) </dev/null >/dev/null 2>&1 &"); err != nil {
		t.Fatal(err)
	}
	if err := issuer.Revoke(t.Context(), "hk-by-13", handle); err != nil {
		t.Fatal(err)
	}
	expired := func(do func(context.Context) error) func(context.Context, broker.Credential) error {
		return func(ctx context.Context, _ broker.Credential) error {
			web.later.Store(int64(2 * time.Hour))
			defer web.later.Store(0)
			return do(ctx)
		}
	}
	all["login after a revoke"] = bypass{wall: "login after a revoke", try: func(ctx context.Context, _ broker.Credential) error { return web.run(ctx, signer, "true") }}
	all["a session that is open at the end"] = bypass{wall: "an open session after the end", try: expired(func(context.Context) error { return runIn(open, "true") })}
	all["a key of its own, left in authorized_keys, after the end"] = bypass{wall: "other commands", gains: "web-host", try: expired(func(ctx context.Context) error { return web.run(ctx, left, "true") })}
	all["a process that was left behind, after the end"] = bypass{wall: "other commands", gains: "web-host", try: expired(func(context.Context) error {
		if err := os.WriteFile(goesOn, nil, 0o600); err != nil {
			return err
		}
		issuertest.Until(t, func() bool { _, err := os.Stat(filepath.Join(web.home, "after")); return err == nil })
		return nil
	})}
}

// A forced command is a wall, and port forwarding is none of its business.
func TestForcedCommandIsAWall(t *testing.T) {
	s := newHarbour(t)
	s.role(t, map[string]any{
		"default_critical_options": map[string]string{"force-command": "/opt/host/touch forced"}, "default_extensions": map[string]string{"permit-pty": "", "permit-port-forwarding": ""},
	})
	issuer := s.issuer(t)
	d := describe(t, issuer, wish(t, "web-host:read,write"))
	if means := broker.AllActions(d.Means()); means != broker.Read|broker.Write || !hasWall(d, "other commands", broker.WallNative) || !hasWall(d, "can reach", broker.WallNone) {
		t.Errorf("it means %s: %+v", means, d.Walls)
	}
	credential, _ := lease(t, issuer, "hk-by-14", "web-host:read,write")
	signer, _ := keyOf(t, credential)
	web := newHost(t, s.authority)
	if err := web.run(t.Context(), signer, "touch asked"); err != nil {
		t.Fatal(err)
	}
	_, asked := os.Stat(filepath.Join(web.home, "asked"))
	if _, err := os.Stat(filepath.Join(web.home, "forced")); err != nil || !errors.Is(asked, os.ErrNotExist) {
		t.Errorf("what was forced: %v; what was asked for: %v", err, asked)
	}
	if err := through(t.Context(), t, web, signer); err != nil {
		t.Errorf("forwarding a port: %v: the wall is stronger than declared", err)
	}
	s.role(t, map[string]any{"default_critical_options": map[string]string{"force-command": "/opt/host/touch forced"}})
	if d := describe(t, issuer, wish(t, "web-host:read")); !hasWall(d, "can reach", broker.WallNative) {
		t.Errorf("without port forwarding: %+v", d.Walls)
	}
}
