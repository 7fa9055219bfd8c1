package railway

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
)

// query is a root query that is more than a look-up.
type query func(*call, args) (any, error)

// query runs one root query. Without code of its own it is the record that an argument names, or the records
// of the listed kind that have what the arguments say.
func (x *execution) query(f *ast.FieldDefinition, a args) (any, error) {
	if x.caller.kind == "" && !slices.Contains(openQueries(), f.Name) {
		return nil, errUnauthorized
	}
	if own := x.s.queries[f.Name]; own != nil {
		return own(x.call, a)
	}
	if err := x.within(a); err != nil {
		return nil, err
	}
	if kind := x.listed(f.Type); kind != "" {
		return x.matching(kind, a), nil
	}
	def := x.s.schema.Types[f.Type.Name()]
	if def.Kind != ast.Object || len(x.st.owners[def.Name]) == 0 && def.Name != "Workspace" {
		return unset{}, nil
	}
	for _, by := range []string{"id", lowerFirst(def.Name) + "Id"} {
		if id := a.text(by); id != "" {
			r, err := x.find(def.Name, id)
			if err != nil && !f.Type.NonNull {
				return nil, nil
			}
			return r, err
		}
	}
	return unset{}, nil
}

// openQueries need no token.
func openQueries() []string {
	return []string{
		"publicStats", "platformStatus", "templates", "template", "templateSearch", "templatesCount", "changelogBlockImage",
		"functionRuntime", "functionRuntimes", "regions", "inviteCode", "projectInvitation", "workspaceByCode", "preferences",
		"sshSignupInfo", "userProfile", "auditLogEventTypeInfo",
	}
}

// ArgumentKind says which kind of record an argument of an operation, or the last name on the way to a field
// of its input, holds the id of: Volume for volumeId; for id it depends on the operation. It is empty where
// no record is meant. IDs lists what there is to choose from.
func (s *Server) ArgumentKind(operation, argument string) string {
	if kind := references()[argument]; kind != "" {
		return kind
	}
	if argument != "id" && argument != "ids" {
		return ""
	}
	if row, known := s.effects[operation]; known {
		return row.kind
	}
	if kind := map[string]string{
		"projectInvitations": "Project", "projectsByIds": "Project", "team": "Workspace", "domainStatus": "CustomDomain",
		"deploymentEvents": "Deployment", "templateMetrics": "Template", "sandboxSessions": "Sandbox", "sandboxTemplateBuild": "SandboxCheckpoint",
	}[operation]; kind != "" {
		return kind
	}
	if f := s.schema.Query.Fields.ForName(operation); f != nil && s.st.owners[f.Type.Name()] != nil {
		return f.Type.Name()
	}
	return ""
}

