package kubernetes_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/issuers/kubernetes"
)

// served is what the server says of one resource in one version of its group.
type served struct {
	Name       string
	Namespaced bool
	Verbs      []string
}

// discover asks the server for every resource that it has, all alpha and beta versions with it.
func (s *site) discover(t *testing.T) map[string][]served {
	t.Helper()
	var groups struct {
		Groups []struct {
			Name     string
			Versions []struct{ GroupVersion string }
		}
	}
	get := func(path string, into any) {
		t.Helper()
		if err := s.Do(t.Context(), s.Token(), "GET", path, nil, into); err != nil {
			t.Fatal(err)
		}
	}
	all := map[string][]served{}
	read := func(path, group string) {
		var list struct{ Resources []served }
		get(path, &list)
		for _, r := range list.Resources {
			resource, sub, found := strings.Cut(r.Name, "/")
			name := resource
			if group != "" {
				name += "." + group
			}
			if found {
				name += "+" + sub
			}
			all[name] = append(all[name], r)
		}
	}
	read("/api/v1", "")
	get("/apis", &groups)
	for _, g := range groups.Groups {
		if strings.HasSuffix(g.Name, "example.com") {
			continue // another test's
		}
		for _, v := range g.Versions {
			read("/apis/"+v.GroupVersion, g.Name)
		}
	}
	return all
}

// Every resource of a real server has its line: a new release of Kubernetes brings nothing in unseen.
func TestEveryBuiltInResourceHasALine(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	rows, err := kubernetes.Rows()
	if err != nil {
		t.Fatal(err)
	}
	all := s.discover(t)
	if len(all) < 100 {
		t.Fatalf("the server has %d resources: too few to mean something", len(all))
	}
	for name, versions := range all {
		row, known := rows[name]
		if !known {
			t.Errorf("%s has no line in kinds.txt: say what it can do, and who must agree", name)
			continue
		}
		for _, r := range versions {
			if row.Cluster == r.Namespaced {
				t.Errorf("%s: namespaced is %t at the server", name, r.Namespaced)
			}
			if strings.Contains(name, "+") {
				continue // of subresources, what is not in the line is not offered
			}
			for verb, there := range map[string]bool{"list": row.Read, "create": row.Write, "update": row.Write, "delete": row.Delete} {
				if slices.Contains(r.Verbs, verb) && !there {
					t.Errorf("%s can %s, and its line says that there is no such thing", name, verb)
				}
			}
		}
	}
}

// A kind that makes pods, and that the admission policy does not know, would have a lease choose whose identity they have.
func TestAdmissionPolicyKnowsEveryKindThatMakesPods(t *testing.T) {
	t.Parallel()
	kinds, err := kubernetes.PodKinds()
	if err != nil || len(kinds) < 8 {
		t.Fatalf("kinds that run pods: %v, %v", kinds, err)
	}
	for _, kind := range kinds {
		if !strings.Contains(kubernetes.PolicyYAML(), "'"+kind+"'") {
			t.Errorf("policy.yaml does not look into the pods of %s", kind)
		}
	}
}

func TestAWrongLineOfTheTableIsRefused(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"configmaps", "configmaps yes", "configmaps yes yes yes", "configmaps yes maybe yes -", "configmaps yes yes yes -\nconfigmaps yes yes yes -",
		"nodes cluster\nnodes cluster", "configmaps admin+yes+ no yes -",
	} {
		if err := kubernetes.ParseKinds(line); err == nil {
			t.Errorf("%q is read", line)
		}
	}
}
