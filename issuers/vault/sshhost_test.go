package vault_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/hourkey/hourkey/broker"
)

// host is a server of ssh with one account, deploy, whose home is a folder of the test. It does what OpenSSH does with certificates:
// their authority, time, principal, forced command and port forwarding count; and it takes the keys of authorized_keys.
type host struct {
	address, home string
	key           ssh.PublicKey
	later         atomic.Int64 // how much later its clock is, in nanoseconds
}

func newHost(t *testing.T, authority ssh.PublicKey) *host {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	h := &host{home: t.TempDir(), key: signer.PublicKey()}
	if err := os.Symlink("/usr/bin/touch", filepath.Join(h.home, "touch")); err != nil { // /opt/host/touch
		t.Fatal(err)
	}
	checker := &ssh.CertChecker{
		SupportedCriticalOptions: []string{"force-command"},
		IsUserAuthority:          func(key ssh.PublicKey) bool { return bytes.Equal(key.Marshal(), authority.Marshal()) },
		UserKeyFallback:          h.authorized,
		Clock:                    func() time.Time { return time.Now().Add(time.Duration(h.later.Load())) },
	}
	config := &ssh.ServerConfig{PublicKeyCallback: checker.Authenticate}
	config.AddHostKey(signer)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	h.address = listener.Addr().String()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go h.serve(conn, config)
		}
	}()
	return h
}

// authorized looks for a key in the account's own list.
func (h *host) authorized(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	list, err := os.ReadFile(filepath.Join(h.home, "authorized_keys"))
	if err == nil && strings.Contains(string(list), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))) {
		return &ssh.Permissions{}, nil
	}
	return nil, errors.New("no such key")
}

func (h *host) serve(raw net.Conn, config *ssh.ServerConfig) {
	conn, channels, requests, err := ssh.NewServerConn(raw, config)
	if err != nil {
		return
	}
	defer conn.Close()
	go ssh.DiscardRequests(requests)
	for one := range channels {
		_, forwards := conn.Permissions.Extensions["permit-port-forwarding"]
		switch {
		case one.ChannelType() == "session":
			go h.session(one, conn.Permissions.CriticalOptions["force-command"])
		case one.ChannelType() == "direct-tcpip" && forwards:
			go forward(one)
		default:
			_ = one.Reject(ssh.Prohibited, "not permitted")
		}
	}
}

// session runs the command of one session: what is asked, or what is forced.
func (h *host) session(one ssh.NewChannel, forced string) {
	channel, requests, err := one.Accept()
	if err != nil {
		return
	}
	defer channel.Close()
	for request := range requests {
		var asked struct{ Command string }
		if request.Type != "exec" || ssh.Unmarshal(request.Payload, &asked) != nil {
			_ = request.Reply(false, nil)
			continue
		}
		_ = request.Reply(true, nil)
		environment := []string{"PATH=/usr/bin:/bin", "SHELL=/bin/sh", "HOME=" + h.home, "SSH_ORIGINAL_COMMAND=" + asked.Command}
		if forced != "" {
			asked.Command = forced
		}
		command := exec.Command("/bin/sh", "-c", strings.ReplaceAll(asked.Command, "/opt/host/", h.home+"/"))
		command.Dir, command.Env, command.Stdin, command.Stdout = h.home, environment, channel, channel
		status := struct{ Code uint32 }{}
		if command.Run() != nil {
			status.Code = 1
		}
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(status))
		return
	}
}

// forward connects to where the client asks for (RFC 4254, 7.2).
func forward(one ssh.NewChannel) {
	var to struct {
		Host     string
		Port     uint32
		From     string
		FromPort uint32
	}
	if err := ssh.Unmarshal(one.ExtraData(), &to); err != nil {
		_ = one.Reject(ssh.ConnectionFailed, "no address")
		return
	}
	there, err := net.Dial("tcp", net.JoinHostPort(to.Host, fmt.Sprint(to.Port)))
	if err != nil {
		_ = one.Reject(ssh.ConnectionFailed, "nobody there")
		return
	}
	defer there.Close()
	channel, requests, err := one.Accept()
	if err != nil {
		return
	}
	defer channel.Close()
	go ssh.DiscardRequests(requests)
	_, _ = io.Copy(channel, there)
}

// login opens a connection to the host as an account.
func (h *host) login(ctx context.Context, account string, signer ssh.Signer) (*ssh.Client, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", h.address)
	if err != nil {
		return nil, err
	}
	conn, channels, requests, err := ssh.NewClientConn(raw, h.address, &ssh.ClientConfig{
		User: account, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(h.key),
	})
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return ssh.NewClient(conn, channels, requests), nil
}

// run runs a command of a login that is made for it.
func (h *host) run(ctx context.Context, signer ssh.Signer, command string) error {
	client, err := h.login(ctx, "deploy", signer)
	if err != nil {
		return err
	}
	defer client.Close()
	return runIn(client, command)
}

func runIn(client *ssh.Client, command string) error {
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	return session.Run(command)
}

// feed asks for a command in a login of its own, and gives it an input. How the command ends is its own affair.
func (h *host) feed(t *testing.T, signer ssh.Signer, command, input string) {
	t.Helper()
	client, err := h.login(t.Context(), "deploy", signer)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	session.Stdin = strings.NewReader(input)
	if err := session.Run(command); err != nil {
		t.Logf("%q: %v", input, err)
	}
}

// keyOf is the key of a credential, with its certificate.
func keyOf(t *testing.T, c broker.Credential) (ssh.Signer, *ssh.Certificate) {
	t.Helper()
	key, err := ssh.ParsePrivateKey([]byte(c.Values["SSH_PRIVATE_KEY"].Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	parsed, _, _, _, err := ssh.ParseAuthorizedKey([]byte(c.Values["SSH_CERTIFICATE"].Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	certificate := parsed.(*ssh.Certificate)
	signer, err := ssh.NewCertSigner(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	return signer, certificate
}

// plainKey makes a key without a certificate.
func plainKey(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// refusedBySSH tells that a server, or a client, would not have a key, or a server not do what was asked; or Vault.
func refusedBySSH(err error) bool {
	channel, isChannel := errors.AsType[*ssh.OpenChannelError](err)
	return errors.Is(err, errForbidden) || isChannel && channel.Reason == ssh.Prohibited ||
		err != nil && (strings.Contains(err.Error(), "unable to authenticate") || strings.Contains(err.Error(), "certificate presented as a host key has type"))
}
