package kubernetes

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
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

// A write in one version of a custom resource drops what only another version has, and the admission policy sees the object in the one alone
// (Kubernetes documentation, Versions in CustomResourceDefinitions). So a kind that is served in more than one counts as one that loses fields.

// versionsOf tells in which versions the server has a kind. One that the broker's account may not ask counts.
func (i *Issuer) versionsOf(ctx context.Context, groups apiGroups, k kind) ([]string, error) {
	versions := groups[k.group]
	if len(versions) < 2 {
		return versions, nil
	}
	var served []string
	for at, root := range groups.roots(k.group) {
		var answer struct {
			Kind      string                  `json:"kind"`
			Resources []struct{ Name string } `json:"resources"`
		}
		err := i.client.get(ctx, root, &answer)
		switch {
		case isStatus(err, http.StatusForbidden):
		case err != nil:
			return nil, err
		case answer.Kind != "APIResourceList":
			return nil, errOtherKind
		case !slices.ContainsFunc(answer.Resources, func(r struct{ Name string }) bool { return r.Name == k.resource }):
			continue
		}
		served = append(served, versions[at])
	}
	return served, nil
}

// versioned are the grants to write plain data that is served in more than one version, and which those are, for people.
type versioned struct {
	grants []grant
	told   []string // "widgets.example.com (v1, v1beta1)", sorted
}

func (i *Issuer) versionedOf(ctx context.Context, groups apiGroups, grants []grant) (v versioned, err error) {
	for _, g := range grants {
		if !g.actions.Has(broker.Write) || !i.isPlain(g.kind) {
			continue
		}
		versions, err := i.versionsOf(ctx, groups, g.kind)
		if err != nil {
			return v, err
		}
		if len(versions) > 1 {
			v.grants, v.told = append(v.grants, g), append(v.told, g.kind.name+" ("+strings.Join(versions, ", ")+")")
		}
	}
	v.told = sorted(v.told)
	return v, nil
}

// versionWalls say that the policy does not see it, where there is such a kind.
func (i *Issuer) versionWalls(v versioned) []broker.WallFact {
	if len(v.grants) == 0 {
		return nil
	}
	return []broker.WallFact{{
		Stops: "removing fields of a custom resource by writing it in another version", Wall: broker.WallWeak,
		How: "a write in one version drops what only another has, and there are some: " + some(v.told, mostNamed, ", "), Gives: i.scopesWith(v.grants, broker.Delete),
	}}
}
