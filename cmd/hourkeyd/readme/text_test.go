package readme

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// maxLines is how long the README may be.
const maxLines = 200

// section gives the text below a heading of README.md, up to the next.
func section(t *testing.T, heading string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root(t), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, below, there := strings.Cut("\n"+string(raw), "\n## "+heading+"\n")
	if !there {
		t.Fatalf("README.md has no section %q", heading)
	}
	text, _, _ := strings.Cut(below, "\n## ")
	return text
}

var block = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// commands gives the commands of a section's sh blocks, in order, each as it stands there.
func commands(text string) []string {
	var all []string
	for _, found := range block.FindAllStringSubmatch(text, -1) {
		command := ""
		for line := range strings.Lines(found[1]) {
			command += line
			if strings.HasSuffix(line, "\\\n") {
				continue
			}
			if command = strings.TrimSuffix(command, "\n"); command != "" {
				all = append(all, command)
			}
			command = ""
		}
	}
	return all
}

func TestCommandsAreTakenAsTheyStand(t *testing.T) {
	got := commands("Text\n```sh\none -a\n\ntwo \\\n  --b\n```\nmore\n```\nno command\n```\n```sh\nthree\n```\n")
	if diff := cmp.Diff([]string{"one -a", "two \\\n  --b", "three"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestReadmeIsShort(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(root(t), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(raw), "\n"); lines > maxLines {
		t.Errorf("README.md has %d lines, more than %d", lines, maxLines)
	}
}
