package kubernetes

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// holes are what was found open and is lived with: accepted by name, or shown with what it gives.
type holes struct {
	exceptions []broker.Exception
	restricted bool           // no hole: the namespace enforces the restricted Pod Security level
	noPolicy   bool           // there is no admission policy for writes
	late       bool           // there is none for calls that end after their lease
	everybody  broker.Actions // what bindings give every account of the namespace
	fallback   broker.Actions // what its account "default" may do
	loose      []string       // what a new controller could take over and remove
	carried    carried        // what code finds in the workloads into which it is put
	along      alongside      // what goes with what may be deleted
	priorities []string       // what has a priority, and may be written or scaled
	classes    []string       // of runtimes that are there, of which the level holds no pod
	versioned  versioned      // plain data that is served in more than one version
}

// judge weighs the walls for what is asked. A hole of an audit from before this description began is looked at again; it gives the audit that
// counts.
func (i *Issuer) judge(ctx context.Context, a *audit, began time.Time, grants []grant) (holes, *audit, error) {
	refusals, h, err := i.weigh(ctx, a, grants)
	if err == nil && len(refusals) > 0 && a.at.Before(began) {
		if a, err = i.audit(ctx, true); err == nil {
			refusals, h, err = i.weigh(ctx, a, grants)
		}
	}
	if err != nil {
		return holes{}, nil, i.fault(auditing, err)
	}
	if len(refusals) > 0 {
		return holes{}, nil, i.wallError(refusals)
	}
	return h, a, nil
}

// weigh sorts the holes into what refuses what is asked and what the configuration accepts.
func (i *Issuer) weigh(ctx context.Context, a *audit, grants []grant) (refusals []broker.Finding, h holes, err error) {
	found, err := i.holesOf(ctx, a, grants)
	if err != nil {
		return nil, h, err
	}
	for _, f := range found {
		exception, accepted := i.accepted(f.Object)
		if !accepted {
			refusals = append(refusals, f)
			continue
		}
		if !slices.Contains(h.exceptions, exception) { // of two policies
			h.exceptions = append(h.exceptions, exception)
		}
		if f.Object == objectPolicy {
			h.noPolicy, h.late = a.policy != "", a.late != ""
		}
		if f.Object == objectDefault {
			h.fallback = givenBy(a.fallback)
		}
	}
	h.everybody = givenBy(a.strays) // each of them is accepted, or refuses
	if exception, accepted := i.accepted(objectStreams); accepted && (anyOf(grants, broker.Read, everyKind) || anyOf(grants, broker.Admin, isStream)) {
		h.exceptions = append(h.exceptions, exception)
	}
	return refusals, h, nil
}

// holesOf gives the holes that what is asked would have.
func (i *Issuer) holesOf(ctx context.Context, a *audit, grants []grant) ([]broker.Finding, error) {
	found := slices.Concat(a.denied, a.openFindings(), i.strayFindings(a))
	if anyOf(grants, broker.Write, everyKind) {
		found = append(found, a.policyFindings()...)
	}
	if anyOf(grants, broker.Write|broker.Delete, everyKind) {
		found = append(found, a.lateFindings()...)
	}
	if anyOf(grants, broker.Write, runsPods) {
		found = append(found, i.fallbackFindings(a)...)
	}
	missing, err := i.lacks(ctx, a, slices.Concat(baseNeeds(), i.needs(grants)))
	return append(found, i.lackFindings(missing)...), err
}

func (a *audit) openFindings() []broker.Finding {
	if !a.open {
		return nil
	}
	return []broker.Finding{{
		Refuses: true, Object: "authorization",
		Problem: "the server allows an account what nobody gave it: it does not go by RBAC alone, so no Role is a limit",
		Mend:    "start the API server with --authorization-mode=Node,RBAC",
	}}
}

// mostPrinted is how many holes one refusal tells of.
const mostPrinted = 10

// wallError is the refusal for missing walls; it prints what mends each.
func (i *Issuer) wallError(refusals []broker.Finding) error {
	var problems, mends []string
	for at, f := range refusals {
		if at == mostPrinted {
			problems = append(problems, fmt.Sprintf("and %d more", len(refusals)-at))
			mends = append(mends, "# hourkeyd check --live prints the rest")
			break
		}
		problems = append(problems, f.Problem+" ["+f.Object+"]")
		if !slices.Contains(mends, f.Mend) {
			mends = append(mends, f.Mend)
		}
	}
	or := ""
	if slices.ContainsFunc(refusals, func(f broker.Finding) bool { return isAcceptable(f.Object) }) {
		or = ", or accept by the name in brackets in environments/" + i.config.Ref.Environment + ".yaml"
	}
	return broker.Errorf(broker.CodeWall, "%s does not hold its walls: %s", i.config.Ref, strings.Join(problems, "; ")).
		WithNext("have the cluster's administrator do this%s:\n%s", or, strings.Join(mends, "\n"))
}
