package github

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
)

// mostProtections is for how many repositories the rules of the default branch are looked up.
const mostProtections = 10

// Inventory tells of each repository what it is, and what holds its default branch.
func (p *Provider) Inventory(ctx context.Context) ([]broker.Fact, error) {
	l := p.look(false)
	var facts []broker.Fact
	for at, name := range p.config.Settings.Repositories {
		repo, err := l.repository(ctx, name)
		if err != nil {
			return nil, unseen(name, err)
		}
		facts = append(facts, repo.fact(p.config.Now()))
		if at >= mostProtections {
			continue
		}
		held, err := l.holds(ctx, repo)
		if err != nil {
			return nil, err
		}
		facts = append(facts, broker.Fact{About: string(repo.resource()), Text: held, At: p.config.Now().UTC()})
	}
	return facts, nil
}

// unseen is for what a target's settings name and GitHub does not show.
func unseen(name string, err error) error {
	var moved *renamedError
	if errors.Is(err, errAbsent) || errors.As(err, &moved) {
		return broker.Errorf(broker.CodeConflict, "the repository %s of the settings is not there under this name", name).WithField("repositories")
	}
	return err
}

// branchRule is what is read of GitHub's answer.
type branchRule struct {
	Type string `json:"type"`
}

// holds says which of the two rules that git itself cannot pass by there are for the default branch. They
// alone also hold what goes around the gateway.
func (l *looking) holds(ctx context.Context, repo repository) (string, error) {
	if repo.Default == "" {
		return "it has no branch yet", nil
	}
	var rules []branchRule
	err := l.get(ctx, "/repos/"+repo.FullName+"/rules/branches/"+escapeRef(repo.Default), &rules)
	var moved *movedError
	switch {
	case errors.Is(err, errAbsent), errors.As(err, &moved), broker.CodeOf(err) == broker.CodeDenied:
		return "the broker's token may not see what protects " + repo.Default, nil
	case err != nil:
		return "", err
	}
	var missing []string
	if !slices.Contains(rules, branchRule{"deletion"}) {
		missing = append(missing, "deletion")
	}
	if !slices.Contains(rules, branchRule{"non_fast_forward"}) {
		missing = append(missing, "force pushes")
	}
	if len(missing) == 0 {
		return repo.Default + " is held by a ruleset against force pushes and deletion", nil
	}
	return fmt.Sprintf("no ruleset holds %s against %s", repo.Default, strings.Join(missing, " and ")), nil
}

// escapeRef escapes a branch's name, whose slashes stay.
func escapeRef(ref string) string {
	parts := strings.Split(ref, "/")
	for at := range parts {
		parts[at] = url.PathEscape(parts[at])
	}
	return strings.Join(parts, "/")
}

// Find finds a repository by a scope's resource, repo/OWNER/NAME.
func (p *Provider) Find(ctx context.Context, resource broker.Resource) (gateway.Found, error) {
	name, ours := strings.CutPrefix(string(resource), kindRepo+"/")
	if !ours || !isRepository(name) {
		return gateway.Found{}, broker.Errorf(broker.CodeInvalid, "%q: expected repo/OWNER/NAME", resource).WithField("scope")
	}
	l := p.look(true)
	home, err := l.environment(ctx)
	if err != nil {
		return gateway.Found{}, err
	}
	found, err := l.found(ctx, home, name)
	var moved *renamedError
	switch {
	case errors.As(err, &moved):
		return found, broker.Errorf(broker.CodeDenied, "%s has moved, GitHub calls it %s now", resource, moved.now).WithField("scope").WithNext("ask for repo/%s", moved.now)
	case errors.Is(err, errAbsent):
		return found, broker.Errorf(broker.CodeDenied, "GitHub shows no %s to the broker's token", name).WithField("scope")
	case err == nil && string(found.Names[0]) != string(resource):
		return found, broker.Errorf(broker.CodeDenied, "%s: GitHub writes it %s", resource, found.Names[0]).WithField("scope").WithNext("ask for it as GitHub writes it")
	}
	return found, err
}
