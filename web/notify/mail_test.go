package notify

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"math/big"
	"mime"
	"net"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mime/quotedprintable"

	"github.com/hourkey/hourkey/broker"
)

// mailServer is a real one (testdata/smtpd.py).
type mailServer struct {
	port string
	mu   sync.Mutex
	got  []letterRead
}

// letterRead is one message that it took.
type letterRead struct {
	From string   `json:"from"`
	To   []string `json:"to"`
	Data []byte   `json:"data"`
	TLS  bool     `json:"tls"`
	User string   `json:"user"`
	Helo string   `json:"helo"`

	header mail.Header
	body   string
}

const python = "/usr/bin/python3" // Debian's: another has not its packages

// mailServer starts one; modes are those of the program.
func (w *world) mailServer(t *testing.T, modes ...string) (*mailServer, Channel) {
	t.Helper()
	if err := exec.CommandContext(t.Context(), python, "-c", "import aiosmtpd").Run(); err != nil {
		missing(t, "no aiosmtpd for "+python+": install python3-aiosmtpd")
	}
	certificate, key := w.certificate(t)
	command := exec.CommandContext(t.Context(), python, append([]string{"-u", "testdata/smtpd.py", certificate, key}, modes...)...)
	var complaints bytes.Buffer
	command.Stderr = &complaints
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := command.StdinPipe(); err != nil { // held open: it ends with us, however we end
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 8<<20)
	if !lines.Scan() {
		t.Fatal("the mail server did not start")
	}
	s := &mailServer{port: lines.Text()}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines.Scan() {
			s.took(t, lines.Bytes())
		}
	}()
	t.Cleanup(func() {
		_ = command.Process.Kill()
		<-read
		_ = command.Wait()
		if t.Failed() {
			t.Logf("the mail server says: %s", complaints.String())
		}
	})
	return s, Channel{
		Name: "mail", Kind: SMTP, Server: "127.0.0.1:" + s.port, From: "hourkey@example.com", User: "hourkey", Password: broker.NewSecret("correct horse"),
		To: map[string]string{"alice": "alice@example.com", "bob": "bob@example.com", "carol": "carol@example.com"},
	}
}

func (s *mailServer) took(t *testing.T, line []byte) {
	var l letterRead
	if err := json.Unmarshal(line, &l); err != nil {
		t.Errorf("%q: %v", line, err)
		return
	}
	m, err := mail.ReadMessage(bytes.NewReader(l.Data))
	if err != nil {
		t.Errorf("%q: %v", l.Data, err)
		return
	}
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		t.Error(err)
	}
	l.header, l.body = m.Header, string(body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, l)
}

// wants waits until so many came, and gives them by the address that they went to. The server writes of a
// message before it answers, and another process reads that a little later.
func (s *mailServer) wants(t *testing.T, n int) map[string][]letterRead {
	t.Helper()
	eventually(t, "mail", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.got) >= n
	})
	if all := s.all(); len(slices.Concat(slices.Collect(maps.Values(all))...)) != n {
		t.Fatalf("%d mails, want %d", len(all), n)
	}
	return s.all()
}

// all gives what came so far.
func (s *mailServer) all() map[string][]letterRead {
	s.mu.Lock()
	defer s.mu.Unlock()
	by := map[string][]letterRead{}
	for _, l := range s.got {
		by[strings.Join(l.To, " ")] = append(by[strings.Join(l.To, " ")], l)
	}
	return by
}

func (s *mailServer) addresses() (all []string) {
	for address := range s.all() {
		all = append(all, address)
	}
	slices.Sort(all)
	return all
}

