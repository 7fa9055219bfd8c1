package differential

import (
	"encoding/json"
	"slices"
	"strings"
)

// opaque makes a value of a scalar that the schema says nothing of.
func (m *maker) opaque(path, typ string) any {
	switch {
	case typ == "EnvironmentConfig":
		return m.patch(path)
	case typ == "EnvironmentVariables" || strings.HasSuffix(path, "ariables"):
		return m.variables(func(value any) any { return value })
	case typ == "SerializedTemplateConfig":
		return map[string]any{"services": map[string]any{m.fresh(): m.service(1)}}
	case strings.HasSuffix(path, "multiRegionConfig"):
		return m.regions()
	case strings.HasSuffix(path, "edgeRules"):
		return m.rules()
	case m.operation == "environmentApplyChangeSet" || m.operation == "environmentPreviewChangeSet":
		return m.changeSet()
	case typ == "NotificationChannelConfig":
		return map[string]any{"type": "webhook", "webhookUrl": "https://hooks.example.com/new-one-of-mine"}
	case strings.HasSuffix(path, "volumes"): // of a template
		return map[string]any{"mountPath": "/data"}
	}
	return pick(m.Rand, []any{map[string]any{}, map[string]any{"a": json.Number("1")}, true, "text", json.Number("0"), []any{"x"}, map[string]any{"token": "made-token"}})
}

// fresh is the id of something that is to be made.
func (m *maker) fresh() string {
	return pick(m.Rand, []string{"11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"})
}

// variables sets some, and takes some away.
func (m *maker) variables(wrap func(any) any) map[string]any {
	all := map[string]any{}
	for range 1 + m.IntN(2) {
		name := pick(m.Rand, []string{"STRIPE_KEY", "SESSION_KEY", "SENTRY_DSN", "POSTGRES_PASSWORD", "DATABASE_URL", "NEW_ONE", "NEW_TWO"})
		all[name] = wrap(pick(m.Rand, []any{"x", "y", "a longer value", "${{postgres.POSTGRES_PASSWORD}}"}))
		if m.chance(m.wrong) {
			all[name] = pick(m.Rand, []any{nil, wrap(""), wrap(nil), json.Number("5"), true})
		}
	}
	return all
}

func (m *maker) regions() any {
	replicas := func() any {
		return pick(m.Rand, []any{map[string]any{"numReplicas": json.Number("1")}, map[string]any{"numReplicas": json.Number("0")}, nil})
	}
	return pick(m.Rand, []any{nil, map[string]any{}, map[string]any{"us-west2": replicas()}, map[string]any{"us-west2": replicas(), "europe-west4": replicas()}})
}

func (m *maker) rules() any {
	rule := map[string]any{"expression": "true", "action": "allow"}
	return pick(m.Rand, []any{nil, []any{}, []any{rule}, []any{map[string]any{"id": "rul_kept", "expression": "false", "action": "block"}}})
}

func (m *maker) changeSet() any {
	change := map[string]any{"kind": pick(m.Rand, []string{"variable.set", "resource.delete"}), "address": "service.web", "variable": "A", "after": "1"}
	return map[string]any{"version": json.Number("1"), "changes": []any{change}}
}

// patch makes a change of an environment's configuration: what is wanted below path, or a few things.
func (m *maker) patch(path string) any {
	patch := map[string]any{}
	for _, want := range m.want {
		if below, is := strings.CutPrefix(want, path+"."); is {
			m.put(patch, strings.Split(below, "."))
		}
	}
	for len(patch) == 0 || m.chance(0.35) {
		m.put(patch, strings.Split(pick(m.Rand, patchPaths()), "."))
	}
	if m.chance(m.wrong) {
		m.spoil(patch)
	}
	return patch
}

// patchPaths are parts of a configuration that are known to mean something.
func patchPaths() []string {
	return strings.Fields(`services.*.source.image services.*.source.repo services.*.source.rootDirectory services.*.variables.*
		services.*.variables.*.value services.*.build.buildCommand services.*.build.builder services.*.deploy.startCommand services.*.deploy.numReplicas
		services.*.deploy.healthcheckPath services.*.deploy.multiRegionConfig services.*.deploy.cronSchedule services.*.deploy.sleepApplication
		services.*.volumeMounts.* services.*.isDeleted services.*.isCreated services.*.networking.serviceDomains.* services.*.networking.customDomains.*
		services.*.networking.tcpProxies.* sharedVariables.* sharedVariables.*.value volumes.*.sizeMB volumes.*.isDeleted volumes.*.isCreated
		volumes.*.region buckets.*.isDeleted buckets.*.isCreated buckets.*.region groups.*.name privateNetworkDisabled stopServices`)
}

// put sets a path in an object; keys are found for what is written *.
func (m *maker) put(object map[string]any, path []string) {
	at := []string{}
	for n, key := range path {
		if key == "*" || key == "**" {
			key = m.key(at)
		}
		at = append(at, key)
		if n == len(path)-1 {
			object[key] = m.setting(at)
			return
		}
		next, is := object[key].(map[string]any)
		if !is {
			next = map[string]any{}
			object[key] = next
		}
		object = next
	}
}

