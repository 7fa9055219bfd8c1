package railway

import "fmt"

func workspaceInviteCodeCreate(c *call, a args) (any, error) {
	w, err := c.own("Workspace", a.text("workspaceId"))
	if err != nil {
		return nil, err
	}
	i := c.add("WorkspaceInvite", Fields{"workspaceId": w.id, "role": a.input().text("role"), "code": c.s.secret("workspace-invite")})
	return i.fields["code"], nil
}

func (c *call) workspaceInvite(code string) (*record, error) {
	if i := first(c.st.where("WorkspaceInvite", "code", code)); i != nil {
		return i, nil
	}
	return nil, fmt.Errorf("Invite code not found")
}

func workspaceInviteCodeUse(c *call, a args) (any, error) {
	i, err := c.workspaceInvite(a.text("code"))
	if err != nil {
		return nil, err
	}
	c.add("WorkspaceMember", Fields{"workspaceId": i.text("workspaceId"), "userId": c.caller.user, "role": i.text("role")})
	return c.st.get("Workspace", i.text("workspaceId")), nil
}

func workspaceByCode(c *call, a args) (any, error) {
	i, err := c.workspaceInvite(a.text("code"))
	if err != nil {
		return nil, err
	}
	return c.st.get("Workspace", i.text("workspaceId")), nil
}

func workspaceUserInvite(c *call, a args) (any, error) {
	w, err := c.own("Workspace", a.text("workspaceId"))
	if err != nil {
		return nil, err
	}
	in := a.input()
	return c.add("WorkspaceInvite", Fields{"workspaceId": w.id, "role": "MEMBER", "email": in["email"], "code": secret(in.text("code"))}), nil
}

func (c *call) workspaceMember(workspace, user string) (*record, error) {
	if _, err := c.own("Workspace", workspace); err != nil {
		return nil, err
	}
	for _, m := range c.st.where("WorkspaceMember", "workspaceId", workspace) {
		if m.text("userId") == user {
			return m, nil
		}
	}
	return nil, fmt.Errorf("WorkspaceMember not found")
}

func workspaceUserRemove(c *call, a args) (any, error) {
	m, err := c.workspaceMember(a.text("workspaceId"), a.input().text("userId"))
	if err != nil {
		return nil, err
	}
	return true, c.destroy(m)
}

func workspaceLeave(c *call, a args) (any, error) {
	m, err := c.workspaceMember(a.text("id"), c.caller.user)
	if err != nil {
		return nil, err
	}
	c.st.destroy(m)
	return true, nil
}

func workspacePermissionChange(c *call, a args) (any, error) {
	in := a.input()
	m, err := c.workspaceMember(in.text("workspaceId"), in.text("userId"))
	if err != nil {
		return nil, err
	}
	c.set(m, Fields{"role": in.text("role")})
	return true, nil
}

// policy finds, or makes, the policies of a workspace.
func (c *call) policy(workspace string) (*record, error) {
	w, err := c.find("Workspace", workspace)
	if err != nil {
		return nil, err
	}
	if p := first(c.st.where("WorkspacePolicy", "workspaceId", w.id)); p != nil {
		return p, nil
	}
	return c.add("WorkspacePolicy", Fields{"workspaceId": w.id}), nil
}

// workspacePolicyUpdate takes the policy from either place that the schema has for it.
func workspacePolicyUpdate(c *call, a args) (any, error) {
	if _, err := c.own("Workspace", a.text("workspaceId")); err != nil {
		return nil, err
	}
	p, err := c.policy(a.text("workspaceId"))
	if err != nil {
		return nil, err
	}
	name, on := a.text("policy"), a.is("enabled")
	if in := a.input(); in != nil {
		name, on = in.text("policy"), in.is("enabled")
	}
	field := map[string]string{
		"RESTRICT_DEPLOYS_TO_ALLOWED_SOURCES": "restrictDeploysToAllowedSources",
		"RESTRICT_PUBLIC_TCP_PROXIES":         "restrictPublicTcpProxies",
		"RESTRICT_RAILWAY_DOMAIN_GENERATION":  "restrictRailwayDomainGeneration",
	}[name]
	if field == "" {
		return nil, fmt.Errorf("policy is required")
	}
	c.set(p, Fields{field: on})
	return true, nil
}

func twoFactorEnforcement(c *call, a args) (any, error) {
	w, err := c.own("Workspace", a.text("workspaceId"))
	if err != nil {
		return nil, err
	}
	c.set(w, Fields{"has2FAEnforcement": a.is("enabled")})
	return true, nil
}

// limitOf finds, or makes, the usage limit of a workspace.
func (c *call) limitOf(workspace string) *record {
	if l := first(c.st.where("UsageLimit", "workspaceId", workspace)); l != nil {
		return l
	}
	fields := Fields{"workspaceId": workspace, "isOverLimit": false, "softLimit": 0}
	if k := first(c.st.where("Customer", "workspaceId", workspace)); k != nil {
		fields["customerId"] = k.id
	}
	return c.add("UsageLimit", fields)
}