func subject(t testing.TB, l letterRead) string {
	t.Helper()
	text, err := new(mime.WordDecoder).DecodeHeader(l.header.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// certificate makes one for this machine, which the world's roots trust, and gives its files.
func (w *world) certificate(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(0, 0, 0, 0)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	w.roots.AddCert(parsed)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, raw []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", secret)
}

func TestMailGoesToWhomItConcerns(t *testing.T) {
	w := newWorld(t)
	server, channel := w.mailServer(t)
	teller := w.teller(channel)
	request := w.MustAsk("production", "db:public.orders:delete") // alice owns the agent; bob and carol may decide
	teller.run()

	got := server.wants(t, 3)
	wantSame(t, server.addresses(), []string{"alice@example.com", "bob@example.com", "carol@example.com"})
	for address, why := range map[string]string{"alice@example.com": whyOwner, "bob@example.com": whyDecide, "carol@example.com": whyDecide} {
		l := oneOf(t, got[address])
		if l.From != "hourkey@example.com" || !l.TLS || l.User != "hourkey" || l.Helo != "hourkey.test" {
			t.Errorf("from %s, TLS %t, user %q, EHLO %s", l.From, l.TLS, l.User, l.Helo)
		}
		if got := subject(t, l); got != "[Hourkey] claude asks to delete in production" {
			t.Errorf("subject %q", got)
		}
		wantWith(t, l.body, "claude asks to delete public·orders of db in production, for 30 minutes, for task fix, on behalf of alice.",
			why, "https://hourkey.test/requests/"+request.ID+"\r\n", "Nothing is decided by mail")
		if l.header.Get("Auto-Submitted") != "auto-generated" || l.header.Get("Date") == "" || l.header.Get("To") != "<"+address+">" {
			t.Errorf("header %v", l.header)
		}
	}
	record := oneOf(t, w.records(broker.EventNoticeDelivered))
	wantSame(t, record.Told, []string{"bob", "carol", "alice"})
	if record.Channel != "mail" || record.Kind != SMTP || record.Tries != 1 || record.Event != broker.EventRequestSubmitted {
		t.Errorf("%+v", record)
	}
}

// Whoever signed knows; the others who were asked hear that it is over, and the owner always hears.
func TestMailAfterTheDecisionGoesToOwnerAndSkipped(t *testing.T) {
	w := newWorld(t)
	request := w.MustAsk("staging", "db:public.orders:delete")
	server, channel := w.mailServer(t)
	teller := w.teller(channel)
	w.deny("bob", request, "ask me first")
	teller.run()
	got := server.wants(t, 2)
	wantSame(t, server.addresses(), []string{"alice@example.com", "carol@example.com"})
	wantWith(t, oneOf(t, got["alice@example.com"]).body, "Denied by bob: claude asked to delete", "In the words of bob: “ask me first”", whyOwner)
	wantWith(t, oneOf(t, got["carol@example.com"]).body, whySkipped)
}

func TestMailToHumansWithoutAddressIsNotTried(t *testing.T) {
	w := newWorld(t)
	server, channel := w.mailServer(t)
	channel.To = map[string]string{"dave": "dave@example.com"}
	teller := w.teller(channel)
	w.MustAsk("staging", "db:public.orders:delete")
	teller.run()
	if len(server.all())+len(w.records(broker.EventNoticeDelivered))+len(w.records(broker.EventNoticeFailed)) > 0 {
		t.Error("mail was sent, or recorded, to nobody")
	}
}

// A greylisting server wants to be asked twice for one human, and that costs the others no second mail.
func TestGreylistedHumanIsTriedAloneAgain(t *testing.T) {
	w := newWorld(t)
	server, channel := w.mailServer(t)
	channel.To = map[string]string{"alice": "alice@example.com", "bob": "later-bob@example.com", "carol": "refuse-carol@example.com"}
	teller := w.teller(channel)
	w.MustAsk("staging", "db:public.orders:delete")
	teller.run()
	got := server.wants(t, 2)
	oneOf(t, got["alice@example.com"])
	oneOf(t, got["later-bob@example.com"])
	delivered, failed := oneOf(t, w.records(broker.EventNoticeDelivered)), oneOf(t, w.records(broker.EventNoticeFailed))
	wantSame(t, delivered.Told, []string{"alice", "bob"})
	wantSame(t, failed.Missed, []string{"carol"})
	if failed.Error != "the mail server answered 550 to RCPT" || delivered.Tries != 2 {
		t.Errorf("%+v, %+v", delivered, failed)
	}
	wantWithout(t, w.log.String(), "secret-of-the-server")
}

// A machine between us and the server takes STARTTLS out of its answer.
func TestServerWithoutSTARTTLSGetsNothing(t *testing.T) {
	w := newWorld(t)
	server, channel := w.mailServer(t, "plain")
	channel.Server = "0.0.0.0:" + server.port // this machine, by a name that does not say so
	teller := w.teller(channel)
	w.MustAsk("staging", "db:public.orders:delete")
	teller.run()
	if len(server.all()) > 0 {
		t.Error("mail went out in the clear")
	}
	if failed := oneOf(t, w.records(broker.EventNoticeFailed)); !strings.HasPrefix(failed.Error, "the mail server offers no STARTTLS: nothing is sent in the clear") {
		t.Errorf("%+v", failed)
	}
}

func TestMailOverLoopbackNeedsNoTLS(t *testing.T) {
	w := newWorld(t)
	server, channel := w.mailServer(t, "plain")
	channel.User, channel.Password = "", broker.Secret{}
	teller := w.teller(channel)
	w.MustAsk("staging", "db:public.orders:delete")
	teller.run()
	server.wants(t, 3)
}

func TestMailServerWithAnotherCertificateGetsNothing(t *testing.T) {
	w := newWorld(t)
	server, channel := w.mailServer(t)
	w.roots = x509.NewCertPool()
	teller := w.teller(channel)
	w.MustAsk("staging", "db:public.orders:delete")
	teller.run()
	if len(server.all()) > 0 {
		t.Error("mail went to a server whose certificate nobody knows")
	}
	if failed := oneOf(t, w.records(broker.EventNoticeFailed)); !strings.HasPrefix(failed.Error, "the receiver's certificate is not one that is trusted here") {
		t.Errorf("%+v", failed)
	}
}

// A wrong password is not tried for an hour: that locks accounts.
func TestWrongMailPasswordIsTriedOnce(t *testing.T) {
	w := newWorld(t)
	_, channel := w.mailServer(t)
	channel.Password = broker.NewSecret("wrong horse")
	teller := w.teller(channel)
	w.MustAsk("staging", "db:public.orders:delete")
	teller.run()
	failed := oneOf(t, w.records(broker.EventNoticeFailed))
	if failed.Tries != 1 || failed.Error != "the mail server answered 535 to AUTH" {
		t.Errorf("%+v", failed)
	}
	wantSame(t, failed.Missed, []string{"bob", "carol", "alice"})
}

// listener is a mail server that is not one.
func listener(t *testing.T, talk func(net.Conn)) (address string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				talk(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		conns.Wait()
	})
	return l.Addr().String()
}

func TestMailServerThatNeverStopsTalkingIsLeft(t *testing.T) {
	w := newWorld(t)
	_, channel := w.mailServer(t)
	channel.Server = listener(t, func(c net.Conn) {
		for {
			if _, err := c.Write(bytes.Repeat([]byte("220-"), 4096)); err != nil {
				return
			}
		}
	})
	teller := w.teller(channel)
	w.MustAsk("staging", "db:public.orders:delete")
	teller.run()
	if failed := oneOf(t, w.records(broker.EventNoticeFailed)); !strings.HasPrefix(failed.Error, "the mail server says too much") {
		t.Errorf("%+v", failed)
	}
}

func TestMailServerThatSaysNothingIsLeft(t *testing.T) {
	w := newWorld(t)
	_, channel := w.mailServer(t)
	channel.Server = listener(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	teller := w.teller(channel)
	teller.timeout = 20 * time.Millisecond
	w.MustAsk("staging", "db:public.orders:delete")
	teller.run()
	if failed := oneOf(t, w.records(broker.EventNoticeFailed)); !strings.HasPrefix(failed.Error, "the receiver did not answer in time") {
		t.Errorf("%+v", failed)
	}
}

// Commands that were put into the answer before the encryption began count for nothing after it.
func TestAnswerBeforeSTARTTLSCountsForNothingAfterIt(t *testing.T) {
	w := newWorld(t)
	_, channel := w.mailServer(t)
	channel.Server = listener(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "220 mail.test\r\n")
		lines := bufio.NewScanner(c)
		for lines.Scan() {
			switch {
			case strings.HasPrefix(lines.Text(), "EHLO"):
				_, _ = io.WriteString(c, "250-mail.test\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n")
			case lines.Text() == "STARTTLS":
				_, _ = io.WriteString(c, "220 go\r\n250-mail.test\r\n250 AUTH PLAIN\r\n235 welcome\r\n250 OK\r\n250 OK\r\n354 go on\r\n250 taken\r\n")
			}
		}
	})
	teller := w.teller(channel)
	teller.timeout = 50 * time.Millisecond // it waits for the handshake
	w.MustAsk("staging", "db:public.orders:delete")
	teller.run()
	if len(w.records(broker.EventNoticeDelivered)) > 0 {
		t.Error("a server that never encrypted is believed to have taken the mail")
	}
}

func TestPort465IsEncryptedFromTheStart(t *testing.T) {
	w := newWorld(t)
	server, channel := w.mailServer(t, "early")
	channel.Server = "127.0.0.1:465"
	teller := w.teller(channel)
	sender, is := teller.sender.(*smtpSender)
	if !is || !sender.early {
		t.Fatal("port 465 begins in the clear")
	}
	sender.channel.Server = "127.0.0.1:" + server.port // the test may not have that port
	w.MustAsk("staging", "db:public.orders:delete")
	teller.run()
	for address, letters := range server.wants(t, 3) {
		if l := oneOf(t, letters); !l.TLS || l.User != "hourkey" {
			t.Errorf("to %s: TLS %t, user %q", address, l.TLS, l.User)
		}
	}
}
