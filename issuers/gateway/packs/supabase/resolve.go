package supabase

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// The kinds that the pack's rows touch (the head of supabase.pack says what they are).
const (
	kindProject      = "project"
	kindDatabase     = "database"
	kindBranch       = "branch"
	kindParent       = "parent"
	kindBranches     = "branches"
	kindOrganization = "organization"
	kindAccount      = "account"
)

// project is what is read of Supabase's answer.
type project struct {
	Ref    string `json:"ref"`
	Name   string `json:"name"`
	Region string `json:"region"`
	Status string `json:"status"`
}

func (p project) resources() []broker.Resource { return names(kindProject, p.Ref, p.Name) }

// names are what a thing is called, the surest first.
func names(kind, ref, name string) []broker.Resource {
	all := []broker.Resource{broker.Resource(kind + "/" + ref)}
	if name != "" && name != ref {
		all = append(all, broker.Resource(kind+"/"+name))
	}
	return all
}

func (l *looking) project(ctx context.Context, ref string) (project, error) {
	var found project
	if !refPattern.MatchString(ref) {
		return project{}, errAbsent
	}
	if err := l.get(ctx, "/v1/projects/"+ref, &found); err != nil {
		return project{}, err
	}
	if found.Ref != ref {
		return project{}, unavailable("Supabase's answer is another project than was asked for")
	}
	return found, nil
}

// branch is what is read of Supabase's answer. A branch is a project; the default branch is the one that the
// others came from.
type branch struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Ref     string `json:"project_ref"`
	Parent  string `json:"parent_project_ref"`
	Default bool   `json:"is_default"`
}

type branches []branch

// branches lists the branches of a project; none for one without branching.
func (l *looking) branches(ctx context.Context, ref string) (branches, error) {
	var all branches
	err := l.get(ctx, "/v1/projects/"+ref+"/branches", &all)
	if errors.Is(err, errAbsent) {
		return nil, nil
	}
	for _, b := range all {
		if !refPattern.MatchString(b.Ref) {
			return nil, unavailable("Supabase's list of branches has one without a project")
		}
	}
	return all, err
}

// besides names the branches that are other projects than ref.
func (all branches) besides(ref string) []string {
	var others []string
	for _, b := range all {
		if b.Ref != ref {
			others = append(others, fmt.Sprintf("%s (%s)", b.Name, b.Ref))
		}
	}
	return others
}

// Resolve tells for each of named where it lives.
func (p *Provider) Resolve(ctx context.Context, named []judge.Named, fresh bool) ([]gateway.Found, error) {
	l := p.look(fresh)
	all := make([]gateway.Found, 0, len(named))
	for _, name := range named {
		found, err := l.resolve(ctx, name)
		if errors.Is(err, errAbsent) {
			err = broker.Errorf(broker.CodeDenied, "%s: Supabase shows no %s %s to the broker's token", name.At, name.Kind, name.ID).WithField(name.At)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, found)
	}
	return all, nil
}

func (l *looking) resolve(ctx context.Context, name judge.Named) (gateway.Found, error) {
	switch {
	case name.Kind == kindAccount:
		return elsewhere(kindAccount, Kind, "the account of the token's owner"), nil
	case name.ID == "":
		return gateway.Found{}, broker.Errorf(broker.CodeDenied, "the call names no %s", name.Kind)
	case name.Kind == kindOrganization:
		return elsewhere(kindOrganization, name.ID, "the organisation "+name.ID+" as a whole"), nil
	case name.Kind == kindProject, name.Kind == kindDatabase:
		return l.foundProject(ctx, name)
	case name.Kind == kindBranches:
		return l.foundBranches(ctx, name.ID)
	case name.Kind == kindBranch, name.Kind == kindParent:
		return l.foundBranch(ctx, name)
	}
	return gateway.Found{}, broker.Errorf(broker.CodeInternal, "nobody looks up the kind %s", name.Kind)
}

// elsewhere is a place that no target is.
func elsewhere(kind, id, shown string) gateway.Found {
	return gateway.Found{
		Names: []broker.Resource{broker.Resource(kind + "/" + id)}, Places: []broker.Place{{Identity: identity(kind), Shown: shown}}, Says: shown,
	}
}

func (l *looking) foundProject(ctx context.Context, name judge.Named) (gateway.Found, error) {
	found, err := l.project(ctx, name.ID)
	if err != nil {
		return gateway.Found{}, err
	}
	says := "the project " + found.Name + " (" + found.Ref + ") in " + found.Region
	if name.Kind == kindDatabase {
		says = "all data of " + says
	}
	return gateway.Found{Names: names(name.Kind, found.Ref, found.Name), Places: []broker.Place{found.place()}, Says: says}, nil
}

func (p project) place() broker.Place {
	return broker.Place{Identity: identity(p.Ref), Shown: "project " + p.Name}
}

