package judge

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The call of the incident: an anonymous mutation with its argument inline.
func TestNineSecondsAnonymousMutationInlineArgument(t *testing.T) {
	v := wantClass(t, shop(t), document(`mutation { volumeDelete(volumeId: "3d2c42fb") }`, ""), Delete)
	wantTouches(t, v, Named{Kind: "volume", ID: "3d2c42fb"})
	wantText(t, v, `mutation volumeDelete(volumeId: "3d2c42fb")`)
	wantSent(t, v, `mutation($a1:String!){ volumeDelete(volumeId:$a1)}`, `{"a1":"3d2c42fb"}`)
	if o := v.Operations[0]; o.Name != "volumeDelete" || o.Why != "ends the volume in every environment, and its backups with it" || o.Line == 0 {
		t.Errorf("got %+v", o)
	}
}

func TestSameMeaningSameText(t *testing.T) {
	g := shop(t)
	want := `mutation serviceUpdate(environmentId: "e", input: {"numReplicas":2,"region":"EU","tags":["a"]}, serviceId: "s")`
	for _, call := range []Call{
		document(`mutation { serviceUpdate(serviceId: "s", environmentId: "e", input: {numReplicas: 2, region: EU, tags: ["a"]}) { id } }`, ""),
		document(`mutation Deploy { x: serviceUpdate(input: {tags: "a", region: EU, numReplicas: 2}, environmentId: "e", serviceId: "s") { name } }`, ""),
		document(`mutation($i: ServiceInput!, $e: String, $s: String!) { serviceUpdate(input: $i, environmentId: $e, serviceId: $s) { id } }`,
			`{"i":{"region":"EU","numReplicas":2,"tags":["a"]},"e":"e","s":"\u0073"}`),
		document(`mutation($n: Int = 2, $r: Region = EU) { serviceUpdate(serviceId: """s""", environmentId: "\u0065", input: {numReplicas: $n, region: $r, tags: "a"}) { id } }`, ""),
	} {
		wantText(t, wantClass(t, g, call, Write), want)
	}
}

func TestAliasHidesNothing(t *testing.T) {
	v := wantClass(t, shop(t), document(`mutation { status: volumeDelete(volumeId: "a") me: volumeDelete(volumeId: "b") }`, ""), Delete)
	wantTouches(t, v, Named{Kind: "volume", ID: "a"}, Named{Kind: "volume", ID: "b"})
	wantSent(t, v, `mutation($a1:String!,$a2:String!){ status:volumeDelete(volumeId:$a1) me:volumeDelete(volumeId:$a2)}`, `{"a1":"a","a2":"b"}`)
}

func TestAliasOfOursIsTaken(t *testing.T) {
	g := shop(t)
	refuses(t, g, document(`{ service(id: "s") { hk_of_Service: id } }`, ""), "names that begin with hk_")
	refuses(t, g, document(`{ service(id: "s") { ...F } } fragment F on Service { hk_is: name }`, ""), "names that begin with hk_")
}

func TestFragmentsCarryMutations(t *testing.T) {
	g := shop(t)
	for name, text := range map[string]string{
		"named":                `mutation { ...F } fragment F on Mutation { volumeDelete(volumeId: "v") }`,
		"inline":               `mutation { ... { volumeDelete(volumeId: "v") } }`,
		"inline with its type": `mutation { ... on Mutation { volumeDelete(volumeId: "v") } }`,
		"nested":               `mutation { ...A } fragment A on Mutation { ... on Mutation { ...B } } fragment B on Mutation { ... { volumeDelete(volumeId: "v") } }`,
		"with a variable":      `mutation($v: String = "v") { ...F } fragment F on Mutation { volumeDelete(volumeId: $v) }`,
		"twice":                `mutation { ...F ...F ... on Mutation { ...F } } fragment F on Mutation { volumeDelete(volumeId: "v") }`,
	} {
		t.Run(name, func(t *testing.T) {
			v := wantClass(t, g, document(text, ""), Delete)
			wantTouches(t, v, Named{Kind: "volume", ID: "v"})
			wantSent(t, v, `mutation($a1:String!){ volumeDelete(volumeId:$a1)}`, `{"a1":"v"}`)
		})
	}
}

