package judge

import (
	"fmt"
	"strings"
	"testing"
)

const update = `mutation($s: String!, $e: String, $i: ServiceInput!) { serviceUpdate(serviceId: $s, environmentId: $e, input: $i) { id } }`

// updated judges an update of service s in environment e, with an input as JSON.
func updated(input string) Call { return document(update, `{"s":"s","e":"e","i":`+input+`}`) }

func TestNullIsNotAbsent(t *testing.T) {
	g := shop(t)
	wantClass(t, g, updated(`{}`), Write)
	wantClass(t, g, updated(`{"startCommand":null}`), Delete)
	wantClass(t, g, updated(`{"startCommand":"run"}`), Write)
	wantClass(t, g, updated(`{"source":null}`), Admin) // given, though null
	// A variable that nothing is sent for makes the field absent, one that is null makes it null.
	text := `mutation($c: String) { serviceUpdate(serviceId: "s", environmentId: "e", input: {startCommand: $c}) { id } }`
	wantText(t, wantClass(t, g, document(text, ""), Write), `mutation serviceUpdate(environmentId: "e", input: {}, serviceId: "s")`)
	wantText(t, wantClass(t, g, document(text, `{"c":null}`), Delete), `mutation serviceUpdate(environmentId: "e", input: {"startCommand":null}, serviceId: "s")`)
	text = strings.Replace(text, "$c: String", "$c: String = null", 1)
	wantClass(t, g, document(text, ""), Delete)
	wantClass(t, g, document(text, `{"c":"run"}`), Write)
}

func TestEnvironmentOmitted(t *testing.T) {
	g := shop(t)
	all := Named{Kind: "service", ID: "s"}
	for _, call := range []Call{
		document(`mutation { serviceUpdate(serviceId: "s", input: {}) { id } }`, ""),
		document(update, `{"s":"s","i":{}}`),
	} {
		v := wantClass(t, g, call, Delete)
		wantTouches(t, v, all)
		if why := v.Operations[0].Why; why != "in every environment at once" {
			t.Errorf("why: %s", why)
		}
	}
	// Null names none either, but it is given: the resolver takes it for wherever the service lives.
	wantTouches(t, wantClass(t, g, document(update, `{"s":"s","e":null,"i":{}}`), Write), all)
	wantTouches(t, wantClass(t, g, updated(`{}`), Write), Named{Kind: "service", ID: "s", In: "e"})
	refuses(t, g, document(update, `{"s":"s","e":"","i":{}}`), "the id is empty")
}

func TestEnvironmentOmittedInOneElement(t *testing.T) {
	v := judged(t, shop(t), updated(`{"mount":[{"volumeId":"a","environmentId":"staging","path":"/"},{"volumeId":"b","path":"/"}]}`))
	wantTouches(t, v, Named{Kind: "service", ID: "s", In: "e"},
		Named{Kind: "volume", ID: "a", In: "staging"}, Named{Kind: "volume", ID: "a"},
		Named{Kind: "volume", ID: "b", In: "staging"}, Named{Kind: "volume", ID: "b"})
}

func TestListCoercion(t *testing.T) {
	g := shop(t)
	for _, call := range []Call{
		document(`mutation { volumesDelete(ids: "v") }`, ""),
		document(`mutation { volumesDelete(ids: ["v"]) }`, ""),
		document(`mutation($v: String!) { volumesDelete(ids: [$v]) }`, `{"v":"v"}`),
		document(`mutation($v: [String!]!) { volumesDelete(ids: $v) }`, `{"v":"v"}`),
		document(`mutation($v: [String!]! = "v") { volumesDelete(ids: $v) }`, ``),
	} {
		v := wantClass(t, g, call, Delete)
		wantTouches(t, v, Named{Kind: "volume", ID: "v"})
		if _, variables := sent(t, v); fmt.Sprint(variables["a1"]) != "[v]" {
			t.Errorf("sent %v", variables)
		}
	}
	wantClass(t, g, updated(`{"tags":"danger"}`), Delete)
	wantClass(t, g, updated(`{"tags":["safe","danger"]}`), Delete)
	wantClass(t, g, updated(`{"tags":["safe"]}`), Write)
	refuses(t, g, document(`mutation { volumesDelete(ids: [["v"]]) }`, ""), "")
	refuses(t, g, document(`mutation($v: [String!]!) { volumesDelete(ids: $v) }`, `{"v":[["v"]]}`), "found a list")
	refuses(t, g, document(`mutation($v: [String!]!) { volumesDelete(ids: $v) }`, `{"v":[null]}`), "null")
	refuses(t, g, document(`mutation($v: String!) { volumesDelete(ids: $v) }`, `{"v":"v"}`), "")
}

