package railway_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/issuers/gateway/faithful/railway"
)

// raw sends a request as it is.
func raw(t *testing.T, s http.Handler, w railway.World, method, target, contentType, body string) answer {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Authorization", "Bearer "+w.AccountToken)
	return do(t, s, r)
}

func TestDocumentsAreReadAsGraphQLReadsThem(t *testing.T) {
	s, w := seeded(t)
	shop := `"` + w.Shop + `"`
	for name, c := range map[string]struct {
		document  string
		variables map[string]any
		want      string
	}{
		"an alias": {`{ mine: project(id: ` + shop + `) { label: name } }`, nil, `{"mine":{"label":"shop"}}`},
		"one field asked twice is one, with both selections": {
			`{ project(id: ` + shop + `) { name } project(id: ` + shop + `) { isPublic } }`, nil, `{"project":{"name":"shop","isPublic":false}}`,
		},
		"fragments: named, inline, nested, on an interface": {
			`{ project(id: ` + shop + `) { ...a } } fragment a on Project { ...b ... on Node { id } } fragment b on Project { ... { name } __typename }`,
			nil, `{"project":{"name":"shop","__typename":"Project","id":` + shop + `}}`,
		},
		"a fragment on another type is left out": {
			`{ domains(environmentId: "` + w.Staging + `", projectId: ` + shop + `, serviceId: "` + w.Web + `") { customDomains { ... on Domain { domain ... on ServiceDomain { id } } } } }`,
			nil, `{"domains":{"customDomains":[{"domain":"staging.shop.example.com"}]}}`,
		},
		"directives": {
			`query($no: Boolean = false, $yes: Boolean!) { project(id: ` + shop + `) { id @include(if: $no) name @skip(if: $yes) isPublic @include(if: $yes) } }`,
			map[string]any{"yes": true}, `{"project":{"isPublic":false}}`,
		},
		"a block string": {`{ projectsByIds(ids: ["""` + w.Shop + `"""]) { name } }`, nil, `{"projectsByIds":[{"name":"shop"}]}`},
		"an escape":      {`{ project(id: "\u00` + hex.EncodeToString([]byte(w.Shop[:1])) + w.Shop[1:] + `") { name } }`, nil, `{"project":{"name":"shop"}}`},
		"a single value for a list, in the document": {`{ projectsByIds(ids: ` + shop + `) { name } }`, nil, `{"projectsByIds":[{"name":"shop"}]}`},
		"a single value for a list, in a variable": {
			`query($ids: [String!]!) { projectsByIds(ids: $ids) { name } }`, map[string]any{"ids": w.Shop}, `{"projectsByIds":[{"name":"shop"}]}`,
		},
		"a default of a variable": {`query($id: String = ` + shop + `) { projectsByIds(ids: [$id]) { name } }`, nil, `{"projectsByIds":[{"name":"shop"}]}`},
		"__typename at the root":  {`{ __typename __schema { queryType { name } } }`, nil, `{"__typename":"Query","__schema":{"queryType":{"name":"Query"}}}`},
		"__type":                  {`{ __type(name: "Volume") { kind name } }`, nil, `{"__type":{"kind":"OBJECT","name":"Volume"}}`},
		"pages": {
			`{ project(id: ` + shop + `) { environments(first: 1) { edges { node { name } } pageInfo { hasNextPage } } } }`, nil,
			`{"project":{"environments":{"edges":[{"node":{"name":"production"}}],"pageInfo":{"hasNextPage":true}}}}`,
		},
	} {
		a := post(t, s, w.AccountToken, c.document, c.variables)
		if diff := cmp.Diff(c.want, string(a.Data)); diff != "" || len(a.Errors) > 0 {
			t.Errorf("%s: %s %s", name, diff, a.Raw)
		}
	}
}

