package judge

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestJSONThatCanBeReadInTwoWays(t *testing.T) {
	for _, text := range []string{
		`{"a":1,"a":1}`, `{"a":1,"\u0061":1}`, `[{"b":{"a":1,"a":2}}]`, `{"":1,"":2}`,
		"\"\xff\"", "\"\xc0\xaf\"", `"\ud800"`, `"\udc00\ud800"`, `"\ud800\u0041"`, `"\ud800x"`,
		`01`, `+1`, `.5`, `5.`, `1e`, `0x10`, `NaN`, `Infinity`, `-`, `1_000`,
		`{a:1}`, `{'a':1}`, `[1,]`, `{"a":1,}`, `[,1]`, `// x
1`, `/*x*/1`, `True`, `nul`, `nullx`, `"a`, `"\x41"`, `"\u12"`, `"\u+123"`, "\"a\nb\"", "\"a\x00b\"", `"\`, `[1 2]`, `{"a" 1}`, `{"a"}`, `{1:2}`,
		``, ` `, `1 2`, "1\x00", "\xef\xbb\xbf1", "\u00a01", "1\x0c",
		strings.Repeat("[", 11) + strings.Repeat("]", 11), strings.Repeat(`{"a":`, 11) + "1" + strings.Repeat("}", 11),
	} {
		if got, err := readJSON([]byte(text), 10); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

func TestJSONIsKeptAsItIs(t *testing.T) {
	for text, want := range map[string]string{
		` { "b" : [ 1 , -0 , 1.50 , 1E+2 ] , "a" : null } `: `{"a":null,"b":[1,-0,1.50,1E+2]}`,
		`"\u0041\ud83d\ude00\/\b\f\n\r\t\"\\é"`:             `"A😀/\u0008\u000c\n\u000d\t\"\\é"`,
		`"\u202e\u200b\u2028\u00ad\ufeff"`:                  `"\u202e\u200b\u2028\u00ad\ufeff"`,
		"\"\U000e0041\"":                                    `"\udb40\udc41"`,
		`123456789012345678901234567890`:                    `123456789012345678901234567890`,
		`[]`:                                                `[]`,
		`{}`:                                                `{}`,
		`[true,false,null,"",{"":0}]`:                       `[true,false,null,"",{"":0}]`,
		strings.Repeat("[", 10) + strings.Repeat("]", 10): strings.Repeat("[", 10) + strings.Repeat("]", 10),
	} {
		got, err := readJSON([]byte(text), 10)
		if err != nil || string(appendJSON(nil, got)) != want {
			t.Errorf("%q: got %s, %v, wanted %s", text, appendJSON(nil, got), err, want)
		}
	}
}

// What is read here is what encoding/json reads, which takes more.
func FuzzReadJSON(f *testing.F) {
	for _, seed := range []string{`{"a":[1,2.5e3,"\ud83d\ude00",null,true]}`, `"\ud800"`, `{"a":1,"a":2}`, `-0`, `[[[[]]]]`, "\"\xff\""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := readJSON(text, 20)
		if err != nil {
			return
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		var want any
		if err := decoder.Decode(&want); err != nil {
			t.Fatalf("%q is read, and encoding/json does not: %v", text, err)
		}
		if string(appendJSON(nil, got)) != string(appendJSON(nil, want)) {
			t.Fatalf("%q: read as %v, by encoding/json as %v", text, got, want)
		}
		again, err := readJSON(appendJSON(nil, got), 20)
		if err != nil || string(appendJSON(nil, got)) != string(appendJSON(nil, again)) || !json.Valid(appendJSON(nil, got)) {
			t.Fatalf("%q: written as %s, which is read as %v, %v", text, appendJSON(nil, got), again, err)
		}
	})
}
