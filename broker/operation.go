package broker

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Operation is one call that waits for humans, or was approved, instead of a credential.
type Operation struct {
	Digest string `json:"digest"`          // agent key, task, target, the exact operation, names and places
	About  string `json:"about,omitempty"` // agent key, task, target, and what is done to what: the same for other words
	Lease  string `json:"lease"`           // through which it was tried
	Text   string `json:"text"`            // as the reviewer reads it
	// Names tell what people call a resource that a scope names by its id: "volume/3d2c…" → "volume/shop-data".
	Names map[Resource]Resource `json:"names,omitempty"`
}

// Called is how a reviewer reads the name of a resource: by what people call it, and its id.
func (r Request) Called(resource Resource) string {
	if resource == "*" { // no thing is called so: a star stands at an end alone
		return "* (everything)"
	}
	if r.Operation == nil || r.Operation.Names[resource] == "" {
		return string(resource)
	}
	_, id, _ := strings.Cut(string(resource), "/")
	return fmt.Sprintf("%s (%s)", r.Operation.Names[resource], id)
}

// names gives, for each name of a thing that is not the last, the last: the one that people use.
func (u use) names() map[Resource]Resource {
	names := map[Resource]Resource{}
	for _, touched := range u.Touches { // the surest names first: nobody else's name takes them over
		names[touched.Names[0]] = touched.Names[len(touched.Names)-1]
	}
	for _, touched := range u.Touches {
		for _, name := range touched.Names[1:] {
			if _, taken := names[name]; !taken {
				names[name] = touched.Names[len(touched.Names)-1]
			}
		}
	}
	maps.DeleteFunc(names, func(name, last Resource) bool { return name == last })
	return names
}

// operationDigests identify a call, so that an approval is for that one alone and asking twice is one question, through
// whatever lease of the task: an agent that waited has another one by then.
func (u use) operationDigests() (exact, about string, err error) {
	type pair struct {
		Names   []Resource
		Actions Actions
		Places  []string
	}
	pairs := make([]pair, len(u.Touches))
	for i, t := range u.Touches {
		pairs[i] = pair{t.Names, t.Actions, nil}
		for _, place := range t.Places {
			pairs[i].Places = append(pairs[i].Places, place.Identity+" "+place.Shown)
		}
		slices.Sort(pairs[i].Places)
	}
	raw, err := json.Marshal(pairs)
	if err != nil {
		return "", "", fmt.Errorf("encoding what a call touches: %w", err)
	}
	exact = digest("hourkey/operation/2", []string{u.Lease.AgentKey, u.Lease.Task, u.Lease.Environment, u.Lease.Target, u.Operation, u.Exact, string(raw)})
	var what []string
	for _, touched := range u.Touches {
		if touched.Actions != Read {
			what = append(what, touched.Actions.String()+" "+string(touched.Names[0]))
		}
	}
	slices.Sort(what)
	about = digest("hourkey/about/1", append([]string{u.Lease.AgentKey, u.Lease.Task, u.Lease.Target}, slices.Compact(what)...))
	return exact, about, nil
}
