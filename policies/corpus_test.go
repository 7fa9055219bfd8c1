package policies

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
)

// corpus is one file of testdata: a set, who is known, and the lines to check.
type corpus struct {
	source Source
	owners map[string]string // agent → human, alice if absent
	lines  []string          // of the comment, without empty and # lines
}

func readCorpus(t *testing.T, path string) corpus {
	t.Helper()
	comment, files := readArchive(t, path)
	c := corpus{source: Source{Environments: map[string][]string{}, Groups: map[string][]string{}}, owners: map[string]string{}}
	for line := range strings.Lines(comment) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			c.lines = append(c.lines, line)
		}
	}
	for _, file := range files {
		switch {
		case file.Name == "known":
			c.know(string(file.Data))
		case strings.HasSuffix(file.Name, ".cedar"):
			c.source.Guardrails = append(c.source.Guardrails, file)
		default:
			c.source.Tasks = append(c.source.Tasks, file)
		}
	}
	return c
}

// readArchive reads the txtar form: a comment, then files, each after a line "-- NAME --".
func readArchive(t *testing.T, path string) (comment string, files []File) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if name, is := strings.CutPrefix(line, "-- "); is && strings.HasSuffix(name, " --\n") {
			files = append(files, File{Name: strings.TrimSuffix(name, " --\n")})
		} else if len(files) == 0 {
			comment += line
		} else {
			last := &files[len(files)-1]
			last.Data = append(last.Data, line...)
		}
	}
	return comment, files
}

func (c corpus) know(text string) {
	for line := range strings.Lines(text) {
		switch words := strings.Fields(line); words[0] {
		case "environment":
			c.source.Environments[words[1]] = words[2:]
		case "group":
			c.source.Groups[words[1]] = words[2:]
		case "owner":
			c.owners[words[1]] = words[2]
		}
	}
}

// line is one decision of a corpus.
type line struct {
	outcome      broker.Outcome
	agent, task  string
	environments []string
	asked        []broker.Scope
	described    []broker.Scope
	ttl          time.Duration
	because      string
}

func parseLine(t *testing.T, text string) line {
	t.Helper()
	text, because, _ := strings.Cut(text, " because ")
	words := strings.Fields(text)
	l := line{outcome: broker.Outcome(words[0]), agent: words[1], task: words[2], environments: strings.Split(words[3], "+"), because: because}
	into := &l.asked
	for _, word := range words[4:] {
		if word == "->" {
			into = &l.described
			continue
		}
		var err error
		if ttl, is := strings.CutPrefix(word, "ttl="); is {
			l.ttl, err = time.ParseDuration(ttl)
		} else {
			var scope broker.Scope
			scope, err = broker.ParseScope(word)
			*into = append(*into, scope)
		}
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	return l
}

// decide does what the broker does with an ask, with an issuer that describes as the line says.
func (c corpus) decide(set *Set, l line) broker.Decision {
	resolution, err := set.Resolve(broker.Ask{Agent: l.agent, Task: l.task, Environments: l.environments, Scopes: l.asked, TTL: l.ttl})
	if err != nil {
		return broker.Decision{Outcome: broker.Deny, Reasons: err.(*broker.Error).Reasons} //nolint:errorlint // Resolve promises it
	}
	owner := c.owners[l.agent]
	if owner == "" {
		owner = "alice"
	}
	worst := broker.Decision{Outcome: broker.Allow}
	for _, item := range resolution.Items {
		query := broker.Query{
			Agent: l.agent, Owner: owner, OwnerGroups: (&broker.Configuration{Groups: c.source.Groups}).GroupsOf(owner),
			Task: l.task, Environment: item.Environment, Target: item.Target, Scopes: item.Scopes,
		}
		before := set.Evaluate(query)
		query.Described = true
		if l.described != nil {
			query.Scopes = l.described
		}
		for _, decision := range []broker.Decision{before, set.Evaluate(query)} {
			if len(worst.Reasons) == 0 || broker.Worse(worst.Outcome, decision.Outcome) != worst.Outcome {
				worst = decision
			}
		}
	}
	return worst
}

// TestDecisions runs every line of testdata/decisions.
func TestDecisions(t *testing.T) {
	files, err := filepath.Glob("testdata/decisions/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no corpus", err)
	}
	count := 0
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c := readCorpus(t, file)
			set, err := Load(c.source)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range c.lines {
				count++
				checkLine(t, c, set, text)
			}
		})
	}
	if count < 60 {
		t.Errorf("the corpus holds %d decisions: expected at least 60", count)
	}
}

func checkLine(t *testing.T, c corpus, set *Set, text string) {
	t.Helper()
	l := parseLine(t, text)
	got := c.decide(set, l)
	if got.Outcome != l.outcome {
		t.Errorf("%s\n  is decided %s: %v", text, got.Outcome, got.Reasons)
	}
	if len(got.Reasons) == 0 || got.Reasons[0].Where == "" || got.Reasons[0].Text == "" || got.Reasons[0].Outcome != got.Outcome {
		t.Errorf("%s\n  has no deciding reason first: %v", text, got.Reasons)
	} else if l.because != "" && got.Reasons[0].Where != l.because {
		t.Errorf("%s\n  is decided because of %v", text, got.Reasons)
	}
}

// TestRefusals compares all problems of each set in testdata/refusals.
func TestRefusals(t *testing.T) {
	files, err := filepath.Glob("testdata/refusals/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no corpus", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c := readCorpus(t, file)
			set, err := Load(c.source)
			if set != nil || broker.CodeOf(err) != broker.CodeInvalid {
				t.Fatalf("loaded: %v, %v", set, err)
			}
			if diff := cmp.Diff(c.lines, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("problems (-expected +found):\n%s", diff)
			}
			if reasons := err.(*broker.Error).Reasons; len(reasons) != len(c.lines) { //nolint:errorlint // Load promises it
				t.Error(fmt.Sprint("reasons: ", reasons))
			}
		})
	}
}