func TestSeveralIDs(t *testing.T) {
	g := shop(t)
	wantTouches(t, judged(t, g, document(`mutation { volumesDelete(ids: ["a", "b", "a"]) }`, "")),
		Named{Kind: "volume", ID: "a"}, Named{Kind: "volume", ID: "b"})
	refuses(t, g, document(`mutation { volumesDelete(ids: [`+manyTimes(300, `"v%d",`)+`]) }`, ""), "more than 200")
	// A list that names nothing is the whole of the kind.
	wantTouches(t, judged(t, g, document(`mutation { volumesDelete(ids: []) }`, "")), Named{Kind: "volume"})
}

func TestOperationThatNamesNothing(t *testing.T) {
	g := shop(t)
	wantTouches(t, judged(t, g, document(`mutation { serviceDelete }`, "")), Named{Kind: "service"})
	wantTouches(t, judged(t, g, document(`mutation { serviceDelete(id: null) }`, "")), Named{Kind: "service"})
	wantTouches(t, judged(t, g, document(`mutation { serviceDelete(name: "n") }`, "")), Named{Kind: "service", ID: "n"})
	wantTouches(t, judged(t, g, document(`{ status }`, "")))
	wantTouches(t, judged(t, g, document(`{ search(text: "x") { ... on Service { id } } }`, "")), Named{Kind: "project"})
}

