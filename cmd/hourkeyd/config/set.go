package config

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// Set is everything that the files say: hourkey.yaml, the environments and the policies.
//
//	hourkey.yaml                 Server
//	environments/NAME.yaml       Environments, Targets
//	policies/tasks/*.yaml        Tasks
//	policies/*.cedar             Guardrails, also in folders below
type Set struct {
	Server       Server
	Environments map[string]broker.Environment // name → head
	Targets      []Target                      // sorted by environment/target
	Tasks        []File
	Guardrails   []File
	Hash         string // over tasks, guardrails, environments, groups and roles (invariant 12)
}

// File is a file as it was read; Name is relative to the folder of hourkey.yaml.
type File struct {
	Name string
	Text []byte
}

// Find tells where hourkey.yaml is: as given, in the current folder, or in /etc/hourkey.
func Find(given string) (string, error) {
	candidates := []string{"hourkey.yaml", "/etc/hourkey/hourkey.yaml"}
	if given != "" {
		candidates = []string{given}
	}
	for _, candidate := range candidates {
		_, err := os.Stat(candidate)
		if err == nil {
			return filepath.Abs(candidate)
		}
		if !errors.Is(err, fs.ErrNotExist) { // else a broker that is there would seem not to be
			return "", readable(err, candidate)
		}
	}
	return "", broker.Errorf(broker.CodeInvalid, "no configuration: there is no %s", strings.Join(candidates, " and no ")).
		WithNext("hourkeyd init writes one; --config PATH names another")
}

// Load reads and decodes all files; it resolves no secret and calls nobody.
func Load(path string, guard Guard) (*Set, error) {
	server, err := LoadServer(path, guard)
	if err != nil {
		return nil, err
	}
	set := &Set{Server: server, Environments: map[string]broker.Environment{}}
	files, err := set.environments(guard)
	if err != nil {
		return nil, err
	}
	if err := set.policies(guard); err != nil {
		return nil, err
	}
	if err := set.references(); err != nil {
		return nil, err
	}
	set.Hash = hash(slices.Concat(files, set.Tasks, set.Guardrails), server)
	return set, nil
}

// LoadServer reads hourkey.yaml alone, for commands that only want to know where the broker is.
func LoadServer(path string, guard Guard) (Server, error) {
	text, err := guard.Read(path)
	if err != nil {
		return Server{}, readable(err, path)
	}
	return DecodeServer(path, text)
}

func (s *Set) environments(guard Guard) ([]File, error) {
	files, err := s.read(guard, "environments", func(name string) (bool, error) {
		return oneFolder(name, "environments", ".yaml")
	})
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, broker.Errorf(broker.CodeInvalid, "environments: holds no file").
			WithNext("write environments/NAME.yaml, or start with hourkeyd init")
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file.Name), ".yaml")
		environment, targets, err := DecodeEnvironment(name, file.Name, file.Text)
		if err != nil {
			return nil, err
		}
		s.Environments[name] = environment
		s.Targets = append(s.Targets, targets...)
	}
	return files, nil
}

func (s *Set) policies(guard Guard) error {
	files, err := s.read(guard, "policies", func(name string) (bool, error) {
		if strings.HasSuffix(name, ".cedar") {
			return true, nil
		}
		return oneFolder(name, "policies/tasks", ".yaml")
	})
	for _, file := range files {
		if strings.HasSuffix(file.Name, ".cedar") {
			s.Guardrails = append(s.Guardrails, file)
		} else {
			s.Tasks = append(s.Tasks, file)
		}
	}
	if err == nil && len(s.Tasks) == 0 {
		err = broker.Errorf(broker.CodeInvalid, "policies/tasks: holds no file").
			WithNext("write policies/tasks/NAME.yaml, or start with hourkeyd init")
	}
	return err
}

