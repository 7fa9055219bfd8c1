package railway

import (
	"fmt"
	"slices"
)

// bucketCreate follows the words of environmentId as volumeCreate does.
func bucketCreate(c *call, a args) (any, error) {
	in := a.input()
	project, err := c.find("Project", in.text("projectId"))
	if err != nil {
		return nil, err
	}
	into, err := c.environmentsFor(project, in)
	if err != nil {
		return nil, err
	}
	b := c.add("Bucket", Fields{"projectId": project.id, "name": firstText(in.text("name"), "bucket-"+c.s.uuid()[:8])})
	for _, e := range into {
		c.addBucketInstance(b, e, "")
	}
	return b, nil
}

func (c *call) addBucketInstance(b, e *record, region string) {
	i := c.add("BucketInstance", Fields{"bucketId": b.id, "environmentId": e.id, "region": firstText(region, "sjc"), "objectCount": 0, "sizeBytes": 0})
	c.add("BucketCredentials", c.newCredentials(i))
}

func (c *call) newCredentials(i *record) Fields {
	return Fields{
		"bucketInstanceId": i.id, "accessKeyId": "tid_" + c.s.uuid()[:8], "secretAccessKey": c.s.secret("bucket-key"),
		"bucketName": "bucket-" + i.id[:8], "endpoint": "https://storage.railway.app", "region": "auto", "urlStyle": "virtual",
	}
}

// bucketInstance finds the part of a bucket in an environment.
func (c *call) bucketInstance(a args) (*record, error) {
	if _, err := c.find("Bucket", a.text("bucketId")); err != nil {
		return nil, err
	}
	for _, i := range c.st.where("BucketInstance", "bucketId", a.text("bucketId")) {
		if i.text("environmentId") == a.text("environmentId") {
			return c.own("BucketInstance", i.id)
		}
	}
	return nil, fmt.Errorf("BucketInstance not found")
}

// bucketCredentials is a query that hands out the keys.
func bucketCredentials(c *call, a args) (any, error) {
	i, err := c.bucketInstance(a)
	if err != nil {
		return nil, err
	}
	return c.st.where("BucketCredentials", "bucketInstanceId", i.id), nil
}

// bucketCredentialsReset voids the keys that services use now.
func bucketCredentialsReset(c *call, a args) (any, error) {
	i, err := c.bucketInstance(a)
	if err != nil {
		return nil, err
	}
	if a.is("redeployDependents") {
		c.redeploy(i.text("environmentId"), "", nil)
	}
	if k := first(c.st.where("BucketCredentials", "bucketInstanceId", i.id)); k != nil {
		c.set(k, c.newCredentials(i))
		return k, nil
	}
	return c.add("BucketCredentials", c.newCredentials(i)), nil
}

// A plugin is a database of the older kind: a container with data in each environment.

func pluginCreate(c *call, a args) (any, error) {
	in := a.input()
	project, err := c.find("Project", in.text("projectId"))
	if err != nil {
		return nil, err
	}
	into, err := c.environmentsFor(project, in)
	if err != nil {
		return nil, err
	}
	p := c.add("Plugin", Fields{"projectId": project.id, "name": in["name"], "friendlyName": firstText(in.text("friendlyName"), in.text("name")), "status": "RUNNING"})
	if !slices.Contains([]string{"mongodb", "mysql", "postgresql", "redis"}, in.text("name")) {
		c.set(p, Fields{"name": "postgresql"})
	}
	for _, e := range into {
		c.addContainer(p, e, "")
	}
	return p, nil
}

func (c *call) addContainer(p, e *record, data string) {
	c.add("Variable", Fields{"pluginId": p.id, "environmentId": e.id, "name": "PLUGIN_PASSWORD", "isSealed": false, "value": c.s.secret("plugin-password")})
	c.add("Container", Fields{"pluginId": p.id, "environmentId": e.id, "data": data})
}

// pluginDelete removes a plugin from one environment, or from all if none is named.
func pluginDelete(c *call, a args) (any, error) {
	p, err := c.find("Plugin", a.text("id"))
	if err != nil {
		return nil, err
	}
	if a.text("environmentId") == "" {
		return true, c.destroy(p)
	}
	k, err := c.container(p, a.text("environmentId"))
	if err != nil {
		return nil, err
	}
	if err := c.destroy(k); err != nil {
		return nil, err
	}
	if len(c.st.where("Container", "pluginId", p.id)) == 0 {
		c.st.destroy(p)
	}
	return true, nil
}

