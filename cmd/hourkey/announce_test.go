package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/web/api"
)

// toldOf gives what a request that waits is announced with.
func toldOf(request api.Request) string {
	var out bytes.Buffer
	a := &app{stderr: &out}
	a.announce(request)
	return out.String()
}

func pendingRequest() api.Request {
	at := time.Date(2026, 11, 21, 2, 40, 0, 0, time.UTC)
	return api.Request{
		ID: "01jd7", Task: "fix-orders", Environments: []string{"staging"}, State: api.StatePending, Created: at, Deadline: at.Add(time.Hour),
		Items: []api.Item{{Environment: "staging", Target: "orders-db", Scopes: []string{"orders-db:public.orders:read,delete"}, TTLSeconds: 600}},
		Reasons: []api.Reason{
			{Where: "policies/tasks/orders.yaml:3", Rule: "fix-orders", Outcome: "allow", Text: "the task gives it"},
			{Where: "environments/staging.yaml:4", Rule: "approval.delete", Outcome: "escalate", Text: "delete in staging needs 1 human"},
		},
		Needs: []api.Need{{Environment: "staging", Humans: 1}}, Page: "https://hourkey.example/requests/01jd7", Phrase: "amber-river-cobalt-lion",
	}
}

func TestAnnouncement(t *testing.T) {
	request := pendingRequest()
	want := `hourkey: request 01jd7 of task fix-orders waits for approval until ` + clock(request.Deadline) + `
hourkey: asked: orders-db:public.orders:read,delete in staging for 10m
hourkey: rule: environments/staging.yaml:4: approval.delete: delete in staging needs 1 human
hourkey: needed: 1 of the reviewers of staging
hourkey: Approve at: https://hourkey.example/requests/01jd7
hourkey: phrase: amber-river-cobalt-lion (the page must show the same phrase; if it does not, it is about another request)
`
	if diff := cmp.Diff(want, toldOf(request)); diff != "" {
		t.Error(diff)
	}
	request.Operation = &api.Operation{Lease: "l", Text: "mutation volumeDelete(\n\tvolumeId: \"3d2c\")"}
	if said := toldOf(request); !strings.Contains(said, "hourkey: asked: one call, mutation volumeDelete( volumeId: \"3d2c\")\n") {
		t.Error(said)
	}
}

func TestAnnouncementOfMuchIsCompact(t *testing.T) {
	request := pendingRequest()
	request.Items[0].Reaches = []string{"production", "staging"}
	for range 200 {
		request.Items[0].Scopes = append(request.Items[0].Scopes, "orders-db:public.t:read")
	}
	request.Operation = nil
	said := toldOf(request)
	if !strings.Contains(said, " and 195 more, which the page lists, in staging, reaching production for 10m\n") || len(said) > 1000 {
		t.Error(said)
	}
	request.Operation = &api.Operation{Text: strings.Repeat("volumeDelete ", 100_000)}
	if said := toldOf(request); len(said) > 1000 || !strings.Contains(said, "… (the page shows it whole)") {
		t.Errorf("%d characters", len(said))
	}
}

// The attack: words and names that move the cursor, so that the line with the page or the phrase is another's.
func TestHostileWordsDoNotWriteOnTheTerminal(t *testing.T) {
	const hostile = "x\x1b[2J\x1b[1A\r\u202e\u2066\u200b\x00\x9b31m\nhourkey: request 01jd7 is approved"
	request := pendingRequest()
	request.Task, request.Page, request.Phrase, request.Verdict = hostile, request.Page+hostile, hostile, hostile
	request.Operation = &api.Operation{Text: hostile}
	request.Needs[0].Environment, request.Reasons[1].Text = hostile, hostile
	request.Items[0].Scopes, request.Items[0].Environment, request.Items[0].Reaches = []string{hostile}, hostile, []string{hostile + "2"}
	request.Taken = []api.Taken{{Environment: hostile, Target: hostile, Scopes: []string{hostile}, TTLSeconds: 9}, {Environment: hostile, Target: hostile, Whole: true}}
	var out bytes.Buffer
	a := &app{stderr: &out}
	a.announce(request)
	a.announceApproval(request, "")
	for _, state := range []string{api.StatePending, api.StateDenied, api.StateExpired, api.StateCancelled, hostile} {
		request.State = state
		a.report(&undecided{request})
	}
	for line := range strings.Lines(out.String()) {
		if text, ours := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "hourkey: "); !ours || strings.HasPrefix(text, "request 01jd7 is approved") && !strings.Contains(text, "less") ||
			strings.ContainsAny(text, "\x1b\r\u202e\u2066\u200b\x00\u009b") {
			t.Errorf("%q", line)
		}
	}
}

func TestNothingIsSaidOfWhatNobodyChanged(t *testing.T) {
	var out bytes.Buffer
	a := &app{stderr: &out}
	request := pendingRequest()
	request.State = api.StateApproved
	a.announceOutcome(request, request)
	if out.Len() > 0 {
		t.Error(out.String())
	}
}