func TestFragmentOnInterfaceReachesWhatIsClassed(t *testing.T) {
	g := shop(t)
	wantClass(t, g, document(`{ service(id: "s") { id } }`, ""), Read)
	for _, text := range []string{
		`{ one(which: {id: "s"}) { ... on Token { secret } } }`,
		`{ one(which: {id: "s"}) { ...N } } fragment N on Node { ... on Token { id } }`,
		`{ one(which: {id: "s"}) { id } }`, // it may be a token
		`{ search(text: "x") { ... on Token { name } } }`,
		`{ search(text: "x") { ... on Node { id } } }`,
		`{ me { tokens { id } } }`,
		`{ me { ... on User { email } } }`,
		`{ service(id: "s") { owner { mail: email } } }`,
	} {
		v := wantClass(t, g, document(text, ""), Admin)
		if why := v.Operations[0].Why; why != "a token of the account" && why != "who a person is" {
			t.Errorf("decided by %q", why)
		}
	}
	wantClass(t, g, document(`{ search(text: "x") { ... on Service { name } ... on Named { name } } }`, ""), Read)
}

func TestSelectionOfMutationRaisesIt(t *testing.T) {
	g := shop(t)
	text := `mutation { serviceUpdate(serviceId: "s", environmentId: "e", input: {}) { id owner { %s } } }`
	v := wantClass(t, g, document(fmt.Sprintf(text, "name"), ""), Write)
	wantText(t, v, `mutation serviceUpdate(environmentId: "e", input: {}, serviceId: "s")`)
	v = wantClass(t, g, document(fmt.Sprintf(text, "t: tokens { secret }"), ""), Admin)
	wantText(t, v, `mutation serviceUpdate(environmentId: "e", input: {}, serviceId: "s") { id owner { tokens { secret } } }`)
}

func TestUnusedFragmentsAndOperationsAreNotSent(t *testing.T) {
	g := shop(t)
	call := post(`{"query":"query A { status } mutation B { ...F } fragment F on Mutation { volumeDelete(volumeId: \"v\") } fragment G on Query { status }","operationName":"A"}`)
	wantSent(t, wantClass(t, g, call, Read), `query{ status}`, `{}`)
}

func TestOperationNameAmongSeveral(t *testing.T) {
	g := shop(t)
	two := `query Read { status } mutation Wipe { volumeDelete(volumeId: \"v\") }`
	wantClass(t, g, post(`{"query":"`+two+`","operationName":"Read"}`), Read)
	wantClass(t, g, post(`{"query":"`+two+`","operationName":"Wipe"}`), Delete)
	refuses(t, g, post(`{"query":"`+two+`"}`), "operationName must say")
	refuses(t, g, post(`{"query":"`+two+`","operationName":null}`), "operationName must say")
	refuses(t, g, post(`{"query":"`+two+`","operationName":""}`), "no operation is called so")
	refuses(t, g, post(`{"query":"`+two+`","operationName":"read"}`), "no operation is called so")
	refuses(t, g, post(`{"query":"`+two+`","operationName":["Read"]}`), "must be a string")
	refuses(t, g, post(`{"query":"query A { status } mutation A { volumeDelete(volumeId: \"v\") }","operationName":"A"}`), "stands twice")
	refuses(t, g, post(`{"query":"{ status } mutation A { volumeDelete(volumeId: \"v\") }","operationName":"A"}`), "without a name")
	refuses(t, g, post(`{"query":"query A { status }","operationName":"B"}`), "no operation is called so")
	refuses(t, g, post(`{"query":"fragment F on Query { status }"}`), "no operation")
}

