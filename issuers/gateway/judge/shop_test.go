package judge

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
)

// The provider of these tests sells nothing; testdata/shop.graphql is its schema, shop.pack its pack.

func shopSchema(t testing.TB) *ast.Schema {
	t.Helper()
	text, err := os.ReadFile("testdata/shop.graphql")
	if err != nil {
		t.Fatal(err)
	}
	return gqlparser.MustLoadSchema(&ast.Source{Name: "shop", Input: string(text)})
}

func shopPack(t testing.TB) *Pack {
	t.Helper()
	text, err := os.ReadFile("testdata/shop.pack")
	if err != nil {
		t.Fatal(err)
	}
	pack, err := ParsePack("shop", "shop.pack", text)
	if err != nil {
		t.Fatal(err)
	}
	return pack
}

func shop(t testing.TB) *GraphQL {
	t.Helper()
	g, err := NewGraphQL(shopPack(t), shopSchema(t))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// body makes the body of a call; variables are JSON, "" for none.
func body(document, variables string) string {
	quoted, _ := json.Marshal(document)
	if variables == "" {
		return `{"query":` + string(quoted) + `}`
	}
	return `{"query":` + string(quoted) + `,"variables":` + variables + `}`
}

func post(body string) Call {
	return Call{Method: "POST", Path: "/graphql/v2", ContentType: "application/json", Body: []byte(body)}
}

func document(document, variables string) Call { return post(body(document, variables)) }

// judged judges strictly and wants the call not to be refused. What is sent is judged once more: it must be
// the same thing.
func judged(t *testing.T, g *GraphQL, call Call) Verdict {
	t.Helper()
	verdict := g.Judge(call, false)
	if verdict.Class == Refused {
		t.Fatalf("refused: %s\n%s", verdict.Refusal, call.Body)
	}
	again := g.Judge(post(strings.ReplaceAll(string(verdict.Send.Body), reservedAlias, "theirs_")), false)
	if again.Refusal != "" {
		t.Fatalf("what is sent is refused: %s\n%s", again.Refusal, verdict.Send.Body)
	}
	if diff := cmp.Diff(verdict.Operations, again.Operations, cmpopts.IgnoreFields(Operation{}, "Text")); diff != "" {
		t.Fatalf("what is sent is judged in another way: -first +sent\n%s\n%s", diff, verdict.Send.Body)
	}
	return verdict
}

func wantClass(t *testing.T, g *GraphQL, call Call, class Class) Verdict {
	t.Helper()
	verdict := judged(t, g, call)
	if verdict.Class != class {
		t.Errorf("class %s, wanted %s (%s)\n%s", verdict.Class, class, verdict.Operations[0].Why, call.Body)
	}
	return verdict
}

func wantRefused(t *testing.T, verdict Verdict, says string) {
	t.Helper()
	if verdict.Class != Refused || verdict.Refusal == "" {
		t.Errorf("class %s, wanted a refusal that says %q", verdict.Class, says)
	} else if !strings.Contains(verdict.Refusal, says) {
		t.Errorf("refused with %q, wanted it to say %q", verdict.Refusal, says)
	}
	if verdict.Send.Body != nil || verdict.Send.Method != "" {
		t.Error("a refused call has something to send")
	}
	if _, err := verdict.Answer.Rewrite([]byte(`{"data":{}}`), Sight{}); err == nil {
		t.Error("a refused call has an answer that is let through")
	}
}

func refuses(t *testing.T, g *GraphQL, call Call, says string) {
	t.Helper()
	wantRefused(t, g.Judge(call, false), says)
}

func wantTouches(t *testing.T, verdict Verdict, want ...Named) {
	t.Helper()
	var got []Named
	for _, operation := range verdict.Operations {
		got = append(got, operation.Touches...)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Named{}, "At")); diff != "" {
		t.Errorf("touches: -want +got\n%s", diff)
	}
}

func wantText(t *testing.T, verdict Verdict, want ...string) {
	t.Helper()
	var got []string
	for _, operation := range verdict.Operations {
		got = append(got, operation.Text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("texts: -want +got\n%s", diff)
	}
}

// sent gives the document and the variables that go out.
func sent(t *testing.T, verdict Verdict) (document string, variables map[string]any) {
	t.Helper()
	var body struct {
		Query     string
		Variables map[string]any
	}
	if err := json.Unmarshal(verdict.Send.Body, &body); err != nil {
		t.Fatalf("what is sent is no JSON: %v\n%s", err, verdict.Send.Body)
	}
	return body.Query, body.Variables
}

func wantSent(t *testing.T, verdict Verdict, document, variables string) {
	t.Helper()
	gotDocument, gotVariables := sent(t, verdict)
	if diff := cmp.Diff(document, gotDocument); diff != "" {
		t.Errorf("document sent: -want +got\n%s", diff)
	}
	var want map[string]any
	if err := json.Unmarshal([]byte(variables), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, gotVariables); diff != "" {
		t.Errorf("variables sent: -want +got\n%s", diff)
	}
}