// oneFolder wants YAML files to stand in one folder under one ending. One that stands elsewhere is an
// error: a policy that is silently not read is a wall that is silently not there.
func oneFolder(name, folder, ending string) (bool, error) {
	switch extension := filepath.Ext(name); {
	case extension == ending && filepath.Dir(name) == folder:
		return true, nil
	case extension == ".yaml" || extension == ".yml":
		return false, broker.Errorf(broker.CodeInvalid, "%s: would not be read: expected %s/NAME%s", name, folder, ending).
			WithNext("move it, rename it, or remove it")
	}
	return false, nil
}

// read gives the files below folder that wanted takes, sorted by name. Files and folders whose name
// begins with a dot are an editor's, or a mounted volume's own bookkeeping.
func (s *Set) read(guard Guard, folder string, wanted func(name string) (bool, error)) ([]File, error) {
	root, _, err := guard.walk(filepath.Join(s.Server.Dir, folder))
	if err != nil {
		return nil, guard.granted(err, folder)
	}
	var files []File
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		hidden := strings.HasPrefix(entry.Name(), ".")
		if entry.IsDir() {
			if hidden {
				return filepath.SkipDir
			}
			return nil
		}
		below, err := filepath.Rel(root, path)
		if err != nil || hidden {
			return err
		}
		name := folder + "/" + filepath.ToSlash(below)
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			return broker.Errorf(broker.CodeInvalid, "%s: is a link to a folder, which would not be read", name).
				WithNext("put the files themselves into %s", folder)
		}
		if take, err := wanted(name); err != nil || !take {
			return err
		}
		text, err := guard.Read(path)
		files = append(files, File{Name: name, Text: text})
		return guard.granted(err, name)
	})
	return files, guard.granted(err, folder)
}

// references checks that every group that is named exists: a reviewer group with a typo would have
// nobody in it, or somebody else tomorrow.
func (s *Set) references() error {
	var known []string
	for group := range s.Server.Groups {
		known = append(known, group)
	}
	known = append(known, s.Server.SingleSignOn.OurGroups()...)
	check := func(where, field string, groups []string) error {
		for _, group := range groups {
			if !slices.Contains(known, group) {
				return broker.Errorf(broker.CodeInvalid, "%s: %s: no group %q in hourkey.yaml: %s", where, field, group, didYouMean(group, known)).WithField(field)
			}
		}
		return nil
	}
	for role, groups := range s.Server.Roles {
		if err := check(filepath.Base(s.Server.File), "roles."+string(role), groups); err != nil {
			return err
		}
	}
	for _, environment := range s.Environments {
		if err := check(environment.Where, "approval.reviewers", environment.Reviewers); err != nil {
			return err
		}
	}
	return s.Server.Notify.check(s.Environments)
}

// hash pins names and bytes of the files, and groups, roles and what single sign-on brings in an order that does not depend on
// how they are written.
func hash(files []File, server Server) string {
	type entry struct{ Name, SHA256 string }
	entries := make([]entry, len(files))
	for i, file := range files {
		sum := sha256.Sum256(file.Text)
		entries[i] = entry{file.Name, hex.EncodeToString(sum[:])}
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.Name, b.Name) })
	text, err := json.Marshal([]any{"hourkey/configuration/2", entries, sorted(server.Groups), sorted(server.Roles), string(server.SingleSignOn.Canonical())})
	if err != nil {
		panic(fmt.Sprintf("config: text that does not encode: %v", err)) // strings always do
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func sorted[K ~string](lists map[K][]string) map[string][]string {
	out := map[string][]string{}
	for name, members := range lists {
		out[string(name)] = slices.Sorted(slices.Values(members))
	}
	return out
}

// readable turns what the file system says into our words; refusals of the guard stay as they are.
func readable(err error, path string) error {
	switch {
	case err == nil, broker.CodeOf(err) != broker.CodeInternal:
		return err
	case errors.Is(err, fs.ErrNotExist):
		return broker.Errorf(broker.CodeInvalid, "%s: does not exist", path)
	case errors.Is(err, fs.ErrPermission):
		return broker.Errorf(broker.CodeInvalid, "%s: cannot be read by this user", path).
			WithNext("run this as the broker's OS user, or as root")
	default:
		return fmt.Errorf("reading %s: %w", path, err)
	}
}
