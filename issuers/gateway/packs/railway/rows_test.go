package railway

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/hourkey/hourkey/issuers/gateway/judge"
	"github.com/hourkey/hourkey/issuers/gateway/lists"
)

func newPack(t testing.TB) *Pack {
	t.Helper()
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestEveryOperationAndTypeHasItsRow: New refuses a pack that lacks one, or has one too many.
func TestEveryOperationAndTypeHasItsRow(t *testing.T) {
	rows := newPack(t).Rows()
	count := map[string]int{}
	for operation, row := range rows.Rows {
		kind, _, _ := strings.Cut(operation, " ")
		count[kind]++
		if kind == "subscription" && row.Class != judge.Refused {
			t.Errorf("%s is %s: no websocket is open", operation, row.Class)
		}
	}
	if count["mutation"] != 230 || count["query"] != 152 || count["subscription"] != 13 || len(rows.Types) != 333 {
		t.Errorf("rows: %v, types: %d", count, len(rows.Types))
	}
}

// TestEveryKindThatARowNamesCanBeLookedUp, and nothing is looked up that no row names.
func TestEveryKindThatARowNamesCanBeLookedUp(t *testing.T) {
	named := map[string]bool{}
	for _, row := range newPack(t).Rows().Rows {
		for _, touch := range row.Touches {
			named[touch.Kind] = true
		}
	}
	delete(named, "") // touch none
	if got, want := slices.Sorted(maps.Keys(resolvers())), slices.Sorted(maps.Keys(named)); !slices.Equal(got, want) {
		t.Errorf("looked up: %v\nnamed in rows: %v", got, want)
	}
	for kind := range named {
		if spoken(kind) == "" || strings.HasPrefix(spoken(kind), "new-") || strings.HasPrefix(spoken(kind), "base-") {
			t.Errorf("scopes have no word for %s", kind)
		}
	}
}

// unnamed are the ids in arguments that no row looks at, and why they need not be.
func unnamed() map[string]string {
	return map[string]string{
		"input.integrationAuthId":                      "stands for what the account allowed; the row is admin",
		"input.items.dashboardItem.config.resourceIds": "what a dashboard shows is looked at where it is shown",
		"input.items.dashboardItem.id":                 "made up by the caller",
		"input.items.id":                               "made up by the caller",
		"input.dashboardItem.config.resourceIds":       "what a dashboard shows is looked at where it is shown",
		"input.id":                                     "an item of the dashboard that is named, made up by the caller",
		"input.dashboardItem.id":                       "made up by the caller",
		"input.userId":                                 "a person; the row is admin",
		"input.memberId":                               "a person; the row is admin",
		"input.ownershipTransferId":                    "goes with the project that is named; the row is admin",
		"input.recordId":                               "goes with the workspace that is named",
		"input.ruleId":                                 "goes with the switch that is named",
		"sourceId":                                     "elsewhere; the row is admin",
		"providerId":                                   "elsewhere; the account is touched",
		"workflowId":                                   "cannot be looked up, and is known to whom it was told",
	}
}

// byName are whole operations whose ids need no look-up.
func byName() []string {
	return []string{
		"mutation cliEventTrack", "mutation setupAgentEventTrack", // told to Railway alone; the account is touched
		"mutation templateDelete", "mutation templatePublish", "mutation templateVolumeUpdate", // ids within a template
		"query template", "query templateMetrics", "query changelogBlockImage", // public
		"query auditLog", "query notificationDeliveries", "query externalWorkspaces", // the account or its workspace is touched
		"query cloudAgent", "query sandboxTemplateBuild", // found only inside the environment that is named
		"query workspace", "query team", "query projects", // kept by the types of what is in the answer
		"mutation bucketCreate", // its environmentId is not built yet, by Railway's own word
	}
}

// TestEveryIdInTheArgumentsIsLookedAt: an id that no row names could be production's.
func TestEveryIdInTheArgumentsIsLookedAt(t *testing.T) {
	schema, err := lists.Railway()
	if err != nil {
		t.Fatal(err)
	}
	pack := newPack(t)
	for kind, root := range map[string]*ast.Definition{"mutation": schema.Mutation, "query": schema.Query} {
		for _, field := range root.Fields {
			row := pack.Rows().Rows[kind+" "+field.Name]
			if row == nil || row.Class == judge.Refused || slices.Contains(byName(), row.Operation) {
				continue
			}
			for _, id := range idsOf(schema, field.Arguments) {
				if _, known := unnamed()[id]; !known && !names(row, id) {
					t.Errorf("%s: no line of the row names %s", row.Operation, id)
				}
			}
		}
	}
}

var isID = regexp.MustCompile(`^(?:id|ids|\w*Ids?)$`)

// idsOf lists the paths of arguments that are ids by their names.
func idsOf(schema *ast.Schema, arguments ast.ArgumentDefinitionList) []string {
	var found []string
	var walk func(prefix string, name string, typ *ast.Type, depth int)
	walk = func(prefix, name string, typ *ast.Type, depth int) {
		definition := schema.Types[typ.Name()]
		if definition.Kind == ast.InputObject && depth < 8 {
			for _, f := range definition.Fields {
				walk(prefix+name+".", f.Name, f.Type, depth+1)
			}
			return
		}
		if isID.MatchString(name) {
			found = append(found, prefix+name)
		}
	}
	for _, a := range arguments {
		walk("", a.Name, a.Type, 0)
	}
	return found
}

func names(row *judge.Row, id string) bool {
	is := func(path judge.Path) bool { return path.String() == id }
	for _, touch := range row.Touches {
		if slices.ContainsFunc(touch.Paths, is) || is(touch.In) {
			return true
		}
	}
	for _, when := range row.When {
		if is(when.Path) {
			return true
		}
	}
	return row.Only != nil && slices.ContainsFunc(row.Only.Paths, is)
}

// TestSecretsAreMaskedWhereverTheyCanBeSelected: the fields of the API that hold values of variables or keys.
func TestSecretsAreMaskedWhereverTheyCanBeSelected(t *testing.T) {
	fields := newPack(t).Rows().Fields
	for _, name := range []string{
		"Query.variables", "Query.variablesForServiceDeployment", "Environment.config", "EnvironmentPatch.patch", "DeploymentSnapshot.variables",
		"Integration.config", "NotificationChannel.config", "BucketS3CompatibleCredentials.secretAccessKey", "ProjectToken.displayToken",
	} {
		if f := fields[name]; f == nil || !f.Secret {
			t.Errorf("%s is not masked", name)
		}
	}
	schema, err := lists.Railway()
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range schema.Types {
		for _, f := range typ.Fields {
			opaque := slices.Contains([]string{"EnvironmentVariables", "EnvironmentConfig", "NotificationChannelConfig"}, f.Type.Name())
			if opaque && typ.Kind == ast.Object && fields[typ.Name+"."+f.Name] == nil {
				t.Errorf("%s.%s is of the type %s and not masked", typ.Name, f.Name, f.Type)
			}
		}
	}
}
