package differential

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
)

// maker makes arguments, as an agent at work in one environment gives them, and sometimes gets them wrong.
type maker struct {
	*rand.Rand
	w         *world
	home      string   // the environment that most ids are taken from
	wrong     float64  // how often something is not as it should be
	often     float64  // how often something is given that need not be
	operation string   // name of the root field
	want      []string // paths of arguments that must be given
}

// chance is true with a probability.
func (m *maker) chance(p float64) bool { return m.Float64() < p }

// arguments makes those of a field. What is not given is not in the map.
func (m *maker) arguments(f *ast.FieldDefinition) map[string]any {
	all := map[string]any{}
	for _, a := range f.Arguments {
		if m.gives(a.Name, a.Type, a.DefaultValue) {
			all[a.Name] = m.value(a.Name, a.Type)
		}
	}
	return all
}

// gives decides whether something is given at all.
func (m *maker) gives(path string, t *ast.Type, standard *ast.Value) bool {
	if t.NonNull && standard == nil {
		return !m.chance(m.wrong / 20)
	}
	return m.wanted(path) || m.chance(m.often)
}

// wanted tells whether a path, or something below it, must be given.
func (m *maker) wanted(path string) bool {
	return slices.ContainsFunc(m.want, func(w string) bool { return w == path || strings.HasPrefix(w, path+".") })
}

// value makes a value of a type for the argument at path.
func (m *maker) value(path string, t *ast.Type) any {
	if !t.NonNull && !m.wanted(path) && m.chance(0.06) {
		return nil
	}
	if t.Elem != nil {
		return m.list(path, t.Elem)
	}
	def := m.w.schema.Types[t.NamedType]
	switch def.Kind {
	case ast.InputObject:
		object := map[string]any{}
		for _, f := range def.Fields {
			if m.gives(path+"."+f.Name, f.Type, f.DefaultValue) {
				object[f.Name] = m.value(path+"."+f.Name, f.Type)
			}
		}
		return object
	case ast.Enum:
		return m.enum(path, def)
	case ast.Scalar, ast.Object, ast.Interface, ast.Union:
	}
	return m.scalar(path, def.Name)
}

func (m *maker) list(path string, element *ast.Type) any {
	n := 1
	switch {
	case m.chance(0.2):
		n = 2
	case !m.wanted(path) && m.chance(0.12):
		n = 0
	}
	list := []any{}
	for range n {
		list = append(list, m.value(path, element))
	}
	return list
}

func (m *maker) enum(path string, def *ast.Definition) any {
	if likely := m.words(path); len(likely) > 0 && m.chance(0.6) && def.EnumValues.ForName(likely[0]) != nil {
		return pick(m.Rand, likely)
	}
	return pick(m.Rand, def.EnumValues).Name
}

// scalar makes a value of a scalar type. Numbers are json.Number.
func (m *maker) scalar(path, typ string) any {
	switch typ {
	case "Int":
		return pick(m.Rand, []json.Number{"0", "1", "1", "2", "3", "-1", "60", "5432", "9000", "2147483647"})
	case "Float":
		return pick(m.Rand, []json.Number{"0", "0.05", "0.5", "1", "1.5", "-1", "100", "1e3"})
	case "BigInt":
		return pick(m.Rand, []any{json.Number("0"), json.Number("1"), json.Number("9007199254740993"), "1"})
	case "Boolean":
		return m.chance(0.5)
	case "DateTime":
		return pick(m.Rand, []string{"2026-11-20T00:00:00Z", "2026-11-21T08:00:00.000Z", "2030-01-01T00:00:00Z"})
	case "String", "ID":
		return m.text(path)
	}
	return m.opaque(path, typ)
}

// text makes a string: an id where one is meant, else a likely word.
func (m *maker) text(path string) string {
	name := path[strings.LastIndexByte(path, '.')+1:]
	if words := m.words(path); len(words) > 0 && !m.chance(m.wrong/2) {
		return pick(m.Rand, words)
	}
	if kind := m.kind(name); kind != "" {
		return m.id(kind)
	}
	switch {
	case m.chance(0.1):
		return ""
	case m.chance(m.wrong / 2):
		return m.w.pool.mistaken(m.Rand, "Service")
	}
	return "made-" + name + "-" + strconv.Itoa(m.IntN(50))
}

// id names something of a kind.
func (m *maker) id(kind string) string {
	if m.chance(m.wrong) {
		return m.w.pool.mistaken(m.Rand, kind)
	}
	return m.w.pool.id(m.Rand, kind, m.home)
}

// kind tells what an argument holds the id of, empty if of nothing.
func (m *maker) kind(name string) string { return m.w.server.ArgumentKind(m.operation, name) }