// foundBranches is a project with every branch that goes with it.
func (l *looking) foundBranches(ctx context.Context, ref string) (gateway.Found, error) {
	found, err := l.project(ctx, ref)
	if err != nil {
		return gateway.Found{}, err
	}
	all, err := l.branches(ctx, ref)
	if err != nil {
		return gateway.Found{}, err
	}
	places := []broker.Place{found.place()}
	for _, b := range all {
		if place := b.place(); !slices.ContainsFunc(places, func(p broker.Place) bool { return p.Identity == place.Identity }) {
			places = append(places, place)
		}
	}
	says := "the project " + found.Name + " has no branches"
	if others := all.besides(ref); len(others) > 0 {
		says = fmt.Sprintf("the branches of the project %s, each with its own database: %s", found.Name, strings.Join(others, ", "))
	}
	return gateway.Found{Names: found.resources(), Places: places, Says: says}, nil
}

func (b branch) place() broker.Place {
	return broker.Place{Identity: identity(b.Ref), Shown: "branch " + b.Name}
}

// foundBranch finds a branch by its id or ref, or the project that it came from.
func (l *looking) foundBranch(ctx context.Context, name judge.Named) (gateway.Found, error) {
	b, err := l.branch(ctx, name.ID)
	if err != nil {
		return gateway.Found{}, err
	}
	if name.Kind == kindParent {
		return l.parent(b), nil
	}
	return gateway.Found{
		Names: append(names(kindBranch, b.Ref, b.Name), broker.Resource(kindProject+"/"+b.Ref)), Places: []broker.Place{b.place()},
		Says: fmt.Sprintf("the branch %s, which is the project %s", b.Name, b.Ref),
	}, nil
}

// branch looks among the target's own branches first. What is asked of any other branch has its database's
// password in the answer, of which the ref alone is read.
func (l *looking) branch(ctx context.Context, id string) (branch, error) {
	own, err := l.branches(ctx, l.config.Settings.Project)
	if err != nil {
		return branch{}, err
	}
	if at := slices.IndexFunc(own, func(b branch) bool { return b.ID == id || b.Ref == id }); at >= 0 {
		return own[at], nil
	}
	var other struct {
		Ref string `json:"ref"`
	}
	if !branchPattern.MatchString(id) {
		return branch{}, errAbsent
	}
	if err := l.get(ctx, "/v1/branches/"+id, &other); err != nil {
		return branch{}, err
	}
	if !refPattern.MatchString(other.Ref) {
		return branch{}, unavailable("Supabase's answer is no branch")
	}
	return branch{ID: id, Name: other.Ref, Ref: other.Ref}, nil
}

// parent is the project that a branch came from. For a branch that is none of the target's it cannot be
// asked, and then it is no place that a target could be.
func (l *looking) parent(b branch) gateway.Found {
	if !refPattern.MatchString(b.Parent) {
		return elsewhere(kindParent, "unknown", "the project that the branch "+b.Name+" came from, which Supabase does not tell")
	}
	return gateway.Found{
		Names:  names(kindProject, b.Parent, ""),
		Places: []broker.Place{{Identity: identity(b.Parent), Shown: "project " + b.Parent}},
		Says:   fmt.Sprintf("the project %s, which the branch %s came from", b.Parent, b.Name),
	}
}

// Find finds a resource by a scope's name of it: project/REF, project/NAME, the same of database, branch/REF
// or branch/NAME.
func (p *Provider) Find(ctx context.Context, resource broker.Resource) (gateway.Found, error) {
	l := p.look(true)
	kind, word, _ := strings.Cut(string(resource), "/")
	var found gateway.Found
	var err error
	switch kind {
	case kindProject, kindDatabase:
		found, err = l.foundProject(ctx, judge.Named{Kind: kind, ID: l.refOf(ctx, word)})
	case kindBranch:
		found, err = l.named(ctx, word)
	default:
		return found, broker.Errorf(broker.CodeInvalid, "%q: expected project/REF, database/REF or branch/REF", resource).WithField("scope")
	}
	if errors.Is(err, errAbsent) || err == nil && !slices.Contains(found.Names, resource) {
		return found, broker.Errorf(broker.CodeDenied, "Supabase shows no %s to the broker's token", resource).WithField("scope")
	}
	return found, err
}

// refOf is the target's own ref when word is its name, and else word.
func (l *looking) refOf(ctx context.Context, word string) string {
	if own, err := l.home(ctx); err == nil && own.Name == word {
		return own.Ref
	}
	return word
}

// named finds one of the target's branches by its name, id or ref.
func (l *looking) named(ctx context.Context, word string) (gateway.Found, error) {
	own, err := l.branches(ctx, l.config.Settings.Project)
	if err != nil {
		return gateway.Found{}, err
	}
	if at := slices.IndexFunc(own, func(b branch) bool { return b.Name == word }); at >= 0 {
		word = own[at].Ref
	}
	return l.foundBranch(ctx, judge.Named{Kind: kindBranch, ID: word})
}
