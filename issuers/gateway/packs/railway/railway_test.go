package railway

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// TestARefusalIsReadByGraphQLClients, and not mistaken by Railway's CLI for a lost session.
func TestARefusalIsReadByGraphQLClients(t *testing.T) {
	contentType, body := newPack(t).Refuse(judge.Call{}, 403, gateway.Problem{
		Code: "authorization_pending", Message: `volume "shop-data": you are Not Authorized yet`, Request: "req_1", URL: "https://hourkey.example/requests/req_1",
	})
	var answer struct {
		Data   any
		Errors []struct {
			Message    string
			Extensions map[string]string
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil || !strings.HasPrefix(contentType, "application/json") {
		t.Fatalf("%s: %s, %v", contentType, body, err)
	}
	if !strings.HasPrefix(string(body), `{"data":null,"errors":[{"message":`) || strings.Contains(strings.ToLower(answer.Errors[0].Message), "not authorized") {
		t.Errorf("%s", body)
	}
	if e := answer.Errors[0].Extensions; e["code"] != "authorization_pending" || e["request"] != "req_1" || e["url"] != "https://hourkey.example/requests/req_1" {
		t.Errorf("%v", e)
	}
}

func TestVariables(t *testing.T) {
	got := newPack(t).Variables("http://127.0.0.1:4000/", "placeholder")
	if got["RAILWAY_API_TOKEN"] != "placeholder" || got["RAILWAY_API_URL"] != "http://127.0.0.1:4000/graphql/v2" || len(got) != 2 {
		t.Error(got)
	}
}

// TestADocumentAloneIsClassified, as `hourkeyd classify` has it: without path, ids or all arguments.
func TestADocumentAloneIsClassified(t *testing.T) {
	c := call(t, `mutation { volumeDelete }`, nil)
	c.Path = ""
	if v := newPack(t).Judge(c, true); v.Class != judge.Delete {
		t.Errorf("%s: %s", v.Class, v.Refusal)
	}
	if v := newPack(t).Judge(c, false); v.Class != judge.Refused {
		t.Errorf("let through without a path: %s", v.Class)
	}
}

func BenchmarkJudge(b *testing.B) {
	pack := newPack(b)
	c := call(b, `mutation M($id: String!, $e: String, $in: ServiceInstanceUpdateInput!) { serviceInstanceUpdate(serviceId: $id, environmentId: $e, input: $in) }`,
		map[string]any{"id": "3d2c42fb-9f0b-4c38-8d5f-0a5d1a1c9e42", "e": "4d2c42fb-9f0b-4c38-8d5f-0a5d1a1c9e42", "in": map[string]any{"startCommand": "npm start", "numReplicas": 2}})
	for b.Loop() {
		if v := pack.Judge(c, false); v.Class != judge.Write {
			b.Fatal(v.Refusal)
		}
	}
}
