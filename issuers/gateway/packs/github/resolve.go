package github

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// The kinds that the pack's rows touch (the head of github.pack says what they are).
const (
	kindRepo    = "repo"    // owner/name, or ~/number
	kindPull    = "pull"    // owner/name/number
	kindCommits = "commits" // owner/name/ what names one commit, or two joined by "..." or ".."
	kindAccount = "account"
)

// repository is what is read of GitHub's answer.
type repository struct {
	ID         int64     `json:"id"`
	FullName   string    `json:"full_name"`
	Private    bool      `json:"private"`
	Visibility string    `json:"visibility"`
	Archived   bool      `json:"archived"`
	Fork       bool      `json:"fork"`
	Default    string    `json:"default_branch"`
	Size       int64     `json:"size"` // KB
	Pushed     time.Time `json:"pushed_at"`
	Source     *struct {
		ID int64 `json:"id"`
	} `json:"source"` // the root of a fork's network
}

// network is the number of the repository that this one was forked from in the end, or its own.
func (r repository) network() int64 {
	if r.Source != nil {
		return r.Source.ID
	}
	return r.ID
}

func (r repository) resource() broker.Resource { return broker.Resource(kindRepo + "/" + r.FullName) }

// renamedError says what a repository is called now.
type renamedError struct{ now string }

func (e *renamedError) Error() string { return "it is called " + e.now + " now" }

// repository asks for one by its name. A name that GitHub redirects is a *renamedError.
func (l *looking) repository(ctx context.Context, name string) (repository, error) {
	owner, short, _ := strings.Cut(name, "/")
	path := "/repos/" + name
	switch {
	case owner == "~" && isNumber(short):
		path = numbered + short
	case !isRepository(name):
		return repository{}, errAbsent
	}
	repo, err := l.repositoryAt(ctx, path)
	var moved *movedError
	if !errors.As(err, &moved) {
		return repo, err
	}
	now := "something else"
	if number, cut := strings.CutPrefix(moved.to, numbered); cut && isNumber(number) {
		if repo, err := l.repositoryAt(ctx, moved.to); err == nil {
			now = repo.FullName
		}
	}
	return repository{}, &renamedError{now}
}

func (l *looking) repositoryAt(ctx context.Context, path string) (repository, error) {
	var repo repository
	if err := l.get(ctx, path, &repo); err != nil {
		return repository{}, err
	}
	if repo.ID <= 0 || !isRepository(repo.FullName) {
		return repository{}, unavailable("GitHub's answer is no repository")
	}
	return repo, nil
}

// Resolve tells for each of named where it lives.
func (p *Provider) Resolve(ctx context.Context, named []judge.Named, fresh bool) ([]gateway.Found, error) {
	l := p.look(fresh)
	home, err := l.environment(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]gateway.Found, 0, len(named))
	for _, name := range named {
		found, err := l.resolve(ctx, home, name)
		if err != nil {
			return nil, told(name, err)
		}
		all = append(all, found)
	}
	return all, nil
}

func (l *looking) resolve(ctx context.Context, home environment, name judge.Named) (gateway.Found, error) {
	switch {
	case name.Kind == kindAccount:
		return account(), nil
	case name.ID == "":
		return gateway.Found{}, broker.Errorf(broker.CodeDenied, "the call names no %s", name.Kind)
	case name.Kind == kindRepo:
		return l.found(ctx, home, name.ID)
	case name.Kind == kindPull:
		return l.pull(ctx, home, name.ID)
	case name.Kind == kindCommits:
		return l.commits(ctx, home, name.ID)
	}
	return gateway.Found{}, broker.Errorf(broker.CodeInternal, "nobody looks up the kind %s", name.Kind)
}

// told makes of a failed look-up what the caller is told: which argument, and what is wrong with it.
func told(name judge.Named, err error) error {
	at := name.At
	if at == "" {
		at = name.Kind
	}
	var moved *renamedError
	switch {
	case errors.As(err, &moved):
		return broker.Errorf(broker.CodeDenied, "%s: %s has moved, GitHub calls it %s now", at, name.ID, moved.now).WithField(at).WithNext("use the new name")
	case errors.Is(err, errAbsent):
		return broker.Errorf(broker.CodeDenied, "%s: GitHub shows no %s to the broker's token", at, name.ID).WithField(at)
	}
	return err
}

