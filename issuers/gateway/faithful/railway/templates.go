package railway

import (
	"fmt"
	"regexp"
)

func templateClone(c *call, a args) (any, error) {
	in := a.input()
	t, err := template(c, args{"code": in["code"]})
	if err != nil {
		return nil, err
	}
	fields := copyOf(t.(*record), "createdAt")
	fields["code"], fields["status"], fields["userId"] = c.s.uuid()[:6], "UNPUBLISHED", c.caller.user
	if w := in.text("workspaceId"); w != "" {
		if _, err := c.own("Workspace", w); err != nil {
			return nil, err
		}
		fields["workspaceId"] = w
	}
	return c.add("Template", fields), nil
}

// templateGenerate writes a project as a template, with the variables of its environment in it.
func templateGenerate(c *call, a args) (any, error) {
	in := a.input()
	p, err := c.own("Project", in.text("projectId"))
	if err != nil {
		return nil, err
	}
	config := map[string]any{}
	if e := in.text("environmentId"); e != "" {
		environment, err := c.find("Environment", e)
		if err != nil {
			return nil, err
		}
		config = c.configOf(environment, false)
	}
	return c.add("Template", Fields{
		"workspaceId": p.text("workspaceId"), "code": c.s.uuid()[:6], "name": p.text("name"), "status": "UNPUBLISHED", "serializedConfig": config,
	}), nil
}

func templateVolumeUpdate(c *call, a args) (any, error) {
	t, err := c.own("Template", a.text("templateId"))
	if err != nil {
		return nil, err
	}
	c.set(t, Fields{"volumeSizes": mergePatch(asMap(t.fields["volumeSizes"]), map[string]any{a.text("volumeId"): a["sizeMB"]})})
	return t, nil
}

// destination finds where something is to be deployed: a project and an environment that exist, or new ones.
func (c *call) destination(in args) (project, environment *record, err error) {
	if in.text("projectId") == "" {
		created, err := projectCreate(c, args{"input": map[string]any{"workspaceId": in["workspaceId"]}})
		if err != nil {
			return nil, nil, err
		}
		p := created.(*record)
		return p, c.st.where("Environment", "projectId", p.id)[0], nil
	}
	p, err := c.find("Project", in.text("projectId"))
	if err != nil {
		return nil, nil, err
	}
	if id := in.text("environmentId"); id != "" {
		e, err := c.own("Environment", id)
		return p, e, err
	}
	all := c.st.where("Environment", "projectId", p.id) // the oldest is the project's first
	if len(all) == 0 {
		return nil, nil, fmt.Errorf("Environment not found")
	}
	e, err := c.own("Environment", all[0].id)
	return p, e, err
}

// newService makes a service in one environment and deploys it.
func (c *call) newService(p, e *record, name string, source map[string]any, variables args) *record {
	s := c.add("Service", Fields{"projectId": p.id, "name": name, "featureFlags": []any{}})
	i := c.addInstance(s, e, Fields{"source": source})
	for key, value := range variables {
		c.setVariable(e.id, s.id, key, value)
	}
	c.deploy(i, nil)
	return s
}

func templateDeploy(c *call, a args) (any, error) {
	in := a.input()
	p, e, err := c.destination(in)
	if err != nil {
		return nil, err
	}
	services, _ := in["services"].([]any)
	for _, service := range services {
		config := args(asMap(service))
		s := c.newService(p, e, config.text("serviceName"), map[string]any{"template": config["template"]}, config.object("variables"))
		volumes, _ := config["volumes"].([]any)
		for _, v := range volumes {
			volume := c.add("Volume", Fields{"projectId": p.id, "name": config.text("serviceName") + "-volume"})
			c.addVolumeInstance(volume, e, s.id, firstText(args(asMap(v)).text("mountPath"), "/data"), "")
		}
		if config.is("hasDomain") {
			c.addDoor("ServiceDomain", c.st.both("ServiceInstance", s.id, e.id)[0], config.text("serviceName")+".up.railway.app", nil)
		}
	}
	return map[string]any{"projectId": p.id, "workflowId": c.s.uuid()}, nil
}

// templateDeployV2 deploys, or only stages, a configuration; an existing service can become its root.
func templateDeployV2(c *call, a args) (any, error) {
	in := a.input()
	p, e, err := c.destination(in)
	if err != nil {
		return nil, err
	}
	patch := map[string]any{"services": map[string]any{}}
	services := patch["services"].(map[string]any)
	for id, config := range in.object("serializedConfig").object("services") {
		services[id] = mergePatch(asMap(config), map[string]any{"isCreated": true})
	}
	if root := in.text("existingRootServiceId"); root != "" {
		if _, err := c.instance(root, e.id); err != nil {
			return nil, err
		}
		services[root] = map[string]any{"deploy": map[string]any{"startCommand": "patroni"}}
	}
	if in.is("stageOnly") {
		c.stage(e, patch, true)
	} else if err := c.applyPatch(e, sealed(patch), false); err != nil {
		return nil, err
	}
	return map[string]any{"projectId": p.id, "workflowId": c.s.uuid()}, nil
}

