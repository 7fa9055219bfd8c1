package railway

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// variable finds one by its name: of a service in an environment, or shared in it if service is empty.
func (c *call) variable(environment, service, name string) *record {
	for _, v := range c.st.where("Variable", "environmentId", environment) {
		if v.text("serviceId") == service && v.text("pluginId") == "" && v.text("name") == name {
			return v
		}
	}
	return nil
}

// setVariable sets one variable; null takes it away.
func (c *call) setVariable(environment, service, name string, value any) {
	v := c.variable(environment, service, name)
	if value == nil {
		if v != nil {
			c.st.destroy(v)
		}
		return
	}
	fields := Fields{"value": secret(fmt.Sprint(value))}
	if v != nil {
		c.set(v, fields)
		return
	}
	fields["environmentId"], fields["name"], fields["isSealed"] = environment, name, false
	if service != "" {
		fields["serviceId"] = service
	}
	c.add("Variable", fields)
}

// scope checks where variables are to be set: an environment that the caller may change, a service in it.
func (c *call) scope(in args) (environment, service string, err error) {
	if _, err := c.find("Project", in.text("projectId")); err != nil {
		return "", "", err
	}
	e, err := c.own("Environment", in.text("environmentId"))
	if err != nil {
		return "", "", err
	}
	if s := in.text("serviceId"); s != "" {
		_, err = c.instance(s, e.id)
		return e.id, s, err
	}
	return e.id, "", nil
}

func variableUpsert(c *call, a args) (any, error) {
	in := a.input()
	environment, service, err := c.scope(in)
	if err != nil {
		return nil, err
	}
	c.setVariable(environment, service, in.text("name"), in.text("value"))
	c.redeploy(environment, service, in)
	return true, nil
}

func variableDelete(c *call, a args) (any, error) {
	in := a.input()
	environment, service, err := c.scope(in)
	if err != nil {
		return nil, err
	}
	if c.variable(environment, service, in.text("name")) == nil {
		return nil, fmt.Errorf("Variable not found")
	}
	c.setVariable(environment, service, in.text("name"), nil)
	c.redeploy(environment, service, in)
	return true, nil
}

// variableCollectionUpsert sets many; with replace, those that are not among them are gone.
func variableCollectionUpsert(c *call, a args) (any, error) {
	in := a.input()
	environment, service, err := c.scope(in)
	if err != nil {
		return nil, err
	}
	given := in.object("variables")
	if given == nil {
		return nil, fmt.Errorf("variables must be an object")
	}
	if in.is("replace") {
		for _, v := range c.kept(environment, service) {
			if !given.has(v.text("name")) {
				c.st.destroy(v)
			}
		}
	}
	for name, value := range given {
		c.setVariable(environment, service, name, value)
	}
	c.redeploy(environment, service, in)
	return true, nil
}

// kept lists the variables of a service in an environment, or the shared ones.
func (c *call) kept(environment, service string) []*record {
	return slices.DeleteFunc(c.st.where("Variable", "environmentId", environment), func(v *record) bool {
		return v.text("serviceId") != service || v.text("pluginId") != ""
	})
}

// redeploy deploys what a change of variables reaches, unless the caller said not to.
func (c *call) redeploy(environment, service string, in args) {
	if in.is("skipDeploys") {
		return
	}
	for _, i := range c.st.where("ServiceInstance", "environmentId", environment) {
		if (service == "" || i.text("serviceId") == service) && len(c.running(i)) > 0 {
			c.deploy(i, nil)
		}
	}
}

// sharedVariableConfigure says which services see a shared variable.
func sharedVariableConfigure(c *call, a args) (any, error) {
	in := a.input()
	environment, _, err := c.scope(args{"projectId": in["projectId"], "environmentId": in["environmentId"]})
	if err != nil {
		return nil, err
	}
	v := c.variable(environment, "", in.text("name"))
	if v == nil {
		return nil, fmt.Errorf("Variable not found")
	}
	var shared []any
	for _, id := range append(v.list("sharedWith"), in.texts("enabledServiceIds")...) {
		if !slices.Contains(in.texts("disabledServiceIds"), id) && !slices.Contains(shared, any(id)) {
			shared = append(shared, id)
		}
	}
	c.set(v, Fields{"sharedWith": shared})
	return v, nil
}

func (r *record) list(field string) []string { return args(r.fields).texts(field) }

// herokuImportVariables brings the variables of an app elsewhere, over those of the same names.
func herokuImportVariables(c *call, a args) (any, error) {
	environment, service, err := c.scope(a.input())
	if err != nil {
		return nil, err
	}
	imported := map[string]any{"HEROKU_APP": a.input().text("herokuAppId"), "DATABASE_URL": c.s.secret("heroku-database-url")}
	for name, value := range imported {
		c.setVariable(environment, service, name, value)
	}
	return len(imported), nil
}

// variables answers with names and rendered values; a sealed one has no value that anybody could read.
func variables(c *call, a args) (any, error) {
	if err := c.within(a); err != nil {
		return nil, err
	}
	all := c.variablesOf(a.text("environmentId"), a.text("serviceId"))
	if a.text("serviceId") == "" {
		all = map[string]any{}
		for _, v := range c.kept(a.text("environmentId"), "") {
			all[v.text("name")] = v.fields["value"]
		}
	}
	return all, nil
}

// variablesOf is what a service sees in an environment: its own variables and those shared with it, with
// references put in.
func (c *call) variablesOf(environment, service string) map[string]any {
	all := map[string]any{}
	for _, v := range c.kept(environment, "") {
		if slices.Contains(v.list("sharedWith"), service) && !v.is("isSealed") {
			all[v.text("name")] = v.fields["value"]
		}
	}
	for _, v := range c.kept(environment, service) {
		if service != "" && !v.is("isSealed") {
			all[v.text("name")] = secret(c.render(v.text("value"), environment, 3))
		}
	}
	return all
}

// reference is how a variable's value refers to another: ${{shared.NAME}} or ${{service.NAME}}.
var reference = regexp.MustCompile(`\$\{\{\s*([^.{}]+)\.([^.{}\s]+)\s*\}\}`)

// render puts in what a value refers to, to a depth.
func (c *call) render(value, environment string, depth int) string {
	if depth == 0 || !strings.Contains(value, "${{") {
		return value
	}
	return reference.ReplaceAllStringFunc(value, func(ref string) string {
		part := reference.FindStringSubmatch(ref)
		var v *record
		if part[1] == "shared" {
			v = c.variable(environment, "", part[2])
		}
		for _, i := range c.st.where("ServiceInstance", "environmentId", environment) {
			if strings.EqualFold(i.text("serviceName"), part[1]) {
				v = c.variable(environment, i.text("serviceId"), part[2])
			}
		}
		if v == nil {
			return ""
		}
		return c.render(v.text("value"), environment, depth-1)
	})
}
