package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/notify"
)

// channels reads what stands below `notify:`.
func channels(text string) (Notify, error) {
	d, err := parse("hourkey.yaml", []byte(text))
	if err != nil {
		return nil, err
	}
	var n Notify
	return n, d.fields(d.root, map[string]field{"notify": d.notify(&n)})
}

const fourChannels = `notify:
  phone: {ntfy: https://ntfy.example/hourkey, token: env:NTFY_TOKEN}
  oncall:
    slack: file:secrets/slack-url
    about: [requests, outcomes]
    environments: [production]
  mail:
    smtp: mail.example:587
    from: hourkey@example.com
    user: hourkey
    password: env:SMTP_PASSWORD
    to: {alice: alice@example.com, bob: bob@example.com}
  siem: {webhook: env:HOOK_URL, secret: file:secrets/hook}
`

func TestNotify(t *testing.T) {
	got, err := channels(fourChannels)
	if err != nil {
		t.Fatal(err)
	}
	want := Notify{
		{
			Where: "hourkey.yaml:7", Name: "mail", Kind: "smtp", Server: "mail.example:587", From: "hourkey@example.com", User: "hourkey", Password: "env:SMTP_PASSWORD",
			To: map[string]string{"alice": "alice@example.com", "bob": "bob@example.com"},
		},
		{Where: "hourkey.yaml:3", Name: "oncall", Kind: "slack", URL: "file:secrets/slack-url", About: []string{"requests", "outcomes"}, Environments: []string{"production"}},
		{Where: "hourkey.yaml:2", Name: "phone", Kind: "ntfy", URL: "https://ntfy.example/hourkey", Token: "env:NTFY_TOKEN"},
		{Where: "hourkey.yaml:13", Name: "siem", Kind: "webhook", URL: "env:HOOK_URL", Secret: "file:secrets/hook"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNoNotify(t *testing.T) {
	for _, text := range []string{"notify:\n", "notify: {}\n"} {
		if got, err := channels(text); err != nil || len(got) > 0 {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestNotifyRefusals(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"a list":                    {"notify: [slack]\n", "hourkey.yaml:1: notify: expected names"},
		"a name in capitals":        {"notify: {Oncall: {slack: env:A}}\n", "is not a name"},
		"nothing below":             {"notify: {oncall: }\n", "hourkey.yaml:1: notify.oncall: expected where it leads"},
		"a text below":              {"notify: {oncall: slack}\n", "expected where it leads"},
		"leads nowhere":             {"notify: {oncall: {about: [alarms]}}\n", "expected one of ntfy, slack, smtp, webhook"},
		"leads to two places":       {"notify: {oncall: {slack: env:A, ntfy: https://n.example/x}}\n", `unknown field "ntfy"`},
		"a typo":                    {"notify:\n  oncall:\n    slack: env:A\n    abuot: [alarms]\n", `hourkey.yaml:4: unknown field "abuot": did you mean "about"?`},
		"a typo in about":           {"notify: {oncall: {slack: env:A, about: [alarm]}}\n", `unknown "alarm": did you mean "alarms"?`},
		"about twice the same":      {"notify: {oncall: {slack: env:A, about: [alarms, alarms]}}\n", "stands here twice"},
		"a token for Slack":         {"notify: {oncall: {slack: env:A, token: env:B}}\n", `unknown field "token"`},
		"a field of mail for ntfy":  {"notify: {oncall: {ntfy: https://n.example/x, to: {a: b}}}\n", `unknown field "to"`},
		"an environment in a text":  {"notify: {oncall: {slack: env:A, environments: production}}\n", "expected a list"},
		"addresses in a list":       {"notify: {m: {smtp: \"m:587\", to: [alice]}}\n", "expected names with values below"},
		"a human in capitals":       {"notify: {m: {smtp: \"m:587\", to: {Alice: a@b.example}}}\n", "is not the name of a human"},
		"a number for an address":   {"notify: {m: {smtp: \"m:587\", to: {alice: 5}}}\n", "notify.m.to.alice: expected a text"},
		"two channels of one name":  {"notify: {a: {slack: env:A}, a: {slack: env:B}}\n", "stands here twice"},
		"a number for a URL":        {"notify: {a: {webhook: 5}}\n", "notify.a.webhook: expected a text"},
		"a number for a reference":  {"notify: {a: {slack: 5}}\n", "notify.a.slack: expected a text"},
		"a reference without name":  {"notify: {a: {slack: \"env:\"}}\n", "expected a reference"},
		"a file with a host before": {"notify: {a: {slack: \"file://host/x\"}}\n", "expected a reference"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := channels(test.text)
			refused(t, err, test.want)
		})
	}
}

// The address of a Slack webhook is the right to post there, and the first thing that somebody pastes.
func TestSecretPastedIntoNotifyIsNotRepeated(t *testing.T) {
	for _, text := range []string{
		"notify: {a: {slack: https://hooks.slack.example/services/hidden}}\n",
		"notify: {a: {ntfy: https://n.example/x, token: tk_hidden}}\n",
		"notify: {a: {webhook: https://s.example/x, secret: whsec_hidden}}\n",
		"notify: {a: {smtp: \"m:587\", password: hidden}}\n",
	} {
		_, err := channels(text)
		refused(t, err, "expected a reference to a secret, not the secret itself")
		if strings.Contains(err.Error(), "hidden") {
			t.Errorf("%v", err)
		}
	}
}

// With a typing error in the name of an environment a channel would be silent for ever.
func TestNotifyOfAnUnknownEnvironmentIsRefused(t *testing.T) {
	n, err := channels(fourChannels)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.check(map[string]broker.Environment{"production": {}}); err != nil {
		t.Error(err)
	}
	refused(t, n.check(map[string]broker.Environment{"prodution": {}}), `hourkey.yaml:3: notify.oncall.environments: no environment "production": did you mean "prodution"?`)
}

func TestNotifySecretsAreResolved(t *testing.T) {
	n, err := channels("notify:\n  phone: {ntfy: https://ntfy.example/hourkey, token: env:NTFY_TOKEN}\n  siem: {webhook: env:HOOK_URL, secret: env:HOOK}\n")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{"NTFY_TOKEN": "tk_1", "HOOK_URL": "https://siem.example/x"}
	secrets := Secrets{Lookup: func(name string) (string, bool) { value, set := values[name]; return value, set }}
	phone, err := n[0].Resolve(secrets)
	if err != nil || phone.URL.Reveal() != "https://ntfy.example/hourkey" || phone.Token.Reveal() != "tk_1" || !phone.Secret.IsZero() || !phone.Password.IsZero() {
		t.Errorf("%v, %v", phone, err)
	}
	_, err = n[1].Resolve(secrets)
	refused(t, err, "hourkey.yaml:3: notify.siem.secret: the environment variable is not set")
	values["HOOK"] = "whsec_x"
	siem, err := n[1].Resolve(secrets)
	if err != nil || siem.URL.Reveal() != "https://siem.example/x" || siem.Secret.Reveal() != "whsec_x" {
		t.Errorf("%v, %v", siem, err)
	}
}

func TestNotifyEqual(t *testing.T) {
	read := func(text string) Notify {
		t.Helper()
		n, err := channels(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	was := read(fourChannels)
	if !was.Equal(read("# a line above\n" + fourChannels)) {
		t.Error("a line further down is no change")
	}
	if was.Equal(nil) || was.Equal(read("notify: {phone: {ntfy: https://ntfy.example/hourkey, token: env:OTHER}}\n")) {
		t.Error("a change is not seen")
	}
}

// What can be written here is what web/notify knows.
func TestNotifyKnowsTheSameWords(t *testing.T) {
	var theirs []string
	for _, about := range notify.Abouts() {
		theirs = append(theirs, string(about))
	}
	if diff := cmp.Diff(theirs, notifyAbouts); diff != "" {
		t.Error(diff)
	}
	n, err := channels(fourChannels)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range n {
		if !slices.Contains([]notify.Kind{notify.Slack, notify.Ntfy, notify.SMTP, notify.Webhook}, notify.Kind(c.Kind)) {
			t.Errorf("kind %s", c.Kind)
		}
	}
}
