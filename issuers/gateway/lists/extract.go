package lists

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
)

// Extract makes the list of a provider from its published description: the answer of a GraphQL
// introspection (JSON, with or without its "data" around it) for railway, a table with the columns method
// and path, separated by tabs, for the REST providers. The same description makes the same bytes.
func Extract(provider string, source []byte) ([]byte, error) {
	var body, counts string
	var err error
	if isGraphQL(provider) {
		body, counts, err = extractSchema(source)
	} else {
		body, counts, err = extractOperations(source)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the description of %s: %w", provider, err)
	}
	head := fmt.Sprintf("# provider: %s\n# source: %s\n# sha256: %x\n# counts: %s\n",
		provider, sourceName(provider), sha256.Sum256(source), counts)
	return []byte(head + body), nil
}

func sourceName(provider string) string {
	if isGraphQL(provider) {
		return provider + ".graphql.json"
	}
	return provider + ".operations.tsv"
}

func extractOperations(source []byte) (body, counts string, err error) {
	lines := strings.Split(strings.TrimSpace(string(source)), "\n")
	columns := strings.Split(strings.TrimSpace(lines[0]), "\t")
	method, path := slices.Index(columns, "method"), slices.Index(columns, "path")
	security := slices.Index(columns, "security")
	if method < 0 || path < 0 {
		return "", "", fmt.Errorf("the first line must name the columns, method and path among them")
	}
	all := make([]Operation, 0, len(lines))
	for n, line := range lines[1:] {
		field := strings.Split(strings.TrimRight(line, "\r"), "\t")
		if len(field) <= max(method, path) {
			return "", "", fmt.Errorf("line %d has %d fields, wanted %d", n+2, len(field), len(columns))
		}
		op := Operation{Method: strings.ToUpper(field[method]), Path: field[path]}
		if security >= 0 && len(field) > security {
			op.Permissions = permissions(field[security])
		}
		all = append(all, op)
	}
	slices.SortStableFunc(all, func(a, b Operation) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
	})
	return printOperations(all, security >= 0), fmt.Sprintf("%d operations", len(all)), nil
}

func printOperations(all []Operation, withPermissions bool) string {
	var b strings.Builder
	for _, op := range all {
		fmt.Fprintf(&b, "%s\t%s", op.Method, op.Path)
		if withPermissions {
			fmt.Fprintf(&b, "\t%s", strings.Join(op.Permissions, ","))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// permissions takes the names out of a security requirement such as
// "bearer,fga_permissions:backups_write;database:write": fine-grained permissions and OAuth scopes alike.
// Which of them go together is not kept: as a witness for a class the set is enough.
func permissions(requirement string) []string {
	var names []string
	for _, name := range strings.FieldsFunc(requirement, func(r rune) bool { return strings.ContainsRune(";,|", r) }) {
		name = strings.TrimPrefix(strings.TrimSpace(name), "fga_permissions:")
		if name != "" && name != "bearer" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
