package judge

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// staging is what a lease on the environment staging of the project shop sees.
var staging = Sight{Environment: "staging", Project: "shop"}

// wantAnswer judges a document and rewrites an answer to it.
func wantAnswer(t *testing.T, text, answer, want string, sight Sight) {
	t.Helper()
	v := judged(t, shop(t), document(text, ""))
	if v.Answer.Plain() {
		t.Error("a GraphQL answer must be rewritten")
	}
	got, err := v.Answer.Rewrite([]byte(answer), sight)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got\n%s\nfor what was sent: %s", diff, v.Send.Body)
	}
}

func TestListsCarryOnlyWhatTheLeaseCovers(t *testing.T) {
	wantAnswer(t, `{ project(id: "shop") { volumes { id sizeMB } name } }`,
		`{"data":{"project":{"hk_of_Project":"shop","volumes":[
			{"hk_of_Volume":"staging","id":"a","sizeMB":1},
			{"hk_of_Volume":"production","id":"b","sizeMB":2},
			{"hk_of_Volume":null,"id":"c","sizeMB":3},
			{"id":"d","sizeMB":4},
			{"hk_of_Volume":"","id":"e"},
			{"hk_of_Volume":7,"id":"f"},
			"production"],"name":"Shop"}}}`,
		`{"data":{"project":{"volumes":[{"id":"a","sizeMB":1}],"name":"Shop"}}}`, staging)
}

func TestRelayEdgesGoWithTheirNodes(t *testing.T) {
	wantAnswer(t, `{ project(id: "shop") { services { edges { cursor node { id } } pageInfo { endCursor } } } }`,
		`{"data":{"project":{"hk_of_Project":"shop","services":{"edges":[
			{"cursor":"1","node":{"hk_of_Service":"production","id":"b"}},
			{"cursor":"2","node":{"hk_of_Service":"staging","id":"a"}},
			{"cursor":"3","node":null}],"pageInfo":{"endCursor":"3"}}}}}`,
		`{"data":{"project":{"services":{"edges":[{"cursor":"2","node":{"id":"a"}},{"cursor":"3","node":null}],"pageInfo":{"endCursor":"3"}}}}}`, staging)
}

func TestSingleObjectsOfAnotherEnvironment(t *testing.T) {
	// One that may be null becomes null.
	wantAnswer(t, `{ service(id: "s") { id volume { id } } }`,
		`{"data":{"service":{"hk_of_Service":"staging","id":"s","volume":{"hk_of_Volume":"production","id":"v"}}}}`,
		`{"data":{"service":{"id":"s","volume":null}}}`, staging)
	wantAnswer(t, `{ project(id: "other") { id } }`,
		`{"data":{"project":{"hk_of_Project":"other","id":"other"}}}`, `{"data":{"project":null}}`, staging)
	// One that must not be takes the nearest that may be with it, up to all of the answer.
	wantAnswer(t, `{ service(id: "s") { volume { service { id } } } }`,
		`{"data":{"service":{"hk_of_Service":"staging","volume":{"hk_of_Volume":"staging","service":{"hk_of_Service":"production","id":"p"}}}}}`,
		`{"data":{"service":{"volume":null}},"errors":[{"message":"hidden by Hourkey: lives in another environment","path":["service","volume","service"]}]}`, staging)
	wantAnswer(t, `{ v: volume(id: "v") { id } status }`,
		`{"data":{"v":{"hk_of_Volume":"production","id":"v"},"status":"fine"}}`,
		`{"data":null,"errors":[{"message":"hidden by Hourkey: lives in another environment","path":["v"]}]}`, staging)
	// In a list the element goes, and nothing needs to be said.
	wantAnswer(t, `{ project(id: "shop") { volumes { service { id } } } }`,
		`{"data":{"project":{"hk_of_Project":"shop","volumes":[
			{"hk_of_Volume":"staging","service":{"hk_of_Service":"production","id":"p"}},
			{"hk_of_Volume":"staging","service":{"hk_of_Service":"staging","id":"s"}}]}}}`,
		`{"data":{"project":{"volumes":[{"service":{"id":"s"}}]}}}`, staging)
}

func TestNothingIsSeenWithoutASight(t *testing.T) {
	wantAnswer(t, `{ service(id: "s") { id } project(id: "p") { id } me { name } }`,
		`{"data":{"service":{"hk_of_Service":"","id":"s"},"project":{"hk_of_Project":"","id":"p"},"me":{"name":"x"}}}`,
		`{"data":{"service":null,"project":null,"me":{"name":"x"}}}`, Sight{})
}

func TestAnswersBehindFragmentsOnInterfaces(t *testing.T) {
	text := `{ search(text: "x") { __typename ... on Named { name } ...V } } fragment V on Volume { id sizeMB }`
	wantAnswer(t, text,
		`{"data":{"search":[
			{"hk_is":"Service","hk_of_Service":"staging","__typename":"Service","name":"a","id":"not selected"},
			{"hk_is":"Service","hk_of_Service":"production","__typename":"Service","name":"b"},
			{"hk_is":"Volume","hk_of_Volume":"staging","__typename":"Volume","id":"c","sizeMB":1},
			{"hk_is":"Volume","hk_of_Volume":"production","hk_of_Service":"staging","__typename":"Volume","id":"d"},
			{"hk_is":"Token","__typename":"Token","secret":"s"},
			{"hk_is":"Nothing","name":"e"},
			{"name":"f"}]}}`,
		`{"data":{"search":[{"__typename":"Service","name":"a"},{"__typename":"Volume","id":"c","sizeMB":1},{"__typename":"Token"}]}}`, staging)
	v := judged(t, shop(t), document(text, ""))
	got, _ := sent(t, v)
	if !strings.Contains(got, "...on Service{hk_of_Service:environmentId __typename name}") {
		t.Errorf("sent %s", got)
	}
}

