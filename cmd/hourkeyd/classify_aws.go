package main

import (
	"github.com/hourkey/hourkey/issuers/aws/actions"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// classifyAWS says what an action of IAM is worth at worst. No gateway stands in front of AWS, so there is neither a call nor a
// pack to judge it by: the session policy of a lease holds names of actions, and this is what they are chosen by.
func (m *Main) classifyAWS(q question, args []string) (classified, error) {
	if len(args) != 1 || q != (question{}) {
		return classified{}, m.usage("expected `hourkeyd classify aws SERVICE:ACTION`, like s3:DeleteObject, and no flags but -o")
	}
	verdict := actions.Classify(args[0])
	class := judge.Class(verdict.ClassName())
	return classified{
		Class: class, Operations: []string{verdict.Action}, Resources: []namedResource{},
		Row:     decidingRow{Operation: verdict.Action, Why: verdict.Why, Rule: ruleOf(verdict)},
		Details: []classifiedRow{{verdict.Action, class, verdict.Why, verdict.Action}},
	}, nil
}

// ruleOf says whether somebody judged the action by itself, or the rule over access levels and words did.
func ruleOf(verdict actions.Verdict) string {
	if verdict.Reviewed {
		return ""
	}
	return "access level and words of the name"
}