func TestDirectivesWithVariableDefaults(t *testing.T) {
	g := shop(t)
	wipe := `mutation($x: Boolean = %s) { serviceDelete(id: "s") wipe: volumeDelete(volumeId: "v") @%s(if: $x) }`
	for _, c := range []struct {
		standard, directive, variables string
		executed                       bool
	}{
		{"true", "include", "", true},
		{"true", "skip", "", false},
		{"false", "include", "", false},
		{"false", "skip", "", true},
		{"true", "skip", `{"x":false}`, true},
		{"false", "include", `{"x":true}`, true},
		{"true", "include", `{"x":false}`, false},
	} {
		v := judged(t, g, document(fmt.Sprintf(wipe, c.standard, c.directive), c.variables))
		got, _ := sent(t, v)
		if executed := strings.Contains(got, "wipe"); executed != c.executed || len(v.Operations) == 2 != c.executed || strings.Contains(got, "@") {
			t.Errorf("%+v: sent %s", c, got)
		}
	}
	refuses(t, g, document(fmt.Sprintf(wipe, "true", "include"), `{"x":null}`), "null where")
	refuses(t, g, document(`mutation { volumeDelete(volumeId: "v") @include(if: false) }`, ""), "nothing is left to do")
	refuses(t, g, document(`mutation { volumeDelete(volumeId: "v") @include(if: "true") }`, ""), "")
}

func TestDirectivesOnFragments(t *testing.T) {
	g := shop(t)
	text := `mutation($x: Boolean!) { serviceDelete(id: "s") ...F @skip(if: $x) ... @include(if: $x) { volumesDelete(ids: "w") } }
		fragment F on Mutation { volumeDelete(volumeId: "v") }`
	wantTouches(t, judged(t, g, document(text, `{"x":true}`)), Named{Kind: "service", ID: "s"}, Named{Kind: "volume", ID: "w"})
	wantTouches(t, judged(t, g, document(text, `{"x":false}`)), Named{Kind: "service", ID: "s"}, Named{Kind: "volume", ID: "v"})
	// Skipped once and not skipped once is not skipped.
	twice := `mutation { ...F @skip(if: true) ...F } fragment F on Mutation { volumeDelete(volumeId: "v") }`
	wantClass(t, g, document(twice, ""), Delete)
	// Both directives: executed only if both say so.
	refuses(t, g, document(`mutation { volumeDelete(volumeId: "v") @skip(if: false) @include(if: false) }`, ""), "nothing is left")
}

func TestDirectivesThatAreNotKnown(t *testing.T) {
	g := shop(t)
	for _, text := range []string{
		`{ status @own }`,
		`query @live { status }`,
		`query($x: Int @own) { limits(first: $x, name: "n") }`,
		`{ ...F @own } fragment F on Query { status }`,
		`{ ...F } fragment F on Query @own { status }`,
		`{ status @skip(unless: true) }`,
		`{ status @skip }`,
		`{ status @defer(if: true) }`,
	} {
		refuses(t, g, document(text, ""), "")
	}
}

func TestBatchesAreRefused(t *testing.T) {
	g := shop(t)
	one := body(`{ status }`, "")
	refuses(t, g, post("["+one+"]"), "batches")
	refuses(t, g, post("["+one+","+body(`mutation { volumeDelete(volumeId: "v") }`, "")+"]"), "batches")
	refuses(t, g, post("[]"), "batches")
	refuses(t, g, post(one+one), "the end")
	refuses(t, g, post(one+"\x00"), "the end")
}

func TestOtherWaysToSendADocument(t *testing.T) {
	g := shop(t)
	one := []byte(body(`{ status }`, ""))
	for name, c := range map[string]struct {
		call Call
		says string
	}{
		"GET":              {Call{Method: "GET", Path: "/graphql", Query: "query={status}"}, "POST"},
		"GET with a body":  {Call{Method: "GET", Path: "/graphql", ContentType: "application/json", Body: one}, "POST"},
		"PUT":              {Call{Method: "PUT", Path: "/graphql", ContentType: "application/json", Body: one}, "POST"},
		"lower case":       {Call{Method: "post", Path: "/graphql", ContentType: "application/json", Body: one}, "POST"},
		"query string too": {Call{Method: "POST", Path: "/graphql", Query: "query=mutation", ContentType: "application/json", Body: one}, "query string"},
		"form":             {Call{Method: "POST", Path: "/graphql", ContentType: "application/x-www-form-urlencoded", Body: []byte("query={status}")}, "application/json"},
		"multipart":        {Call{Method: "POST", Path: "/graphql", ContentType: "multipart/form-data; boundary=x", Body: one}, "application/json"},
		"graphql":          {Call{Method: "POST", Path: "/graphql", ContentType: "application/graphql", Body: []byte("{status}")}, "application/json"},
		"no type":          {Call{Method: "POST", Path: "/graphql", Body: one}, "application/json"},
		"two types":        {Call{Method: "POST", Path: "/graphql", ContentType: "application/json, application/graphql", Body: one}, "application/json"},
		"utf-16":           {Call{Method: "POST", Path: "/graphql", ContentType: "application/json; charset=utf-16", Body: one}, "application/json"},
		"odd path":         {Call{Method: "POST", Path: "/graphql/../admin", ContentType: "application/json", Body: one}, "path"},
	} {
		t.Run(name, func(t *testing.T) { refuses(t, g, c.call, c.says) })
	}
	v := wantClass(t, g, Call{Method: "POST", Path: "/graphql", ContentType: "Application/JSON; charset=UTF-8", Body: one}, Read)
	if v.Send.Method != "POST" || v.Send.Path != "/graphql" || v.Send.ContentType != "application/json" || v.Send.Raw {
		t.Errorf("sent %+v", v.Send)
	}
}

