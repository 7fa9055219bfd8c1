package daemon

import (
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/policies"
)

// LoadPolicy checks tasks and guardrails against the environments and groups that there are.
func LoadPolicy(set *config.Set) (*policies.Set, error) {
	source := policies.Source{
		Tasks: files(set.Tasks), Guardrails: files(set.Guardrails),
		Environments: map[string][]string{}, Groups: set.Server.Groups,
	}
	for name := range set.Environments {
		source.Environments[name] = nil
	}
	for _, target := range set.Targets {
		name := target.Ref.Environment
		source.Environments[name] = append(source.Environments[name], target.Ref.Target)
	}
	return policies.Load(source)
}

func files(from []config.File) []policies.File {
	out := make([]policies.File, len(from))
	for i, file := range from {
		out[i] = policies.File{Name: file.Name, Data: file.Text}
	}
	return out
}
