package lists

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vektah/gqlparser/v2/ast"
)

func TestTheListsHoldEveryOperation(t *testing.T) {
	s, err := Railway()
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range []struct {
		fields ast.FieldList
		want   int
	}{{s.Mutation.Fields, 230}, {s.Query.Fields, 152}, {s.Subscription.Fields, 13}} {
		own := slices.DeleteFunc(root.fields, func(f *ast.FieldDefinition) bool { return strings.HasPrefix(f.Name, "__") })
		if len(own) != root.want {
			t.Errorf("railway has %d root fields where %d are published", len(own), root.want)
		}
	}
	for provider, want := range map[string]int{"github": 1223, "supabase": 164} {
		all, err := REST(provider)
		if err != nil || len(all) != want {
			t.Errorf("%s: %d operations, %v; wanted %d", provider, len(all), err, want)
		}
	}
	if _, err := REST("railway"); err == nil {
		t.Error("railway has no REST list, and one was given")
	}
}

// The lists are facts only as long as they are what the descriptions say.
func TestTheListsAreWhatTheDescriptionsSay(t *testing.T) {
	folder := descriptions(t)
	if folder == "" {
		t.Log("no descriptions here: the lists are compared only where HOURKEY_PROVIDER_APIS names them")
		return
	}
	for _, provider := range []string{"railway", "github", "supabase"} {
		name, _ := Source(provider)
		source, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		list, err := Extract(provider, source)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(list, Raw(provider)) {
			t.Errorf("the list of %s is not what its description gives: run go generate", provider)
		}
		changes, err := Diff(provider, Raw(provider), source)
		if err != nil || len(changes) > 0 {
			t.Errorf("%s differs from its own description: %v %v", provider, changes, err)
		}
	}
}

// descriptions finds the folder of the published descriptions: named, or beside the repository.
func descriptions(t *testing.T) string {
	t.Helper()
	if folder := os.Getenv("HOURKEY_PROVIDER_APIS"); folder != "" {
		return folder
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for dir := here; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
			continue
		}
		beside := filepath.Join(filepath.Dir(dir), "shared", "provider-apis")
		if _, err := os.Stat(beside); err == nil {
			return beside
		}
	}
	return ""
}

func TestDiffShowsWhatAPackMustAnswer(t *testing.T) {
	edit := strings.NewReplacer(
		"volumeDelete(volumeId: String!): Boolean!", "volumeDelete(volumeId: ID!): Boolean!\n  volumeShred(input: VolumeShredInput!): Boolean!",
		"input VolumeCreateInput {", "input VolumeShredInput {\n  volumeId: String!\n}\n\ninput VolumeCreateInput {\n  wipe: Boolean = false",
		"enum VolumeState {", "enum VolumeState {\n  SHREDDED",
	)
	changes, err := Diff("railway", Raw("railway"), []byte(edit.Replace(string(Raw("railway")))))
	if err != nil {
		t.Fatal(err)
	}
	want := []Change{
		{"changed", "argument volumeDelete(volumeId: ID!), was String!"},
		{"added", "argument volumeCreate(input.wipe: Boolean = false)"},
		{"added", "argument volumeShred(input.volumeId: String!)"},
		{"added", "enum value VolumeState.SHREDDED"},
		{"added", "mutation volumeShred(input: VolumeShredInput!): Boolean!"},
	}
	byWhat := cmp.Transformer("set", func(all []Change) map[Change]bool {
		set := map[Change]bool{}
		for _, c := range all {
			set[c] = true
		}
		return set
	})
	if diff := cmp.Diff(want, changes, byWhat); diff != "" {
		t.Error(diff)
	}
	if !slices.IsSortedFunc(changes, func(a, b Change) int { return strings.Compare(a.What, b.What) }) {
		t.Error("the changes are not sorted")
	}
}

func TestDiffOfREST(t *testing.T) {
	before := "method\tpath\tsecurity\nGET\t/a\tbearer,fga_permissions:a_read\nGET\t/b\t\n"
	after := "method\tpath\tsecurity\nGET\t/a\tbearer,fga_permissions:a_admin\nDELETE\t/c\t\n"
	changes, err := Diff("supabase", []byte(before), []byte(after))
	want := []Change{{"added", "DELETE /c"}, {"changed", "GET /a, was a_read"}, {"removed", "GET /b"}}
	if diff := cmp.Diff(want, changes); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// What cannot be read is an error, never an empty list: an empty list has no operation to forbid.
func TestExtractRefusesWhatIsNoDescription(t *testing.T) {
	for _, c := range []struct{ provider, source string }{
		{"railway", ``}, {"railway", `{}`}, {"railway", `{"data":{"__schema":{"types":[]}}}`}, {"railway", `{"errors":[{"message":"no"}]}`},
		{"github", ``}, {"github", "verb\turl\nGET\t/\n"}, {"github", "method\tpath\nGET\n"},
	} {
		if list, err := Extract(c.provider, []byte(c.source)); err == nil {
			t.Errorf("%s %q made the list %q", c.provider, c.source, list)
		}
	}
	if _, err := Diff("github", Raw("github"), Raw("supabase")); err == nil {
		t.Error("a list of another provider was compared")
	}
}
