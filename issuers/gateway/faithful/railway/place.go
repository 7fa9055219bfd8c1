package railway

import "slices"

// place says where a record lives.
type place struct {
	workspace    string
	project      string
	user         string
	environments []string // ids, sorted; empty for what belongs to a workspace or a user
}

// place finds where a record lives, by what it belongs to. What belongs to a whole project lives in all of its
// environments; a volume, a service, a bucket in those where it has an instance.
func (st *state) place(r *record) place {
	p := st.home(r)
	spread, parted := spreads()[r.kind]
	switch {
	case parted:
		p.environments = nil
		for _, part := range st.where(spread[0], spread[1], r.id) {
			p.environments = append(p.environments, part.text("environmentId"))
		}
	case p.project != "" && p.environments == nil:
		for _, e := range st.where("Environment", "projectId", p.project) {
			p.environments = append(p.environments, e.id)
		}
	}
	slices.Sort(p.environments)
	p.environments = slices.Compact(p.environments)
	return p
}

// home follows the owners of a record upwards. A nil list of environments means that none was met.
func (st *state) home(r *record) place {
	switch r.kind {
	case "Workspace":
		return place{workspace: r.id}
	case "User":
		return place{user: r.id}
	}
	p := place{user: r.text("userId")}
	if r.kind == "Environment" {
		p.environments = []string{r.id}
	}
	if r.kind == "Project" {
		p.project = r.id
	}
	for _, field := range st.owners[r.kind] {
		owner := st.records[r.text(field)]
		if owner == nil || owner.id == r.id {
			continue
		}
		above := st.home(owner)
		p.workspace = firstText(p.workspace, above.workspace)
		p.project = firstText(p.project, above.project)
		p.user = firstText(p.user, above.user)
		p.environments = append(p.environments, above.environments...)
	}
	return p
}

func firstText(all ...string) string {
	for _, s := range all {
		if s != "" {
			return s
		}
	}
	return ""
}