func agentUsageLimitSet(c *call, a args) (any, error) {
	in := a.input()
	w, err := c.own("Workspace", in.text("workspaceId"))
	if err != nil {
		return nil, err
	}
	c.set(c.limitOf(w.id), Fields{"agentHardLimitCents": in["hardLimitCents"], "agentSoftLimitCents": in["softLimitCents"]})
	return true, nil
}

// usageLimitSet sets what a workspace may spend. A hard limit below what it has spent stops what it runs.
func usageLimitSet(c *call, a args) (any, error) {
	in := a.input()
	k, err := c.own("Customer", in.text("customerId"))
	if err != nil {
		return nil, err
	}
	over := in["hardLimitDollars"] != nil && float64(number(in["hardLimitDollars"])) < toFloat(k.fields["currentUsage"])
	c.set(c.limitOf(k.text("workspaceId")), Fields{
		"hardLimit": in["hardLimitDollars"], "softLimit": in["softLimitDollars"], "isOverLimit": over,
	})
	if !over {
		return true, nil
	}
	for _, i := range c.st.all("ServiceInstance") {
		if c.st.place(i).workspace == k.text("workspaceId") {
			c.stop(i)
		}
	}
	return true, nil
}

func toFloat(value any) float64 { f, _ := value.(float64); return f }

func usageLimitRemove(c *call, a args) (any, error) {
	k, err := c.own("Customer", a.input().text("customerId"))
	if err != nil {
		return nil, err
	}
	return true, c.destroy(c.st.where("UsageLimit", "workspaceId", k.text("workspaceId"))...)
}

func referralInfo(c *call, a args) (any, error) {
	w, err := c.find("Workspace", a.text("workspaceId"))
	if err != nil {
		return nil, err
	}
	if r := first(c.st.where("ReferralInfo", "workspaceId", w.id)); r != nil {
		return r, nil
	}
	return unset{}, nil
}

func referralInfoUpdate(c *call, a args) (any, error) {
	in := a.input()
	w, err := c.own("Workspace", in.text("workspaceId"))
	if err != nil {
		return nil, err
	}
	if r := first(c.st.where("ReferralInfo", "workspaceId", w.id)); r != nil {
		c.set(r, Fields{"code": in["code"]})
		return r, nil
	}
	return c.add("ReferralInfo", Fields{"workspaceId": w.id, "code": in["code"], "status": "REGISTERED"}), nil
}

// notificationRuleCreate keeps where to send as channels of their own: a webhook's address is a secret.
func notificationRuleCreate(c *call, a args) (any, error) {
	in := a.input()
	if err := c.check(Fields(in)); err != nil {
		return nil, err
	}
	rule := c.add("NotificationRule", Fields{
		"workspaceId": in["workspaceId"], "projectId": in["projectId"], "eventTypes": in["eventTypes"], "severities": in["severities"],
		"ephemeralEnvironments": in["ephemeralEnvironments"],
	})
	c.setChannels(rule, in)
	return rule, nil
}

func (c *call) setChannels(rule *record, in args) {
	configs, given := in["channelConfigs"].([]any)
	if !given {
		return
	}
	old := c.st.where("NotificationChannel", "notificationRuleId", rule.id)
	for n, config := range configs {
		fields := Fields{"config": withSecret(config, "webhookUrl", "url")}
		if n < len(old) {
			c.set(old[n], fields)
			continue
		}
		fields["notificationRuleId"], fields["workspaceId"] = rule.id, rule.text("workspaceId")
		c.add("NotificationChannel", fields)
	}
	for _, left := range old[min(len(configs), len(old)):] {
		c.st.destroy(left)
	}
}

// withSecret marks the values of some keys of a map as secrets.
func withSecret(value any, keys ...string) any {
	out := map[string]any{}
	for name, v := range asMap(value) {
		out[name] = v
		for _, key := range keys {
			if text, ok := v.(string); ok && name == key {
				out[name] = secret(text)
			}
		}
	}
	return out
}

func notificationRuleUpdate(c *call, a args) (any, error) {
	rule, err := c.own("NotificationRule", a.text("id"))
	if err != nil {
		return nil, err
	}
	in := a.input()
	for _, name := range []string{"eventTypes", "severities", "ephemeralEnvironments"} {
		if in[name] != nil {
			c.set(rule, Fields{name: in[name]})
		}
	}
	c.setChannels(rule, in)
	return rule, nil
}

func deliveriesMarkAsRead(c *call, a args) (any, error) {
	for _, id := range a.texts("deliveryIds") {
		d, err := c.own("NotificationDelivery", id)
		if err != nil {
			return nil, err
		}
		c.set(d, Fields{"readAt": c.now})
	}
	return true, nil
}
