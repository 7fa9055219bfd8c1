package daemon

import (
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
)

// TestPeopleIsChecked: what is wrong with single sign-on or a channel is told before anything starts, by the name of
// the setting and without the secret.
func TestPeopleIsChecked(t *testing.T) {
	secrets := config.Secrets{Lookup: func(name string) (string, bool) { return "http://hidden.example/secret", name == "SET" }}
	for text, want := range map[string]string{
		"sso: {issuer: https://login.example, client_id: hourkey, client_secret: env:UNSET, domains: [example.com], groups: {a: humans}}": "sso.client_secret",
		"notify: {chat: {slack: env:UNSET}}": "notify.chat",
		"notify: {chat: {slack: env:SET}}":   "notify.chat",
	} {
		server, err := config.DecodeServer("/conf/hourkey.yaml", []byte("groups: {humans: [alice]}\n"+text+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = People(server, secrets)
		if broker.CodeOf(err) != broker.CodeInvalid || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
