package railway

import (
	"fmt"
	"slices"
	"time"
)

// grace is how long a project lives on after projectScheduleDelete.
const grace = 48 * time.Hour

func projectCreate(c *call, a args) (any, error) {
	in := a.input()
	workspace := firstText(in.text("workspaceId"), c.caller.workspace)
	for _, m := range c.st.where("WorkspaceMember", "userId", c.caller.user) {
		workspace = firstText(workspace, m.text("workspaceId"))
	}
	w, err := c.own("Workspace", workspace)
	if err != nil {
		return nil, err
	}
	p := c.addProject(w.id, firstText(in.text("name"), "project-"+c.s.uuid()[:8]))
	c.set(p, Fields{"description": in["description"], "isPublic": in.is("isPublic"), "prDeploys": in.is("prDeploys")})
	e := c.add("Environment", Fields{"projectId": p.id, "name": firstText(in.text("defaultEnvironmentName"), "production"), "isEphemeral": false, "canAccess": true})
	if repo := in.object("repo"); repo != nil {
		s := c.add("Service", Fields{"projectId": p.id, "name": repo.text("fullRepoName"), "featureFlags": []any{}})
		i := c.addInstance(s, e, Fields{"source": map[string]any{"repo": repo.text("fullRepoName")}})
		c.addTrigger(i, repo.text("fullRepoName"), repo.text("branch"))
		c.deploy(i, nil)
	}
	return p, nil
}

func (c *call) addProject(workspace, name string) *record {
	return c.add("Project", Fields{
		"workspaceId": workspace, "name": name, "isPublic": false, "isTempProject": false, "featureFlags": []any{},
		"deletedAt": nil, "subscriptionType": "pro",
	})
}

func projectUpdate(c *call, a args) (any, error) {
	p, err := c.own("Project", a.text("id"))
	if err != nil {
		return nil, err
	}
	fields := Fields{}
	for name, value := range a.input() {
		if value != nil || !c.required("Project", name) {
			fields[name] = value
		}
	}
	if e, _ := fields["baseEnvironmentId"].(string); e != "" {
		if _, err := c.own("Environment", e); err != nil {
			return nil, err
		}
	}
	c.set(p, fields)
	return p, nil
}

// projectScheduleDelete begins the days of grace; the clock does the rest.
func projectScheduleDelete(c *call, a args) (any, error) {
	p, err := c.own("Project", a.text("id"))
	if err != nil {
		return nil, err
	}
	if !c.mayDestroy(p) {
		return nil, errUnauthorized
	}
	c.set(p, Fields{"deletedAt": c.now, "deleteAt": c.now.Add(grace)})
	return true, nil
}

func projectScheduleDeleteForce(c *call, a args) (any, error) {
	p, err := c.own("Project", a.text("id"))
	if err != nil {
		return nil, err
	}
	if p.fields["deletedAt"] == nil {
		return nil, fmt.Errorf("Project is not scheduled for deletion")
	}
	return true, c.destroy(p)
}

// projectMove gives a project to another workspace, with all that is in it.
func projectMove(projectArg, workspaceArg string) action {
	return func(c *call, a args) (any, error) {
		p, err := c.own("Project", a.text(projectArg))
		if err != nil {
			return nil, err
		}
		w, err := c.own("Workspace", a.input().text(workspaceArg))
		if err != nil {
			return nil, err
		}
		c.set(p, Fields{"workspaceId": w.id})
		return true, nil
	}
}

func projectClaim(c *call, a args) (any, error) {
	p, err := c.own("Project", a.text("id"))
	if err != nil {
		return nil, err
	}
	w, err := c.own("Workspace", a.text("workspaceId"))
	if err != nil {
		return nil, err
	}
	c.set(p, Fields{"workspaceId": w.id, "isTempProject": false})
	return p, nil
}

func projectTransferInitiate(c *call, a args) (any, error) {
	in := a.input()
	p, err := c.own("Project", in.text("projectId"))
	if err != nil {
		return nil, err
	}
	if c.st.get("User", in.text("memberId")) == nil {
		return nil, fmt.Errorf("User not found")
	}
	c.add("OwnershipTransfer", Fields{"projectId": p.id, "memberId": in["memberId"]})
	return true, nil
}

func projectTransferConfirm(c *call, a args) (any, error) {
	in := a.input()
	t, err := c.own("OwnershipTransfer", in.text("ownershipTransferId"))
	if err != nil {
		return nil, err
	}
	if t.is("used") {
		return nil, fmt.Errorf("OwnershipTransfer not found")
	}
	p := c.st.get("Project", t.text("projectId"))
	if w := in.text("destinationWorkspaceId"); w != "" {
		if _, err := c.own("Workspace", w); err != nil {
			return nil, err
		}
		c.set(p, Fields{"workspaceId": w})
	}
	c.addMember(p.id, t.text("memberId"), "ADMIN")
	c.set(t, used())
	return true, nil
}

// addMember makes a user a member of a project, or changes the role it has.
func (c *call) addMember(project, user, role string) *record {
	for _, m := range c.st.where("ProjectMember", "projectId", project) {
		if m.text("userId") == user {
			c.set(m, Fields{"role": role})
			return m
		}
	}
	return c.add("ProjectMember", Fields{"projectId": project, "userId": user, "role": role})
}

func projectMemberAdd(c *call, a args) (any, error) {
	in := a.input()
	p, err := c.own("Project", in.text("projectId"))
	if err != nil {
		return nil, err
	}
	isMember := slices.ContainsFunc(c.st.where("WorkspaceMember", "userId", in.text("userId")), func(m *record) bool {
		return m.text("workspaceId") == p.text("workspaceId")
	})
	if !isMember {
		return nil, fmt.Errorf("User is not a member of the workspace")
	}
	return c.addMember(p.id, in.text("userId"), in.text("role")), nil
}

