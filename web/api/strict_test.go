package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

type shape struct {
	Name string          `json:"name"`
	List []string        `json:"list"`
	Raw  json.RawMessage `json:"raw"`
}

func TestStrict(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		good bool
	}{
		"good":                        {`{"name":"a","list":["b","c"],"raw":{"x":[1,{"y":null}]}}`, true},
		"space around":                {" \n{\"name\":\"a\"}\t", true},
		"empty object":                {`{}`, true},
		"same name in two objects":    {`{"name":"a","raw":{"name":"b"}}`, true},
		"empty":                       {``, false},
		"a name twice":                {`{"name":"a","name":"b"}`, false},
		"a name twice, another case":  {`{"name":"a","NAME":"b"}`, false},
		"a name twice, escaped":       {`{"name":"a","n\u0061me":"b"}`, false},
		"a name twice, folded":        {`{"list":[],"liſt":["x"]}`, false}, // U+017F folds to s: encoding/json takes it for one
		"a name twice, further in":    {`{"raw":{"x":1,"x":2}}`, false},
		"a name twice, in an array":   {`{"raw":[{"x":1,"x":2}]}`, false},
		"unknown":                     {`{"other":1}`, false},
		"trailing value":              {`{} {}`, false},
		"trailing text":               {`{}x`, false},
		"cut in an object":            {`{"name":"a"`, false},
		"cut in an array":             {`{"list":["a"`, false},
		"cut in a name":               {`{"na`, false},
		"not UTF-8":                   {"{\"name\":\"\xff\"}", false},
		"another type":                {`{"name":1}`, false},
		"too deep":                    {`{"raw":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, false},
		"deep enough for the stack":   {strings.Repeat("[", 1_000_000), false},
		"comma at the end":            {`{"name":"a",}`, false},
		"a bracket of the wrong kind": {`{"list":["a"}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			var into shape
			if err := Strict([]byte(c.text), &into); (err == nil) != c.good {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTooManyMembers(t *testing.T) {
	var text strings.Builder
	for i := range 100 {
		fmt.Fprintf(&text, `,"m%d":1`, i)
	}
	if err := Unambiguous([]byte("{" + text.String()[1:] + "}")); err == nil {
		t.Error("an object of 100 members passes")
	}
}

// FuzzStrict: what is read strictly is read the same by encoding/json, and is valid JSON.
func FuzzStrict(f *testing.F) {
	f.Add([]byte(`{"name":"a","list":["b"],"raw":{"x":1}}`))
	f.Add([]byte(`{"name":"a","NAME":"b"}`))
	f.Add([]byte(`{"list":[],"liſt":["x"]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var strict, plain shape
		if Strict(text, &strict) != nil {
			return
		}
		if err := json.Unmarshal(text, &plain); err != nil || fmt.Sprint(strict) != fmt.Sprint(plain) {
			t.Errorf("%q: %v, %v and %v", text, err, strict, plain)
		}
	})
}

// TestSecretShowsNothing, also as an unexported field of something else, which fmt opens without asking.
func TestSecretShowsNothing(t *testing.T) {
	secret := NewSecret("hush")
	outer := struct{ inner Secret }{secret}
	raw, err := json.Marshal(map[string]Secret{"a": secret})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		fmt.Sprintf("%v %+v %#v %s %q", secret, secret, secret, secret, secret), fmt.Sprintf("%v %+v %#v", outer, outer, outer), string(raw), secret.LogValue().String(),
	} {
		if strings.Contains(text, "hush") {
			t.Errorf("it shows in %s", text)
		}
	}
	var read Secret
	if err := json.Unmarshal([]byte(`"hush"`), &read); err != nil || read.Reveal() != "hush" || read.IsZero() || !(Secret{}).IsZero() {
		t.Errorf("it cannot be read: %v", err)
	}
}
