package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/admin"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
)

// operator is hourkeyd with a hourkey.yaml, and what it says.
func operator(t *testing.T, yaml string) (m *Main, result, notes *bytes.Buffer) {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "hourkey.yaml"), []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	result, notes = &bytes.Buffer{}, &bytes.Buffer{}
	return &Main{Stdout: result, Stderr: notes, Guard: config.NewGuard(), config: filepath.Join(folder, "hourkey.yaml")}, result, notes
}

const operatorYAML = `listen: 127.0.0.1:8750
groups: {ops: [olga, ben, alice], oncall: [alice]}
roles: {operator: [ops], reviewer: [oncall]}
`

func TestInviteSaysWhatComesNextAndWhoMustSign(t *testing.T) {
	for name, step := range map[string]struct {
		invite   broker.Invite
		enrolled []string
		want     string
	}{
		"the first": {
			broker.Invite{Human: "olga", State: broker.InviteUsable, Groups: []string{"ops"}}, nil,
			"hourkeyd: olga types this one-time code within the hour at http://localhost:8750/invite\n",
		},
		"a newcomer": {
			broker.Invite{Human: "alice", State: broker.InviteInert, Needs: 2, Groups: []string{"oncall"}}, []string{"ben", "olga"},
			"hourkeyd: first 2 operators must sign this invite (ben, olga) at http://localhost:8750/humans/alice\n" +
				"hourkeyd: who signs finds these words there, and asks you for them: fern-reef-owl-salmon\n" +
				"hourkeyd: then alice types this one-time code within the hour at http://localhost:8750/invite\n",
		},
		"a lost passkey": {
			broker.Invite{Human: "ben", State: broker.InviteInert, Needs: 1, Groups: []string{"ops"}, Replaces: true}, []string{"ben", "olga"},
			"hourkeyd: ben has a passkey: this is for one that is lost; when the new one is made, every old one is gone\n" +
				"hourkeyd: first one operator must sign this invite (alice, olga) at http://localhost:8750/humans/ben\n" +
				"hourkeyd: who signs finds these words there, and asks you for them: fern-reef-owl-salmon\n" +
				"hourkeyd: then ben types this one-time code within the hour at http://localhost:8750/invite\n",
		},
		"one whom nobody can let in": {
			broker.Invite{Human: "ben", State: broker.InviteInert, Needs: 1, Groups: []string{"ops"}}, []string{"dora", "eve"},
			"hourkeyd: first one operator must sign this invite (alice, olga) at http://localhost:8750/humans/ben\n" +
				"hourkeyd: warning: no operator (alice, ben, olga) has a passkey: nobody can lift a freeze, confirm a target or sign an invite; " +
				"name an operator who has one (dora, eve) in hourkey.yaml and `hourkeyd reload`, or stop the broker and `hourkeyd human reset alice`\n" +
				"hourkeyd: who signs finds these words there, and asks you for them: fern-reef-owl-salmon\n" +
				"hourkeyd: then ben types this one-time code within the hour at http://localhost:8750/invite\n",
		},
		"a stranger": {
			broker.Invite{Human: "eve", State: broker.InviteUsable}, nil,
			"hourkeyd: eve types this one-time code within the hour at http://localhost:8750/invite\n" +
				"hourkeyd: eve is in no group of hourkey.yaml, and so may do nothing yet\n",
		},
	} {
		m, result, notes := operator(t, operatorYAML)
		if err := m.invited(admin.Invited{Invite: step.invite, Code: "a-code", Phrase: "fern-reef-owl-salmon"}, step.enrolled); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, notes.String()); diff != "" || result.String() != "a-code\n" {
			t.Errorf("%s: %s%s", name, result, diff)
		}
	}
}

func TestInviteNamesNobodyWhereSingleSignOnBringsTheOperators(t *testing.T) {
	m, _, notes := operator(t, "listen: 127.0.0.1:8750\nroles: {operator: [ops]}\n"+
		"sso: {issuer: https://login.example, client_id: hourkey, client_secret: env:OIDC, domains: [example.com], groups: {theirs: ops}}\n")
	if err := m.invited(admin.Invited{Invite: broker.Invite{Human: "alice", State: broker.InviteInert, Needs: 1, Groups: []string{"oncall"}}}, []string{"dora"}); err != nil {
		t.Fatal(err)
	}
	if want := "first one operator must sign this invite at http://localhost:8750/humans/alice\n"; !strings.Contains(notes.String(), want) || strings.Contains(notes.String(), "warning") {
		t.Errorf("no %q in %s", want, notes)
	}
}

func TestAnEmptyListIsSaidAndIsNoHead(t *testing.T) {
	for output, want := range map[string]string{"text": "", "json": "[]\n"} {
		var result, notes bytes.Buffer
		m := &Main{Stdout: &result, Stderr: &notes, output: output}
		if err := m.table([]broker.Lease(nil), "LEASE\tAGENT", "no lease is open", 0, nil); err != nil {
			t.Fatal(err)
		}
		if result.String() != want || notes.String() != "hourkeyd: no lease is open\n" {
			t.Errorf("%s: %q, %q", output, result.String(), notes.String())
		}
	}
	m := &Main{Stdout: io.Discard, Stderr: io.Discard}
	var result bytes.Buffer
	m.Stdout = &result
	if err := m.table([]string{"x"}, "HEAD", "none", 1, func(int) string { return "row" }); err != nil || result.String() != "HEAD\nrow\n" {
		t.Errorf("%q %v", result.String(), err)
	}
}
