package railway

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// deploy starts a deployment of what an instance has as its source; the one that ran before is replaced.
func (c *call) deploy(i *record, meta map[string]any) *record {
	for _, d := range c.running(i) {
		c.set(d, Fields{"status": "REMOVED"})
	}
	d := c.add("Deployment", Fields{
		"projectId": c.st.place(i).project, "environmentId": i.text("environmentId"), "serviceId": i.text("serviceId"),
		"status": "SUCCESS", "meta": meta, "canRedeploy": true, "canRollback": true,
		"staticUrl": i.text("serviceName") + ".up.railway.app", "source": i.fields["source"],
	})
	snapshot := c.add("DeploymentSnapshot", Fields{
		"deploymentId": d.id, "variables": c.variablesOf(i.text("environmentId"), i.text("serviceId")),
	})
	c.set(d, Fields{"snapshotId": snapshot.id})
	return d
}

// running lists the deployments of an instance that serve.
func (c *call) running(i *record) []*record {
	return slices.DeleteFunc(c.st.both("Deployment", i.text("serviceId"), i.text("environmentId")), func(d *record) bool {
		return !serves(d)
	})
}

func serves(d *record) bool {
	return slices.Contains([]string{"SUCCESS", "SLEEPING", "DEPLOYING", "BUILDING"}, d.text("status")) && !d.is("deploymentStopped")
}

// stop ends what an instance runs, without anything in its place.
func (c *call) stop(i *record) {
	for _, d := range c.running(i) {
		c.set(d, Fields{"deploymentStopped": true})
	}
}

// ofDeployment finds a deployment and the instance that it is one of.
func (c *call) ofDeployment(id string) (deployment, instance *record, err error) {
	d, err := c.own("Deployment", id)
	if err != nil {
		return nil, nil, err
	}
	if i := first(c.st.both("ServiceInstance", d.text("serviceId"), d.text("environmentId"))); i != nil {
		return d, i, nil
	}
	return nil, nil, fmt.Errorf("ServiceInstance not found")
}

func deploymentApprove(c *call, a args) (any, error) {
	d, i, err := c.ofDeployment(a.text("id"))
	if err != nil {
		return nil, err
	}
	if d.text("status") != "NEEDS_APPROVAL" {
		return nil, fmt.Errorf("Deployment does not need approval")
	}
	for _, old := range c.running(i) {
		c.set(old, Fields{"status": "REMOVED"})
	}
	c.set(d, Fields{"status": "SUCCESS"})
	return true, nil
}

// deploymentCancel ends a deployment that has not come to run.
func deploymentCancel(c *call, a args) (any, error) {
	d, err := c.own("Deployment", a.text("id"))
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"NEEDS_APPROVAL", "QUEUED", "WAITING", "INITIALIZING", "BUILDING", "DEPLOYING"}, d.text("status")) {
		return nil, fmt.Errorf("Deployment is not in progress")
	}
	c.set(d, Fields{"status": "REMOVED"})
	return true, nil
}

func deploymentRedeploy(c *call, a args) (any, error) {
	d, i, err := c.ofDeployment(a.text("id"))
	if err != nil {
		return nil, err
	}
	return c.deploy(i, map[string]any{"redeployed": d.id}), nil
}

// deploymentRemove takes a deployment away: it neither runs nor can be gone back to.
func deploymentRemove(c *call, a args) (any, error) {
	d, err := c.own("Deployment", a.text("id"))
	if err != nil {
		return nil, err
	}
	c.set(d, Fields{"status": "REMOVED", "removed": true, "canRedeploy": false, "canRollback": false})
	return true, nil
}

func deploymentRollback(c *call, a args) (any, error) {
	d, i, err := c.ofDeployment(a.text("id"))
	if err != nil {
		return nil, err
	}
	if !d.is("canRollback") {
		return nil, fmt.Errorf("Cannot rollback to this deployment")
	}
	return c.deploy(i, map[string]any{"rolledBackTo": d.id}), nil
}

func deploymentRestart(c *call, a args) (any, error) {
	d, err := c.own("Deployment", a.text("id"))
	if err != nil {
		return nil, err
	}
	c.set(d, Fields{"restarts": number(d.fields["restarts"]) + 1})
	return true, nil
}

