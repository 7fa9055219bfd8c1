package judge

import "testing"

// oneRow is a pack of one REST operation that a condition raises to delete.
func oneRow(t *testing.T, condition string) *REST {
	t.Helper()
	pack, err := ParsePack("x", "x.pack", []byte("PATCH /x\n    write  x\n    touch  none\n    when   "+condition+"  delete  it matters\n    only   body.a  refused  unknown\n"))
	if err != nil {
		t.Fatal(err)
	}
	rest, err := NewREST(pack)
	if err != nil {
		t.Fatal(err)
	}
	return rest
}

// TestAListInThePlaceOfATruth: Ruby and JavaScript take [] and [false] for true, and neither is false.
func TestAListInThePlaceOfATruth(t *testing.T) {
	for _, c := range []struct{ condition, body string }{
		{"body.a != false", `{"a":[]}`},
		{"body.a != false", `{"a":[false]}`},
		{"body.a != false", `{"a":[[]]}`},
		{"body.a != true", `{"a":[]}`},
		{"body.a < 1", `{"a":[]}`},
		{"body.a > 1", `{"a":[[]]}`},
	} {
		v := oneRow(t, c.condition).Judge(Call{Method: "PATCH", Path: "/x", ContentType: "application/json", Body: []byte(c.body)}, false)
		if v.Class != Delete {
			t.Errorf("when %s: %s is %s", c.condition, c.body, v.Class)
		}
	}
}

// TestAWordInAnotherCase: names of people and states are read in any case by many servers, and with blanks.
func TestAWordInAnotherCase(t *testing.T) {
	for _, body := range []string{`{"a":"SUCCESS"}`, `{"a":"Success"}`, `{"a":" success"}`, `{"a":["x","sUccess"]}`} {
		v := oneRow(t, `body.a = "success"`).Judge(Call{Method: "PATCH", Path: "/x", ContentType: "application/json", Body: []byte(body)}, false)
		if v.Class != Delete {
			t.Errorf("%s is %s", body, v.Class)
		}
	}
	v := oneRow(t, `body.a = ""`).Judge(Call{Method: "PATCH", Path: "/x", ContentType: "application/json", Body: []byte(`{"a":"  "}`)}, false)
	if v.Class != Delete {
		t.Errorf("blanks are %s", v.Class)
	}
}
