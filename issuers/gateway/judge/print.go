package judge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
)

// maxSend bounds what goes out, in bytes: variables that are used many times make more of what came in.
const maxSend = 2 << 20

// printer writes the document that is sent instead of the caller's.
//
// Every argument goes out as a variable of the argument's own type, none as a literal: a scalar that the
// schema says nothing of is read from a literal in one way by this server and in another by that, from JSON
// in one way by all; and there are no strings that would have to be escaped for a document.
type printer struct {
	bound     func(typ *ast.Definition) *Type
	document  []byte
	declared  []byte // "$a1:String!,$a2:Int"
	variables []byte // `"a1":"x","a2":5`
	count     int
}

// hiddenType is the alias of the __typename that we ask for; hiddenPlace that of the field that says where an
// object lives. The type's name is in it because the fields of two types in one place must not have one key
// if their types differ.
const hiddenType = reservedAlias + "is"

func hiddenPlace(typ *ast.Definition) string { return reservedAlias + "of_" + typ.Name }

// request writes the whole body.
func (p *printer) request(kind ast.Operation, root *typed) ([]byte, error) {
	if err := p.fields(root); err != nil {
		return nil, err
	}
	operation := string(kind)
	if p.count > 0 {
		operation += "(" + string(p.declared) + ")"
	}
	body := make([]byte, 0, len(p.document)+len(p.declared)+len(p.variables)+128)
	body = appendString(append(body, `{"query":`...), operation+string(p.document))
	body = append(append(body, `,"variables":{`...), p.variables...)
	return append(body, "}}"...), nil
}

func (p *printer) selection(s *selection) error {
	if !s.abstract {
		return p.fields(s.of[0])
	}
	p.document = append(p.document, "{"+hiddenType+":__typename"...)
	for _, t := range s.of {
		p.document = append(p.document, " ...on "+t.typ.Name...)
		if err := p.fields(t); err != nil {
			return err
		}
	}
	p.document = append(p.document, '}')
	return nil
}

func (p *printer) fields(t *typed) error {
	p.document = append(p.document, '{')
	if bound := p.bound(t.typ); bound != nil {
		p.document = append(p.document, hiddenPlace(t.typ)+":"+bound.Field...)
	} else if len(t.fields) == 0 {
		p.document = append(p.document, hiddenType+":__typename"...)
	}
	for _, f := range t.fields {
		p.document = append(p.document, ' ')
		if f.key != f.name {
			p.document = append(p.document, f.key+":"...)
		}
		p.document = append(p.document, f.name...)
		if err := p.arguments(f); err != nil {
			return err
		}
		if f.below != nil {
			if err := p.selection(f.below); err != nil {
				return err
			}
		}
	}
	p.document = append(p.document, '}')
	return nil
}

func (p *printer) arguments(f *field) error {
	separator := byte('(')
	for _, name := range sortedKeys(f.arguments) {
		if p.count++; p.count > 1 {
			p.declared, p.variables = append(p.declared, ','), append(p.variables, ',')
		}
		p.document = fmt.Appendf(append(p.document, separator), "%s:$a%d", name, p.count)
		p.declared = fmt.Appendf(p.declared, "$a%d:%s", p.count, f.definition.Arguments.ForName(name).Type)
		p.variables = appendJSON(fmt.Appendf(p.variables, `"a%d":`, p.count), f.arguments[name])
		separator = ','
		if len(p.variables)+len(p.document) > maxSend {
			return fmt.Errorf("with its variables and fragments in place it is larger than %d bytes", maxSend)
		}
	}
	if separator == ',' {
		p.document = append(p.document, ')')
	}
	return nil
}

// operationText writes one root field with all its arguments, for reviewers and the log. Aliases are left
// out, arguments are sorted, values are JSON, so that what means the same reads the same. What a mutation
// selects is left out unless it matters.
func operationText(kind ast.Operation, f *field, selects bool) string {
	text := appendCall(append(make([]byte, 0, 256), string(kind)+" "...), f)
	if selects && f.below != nil {
		text = append(text, selectionText(f.below)...)
	}
	return string(text)
}

func appendCall(to []byte, f *field) []byte {
	to = append(to, f.name...)
	separator := "("
	for _, name := range sortedKeys(f.arguments) {
		to = appendJSON(append(append(append(to, separator...), name...), ": "...), f.arguments[name])
		separator = ", "
	}
	if separator == ", " {
		to = append(to, ')')
	}
	return to
}

func selectionText(s *selection) string {
	var parts []string
	for _, t := range s.of {
		fields := fieldsText(t)
		if s.abstract {
			fields = []string{"... on " + t.typ.Name + " { " + strings.Join(fields, " ") + " }"}
		}
		parts = append(parts, fields...)
	}
	return " { " + strings.Join(parts, " ") + " }"
}

func fieldsText(t *typed) []string {
	var fields []string
	for _, f := range t.fields {
		text := string(appendCall(nil, f))
		if f.below != nil {
			text += selectionText(f.below)
		}
		fields = append(fields, text)
	}
	slices.Sort(fields)
	return slices.Compact(fields)
}
