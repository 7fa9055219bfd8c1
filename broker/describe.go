package broker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// describeItem asks the issuer what it would issue, checks that answer, and evaluates it.
func (b *Broker) describeItem(ctx context.Context, cfg *Configuration, agent Agent, request *Request, item *Item) error {
	description, err := b.describe(ctx, cfg, *item, item.Asked, request.TTL)
	if err != nil {
		return err
	}
	if err := description.reachesOnly(request.Environments, item.Environment, item.Target); err != nil {
		return err
	}
	decision := b.evaluateDescribed(cfg, agent, request.Task, item.Environment, item.Target, description)
	if decision.Outcome == Deny {
		return denied(decision)
	}
	item.Facts, description.Facts = description.Facts, nil
	item.Description = description
	request.TTL = min(request.TTL, description.TTL)
	request.decided(decision, item.environments()...)
	return nil
}

// reachesOnly refuses what reaches an environment that the request does not name (invariant 4).
func (d Description) reachesOnly(named []string, environment, target string) error {
	for _, reached := range d.Reaches {
		if !slices.Contains(named, reached) {
			return Errorf(CodeDenied, "%s; the request does not name %s (invariant 4)", orElse(strings.Join(d.Elsewhere, "; "), target+" also reaches "+reached), reached).
				WithNext("leave that resource out, or ask for both: --environment %s --environment %s", environment, reached)
		}
	}
	return nil
}

// decided adds what the policy said of one item; the worse answer counts.
func (r *Request) decided(decision Decision, environments ...string) {
	r.Decision.Outcome = Worse(r.Decision.Outcome, decision.Outcome)
	for _, reason := range decision.Reasons {
		if !slices.Contains(r.Decision.Reasons, reason) {
			r.Decision.Reasons = append(r.Decision.Reasons, reason)
		}
	}
	if decision.Outcome == Escalate {
		for _, environment := range environments {
			r.need(environment, 1)
		}
	}
}

// providerTimeout bounds one call of an issuer.
const providerTimeout = 30 * time.Second

// describe asks the issuer and holds its answer to what the broker promises of every description.
func (b *Broker) describe(ctx context.Context, cfg *Configuration, item Item, scopes []Scope, ttl time.Duration) (Description, error) {
	ref := TargetRef{item.Environment, item.Target}
	target, known := cfg.Targets[ref]
	if !known {
		return Description{}, Errorf(CodeDenied, "environment %s has no target %s", item.Environment, item.Target)
	}
	ctx, cancel := context.WithTimeout(ctx, providerTimeout)
	defer cancel()
	capabilities := target.Issuer.Capabilities()
	if ttl < capabilities.TTLFloor {
		return Description{}, Errorf(CodeInvalid, "ttl %s is shorter than %s can make it: at least %s", ttl, ref, capabilities.TTLFloor).WithField("ttl").WithNext("name a longer --ttl, or leave that target out: --target, --scope")
	}
	if capabilities.TTLMax > 0 {
		ttl = min(ttl, capabilities.TTLMax)
	}
	description, err := target.Issuer.Describe(ctx, Wish{Scopes: scopes, TTL: ttl})
	if err != nil {
		return Description{}, providerError("describing", ref, err)
	}
	description.Scopes = Normalize(description.Scopes)
	if description.TTL > ttl {
		return Description{}, Errorf(CodeInvalid, "ttl %s is shorter than %s can make it: at least %s", ttl, ref, description.TTL).WithField("ttl").WithNext("name a longer --ttl, or leave that target out: --target, --scope")
	}
	if slices.ContainsFunc(description.Means(), func(s Scope) bool { return !utf8.ValidString(string(s.Resource)) }) {
		return Description{}, Errorf(CodeInternal, "%s has a name that is not UTF-8: nobody could be shown it, and its digest would be another's", ref)
	}
	if len(description.Scopes) == 0 || description.TTL <= 0 || !coversAsked(description.Scopes, scopes) {
		return Description{}, Errorf(CodeInternal, "the description of %s is smaller than what was asked: nothing is issued", ref)
	}
	if slices.ContainsFunc(description.Means(), func(s Scope) bool { return s.Target != item.Target || s.Actions == 0 }) {
		return Description{}, Errorf(CodeInternal, "the description of %s speaks of another target, or of no action: nothing is issued", ref)
	}
	if len(description.Reaches) == 0 {
		description.Reaches = []string{item.Environment}
	}
	slices.Sort(description.Reaches)
	return description, b.pinned(ctx, cfg, ref, target, description.Identity)
}

// coversAsked tells whether a description is at least what was asked. A prefix that was expanded is
// covered by the names that it stands for: at least one, each with every action asked.
func coversAsked(described, asked []Scope) bool {
	for _, a := range asked {
		if Covers(described, []Scope{a}) {
			continue
		}
		if !a.Resource.IsPrefix() {
			return false
		}
		met := false
		for _, d := range described {
			if d.Target == a.Target && a.Resource.Covers(d.Resource) {
				met = true
				if !a.Actions.IsSubsetOf(d.Actions) {
					return false
				}
			}
		}
		if !met {
			return false
		}
	}
	return true
}

// providerError keeps an issuer's own refusal and hides everything else from the caller.
func providerError(doing string, ref TargetRef, err error) error {
	const next = "try again; if it lasts, ask the operator for `hourkeyd check --live`"
	switch own, _ := errors.AsType[*Error](err); {
	case CodeOf(err) == CodeInternal:
		return Errorf(CodeUnavailable, "%s at %s failed", doing, ref).WithNext(next).Because(err)
	case own != nil && own.Code == CodeUnavailable && own.Next == "":
		told := *own
		return told.WithNext(next)
	}
	return err
}
