package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"net/textproto"
	"net/url"
	"strings"
)

// maxSaid is how much a mail server may say in one session.
const maxSaid = 256 << 10

// smtpSender submits mail (RFC 6409): one message for each human, so that nobody reads who else was told, in one
// session. What goes to another machine is encrypted, or not sent: a server that stops offering STARTTLS
// gets neither the password nor the mail.
type smtpSender struct {
	letter
	channel Channel
	roots   *x509.CertPool
	name    string // ours, for EHLO
	early   bool   // TLS begins with the connection (RFC 8314), and not with STARTTLS
}

// smtps is the port of RFC 8314.
const smtps = "465"

func newSMTP(l letter, channel Channel, roots *x509.CertPool) (*smtpSender, error) {
	origin, err := url.Parse(l.origin)
	if err != nil {
		return nil, errors.New("notify: Origin is no URL")
	}
	_, port, err := net.SplitHostPort(channel.Server)
	return &smtpSender{letter: l, channel: channel, roots: roots, name: origin.Hostname(), early: port == smtps}, err
}

func (s *smtpSender) send(ctx context.Context, d *delivery) *trouble {
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.channel.Server)
	if err != nil {
		return unreachable(err)
	}
	end := func() { _ = connection.Close() } // what the server has said of a message, it has said
	defer end()
	defer context.AfterFunc(ctx, end)() // net/smtp knows no context
	problem := s.session(ctx, connection, d)
	if problem != nil && !problem.final && ctx.Err() != nil {
		return unreachable(ctx.Err()) // the connection was closed because the time was over
	}
	return problem
}

func (s *smtpSender) session(ctx context.Context, connection net.Conn, d *delivery) *trouble {
	client, problem := s.greet(ctx, connection)
	if problem != nil {
		return problem
	}
	problem = s.submitAll(client, d)
	_ = client.Quit()
	switch {
	case len(d.left()) > 0:
		return &trouble{says: problem.says}
	case len(d.told) == 0:
		return problem
	}
	return nil // whoever was refused is recorded beside those who were told
}

// submitAll notes in d who has the mail now and who never will. It gives the last trouble.
func (s *smtpSender) submitAll(client *smtp.Client, d *delivery) (last *trouble) {
	for _, to := range d.left() {
		problem := s.submit(client, d, to)
		if problem == nil {
			d.told = append(d.told, to.human)
			continue
		}
		last = problem
		if problem.final {
			d.refused, d.problem = append(d.refused, to.human), problem.says
		}
		if client.Reset() != nil {
			return last
		}
	}
	return last
}

// greet says who we are, and encrypts and signs in before anything else.
func (s *smtpSender) greet(ctx context.Context, connection net.Conn) (*smtp.Client, *trouble) {
	host, _, err := net.SplitHostPort(s.channel.Server)
	if err != nil {
		return nil, &trouble{says: "the mail server's address is no HOST:PORT", final: true}
	}
	settings := &tls.Config{ServerName: host, RootCAs: s.roots, MinVersion: tls.VersionTLS12}
	connection = &frugal{Conn: connection, left: maxSaid}
	if s.early {
		encrypted := tls.Client(connection, settings)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			return nil, said("the TLS handshake", err)
		}
		connection = encrypted
	}
	client, err := smtp.NewClient(connection, host)
	if err == nil {
		err = client.Hello(s.name)
	}
	if err != nil {
		return nil, said("EHLO", err)
	}
	encrypted := s.early
	if offered, _ := client.Extension("STARTTLS"); offered && !s.early {
		if err := client.StartTLS(settings); err != nil {
			return nil, said("STARTTLS", err)
		}
		encrypted = true
	}
	if !encrypted && !isLoopback(host) {
		return nil, &trouble{says: "the mail server offers no STARTTLS: nothing is sent in the clear"}
	}
	return client, s.signIn(client, host)
}

func (s *smtpSender) signIn(client *smtp.Client, host string) *trouble {
	if s.channel.User == "" {
		return nil
	}
	if _, mechanisms := client.Extension("AUTH"); !strings.Contains(" "+mechanisms+" ", " PLAIN ") {
		return &trouble{says: "the mail server offers no AUTH PLAIN (RFC 4616)", final: true}
	}
	if err := client.Auth(smtp.PlainAuth("", s.channel.User, s.channel.Password.Reveal(), host)); err != nil {
		return said("AUTH", err)
	}
	return nil
}

func (s *smtpSender) submit(client *smtp.Client, d *delivery, to hearer) *trouble {
	if err := client.Mail(s.channel.From); err != nil {
		return said("MAIL", err)
	}
	if err := client.Rcpt(s.channel.To[to.human]); err != nil {
		return said("RCPT", err)
	}
	body, err := client.Data()
	if err != nil {
		return said("DATA", err)
	}
	if _, err := body.Write(s.mail(d, to)); err != nil {
		return said("DATA", err)
	}
	if err := body.Close(); err != nil {
		return said("DATA", err)
	}
	return nil
}

// said tells in our own words what a server answered: RFC 5321 section 4.2.1, a 5 is for good.
func said(command string, err error) *trouble {
	if answer, is := errors.AsType[*textproto.Error](err); is {
		return &trouble{says: fmt.Sprintf("the mail server answered %d to %s", answer.Code, command), final: answer.Code >= 500}
	}
	if errors.Is(err, errTalkative) {
		return &trouble{says: "the mail server says too much"}
	}
	return unreachable(err)
}

var errTalkative = errors.New("more was said than is read")

// frugal is a connection from which only so much is read.
type frugal struct {
	net.Conn
	left int
}

func (f *frugal) Read(p []byte) (int, error) {
	if f.left <= 0 {
		return 0, errTalkative
	}
	n, err := f.Conn.Read(p[:min(len(p), f.left)])
	f.left -= n
	return n, err
}
