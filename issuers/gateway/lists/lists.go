package lists

import (
	"bytes"
	_ "embed" // the lists
	"fmt"
	"strings"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
)

var (
	//go:embed railway.graphql
	railwayList []byte
	//go:embed github.tsv
	githubList []byte
	//go:embed supabase.tsv
	supabaseList []byte
)

// Operation is one operation of a REST API.
type Operation struct {
	Method      string   // GET, POST, …
	Path        string   // the template as published: /repos/{owner}/{repo}
	Permissions []string // what the provider itself wants for it, sorted; nil where the description does not say
}

// Raw gives the embedded list of a provider, nil if there is none.
func Raw(provider string) []byte {
	switch provider {
	case "railway":
		return bytes.Clone(railwayList)
	case "github":
		return bytes.Clone(githubList)
	case "supabase":
		return bytes.Clone(supabaseList)
	}
	return nil
}

// Source names the description that the embedded list of a provider was taken from, and its SHA-256 in hex.
// Both are empty for a provider without a list.
func Source(provider string) (name, sha256 string) {
	raw := Raw(provider)
	return headLine(raw, "source"), headLine(raw, "sha256")
}

// Railway is the schema of Railway's public API, parsed anew at each call: a caller may change it.
func Railway() (*ast.Schema, error) { return schema(railwayList) }

// REST lists the operations of a provider whose API is a REST one, sorted by path and method.
func REST(provider string) ([]Operation, error) {
	raw := Raw(provider)
	if raw == nil || isGraphQL(provider) {
		return nil, fmt.Errorf("there is no list of REST operations for %q", provider)
	}
	return operations(raw)
}

func isGraphQL(provider string) bool { return provider == "railway" }

func schema(list []byte) (*ast.Schema, error) {
	s, err := gqlparser.LoadSchema(&ast.Source{Name: "list", Input: string(list)})
	if err != nil {
		return nil, fmt.Errorf("reading the list of a GraphQL API: %w", err)
	}
	return s, nil
}

func operations(list []byte) ([]Operation, error) {
	var all []Operation
	for n, line := range strings.Split(string(list), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		field := strings.Split(line, "\t")
		if len(field) < 2 || len(field) > 3 {
			return nil, fmt.Errorf("line %d of the list has %d fields, wanted METHOD, PATH and perhaps permissions", n+1, len(field))
		}
		op := Operation{Method: field[0], Path: field[1]}
		if len(field) == 3 && field[2] != "" {
			op.Permissions = strings.Split(field[2], ",")
		}
		all = append(all, op)
	}
	return all, nil
}

// headLine finds the value of one of the comment lines that a list begins with.
func headLine(list []byte, key string) string {
	for line := range strings.Lines(string(list)) {
		value, ours := strings.CutPrefix(line, "# "+key+": ")
		if ours {
			return strings.TrimSpace(value)
		}
		if !strings.HasPrefix(line, "#") {
			break
		}
	}
	return ""
}
