package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/issuers/aws/actions"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// Whoever asks about an action gets a class and a reason, at once: an agent asks before it asks for the action.
func TestEveryActionOfAWSIsAnsweredAtOnce(t *testing.T) {
	m := &Main{Stderr: io.Discard}
	list, began := everyAction(t), time.Now()
	for _, action := range list {
		answer, err := m.classify(question{}, []string{"aws", action})
		if err != nil || !slices.Contains(judge.Classes(), answer.Class) || answer.Row.Why == "" || !slices.Equal(answer.Operations, []string{action}) {
			t.Errorf("%s: %+v, %v", action, answer, err)
		}
	}
	took := time.Since(began)
	if t.Logf("%d actions in %s", len(list), took); took > 20*time.Second { // on a machine that does much else; it is well under a second
		t.Errorf("all were answered after %s", took)
	}
}

// everyAction gives those of the published reference where it is there, else those of the table.
func everyAction(t *testing.T) []string {
	t.Helper()
	name, _ := actions.Source()
	text, err := os.ReadFile(filepath.Join(os.Getenv("HOURKEY_PROVIDER_APIS"), name))
	if err != nil {
		t.Log("the reference is not here: the actions are asked after that the table has. HOURKEY_PROVIDER_APIS names its folder")
		return slices.Collect(actions.All())
	}
	var list []string
	for line := range strings.Lines(string(text)) {
		if service, rest, _ := strings.Cut(line, "\t"); service != "service" {
			name, _, _ := strings.Cut(rest, "\t")
			list = append(list, service+":"+name)
		}
	}
	if len(list) != 21190 {
		t.Errorf("%d actions; the reference has 21190", len(list))
	}
	return list
}
