package supabase

import (
	_ "embed" // the rows
	"encoding/json"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// Kind is the kind of a target behind this pack, and the name of the provider.
const Kind = "supabase"

const mainHost = "api.supabase.com"

//go:embed supabase.pack
var rows []byte

// Pack judges calls to Supabase's management API. It is immutable.
type Pack struct {
	*judge.REST
	rows *judge.Pack
}

var _ gateway.Pack = (*Pack)(nil)

// New reads the rows and checks them.
func New() (*Pack, error) {
	read, err := judge.ParsePack(Kind, "supabase.pack", rows)
	if err != nil {
		return nil, err
	}
	rest, err := judge.NewREST(read)
	if err != nil {
		return nil, err
	}
	return &Pack{REST: rest, rows: read}, nil
}

// Name is the provider's.
func (p *Pack) Name() string { return Kind }

// Hosts is the management API's alone.
func (p *Pack) Hosts() []string { return []string{mainHost} }

// Kinds are what scopes name.
func (p *Pack) Kinds() []string { return []string{kindBranch, kindDatabase, kindProject} }

// Rows are the pack's.
func (p *Pack) Rows() *judge.Pack { return p.rows }

// Variables are read by Supabase's own tools. They check a token's shape before they send it, so that the
// forwarder's placeholder would not do: this one has the shape and is worth nothing. The supabase program takes no
// base URL from the environment: it comes in through HTTPS_PROXY.
func (p *Pack) Variables(base, _ string) map[string]string {
	return map[string]string{"SUPABASE_ACCESS_TOKEN": "sbp_" + strings.Repeat("0", 40), "SUPABASE_API_URL": base}
}

// Refuse writes a refusal as Supabase's API writes its errors.
func (p *Pack) Refuse(_ judge.Call, _ int, problem gateway.Problem) (contentType string, body []byte) {
	body, err := json.Marshal(struct {
		Message string `json:"message"`
	}{problem.Message})
	if err != nil {
		body = []byte(`{"message":"` + string(broker.CodeInternal) + `"}`)
	}
	return "application/json; charset=utf-8", body
}