func TestBlockStringsAndEscapes(t *testing.T) {
	g := shop(t)
	for _, literal := range []string{
		`"prod"`, `"\u0070rod"`, `"\u{70}\u{72}od"`, `"""prod"""`, "\"\"\"\n    prod\n  \"\"\"",
	} {
		wantTouches(t, judged(t, g, document(`mutation { volumeDelete(volumeId: `+literal+`) }`, "")), Named{Kind: "volume", ID: "prod"})
	}
	// What looks like the end of a string, or like a comment, inside of one.
	v := judged(t, g, document(`mutation { configPatch(environmentId: "e", message: "\") volumeDelete(volumeId: \"v\") #", patch: {a: """ \""" } # """}) }`, ""))
	if len(v.Operations) != 1 {
		t.Errorf("%d operations, wanted 1", len(v.Operations))
	}
	_, variables := sent(t, v)
	if variables["a2"] != `") volumeDelete(volumeId: "v") #` || fmt.Sprint(variables["a3"]) != `map[a: """ } # ]` {
		t.Errorf("sent %q", variables)
	}
	for _, literal := range []string{`"\ud800"`, `"\udc00\ud800"`, "\"\ufffd\"", `"\x41"`, `"a
b"`, `'v'`, `"`, `"""`, `"\`} {
		refuses(t, g, document(`mutation { volumeDelete(volumeId: `+literal+`) }`, ""), "")
	}
}

func TestIDsThatFoolReaders(t *testing.T) {
	g := shop(t)
	for _, id := range []string{"", " v", "v ", "v\x00", "v\n", "v\u200b", "\u202ev", "v\u0085", strings.Repeat("v", 2000)} {
		refuses(t, g, document(`mutation($v: String!) { volumeDelete(volumeId: $v) }`, string(appendJSON(nil, map[string]any{"v": id}))), "id")
	}
	for _, id := range []string{`{}`, `["v"]`, `true`, `1`, `1.5`} {
		refuses(t, g, document(`mutation($v: String!) { volumeDelete(volumeId: $v) }`, `{"v":`+id+`}`), "expected String")
	}
	// A number is an ID by its digits.
	for _, call := range []Call{
		document(`mutation { projectDelete(id: 12) }`, ""),
		document(`mutation { projectDelete(id: "12") }`, ""),
		document(`mutation($p: ID!) { projectDelete(id: $p) }`, `{"p":12}`),
	} {
		v := judged(t, g, call)
		wantTouches(t, v, Named{Kind: "project", ID: "12"})
		wantText(t, v, `mutation projectDelete(answer: "NO", id: "12")`)
	}
	refuses(t, g, document(`mutation($p: ID!) { projectDelete(id: $p) }`, `{"p":1e1}`), "ID")
}

func TestNumbers(t *testing.T) {
	g := shop(t)
	for input, class := range map[string]Class{
		`{"numReplicas":0}`: Delete, `{"numReplicas":-0}`: Delete, `{"numReplicas":1}`: Write,
		`{"numReplicas":51}`: Admin, `{"numReplicas":50}`: Write, `{"numReplicas":null}`: Write,
	} {
		wantClass(t, g, updated(input), class)
	}
	for _, n := range []string{`0.0`, `1e0`, `2147483648`, `"0"`, `true`} {
		refuses(t, g, updated(`{"numReplicas":`+n+`}`), "expected Int")
	}
	wantClass(t, g, document(`mutation { serviceUpdate(serviceId: "s", environmentId: "e", input: {numReplicas: 0}) { id } }`, ""), Delete)
	wantClass(t, g, document(`mutation($n: Int = 0) { serviceUpdate(serviceId: "s", environmentId: "e", input: {numReplicas: $n}) { id } }`, ""), Delete)
	// Large numbers keep their text.
	v := judged(t, g, document(`mutation { configPatch(environmentId: "e", patch: {n: 123456789012345678901234567890, x: 1.10}) }`, ""))
	wantText(t, v, `mutation configPatch(environmentId: "e", patch: {"n":123456789012345678901234567890,"x":1.10})`)
	if !strings.Contains(string(v.Send.Body), `{"n":123456789012345678901234567890,"x":1.10}`) {
		t.Errorf("sent %s", v.Send.Body)
	}
}

func TestEnums(t *testing.T) {
	g := shop(t)
	wantClass(t, g, updated(`{"region":"EU"}`), Write)
	wantClass(t, g, updated(`{"region":"US"}`), Admin)
	wantClass(t, g, updated(`{"region":null}`), Admin) // not EU
	refuses(t, g, updated(`{"region":"eu"}`), "no such value")
	refuses(t, g, updated(`{"region":1}`), "enum")
	refuses(t, g, document(`mutation { serviceUpdate(serviceId: "s", input: {region: "EU"}) { id } }`, ""), "")
	refuses(t, g, document(`mutation { serviceUpdate(serviceId: "s", input: {region: CN}) { id } }`, ""), "")
	refuses(t, g, document(`mutation { configPatch(environmentId: "e", patch: {a: EU}) }`, ""), "bare word")
	refuses(t, g, document(`mutation { volumeDelete(volumeId: prod) }`, ""), "")
}

func TestDefaultsOfTheSchemaAreSent(t *testing.T) {
	g := shop(t)
	upsert := `mutation($i: UpsertInput!) { variablesUpsert(input: $i) }`
	v := wantClass(t, g, document(upsert, `{"i":{"environmentId":"e","variables":{"A":"1"}}}`), Write)
	wantText(t, v, `mutation variablesUpsert(input: {"environmentId":"e","replace":false,"variables":{"A":"1"}})`)
	wantClass(t, g, document(upsert, `{"i":{"environmentId":"e","variables":{"A":"1"},"replace":true}}`), Delete)
	wantSent(t, judged(t, g, document(`mutation { projectDelete(id: "p") }`, "")),
		`mutation($a1:Answer,$a2:ID!){ projectDelete(answer:$a1,id:$a2)}`, `{"a1":"NO","a2":"p"}`)
	wantClass(t, g, document(`mutation { projectDelete(id: "p", answer: YES) }`, ""), Admin)
}

func TestNestedInputs(t *testing.T) {
	g := shop(t)
	wantClass(t, g, updated(`{"source":{"image":"i"}}`), Admin)
	refuses(t, g, updated(`{"source":{"repo":""}}`), "a source that is none")
	refuses(t, g, updated(`{"source":{"repo":null}}`), "a source that is none")
	refuses(t, g, updated(`{"source":{"branch":"main"}}`), "no field")
	refuses(t, g, updated(`{"source":"repo"}`), "expected an object")
	v := judged(t, g, document(`mutation($v: String, $p: String!) { serviceUpdate(serviceId: "s", environmentId: "e", input: {mount: {volumeId: $v, path: $p}}) { id } }`, `{"v":"v","p":"/"}`))
	wantTouches(t, v, Named{Kind: "service", ID: "s", In: "e"}, Named{Kind: "volume", ID: "v"})
	refuses(t, g, document(`mutation { serviceUpdate(serviceId: "s", input: {mount: {volumeId: "v"}}) { id } }`, ""), "")
	refuses(t, g, updated(`{"mount":{"volumeId":"v"}}`), "path is missing")
}

func TestOneOf(t *testing.T) {
	g := shop(t)
	one := `query($w: Which!) { one(which: $w) { __typename } }`
	wantTouches(t, judged(t, g, document(one, `{"w":{"id":"i"}}`)), Named{Kind: "node", ID: "i"})
	for _, which := range []string{`{}`, `{"id":null}`, `{"id":"i","name":"n"}`, `{"id":"i","name":null}`} {
		refuses(t, g, document(one, `{"w":`+which+`}`), "exactly one")
	}
	refuses(t, g, document(`query($n: String) { one(which: {name: $n}) { __typename } }`, ""), "")
	refuses(t, g, document(`{ one(which: {id: "i", name: "n"}) { __typename } }`, ""), "")
}

func TestOnlyWhatIsKnown(t *testing.T) {
	g := shop(t)
	wantClass(t, g, updated(`{"limits":{"cpu":1,"volumes":{"a":{"size":1},"b":{"size":2}}}}`), Write)
	for _, input := range []string{
		`{"ratio":1.5}`, `{"ratio":null}`,
		`{"limits":{"gpu":1}}`, `{"limits":{"CPU":1}}`, `{"limits":null}`, `{"limits":[]}`, `{"limits":{}}`, `{"limits":"{\"gpu\":1}"}`,
		`{"limits":{"volumes":{"a":{"size":1,"wipe":true}}}}`, `{"limits":{"volumes":{"a":1}}}`, `{"limits":{"volumes":[]}}`,
		`{"limits":[{"cpu":1},{"gpu":1}]}`,
	} {
		refuses(t, g, updated(input), "a setting that no row speaks of")
	}
}

func TestOpaqueJSONScalars(t *testing.T) {
	g := shop(t)
	patch := `mutation($p: JSON!) { configPatch(environmentId: "e", patch: $p) }`
	for _, c := range []struct {
		patch string
		class Class
	}{
		{`{"a":1}`, Write},
		{`{"services":{"s1":{"isDeleted":true}}}`, Delete},
		{`{"services":{"s1":{},"s2":{"isDeleted":true}}}`, Delete},
		{`{"services":{"s1":{"isDeleted":"true"}}}`, Delete}, // a server may read it so
		{`{"services":{"s1":{"isDeleted":false}}}`, Write},
		{`[{"services":{"s1":{"isDeleted":true}}}]`, Delete},
		{`{"volumes":null}`, Delete},
		{`{"deep":[{"er":{"volumeMounts":{}}}]}`, Delete},
		{`{"volumeMounts":null}`, Delete},
	} {
		wantClass(t, g, document(patch, `{"p":`+c.patch+`}`), c.class)
	}
	v := judged(t, g, document(`mutation($d: Boolean = true) { configPatch(environmentId: "e", patch: {services: {s1: {isDeleted: $d}, s2: {}}}) }`, ""))
	wantTouches(t, v, Named{Kind: "environment", ID: "e"}, Named{Kind: "service", ID: "s1", In: "e"}, Named{Kind: "service", ID: "s2", In: "e"})
	if v.Class != Delete || v.Operations[0].Rule != "patches" {
		t.Errorf("got %+v", v.Operations[0])
	}
	// JSON in a string: the server may look into it, so it must not be passed by.
	for _, p := range []string{`"{\"services\":{}}"`, `{"services":"{}"}`, `{"services":{"s1":"{\"isDeleted\":true}"}}`, `1`, `true`} {
		refuses(t, g, document(patch, `{"p":`+p+`}`), "wanted an object")
	}
	refuses(t, g, document(patch, `{"p":null}`), "null")
	refuses(t, g, document(patch, `{}`), "missing")
}

func TestVariablesOfTheWrongType(t *testing.T) {
	g := shop(t)
	for _, c := range []struct{ text, variables string }{
		{`mutation($v: Int!) { volumeDelete(volumeId: $v) }`, `{"v":1}`},
		{`mutation($v: String) { volumeDelete(volumeId: $v) }`, `{"v":"v"}`},
		{`mutation($v: JSON!) { volumeDelete(volumeId: $v) }`, `{"v":"v"}`},
		{`mutation($v: [String!]!) { volumeDelete(volumeId: $v) }`, `{"v":["v"]}`},
		{`mutation($v: ServiceInput!) { configPatch(environmentId: "e", patch: $v) }`, `{"v":{}}`},
		{`mutation($v: String!) { volumeDelete(volumeId: $v) }`, `{}`},
		{`mutation($v: String!) { volumeDelete(volumeId: $v) }`, `{"V":"v"}`},
		{`mutation($v: String!) { volumeDelete(volumeId: $v) }`, `{"v":null}`},
		{`mutation($v: String! = 1) { volumeDelete(volumeId: $v) }`, ``},
		{`mutation($v: String!, $w: String) { volumeDelete(volumeId: $v) }`, `{"v":"v"}`},
		{`mutation($v: String! = "v", $w: String = $v) { volumeDelete(volumeId: $w) }`, ``},
	} {
		refuses(t, g, document(c.text, c.variables), "")
	}
	// What the operation does not declare never goes out.
	v := judged(t, g, document(`mutation($v: String!) { volumeDelete(volumeId: $v) }`, `{"v":"v","volumeId":"w","a1":"w"}`))
	wantSent(t, v, `mutation($a1:String!){ volumeDelete(volumeId:$a1)}`, `{"a1":"v"}`)
}

func TestLenientTakesWhatIsMissing(t *testing.T) {
	g := shop(t)
	for _, c := range []struct {
		text, variables string
		class           Class
		touches         []Named
	}{
		{`mutation { volumeDelete }`, ``, Delete, []Named{{Kind: "volume"}}},
		{`mutation($v: String!) { volumeDelete(volumeId: $v) }`, ``, Delete, []Named{{Kind: "volume"}}},
		{`mutation { serviceUpdate(input: {numReplicas: 0}) { id } }`, ``, Delete, []Named{{Kind: "service"}, {Kind: "volume"}}},
		{`mutation { serviceUpdate(environmentId: "e", input: {mount: {volumeId: "v"}}) { id } }`, ``, Write, []Named{{Kind: "volume", ID: "v"}}},
		{`mutation { volumeCreate { id } }`, ``, Write, []Named{{Kind: "project"}, {Kind: "volume"}}},
		{`mutation($x: Boolean!) { status: serviceDelete(id: "s") @include(if: $x) }`, ``, Delete, []Named{{Kind: "service", ID: "s"}}},
		{`{ variables { x } }`, ``, Refused, nil},
		{`{ variables }`, ``, Read, []Named{{Kind: "service"}, {Kind: "environment"}}},
	} {
		v := g.Judge(document(c.text, c.variables), true)
		if v.Class != c.class {
			t.Errorf("%s: class %s, wanted %s: %s", c.text, v.Class, c.class, v.Refusal)
		}
		if c.class != Refused {
			wantTouches(t, v, c.touches...)
		}
		if v.Send.Body != nil || v.Answer.Plain() {
			t.Errorf("%s: a lenient verdict has something to send", c.text)
		}
	}
}
