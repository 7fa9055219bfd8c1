package railway

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// caller is who makes a request, by the token of one of three kinds; the zero value is nobody.
//
//	account    everything its user has, in all workspaces
//	workspace  every project of one workspace, and nothing of a user's own
//	project    one environment of one project
type caller struct {
	kind        string // "", account, workspace or project
	user        string
	workspace   string
	project     string
	environment string
	token       string // of a project token, to find itself
}

// errUnauthorized is what the provider says to a token that may not.
var errUnauthorized = fmt.Errorf("Not Authorized")

// authenticate finds the caller by the header that its kind of token is sent in. A project token in
// Authorization, or another token in Project-Access-Token, is not known there.
func (st *state) authenticate(h http.Header) caller {
	if token := h.Get("Project-Access-Token"); token != "" {
		if t := first(st.where("ProjectToken", "token", token)); t != nil {
			return caller{kind: "project", project: t.text("projectId"), environment: t.text("environmentId"), token: token}
		}
		return caller{}
	}
	token, bearer := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
	if !bearer {
		return caller{}
	}
	if t := first(st.where("ApiToken", "token", token)); t != nil {
		if w := t.text("workspaceId"); w != "" {
			return caller{kind: "workspace", workspace: w, user: t.text("userId")}
		}
		return caller{kind: "account", user: t.text("userId")}
	}
	if t := first(st.where("Session", "token", token)); t != nil {
		return caller{kind: "account", user: t.text("userId")}
	}
	return caller{}
}

// mayRead says whether a caller's token reaches a record at all.
func (c *call) mayRead(r *record) bool {
	p := c.st.place(r)
	switch c.caller.kind {
	case "account":
		return p.user == c.caller.user || r.kind == "User" && c.knows(r.id) || p.project != "" && c.memberOf(p.project) ||
			p.workspace != "" && c.role(p.workspace) != "" || p.workspace == "" && p.user == ""
	case "workspace":
		return p.workspace == c.caller.workspace || p.workspace == "" && p.user == "" && p.project == ""
	case "project":
		if len(c.st.owners[r.kind]) == 0 || p.project != c.caller.project {
			return false
		}
		return r.kind == "Project" || slices.Contains(p.environments, c.caller.environment)
	default:
		return false
	}
}

// mayChange says whether a caller may change a record: a project token only what is wholly in its environment.
func (c *call) mayChange(r *record) bool {
	if !c.mayRead(r) {
		return false
	}
	p := c.st.place(r)
	switch c.caller.kind {
	case "project":
		return r.kind != "Project" && slices.Equal(p.environments, []string{c.caller.environment})
	case "account":
		return p.workspace == "" || c.role(p.workspace) != "VIEWER"
	default:
		return true
	}
}

// mayDestroy holds back what a member of a workspace may make and change, but not delete.
func (c *call) mayDestroy(r *record) bool {
	if !c.mayChange(r) {
		return false
	}
	if c.caller.kind != "account" || c.role(c.st.place(r).workspace) != "MEMBER" {
		return true
	}
	return !slices.Contains([]string{"Service", "ServiceInstance", "Volume", "VolumeInstance", "Project", "Environment"}, r.kind)
}

// role is the role of the caller's user in a workspace, empty if it has none.
func (c *call) role(workspace string) string {
	for _, m := range c.st.where("WorkspaceMember", "userId", c.caller.user) {
		if m.text("workspaceId") == workspace {
			return m.text("role")
		}
	}
	return ""
}

// knows says whether the caller's user shares a workspace with another.
func (c *call) knows(user string) bool {
	return slices.ContainsFunc(c.st.where("WorkspaceMember", "userId", user), func(m *record) bool {
		return c.role(m.text("workspaceId")) != ""
	})
}

func (c *call) memberOf(project string) bool {
	return slices.ContainsFunc(c.st.where("ProjectMember", "userId", c.caller.user), func(m *record) bool {
		return m.text("projectId") == project
	})
}