// within checks that what the arguments refer to is there and in reach.
func (c *call) within(a args) error {
	for name, kind := range references() {
		if id, _ := a.flat()[name].(string); id != "" {
			if _, err := c.find(kind, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// matching lists what the caller may read of a kind, as far as it has what the arguments say.
func (c *call) matching(kind string, a args) []*record {
	filters := Fields{}
	for name, value := range a.flat() {
		_, text := value.(string)
		refers := references()[name] != ""
		if text && (refers || name == "status" || name == "owner" || name == "name" || name == "domain") {
			filters[name] = value
		}
	}
	all := c.visible(c.st.all(kind))
	return slices.DeleteFunc(all, func(r *record) bool {
		for name, value := range filters {
			if _, has := r.fields[name]; has && r.text(name) != value {
				return true
			}
		}
		return false
	})
}

// queries are those with code of their own; the others follow from their arguments and their type.
func queries() map[string]query {
	return map[string]query{
		"adminVolumeInstancesForVolume":   func(*call, args) (any, error) { return nil, errUnauthorized }, // the provider's staff only
		"apiToken":                        apiTokenContext,
		"apiTokens":                       ofUser("ApiToken"),
		"bucketInstanceDetails":           func(c *call, a args) (any, error) { return c.bucketInstance(a) },
		"bucketS3Credentials":             bucketCredentials,
		"cloudAgents":                     cloudAgents,
		"customDomainAvailable":           available("CustomDomain"),
		"deploymentSnapshot":              deploymentSnapshot,
		"deployments":                     deployments,
		"deploymentLogs":                  deploymentLogs,
		"domainStatus":                    func(c *call, a args) (any, error) { return c.find("CustomDomain", a.text("id")) },
		"domains":                         domains,
		"egressGatewayHAPreview":          egressQuery,
		"egressGatewayLegacyPreview":      egressQuery,
		"environmentStagedChanges":        environmentStagedChanges,
		"environments":                    environments,
		"inviteCode":                      inviteCode,
		"me":                              me,
		"myCloudAgents":                   func(c *call, _ args) (any, error) { return c.visible(c.st.all("CloudAgent")), nil },
		"passkeys":                        ofUser("Passkey"),
		"platformStatus":                  func(*call, args) (any, error) { return map[string]any{"isStable": true}, nil },
		"preferences":                     preferences,
		"privateNetworkEndpoint":          privateNetworkEndpoint,
		"projectInvitation":               projectInvitation,
		"projectInviteCode":               projectInviteCode,
		"projectInvitations":              func(c *call, a args) (any, error) { return c.inProject("ProjectInvitation", a.text("id")) },
		"projectToken":                    projectToken,
		"projects":                        projects,
		"projectsByIds":                   projectsByIDs,
		"publicStats":                     publicStats,
		"railwayDomainByName":             railwayDomainByName,
		"railwayDomainDnsRecords":         railwayDomainDNSRecords,
		"referralInfo":                    referralInfo,
		"sandboxTemplateBuild":            func(c *call, a args) (any, error) { return sandboxBuild(c, a, a.text("id")) },
		"serviceDomainAvailable":          available("ServiceDomain"),
		"serviceInstance":                 serviceInstance,
		"serviceInstanceAutoDeployStatus": autoDeployStatus,
		"serviceInstanceLimitOverride":    serviceLimits,
		"serviceInstanceLimits":           serviceLimits,
		"sessions":                        ofUser("Session"),
		"signal":                          signalQuery,
		"signalChanges":                   signalChanges,
		"sshPublicKeys":                   sshPublicKeys,
		"team":                            func(c *call, a args) (any, error) { return c.find("Workspace", a.text("id")) },
		"template":                        template,
		"templates":                       func(c *call, _ args) (any, error) { return c.st.where("Template", "status", "PUBLISHED"), nil },
		"templatesCount":                  func(c *call, _ args) (any, error) { return len(c.st.where("Template", "status", "PUBLISHED")), nil },
		"twoFactorInfo":                   twoFactorInfo,
		"usage":                           func(*call, args) (any, error) { return []any{}, nil },
		"variables":                       variables,
		"variablesForServiceDeployment":   variables,
		"volumeInstanceBackupList":        func(c *call, a args) (any, error) { return c.ofInstance("VolumeInstanceBackup", a) },
		"volumeInstanceBackupScheduleList": func(c *call, a args) (any, error) {
			return c.ofInstance("VolumeInstanceBackupSchedule", a)
		},
		"workflowStatus":  workflowStatus,
		"workspaceByCode": workspaceByCode,
		"workspacePolicy": func(c *call, a args) (any, error) { return c.policy(a.text("workspaceId")) },
	}
}

// ofUser lists what the caller's own user has.
func ofUser(kind string) query {
	return func(c *call, _ args) (any, error) {
		if c.caller.kind != "account" {
			return nil, errUnauthorized
		}
		return c.st.where(kind, "userId", c.caller.user), nil
	}
}

// available says whether a domain is free.
func available(kind string) query {
	return func(c *call, a args) (any, error) {
		taken := len(c.st.where(kind, "domain", a.text("domain"))) > 0
		return map[string]any{"available": !taken, "message": fmt.Sprintf("%s is checked", a.text("domain"))}, nil
	}
}

// inProject lists what belongs to a project that the caller may read.
func (c *call) inProject(kind, project string) (any, error) {
	if _, err := c.find("Project", project); err != nil {
		return nil, err
	}
	return c.visible(c.st.where(kind, "projectId", project)), nil
}

func (c *call) ofInstance(kind string, a args) (any, error) {
	if _, err := c.find("VolumeInstance", a.text("volumeInstanceId")); err != nil {
		return nil, err
	}
	return c.st.where(kind, "volumeInstanceId", a.text("volumeInstanceId")), nil
}

func me(c *call, _ args) (any, error) {
	if c.caller.kind != "account" {
		return nil, errUnauthorized
	}
	return c.find("User", c.caller.user)
}

func apiTokenContext(c *call, _ args) (any, error) {
	if c.caller.kind == "project" {
		return nil, errUnauthorized
	}
	return map[string]any{"workspaces": c.visible(c.st.all("Workspace"))}, nil
}

func projectToken(c *call, _ args) (any, error) {
	if c.caller.kind != "project" {
		return nil, fmt.Errorf("Project Token not found")
	}
	for _, t := range c.st.where("ProjectToken", "environmentId", c.caller.environment) {
		if t.text("token") == c.caller.token {
			return t, nil
		}
	}
	return nil, errUnauthorized
}

// projects lists those of the caller's workspaces. A project token lists none: it knows its own.
func projects(c *call, a args) (any, error) {
	if c.caller.kind == "project" {
		return nil, errUnauthorized
	}
	if err := c.within(a); err != nil {
		return nil, err
	}
	all := c.visible(c.st.all("Project"))
	return slices.DeleteFunc(all, func(p *record) bool {
		return a.text("workspaceId") != "" && p.text("workspaceId") != a.text("workspaceId") || p.fields["deletedAt"] != nil && !a.is("includeDeleted")
	}), nil
}

// projectsByIDs skips, without an error, what the caller may not read.
func projectsByIDs(c *call, a args) (any, error) {
	return slices.DeleteFunc(c.visible(c.st.all("Project")), func(p *record) bool { return !slices.Contains(a.texts("ids"), p.id) }), nil
}

func environments(c *call, a args) (any, error) {
	if _, err := c.find("Project", a.text("projectId")); err != nil {
		return nil, err
	}
	all := c.visible(c.st.where("Environment", "projectId", a.text("projectId")))
	return slices.DeleteFunc(all, func(e *record) bool {
		return a.has("isEphemeral") && a["isEphemeral"] != nil && e.is("isEphemeral") != a.is("isEphemeral")
	}), nil
}

func publicStats(c *call, _ args) (any, error) {
	return map[string]any{"totalProjects": len(c.st.all("Project")), "totalServices": len(c.st.all("Service")), "totalUsers": len(c.st.all("User"))}, nil
}

func workflowStatus(c *call, a args) (any, error) {
	status := "NotFound"
	if c.s.workflows[a.text("workflowId")] {
		status = "Complete"
	}
	return map[string]any{"status": status}, nil
}

// workflow answers with a workflow that is already done.
func (c *call) workflow() any {
	id := c.s.uuid()
	c.s.workflows[id] = true
	return map[string]any{"workflowId": id}
}

func template(c *call, a args) (any, error) {
	for _, t := range c.st.all("Template") {
		if t.id == a.text("id") || a.text("code") != "" && t.text("code") == a.text("code") {
			return t, nil
		}
	}
	return nil, fmt.Errorf("Template not found")
}

func deploymentLogs(c *call, a args) (any, error) {
	d, err := c.find("Deployment", a.text("deploymentId"))
	if err != nil {
		return nil, err
	}
	line := map[string]any{"message": "listening", "severity": "info", "timestamp": d.when("createdAt"), "attributes": []any{}}
	if filter := a.text("filter"); filter != "" && !strings.Contains("listening", filter) {
		return []any{}, nil
	}
	return []any{line}, nil
}
