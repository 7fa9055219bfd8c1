package config

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hourkey/hourkey/broker"
)

// Target is one entry of `targets:`: a name, a kind, and the body that package issuers decodes.
//
//	targets:
//	  orders-db:                       Ref.Target
//	    postgres: {dsn: …, owner: …}   Kind: Body
type Target struct {
	Ref   broker.TargetRef
	Kind  string
	Body  *yaml.Node
	File  string // as errors show it
	Where string // file:line
}

// The humans that approve each action where the file does not say.
var (
	protectedApproval = approval{Write: 1, Delete: 2, Admin: 2}
	openApproval      = approval{Write: 0, Delete: 1, Admin: 1}
)

// approval is how many humans approve each action.
type approval struct{ Read, Write, Delete, Admin int }

// DecodeEnvironment reads environments/NAME.yaml; file is its name as errors show it. It resolves no
// secret and calls nobody.
func DecodeEnvironment(name, file string, text []byte) (broker.Environment, []Target, error) {
	d, err := parse(file, text)
	if err != nil {
		return broker.Environment{}, nil, err
	}
	e := broker.Environment{Name: name, Protected: true, Where: d.at(d.root)}
	if !broker.IsName(name) {
		return e, nil, broker.Errorf(broker.CodeInvalid, "%s: the file's name is the environment, and %q is not a name", file, clip(name)).
			WithNext("use a-z, 0-9 and dashes: environments/staging.yaml")
	}
	var approvalNode, targetsNode *yaml.Node
	err = d.fields(d.root, map[string]field{
		"protected": d.truth(&e.Protected, "protected"),
		"approval":  keep(&approvalNode),
		"targets":   keep(&targetsNode),
	})
	if err != nil {
		return e, nil, err
	}
	if err := d.approval(&e, approvalNode); err != nil {
		return e, nil, err
	}
	targets, err := d.targets(name, targetsNode)
	return e, targets, err
}

func keep(into **yaml.Node) field {
	return func(value *yaml.Node) error {
		*into = value
		return nil
	}
}

// approval fills in who must approve: the defaults of a protected or an open environment, then what
// the file says.
func (d document) approval(e *broker.Environment, node *yaml.Node) error {
	humans := openApproval
	if e.Protected {
		humans = protectedApproval
	}
	if node != nil {
		e.Where = d.at(node)
		err := d.fields(node, map[string]field{
			"read": d.number(&humans.Read, "approval.read"), "write": d.number(&humans.Write, "approval.write"),
			"delete": d.number(&humans.Delete, "approval.delete"), "admin": d.number(&humans.Admin, "approval.admin"),
			"reviewers":         d.names(&e.Reviewers, "approval.reviewers"),
			"owner_may_approve": d.truth(&e.OwnerMayReview, "approval.owner_may_approve"),
		})
		if err != nil {
			return err
		}
	}
	e.Approval = map[broker.Actions]int{
		broker.Read: humans.Read, broker.Write: humans.Write, broker.Delete: humans.Delete, broker.Admin: humans.Admin,
	}
	return e.Validate()
}

func (d document) targets(environment string, node *yaml.Node) ([]Target, error) {
	if node == nil || isNull(node) {
		return nil, nil
	}
	if node.Kind != yaml.MappingNode {
		return nil, d.errorf(node, "targets", "targets: expected names, each with one kind below it")
	}
	var targets []Target
	for i := 0; i+1 < len(node.Content); i += 2 {
		target, err := d.target(environment, node.Content[i], node.Content[i+1])
		if err != nil {
			return nil, err
		}
		targets = append(targets, target)
	}
	slices.SortFunc(targets, func(a, b Target) int { return strings.Compare(a.Ref.String(), b.Ref.String()) })
	return targets, nil
}

func (d document) target(environment string, key, node *yaml.Node) (Target, error) {
	if !broker.IsName(key.Value) {
		return Target{}, d.errorf(key, "targets", "targets: %q is not a name: expected a-z, 0-9 and dashes", clip(key.Value))
	}
	if node.Kind != yaml.MappingNode || len(node.Content) != 2 {
		return Target{}, d.errorf(key, key.Value, "target %s: expected exactly one kind below it, like \"postgres: {dsn: env:NAME}\"", key.Value)
	}
	return Target{
		Ref: broker.TargetRef{Environment: environment, Target: key.Value}, Kind: node.Content[0].Value,
		Body: node.Content[1], File: d.name, Where: d.at(key),
	}, nil
}
