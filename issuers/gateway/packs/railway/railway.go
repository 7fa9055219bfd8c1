package railway

import (
	_ "embed" // the rows
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
	"github.com/hourkey/hourkey/issuers/gateway/lists"
)

// Kind is the kind of a Railway target in environments/*.yaml.
const Kind = "railway"

// endpoint is the one door that is open.
const endpoint = "/graphql/v2"

//go:embed rows.pack
var rows []byte

// Pack is what is known of Railway offline. It is immutable.
type Pack struct {
	rows    *judge.Pack
	graphql *judge.GraphQL
}

var _ gateway.Pack = (*Pack)(nil)

// New reads the rows and holds them to the list of the published API.
func New() (*Pack, error) {
	parsed, err := judge.ParsePack(Kind, "rows.pack", rows)
	if err != nil {
		return nil, fmt.Errorf("reading the rows for Railway: %w", err)
	}
	schema, err := lists.Railway()
	if err != nil {
		return nil, err
	}
	graphql, err := judge.NewGraphQL(parsed, schema)
	if err != nil {
		return nil, fmt.Errorf("holding the rows for Railway to its list: %w", err)
	}
	return &Pack{parsed, graphql}, nil
}

// Name is also the kind of the targets.
func (*Pack) Name() string { return Kind }

// Hosts are the names of the API: the published one, and the one it had before, which many tools still use.
func (*Pack) Hosts() []string { return []string{"backboard.railway.com", "backboard.railway.app"} }

// Kinds are what scopes name (docs/issuers/railway.md).
func (p *Pack) Kinds() []string {
	return []string{"bucket", "environment", "group", "plugin", "project", "sandbox", "service", "staged", "volume"}
}

// Rows are those of rows.pack.
func (p *Pack) Rows() *judge.Pack { return p.rows }

// Judge lets GraphQL in by its one door and says of every other door why it is closed. A lenient call may
// come without a path: a document alone is a GraphQL call.
func (p *Pack) Judge(call judge.Call, lenient bool) judge.Verdict {
	alone := lenient && call.Path == ""
	if call.Path != endpoint && !alone {
		return judge.Verdict{Class: judge.Refused, Refusal: closed(call.Path)}
	}
	if call.Method == "GET" {
		return judge.Verdict{Class: judge.Refused, Refusal: "a GraphQL operation is sent with POST here; websockets, and with them subscriptions, are closed"}
	}
	return p.graphql.Judge(call, lenient)
}

// door is a way into the provider's hosts that is closed, and why.
type door struct {
	path *regexp.Regexp
	why  string
}

// doors are told apart only for the sake of the answer: a path that is none of them is closed as well.
func doors() []door {
	is := func(pattern string) *regexp.Regexp { return regexp.MustCompile("^(?:" + pattern + ")$") }
	return []door{
		{is(`/project/[^/]+/environment/[^/]+/up(?:[?/].*)?`), "an upload of code is closed: what is in it cannot be judged. Deploy from the service's repository, with serviceInstanceDeployV2"},
		{is(`/graphql/internal(?:/.*)?`), "the API of Railway's own pages is closed: it is not published, so no row speaks of it. Use POST " + endpoint},
		{is(`/graphql(?:/.*)?`), "this is not the published API. Use POST " + endpoint},
		{is(`/api/v1/agent(?:/.*)?`), "Railway's own agent is closed: what it does with words cannot be judged"},
		{is(`/oauth(?:/.*)?`), "signing in is closed: the gateway holds the credential, and nobody gets another through it"},
		{is(`/mcp(?:/.*)?`), "the remote MCP server is closed: what its tools do is not said in the call. Use POST " + endpoint},
	}
}

func closed(path string) string {
	for _, d := range doors() {
		if d.path.MatchString(path) {
			return d.why
		}
	}
	return "no door of Railway's API that is open here has this path. Use POST " + endpoint
}

// Variables are two: the CLI and scripts take the token from RAILWAY_API_TOKEN; the CLI takes no base URL (release
// builds have none) and goes through the proxy, scripts can take ours from RAILWAY_API_URL.
func (*Pack) Variables(base, placeholder string) map[string]string {
	return map[string]string{"RAILWAY_API_TOKEN": placeholder, "RAILWAY_API_URL": strings.TrimSuffix(base, "/") + endpoint}
}

// refusal is an answer in GraphQL's shape of errors (specification, section 7.1). Railway's CLI reads it
// whatever the status is, save 429, and prints the first message.
type refusal struct {
	Data   *struct{}      `json:"data"`
	Errors []refusalError `json:"errors"`
}

type refusalError struct {
	Message    string            `json:"message"`
	Extensions refusalExtensions `json:"extensions"`
}

type refusalExtensions struct {
	Code    string `json:"code"`
	Request string `json:"request,omitempty"`
	URL     string `json:"url,omitempty"`
}

// misread is what Railway's CLI looks for in a message to say something of its own instead: that one should
// sign in again.
var misread = regexp.MustCompile(`(?i)not authorized`)

// Refuse writes a refusal as a GraphQL client expects it, whichever door the call came to. The status is the
// proxy's to choose: a client that asks for it takes 2xx for done.
func (*Pack) Refuse(_ judge.Call, _ int, problem gateway.Problem) (contentType string, body []byte) {
	body, err := json.Marshal(refusal{Errors: []refusalError{{
		Message:    misread.ReplaceAllString(problem.Message, "not allowed"),
		Extensions: refusalExtensions{Code: problem.Code, Request: problem.Request, URL: problem.URL},
	}}})
	if err != nil {
		body = []byte(`{"data":null,"errors":[{"message":"refused"}]}`)
	}
	return "application/json; charset=utf-8", body
}
