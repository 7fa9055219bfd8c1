package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/issuers/aws/actions"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// Whoever asks about an action gets a class and a reason, at once: an agent asks before it asks for the action.
func TestEveryActionOfAWSIsAnsweredAtOnce(t *testing.T) {
	list := everyAction(t)
	if os.Getenv("HOURKEY_TEST_ALL") != "1" {
		list = slices.DeleteFunc(list, func(action string) bool { return len(action)%16 != 0 }) // all take a while, looked up one by one
	}
	m := &Main{Stderr: io.Discard}
	var all sync.WaitGroup
	for part := range slices.Chunk(list, len(list)/4+1) {
		all.Go(func() { askAll(t, m, part) })
	}
	began := time.Now()
	all.Wait()
	t.Logf("%d actions, %s for each", len(list), time.Since(began)/time.Duration(len(list)))
}

func askAll(t *testing.T, m *Main, list []string) {
	for _, action := range list {
		began := time.Now()
		answer, err := m.classify(question{}, []string{"aws", action})
		switch took := time.Since(began); {
		case err != nil || !slices.Contains(judge.Classes(), answer.Class) || answer.Row.Why == "" || !slices.Equal(answer.Operations, []string{action}):
			t.Errorf("%s: %+v, %v", action, answer, err)
		case took > 5*time.Second: // on a machine that does much else; it is under a millisecond
			t.Errorf("%s: answered after %s", action, took)
		}
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
