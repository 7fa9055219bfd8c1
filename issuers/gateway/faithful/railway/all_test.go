package railway_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/hourkey/hourkey/issuers/gateway/faithful/railway"
)

// generator writes a call of any root field, with arguments that are valid for a furnished world.
type generator struct {
	schema *ast.Schema
	server *railway.Server
	world  railway.World
	field  string
	yes    bool // what every Boolean is
}

func (g generator) document(kind string, f *ast.FieldDefinition) (string, map[string]any) {
	var declared, passed []string
	variables := map[string]any{}
	for _, a := range f.Arguments {
		declared = append(declared, "$"+a.Name+": "+a.Type.String())
		passed = append(passed, a.Name+": $"+a.Name)
		if value, ok := g.value(a.Name, a.Type, 0); ok {
			variables[a.Name] = value
		}
	}
	arguments, head := "", ""
	if len(passed) > 0 {
		head, arguments = "("+strings.Join(declared, ", ")+")", "("+strings.Join(passed, ", ")+")"
	}
	return fmt.Sprintf("%s t%s { %s%s%s }", kind, head, f.Name, arguments, g.selection(f.Type, 3)), variables
}

// selection asks for everything to a depth, save fields that need arguments.
func (g generator) selection(t *ast.Type, depth int) string {
	def := g.schema.Types[t.Name()]
	if def.Kind == ast.Scalar || def.Kind == ast.Enum {
		return ""
	}
	asked := []string{"__typename"}
	for _, f := range def.Fields {
		needs := slices.ContainsFunc(f.Arguments, func(a *ast.ArgumentDefinition) bool { return a.Type.NonNull })
		inner := g.schema.Types[f.Type.Name()]
		leaf := inner.Kind == ast.Scalar || inner.Kind == ast.Enum
		// What may not be null but points to what may be missing makes its parent null, at any real server.
		dangling := def.Fields.ForName(f.Name+"Id") != nil && f.Type.NonNull && !def.Fields.ForName(f.Name+"Id").Type.NonNull
		if strings.HasPrefix(f.Name, "__") || needs || dangling || !leaf && depth == 0 {
			continue
		}
		asked = append(asked, f.Name+g.selection(f.Type, depth-1))
	}
	return " { " + strings.Join(asked, " ") + " }"
}

// value makes an argument's value. It is not given where leaving it out is what the test wants.
func (g generator) value(name string, t *ast.Type, depth int) (any, bool) {
	if t.Elem != nil {
		v, ok := g.value(name, t.Elem, depth)
		return []any{v}, ok
	}
	def := g.schema.Types[t.NamedType]
	if v, special := g.special(name); special && def.Kind != ast.InputObject {
		return v, v != nil
	}
	switch def.Kind {
	case ast.InputObject:
		fields := map[string]any{}
		for _, f := range def.Fields {
			if v, ok := g.value(f.Name, f.Type, depth+1); ok && (f.Type.NonNull || depth < 3) {
				fields[f.Name] = v
			}
		}
		return fields, true
	case ast.Enum:
		return def.EnumValues[0].Name, true
	default:
		return g.scalar(name, def.Name), true
	}
}

func (g generator) scalar(name, typ string) any {
	switch typ {
	case "Int", "Float":
		return 1
	case "BigInt":
		return 1
	case "Boolean":
		return g.yes
	case "DateTime":
		return "2026-11-21T00:00:00Z"
	case "String", "ID":
		return "made-" + name
	default:
		return map[string]any{"made": name}
	}
}