func TestPersistedQueryHashes(t *testing.T) {
	g := shop(t)
	for _, text := range []string{
		`{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"ab"}}}`,
		`{"query":"{ status }","extensions":{"persistedQuery":{"version":1,"sha256Hash":"ab"}}}`,
		`{"id":"ab","variables":{}}`,
		`{"query":"{ status }","documentId":"ab"}`,
		`{"query":"{ status }","doc_id":"ab"}`,
	} {
		refuses(t, g, post(text), "persisted queries")
	}
	refuses(t, g, post(`{"query":"{ status }","extensions":{"tracing":true}}`), "extensions")
	refuses(t, g, post(`{"query":"{ status }","extensions":[]}`), "extensions")
	wantClass(t, g, post(`{"query":"{ status }","extensions":{}}`), Read)
	wantClass(t, g, post(`{"query":"{ status }","extensions":null,"variables":null,"operationName":null}`), Read)
}

func TestDuplicateJSONKeys(t *testing.T) {
	g := shop(t)
	wipe := `mutation($v: String!) { volumeDelete(volumeId: $v) }`
	for _, text := range []string{
		`{"query":"{ status }","query":"` + wipe + `","variables":{"v":"v"}}`,
		`{"query":"{ status }","qu\u0065ry":"` + wipe + `","variables":{"v":"v"}}`,
		`{"query":"` + wipe + `","variables":{"v":"staging","v":"production"}}`,
		`{"query":"` + wipe + `","variables":{"v":"staging"},"variables":{"v":"production"}}`,
		`{"query":"mutation($p: JSON!) { configPatch(environmentId: \"e\", patch: $p) }","variables":{"p":{"a":{"b":1,"b":2}}}}`,
	} {
		refuses(t, g, post(text), "stands twice")
	}
	refuses(t, g, document(`mutation { volumeDelete(volumeId: "a", volumeId: "b") }`, ""), "")
	refuses(t, g, document(`mutation { configPatch(environmentId: "e", patch: {a: 1, a: 2}) }`, ""), "")
	refuses(t, g, document(`mutation($x: JSON) { configPatch(environmentId: "e", patch: {a: $x, a: 2}) }`, ""), "")
	refuses(t, g, document(`mutation($x: String = "a", $x: String = "b") { serviceDelete(id: $x) }`, ""), "")
}

func TestUnknownKeysInTheBody(t *testing.T) {
	g := shop(t)
	refuses(t, g, post(`{"query":"{ status }","Query":"{ me { id } }"}`), `the key "Query"`)
	refuses(t, g, post(`{"query":"{ status }","mutation":"x"}`), `the key "mutation"`)
	refuses(t, g, post(`{"query":["{ status }"]}`), "no query")
	refuses(t, g, post(`{"query":""}`), "no query")
	refuses(t, g, post(`{}`), "no query")
	refuses(t, g, post(`"{ status }"`), "must be an object")
	refuses(t, g, post(`{"query":"{ status }","variables":"{}"}`), "variables must be an object")
	refuses(t, g, post(``), "it ends")
	refuses(t, g, post("\xef\xbb\xbf"+`{"query":"{ status }"}`), "expected")
	refuses(t, g, post("{\"query\":\"{ status }\xff\"}"), "not UTF-8")
	refuses(t, g, post(`{"query":"{ status }","operationName":"\ud800"}`), "surrogate")
}

