package notify

import (
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
)

func TestWrongChannelsAreRefusedWithoutTheirSecrets(t *testing.T) {
	secret := broker.NewSecret
	good := map[Kind]Channel{
		Slack:   {Name: "a", Kind: Slack, URL: secret("https://hooks.example/services/hidden")},
		Ntfy:    {Name: "a", Kind: Ntfy, URL: secret("https://ntfy.example/hidden")},
		Webhook: {Name: "a", Kind: Webhook, URL: secret("https://siem.example/hidden"), Secret: secret(hookSecret)},
		SMTP:    {Name: "a", Kind: SMTP, Server: "mail.example:587", From: "hourkey@example.com", To: map[string]string{"alice": "alice@example.com"}},
	}
	for kind, channel := range good {
		if err := channel.Validate(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	for name, test := range map[string]struct {
		kind   Kind
		change func(*Channel)
		want   string
	}{
		"no name":                    {Slack, func(c *Channel) { c.Name = "" }, "the name of a channel"},
		"another kind":               {Slack, func(c *Channel) { c.Kind = "pager" }, "expected slack, ntfy, smtp or webhook"},
		"another theme":              {Slack, func(c *Channel) { c.About = []About{"hidden"} }, "expected requests"},
		"plain HTTP":                 {Slack, func(c *Channel) { c.URL = secret("http://hooks.example/hidden") }, "expected https://"},
		"plain HTTP to a look-alike": {Slack, func(c *Channel) { c.URL = secret("http://localhost.evil.example/hidden") }, "expected https://"},
		"a file":                     {Slack, func(c *Channel) { c.URL = secret("file:///hidden") }, "expected a URL"},
		"no URL":                     {Slack, func(c *Channel) { c.URL = secret("%zz hidden") }, "expected a URL"},
		"a password in the URL":      {Webhook, func(c *Channel) { c.URL = secret("https://u:hidden@siem.example/") }, "without a user"},
		"a fragment":                 {Webhook, func(c *Channel) { c.URL = secret("https://siem.example/#hidden") }, "fragment"},
		"a topic with a slash":       {Ntfy, func(c *Channel) { c.URL = secret("https://ntfy.example/a/hidden") }, "TOPIC"},
		"no topic":                   {Ntfy, func(c *Channel) { c.URL = secret("https://ntfy.example/") }, "TOPIC"},
		"a topic with a query":       {Ntfy, func(c *Channel) { c.URL = secret("https://ntfy.example/a?auth=hidden") }, "TOPIC"},
		"a token with a line end":    {Ntfy, func(c *Channel) { c.Token = secret("hidden\r\nX-Evil: 1") }, "access token"},
		"a short secret":             {Webhook, func(c *Channel) { c.Secret = secret("whsec_aGlkZGVu") }, "24 to 512"},
		"a secret of another form":   {Webhook, func(c *Channel) { c.Secret = secret(strings.Repeat("hidden", 9)) }, "whsec_"},
		"no secret":                  {Webhook, func(c *Channel) { c.Secret = broker.Secret{} }, "whsec_"},
		"no port":                    {SMTP, func(c *Channel) { c.Server = "hidden.example" }, "HOST:PORT"},
		"two senders":                {SMTP, func(c *Channel) { c.From = "a@example.com, hidden@example.com" }, "expected an address"},
		"a sender with a name":       {SMTP, func(c *Channel) { c.From = "Hidden <hidden@example.com>" }, "expected an address"},
		"a sender with a line end":   {SMTP, func(c *Channel) { c.From = "hidden@example.com\r\nBcc: x@y" }, "expected an address"},
		"nobody":                     {SMTP, func(c *Channel) { c.To = nil }, "who gets mail"},
		"a recipient with options":   {SMTP, func(c *Channel) { c.To = map[string]string{"alice": "hidden@example.com> NOTIFY=NEVER"} }, "addresses"},
		"a recipient that is quoted": {SMTP, func(c *Channel) { c.To = map[string]string{"alice": `"hidden"@example.com`} }, "addresses"},
		"a human that is no name":    {SMTP, func(c *Channel) { c.To = map[string]string{"hidden one": "a@example.com"} }, "names of humans"},
		"a user without a password":  {SMTP, func(c *Channel) { c.User = "hidden" }, "both user and password"},
		"a password without a user":  {SMTP, func(c *Channel) { c.Password = secret("hidden") }, "both user and password"},
	} {
		t.Run(name, func(t *testing.T) {
			channel := good[test.kind]
			test.change(&channel)
			err := channel.Validate()
			if broker.CodeOf(err) != broker.CodeInvalid {
				t.Fatalf("got %v", err)
			}
			wantWith(t, err.Error(), test.want)
			wantWithout(t, strings.ToLower(err.Error()), "hidden")
		})
	}
	w := newWorld(t)
	if _, err := New(w.config(good[Slack], good[Slack])); broker.CodeOf(err) != broker.CodeInvalid {
		t.Errorf("two channels of one name: %v", err)
	}
	for _, loop := range []string{"http://127.0.0.1:8080/x", "http://[::1]/x", "http://localhost/x"} {
		if err := (&Channel{Name: "a", Kind: Slack, URL: secret(loop)}).Validate(); err != nil {
			t.Errorf("%s: %v", loop, err)
		}
	}
}
