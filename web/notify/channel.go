package notify

import (
	"encoding/base64"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// Kind is what a channel speaks.
type Kind string

// The kinds of channel.
const (
	Slack   Kind = "slack"   // an incoming webhook
	Ntfy    Kind = "ntfy"    // publishing as JSON
	SMTP    Kind = "smtp"    // submission, RFC 6409
	Webhook Kind = "webhook" // CloudEvents 1.0, signed
)

// Channel is one way to people. Those of its settings that are secret, or hold one, never stand in an error, an
// event or the log.
type Channel struct {
	Name string // of its cursor as well: another name begins anew
	Kind Kind

	URL    broker.Secret // slack: knowing it is the right to post; ntfy: https://HOST/TOPIC; webhook
	Token  broker.Secret // ntfy, optional: an access token
	Secret broker.Secret // webhook: whsec_ and the base64 of 24 to 512 random bytes

	Server   string            // smtp: HOST:PORT; on port 465 TLS from the start, else STARTTLS
	From     string            // smtp: an address
	User     string            // smtp: with Password, or neither
	Password broker.Secret     // smtp
	To       map[string]string // smtp: human → address; who is not here gets no mail

	About        []About  // empty: everything
	Environments []string // empty: all. What concerns no environment in particular is told all the same
}

// takes tells whether the channel is for such a message.
func (c *Channel) takes(about About) bool {
	return len(c.About) == 0 || slices.Contains(c.About, about)
}

// covers tells whether the channel is for one of these environments.
func (c *Channel) covers(environments []string) bool {
	return len(c.Environments) == 0 || len(environments) == 0 ||
		slices.ContainsFunc(environments, func(name string) bool { return slices.Contains(c.Environments, name) })
}

// Validate says what is wrong with the settings. It repeats none of them: the wrong one may be a secret.
func (c *Channel) Validate() error {
	if !broker.IsName(c.Name) {
		return broker.Errorf(broker.CodeInvalid, "the name of a channel: expected a-z, 0-9 and dashes").WithField("name")
	}
	for _, about := range c.About {
		if !slices.Contains(Abouts(), about) {
			return c.wrong("about", "expected requests, outcomes, people or alarms")
		}
	}
	switch c.Kind {
	case Slack:
		return c.validateURL()
	case Ntfy:
		return c.validateNtfy()
	case Webhook:
		return c.validateWebhook()
	case SMTP:
		return c.validateSMTP()
	}
	return c.wrong("kind", "expected slack, ntfy, smtp or webhook")
}

func (c *Channel) wrong(field, expected string) error {
	return broker.Errorf(broker.CodeInvalid, "notify.%s: %s: %s", c.Name, field, expected).WithField(field)
}

// validateURL wants TLS for whatever leaves the machine: the URL itself is often the right to post.
func (c *Channel) validateURL() error {
	u, err := url.Parse(c.URL.Reveal())
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return c.wrong(string(c.Kind), "expected a URL, https://HOST/PATH")
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		return c.wrong(string(c.Kind), "expected https://; http:// goes to this machine alone")
	case u.User != nil || u.Fragment != "":
		return c.wrong(string(c.Kind), "expected a URL without a user, a password or a fragment")
	}
	return nil
}

// topic is what a topic of ntfy is called.
var topic = regexp.MustCompile(`^/[-_A-Za-z0-9]{1,64}$`)

func (c *Channel) validateNtfy() error {
	if err := c.validateURL(); err != nil {
		return err
	}
	u, err := url.Parse(c.URL.Reveal())
	if err != nil || u.RawQuery != "" || !topic.MatchString(u.EscapedPath()) {
		return c.wrong("ntfy", "expected https://HOST/TOPIC, the topic of a-z, A-Z, 0-9, dashes and underscores, at most 64")
	}
	if strings.ContainsFunc(c.Token.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		return c.wrong("token", "expected an access token, without spaces")
	}
	return nil
}

func (c *Channel) validateWebhook() error {
	if err := c.validateURL(); err != nil {
		return err
	}
	if _, err := webhookKey(c.Secret); err != nil {
		return c.wrong("secret", "expected whsec_ and the base64 of 24 to 512 random bytes")
	}
	return nil
}

// webhookKey gives the bytes of a secret in the form of Standard Webhooks.
func webhookKey(secret broker.Secret) ([]byte, error) {
	encoded, marked := strings.CutPrefix(secret.Reveal(), "whsec_")
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !marked || err != nil || len(key) < 24 || len(key) > 512 {
		return nil, broker.Errorf(broker.CodeInvalid, "the secret is not whsec_ and the base64 of 24 to 512 bytes")
	}
	return key, nil
}

func (c *Channel) validateSMTP() error {
	host, port, err := net.SplitHostPort(c.Server)
	switch {
	case err != nil || host == "" || port == "":
		return c.wrong("smtp", "expected HOST:PORT, like mail.example:587")
	case !isAddress(c.From):
		return c.wrong("from", "expected an address, like hourkey@example.com")
	case (c.User == "") != c.Password.IsZero():
		return c.wrong("user", "expected both user and password, or neither")
	case len(c.To) == 0:
		return c.wrong("to", "expected who gets mail: {human: address}")
	}
	for human, address := range c.To {
		if !broker.IsName(human) || !isAddress(address) {
			return c.wrong("to", "expected names of humans and their addresses, like alice: alice@example.com")
		}
	}
	return nil
}

// isAddress takes plain addresses alone: no name beside it, no quotes, no comment, nothing that could be more
// than one, or end a header.
func isAddress(text string) bool {
	parsed, err := mail.ParseAddress(text)
	return err == nil && parsed.Name == "" && parsed.Address == text && len(text) <= 254 &&
		!strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"<>()[],;:\`, r) })
}

// isLoopback tells whether a host is this machine.
func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}