// special gives ids of records that exist, and what an operation wants besides.
func (g generator) special(name string) (any, bool) {
	by := map[string]any{
		"projectId": g.world.Shop, "environmentId": g.world.Staging, "sourceEnvironmentId": g.world.Production, "targetEnvironmentId": g.world.Staging,
		"baseEnvironmentId": g.world.Staging, "baseEnvironmentOverrideId": g.world.Staging, "demoProjectId": g.world.Shop,
		"serviceId": g.world.Web, "rootServiceId": g.world.Postgres, "existingRootServiceId": g.world.Postgres, "serviceIds": g.world.Web,
		"enabledServiceIds": g.world.Web, "disabledServiceIds": g.world.Postgres, "wipeServiceIds": g.world.Postgres, "replicaServiceIds": g.world.Postgres,
		"workspaceId": g.world.Workspace, "teamId": g.world.Elsewhere, "destinationWorkspaceId": g.world.Elsewhere, "owner": g.world.Workspace,
		"userId": g.world.Colleague, "memberId": g.world.Colleague, "volumeId": g.world.ShopData,
		"volumeInstanceId": g.world.ShopDataProduction, "volumeInstanceBackupId": g.world.ShopDataBackups[1],
		"deploymentId": g.one("Deployment"), "serviceInstanceId": g.one("ServiceInstance"), "instanceId": g.one("ServiceInstance"),
		"serviceDomainId": g.one("ServiceDomain"), "pluginId": g.one("Plugin"), "bucketId": g.one("Bucket"),
		"privateNetworkId": g.one("PrivateNetwork"), "sandboxId": g.one("Sandbox"), "sourceSandboxId": g.one("Sandbox"),
		"cloudAgentId": g.one("CloudAgent"), "customerId": g.one("Customer"), "templateId": g.one("Template"), "deliveryIds": g.one("NotificationDelivery"),
		"ownershipTransferId": g.one("OwnershipTransfer"), "integrationAuthId": g.one("IntegrationAuth"), "groupId": g.one("Group"),
		"after": nil, "before": nil, "baseConfigEtag": nil, "policy": "RESTRICT_PUBLIC_TCP_PROXIES",
	}
	if v, known := map[string]any{
		"environmentApplyChangeSet.input":     map[string]any{"version": 1, "changes": []any{map[string]any{"kind": "variable.set", "address": "service.web", "variable": "A", "after": map[string]any{"value": "1"}}}},
		"environmentPreviewChangeSet.input":   map[string]any{"version": 1, "changes": []any{}},
		"environmentPatchCommit.patch":        map[string]any{"sharedVariables": map[string]any{"A": map[string]any{"value": "1"}}},
		"updateServiceEdgeRules.edgeRules":    []any{},
		"sharedVariableConfigure.name":        "SENTRY_DSN",
		"variableDelete.name":                 "STRIPE_KEY",
		"railwayDomainDnsRecordCreate.domain": "acme-shop.com", "railwayDomainDnsRecordUpdate.domain": "acme-shop.com",
		"railwayDomainDnsRecordDelete.domain": "acme-shop.com", "railwayDomainByName.domain": "acme-shop.com", "railwayDomainDnsRecords.domain": "acme-shop.com",
		"templateClone.code": "acme-pg", "template.code": "acme-pg",
		"signalDefaultSet.name": "checkout-v2", "signalDelete.name": "checkout-v2", "signalReplace.name": "checkout-v2", "signalRollback.name": "checkout-v2",
		"signalRuleSet.name": "checkout-v2", "signalRuleUnset.name": "checkout-v2", "signalChanges.name": "checkout-v2", "signal.name": "checkout-v2",
		"privateNetworkCreateOrGet.name": "other", "projectTransfer.workspaceId": g.world.Elsewhere, "projectClaim.workspaceId": g.world.Elsewhere,
		"dockerComposeImport.yaml":  "services:\n  cache:\n    image: redis\n    volumes:\n      - cache-data:/data\n",
		"recoveryCodeValidate.code": g.secret("recovery"),
	}[g.field+"."+name]; known {
		return v, true
	}
	if name == "id" && slices.Contains([]string{"deploymentApprove", "deploymentCancel"}, g.field) {
		return g.waiting(), true
	}
	if code, known := map[string]string{
		"inviteCodeUse": "invite-code", "inviteCode": "invite-code", "projectInvitation": "invite-code", "projectInvitationAccept": "invitation",
		"workspaceInviteCodeUse": "workspace-invite", "workspaceByCode": "workspace-invite", "loginSessionAuth": "login-code",
		"loginSessionCancel": "login-code", "loginSessionConsume": "login-code", "loginSessionVerify": "login-code",
	}[g.field]; known && name == "code" {
		return g.secret(code), true
	}
	if g.field == "emailChangeConfirm" {
		return g.secret("email-nonce"), true
	}
	if kind := g.server.ArgumentKind(g.field, name); kind != "" && (name == "id" || name == "ids") {
		return g.one(kind), true
	}
	v, known := by[name]
	return v, known
}

