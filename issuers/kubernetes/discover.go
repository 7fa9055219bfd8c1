package kubernetes

import (
	"context"
)

// apiGroups maps an API group to the versions that the server has of it, the preferred one first.
type apiGroups map[string][]string

// roots are the URL paths of a group's versions.
func (a apiGroups) roots(group string) []string {
	if group == "" {
		return []string{corePath}
	}
	var roots []string
	for _, version := range a[group] {
		roots = append(roots, "/apis/"+group+"/"+version)
	}
	return roots
}

// discover asks which groups and versions there are.
func (i *Issuer) discover(ctx context.Context) (apiGroups, error) {
	var answer struct {
		Groups []struct {
			Name      string                     `json:"name"`
			Preferred struct{ Version string }   `json:"preferredVersion"`
			Versions  []struct{ Version string } `json:"versions"`
		} `json:"groups"`
	}
	if err := i.client.get(ctx, "/apis", &answer); err != nil {
		return nil, err
	}
	groups := apiGroups{}
	for _, g := range answer.Groups {
		groups[g.Name] = []string{g.Preferred.Version}
		for _, v := range g.Versions {
			if v.Version != g.Preferred.Version {
				groups[g.Name] = append(groups[g.Name], v.Version)
			}
		}
	}
	return groups, nil
}