func TestMegabyteDocuments(t *testing.T) {
	g := shop(t)
	long := strings.Repeat("x", 1<<20-100)
	// One large argument is fine, and whole in what the reviewer reads.
	v := wantClass(t, g, document(`mutation($p: JSON!) { configPatch(environmentId: "e", patch: $p) }`, `{"p":{"a":"`+long+`"}}`), Write)
	if !strings.Contains(v.Operations[0].Text, long) {
		t.Error("the text is cut short")
	}
	for name, text := range map[string]string{
		"fields":          "{" + strings.Repeat("status ", 1<<17) + "}",
		"aliases":         "{" + strings.Repeat("a:status ", 1000) + "}",
		"comments":        "{ status " + strings.Repeat("#\n", 1<<19) + "}",
		"arguments":       "mutation { volumesDelete(ids: [" + strings.Repeat(`"a",`, 1<<17) + "]) }",
		"variables":       "query(" + strings.Repeat("$a:Int ", 1<<17) + ") { status }",
		"directives":      "{ status " + strings.Repeat("@skip(if:false)", 1<<16) + "}",
		"operations":      strings.Repeat("query A { status } ", 1<<15),
		"fragments":       "{ status }" + strings.Repeat("fragment F on Query { status } ", 1<<15),
		"used many times": "mutation($p: JSON!) {" + manyTimes(190, `a%d: configPatch(environmentId: "e", patch: $p) `) + "}",
	} {
		t.Run(name, func(t *testing.T) {
			began := computed(t)
			refuses(t, g, document(text, `{"p":"`+long+`"}`), "")
			if took := computed(t) - began; took > 20*time.Second { // the race detector on a slow machine takes two
				t.Errorf("took %s", took)
			}
		})
	}
}