func deploymentStop(c *call, a args) (any, error) {
	d, err := c.own("Deployment", a.text("id"))
	if err != nil {
		return nil, err
	}
	c.set(d, Fields{"deploymentStopped": true})
	return true, nil
}

// serviceInstanceDeploy answers with the new deployment, or with true where the type is Boolean.
func serviceInstanceDeploy(c *call, a args) (any, error) {
	i, err := c.instance(a.text("serviceId"), a.text("environmentId"))
	if err != nil {
		return nil, err
	}
	return c.deploy(i, map[string]any{"commitHash": a["commitSha"]}), nil
}

func executionCreate(c *call, a args) (any, error) {
	i, err := c.own("ServiceInstance", a.input().text("serviceInstanceId"))
	if err != nil {
		return nil, err
	}
	if d := first(c.running(i)); d != nil {
		c.add("DeploymentInstanceExecution", Fields{"deploymentId": d.id, "status": "CREATED", "deploymentMeta": map[string]any{}})
		return true, nil
	}
	return nil, fmt.Errorf("Deployment not found")
}

func environmentTriggersDeploy(c *call, a args) (any, error) {
	in := a.input()
	i, err := c.instance(in.text("serviceId"), in.text("environmentId"))
	if err != nil {
		return nil, err
	}
	for range c.st.both("DeploymentTrigger", i.text("serviceId"), i.text("environmentId")) {
		c.deploy(i, nil)
	}
	return true, nil
}

func environmentUnskipService(c *call, a args) (any, error) {
	if _, err := c.own("Environment", a.text("environmentId")); err != nil {
		return nil, err
	}
	s, err := c.find("Service", a.text("serviceId"))
	if err != nil {
		return nil, err
	}
	if len(c.st.both("ServiceInstance", s.id, a.text("environmentId"))) == 0 {
		c.addInstance(s, c.st.get("Environment", a.text("environmentId")), nil)
	}
	return serviceInstanceDeploy(c, a)
}

func (c *call) addTrigger(i *record, repository, branch string) *record {
	return c.add("DeploymentTrigger", Fields{
		"projectId": c.st.place(i).project, "environmentId": i.text("environmentId"), "serviceId": i.text("serviceId"),
		"provider": "github", "repository": repository, "branch": firstText(branch, "main"), "checkSuites": false, "validCheckSuites": 0,
	})
}

func deploymentTriggerCreate(c *call, a args) (any, error) {
	in := a.input()
	i, err := c.instance(in.text("serviceId"), in.text("environmentId"))
	if err != nil {
		return nil, err
	}
	t := c.addTrigger(i, in.text("repository"), in.text("branch"))
	c.set(t, Fields{"provider": in["provider"], "checkSuites": in.is("checkSuites"), "rootDirectory": in["rootDirectory"]})
	return t, nil
}

func deployments(c *call, a args) (any, error) {
	if err := c.within(a); err != nil {
		return nil, err
	}
	all := c.matching("Deployment", args{"input": map[string]any(withoutStatus(a.input()))})
	status := a.input().object("status")
	return slices.DeleteFunc(all, func(d *record) bool {
		in, not := status.texts("in"), status.texts("notIn")
		return d.is("removed") && !a.input().is("includeDeleted") || len(in) > 0 && !slices.Contains(in, d.text("status")) ||
			slices.Contains(not, d.text("status"))
	}), nil
}

func withoutStatus(in args) args {
	out := args{}
	for name, value := range in {
		if name != "status" {
			out[name] = value
		}
	}
	return out
}

func deploymentSnapshot(c *call, a args) (any, error) {
	if _, err := c.find("Deployment", a.text("deploymentId")); err != nil {
		return nil, err
	}
	if s := first(c.st.where("DeploymentSnapshot", "deploymentId", a.text("deploymentId"))); s != nil {
		return s, nil
	}
	return nil, nil
}

// number reads a whole number that came as JSON, from the document or from code.
func number(value any) int {
	switch v := value.(type) {
	case int:
		return v
	case int64:
		return int(v)
	case float64:
		return int(v)
	case json.Number:
		n, _ := strconv.ParseFloat(v.String(), 64)
		return int(n)
	default:
		return 0
	}
}
