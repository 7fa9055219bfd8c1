package judge

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParsePack(t *testing.T) {
	pack, err := ParsePack("p", "p.pack", []byte(`# a comment

mutation volumeDelete
    delete  ends the volume,  with blanks
    # a comment in between
    touch   volume a.b/keys(c.d) in e
    touch	snapshot new	name
    touch   disk -
    when    a.n = {"x": [1, 2]}   admin  why not
    when    a.n given             refused  no
    only    a.b c.*.d e.**        admin  unknown
    rule    some-rule
GET /x/{y}
    read    r
    touch   none
    secret  a.b **.c *
    keep    y - id
    keep    y *.list a.b
    raw
type Volume  environment  environmentId  because
type Project project id
type Page open
type Token admin a token
field A.b secret
field A.c delete why
`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Pack{
		Provider: "p", File: "p.pack",
		Rows: map[string]*Row{
			"mutation volumeDelete": {
				Operation: "mutation volumeDelete", Class: Delete, Why: "ends the volume,  with blanks", Line: 3, Rule: "some-rule",
				Touches: []Touch{
					{Kind: "volume", Paths: []Path{{"a", "b"}, {"c", "d", "keys()"}}, In: Path{"e"}, Line: 6},
					{Kind: "snapshot", Paths: []Path{{"name"}}, New: true, Line: 7},
					{Kind: "disk", Line: 8},
				},
				When: []Condition{
					{Path: Path{"a", "n"}, Test: Equal, Value: `{"x": [1, 2]}`, Class: Admin, Why: "why not", Line: 9},
					{Path: Path{"a", "n"}, Test: Given, Class: Refused, Why: "no", Line: 10},
				},
				Only: &Only{Paths: []Path{{"a", "b"}, {"c", "*", "d"}, {"e", "**"}}, Class: Admin, Why: "unknown", Line: 11},
			},
			"GET /x/{y}": {
				Operation: "GET /x/{y}", Class: Read, Why: "r", Line: 13, Raw: true, Touches: []Touch{{Line: 15}},
				Secrets: []Path{{"a", "b"}, {"**", "c"}, {"*"}},
				Keep:    []Keep{{Kind: "y", Key: Path{"id"}, Line: 17}, {Kind: "y", List: Path{"*", "list"}, Key: Path{"a", "b"}, Line: 18}},
			},
		},
		Types: map[string]*Type{
			"Volume":  {Name: "Volume", Bound: ByEnvironment, Field: "environmentId", Why: "because", Line: 20},
			"Project": {Name: "Project", Bound: ByProject, Field: "id", Line: 21},
			"Page":    {Name: "Page", Bound: Open, Line: 22},
			"Token":   {Name: "Token", Bound: ByClass, Class: Admin, Why: "a token", Line: 23},
		},
		Fields: map[string]*Field{
			"A.b": {Name: "A.b", Secret: true, Line: 24},
			"A.c": {Name: "A.c", Class: Delete, Why: "why", Line: 25},
		},
	}
	if diff := cmp.Diff(want, pack, cmpopts.IgnoreUnexported(Condition{})); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if path := pack.Rows["mutation volumeDelete"].Touches[0].Paths[1].String(); path != "keys(c.d)" {
		t.Errorf("a path is written %s", path)
	}
}

func TestMistakesInPacks(t *testing.T) {
	row := "mutation a\n    write   w\n    touch   none\n    "
	for _, c := range []struct {
		text string
		line string
		says string
	}{
		{"mutaton a\n", "1", "opens no entry"},
		{"get /a\n", "1", "opens no entry"},
		{"mutation a b\n    write w\n touch none\n", "1", "unexpected"},
		{"mutation 1a\n write w\n touch none\n", "1", "no name"},
		{"mutation\n write w\n touch none\n", "1", "no name"},
		{"    write w\n", "1", "belongs to no operation"},
		{"mutation a\n", "1", "has no class"},
		{"mutation a\n    wipes w\n touch none\n", "2", `"wipes" is no class`},
		{"mutation a\n    write\n touch none\n", "2", "has no why"},
		{"mutation a\n    write w\n", "1", "touch none if nothing"},
		{row + "touch   volume a\n", "1", "touches none and something"},
		{row + "\nmutation a\n write w\n touch none\n", "5", "stands in line 1 already"},
		{row + "rule x\n    rule y\n", "5", "one rule"},
		{row + "rule\n", "4", "one rule"},
		{row + "note x\n", "4", `"note" is not known`},
		{row + "touch none really\n", "4", "expected none"},
		{row + "touch volume\n", "4", `path ""`},
		{row + "touch volume a at b\n", "4", "expected in"},
		{row + "touch volume a in\n", "4", `path ""`},
		{row + "touch volume a in b c\n", "4", "unexpected"},
		{row + "touch volume - in b\n", "4", "unexpected"},
		{row + "touch volume a//b\n", "4", `path ""`},
		{row + "touch volume a.\n", "4", "no name"},
		{row + "touch volume **.a\n", "4", "begin with a name"},
		{row + "touch volume keys(a\n", "4", "not closed"},
		{row + "when a.**.b.**.c given delete w\n", "4", "may stand once"},
		{row + "when a is given delete w\n", "4", `"is" is no test`},
		{row + "when a given\n", "4", `"" is no class`},
		{row + "when a given delete\n", "4", "has no why"},
		{row + "when a = delete w\n", "4", "expected a JSON value"},
		{row + "when a = {\"x\":1,\"x\":2} delete w\n", "4", "stands twice"},
		{row + "when a < \"1\" delete w\n", "4", "expected a number"},
		{row + "only delete w\n", "4", "expected paths"},
		{row + "only a.b\n", "4", `path ""`},
		{row + "only a.b delete\n", "4", "no why"},
		{row + "only keys(a.b) delete w\n", "4", "keys()"},
		{row + "only a delete w\n    only b delete w\n", "5", "a second only"},
		{row + "secret\n", "4", "expected paths"},
		{row + "secret keys(a)\n", "4", "no name"},
		{row + "keep volume\n", "4", "path"},
		{row + "keep volume **.a id\n", "4", "names no list"},
		{row + "raw x\n", "4", "unexpected"},
		{"type A\n", "1", "expected open"},
		{"type A environment\n", "1", "expected the field"},
		{"type A admin\n", "1", "no why"},
		{"type A.b open\n", "1", "no name of a type"},
		{"type A open\ntype A open\n", "2", "stands in line 1 already"},
		{"field A secret\n", "1", "expected Type.field"},
		{"field A.b\n", "1", "no class"},
		{"field A.b admin\n", "1", "no why"},
		{"field A.b secret\nfield A.b secret\n", "2", "stands in line 1 already"},
		{"GET a\n read r\n touch none\n", "1", "does not begin with /"},
		{"GET /a/{b\n read r\n touch none\n", "1", "expected {name}"},
		{"GET /a/{b}{c}\n read r\n touch none\n", "1", "expected {one}between{other}"},
		{"GET /a/{b}-{c}/d\n read r\n touch none\n", "1", "not the last"},
		{"GET /a/{b...}/{c...}\n read r\n touch none\n", "1", "several segments"},
		{"GET /a/{b}/{b}\n read r\n touch none\n", "1", "stands twice"},
		{"GET /a/{body}\n read r\n touch none\n", "1", "must not be called"},
		{"GET /a//b\n read r\n touch none\n", "1", "not one that a path can have"},
		{"GET /a/..\n read r\n touch none\n", "1", "not one that a path can have"},
		{"GET /a/x{b}\n read r\n touch none\n", "1", "expected {name}"},
		{"OPTIONS /a\n read r\n touch none\n", "1", "opens no entry"},
	} {
		_, err := ParsePack("p", "p.pack", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "p.pack:"+c.line+":") {
			t.Errorf("%q: got %v, wanted line %s to say %q", c.text, err, c.line, c.says)
		}
	}
}

func TestAllMistakesAreNamed(t *testing.T) {
	_, err := ParsePack("p", "p.pack", []byte("mutation a\n    wipes w\n    nonsense\nfoo\nquery b\n"))
	if got := strings.Count(err.Error(), "\n") + 1; got != 4 {
		t.Errorf("%d mistakes, wanted 4:\n%v", got, err)
	}
}

// A typo in a pack must not become a row that silently never matches.
func TestPackAgainstSchema(t *testing.T) {
	text, err := os.ReadFile("testdata/shop.pack")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, to, says string }{
		{"mutation volumeDelete\n", "mutation volumeDrop\n", "there is no row for mutation volumeDelete"},
		{"mutation volumeDelete\n", "mutation volumeDrop\n", "mutation volumeDrop: the schema has no such operation"},
		{"query status\n", "mutation status\n", "there is no row for query status"},
		{"subscription logs\n    refused  there is no websocket here", "", "there is no row for subscription logs"},
		{"refused  there is no websocket here", "read  x\n    touch none", "must be refused"},
		{"touch   volume volumeId\n", "touch   volume volumeID\n", "volumeDelete has no argument volumeID"},
		{"touch   project input.projectId", "touch   project input.project", "has no field project"},
		{"in input.environmentId\nmutation serviceUpdate", "in environmentId\nmutation serviceUpdate", "has no argument environmentId"},
		{"touch   volume volumeId\n", "touch   volume volumeId.id\n", "leads nowhere"},
		{"touch   project input.projectId", "touch   project input", "which is no id"},
		{"when    input.source given", "when    input.sources given", "has no field sources"},
		{"when    input.source.repo empty", "when    input.*.repo empty", "has no field *"},
		{"when    input.numReplicas = 0", `when    input.numReplicas = "none"`, "is never"},
		{"when    input.numReplicas = 0", `when    input.numReplicas = {}`, "is never"},
		{`when    input.region != "EU"`, `when    input.region != "Eu"`, "is never"},
		{"when    input.replace = true", "when    input.replace given", "always given"},
		{"when    answer = \"YES\"", "when    answer absent", "always given"},
		{"input.mount input.limits.cpu", "input.mounts input.limits.cpu", "has no field mounts"},
		{"keys(input.variables)", "keys(input.variable)", "has no field variable"},
		{"keys(input.variables)", "keys(input)", "has no field keys()"},
		{"type PageInfo           open\n", "", "no line for the type PageInfo"},
		{"type PageInfo           open\n", "type PageInfo open\ntype Page open\n", "no object type Page"},
		{"type PageInfo           open\n", "type PageInfo open\ntype Node open\n", "no object type Node"},
		{"type PageInfo           open\n", "type PageInfo environment environmentId\n", "has no field environmentId"},
		{"environment environmentId\ntype Backup", "environment sizeMB\ntype Backup", "which is no id"},
		{"environment environmentId\ntype Backup", "environment service\ntype Backup", "which is no id"},
		{"field Variable.value ", "field Variable.values ", "no field Variable.values"},
		{"field Variable.value ", "field Named.name ", "no field Named.name"},
		{"field Service.config ", "field Service.owner ", "fields of its own"},
		{"mutation volumeDelete\n", "GET /volumes\n", "the schema has no such operation"},
		{"    rule    patches", "    secret a", "are for REST"},
	} {
		changed := strings.Replace(string(text), c.from, c.to, 1)
		if changed == string(text) {
			t.Fatalf("the pack has no %q", c.from)
		}
		pack, err := ParsePack("shop", "shop.pack", []byte(changed))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewGraphQL(pack, shopSchema(t)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q → %q: got %v, wanted it to say %q", c.from, c.to, err, c.says)
		}
	}
}