// computed is the processor time of this process so far. A machine that does much else, or stands still, does not add to it.
func computed(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func manyTimes(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func TestDeepNesting(t *testing.T) {
	g := shop(t)
	nest := func(open, inner, end string, n int) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(end, n)
	}
	for _, n := range []int{40, 2000, 100_000} {
		for name, text := range map[string]string{
			"selections":       nest("{a", "", "}", n),
			"fragments inline": "{ " + nest("...{", "status", "}", n) + "}",
			"lists":            `mutation { configPatch(environmentId: "e", patch: ` + nest("[", "1", "]", n) + ") }",
			"objects":          `mutation { configPatch(environmentId: "e", patch: ` + nest("{a:", "1", "}", n) + ") }",
			"types":            "query($x: " + nest("[", "Int", "]", n) + ") { status }",
			"open alone":       strings.Repeat("{", n),
			"open lists":       `{ limits(name: ` + strings.Repeat("[", n),
			"default":          "query($x: JSON = " + nest("[", "1", "]", n) + ") { status }",
			"environments":     `{ environment(id: "e") ` + nest("{ parent", "{ id }", "}", n) + "}",
		} {
			t.Run(fmt.Sprint(name, n), func(t *testing.T) { refuses(t, g, document(text, ""), "") })
		}
		t.Run(fmt.Sprint("json", n), func(t *testing.T) {
			refuses(t, g, post(`{"query":"{ status }","variables":{"x":`+nest("[", "1", "]", n)+`}}`), "too deep")
			refuses(t, g, post(strings.Repeat("[", n)), "too deep")
		})
	}
	wantClass(t, g, document(`{ environment(id: "e") `+nest("{ parent", "{ id }", "}", 28)+"}", ""), Read)
}

func TestFragmentBombs(t *testing.T) {
	g := shop(t)
	// Every level spreads the next one twice, under two keys: 2^30 fields.
	var bomb strings.Builder
	bomb.WriteString(`{ environment(id: "e") { ...F0 } } `)
	for i := range 30 {
		fmt.Fprintf(&bomb, "fragment F%d on Environment { a%d: parent { ...F%d } b%d: parent { ...F%d } } ", i, i, i+1, i, i+1)
	}
	bomb.WriteString("fragment F30 on Environment { id }")
	refuses(t, g, document(bomb.String(), ""), "")
	// No field at all, 2^25 spreads.
	bomb.Reset()
	bomb.WriteString(`{ ...F0 } `)
	for i := range 25 {
		fmt.Fprintf(&bomb, "fragment F%d on Query { ...F%d ...F%d } ", i, i+1, i+1)
	}
	bomb.WriteString("fragment F25 on Query { status }")
	wantSent(t, wantClass(t, g, document(bomb.String(), ""), Read), "query{ status}", "{}")
	refuses(t, g, document(`{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }`, ""), "contains itself")
	refuses(t, g, document(`{ environment(id: "e") { ...A } } fragment A on Environment { parent { ...A } }`, ""), "contains itself")
	// The same key a thousand times is compared pair by pair in the specification.
	began := computed(t)
	_ = g.Judge(document("{"+strings.Repeat(`environment(id: "e") { id parent { id } } `, 490)+"}", ""), false)
	if took := computed(t) - began; took > 20*time.Second { // the race detector on a slow machine takes two
		t.Errorf("fields to be merged took %s", took)
	}
}

func TestSameKeyTwice(t *testing.T) {
	g := shop(t)
	v := wantClass(t, g, document(`mutation { x: volumeDelete(volumeId: "v") x: volumeDelete(volumeId: "v") }`, ""), Delete)
	if len(v.Operations) != 1 {
		t.Errorf("%d operations, wanted 1", len(v.Operations))
	}
	refuses(t, g, document(`mutation { x: volumeDelete(volumeId: "v") x: volumeDelete(volumeId: "w") }`, ""), "")
	refuses(t, g, document(`mutation { x: volumeDelete(volumeId: "v") ... { x: tokenCreate(name: "v") } }`, ""), "")
	v = judged(t, g, document(`{ service(id: "s") { id } service(id: "s") { name } }`, ""))
	wantSent(t, v, `query($a1:String!){ service(id:$a1){hk_of_Service:environmentId id name}}`, `{"a1":"s"}`)
}

func TestIntrospection(t *testing.T) {
	g := shop(t)
	v := wantClass(t, g, document(`{ __schema { types { name fields(includeDeprecated: true) { name } } } __type(name: "Query") { name } __typename }`, ""), Read)
	wantTouches(t, v)
	if len(v.Operations) != 3 || v.Operations[0].Name != "__schema" || v.Operations[0].Line != 0 {
		t.Errorf("got %+v", v.Operations)
	}
	v = wantClass(t, g, document(`{ __schema { queryType { name } } service(id: "s") { __typename } }`, ""), Read)
	wantTouches(t, v, Named{Kind: "service", ID: "s"})
	wantClass(t, g, document(`mutation { __typename volumeDelete(volumeId: "v") }`, ""), Delete)
	refuses(t, g, document(`mutation { __schema { queryType { name } } }`, ""), "")
	refuses(t, g, document(`{ service(id: "s") { __schema { queryType { name } } } }`, ""), "")
}

// What clients ask for when they start.
func TestIntrospectionOfTools(t *testing.T) {
	ofType := strings.Repeat("ofType { kind name ", 8) + strings.Repeat("}", 8)
	wantClass(t, shop(t), document(`query IntrospectionQuery { __schema { queryType { name } mutationType { name } subscriptionType { name }
		types { ...FullType } directives { name description locations args { ...InputValue } } } }
		fragment FullType on __Type { kind name description
			fields(includeDeprecated: true) { name description args { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason }
			inputFields { ...InputValue } interfaces { ...TypeRef } enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
			possibleTypes { ...TypeRef } }
		fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue }
		fragment TypeRef on __Type { kind name `+ofType+` }`, ""), Read)
}

// One judge serves all tunnels.
func TestManyAtOnce(t *testing.T) {
	g, r := shop(t), forge(t)
	want := g.Judge(typical(), false)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if got := g.Judge(typical(), false); string(got.Send.Body) != string(want.Send.Body) || got.Operations[0].Text != want.Operations[0].Text {
					t.Error("judged in another way beside others")
				}
				_ = r.Judge(rest("GET /repos/acme/shop", ""), false)
				if _, err := want.Answer.Rewrite([]byte(`{"data":{"serviceUpdate":{"hk_of_Service":"staging","id":"x"}}}`), staging); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func TestSubscriptionsAreRefused(t *testing.T) {
	v := shop(t).Judge(document(`subscription { logs(serviceId: "s") }`, ""), false)
	wantRefused(t, v, "there is no websocket here")
	if len(v.Operations) != 1 || v.Operations[0].Class != Refused {
		t.Errorf("operations %+v", v.Operations)
	}
}

func TestRefusedOperationAmongOthers(t *testing.T) {
	g := shop(t)
	refuses(t, g, document(`mutation { serviceDelete(id: "s") agentRun(text: "delete all") }`, ""), "agentRun is never let through")
	refuses(t, g, document(`mutation { serviceUpdate(serviceId: "s", environmentId: "e", input: {source: {repo: ""}}) { id } }`, ""), "a source that is none")
}

// A refusal is told and logged: values, which may be secrets, are not in it.
func TestRefusalsTellNoValues(t *testing.T) {
	g := shop(t)
	for _, c := range []struct{ text, variables string }{
		{`mutation { volumeDelete(volumeId: "s3cret" "s3cret") }`, ``},
		{`mutation { volumeDelete "s3cret" }`, ``},
		{`mutation { volumeDelete """s3cret""" }`, ``},
		{`mutation { volumeDelete(volumeId: ["s3cret"]) }`, ``},
		{`mutation { volumeDelete(volumeId: {a: "s3cret"}) }`, ``},
		{`mutation { projectDelete(id: "p", answer: "s3cret\n") }`, ``},
		{`mutation { projectDelete(id: "p", answer: "YES", extra: "s3cret") }`, ``},
		{`mutation { serviceUpdate(serviceId: "s", input: {numReplicas: "s3cret"}) { id } }`, ``},
		{`mutation { serviceUpdate(serviceId: "s", input: {region: "EU", startCommand: "s3cret"}) { id } }`, ``},
		{`mutation($n: Int = "s3cret") { serviceUpdate(serviceId: "s", input: {numReplicas: $n}) { id } }`, ``},
		{`mutation($n: Int) { serviceUpdate(serviceId: "s", input: {numReplicas: $n}) { id } }`, `{"n":"s3cret"}`},
		{`mutation($p: JSON!) { configPatch(environmentId: "e", patch: $p) }`, `{"p":{"services":"s3cret"}}`},
		{`mutation { variablesUpsert(input: {environmentId: "e", variables: {A: "s3cret"}, replace: "s3cret"}) }`, ``},
	} {
		if v := g.Judge(document(c.text, c.variables), false); v.Refusal == "" || strings.Contains(v.Refusal, "s3cret") {
			t.Errorf("%s: %s %q", c.text, v.Class, v.Refusal)
		}
	}
	long := strings.Repeat("x", 1<<19)
	for _, text := range []string{`{ ` + long + ` }`, `{ status(` + long + `: 1) }`, `query ` + long + ` { status `, `{ limits(name: ` + long + `) }`, `{ ...` + long + ` }`} {
		if v := g.Judge(document(text, ""), false); v.Refusal == "" || len(v.Refusal) > 400 {
			t.Errorf("a refusal of %d bytes", len(v.Refusal))
		}
	}
}

func TestUnknownFieldsAndArguments(t *testing.T) {
	g := shop(t)
	for _, lenient := range []bool{false, true} {
		for _, text := range []string{
			`mutation { volumeDrop(id: "v") }`,
			`mutation { volumeDelete(volumeId: "v", force: true) }`,
			`mutation { serviceUpdate(serviceId: "s", input: {replicas: 0}) { id } }`,
			`{ service(id: "s") { secret } }`,
			`{ service(id: "s") }`,
			`{ status { id } }`,
			`{ service(id: "s") { ... on Volume { id } } }`,
			`{ ...F } fragment F on Nothing { id }`,
			`{ ...F }`,
			`mutation { volumeDelete(volumeId: $v) }`,
			`query($v: Nothing) { limits(name: $v) }`,
			`query($v: Service) { limits(name: $v) }`,
			`query { `, `}`, `{}`, `type Query { a: Int }`, `"status"`, `{ status } junk`,
		} {
			wantRefused(t, g.Judge(document(text, ""), lenient), "")
		}
	}
}
