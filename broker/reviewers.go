package broker

import (
	"slices"
)

// environments is where an item reaches.
func (i Item) environments() []string {
	if len(i.Description.Reaches) == 0 {
		return []string{i.Environment}
	}
	return i.Description.Reaches
}

// need raises how many humans one environment wants.
func (r *Request) need(environment string, humans int) {
	if humans < 1 {
		return
	}
	at := slices.IndexFunc(r.Needs, func(n Need) bool { return n.Environment == environment })
	if at < 0 {
		r.Needs = append(r.Needs, Need{environment, humans})
		return
	}
	r.Needs[at].Humans = max(r.Needs[at].Humans, humans)
}

// settle adds what the environments want, and ends in allow or escalate. Every environment that is
// named or reached counts, whatever the task's file gives (invariant 3).
func (c *Configuration) settle(request *Request) error {
	for _, item := range request.Effective() {
		actions := AllActions(item.Description.Means())
		for _, name := range item.environments() {
			environment, known := c.Environments[name]
			if !known {
				return Errorf(CodeDenied, "no environment %s", name)
			}
			if n := environment.Needs(actions); n > 0 {
				request.need(name, n)
				request.Decision.Reasons = append(request.Decision.Reasons, Reason{
					Where: environment.Where, Rule: name, Outcome: Escalate,
					Text: plural(n, "human") + " must approve " + and(environment.wanting(actions, n).Names()) + " in " + name + item.Description.because(environment.wanting(actions, n)),
				})
			}
		}
	}
	if len(request.Needs) == 0 {
		return nil
	}
	request.Decision.Outcome = Escalate
	if n := request.shown(); n > maxShown {
		return Errorf(CodeDenied, "a human would have to read %d bytes to approve this, and nobody could: at most %d", n, maxShown).
			WithNext("ask for less at once")
	}
	return c.enoughReviewers(*request)
}

// maxShown bounds what a human can be asked to read: what cannot be shown in full is not approved.
const maxShown = 256 << 10

// shown is how many bytes of others' text the page of a request has.
func (r Request) shown() int {
	n := len(r.Reason)
	if r.Operation != nil {
		n += len(r.Operation.Text)
	}
	for _, item := range r.Effective() {
		d := item.Description
		for _, list := range [][]string{Texts(d.Means()), d.Native, d.Elsewhere, d.Reaches} {
			for _, text := range list {
				n += len(text)
			}
		}
		for _, fact := range item.Facts {
			n += len(fact.About) + len(fact.Text)
		}
	}
	return n
}

// enoughReviewers refuses at once what could only wait for nobody.
func (c *Configuration) enoughReviewers(request Request) error {
	for _, need := range request.Needs {
		eligible := c.eligible(request.Owner, need.Environment)
		if len(eligible) < need.Humans {
			return Errorf(CodeDenied, "%s must approve this in %s and only %d may: nobody could let it pass", plural(need.Humans, "human"), need.Environment, len(eligible)).
				WithNext("ask the operator to name more reviewers for %s (the owner of an agent does not count unless owner_may_approve says so)", need.Environment)
		}
	}
	return nil
}

// eligible lists, sorted, whose approvals count in an environment, those who must sign on again first included.
func (c *Configuration) eligible(owner, environment string) []string {
	all := c.everybody()
	var names []string
	for _, humans := range all.Groups {
		for _, human := range humans {
			if all.counts(human, owner, environment) {
				names = append(names, human)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// everybody is the configuration in which those who must sign on again are in their groups.
func (c *Configuration) everybody() *Configuration {
	all := *c
	all.Groups = map[string][]string{}
	for _, groups := range []map[string][]string{c.Groups, c.Away} {
		for group, humans := range groups {
			all.Groups[group] = append(slices.Clip(all.Groups[group]), humans...)
		}
	}
	return &all
}

// asked lists, sorted, whose approvals count for a request.
func (c *Configuration) asked(request Request) []string {
	var names []string
	for _, need := range request.Needs {
		names = append(names, c.eligible(request.Owner, need.Environment)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// ownerMayApprove lists the environments of a request in which its agent's owner counts.
func (c *Configuration) ownerMayApprove(request Request) []string {
	var names []string
	for _, need := range request.Needs {
		if c.Environments[need.Environment].OwnerMayReview && slices.Contains(c.eligible(request.Owner, need.Environment), request.Owner) {
			names = append(names, need.Environment)
		}
	}
	return names
}

// counts tells whether an approval by human counts in an environment for an agent of owner.
func (c *Configuration) counts(human, owner, environment string) bool {
	return c.MayReview(human, environment) && (human != owner || c.Environments[environment].OwnerMayReview && !c.Environments[environment].Protected)
}
