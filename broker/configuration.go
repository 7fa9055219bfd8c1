package broker

import (
	"slices"
	"time"
)

// Hour is the longest life of a key (invariant 1).
const Hour = 60 * time.Minute

// Configuration is everything that files say, as one immutable value that a reload replaces whole.
type Configuration struct {
	Hash         string                 // over tasks, guardrails, environments, groups and roles (invariant 12)
	Environments map[string]Environment // name → environment
	Groups       map[string][]string    // group → humans
	SignOn       *SignOn                // nil: there is no single sign-on, and what it once brought counts for nothing
	Away         map[string][]string    // group → humans whose single sign-on is too old: they count once they sign on again
	Lapsed       map[string][]string    // group → humans whose last single sign-on, however old, brought it, and who do not count now
	Roles        map[Role][]string      // role → groups
	Policy       Policy
	Targets      map[TargetRef]Target // → issuer
	Limits       Limits
}

// SignOn is what of a single sign-on counts.
type SignOn struct {
	Issuer string   // of the OpenID provider
	Groups []string // ours, that it may bring
}

// TargetRef names a target within its environment.
type TargetRef struct{ Environment, Target string }

// String gives environment/target.
func (r TargetRef) String() string { return r.Environment + "/" + r.Target }

// Target is a provider binding. Binding identifies its configuration (not its secrets), so that a
// lease is ended by the issuer that issued it even after its file has changed.
type Target struct {
	Binding string
	Issuer  interface {
		Issuer
		Declarer
	}
}

// Environment is the head of environments/NAME.yaml: who must approve what.
type Environment struct {
	Name      string
	Protected bool
	// Approval says how many distinct humans must approve each action; 0 is none and only read and
	// write may have it (invariant 3).
	Approval       map[Actions]int // single action → humans
	Reviewers      []string        // groups; empty: those of the role reviewer
	OwnerMayReview bool            // never true in a protected environment
	Where          string          // file:line
}

// Limits bound what one agent can have at once, and how soon a new passkey counts.
type Limits struct {
	PendingPerAgent int
	LeasesPerAgent  int
	PasskeyWait     time.Duration // before a further passkey of a human may sign
}

// Role is what a human may do beside reviewing.
type Role string

// The roles (docs/design/0001-the-heart.md, "who may what").
const (
	RoleReviewer Role = "reviewer"
	RoleOperator Role = "operator"
	RoleAuditor  Role = "auditor"
)

// Validate refuses an environment that would break invariant 3 or the owner rule of protected ones.
func (e Environment) Validate() error {
	for _, action := range []Actions{Delete, Admin} {
		if e.Approval[action] < 1 {
			return Errorf(CodeInvalid, "%s: approval.%s must be at least 1: no %s without a human", e.Where, action, action).WithField("approval." + action.String())
		}
	}
	for action, n := range e.Approval {
		if n < 0 || n > 16 {
			return Errorf(CodeInvalid, "%s: approval.%s is %d: expected 0 to 16", e.Where, action, n).WithField("approval." + action.String())
		}
	}
	if e.Protected && e.OwnerMayReview {
		return Errorf(CodeInvalid, "%s: owner_may_approve cannot be true in a protected environment", e.Where).WithField("approval.owner_may_approve")
	}
	return nil
}

// Needs tells how many distinct humans must approve these actions here.
func (e Environment) Needs(actions Actions) int {
	most := 0
	for _, action := range actions.Each() {
		most = max(most, e.Approval[action])
	}
	if actions.NeedsHuman() {
		most = max(most, 1) // invariant 3, whatever a file says
	}
	return most
}

// wanting is which of the actions want that many humans.
func (e Environment) wanting(actions Actions, humans int) Actions {
	var wanting Actions
	for _, action := range actions.Each() {
		if e.Needs(action) == humans {
			wanting |= action
		}
	}
	return wanting
}

// GroupsOf lists the groups of a human, sorted.
func (c *Configuration) GroupsOf(human string) []string {
	var groups []string
	for group, humans := range c.Groups {
		if slices.Contains(humans, human) {
			groups = append(groups, group)
		}
	}
	slices.Sort(groups)
	return groups
}

// ask asks the policy about a query, for which it looks up the groups of the agent's owner. Of a group that lapsed with
// a single sign-on nobody knows whether the owner is still in it: the worse answer counts. The attack: an owner in a
// group that a guardrail names stays away until it holds no more.
func (c *Configuration) ask(q Query) Decision {
	q.OwnerGroups = c.GroupsOf(q.Owner)
	decision := c.Policy.Evaluate(q)
	with := slices.Clone(q.OwnerGroups)
	for group, humans := range c.Lapsed {
		if slices.Contains(humans, q.Owner) && !slices.Contains(with, group) {
			with = append(with, group)
		}
	}
	if len(with) > len(q.OwnerGroups) {
		slices.Sort(with)
		q.OwnerGroups = with
		if was := c.Policy.Evaluate(q); was.Outcome.rank() > decision.Outcome.rank() {
			return was
		}
	}
	return decision
}

// isAway tells whether a group of the human waits for a fresh single sign-on.
func (c *Configuration) isAway(human string) bool {
	for _, humans := range c.Away {
		if slices.Contains(humans, human) {
			return true
		}
	}
	return false
}

// HasRole tells whether one of the human's groups has the role.
func (c *Configuration) HasRole(human string, role Role) bool {
	return c.inAny(human, c.Roles[role])
}

// MayReview tells whether the human is in a reviewer group of the environment.
func (c *Configuration) MayReview(human, environment string) bool {
	e, known := c.Environments[environment]
	if !known {
		return false
	}
	groups := e.Reviewers
	if len(groups) == 0 {
		groups = c.Roles[RoleReviewer]
	}
	return c.inAny(human, groups)
}

// MustType lists, sorted, the protected environments where what would be granted deletes: the reviewer types
// their names.
func (c *Configuration) MustType(items []Item) []string {
	var names []string
	for _, item := range items {
		if !AllActions(item.Description.Means()).Has(Delete) {
			continue
		}
		for _, name := range item.environments() {
			if e, known := c.Environments[name]; (!known || e.Protected) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

func (c *Configuration) inAny(human string, groups []string) bool {
	return slices.ContainsFunc(groups, func(group string) bool { return slices.Contains(c.Groups[group], human) })
}
