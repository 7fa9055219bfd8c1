package railway

import (
	"fmt"
	"slices"
)

// reached lists the environments that an operation on a service reaches when it names one: a fork alone, and
// else every environment that is no fork. So the schema says of creating, updating and deleting.
func (c *call) reached(project, environment string) ([]*record, error) {
	if environment != "" {
		e, err := c.find("Environment", environment)
		if err != nil {
			return nil, err
		}
		if e.text("projectId") != project {
			return nil, fmt.Errorf("Environment not found in project")
		}
		if e.text("sourceEnvironmentId") != "" {
			return []*record{e}, nil
		}
	}
	all := slices.DeleteFunc(c.st.where("Environment", "projectId", project), func(e *record) bool {
		return e.text("sourceEnvironmentId") != ""
	})
	return all, nil
}

// changeable refuses unless the caller may change every one of them.
func (c *call) changeable(all []*record, err error) ([]*record, error) {
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		if !c.mayChange(r) {
			return nil, errUnauthorized
		}
	}
	return all, nil
}

func serviceCreate(c *call, a args) (any, error) {
	in := a.input()
	project, err := c.find("Project", in.text("projectId"))
	if err != nil {
		return nil, err
	}
	into, err := c.changeable(c.reached(project.id, in.text("environmentId")))
	if err != nil {
		return nil, err
	}
	s := c.add("Service", Fields{
		"projectId": project.id, "name": firstText(in.text("name"), "service-"+c.s.uuid()[:8]), "icon": in["icon"],
		"templateId": in["templateId"], "templateServiceId": in["templateServiceId"], "featureFlags": []any{},
	})
	source := withBranch(in.object("source"), in)
	for _, e := range into {
		i := c.addInstance(s, e, Fields{"source": source, "registryPassword": password(in)})
		for name, value := range in.object("variables") {
			c.setVariable(e.id, s.id, name, value)
		}
		if len(source) > 0 {
			c.deploy(i, nil)
		}
	}
	return s, nil
}

func withBranch(source, in args) map[string]any {
	out := map[string]any{}
	for name, value := range source {
		out[name] = value
	}
	if b := in.text("branch"); b != "" && len(out) > 0 {
		out["branch"] = b
	}
	return out
}

// password keeps the registry's password as the secret that it is.
func password(in args) any {
	if p := in.object("registryCredentials").text("password"); p != "" {
		return secret(p)
	}
	return nil
}

func (c *call) addInstance(service, environment *record, fields Fields) *record {
	all := Fields{
		"serviceId": service.id, "environmentId": environment.id, "serviceName": service.text("name"), "builder": "RAILPACK",
		"numReplicas": 1, "region": "us-west2", "restartPolicyType": "ON_FAILURE", "restartPolicyMaxRetries": 10, "autoDeploy": true,
		"source": nil, "isUpdatable": false,
	}
	for name, value := range fields {
		all[name] = value
	}
	return c.add("ServiceInstance", all)
}

// serviceDelete ends a service in a fork alone, or in every environment that is no fork; with no environment
// named, everywhere. With its last instance it is gone itself.
func serviceDelete(c *call, a args) (any, error) {
	s, err := c.find("Service", a.text("id"))
	if err != nil {
		return nil, err
	}
	if a.text("environmentId") == "" {
		return s, c.destroy(s)
	}
	in, err := c.reached(s.text("projectId"), a.text("environmentId"))
	if err != nil {
		return nil, err
	}
	var instances []*record
	for _, e := range in {
		instances = append(instances, c.st.both("ServiceInstance", s.id, e.id)...)
	}
	return s, c.dropInstances(s, instances)
}

// dropInstances removes the parts of a service, with what it had in those environments.
func (c *call) dropInstances(s *record, instances []*record) error {
	if err := c.destroy(instances...); err != nil {
		return err
	}
	for _, i := range instances {
		for kind, of := range c.st.owners {
			if slices.Contains(of, "serviceId") && slices.Contains(of, "environmentId") {
				for _, r := range c.st.both(kind, s.id, i.text("environmentId")) {
					c.st.destroy(r)
				}
			}
		}
	}
	if len(c.st.where("ServiceInstance", "serviceId", s.id)) == 0 {
		c.st.destroy(s)
	}
	return nil
}

func serviceInstanceUpdate(c *call, a args) (any, error) {
	s, err := c.find("Service", a.text("serviceId"))
	if err != nil {
		return nil, err
	}
	in, err := c.changeable(c.reached(s.text("projectId"), a.text("environmentId")))
	if err != nil {
		return nil, err
	}
	for _, e := range in {
		for _, i := range c.st.both("ServiceInstance", s.id, e.id) {
			c.updateInstance(i, a.input())
		}
	}
	return true, nil
}

// updateInstance sets the settings of a service in one environment. No replicas left means nothing runs.
func (c *call) updateInstance(i *record, in args) {
	fields := Fields{}
	for name, value := range in {
		if name != "registryCredentials" && (value != nil || !c.required("ServiceInstance", name)) {
			fields[name] = value
		}
	}
	if p := password(in); p != nil {
		fields["registryPassword"] = p
	}
	c.set(i, fields)
	if scaledToZero(i) {
		c.stop(i)
	}
}

func scaledToZero(i *record) bool {
	regions, _ := i.fields["multiRegionConfig"].(map[string]any)
	if len(regions) > 0 {
		replicas := 0
		for _, config := range regions {
			switch n, named := asMap(config)["numReplicas"]; {
			case named:
				replicas += number(n)
			case config != nil:
				replicas++
			}
		}
		return replicas == 0
	}
	n, set := i.fields["numReplicas"]
	return set && n != nil && number(n) == 0
}

