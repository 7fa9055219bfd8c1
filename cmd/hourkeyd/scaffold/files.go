package scaffold

import (
	"embed"
	"io/fs"
	"path"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/policies"
)

//go:embed template
var templates embed.FS

// File is one file to write; Name is relative to the folder of hourkey.yaml.
type File struct {
	Name string
	Text string
}

// Place says where an installation keeps what it writes itself.
type Place struct {
	Human string // in groups: and roles:
	Data  string // of the store
	Keys  string // the key-encryption key
	Anchor,
	Listen string
}

// Here is the place of an installation in one folder, for one person who tries it.
func Here(human string) Place {
	return Place{Human: human, Data: "data", Keys: "keys/kek", Anchor: "keys/anchor", Listen: "127.0.0.1:8750"}
}

// Configuration gives hourkey.yaml, environments/ and policies/.
func Configuration(place Place) ([]File, error) {
	if !broker.IsName(place.Human) {
		return nil, broker.Errorf(broker.CodeInvalid, "%q is not a name for a human: expected a-z, 0-9 and dashes", place.Human).
			WithField("human").WithNext("name one: --human alice")
	}
	var files []File
	for _, name := range []string{"hourkey.yaml", "environments/staging.yaml"} {
		text, err := template(path.Base(name), place)
		if err != nil {
			return nil, err
		}
		files = append(files, File{name, text})
	}
	written, err := policyFiles()
	return append(files, written...), err
}

// Repository gives what belongs into the repository that the agents work in.
func Repository() ([]File, error) {
	ignore, err := template("gitignore", Place{})
	if err != nil {
		return nil, err
	}
	agents, err := template("AGENTS.md", Place{})
	return []File{{".gitignore", ignore}, {"AGENTS.md", agents}}, err
}

// template fills in NAMES in capitals; nothing that is filled in comes from anybody but the operator.
func template(name string, place Place) (string, error) {
	text, err := templates.ReadFile("template/" + name)
	fill := strings.NewReplacer("{{HUMAN}}", place.Human, "{{DATA}}", place.Data, "{{KEYS}}", place.Keys, "{{ANCHOR}}", place.Anchor, "{{LISTEN}}", place.Listen)
	return fill.Replace(string(text)), err
}

// policyFiles are the safe defaults of package policies, with tasks to copy for the other targets.
func policyFiles() ([]File, error) {
	more, err := template("tasks.yaml", Place{})
	if err != nil {
		return nil, err
	}
	var files []File
	err = fs.WalkDir(policies.Default, "default", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := policies.Default.ReadFile(name)
		if path.Ext(name) == ".yaml" {
			text = append(text, more...)
		}
		files = append(files, File{path.Join("policies", strings.TrimPrefix(name, "default/")), string(text)})
		return err
	})
	return files, err
}

// HumanFrom makes a name for a human of an OS user's: "Alice.B" becomes "alice.b".
func HumanFrom(user string) string {
	name := strings.Map(func(c rune) rune {
		switch {
		case c >= 'A' && c <= 'Z':
			return c + 'a' - 'A'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
			return c
		}
		return '-'
	}, user)
	return strings.Trim(name, "-_.")
}