// An error in what may not be null makes the nearest thing that may be null; its path tells where it was.
func TestNullGoesUpToWhatMayBeNull(t *testing.T) {
	s, w := seeded(t)
	detached := post(t, s, w.AccountToken, `{ volumeInstance(id: "`+w.RenderCacheStaging+`") { id service { name } } }`, nil)
	if string(detached.Data) != `null` && string(detached.Data) != `{"volumeInstance":null}` || len(detached.Errors) != 1 {
		t.Errorf("a volume without a service answered %s", detached.Raw)
	}
	if diff := cmp.Diff([]any{"volumeInstance", "service"}, detached.Errors[0].Path); diff != "" {
		t.Error(diff)
	}
	mixed := post(t, s, w.AccountToken, `{ me { id } gone: sandbox(environmentId: "`+w.Staging+`", id: "none") { id } }`, nil)
	if !strings.Contains(string(mixed.Data), `"gone":null`) || !strings.Contains(string(mixed.Data), w.User) {
		t.Errorf("beside an error: %s", mixed.Raw)
	}
}

// The ways in which a call can be hidden from somebody who reads only the first of them.
func TestOtherWaysToSendAMutation(t *testing.T) {
	server, w := seeded(t)
	document := `mutation { volumeDelete(volumeId: "` + w.ShopData + `") }`
	sum := sha256.Sum256([]byte(document))
	persisted := `"extensions":{"persistedQuery":{"version":1,"sha256Hash":"` + hex.EncodeToString(sum[:]) + `"}}`
	quoted, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	for name, run := range map[string]func(*railway.Server){
		"GET": func(s *railway.Server) {
			raw(t, s, w, http.MethodGet, "/graphql/v2?query="+url.QueryEscape(document), "", "")
		},
		"application/graphql": func(s *railway.Server) { raw(t, s, w, http.MethodPost, "/graphql/v2", "application/graphql", document) },
		"a batch": func(s *railway.Server) {
			raw(t, s, w, http.MethodPost, "/graphql/v2", "application/json", `[{"query":"{ me { id } }"},{"query":`+string(quoted)+`}]`)
		},
		"a duplicate key, the last of which counts": func(s *railway.Server) {
			raw(t, s, w, http.MethodPost, "/graphql/v2", "application/json", `{"query":"{ me { id } }","query":`+string(quoted)+`}`)
		},
		"a persisted query": func(s *railway.Server) {
			raw(t, s, w, http.MethodPost, "/graphql/v2", "application/json", `{"query":`+string(quoted)+`,`+persisted+`}`)
		},
		"operationName among several": func(s *railway.Server) {
			both := `{"operationName":"b","query":"query a { me { id } } mutation b { volumeDelete(volumeId: \"` + w.ShopData + `\") }"}`
			raw(t, s, w, http.MethodPost, "/graphql/v2", "application/json", both)
		},
	} {
		s := server.Clone()
		run(s)
		if _, there := s.Data(w.ShopDataProduction); there {
			t.Errorf("%s did not arrive", name)
		}
	}
}

// Once sent with its hash, a document needs only the hash, from anybody.
func TestAPersistedMutationIsRunByItsHash(t *testing.T) {
	s, w := seeded(t)
	document := `mutation { volumeCreate(input: {projectId: \"` + w.Shop + `\", mountPath: \"/x\"}) { name } }`
	sum := sha256.Sum256([]byte(strings.ReplaceAll(document, `\"`, `"`)))
	hash := `"extensions":{"persistedQuery":{"version":1,"sha256Hash":"` + hex.EncodeToString(sum[:]) + `"}}`
	if a := raw(t, s, w, http.MethodPost, "/graphql/v2", "application/json", `{`+hash+`}`); !strings.Contains(a.Raw, "PersistedQueryNotFound") {
		t.Errorf("an unknown hash: %s", a.Raw)
	}
	for _, body := range []string{`{"query":"` + document + `",` + hash + `}`, `{` + hash + `}`} {
		raw(t, s, w, http.MethodPost, "/graphql/v2", "application/json", body).into(t, &struct{}{})
	}
	if n := len(s.IDs("Volume")); n != 3+2 {
		t.Errorf("there are %d volumes", n)
	}
}

