package judge

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// hiding judges by the packs of these tests with a hide line added to one row.
func hiding(t *testing.T, operation, line string) *GraphQL {
	t.Helper()
	pack := shopPack(t)
	words := &words{rest: line}
	p := packParser{pack: pack, row: pack.Rows[operation]}
	if err := p.detail(words); err != nil {
		t.Fatal(err)
	}
	g, err := NewGraphQL(pack, shopSchema(t))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestSecretVariablesAreInNoText(t *testing.T) {
	g := hiding(t, "mutation variablesUpsert", "hide input.variables.*")
	upsert := func(variables string) Operation {
		v := judged(t, g, document(`mutation($v: JSON!) { variablesUpsert(input: {environmentId: "e", variables: $v}) }`, `{"v":`+variables+`}`))
		if !strings.Contains(string(v.Send.Body), `"variables":`+variables) {
			t.Errorf("sent %s", v.Send.Body)
		}
		return v.Operations[0]
	}
	first := upsert(`{"A":"s3cret","B":"","C":null,"D":["s3cret",{"E":1}]}`)
	want := `mutation variablesUpsert(input: {"environmentId":"e","replace":false,"variables":{"A":"hidden by Hourkey","B":"","C":null,"D":["hidden by Hourkey",{"E":"hidden by Hourkey"}]}})`
	if first.Text != want || first.Exact == "" {
		t.Errorf("got %s, %q", first.Text, first.Exact)
	}
	// What reads the same is not the same: an approval is for the values, too.
	if other := upsert(`{"A":"other","B":"","C":null,"D":["s3cret",{"E":1}]}`); other.Text != first.Text || other.Exact == first.Exact {
		t.Errorf("got %s, %s and %s", other.Text, other.Exact, first.Exact)
	}
	if same := upsert(`{"A":"s3cret","B":"","C":null,"D":["s3cret",{"E":1}]}`); same.Exact != first.Exact {
		t.Error("the same call has another digest")
	}
	if open := upsert(`{"B":""}`); open.Exact != "" || strings.Contains(open.Text, hiddenValue) {
		t.Errorf("got %+v", open)
	}
	// JSON in a string.
	v := g.Judge(document(`mutation { variablesUpsert(input: {environmentId: "e", variables: "{\"A\":\"s3cret\"}"}) }`, ""), true)
	for _, operation := range v.Operations {
		if strings.Contains(operation.Text, "s3cret") {
			t.Errorf("text %s", operation.Text)
		}
	}
	if strings.Contains(v.Refusal, "s3cret") {
		t.Errorf("refused with %s", v.Refusal)
	}
}

func TestSecretArgumentsAreInNoText(t *testing.T) {
	pack, err := ParsePack("x", "x.pack", []byte("POST /hooks\n write makes a hook\n touch hook -\n hide body.password body.secrets.* query.token\n"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewREST(pack)
	if err != nil {
		t.Fatal(err)
	}
	made := func(body, query string) Operation {
		v := wantREST(t, r, rest("POST /hooks?a=b&token="+query, body), Write)
		if string(v.Send.Body) != body || v.Send.Query.Get("token") != query {
			t.Errorf("what is sent lacks the secrets: %+v", v.Send)
		}
		o := v.Operations[0]
		if strings.Contains(o.Text, "s3cret") || strings.Contains(o.Text, "t0ken") || o.Exact == "" {
			t.Errorf("the text shows the secret, or nothing says exactly what it was: %s %q", o.Text, o.Exact)
		}
		return o
	}
	first := made(`{"flag":true,"name":"kept","password":"s3cret","secrets":{"A":"s3cret","B":"","C":null}}`, "t0ken")
	for _, seen := range []string{`"A":`, `"B":""`, `"C":null`, `"name":"kept"`, `"flag":true`, `a=b`, `token=`} {
		if !strings.Contains(first.Text, seen) {
			t.Errorf("a reviewer cannot see %s in %s", seen, first.Text)
		}
	}
	for _, other := range []Operation{
		made(`{"flag":true,"name":"kept","password":"other s3cret","secrets":{"A":"s3cret","B":"","C":null}}`, "t0ken"),
		made(`{"flag":true,"name":"kept","password":"s3cret","secrets":{"A":"s3cret","B":"","C":null}}`, "other-t0ken"),
	} {
		if other.Text != first.Text || other.Exact == first.Exact {
			t.Error("another hidden value must read the same and be another operation")
		}
	}
}

// The path goes on where the caller put a string: a server may look into it.
func TestSecretInAStringOfJSON(t *testing.T) {
	shown, exact := hide(map[string]any{"a": `{"b":"s3cret"}`, "c": []any{`{"b":"s3cret"}`, "x"}, "d": "seen"}, []Path{{"a", "b"}, {"c", "*"}})
	want := map[string]any{"a": hiddenValue, "c": []any{hiddenValue, hiddenValue}, "d": "seen"}
	if diff := cmp.Diff(want, shown); diff != "" || exact == "" {
		t.Errorf("%q -want +got\n%s", exact, diff)
	}
}

func TestNothingHiddenHasNoDigest(t *testing.T) {
	for _, v := range []map[string]any{{}, {"a": ""}, {"a": nil}, {"a": map[string]any{"b": "", "d": "x"}}, {"other": "x"}} {
		if shown, exact := hide(v, []Path{{"a", "b"}, {"c"}}); exact != "" {
			t.Errorf("hidden: %v", shown)
		}
	}
}

func TestHideNamesWhatIsThere(t *testing.T) {
	for line, says := range map[string]string{"hide": "expected paths", "hide keys(input.variables)": "not hidden", "hide input.": "no name"} {
		_, err := ParsePack("x", "x.pack", []byte("mutation a\n write w\n touch none\n "+line+"\n"))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", line, err)
		}
	}
	pack := shopPack(t)
	pack.Rows["mutation volumeDelete"].Hide = []Path{{"secret"}}
	if _, err := NewGraphQL(pack, shopSchema(t)); err == nil {
		t.Error("an argument that there is not is hidden")
	}
}
