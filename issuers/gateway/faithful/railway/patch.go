package railway

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// applyPatch carries out a configuration patch in one environment. Its sections are
//
//	{"services": {ID: {"isDeleted", "isCreated", "name", "source", "build", "deploy", "networking",
//	                   "variables": {NAME: {"value"} | null}, "volumeMounts": {ID: {"mountPath"} | null}} | null},
//	 "sharedVariables": {NAME: {"value"} | null},
//	 "volumes": {ID: {"isDeleted", "isCreated", "sizeMB", "region"} | null},
//	 "buckets": {ID: {"isDeleted", "isCreated", "region"} | null},
//	 "privateNetworkDisabled": true}
//
// and null, in the place of any part, takes that part away.
func (c *call) applyPatch(e *record, patch map[string]any, quiet bool) error {
	for _, part := range []struct {
		name  string
		all   func(*call, *record) []string
		apply func(*call, *record, string, args, bool) error
	}{
		{"services", idsOf("ServiceInstance", "serviceId"), (*call).patchService},
		{"volumes", idsOf("VolumeInstance", "volumeId"), (*call).patchVolume},
		{"buckets", idsOf("BucketInstance", "bucketId"), (*call).patchBucket},
	} {
		section, present := patch[part.name]
		if !present {
			continue
		}
		entries, _ := section.(map[string]any)
		if section == nil {
			entries = map[string]any{}
			for _, id := range part.all(c, e) {
				entries[id] = nil
			}
		}
		for _, id := range slices.Sorted(maps.Keys(entries)) {
			config, _ := entries[id].(map[string]any)
			if err := part.apply(c, e, id, config, entries[id] == nil); err != nil {
				return err
			}
		}
	}
	c.patchVariables(e, "", patch, "sharedVariables")
	if disabled, ok := patch["privateNetworkDisabled"].(bool); ok && disabled {
		if err := c.destroy(c.st.where("PrivateNetwork", "environmentId", e.id)...); err != nil {
			return err
		}
	}
	if !quiet {
		c.deployPatched(e, patch)
	}
	return nil
}

func idsOf(kind, field string) func(*call, *record) []string {
	return func(c *call, e *record) []string {
		var ids []string
		for _, r := range c.st.where(kind, "environmentId", e.id) {
			ids = append(ids, r.text(field))
		}
		return ids
	}
}

// deployPatched deploys the services that a patch named and left.
func (c *call) deployPatched(e *record, patch map[string]any) {
	services, _ := patch["services"].(map[string]any)
	for _, id := range slices.Sorted(maps.Keys(services)) {
		for _, i := range c.st.both("ServiceInstance", id, e.id) {
			if !scaledToZero(i) {
				c.deploy(i, nil)
			}
		}
	}
}

func (c *call) patchService(e *record, id string, config args, gone bool) error {
	s := c.st.get("Service", id)
	if s == nil && config.is("isCreated") {
		s = c.addAs("Service", id, Fields{
			"projectId": e.text("projectId"), "name": firstText(config.text("name"), "service-"+id[:min(8, len(id))]), "featureFlags": []any{},
		})
	}
	if s == nil || s.text("projectId") != e.text("projectId") {
		return fmt.Errorf("Service %s not found", id)
	}
	instances := c.st.both("ServiceInstance", id, e.id)
	if gone || config.is("isDeleted") {
		return c.dropInstances(s, instances)
	}
	if len(instances) == 0 {
		if !config.is("isCreated") {
			return fmt.Errorf("Service %s not found in environment", id)
		}
		instances = []*record{c.addInstance(s, e, nil)}
	}
	i := instances[0]
	for _, section := range []string{"source", "build", "deploy"} {
		c.patchSettings(i, section, config)
	}
	c.patchVariables(e, id, config, "variables")
	c.patchMounts(e, i, config)
	c.patchNetworking(i, config)
	return nil
}

// patchSettings sets what a section of a service names; null clears the whole of it.
func (c *call) patchSettings(i *record, section string, config args) {
	value, present := config[section]
	if !present {
		return
	}
	if section == "source" {
		c.set(i, Fields{"source": value})
		return
	}
	settings, _ := value.(map[string]any)
	if value == nil {
		settings = map[string]any{"startCommand": nil, "buildCommand": nil, "healthcheckPath": nil, "cronSchedule": nil}
	}
	if old, ok := i.fields["multiRegionConfig"].(map[string]any); ok {
		if regions, ok := settings["multiRegionConfig"].(map[string]any); ok {
			settings = mergePatch(settings, map[string]any{"multiRegionConfig": mergePatch(old, regions)})
		}
	}
	c.updateInstance(i, settings)
}