func TestWhatIsNoRequestIsRefused(t *testing.T) {
	s, w := seeded(t)
	before := s.Snapshot()
	for name, body := range map[string]string{
		"nothing": ``, "no JSON": `{`, "an empty batch": `[]`, "no document": `{}`, "a syntax error": `{"query":"mutation {"}`,
		"an unknown field":       `{"query":"mutation { volumeErase(volumeId: \"x\") }"}`,
		"a missing argument":     `{"query":"mutation { volumeDelete }"}`,
		"a variable too few":     `{"query":"mutation($v: String!) { volumeDelete(volumeId: $v) }"}`,
		"two operations":         `{"query":"query a { me { id } } query b { me { id } }"}`,
		"no such operation":      `{"operationName":"c","query":"query a { me { id } }"}`,
		"a fragment in a circle": `{"query":"{ me { ...a } } fragment a on User { ...b } fragment b on User { ...a }"}`,
		"a subscription":         `{"query":"subscription { environmentStagedPatch(environmentId: \"x\") { id } }"}`,
		"an int too large":       `{"query":"{ projects(first: 99999999999) { edges { cursor } } }"}`,
	} {
		a := raw(t, s, w, http.MethodPost, "/graphql/v2", "application/json", body)
		if a.Status == http.StatusInternalServerError || len(a.Errors) == 0 {
			t.Errorf("%s: %d %s", name, a.Status, a.Raw)
		}
	}
	deep := `{"query":"{ me { ` + strings.Repeat("workspace { team { ", 300) + "id" + strings.Repeat(" } }", 300) + ` } }"}`
	if a := raw(t, s, w, http.MethodPost, "/graphql/v2", "application/json", deep); a.Status != http.StatusOK {
		t.Errorf("a deep document: %d", a.Status)
	}
	if effects := railway.Compare(before, s.Snapshot()); len(effects) > 0 {
		t.Errorf("refused, and yet: %v", effects)
	}
}

func TestCodeIsDeployedWhenItHasArrived(t *testing.T) {
	s, w := seeded(t)
	up := "/project/" + w.Shop + "/environment/" + w.Staging + "/up?serviceId=" + w.Web
	for _, c := range []struct {
		name, header, token, target string
		status, deployments         int
	}{
		{"with the environment's token", project, w.StagingToken, up, 200, 1},
		{"with another environment's token", project, w.ProductionToken, up, 401, 0},
		{"to which of two services", bearer, "Bearer " + w.AccountToken, strings.TrimSuffix(up, "?serviceId="+w.Web), 404, 0},
	} {
		before := s.Snapshot()
		r := httptest.NewRequest(http.MethodPost, c.target, strings.NewReader("a tar archive"))
		r.Header.Set(c.header, c.token)
		if a := do(t, s, r); a.Status != c.status {
			t.Errorf("%s: %d %s", c.name, a.Status, a.Raw)
		}
		if found := kinds(railway.Compare(before, s.Snapshot())); found["created Deployment"] != c.deployments {
			t.Errorf("%s did %v", c.name, found)
		}
	}
}

func TestManyCallersAtOnce(t *testing.T) {
	s, w := seeded(t)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 10 {
				post(t, s, w.AccountToken, `mutation { volumeCreate(input: {projectId: "`+w.Shop+`", mountPath: "/x"}) { id } }`, nil)
				s.Snapshot()
				s.Clone()
			}
		})
	}
	all.Wait()
	if n := len(s.IDs("Volume")); n != 3+160 {
		t.Errorf("there are %d volumes", n)
	}
}

func BenchmarkCallAndCompare(b *testing.B) {
	server := railway.New(railway.Config{Now: newClock().Now, Schema: schema(b)})
	w := server.Seed()
	server.Furnish(w)
	for b.Loop() {
		s := server.Clone()
		before := s.Snapshot()
		post(b, s, w.AccountToken, `mutation { volumeDelete(volumeId: "`+w.ShopData+`") }`, nil)
		railway.Compare(before, s.Snapshot())
	}
}
