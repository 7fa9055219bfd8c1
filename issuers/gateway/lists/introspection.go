package lists

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// The parts of an introspection answer that a list keeps (GraphQL specification, section 4).
type (
	introspection struct {
		QueryType, MutationType, SubscriptionType *typeRef
		Types                                     []fullType
	}
	fullType struct {
		Kind, Name    string
		Fields        []field
		InputFields   []input
		Interfaces    []typeRef
		EnumValues    []struct{ Name string }
		PossibleTypes []typeRef
	}
	field struct {
		Name string
		Args []input
		Type typeRef
	}
	input struct {
		Name         string
		Type         typeRef
		DefaultValue *string
	}
	typeRef struct {
		Kind, Name string
		OfType     *typeRef
	}
)

// String writes a type as the schema language does: [String!]!
func (t typeRef) String() string {
	switch {
	case t.OfType == nil:
		return t.Name
	case t.Kind == "NON_NULL":
		return t.OfType.String() + "!"
	default:
		return "[" + t.OfType.String() + "]"
	}
}

func (i input) String() string {
	if i.DefaultValue == nil {
		return i.Name + ": " + i.Type.String()
	}
	return i.Name + ": " + i.Type.String() + " = " + *i.DefaultValue
}

func readIntrospection(source []byte) (introspection, error) {
	var answer struct {
		Data struct {
			Schema *introspection `json:"__schema"`
		}
		Schema *introspection `json:"__schema"`
	}
	if err := json.Unmarshal(source, &answer); err != nil {
		return introspection{}, fmt.Errorf("not the JSON of an introspection: %w", err)
	}
	found := cmp.Or(answer.Data.Schema, answer.Schema)
	if found == nil || found.QueryType == nil || len(found.Types) == 0 {
		return introspection{}, fmt.Errorf("no __schema with its types in it: wanted the answer of an introspection query")
	}
	return *found, nil
}

// extractSchema prints the schema, sorted, without descriptions and without marks of deprecation.
func extractSchema(source []byte) (body, counts string, err error) {
	intro, err := readIntrospection(source)
	if err != nil {
		return "", "", err
	}
	own := slices.DeleteFunc(intro.Types, everyServerHas)
	slices.SortFunc(own, func(a, b fullType) int { return cmp.Compare(a.Name, b.Name) })

	var b strings.Builder
	b.WriteString("\nschema {\n")
	of := map[string]int{} // kind of operation → how many
	for _, root := range []struct {
		kind string
		ref  *typeRef
	}{{"mutation", intro.MutationType}, {"query", intro.QueryType}, {"subscription", intro.SubscriptionType}} {
		if root.ref == nil {
			continue
		}
		fmt.Fprintf(&b, "  %s: %s\n", root.kind, root.ref.Name)
		if i := slices.IndexFunc(own, func(t fullType) bool { return t.Name == root.ref.Name }); i >= 0 {
			of[root.kind] = len(own[i].Fields)
		}
	}
	b.WriteString("}\n")
	for _, t := range own {
		b.WriteString("\n" + t.sdl())
	}
	counts = fmt.Sprintf("%d mutations, %d queries, %d subscriptions, %d types",
		of["mutation"], of["query"], of["subscription"], len(own))
	return b.String(), counts, nil
}

// everyServerHas says whether a type belongs to GraphQL itself.
func everyServerHas(t fullType) bool {
	return strings.HasPrefix(t.Name, "__") ||
		slices.Contains([]string{"Boolean", "Float", "ID", "Int", "String"}, t.Name)
}

func (t fullType) sdl() string {
	switch t.Kind {
	case "SCALAR":
		return "scalar " + t.Name + "\n"
	case "UNION":
		return "union " + t.Name + " = " + strings.Join(names(t.PossibleTypes), " | ") + "\n"
	case "ENUM":
		values := make([]string, 0, len(t.EnumValues))
		for _, v := range t.EnumValues {
			values = append(values, v.Name)
		}
		return block("enum "+t.Name, values)
	case "INPUT_OBJECT":
		return block("input "+t.Name, inputs(t.InputFields))
	case "INTERFACE":
		return block("interface "+t.Name+t.implements(), fields(t.Fields))
	default:
		return block("type "+t.Name+t.implements(), fields(t.Fields))
	}
}

func (t fullType) implements() string {
	if len(t.Interfaces) == 0 {
		return ""
	}
	return " implements " + strings.Join(names(t.Interfaces), " & ")
}

func block(head string, lines []string) string {
	slices.Sort(lines)
	return head + " {\n  " + strings.Join(lines, "\n  ") + "\n}\n"
}

func names(refs []typeRef) []string {
	all := make([]string, 0, len(refs))
	for _, r := range refs {
		all = append(all, r.Name)
	}
	slices.Sort(all)
	return all
}

func inputs(all []input) []string {
	lines := make([]string, 0, len(all))
	for _, i := range all {
		lines = append(lines, i.String())
	}
	slices.Sort(lines)
	return lines
}

func fields(all []field) []string {
	lines := make([]string, 0, len(all))
	for _, f := range all {
		arguments := ""
		if len(f.Args) > 0 {
			arguments = "(" + strings.Join(inputs(f.Args), ", ") + ")"
		}
		lines = append(lines, f.Name+arguments+": "+f.Type.String())
	}
	return lines
}
