package github

import (
	_ "embed" // the rows
	"encoding/json"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// Kind is the kind of a target behind this pack, and the name of the provider.
const Kind = "github"

const mainHost = "api.github.com"

//go:embed github.pack
var rows []byte

// Pack judges calls to GitHub's REST API. It is immutable.
type Pack struct {
	rows   *judge.Pack
	rest   *judge.REST
	host   string
	prefix string // of every path, on an Enterprise Server: "/api/v3"
}

var _ gateway.Pack = (*Pack)(nil)

// New reads the rows and checks them.
func New() (*Pack, error) {
	read, err := judge.ParsePack(Kind, "github.pack", rows)
	if err != nil {
		return nil, err
	}
	rest, err := judge.NewREST(read)
	if err != nil {
		return nil, err
	}
	return &Pack{rows: read, rest: rest, host: mainHost}, nil
}

// at is the same pack for another server.
func (p *Pack) at(base *url.URL) *Pack {
	moved := *p
	moved.prefix = base.Path
	if strings.Contains(base.Hostname(), ".") && net.ParseIP(base.Hostname()) == nil { // else it stands in for GitHub on this machine
		moved.host = base.Hostname()
	}
	return &moved
}

// Name is the provider's.
func (p *Pack) Name() string { return Kind }

// Hosts is the API's own alone.
func (p *Pack) Hosts() []string { return []string{p.host} }

// Kinds are what scopes name.
func (p *Pack) Kinds() []string { return []string{kindRepo} }

// Rows are the pack's.
func (p *Pack) Rows() *judge.Pack { return p.rows }

// Judge says what a call would do.
//
// GitHub itself writes /repositories/NUMBER where it means /repos/OWNER/NAME, in the links from page to page
// and in redirects. Such a path is judged as that of the repository "~/NUMBER", a name that nobody can
// have, and goes out as it came.
func (p *Pack) Judge(call judge.Call, lenient bool) judge.Verdict {
	call.Path = p.below(call.Path)
	if isGraphQL(call.Path) {
		return judge.Verdict{Class: judge.Refused, Refusal: "GitHub's GraphQL API has no pack: use its REST API, as in `gh api repos/OWNER/NAME/issues`"}
	}
	call.Path = named(call.Path)
	verdict := p.rest.Judge(call, lenient)
	p.restore(&verdict)
	return verdict
}

// below takes an Enterprise Server's prefix off; a client with a base URL does not send it.
func (p *Pack) below(path string) string {
	if rest, cut := strings.CutPrefix(path, p.prefix+"/"); cut && p.prefix != "" {
		return "/" + rest
	}
	return path
}

func isGraphQL(path string) bool {
	return strings.EqualFold(path, "/graphql") || strings.EqualFold(path, "/api/graphql")
}

const (
	numbered = "/repositories/"
	tilde    = "/repos/~/"
)

// named writes /repositories/NUMBER as /repos/~/NUMBER.
func named(path string) string {
	rest, cut := strings.CutPrefix(path, numbered)
	number, _, _ := strings.Cut(rest, "/")
	if !cut || !isNumber(number) {
		return path
	}
	return tilde + rest
}

func isNumber(text string) bool {
	return text != "" && text[0] != '0' && strings.Trim(text, "0123456789") == ""
}

// restore undoes named and below in what is sent and in what is shown of it.
func (p *Pack) restore(verdict *judge.Verdict) {
	judged := verdict.Send.Path
	if judged == "" {
		return // refused, or only classified
	}
	sent := judged
	if rest, cut := strings.CutPrefix(judged, tilde); cut {
		sent = numbered + rest
	}
	sent = p.prefix + sent
	verdict.Send.Path = sent
	for at := range verdict.Operations {
		operation := &verdict.Operations[at]
		operation.Text = strings.Replace(operation.Text, " "+judged, " "+sent, 1)
	}
}

// Variables are read by GitHub's own tools and libraries. The gh program takes no base URL: it comes in
// through HTTPS_PROXY.
func (p *Pack) Variables(base, placeholder string) map[string]string {
	return map[string]string{"GITHUB_TOKEN": placeholder, "GH_TOKEN": placeholder, "GITHUB_API_URL": base}
}

// refusal is an error as GitHub's API writes it.
type refusal struct {
	Message string `json:"message"`
	URL     string `json:"documentation_url,omitempty"` // tools print it beside the message
	Status  string `json:"status"`
}

// Refuse writes a refusal as GitHub's API writes its errors.
func (p *Pack) Refuse(_ judge.Call, status int, problem gateway.Problem) (contentType string, body []byte) {
	body, err := json.Marshal(refusal{Message: problem.Message, URL: problem.URL, Status: strconv.Itoa(status)})
	if err != nil {
		body = []byte(`{"message":"` + string(broker.CodeInternal) + `"}`)
	}
	return "application/json; charset=utf-8", body
}
