package judge

import (
	"os"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
)

// typical is a mutation of about 2 KB, as a client sends it.
func typical() Call {
	return document(`mutation ServiceUpdate($serviceId: String!, $environmentId: String!, $input: ServiceInput!) {
		serviceUpdate(serviceId: $serviceId, environmentId: $environmentId, input: $input) { ...ServiceFields }
	}
	fragment ServiceFields on Service { id name environmentId region volume { id sizeMB backups { id size at } } owner { id name } }`,
		`{"serviceId":"8f2b1c1e-2f0e-4a53-9a66-0d8a7f3b1c11","environmentId":"5d2b1c1e-2f0e-4a53-9a66-0d8a7f3b1c22","input":{
		"numReplicas":2,"region":"EU","startCommand":"`+strings.Repeat("node server.js --flag=value ", 45)+`","tags":["a","b","c"],
		"mount":[{"volumeId":"v-1","environmentId":"5d2b1c1e-2f0e-4a53-9a66-0d8a7f3b1c22","path":"/data"}],
		"limits":{"cpu":2,"volumes":{"data":{"size":10}}}}}`)
}

func BenchmarkJudgeMutation2KB(b *testing.B) {
	g, call := shop(b), typical()
	if v := g.Judge(call, false); v.Class != Write {
		b.Fatal(v.Refusal)
	}
	b.SetBytes(int64(len(call.Body)))
	b.ReportAllocs()
	for b.Loop() {
		_ = g.Judge(call, false)
	}
}

func BenchmarkJudgeSmallMutation(b *testing.B) {
	g, call := shop(b), document(`mutation { volumeDelete(volumeId: "3d2c42fb") }`, "")
	b.ReportAllocs()
	for b.Loop() {
		_ = g.Judge(call, false)
	}
}

func BenchmarkJudgeREST(b *testing.B) {
	r, call := forge(b), rest("GET /repos/acme/shop/contents/a/b/c.txt?ref=main", "")
	b.ReportAllocs()
	for b.Loop() {
		_ = r.Judge(call, false)
	}
}

func BenchmarkRewrite(b *testing.B) {
	v := shop(b).Judge(document(`{ project(id: "shop") { volumes { id sizeMB } } }`, ""), false)
	answer := []byte(`{"data":{"project":{"hk_of_Project":"shop","volumes":[` +
		strings.Repeat(`{"hk_of_Volume":"staging","id":"3d2c42fb","sizeMB":100},{"hk_of_Volume":"production","id":"3d2c42fc","sizeMB":100},`, 100) + `null]}}}`)
	b.SetBytes(int64(len(answer)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Answer.Rewrite(answer, staging); err != nil {
			b.Fatal(err)
		}
	}
}

// The real schema is larger: 382 operations, 596 types.
func BenchmarkJudgeRailway(b *testing.B) {
	list, err := os.ReadFile("../lists/railway.graphql")
	if err != nil {
		b.Skip("the list of Railway's operations is not here")
	}
	rows, err := os.ReadFile("../packs/railway/rows.pack")
	if err != nil {
		b.Skip("the pack of Railway is not here")
	}
	pack, err := ParsePack("railway", "rows.pack", rows)
	if err != nil {
		b.Fatal(err)
	}
	g, err := NewGraphQL(pack, gqlparser.MustLoadSchema(&ast.Source{Input: string(list)}))
	if err != nil {
		b.Fatal(err)
	}
	call := document(`mutation variableCollectionUpsert($input: VariableCollectionUpsertInput!) { variableCollectionUpsert(input: $input) }`,
		`{"input":{"projectId":"8f2b1c1e-2f0e-4a53-9a66-0d8a7f3b1c11","environmentId":"5d2b1c1e-2f0e-4a53-9a66-0d8a7f3b1c22","serviceId":"1d2b1c1e-2f0e-4a53-9a66-0d8a7f3b1c22",
		"variables":{`+strings.TrimSuffix(strings.Repeat(`"NAME_?":"a value of a variable, as they are",`, 1), ",")+`,"BIG":"`+strings.Repeat("x", 1600)+`"}}}`)
	if v := g.Judge(call, false); v.Class == Refused {
		b.Fatal(v.Refusal)
	}
	b.SetBytes(int64(len(call.Body)))
	b.ReportAllocs()
	for b.Loop() {
		_ = g.Judge(call, false)
	}
}