func (c *call) patchVariables(e *record, service string, config map[string]any, name string) {
	section, present := config[name]
	if !present {
		return
	}
	if section == nil {
		for _, v := range c.kept(e.id, service) {
			c.st.destroy(v)
		}
	}
	all, _ := section.(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		switch v := all[key].(type) {
		case map[string]any:
			if value, given := v["value"]; given {
				c.setVariable(e.id, service, key, value)
			}
		default:
			c.setVariable(e.id, service, key, v)
		}
	}
}

// patchMounts attaches volumes to a service, and detaches those with null.
func (c *call) patchMounts(e, i *record, config args) {
	section, present := config["volumeMounts"]
	if !present {
		return
	}
	mounts, _ := section.(map[string]any)
	for _, v := range c.st.where("VolumeInstance", "environmentId", e.id) {
		mount, named := mounts[v.text("volumeId")]
		switch m := mount.(type) {
		case map[string]any:
			c.set(v, Fields{"serviceId": i.text("serviceId"), "mountPath": firstText(args(m).text("mountPath"), v.text("mountPath"))})
		case nil:
			if (named || section == nil) && v.text("serviceId") == i.text("serviceId") {
				c.set(v, Fields{"serviceId": nil})
			}
		}
	}
}

// patchNetworking makes and ends domains and TCP proxies: {"serviceDomains": {NAME: {"port"} | null}, …}.
func (c *call) patchNetworking(i *record, config args) {
	section, present := config["networking"]
	networking, _ := section.(map[string]any)
	for name, of := range map[string][2]string{
		"serviceDomains": {"ServiceDomain", "domain"}, "customDomains": {"CustomDomain", "domain"}, "tcpProxies": {"TCPProxy", "applicationPort"},
	} {
		inner, named := networking[name]
		if !present || section != nil && !named {
			continue
		}
		entries, _ := inner.(map[string]any)
		existing := c.st.both(of[0], i.text("serviceId"), i.text("environmentId"))
		for _, r := range existing {
			value, mentioned := entries[fmt.Sprint(r.fields[of[1]])]
			if inner == nil || mentioned && value == nil {
				c.st.destroy(r)
			}
		}
		for key, value := range entries {
			if value != nil && !slices.ContainsFunc(existing, func(r *record) bool { return fmt.Sprint(r.fields[of[1]]) == key }) {
				c.addDoor(of[0], i, key, args(asMap(value))["port"])
			}
		}
	}
}

func asMap(value any) map[string]any { m, _ := value.(map[string]any); return m }

func (c *call) patchVolume(e *record, id string, config args, gone bool) error {
	var i *record
	for _, v := range c.st.where("VolumeInstance", "environmentId", e.id) {
		if v.text("volumeId") == id {
			i = v
		}
	}
	if i != nil && (gone || config.is("isDeleted")) {
		return c.dropVolumeInstance(i)
	}
	if i == nil {
		if gone || config.is("isDeleted") {
			return fmt.Errorf("Volume %s not found", id)
		}
		v := c.st.get("Volume", id)
		if v == nil {
			v = c.addAs("Volume", id, Fields{"projectId": e.text("projectId"), "name": firstText(config.text("name"), "volume-"+id[:min(8, len(id))])})
		}
		if v.text("projectId") != e.text("projectId") {
			return fmt.Errorf("Volume %s not found", id)
		}
		i = c.addVolumeInstance(v, e, "", firstText(config.text("mountPath"), "/data"), config.text("region"))
	}
	for _, name := range []string{"sizeMB", "region", "mountPath"} {
		if value := config[name]; value != nil {
			c.set(i, Fields{name: value})
		}
	}
	return nil
}

func (c *call) patchBucket(e *record, id string, config args, gone bool) error {
	for _, b := range c.st.where("BucketInstance", "environmentId", e.id) {
		if b.text("bucketId") != id {
			continue
		}
		if !gone && !config.is("isDeleted") {
			return nil
		}
		if err := c.destroy(b); err != nil {
			return err
		}
		if bucket := c.st.get("Bucket", id); bucket != nil && len(c.st.where("BucketInstance", "bucketId", id)) == 0 {
			c.st.destroy(bucket)
		}
		return nil
	}
	bucket := c.st.get("Bucket", id)
	if bucket == nil && config.is("isCreated") {
		bucket = c.addAs("Bucket", id, Fields{"projectId": e.text("projectId"), "name": firstText(config.text("name"), "bucket-"+id[:min(8, len(id))])})
	}
	if bucket == nil || bucket.text("projectId") != e.text("projectId") || gone || config.is("isDeleted") {
		return fmt.Errorf("Bucket %s not found", id)
	}
	c.addBucketInstance(bucket, e, config.text("region"))
	return nil
}

