package railway

import "maps"

// computedFields are the fields that are not simply kept, by type and name.
func computedFields() map[string]computed {
	all := environmentFields()
	for _, more := range []map[string]computed{peopleFields(), serviceFields(), workspaceFields()} {
		maps.Copy(all, more)
	}
	return all
}

// kept serves a field under another name.
func kept(field string) computed {
	return func(_ *call, r *record, _ args) (any, error) {
		if v, has := r.fields[field]; has {
			return v, nil
		}
		return unset{}, nil
	}
}

func ownID(_ *call, r *record, _ args) (any, error) { return r.id, nil }

// ofMember serves a field of the user that a membership is about.
func ofMember(field string) computed {
	return func(c *call, r *record, _ args) (any, error) {
		if u := c.st.get("User", r.text("userId")); u != nil && u.fields[field] != nil {
			return u.fields[field], nil
		}
		return unset{}, nil
	}
}

// masked shows the end of a token.
func masked(_ *call, r *record, _ args) (any, error) {
	token := r.text("token")
	return "****" + token[max(0, len(token)-4):], nil
}

func peopleFields() map[string]computed {
	all := map[string]computed{
		"ApiToken.displayToken":     masked,
		"ProjectToken.displayToken": masked,
		"User.workspaces":           func(c *call, _ *record, _ args) (any, error) { return c.visible(c.st.all("Workspace")), nil },
		"User.projects":             func(c *call, _ *record, _ args) (any, error) { return c.visible(c.st.all("Project")), nil },
		"User.providerAuths":        func(c *call, r *record, _ args) (any, error) { return c.st.where("ProviderAuth", "userId", r.id), nil },
		"Project.projectPermissions": func(c *call, r *record, _ args) (any, error) {
			return c.st.where("ProjectMember", "projectId", r.id), nil
		},
		"CloudAgent.sessions": kept("agents"),
	}
	for _, kind := range []string{"ProjectMember", "WorkspaceMember", "TeamMember"} {
		all[kind+".id"] = kept("userId")
		all[kind+".email"] = ofMember("email")
		all[kind+".name"] = ofMember("name")
	}
	return all
}

func serviceFields() map[string]computed {
	return map[string]computed{
		"ServiceInstance.latestDeployment": func(c *call, r *record, _ args) (any, error) {
			all := c.st.both("Deployment", r.text("serviceId"), r.text("environmentId"))
			if len(all) == 0 {
				return nil, nil
			}
			return all[len(all)-1], nil
		},
		"ServiceInstance.activeDeployments": func(c *call, r *record, _ args) (any, error) { return c.running(r), nil },
		"ServiceInstance.domains": func(c *call, r *record, _ args) (any, error) {
			return c.domainsOf(r.text("serviceId"), r.text("environmentId")), nil
		},
		"ServiceInstance.edgeConfig": func(c *call, r *record, _ args) (any, error) {
			if e := c.edgeOf(r); e != nil {
				return e, nil
			}
			return nil, nil
		},
		"ServiceInstance.serviceName": func(c *call, r *record, _ args) (any, error) {
			return c.st.get("Service", r.text("serviceId")).text("name"), nil
		},
		"PrivateNetwork.publicId":         ownID,
		"PrivateNetworkEndpoint.publicId": ownID,
		"RailwayDomainDnsRecord.id":       kept("recordId"),
		"SandboxCheckpoint.key":           kept("name"),
	}
}

// theOne serves the one record of a kind that belongs to a workspace.
func theOne(kind string) computed {
	return func(c *call, r *record, _ args) (any, error) {
		if found := first(c.st.where(kind, "workspaceId", firstText(r.text("workspaceId"), r.id))); found != nil {
			return found, nil
		}
		return unset{}, nil
	}
}

func workspaceFields() map[string]computed {
	return map[string]computed{
		"Workspace.customer":  theOne("Customer"),
		"Team.customer":       theOne("Customer"),
		"Customer.usageLimit": theOne("UsageLimit"),
		"Workspace.projectCount": func(c *call, r *record, _ args) (any, error) {
			return len(c.visible(c.st.where("Project", "workspaceId", r.id))), nil
		},
		"WorkspacePolicy.deploySourceAllowlist": func(c *call, r *record, _ args) (any, error) {
			return c.st.where("WorkspacePolicyDeploySourceAllowlist", "workspaceId", r.text("workspaceId")), nil
		},
	}
}
