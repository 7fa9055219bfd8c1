package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
)

func decode(text string) (broker.Environment, []Target, error) {
	return DecodeEnvironment("staging", "environments/staging.yaml", []byte(text))
}

func TestEnvironmentDefaults(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want broker.Environment
	}{
		"nothing said is protected": {"targets: {}\n", broker.Environment{
			Name: "staging", Protected: true, Where: "environments/staging.yaml:1",
			Approval: map[broker.Actions]int{broker.Read: 0, broker.Write: 1, broker.Delete: 2, broker.Admin: 2},
		}},
		"unprotected": {"protected: false\n", broker.Environment{
			Name: "staging", Where: "environments/staging.yaml:1",
			Approval: map[broker.Actions]int{broker.Read: 0, broker.Write: 0, broker.Delete: 1, broker.Admin: 1},
		}},
		"what is said counts, the rest is default": {"approval: {write: 3, reviewers: [oncall]}\nprotected: false\n", broker.Environment{
			Name: "staging", Where: "environments/staging.yaml:1", Reviewers: []string{"oncall"},
			Approval: map[broker.Actions]int{broker.Read: 0, broker.Write: 3, broker.Delete: 1, broker.Admin: 1},
		}},
		"the owner may approve where one human works alone": {"protected: false\napproval:\n  owner_may_approve: true\n", broker.Environment{
			Name: "staging", Where: "environments/staging.yaml:3", OwnerMayReview: true,
			Approval: map[broker.Actions]int{broker.Read: 0, broker.Write: 0, broker.Delete: 1, broker.Admin: 1},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := decode(test.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEnvironmentRefusals(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"typo in protected":             {"protectd: false\n", `staging.yaml:1: unknown field "protectd": did you mean "protected"?`},
		"typo below approval":           {"approval:\n  delte: 1\n", `staging.yaml:2: unknown field "delte": did you mean "delete"?`},
		"nothing near":                  {"colour: red\n", `unknown field "colour": known here: approval, protected, targets`},
		"case is not folded":            {"Protected: false\n", `did you mean "protected"?`},
		"delete without a human":        {"protected: false\napproval: {delete: 0}\n", "approval.delete must be at least 1"},
		"admin without a human":         {"protected: false\napproval: {admin: 0}\n", "approval.admin must be at least 1"},
		"negative humans":               {"approval: {write: -1}\n", "expected 0 to 16"},
		"owner approves in a protected": {"approval: {owner_may_approve: true}\n", "owner_may_approve cannot be true in a protected environment"},
		"a word where a truth belongs":  {"protected: nope\n", "protected: expected true or false"},
		"a quoted truth":                {"protected: \"false\"\n", "protected: expected true or false"},
		"yaml 1.1 truth":                {"protected: off\n", "protected: expected true or false"},
		"a text where a number belongs": {"approval: {delete: two}\n", "approval.delete: expected a whole number"},
		"a fraction of a human":         {"approval: {delete: 1.5}\n", "approval.delete: expected a whole number"},
		"twice the same field":          {"protected: true\nprotected: false\n", `staging.yaml:2: "protected" stands here twice`},
		"twice the same target":         {"targets:\n  a: {jwt: {}}\n  a: {jwt: {}}\n", `staging.yaml:3: "a" stands here twice`},
		"twice deep inside a target":    {"targets:\n  a: {jwt: {audience: x, audience: y}}\n", `"audience" stands here twice`},
		"a merge key":                   {"base: &b {protected: false}\n<<: *b\n", "anchors and aliases are not allowed"},
		"an alias":                      {"targets: &t {}\napproval: *t\n", "anchors and aliases are not allowed"},
		"a tag":                         {"protected: !!str false\n", "a YAML tag is not allowed"},
		"two documents":                 {"protected: true\n---\nprotected: false\n", "expected one YAML document"},
		"empty":                         {"", "is empty"},
		"a list":                        {"- protected\n", "expected fields"},
		"no YAML":                       {"protected: [\n", "staging.yaml:"},
		"a target without a kind":       {"targets: {db: {}}\n", "expected exactly one kind"},
		"a target of two kinds":         {"targets: {db: {jwt: {}, postgres: {}}}\n", "expected exactly one kind"},
		"a target with a colon":         {"targets: {\"a:b\": {jwt: {}}}\n", "is not a name"},
		"a reviewer group that is none": {"approval: {reviewers: [\"On Call\"]}\n", "is not a name"},
		"a reviewer group named twice":  {"approval: {reviewers: [oncall, oncall]}\n", "stands here twice"},
		"reviewers that are no list":    {"approval: {reviewers: oncall}\n", "expected a list"},
		"a number as a field's name":    {"1: 2\n", "must be a plain word"},
		"a mapping as a field's name":   {"{a: b}: c\n", "must be a plain word"},
		"nested beyond reason":          {"targets: " + strings.Repeat("[", 60) + strings.Repeat("]", 60) + "\n", "nested more than"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := decode(test.text)
			refused(t, err, test.want)
		})
	}
}

func TestEnvironmentNameIsTheFilesName(t *testing.T) {
	_, _, err := DecodeEnvironment("Prod!", "environments/Prod!.yaml", []byte("protected: true\n"))
	refused(t, err, "is not a name")
}

func TestTargetsAreHandedOn(t *testing.T) {
	_, targets, err := decode("protected: false\ntargets:\n  orders-db:\n    postgres: {dsn: env:X, owner: o}\n  api:\n    jwt:\n")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, target := range targets {
		got = append(got, target.Ref.String()+" "+target.Kind+" "+target.Where)
	}
	want := []string{"staging/api jwt environments/staging.yaml:5", "staging/orders-db postgres environments/staging.yaml:3"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// FuzzEnvironment looks for panics, and for an environment that lets delete or admin through without a
// human, or the owner approve in a protected one.
func FuzzEnvironment(f *testing.F) {
	for _, seed := range []string{
		"protected: false\napproval: {delete: 1, admin: 1, reviewers: [oncall]}\ntargets:\n  db:\n    postgres: {dsn: env:X}\n",
		"protected: off\n", "approval: {delete: 0x0}\n", "approval: {delete: 0b0, admin: -0}\n", "approval: {delete: ~}\n",
		"approval: {owner_may_approve: true}\nprotected: false\nprotected: true\n", "a: &a [*a]\n", "<<: {protected: false}\n",
		"? protected\n: false\n", "%YAML 1.1\n---\nprotected: no\n", "protected: !!bool \"false\"\n", "\xef\xbb\xbfprotected: false\n",
		"targets: {db: {jwt: {a: 2026-11-21, b: 1e400, c: 0o17, d: 1_000}}}\n", "\"protected\\u0000\": false\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, targets, err := decode(text)
		if err != nil {
			if broker.CodeOf(err) != broker.CodeInvalid {
				t.Fatalf("a refusal without a code: %v", err)
			}
			return
		}
		for _, action := range []broker.Actions{broker.Delete, broker.Admin} {
			if e.Approval[action] < 1 || e.Needs(action) < 1 {
				t.Fatalf("%s needs nobody", action)
			}
		}
		if e.Protected && e.OwnerMayReview {
			t.Fatal("the owner may approve in a protected environment")
		}
		for _, target := range targets {
			if target.Body == nil || !broker.IsName(target.Ref.Target) {
				t.Fatalf("a target without body or name: %+v", target)
			}
		}
	})
}
