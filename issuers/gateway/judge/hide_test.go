package judge

import (
	"strings"
	"testing"
)

const hidingPack = `
POST /v1/things/{id}/settings
    write   sets things
    touch   thing id
    hide    body.password body.variables.* body.nested.**.value query.code
`

// Attack: a reviewer's page, and the log, as places to read a secret that a call carries.
func TestSecretArgumentsAreInNoText(t *testing.T) {
	pack, err := ParsePack("test", "test.pack", []byte(hidingPack))
	if err != nil {
		t.Fatal(err)
	}
	rest, err := NewREST(pack)
	if err != nil {
		t.Fatal(err)
	}
	judge := func(body, query string) Operation {
		t.Helper()
		v := rest.Judge(Call{Method: "POST", Path: "/v1/things/7/settings", Query: query, Body: []byte(body), ContentType: "application/json"}, false)
		if v.Refusal != "" {
			t.Fatal(v.Refusal)
		}
		if !strings.Contains(string(v.Send.Body), "s3cret") {
			t.Error("what is sent lost the value")
		}
		return v.Operations[0]
	}
	const body = `{"password":"s3cret","variables":{"A":"s3cret","B":"","C":null,"D":["s3cret"]},"nested":{"x":{"value":"s3cret","name":"kept"}},"flag":true}`
	first := judge(body, "")
	if strings.Contains(first.Text, "s3cret") || first.Exact == "" {
		t.Errorf("the text shows the secret, or nothing says exactly what it was: %s %q", first.Text, first.Exact)
	}
	for _, kept := range []string{`"A":`, `"B":""`, `"C":null`, `"name":"kept"`, `"flag":true`} {
		if !strings.Contains(first.Text, kept) {
			t.Errorf("a reviewer cannot see %s in %s", kept, first.Text)
		}
	}
	other := judge(strings.Replace(body, `"password":"s3cret"`, `"password":"other s3cret"`, 1), "")
	if other.Text != first.Text || other.Exact == first.Exact {
		t.Error("another hidden value must read the same and be another operation")
	}
}

func TestNothingHiddenHasNoDigest(t *testing.T) {
	if shown, hidden := hide(map[string]any{"a": "", "b": nil, "c": true}, []Path{{"a"}, {"b"}, {"c"}}); hidden {
		t.Errorf("hidden: %v", shown)
	}
}
