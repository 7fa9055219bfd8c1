package railway

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// environmentCreate makes an empty environment, or a fork with what its source has. Volumes come empty: the
// bytes stay where they are.
func environmentCreate(c *call, a args) (any, error) {
	in := a.input()
	project, err := c.own("Project", in.text("projectId"))
	if err != nil {
		return nil, err
	}
	source, err := c.sourceOf(in.text("sourceEnvironmentId"))
	if err != nil {
		return nil, err
	}
	e := c.add("Environment", Fields{
		"projectId": project.id, "name": in.text("name"), "isEphemeral": in.is("ephemeral"), "canAccess": true,
	})
	if source == nil {
		return e, nil
	}
	c.set(e, Fields{"sourceEnvironmentId": source.id})
	if in.is("stageInitialChanges") {
		c.stage(e, c.configOf(source, true), false)
		return e, nil
	}
	c.fork(source, e, in.is("skipInitialDeploys"))
	return e, nil
}

func (c *call) sourceOf(id string) (*record, error) {
	if id == "" {
		return nil, nil
	}
	return c.find("Environment", id)
}

func (c *call) fork(source, into *record, quiet bool) {
	for _, v := range c.kept(source.id, "") {
		c.setVariable(into.id, "", v.text("name"), v.fields["value"])
	}
	for _, i := range c.st.where("ServiceInstance", "environmentId", source.id) {
		twin := c.addInstance(c.st.get("Service", i.text("serviceId")), into, copyOf(i, "environmentId", "createdAt"))
		for _, v := range c.kept(source.id, i.text("serviceId")) {
			c.setVariable(into.id, i.text("serviceId"), v.text("name"), v.fields["value"])
		}
		if !quiet {
			c.deploy(twin, nil)
		}
	}
	for _, v := range c.st.where("VolumeInstance", "environmentId", source.id) {
		c.addVolumeInstance(c.st.get("Volume", v.text("volumeId")), into, v.text("serviceId"), v.text("mountPath"), v.text("region"))
	}
}

// canvasViewMerge lays out one environment's canvas like another's.
func canvasViewMerge(c *call, a args) (any, error) {
	source, err := c.find("Environment", a.text("sourceEnvironmentId"))
	if err != nil {
		return nil, err
	}
	target, err := c.own("Environment", a.text("targetEnvironmentId"))
	if err != nil {
		return nil, err
	}
	c.set(target, Fields{"canvasGroupRefs": map[string]any{"mergedFrom": source.id}})
	return true, nil
}

// configOf writes an environment as the configuration that patches are made of. Unless it is asked for, a
// value of a variable is only shown as encrypted.
func (c *call) configOf(e *record, decrypt bool) map[string]any {
	services, volumes, buckets := map[string]any{}, map[string]any{}, map[string]any{}
	for _, i := range c.st.where("ServiceInstance", "environmentId", e.id) {
		services[i.text("serviceId")] = c.serviceConfig(e, i, decrypt)
	}
	for _, v := range c.st.where("VolumeInstance", "environmentId", e.id) {
		volumes[v.text("volumeId")] = map[string]any{"sizeMB": v.fields["sizeMB"], "region": v.fields["region"]}
	}
	for _, b := range c.st.where("BucketInstance", "environmentId", e.id) {
		buckets[b.text("bucketId")] = map[string]any{"region": b.fields["region"]}
	}
	return map[string]any{
		"services": services, "volumes": volumes, "buckets": buckets, "sharedVariables": variableConfig(c.kept(e.id, ""), decrypt),
	}
}

func (c *call) serviceConfig(e, i *record, decrypt bool) map[string]any {
	mounts := map[string]any{}
	for _, v := range c.st.both("VolumeInstance", i.text("serviceId"), e.id) {
		mounts[v.text("volumeId")] = map[string]any{"mountPath": v.fields["mountPath"]}
	}
	return map[string]any{
		"source":       i.fields["source"],
		"deploy":       map[string]any{"startCommand": i.fields["startCommand"], "numReplicas": i.fields["numReplicas"]},
		"build":        map[string]any{"builder": i.fields["builder"], "buildCommand": i.fields["buildCommand"]},
		"variables":    variableConfig(c.kept(e.id, i.text("serviceId")), decrypt),
		"volumeMounts": mounts,
	}
}

func variableConfig(all []*record, decrypt bool) map[string]any {
	out := map[string]any{}
	for _, v := range all {
		switch {
		case v.is("isSealed"):
			out[v.text("name")] = map[string]any{"isSealed": true}
		case decrypt:
			out[v.text("name")] = map[string]any{"value": v.fields["value"]}
		default:
			out[v.text("name")] = map[string]any{"value": "encrypted"}
		}
	}
	return out
}

// etag changes whenever the configuration of an environment does.
func (c *call) etag(e *record) string {
	sum := sha256.Sum256(must(json.Marshal(c.configOf(e, true))))
	return hex.EncodeToString(sum[:8])
}