func TestInterfaceFieldsOfHiddenObjects(t *testing.T) {
	// Nothing is selected from a volume, but it is not to be counted either.
	wantAnswer(t, `{ search(text: "x") { ... on Service { name } } }`,
		`{"data":{"search":[{"hk_is":"Volume","hk_of_Volume":"production"},{"hk_is":"Volume","hk_of_Volume":"staging"}]}}`,
		`{"data":{"search":[{}]}}`, staging)
	wantAnswer(t, `{ named(name: "x") { n: name } }`,
		`{"data":{"named":{"hk_is":"Environment","hk_of_Environment":"production","n":"production"}}}`,
		`{"data":{"named":null}}`, staging)
}

func TestSecretsAreMasked(t *testing.T) {
	text := `{ service(id: "s") { variables { name v: value } config } variables(environmentId: "staging") }`
	answer := `{"data":{"service":{"hk_of_Service":"staging","variables":[{"name":"A","v":"s3cret"},{"name":"B","v":null}],
		"config":{"a":["s3cret",1,true,{"b":"s3cret"}],"n":null}},"variables":{"DB":"s3cret","PORT":5432}}}`
	wantAnswer(t, text, answer, `{"data":{"service":{"variables":[{"name":"A","v":"hidden by Hourkey"},{"name":"B","v":null}],`+
		`"config":{"a":["hidden by Hourkey","hidden by Hourkey",true,{"b":"hidden by Hourkey"}],"n":null}},`+
		`"variables":{"DB":"hidden by Hourkey","PORT":"hidden by Hourkey"}}}`, staging)
	admin := staging
	admin.Secrets = true
	wantAnswer(t, text, answer, `{"data":{"service":{"variables":[{"name":"A","v":"hidden by Hourkey"},{"name":"B","v":null}],`+ // walked to
		`"config":{"a":["hidden by Hourkey","hidden by Hourkey",true,{"b":"hidden by Hourkey"}],"n":null}},`+
		`"variables":{"DB":"s3cret","PORT":5432}}}`, admin)
}

func TestWhatWasNotSelectedIsDropped(t *testing.T) {
	wantAnswer(t, `{ a: status b: status }`,
		`{"data":{"b":"1","status":"x","a":"2","hk_is":"y"},"extensions":{"trace":"token"},"hint":1}`, `{"data":{"a":"2","b":"1"}}`, staging)
	wantAnswer(t, `{ service(id: "s") { owner { name } } }`,
		`{"data":{"service":{"hk_of_Service":"staging","owner":["x"]}}}`,
		`{"data":{"service":null},"errors":[{"message":"hidden by Hourkey: lives in another environment","path":["service","owner"]}]}`, staging)
}

func TestObjectInPlaceOfAScalar(t *testing.T) {
	wantAnswer(t, `{ service(id: "s") { id name } status }`,
		`{"data":{"service":{"hk_of_Service":"staging","id":{"variables":[{"value":"s3cret"}]},"name":[{"a":"production"}]},"status":["ok"]}}`,
		`{"data":{"service":{"id":null,"name":null},"status":["ok"]}}`, staging)
}

func TestErrorsOfTheProviderPass(t *testing.T) {
	wantAnswer(t, `{ project(id: "p") { id } }`,
		`{"errors":[{"message":"Not Authorized","path":["project"],"locations":[{"line":1,"column":2}],"extensions":{"code":"X"},"debug":1},"odd"],"data":{"project":null}}`,
		`{"data":{"project":null},"errors":[{"extensions":{"code":"X"},"message":"Not Authorized","path":["project"]},{"message":"the provider gave an error without a message"}]}`, staging)
	wantAnswer(t, `{ status }`, `{"errors":[{"message":"no"}]}`, `{"errors":[{"message":"no"}]}`, staging)
	wantAnswer(t, `{ status }`, `{"data":null}`, `{"data":null}`, staging)
	wantAnswer(t, `{ status }`, `{"data":[1]}`, `{"data":null}`, staging)
}

func TestAnswersThatCannotBeRead(t *testing.T) {
	answer := judged(t, shop(t), document(`{ status }`, "")).Answer
	for _, body := range []string{``, `<html>`, `[]`, `"x"`, `{"data":{"status":"a","status":"b"}}`, `{"data":{}}{}`, "{\"data\":\"\xff\"}",
		`{"data":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}`} {
		if got, err := answer.Rewrite([]byte(body), staging); err == nil {
			t.Errorf("%s: let through as %s", body, got)
		}
	}
	if _, err := (Answer{}).Rewrite([]byte(`{}`), staging); err == nil {
		t.Error("an answer that nobody judged is let through")
	}
}

func TestRewrittenAnswersAreJSON(t *testing.T) {
	v := judged(t, shop(t), document(`{ status limits(name: "n") }`, ""))
	got, err := v.Answer.Rewrite([]byte(`{"data":{"status":"\u0000\"\\\u202e😀\n","limits":1e2}}`), staging)
	var back struct {
		Data struct {
			Status string
			Limits json.Number
		}
	}
	if err != nil || json.Unmarshal(got, &back) != nil || back.Data.Status != "\x00\"\\\u202e😀\n" || back.Data.Limits != "1e2" {
		t.Errorf("%v, %s", err, got)
	}
}
