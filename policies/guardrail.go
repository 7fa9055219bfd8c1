package policies

import (
	_ "embed" // the schema
	"errors"
	"iter"
	"regexp"
	"slices"
	"strconv"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/hourkey/hourkey/broker"
)

// Schema is the Cedar schema of guardrails, as text, for editors and for people.
//
//go:embed guardrails.cedarschema
var Schema string

// maxGuardrails bounds one guardrail file. The Cedar parser descends into brackets without a limit of
// its own; at this size it cannot exhaust the stack.
const maxGuardrails = 64 << 10

// guardrail is one forbid.
type guardrail struct {
	id     string
	policy *cedar.Policy
	node   ast.IsNode // head and conditions as one expression, for prefixes
	at     position
	text   string   // canonical, to tell whether it changed
	groups []string // that it names
}

// guardrails is a cedar.PolicyIterator that keeps the order of the files, so that reasons do too.
type guardrails []*guardrail

// All gives the policies by id.
func (g guardrails) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, one := range g {
			if !yield(cedar.PolicyID(one.id), one.policy) {
				return
			}
		}
	}
}

func (g guardrails) byID(id string) *guardrail {
	at := slices.IndexFunc(g, func(one *guardrail) bool { return one.id == id })
	if at < 0 {
		return nil
	}
	return g[at]
}

// refuseDoubles sees to it that a reason's id names one guardrail.
func (g guardrails) refuseDoubles(found *problems) {
	first := map[string]position{} // id → place
	for _, one := range g {
		if before, double := first[one.id]; double {
			found.add(one.at.file, one.at.line, "@id(%q) is there already, at %s", one.id, before)
			continue
		}
		first[one.id] = one.at
	}
}

// loadGuardrails reads one file and gives its sound guardrails.
func loadGuardrails(file File, names names, found *problems) guardrails {
	if len(file.Data) > maxGuardrails {
		found.add(file.Name, 1, "the file has %d bytes: at most %d are read", len(file.Data), maxGuardrails)
		return nil
	}
	if at := notText(file.Data); at > 0 {
		found.add(file.Name, at, "the file is not UTF-8 text")
		return nil
	}
	list, err := cedar.NewPolicyListFromBytes(file.Name, file.Data)
	if err != nil {
		malformedCedar(file.Name, err, found)
		return nil
	}
	validator := newValidator()
	var all guardrails
	for _, policy := range list {
		if one := newGuardrail(policy, names, validator, found); one != nil {
			all = append(all, one)
		}
	}
	return all
}

// newGuardrail checks one policy; nil if it is wrong.
func newGuardrail(policy *cedar.Policy, names names, validator *validate.Validator, found *problems) *guardrail {
	tree := (*ast.Policy)(policy.AST())
	g := &guardrail{
		id: string(policy.Annotations()["id"]), policy: policy, text: string(policy.MarshalCedar()),
		node: eval.PolicyToNode(tree).AsIsNode(),
		at:   position{policy.Position().Filename, policy.Position().Line},
	}
	before := len(found.list)
	wrong := func(format string, args ...any) { found.add(g.at.file, g.at.line, format, args...) }
	switch {
	case policy.Effect() != cedar.Forbid:
		wrong("permit: guardrails only take away, so only forbid is allowed; what is given stands in policies/tasks")
	case g.id == "":
		wrong(`@id is missing: write @id("what-it-does") above forbid, so that a denial can name it`)
	case !broker.IsName(g.id):
		wrong("@id(%q) is not a name: expected a-z, 0-9 and dashes, at most 64", clip(g.id))
	}
	g.groups = names.check(g.node, wrong)
	if len(found.list) == before {
		validateGuardrail(g, tree, validator, wrong)
	}
	if len(found.list) > before {
		return nil
	}
	return g
}

// validateGuardrail checks types and attributes against the schema. A policy that applies to several
// actions yields its complaint once for each: the first in order is enough.
func validateGuardrail(g *guardrail, tree *ast.Policy, validator *validate.Validator, wrong func(string, ...any)) {
	err := validator.Policy("", tree)
	if err == nil {
		return
	}
	texts := []string{err.Error()}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		texts = nil
		for _, one := range joined.Unwrap() {
			texts = append(texts, one.Error())
		}
	}
	slices.Sort(texts)
	wrong("guardrail %s does not fit guardrails.cedarschema: %s", g.id, clip(texts[0]))
}

// newValidator reads our schema, which is part of the program: a mistake in it is ours.
func newValidator() *validate.Validator {
	var text schema.Schema
	err := text.UnmarshalCedar([]byte(Schema))
	resolved, err2 := text.Resolve()
	if err = errors.Join(err, err2); err != nil {
		panic("policies: guardrails.cedarschema: " + err.Error())
	}
	return validate.New(resolved, validate.WithStrict())
}

// cedarPlace finds line and text in an error of the Cedar parser.
var cedarPlace = regexp.MustCompile(`(?s)<input>:(\d+):(\d+):? ?(.*)$`)

func malformedCedar(file string, err error, found *problems) {
	line, text := 1, err.Error()
	if parts := cedarPlace.FindStringSubmatch(text); parts != nil {
		line, _ = strconv.Atoi(parts[1])
		text = "at column " + parts[2] + ": " + parts[3]
	}
	found.add(file, max(line, 1), "not Cedar: %s", clip(text))
}