func (c *call) projectMember(project, user string) (*record, error) {
	if _, err := c.own("Project", project); err != nil {
		return nil, err
	}
	for _, m := range c.st.where("ProjectMember", "projectId", project) {
		if m.text("userId") == user {
			return m, nil
		}
	}
	return nil, fmt.Errorf("ProjectMember not found")
}

func projectMemberRemove(c *call, a args) (any, error) {
	m, err := c.projectMember(a.input().text("projectId"), a.input().text("userId"))
	if err != nil {
		return nil, err
	}
	c.st.destroy(m)
	return c.st.where("ProjectMember", "projectId", m.text("projectId")), nil
}

func projectMemberUpdate(c *call, a args) (any, error) {
	m, err := c.projectMember(a.input().text("projectId"), a.input().text("userId"))
	if err != nil {
		return nil, err
	}
	c.set(m, Fields{"role": a.input().text("role")})
	return m, nil
}

func projectLeave(c *call, a args) (any, error) {
	m, err := c.projectMember(a.text("id"), c.caller.user)
	if err != nil {
		return nil, err
	}
	c.st.destroy(m)
	return true, nil
}

func projectInvitationCreate(c *call, a args) (any, error) {
	p, err := c.own("Project", a.text("id"))
	if err != nil {
		return nil, err
	}
	in := a.input()
	return c.invite(p.id, in.text("email"), in.text("role")), nil
}

func (c *call) invite(project, email, role string) *record {
	return c.add("ProjectInvitation", Fields{
		"projectId": project, "email": email, "role": role, "code": c.s.secret("invitation"), "isExpired": false,
		"expiresAt": c.now.Add(7 * 24 * time.Hour),
	})
}

func projectInviteUser(c *call, a args) (any, error) {
	p, err := c.own("Project", a.text("id"))
	if err != nil {
		return nil, err
	}
	return c.invite(p.id, a.input().text("email"), "MEMBER"), nil
}

func projectInvitationResend(c *call, a args) (any, error) {
	i, err := c.own("ProjectInvitation", a.text("id"))
	if err != nil {
		return nil, err
	}
	c.set(i, Fields{"expiresAt": c.now.Add(7 * 24 * time.Hour), "sent": number(i.fields["sent"]) + 1})
	return i, nil
}

// projectInvitationAccept lets the caller's user into a project with the role of an invitation.
func projectInvitationAccept(c *call, a args) (any, error) {
	for _, i := range c.st.where("ProjectInvitation", "code", a.text("code")) {
		if !i.is("used") {
			c.set(i, used())
			return c.addMember(i.text("projectId"), c.caller.user, i.text("role")), nil
		}
	}
	return nil, fmt.Errorf("ProjectInvitation not found")
}

func projectInvitation(c *call, a args) (any, error) {
	for _, kind := range []string{"ProjectInvitation", "InviteCode"} {
		if i := first(c.st.where(kind, "code", a.text("code"))); i != nil {
			return i, nil
		}
	}
	return nil, fmt.Errorf("ProjectInvitation not found")
}

// projectInviteCode is a query, and hands out a code that lets anyone into the project.
func projectInviteCode(c *call, a args) (any, error) {
	p, err := c.own("Project", a.text("projectId"))
	if err != nil {
		return nil, err
	}
	for _, i := range c.st.where("InviteCode", "projectId", p.id) {
		if i.text("role") == a.text("role") {
			return i, nil
		}
	}
	return c.add("InviteCode", Fields{"projectId": p.id, "role": a.text("role"), "code": c.s.secret("invite-code")}), nil
}

func inviteCode(c *call, a args) (any, error) {
	if i := first(c.st.where("InviteCode", "code", a.text("code"))); i != nil {
		return i, nil
	}
	return nil, fmt.Errorf("InviteCode not found")
}

func inviteCodeUse(c *call, a args) (any, error) {
	i, err := inviteCode(c, a)
	if err != nil {
		return nil, err
	}
	code := i.(*record)
	c.addMember(code.text("projectId"), c.caller.user, code.text("role"))
	return c.st.get("Project", code.text("projectId")), nil
}

// projectTokenCreate answers with the secret alone, as the provider does.
func projectTokenCreate(c *call, a args) (any, error) {
	in := a.input()
	p, err := c.own("Project", in.text("projectId"))
	if err != nil {
		return nil, err
	}
	e, err := c.own("Environment", in.text("environmentId"))
	if err != nil {
		return nil, err
	}
	if e.text("projectId") != p.id {
		return nil, fmt.Errorf("Environment not found in project")
	}
	t := c.add("ProjectToken", Fields{"projectId": p.id, "environmentId": e.id, "name": in["name"], "token": c.s.secret("project-token")})
	return t.fields["token"], nil
}

// flagAdd and flagRemove switch a feature flag of a record; without an argument, of the caller's own user.
func flagAdd(kind, by string) action { return flags(kind, by, true) }

func flagRemove(kind, by string) action { return flags(kind, by, false) }

func flags(kind, by string, on bool) action {
	return func(c *call, a args) (any, error) {
		r, err := c.own(kind, firstText(a.input().text(by), c.caller.user))
		if err != nil {
			return nil, err
		}
		var all []any
		for _, f := range r.list("featureFlags") {
			if f != a.input().text("flag") {
				all = append(all, f)
			}
		}
		if on {
			all = append(all, a.input().text("flag"))
		}
		c.set(r, Fields{"featureFlags": all})
		return true, nil
	}
}