func (g generator) one(kind string) string {
	if ids := g.server.IDs(kind); len(ids) > 0 {
		return ids[0]
	}
	return ""
}

// waiting is a deployment that needs approval.
func (g generator) waiting() string {
	for id, r := range g.server.Snapshot().Records {
		if r.Kind == "Deployment" && r.Fields["status"] == `"NEEDS_APPROVAL"` {
			return id
		}
	}
	return ""
}

func (g generator) secret(what string) string {
	for _, s := range g.server.Secrets() {
		if strings.HasPrefix(s, "faithful-"+what) {
			return s
		}
	}
	return ""
}

// mayFail lists what cannot succeed in a furnished world, with the words of its error.
func mayFail() map[string]string {
	return map[string]string{
		"adminVolumeInstancesForVolume": "Not Authorized",                 // the provider's staff only
		"auditLog":                      "AuditLog not found",             // nothing is audited here
		"environmentChangeSetApply":     "ChangeSetApplyResult not found", // none was applied
		"projectToken":                  "Project Token not found",        // asked with an account token
	}
}

// mayIdle lists the mutations that change nothing, by their own words.
func mayIdle() []string {
	return []string{
		"egressGatewayHAMigrationPreview", "environmentPreviewChangeSet", "loginSessionVerify", "twoFactorInfoValidate",
		"loginSessionConsume", // nobody has approved the code: its own test goes the whole way
	}
}

func furnished(t *testing.T) (*railway.Server, railway.World) {
	t.Helper()
	s := railway.New(railway.Config{Now: newClock().Now, Random: rand.NewChaCha8([32]byte{2}), Schema: schema(t)})
	w := s.Seed()
	s.Furnish(w)
	return s, w
}

// Every operation of the list is served: with arguments that fit it succeeds, what it answers is of the
// schema's types, a mutation does something and a query does nothing.
func TestEveryOperationIsServed(t *testing.T) {
	server, world := furnished(t)
	s := schema(t)
	count := map[string]int{}
	for kind, root := range map[string]*ast.Definition{"mutation": s.Mutation, "query": s.Query} {
		for _, f := range root.Fields {
			if strings.HasPrefix(f.Name, "__") {
				continue
			}
			count[kind]++
			var effects []railway.Effect
			for _, yes := range []bool{true, false} {
				g := generator{schema: s, server: server.Clone(), world: world, field: f.Name, yes: yes}
				effects = append(effects, g.run(t, kind, f)...)
			}
			effects = slices.DeleteFunc(effects, func(e railway.Effect) bool { return e.Kind == "revealed" })
			if kind == "mutation" && len(effects) == 0 && !slices.Contains(mayIdle(), f.Name) {
				t.Errorf("mutation %s does nothing", f.Name)
			}
			if kind == "query" && len(effects) > 0 && f.Name != "projectInviteCode" {
				t.Errorf("query %s: %+v", f.Name, effects)
			}
		}
	}
	if count["mutation"] != 230 || count["query"] != 152 {
		t.Errorf("served %v", count)
	}
}

// run makes one call of a field and tells what it did.
func (g generator) run(t *testing.T, kind string, f *ast.FieldDefinition) []railway.Effect {
	t.Helper()
	document, variables := g.document(kind, f)
	if first, wanted := map[string]string{
		"projectScheduleDeleteCancel": `mutation { projectScheduleDelete(id: "` + g.world.Shop + `") }`,
		"projectScheduleDeleteForce":  `mutation { projectScheduleDelete(id: "` + g.world.Shop + `") }`,
		"userFlagsSet":                `mutation { userFlagsRemove(input: {flags: [BETA]}) }`,
	}[f.Name]; wanted {
		post(t, g.server, g.world.AccountToken, first, nil)
	}
	before := g.server.Snapshot()
	a := post(t, g.server, g.world.AccountToken, document, variables)
	if a.Status != 200 {
		t.Errorf("%s: status %d: %s\n%s", f.Name, a.Status, a.Raw, document)
	}
	for _, e := range a.Errors {
		if expected, may := mayFail()[f.Name]; !may || !strings.Contains(e.Message, expected) {
			t.Errorf("%s: %s at %v\n%v", f.Name, e.Message, e.Path, variables)
		}
	}
	return railway.Compare(before, g.server.Snapshot())
}
