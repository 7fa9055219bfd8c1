package main

import (
	"bytes"
	"context"
	"io"
	"log"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
)

// The attack: what a provider sends behind an answer without a body (to HEAD, 204, 304) is written by
// net/http's Transport itself, whole, to the standard logger: past our log and past the scrubber
// ("Unsolicited response received on idle HTTP channel starting with …").
func TestWhatFollowsAProvidersAnswerIsNotOnStderr(t *testing.T) {
	var told bytes.Buffer
	was := log.Writer()
	log.SetOutput(&told)
	t.Cleanup(func() { log.SetOutput(was) })
	m := &Main{
		Args: []string{"version"}, Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard,
		Now: time.Now, Lookup: func(string) (string, bool) { return "", false }, Guard: config.NewGuard(),
	}
	m.Run(context.Background())
	log.Printf("Unsolicited response received on idle HTTP channel starting with %q", `{"PASSWORD":"correct horse"}`)
	if told.Len() > 0 {
		t.Errorf("the standard logger writes: %s", told.String())
	}
}