// environmentFields are the computed fields of environments and their patches.
func environmentFields() map[string]computed {
	return map[string]computed{
		"Environment.config":     func(c *call, r *record, a args) (any, error) { return c.configOf(r, a.is("decryptVariables")), nil },
		"Environment.configEtag": func(c *call, r *record, _ args) (any, error) { return c.etag(r), nil },
		"Environment.unmergedChangesCount": func(c *call, r *record, _ args) (any, error) {
			if p := c.staged(r.id); p != nil {
				return len(p.fields["patch"].(map[string]any)), nil
			}
			return 0, nil
		},
		"EnvironmentPatch.patch": func(_ *call, r *record, a args) (any, error) {
			patch, _ := r.fields["patch"].(map[string]any)
			if a.is("decryptVariables") {
				return patch, nil
			}
			return encrypted(patch), nil
		},
	}
}

// encrypted hides the secrets inside a value.
func encrypted(value any) any {
	switch v := value.(type) {
	case secret:
		return "encrypted"
	case map[string]any:
		out := map[string]any{}
		for name, inner := range v {
			out[name] = encrypted(inner)
		}
		return out
	default:
		return value
	}
}

// staged is the patch that waits in an environment, nil if none does.
func (c *call) staged(environment string) *record {
	for _, p := range c.st.where("EnvironmentPatch", "environmentId", environment) {
		if p.text("status") == "STAGED" {
			return p
		}
	}
	return nil
}

func environmentStagedChanges(c *call, a args) (any, error) {
	e, err := c.find("Environment", a.text("environmentId"))
	if err != nil {
		return nil, err
	}
	if p := c.staged(e.id); p != nil {
		return p, nil
	}
	return map[string]any{
		"id": "", "environmentId": e.id, "environment": e, "status": "STAGED", "patch": map[string]any{},
		"createdAt": c.now, "updatedAt": c.now,
	}, nil
}

// environmentStageChanges puts changes in waiting: in the place of those that wait already, whoever staged
// them, or merged into them.
func environmentStageChanges(c *call, a args) (any, error) {
	e, err := c.own("Environment", a.text("environmentId"))
	if err != nil {
		return nil, err
	}
	input := a.object("input")
	if input == nil {
		return nil, fmt.Errorf("Invalid environment config")
	}
	return c.stage(e, input, a.is("merge")), nil
}

func (c *call) stage(e *record, patch map[string]any, merge bool) *record {
	patch = sealed(patch)
	p := c.staged(e.id)
	if p == nil {
		return c.add("EnvironmentPatch", Fields{"environmentId": e.id, "status": "STAGED", "patch": patch})
	}
	if merge {
		before, _ := p.fields["patch"].(map[string]any)
		patch = mergePatch(before, patch)
	}
	c.set(p, Fields{"patch": patch})
	return p
}

// sealed marks the values of the variables in a patch as the secrets that they are.
func sealed(patch map[string]any) map[string]any {
	out := map[string]any{}
	for name, value := range patch {
		inner, isMap := value.(map[string]any)
		switch {
		case isMap && (name == "variables" || name == "sharedVariables"):
			out[name] = sealedVariables(inner)
		case isMap:
			out[name] = sealed(inner)
		default:
			out[name] = value
		}
	}
	return out
}

func sealedVariables(all map[string]any) map[string]any {
	out := map[string]any{}
	for name, value := range all {
		config, isMap := value.(map[string]any)
		if !isMap || config["value"] == nil {
			out[name] = value
			continue
		}
		copied := map[string]any{}
		for key, v := range config {
			copied[key] = v
		}
		copied["value"] = secret(fmt.Sprint(config["value"]))
		out[name] = copied
	}
	return out
}

// mergePatch lays one patch over another; unlike in RFC 7396 null stays, because it means something here.
func mergePatch(before, patch map[string]any) map[string]any {
	out := map[string]any{}
	for name, value := range before {
		out[name] = value
	}
	for name, value := range patch {
		old, oldMap := out[name].(map[string]any)
		inner, isMap := value.(map[string]any)
		if oldMap && isMap {
			out[name] = mergePatch(old, inner)
		} else {
			out[name] = value
		}
	}
	return out
}

func environmentPatchCommitStaged(c *call, a args) (any, error) {
	e, err := c.own("Environment", a.text("environmentId"))
	if err != nil {
		return nil, err
	}
	p := c.staged(e.id)
	if p == nil {
		return nil, fmt.Errorf("No patch to apply")
	}
	patch, _ := p.fields["patch"].(map[string]any)
	if err := c.applyPatch(e, patch, a.is("skipDeploys")); err != nil {
		c.set(p, Fields{"lastAppliedError": err.Error()})
		return nil, err
	}
	c.set(p, Fields{"status": "COMMITTED", "message": a["commitMessage"], "appliedAt": c.now})
	return p, nil
}

// environmentPatchCommit applies the patch that comes with it; without one there is nothing to apply.
func environmentPatchCommit(c *call, a args) (any, error) {
	e, err := c.own("Environment", a.text("environmentId"))
	if err != nil {
		return nil, err
	}
	if a["patch"] != nil && a.object("patch") == nil {
		return nil, fmt.Errorf("Invalid environment config")
	}
	patch := sealed(a.object("patch"))
	if err := c.applyPatch(e, patch, false); err != nil {
		return nil, err
	}
	return c.add("EnvironmentPatch", Fields{
		"environmentId": e.id, "status": "COMMITTED", "patch": patch, "message": a["commitMessage"], "appliedAt": c.now,
	}), nil
}