// words are what is likely to stand in an argument: by the operation and the path, or by its last name.
func (m *maker) words(path string) []string {
	if words := wordsOf()[m.operation+" "+path]; words != nil {
		return words
	}
	if code := codeOf()[m.operation+" "+path]; code != "" && m.w.pool.codes[code] != "" {
		return []string{m.w.pool.codes[code]}
	}
	name := path[strings.LastIndexByte(path, '.')+1:]
	if name == "owner" && strings.HasPrefix(m.operation, "signal") {
		return []string{m.w.Workspace, m.w.Workspace, m.w.Workspace, "project:" + m.w.pool.project[m.home], "workspace:" + m.w.Workspace}
	}
	if (name == "workspaceId" || name == "teamId" || name == "destinationWorkspaceId") && m.chance(0.9) {
		return []string{m.w.Workspace, m.w.Workspace, m.w.Elsewhere}
	}
	return wordsByName()[name]
}

// wordsOf are for one argument of one operation.
func wordsOf() map[string][]string {
	variable := []string{"STRIPE_KEY", "SESSION_KEY", "POSTGRES_PASSWORD", "SENTRY_DSN", "NEW_ONE"}
	flag := []string{"checkout-v2", "checkout-v2", "other"}
	all := map[string][]string{
		"variableUpsert input.name": variable, "variableDelete input.name": variable, "sharedVariableConfigure input.name": {"SENTRY_DSN", "SENTRY_DSN", "OTHER"},
		"privateNetworkCreateOrGet input.name": {"railway", "other"},
		"templateClone input.code":             {"acme-pg"}, "template code": {"acme-pg"},
		"dockerComposeImport yaml":                {"services:\n  cache:\n    image: redis\n    volumes:\n      - cache-data:/data\n", ""},
		"workspacePolicyItemUpdate policy":        {"RESTRICT_PUBLIC_TCP_PROXIES"},
		"environmentPatchCommit commitMessage":    {"fix", ""},
		"volumeInstanceUpdate input.state":        {"READY", "DELETED", "DELETING"},
		"sandboxExec command":                     {"env", "ls"},
		"railwayDomainDnsRecordUpdate input.type": {"A"},
		"variableUpsert input.value":              {"", "x", "production", "${{postgres.POSTGRES_PASSWORD}}"},
	}
	for _, name := range []string{"Create", "DefaultSet", "Delete", "Replace", "Rollback", "RuleSet", "RuleUnset"} {
		all["signal"+name+" input.name"] = flag
	}
	for _, query := range []string{"signal", "signalChanges", "signalEvaluate"} {
		all[query+" name"] = flag
	}
	for _, name := range []string{"Create", "Update", "Delete"} {
		all["railwayDomainDnsRecord"+name+" input.domain"] = []string{"acme-shop.com", "acme-shop.com", "other.com"}
	}
	all["signalRuleUnset input.ruleId"], all["signalRuleSet input.ruleId"] = []string{"beta", "gamma"}, []string{"beta", "gamma"}
	all["railwayDomainByName domain"], all["railwayDomainDnsRecords domain"] = []string{"acme-shop.com"}, []string{"acme-shop.com"}
	return all
}

// codeOf tells where a secret stands that a caller may know.
func codeOf() map[string]string {
	return map[string]string{
		"inviteCodeUse code": "invite-code", "inviteCode code": "invite-code", "projectInvitation code": "invite-code",
		"projectInvitationAccept code": "invitation", "workspaceInviteCodeUse code": "workspace-invite", "workspaceByCode code": "workspace-invite",
		"loginSessionAuth input.code": "login-code", "loginSessionCancel code": "login-code", "loginSessionConsume code": "login-code",
		"loginSessionVerify code": "login-code", "emailChangeConfirm nonce": "email-nonce", "recoveryCodeValidate input.code": "recovery",
	}
}

// wordsByName are for an argument wherever it stands.
func wordsByName() map[string][]string {
	return map[string][]string{
		"mountPath": {"/data", "/", "/var/lib/postgresql/data"}, "region": {"us-west2", "europe-west4"},
		"image": {"ghcr.io/acme/shop:1.5", "evil/miner"}, "repo": {"acme/shop", "evil/shop"}, "repository": {"acme/shop", "evil/shop"}, "branch": {"main", "dev"},
		"cronSchedule": {"* * * * *", "0 0 * * *"}, "startCommand": {"sleep 1", "./run"}, "buildCommand": {"make"}, "preDeployCommand": {"./migrate"},
		"domain": {"new.example.com", "staging.shop.example.com", "production.shop.example.com"}, "email": {"mallory@example.com"},
		"role": {"ADMIN", "MEMBER", "VIEWER"}, "networkIsolation": {"ISOLATED", "PRIVATE"}, "after": {""}, "before": {""}, "filter": {"", "@level:error"},
		"healthcheckPath": {"/", "/health"}, "rootDirectory": {"/", "/app"}, "dnsName": {"postgres", "web2"}, "serviceName": {"web", "twin"},
		"provider": {"github"}, "publicKey": {"ssh-ed25519 AAAA"}, "templateCode": {"acme-pg"}, "link": {"https://example.com"},
	}
}
