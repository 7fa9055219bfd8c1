package railway

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// rendered puts into variables what they refer to: so a sandbox's variables can carry those of services.
func (c *call) rendered(variables args, environment string) map[string]any {
	out := map[string]any{}
	for name, value := range variables {
		out[name] = secret(c.render(fmt.Sprint(value), environment, 3))
	}
	return out
}

func sandboxCreate(c *call, a args) (any, error) {
	in := a.input()
	e, err := c.own("Environment", in.text("environmentId"))
	if err != nil {
		return nil, err
	}
	variables := c.rendered(in.object("variables"), e.id)
	if from := in.text("sourceSandboxId"); from != "" {
		source, err := c.find("Sandbox", from)
		if err != nil {
			return nil, err
		}
		variables = mergePatch(asMap(source.fields["variables"]), variables)
	}
	return c.add("Sandbox", Fields{
		"environmentId": e.id, "status": "RUNNING", "region": firstText(in.text("region"), "us-west2"), "variables": variables,
		"networkIsolation": firstText(in.text("networkIsolation"), "ISOLATED"), "idleTimeoutMinutes": in["idleTimeoutMinutes"], "disk": "",
	}), nil
}

// sandboxExec runs a command, as far as this server can: one that lists the environment shows the sandbox's
// variables, any other is added to what lies on its disk.
func sandboxExec(c *call, a args) (any, error) {
	s, err := c.own("Sandbox", a.text("id"))
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	if strings.Contains(a.text("command"), "env") {
		variables := asMap(s.fields["variables"])
		for _, name := range slices.Sorted(maps.Keys(variables)) {
			fmt.Fprintf(&out, "%s=%v\n", name, variables[name])
		}
	}
	c.set(s, Fields{"disk": s.text("disk") + a.text("command") + "\n"})
	return map[string]any{"exitCode": 0, "stdout": secret(out.String()), "stderr": "", "timedOut": false, "truncated": false}, nil
}

func sandboxHeartbeat(c *call, a args) (any, error) {
	s, err := c.own("Sandbox", a.text("id"))
	if err != nil {
		return nil, err
	}
	c.set(s, Fields{"heartbeatAt": c.now})
	return s, nil
}

func sandboxTemplateBuild(c *call, a args) (any, error) {
	e, err := c.own("Environment", a.text("environmentId"))
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(must(json.Marshal(a.input())))
	key := hex.EncodeToString(sum[:16])
	if c.st.get("SandboxCheckpoint", key) == nil {
		c.addAs("SandboxCheckpoint", key, Fields{"environmentId": e.id, "name": key})
	}
	return sandboxBuild(c, a, key)
}

// sandboxBuild says how far a build is: done, if its checkpoint exists.
func sandboxBuild(c *call, a args, id string) (any, error) {
	if err := c.within(a); err != nil {
		return nil, err
	}
	status := "FAILED"
	if k := c.st.get("SandboxCheckpoint", id); k != nil && c.mayRead(k) {
		status = "READY"
	}
	return map[string]any{"id": id, "environmentId": a.text("environmentId"), "status": status}, nil
}

func cloudAgentCreate(c *call, a args) (any, error) {
	in := a.input()
	e, err := c.own("Environment", in.text("environmentId"))
	if err != nil {
		return nil, err
	}
	return c.add("CloudAgent", Fields{
		"environmentId": e.id, "projectId": e.text("projectId"), "userId": c.caller.user, "status": "RUNNING",
		"name": firstText(in.text("name"), "agent-"+c.s.uuid()[:8]), "variables": c.rendered(in.object("variables"), e.id),
	}), nil
}

// cloudAgentWake starts a machine anew, from its volume.
func cloudAgentWake(c *call, a args) (any, error) {
	r, err := c.own("CloudAgent", a.text("id"))
	if err != nil {
		return nil, err
	}
	c.set(r, Fields{"status": "RUNNING", "starts": number(r.fields["starts"]) + 1})
	return r, nil
}

func cloudAgents(c *call, a args) (any, error) {
	e, err := c.find("Environment", a.text("environmentId"))
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(c.st.where("CloudAgent", "environmentId", e.id), func(r *record) bool {
		return a.is("mine") && r.text("userId") != c.caller.user
	}), nil
}

// generateShellToken makes a token for a shell in what runs in an environment.
func generateShellToken(c *call, a args) (any, error) {
	in := a.input()
	e, err := c.own("Environment", in.text("environmentId"))
	if err != nil {
		return nil, err
	}
	t := c.add("ShellToken", Fields{"environmentId": e.id, "instance": in["instanceId"], "scope": in["scope"], "token": c.s.secret("shell-token")})
	return t.fields["token"], nil
}