// account is everything outside of repositories. No target is there.
func account() gateway.Found {
	return gateway.Found{
		Names:  []broker.Resource{kindAccount + "/" + Kind},
		Places: []broker.Place{{Identity: Kind + ":" + kindAccount, Shown: "the account as a whole"}},
		Says:   "what belongs to the whole account, outside of every repository",
	}
}

func (l *looking) found(ctx context.Context, home environment, name string) (gateway.Found, error) {
	repo, err := l.repository(ctx, name)
	if err != nil {
		return gateway.Found{}, err
	}
	return gateway.Found{
		Names: []broker.Resource{repo.resource()}, Places: []broker.Place{l.place(home, repo)}, Says: repo.says(), Facts: []broker.Fact{repo.fact(l.config.Now())},
	}, nil
}

// place is the target's own for its repositories, and for any other its number: the identity of a target
// that lists that one alone.
func (p *Provider) place(home environment, repo repository) broker.Place {
	if slices.Contains(home.ids, repo.ID) {
		return broker.Place{Identity: home.identity.ID, Shown: home.identity.Shown}
	}
	return broker.Place{Identity: p.identity(repo.ID), Shown: "repository " + repo.FullName}
}

func (r repository) says() string {
	text := "the " + r.visibility() + " repository " + r.FullName
	if r.Archived {
		text += ", archived"
	}
	return text
}

func (r repository) visibility() string {
	switch {
	case r.Visibility != "":
		return r.Visibility
	case r.Private:
		return "private"
	}
	return "public"
}

func (r repository) fact(now time.Time) broker.Fact {
	text := fmt.Sprintf("%s, default branch %s, %d MB", r.visibility(), r.Default, (r.Size+1023)/1024)
	if !r.Pushed.IsZero() {
		text += ", last pushed to " + r.Pushed.UTC().Format("2006-01-02 15:04Z")
	}
	return broker.Fact{About: string(r.resource()), Text: text, At: now.UTC()}
}

// pullRequest is what is read of GitHub's answer.
type pullRequest struct {
	Head struct {
		Ref  string      `json:"ref"`
		Repo *repository `json:"repo"`
	} `json:"head"`
}

// pull finds the repository that a pull request's own branch is in: that of the request, or a fork.
func (l *looking) pull(ctx context.Context, home environment, id string) (gateway.Found, error) {
	name, number, err := parent(id)
	if err != nil {
		return gateway.Found{}, err
	}
	if !isNumber(number) {
		return gateway.Found{}, broker.Errorf(broker.CodeDenied, "%q is no number of a pull request", number)
	}
	base, err := l.repository(ctx, name)
	if err != nil {
		return gateway.Found{}, err
	}
	var pull pullRequest
	if err := l.get(ctx, "/repos/"+base.FullName+"/pulls/"+number, &pull); err != nil {
		return gateway.Found{}, err
	}
	if pull.Head.Repo == nil || pull.Head.Repo.ID <= 0 || !isRepository(pull.Head.Repo.FullName) {
		return gateway.Found{}, broker.Errorf(broker.CodeDenied, "the repository that pull request %s of %s comes from is gone", number, base.FullName)
	}
	head := *pull.Head.Repo
	return gateway.Found{
		Names: []broker.Resource{head.resource()}, Places: []broker.Place{l.place(home, head)},
		Says: fmt.Sprintf("pull request %s of %s, from the branch %q of %s", number, base.FullName, pull.Head.Ref, head.FullName),
	}, nil
}

// parent takes an id apart into OWNER/NAME and what follows.
func parent(id string) (name, rest string, err error) {
	parts := strings.SplitN(id, "/", 3)
	if len(parts) < 3 {
		return "", "", broker.Errorf(broker.CodeDenied, "%q names nothing in a repository", id)
	}
	return parts[0] + "/" + parts[1], parts[2], nil
}