// templateRevert deletes the group of services that a cluster consists of, save its root.
func templateRevert(c *call, a args) (any, error) {
	in := a.input()
	root, err := c.instance(in.text("rootServiceId"), in.text("environmentId"))
	if err != nil {
		return nil, err
	}
	e := c.st.get("Environment", in.text("environmentId"))
	services := map[string]any{root.text("serviceId"): map[string]any{"deploy": map[string]any{"startCommand": nil}}}
	for _, s := range c.st.where("Service", "groupId", in.text("groupId")) {
		if s.id != root.text("serviceId") && s.text("projectId") == e.text("projectId") {
			services[s.id] = map[string]any{"isDeleted": true}
		}
	}
	patch := map[string]any{"services": services}
	if in.is("stageOnly") {
		c.stage(e, patch, true)
	} else if err := c.applyPatch(e, patch, false); err != nil {
		return nil, err
	}
	return map[string]any{"projectId": e.text("projectId"), "workflowId": c.s.uuid()}, nil
}

// templateEject points services at a new repository, in every environment.
func templateEject(c *call, a args) (any, error) {
	in := a.input()
	for _, id := range in.texts("serviceIds") {
		s, err := c.own("Service", id)
		if err != nil {
			return nil, err
		}
		for _, i := range c.st.where("ServiceInstance", "serviceId", s.id) {
			c.set(i, Fields{"source": map[string]any{"repo": in.text("repoOwner") + "/" + in.text("repoName")}, "upstreamUrl": in["upstreamUrl"]})
		}
	}
	return true, nil
}

func githubRepoDeploy(c *call, a args) (any, error) {
	in := a.input()
	p, e, err := c.destination(in)
	if err != nil {
		return nil, err
	}
	s := c.newService(p, e, in.text("repo"), map[string]any{"repo": in["repo"], "branch": in["branch"]}, nil)
	return s, nil
}

// githubRepoUpdate brings a service's repository to its template's newest state and deploys it.
func githubRepoUpdate(c *call, a args) (any, error) {
	i, err := c.instance(a.input().text("serviceId"), a.input().text("environmentId"))
	if err != nil {
		return nil, err
	}
	return c.deploy(i, map[string]any{"upstream": "updated"}), nil
}

// What is read of a compose file: the names below "services:", and the named volumes that they mount.
var (
	composeLine   = regexp.MustCompile(`^( {2}|\t)([A-Za-z0-9_.-]+):\s*$`)
	composeVolume = regexp.MustCompile(`^\s+- ['"]?([A-Za-z0-9_-]+):(/[^:'"]*)`)
	composeLines  = regexp.MustCompile(`(?m)^.*$`)
)

// dockerComposeImport makes the services and volumes of a compose file: staged, or at once.
func dockerComposeImport(c *call, a args) (any, error) {
	if _, err := c.find("Project", a.text("projectId")); err != nil {
		return nil, err
	}
	e, err := c.own("Environment", a.text("environmentId"))
	if err != nil {
		return nil, err
	}
	services, volumes := map[string]any{}, map[string]any{}
	name, section := "", ""
	for _, line := range composeLines.FindAllString(a.text("yaml"), -1) {
		if len(line) > 0 && line[0] != ' ' && line[0] != '\t' {
			section = line
		}
		if m := composeLine.FindStringSubmatch(line); m != nil && section == "services:" {
			name = c.s.uuid()
			services[name] = map[string]any{"isCreated": true, "name": m[2], "volumeMounts": map[string]any{}}
		}
		if m := composeVolume.FindStringSubmatch(line); m != nil && name != "" {
			id := c.s.uuid()
			volumes[id] = map[string]any{"isCreated": true, "name": m[1], "mountPath": m[2]}
			services[name] = mergePatch(asMap(services[name]), map[string]any{"volumeMounts": map[string]any{id: map[string]any{"mountPath": m[2]}}})
		}
	}
	patch := map[string]any{"services": services, "volumes": volumes}
	if a.is("skipStagingPatch") {
		return map[string]any{"errors": []any{}, "patch": patch}, c.applyPatch(e, patch, false)
	}
	c.stage(e, patch, true)
	return map[string]any{"errors": []any{}, "patch": patch}, nil
}