// environmentApplyChangeSet carries out changes that name what they are about by address: service.web, or
// service.ID. It refuses a base that has changed.
func environmentApplyChangeSet(c *call, a args) (any, error) {
	e, changes, err := c.changeSet(a)
	if err != nil {
		return nil, err
	}
	if base := a.text("baseConfigEtag"); base != "" && base != c.etag(e) {
		return nil, fmt.Errorf("environment has changed since the plan was made")
	}
	results := []any{}
	for _, change := range changes {
		patch, err := c.patchFor(e, change)
		if err == nil {
			err = c.applyPatch(e, sealed(patch), false)
		}
		if err != nil {
			return nil, err
		}
		results = append(results, map[string]any{"kind": change.text("kind"), "status": "applied", "path": change.text("path")})
	}
	return c.add("ChangeSetApplyResult", Fields{
		"environmentId": e.id, "changes": results, "status": "applied", "diagnostics": []any{}, "message": a["commitMessage"],
	}), nil
}

func environmentPreviewChangeSet(c *call, a args) (any, error) {
	_, changes, err := c.changeSet(a)
	if err != nil {
		return nil, err
	}
	effects := []any{}
	for _, change := range changes {
		effects = append(effects, change.text("kind")+" "+change.text("address"))
	}
	return map[string]any{"changeSet": a["input"], "diagnostics": []any{}, "effects": effects}, nil
}

func (c *call) changeSet(a args) (*record, []args, error) {
	e, err := c.own("Environment", a.text("environmentId"))
	if err != nil {
		return nil, nil, err
	}
	input := a.object("input")
	if v := number(input["version"]); input == nil || v != 0 && v != 1 || input["version"] == nil {
		return nil, nil, fmt.Errorf("Unsupported RailwayChangeSet version: %v", input["version"])
	}
	list, _ := input["changes"].([]any)
	var changes []args
	for _, change := range list {
		changes = append(changes, asMap(change))
	}
	return e, changes, nil
}

// patchFor writes one change of a change set as a patch.
func (c *call) patchFor(e *record, change args) (map[string]any, error) {
	section, id, err := c.addressed(e, change)
	if err != nil {
		return nil, err
	}
	on := func(config any) map[string]any { return map[string]any{section: map[string]any{id: config}} }
	switch change.text("kind") {
	case "resource.delete":
		return on(map[string]any{"isDeleted": true}), nil
	case "resource.create":
		resource := change.object("resource")
		return on(mergePatch(resource, map[string]any{"isCreated": true, "variables": valuesOf(resource.object("variables"))})), nil
	case "resource.update":
		return on(map[string]any{change.text("field"): change["after"]}), nil
	case "variable.set":
		return on(map[string]any{"variables": map[string]any{change.text("variable"): variableValue(change["after"])}}), nil
	case "variable.delete":
		return on(map[string]any{"variables": map[string]any{change.text("variable"): nil}}), nil
	case "domain.create":
		port := map[string]any{"port": change["targetPort"]}
		return on(map[string]any{"networking": map[string]any{"customDomains": map[string]any{change.text("domain"): port}}}), nil
	default:
		return nil, fmt.Errorf("Unsupported change kind: %q", change.text("kind"))
	}
}

// addressed resolves TYPE.NAME, or TYPE.ID, to a section of a patch and an id in it.
func (c *call) addressed(e *record, change args) (section, id string, err error) {
	kind, name, _ := strings.Cut(change.text("address"), ".")
	of, known := map[string][2]string{
		"service": {"services", "Service"}, "database": {"services", "Service"}, "volume": {"volumes", "Volume"}, "bucket": {"buckets", "Bucket"},
	}[kind]
	if !known {
		return "", "", fmt.Errorf("Unsupported address: %q", change.text("address"))
	}
	for _, r := range c.st.where(of[1], "projectId", e.text("projectId")) {
		if r.id == name || r.text("name") == name {
			return of[0], r.id, nil
		}
	}
	if change.text("kind") == "resource.create" {
		return of[0], c.s.uuid(), nil
	}
	return "", "", fmt.Errorf("Resource not found: %q", change.text("address"))
}

// valuesOf and variableValue understand {"type": "literal", "value": …} and bare values.
func valuesOf(all args) map[string]any {
	out := map[string]any{}
	for name, value := range all {
		out[name] = variableValue(value)
	}
	return out
}

func variableValue(value any) any {
	if m, isMap := value.(map[string]any); isMap {
		return map[string]any{"value": m["value"]}
	}
	if value == nil {
		return nil
	}
	return map[string]any{"value": value}
}