func (c *call) container(p *record, environment string) (*record, error) {
	for _, k := range c.st.where("Container", "pluginId", p.id) {
		if k.text("environmentId") == environment {
			return c.own("Container", k.id)
		}
	}
	return nil, fmt.Errorf("Container not found")
}

// pluginRun starts a plugin, or starts it again.
func pluginRun(c *call, a args) (any, error) {
	p, err := c.own("Plugin", a.text("id"))
	if err != nil {
		return nil, err
	}
	c.set(p, Fields{"status": "RUNNING", "starts": number(p.fields["starts"]) + 1})
	return p, nil
}

// pluginReset empties a plugin in an environment and gives it other passwords.
func pluginReset(c *call, a args) (any, error) {
	p, err := c.find("Plugin", a.text("id"))
	if err != nil {
		return nil, err
	}
	k, err := c.container(p, a.input().text("environmentId"))
	if err != nil {
		return nil, err
	}
	c.set(k, Fields{"data": ""})
	c.resetPassword(p, k)
	return true, nil
}

func (c *call) resetPassword(p, k *record) secret {
	fresh := c.s.secret("plugin-password")
	for _, v := range c.st.where("Variable", "pluginId", p.id) {
		if v.text("environmentId") == k.text("environmentId") {
			c.set(v, Fields{"value": fresh})
		}
	}
	return fresh
}

func pluginResetCredentials(c *call, a args) (any, error) {
	p, err := c.find("Plugin", a.text("id"))
	if err != nil {
		return nil, err
	}
	k, err := c.container(p, a.input().text("environmentId"))
	if err != nil {
		return nil, err
	}
	return c.resetPassword(p, k), nil
}

// Point-in-time recovery of a cluster: a bucket that takes the archive, and variables that say so.

func pitrEnable(c *call, a args) (any, error) {
	i, err := c.cluster(a)
	if err != nil {
		return nil, err
	}
	b := c.add("Bucket", Fields{"projectId": c.st.place(i).project, "name": i.text("serviceName") + "-wal"})
	c.addBucketInstance(b, c.st.get("Environment", i.text("environmentId")), "")
	c.setVariable(i.text("environmentId"), i.text("serviceId"), "WAL_ARCHIVE_PATH", "/pgbackrest/"+b.id)
	c.set(i, Fields{"pitr": true})
	c.progress(i, "ENABLE")
	return map[string]any{"projectId": c.st.place(i).project}, nil
}

// pitrDisable ends the archive; what is in the bucket stays.
func pitrDisable(c *call, a args) (any, error) {
	i, err := c.cluster(a)
	if err != nil {
		return nil, err
	}
	c.setVariable(i.text("environmentId"), i.text("serviceId"), "WAL_ARCHIVE_PATH", nil)
	c.set(i, Fields{"pitr": false})
	c.progress(i, "DISABLE")
	return map[string]any{"projectId": c.st.place(i).project}, nil
}

func (c *call) cluster(a args) (*record, error) {
	return c.instance(a.input().text("rootServiceId"), a.input().text("environmentId"))
}

func (c *call) progress(i *record, direction string) {
	fields := Fields{
		"rootServiceId": i.text("serviceId"), "environmentId": i.text("environmentId"), "projectId": c.st.place(i).project,
		"direction": direction, "phase": "DONE", "workflowId": c.s.uuid(),
	}
	for _, p := range c.st.where("PitrHaWorkflowProgress", "rootServiceId", i.text("serviceId")) {
		if p.text("environmentId") == i.text("environmentId") {
			c.set(p, fields)
			return
		}
	}
	c.add("PitrHaWorkflowProgress", fields)
}

func (c *call) clearProgress(i *record) {
	for _, p := range c.st.where("PitrHaWorkflowProgress", "rootServiceId", i.text("serviceId")) {
		if p.text("environmentId") == i.text("environmentId") {
			c.st.destroy(p)
		}
	}
}

func pitrProgressClear(c *call, a args) (any, error) {
	i, err := c.instance(a.text("rootServiceId"), a.text("environmentId"))
	if err != nil {
		return nil, err
	}
	c.clearProgress(i)
	return true, nil
}