// onInstance sets fields on the part of a service in the environment that the arguments name.
func onInstance(fields func(args) Fields) action {
	return func(c *call, a args) (any, error) {
		flat := args(a.flat())
		i, err := c.instance(flat.text("serviceId"), flat.text("environmentId"))
		if err != nil {
			return nil, err
		}
		change := fields(a.inputOrSelf())
		c.set(i, change)
		if enabled, has := change["autoDeploy"]; has {
			return map[string]any{"enabled": enabled}, nil
		}
		return true, nil
	}
}

func limits(in args) Fields {
	return Fields{"limits": map[string]any{"memoryGB": in["memoryGB"], "vCPUs": in["vCPUs"]}}
}

// serviceConnect gives a service another source in all its environments, and deploys it.
func serviceConnect(c *call, a args) (any, error) {
	s, err := c.own("Service", a.text("id"))
	if err != nil {
		return nil, err
	}
	in := a.input()
	source := map[string]any{}
	for name, value := range in {
		source[name] = value
	}
	for _, i := range c.st.where("ServiceInstance", "serviceId", s.id) {
		c.set(i, Fields{"source": source})
		c.pointTrigger(i, in.text("repo"), in.text("branch"))
		c.deploy(i, nil)
	}
	return s, nil
}

// pointTrigger makes pushes to a repository deploy an instance.
func (c *call) pointTrigger(i *record, repository, branch string) {
	if repository == "" {
		return
	}
	if t := first(c.st.both("DeploymentTrigger", i.text("serviceId"), i.text("environmentId"))); t != nil {
		c.set(t, Fields{"repository": repository, "branch": firstText(branch, "main")})
		return
	}
	c.addTrigger(i, repository, branch)
}

// serviceDisconnect takes the source away, with what deployed it on a push, in all environments.
func serviceDisconnect(c *call, a args) (any, error) {
	s, err := c.own("Service", a.text("id"))
	if err != nil {
		return nil, err
	}
	for _, i := range c.st.where("ServiceInstance", "serviceId", s.id) {
		c.set(i, Fields{"source": nil})
	}
	return s, c.destroy(c.st.where("DeploymentTrigger", "serviceId", s.id)...)
}

func serviceRemoveUpstreamURL(c *call, a args) (any, error) {
	s, err := c.own("Service", a.text("id"))
	if err != nil {
		return nil, err
	}
	for _, i := range c.st.where("ServiceInstance", "serviceId", s.id) {
		c.set(i, Fields{"upstreamUrl": nil})
	}
	return s, nil
}

// serviceDuplicate copies a service inside an environment: settings, variables, volumes.
func serviceDuplicate(c *call, a args) (any, error) {
	i, err := c.instance(a.text("serviceId"), a.text("environmentId"))
	if err != nil {
		return nil, err
	}
	s, e := c.st.get("Service", i.text("serviceId")), c.st.get("Environment", i.text("environmentId"))
	twin := c.add("Service", Fields{"projectId": s.text("projectId"), "name": s.text("name") + "-copy", "featureFlags": []any{}})
	copied := c.addInstance(twin, e, copyOf(i, "serviceId", "environmentId", "serviceName", "createdAt"))
	for _, v := range c.st.both("Variable", s.id, e.id) {
		c.setVariable(e.id, twin.id, v.text("name"), v.fields["value"])
	}
	for _, v := range c.st.both("VolumeInstance", s.id, e.id) {
		volume := c.add("Volume", Fields{"projectId": s.text("projectId"), "name": s.text("name") + "-copy-volume"})
		c.addVolumeInstance(volume, e, twin.id, v.text("mountPath"), v.text("region"))
	}
	c.deploy(copied, nil)
	return twin, nil
}

// copyOf takes the fields of a record, save some.
func copyOf(r *record, without ...string) Fields {
	fields := Fields{}
	for name, value := range r.fields {
		if !slices.Contains(without, name) {
			fields[name] = value
		}
	}
	return fields
}

// vulnPatchNow makes a backup first, then redeploys, as its words say.
func vulnPatchNow(c *call, a args) (any, error) {
	i, err := c.instance(a.text("serviceId"), a.text("environmentId"))
	if err != nil {
		return nil, err
	}
	for _, v := range c.st.both("VolumeInstance", i.text("serviceId"), i.text("environmentId")) {
		c.addBackup(v, "before security update", c.now)
	}
	c.set(i, Fields{"vulnRemediation": "applied"})
	return c.deploy(i, nil).id, nil
}

func serviceInstance(c *call, a args) (any, error) {
	if err := c.within(a); err != nil {
		return nil, err
	}
	if i := first(c.st.both("ServiceInstance", a.text("serviceId"), a.text("environmentId"))); i != nil {
		return i, nil
	}
	return nil, fmt.Errorf("ServiceInstance not found")
}

func autoDeployStatus(c *call, a args) (any, error) {
	i, err := serviceInstance(c, a)
	if err != nil {
		return nil, err
	}
	return map[string]any{"canEnable": true, "enabled": i.(*record).is("autoDeploy")}, nil
}

func serviceLimits(c *call, a args) (any, error) {
	i, err := serviceInstance(c, a)
	if err != nil {
		return nil, err
	}
	if l := i.(*record).fields["limits"]; l != nil {
		return l, nil
	}
	return unset{}, nil
}