// key finds a key of the object at a path in a configuration.
func (m *maker) key(at []string) string {
	last := ""
	if len(at) > 0 {
		last = at[len(at)-1]
	}
	switch last {
	case "services":
		return m.id("Service")
	case "volumes", "volumeMounts":
		return m.id("Volume")
	case "buckets":
		return m.id("Bucket")
	case "groups":
		return m.id("Group")
	case "variables", "sharedVariables":
		return pick(m.Rand, []string{"STRIPE_KEY", "SESSION_KEY", "SENTRY_DSN", "POSTGRES_PASSWORD", "NEW_ONE"})
	case "serviceDomains", "customDomains":
		return pick(m.Rand, []string{"web-staging.up.railway.app", "staging.shop.example.com", "new.example.com"})
	case "tcpProxies":
		return pick(m.Rand, []string{"5432", "9000"})
	case "multiRegionConfig":
		return pick(m.Rand, []string{"us-west2", "europe-west4"})
	}
	return pick(m.Rand, []string{"a", "other"})
}

// setting makes the value at a path in a configuration.
func (m *maker) setting(at []string) any {
	last := at[len(at)-1]
	under := ""
	if len(at) > 1 {
		under = at[len(at)-2]
	}
	switch {
	case m.chance(m.wrong / 2):
		return nil
	case under == "variables" || under == "sharedVariables":
		return map[string]any{"value": pick(m.Rand, []any{"x", "a longer value", "${{postgres.POSTGRES_PASSWORD}}"})}
	case under == "volumeMounts":
		return map[string]any{"mountPath": pick(m.Rand, []string{"/data", "/elsewhere"})}
	case under == "multiRegionConfig":
		return map[string]any{"numReplicas": json.Number("1")}
	case under == "serviceDomains" || under == "customDomains" || under == "tcpProxies":
		return map[string]any{"port": json.Number("8080")}
	case under == "services" || under == "deploy" && last == "deploy":
		return m.service(1)
	case strings.HasPrefix(last, "is") || slices.Contains([]string{"privateNetworkDisabled", "sleepApplication", "allowOnlineResize", "ipv6EgressEnabled", "useLegacyStacker", "checkSuites"}, last):
		return !m.chance(0.15)
	case last == "volumeMounts":
		return map[string]any{m.id("Volume"): map[string]any{"mountPath": "/data"}}
	case last == "stopServices":
		return []any{m.id("Service")}
	case last == "multiRegionConfig":
		return m.regions()
	case last == "groupId":
		return m.id("Group")
	}
	return m.settingByName(last)
}

func (m *maker) settingByName(last string) any {
	if m.chance(0.06) {
		return ""
	}
	if words := wordsByName()[last]; words != nil {
		return pick(m.Rand, words)
	}
	switch last {
	case "value":
		return pick(m.Rand, []any{"x", "", "a longer value"})
	case "numReplicas":
		return pick(m.Rand, []json.Number{"1", "2", "0"})
	case "sizeMB", "cpu", "memoryBytes", "diskBytes", "healthcheckTimeout", "overlapSeconds", "drainingSeconds", "restartPolicyMaxRetries", "usage":
		return pick(m.Rand, []json.Number{"1", "1000", "100000000", "0", "0.01"})
	case "watchPatterns":
		return []any{"src/**"}
	case "registryCredentials":
		return map[string]any{"username": "u", "password": "p"}
	}
	return "made-" + last
}

// service makes the settings of a service.
func (m *maker) service(n int) map[string]any {
	settings := map[string]any{}
	for range n {
		m.put(settings, pick(m.Rand, [][]string{
			{"source", "image"}, {"deploy", "startCommand"}, {"variables", "*"}, {"deploy", "numReplicas"}, {"name"}, {"isDeleted"}, {"isCreated"},
		}))
	}
	return settings
}

// spoil makes a configuration what nobody expects: nulls, lists, other spellings, settings that are not known.
func (m *maker) spoil(patch map[string]any) {
	keys := []string{}
	for key := range patch {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	key := pick(m.Rand, keys)
	if inner, is := patch[key].(map[string]any); is && len(inner) > 0 && m.chance(0.7) {
		m.spoil(inner)
		return
	}
	switch m.IntN(6) {
	case 0:
		patch[key] = nil
	case 1:
		patch[key] = []any{patch[key]}
	case 2:
		patch[strings.ToUpper(key[:min(1, len(key))])+key[min(1, len(key)):]] = patch[key]
	case 3:
		patch["notKnownYet"] = true
	case 4:
		patch[key] = map[string]any{}
	case 5:
		text, err := json.Marshal(patch[key])
		if err == nil {
			patch[key] = string(text)
		}
	}
}
