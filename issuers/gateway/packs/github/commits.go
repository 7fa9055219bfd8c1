package github

import (
	"context"
	"errors"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
)

// commits finds the repository that the names of commits lead to. "main" and "main...fix" are of the
// repository itself; "owner:branch" and "owner:name:branch" are of another one in its network of forks, whose
// content would be read or brought in.
func (l *looking) commits(ctx context.Context, home environment, id string) (gateway.Found, error) {
	name, text, err := parent(id)
	if err != nil {
		return gateway.Found{}, err
	}
	base, err := l.repository(ctx, name)
	if err != nil {
		return gateway.Found{}, err
	}
	other := base
	for side := range strings.SplitSeq(strings.ReplaceAll(text, "...", ".."), "..") {
		repo, err := l.side(ctx, base, side)
		switch {
		case err != nil:
			return gateway.Found{}, err
		case repo.ID == base.ID:
		case other.ID == base.ID:
			other = repo
		case other.ID != repo.ID:
			return gateway.Found{}, broker.Errorf(broker.CodeDenied, "%q names two other repositories", text)
		}
	}
	return gateway.Found{
		Names: []broker.Resource{other.resource()}, Places: []broker.Place{l.place(home, other)}, Says: "commits of " + other.FullName,
	}, nil
}

// side is the repository of one commit's name.
func (l *looking) side(ctx context.Context, base repository, text string) (repository, error) {
	owner, short, _ := strings.Cut(base.FullName, "/")
	switch parts := strings.Split(text, ":"); {
	case text == "" || parts[0] == "" || parts[len(parts)-1] == "" || len(parts) > 3:
		return repository{}, broker.Errorf(broker.CodeDenied, "%q does not name commits in a way that is known: expected branch, owner:branch or owner:name:branch", text)
	case len(parts) == 1, len(parts) == 2 && strings.EqualFold(parts[0], owner):
		return base, nil
	case len(parts) == 2:
		return l.fork(ctx, base, parts[0], short)
	default:
		return l.fork(ctx, base, parts[0], parts[1])
	}
}

// fork finds a repository of the same network. An owner has one fork of a network at most, but may have
// given it another name: which one "owner:branch" then means cannot be asked.
func (l *looking) fork(ctx context.Context, base repository, owner, short string) (repository, error) {
	name := owner + "/" + short
	if !isRepository(name) {
		return repository{}, broker.Errorf(broker.CodeDenied, "%q is no repository", name)
	}
	repo, err := l.repository(ctx, name)
	if errors.Is(err, errAbsent) || err == nil && repo.network() != base.network() {
		return repository{}, broker.Errorf(broker.CodeDenied, "%s is no repository in the network of %s that GitHub shows to the broker's token", name, base.FullName).
			WithNext("write owner:name:branch if the fork has another name")
	}
	return repo, err
}
