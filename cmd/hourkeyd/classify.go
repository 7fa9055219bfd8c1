package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/aws"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
	"github.com/hourkey/hourkey/issuers/gateway/packs"
)

// classified is what classify prints. The field names are the command's interface.
type classified struct {
	Class      judge.Class     `json:"class"`
	Operations []string        `json:"operations"`
	Resources  []namedResource `json:"resources"` // as the call names them; where they live is not asked here
	Row        decidingRow     `json:"row"`       // of the operation that made the class
	Details    []classifiedRow `json:"details"`   // every operation
}

type namedResource struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
	In   string `json:"in,omitempty"` // the provider's environment that the call names for it
}

type decidingRow struct {
	Operation string `json:"operation"`
	Why       string `json:"why"`
	Line      int    `json:"line,omitempty"` // in the pack
	Rule      string `json:"rule,omitempty"` // when a rule made the row
}

type classifiedRow struct {
	Operation string      `json:"operation"`
	Class     judge.Class `json:"class"`
	Why       string      `json:"why"`
	Text      string      `json:"text"` // with its arguments
}

// question is what classify is asked about.
type question struct {
	document, variables, operation string // GraphQL
	body                           string // REST
}

func (m *Main) classifyCommand() *cobra.Command {
	var q question
	c := &cobra.Command{
		Use:   "classify PROVIDER {--document GRAPHQL [--variables JSON] | METHOD PATH [--body JSON] | SERVICE:ACTION}",
		Short: "The class that an operation gets, and why",
		Long: "classify says what the gateway takes an operation for: read, write, delete, admin, or refused; and, for\n" +
			"aws, what an action of IAM is worth at worst. It asks no network and needs no token; arguments may be\n" +
			"missing, ids need not exist. The exit code is 0 whatever the class, 2 for a provider that is not known.\n" +
			"`-` reads the document or the body from standard input.",
		Example: "  hourkeyd classify railway --document 'mutation { volumeDelete(volumeId: \"3d2c42fb\") }'\n" +
			"  hourkeyd classify github DELETE /repos/acme/shop\n" +
			"  hourkeyd classify aws s3:DeleteObject",
		Args:              takesUpTo(2, "PROVIDER", "METHOD", "PATH"),
		ValidArgsFunction: completeProvider,
		RunE: func(_ *cobra.Command, args []string) error {
			answer, err := m.classify(q, args)
			if err != nil {
				return err
			}
			return m.say(answer, func(w io.Writer) { writeClassified(w, answer) })
		},
	}
	c.Flags().StringVar(&q.document, "document", "", "GraphQL document")
	c.Flags().StringVar(&q.variables, "variables", "", "its variables, a JSON object")
	c.Flags().StringVar(&q.operation, "operation-name", "", "which operation of the document, if it has several")
	c.Flags().StringVar(&q.body, "body", "", "JSON body of a REST call")
	return c
}

func completeProvider(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return append(packs.Names(), aws.Kind), cobra.ShellCompDirectiveNoFileComp
}

func (m *Main) classify(q question, args []string) (classified, error) {
	if args[0] == aws.Kind {
		return m.classifyAWS(q, args[1:])
	}
	pack, err := m.pack(args[0], aws.Kind)
	if err != nil {
		return classified{}, err
	}
	call, err := m.callOf(q, args)
	if err != nil {
		return classified{}, err
	}
	return classify(pack.Judge(call, true)), nil
}

// pack finds a provider's pack; that there is none is a wrong command line. others would have been right as well.
func (m *Main) pack(provider string, others ...string) (gateway.Pack, error) {
	pack, known, err := packs.Find(provider)
	if known || err != nil {
		return pack, err
	}
	m.complain(broker.Errorf(broker.CodeInvalid, "no pack: the gateway does not know provider %q", provider).
		WithNext("one of %s; docs/packs.md tells how to write one", strings.Join(append(packs.Names(), others...), ", ")))
	return nil, exitCode(exitUsage)
}

// callOf makes the HTTP call that the question is about.
func (m *Main) callOf(q question, args []string) (judge.Call, error) {
	rest := args[1:]
	switch {
	case q.document != "" && len(rest) > 0, q.document == "" && len(rest) != 2:
		return judge.Call{}, m.usage("expected either --document GRAPHQL, or METHOD and PATH")
	case q.document != "" && q.body != "", q.document == "" && (q.variables != "" || q.operation != ""):
		return judge.Call{}, m.usage("--variables and --operation-name go with --document, --body with METHOD and PATH")
	case q.document != "":
		return m.graphQL(q)
	}
	body, err := m.textOf(q.body)
	if err != nil {
		return judge.Call{}, err
	}
	path, query, _ := strings.Cut(rest[1], "?")
	call := judge.Call{Method: strings.ToUpper(rest[0]), Path: path, Query: query}
	if body != "" {
		call.Body, call.ContentType = []byte(body), "application/json"
	}
	return call, nil
}

func (m *Main) graphQL(q question) (judge.Call, error) {
	document, err := m.textOf(q.document)
	if err != nil {
		return judge.Call{}, err
	}
	variables := cmp.Or(strings.TrimSpace(q.variables), "{}")
	if !strings.HasPrefix(variables, "{") || !json.Valid([]byte(variables)) {
		return judge.Call{}, m.usage("--variables is not a JSON object")
	}
	name, err := json.Marshal(document)
	if err != nil {
		return judge.Call{}, fmt.Errorf("encoding the document: %w", err)
	}
	body := fmt.Appendf(nil, `{"query":%s,"variables":%s`, name, variables) // as it came: double keys are the judge's affair
	if q.operation != "" {
		body = fmt.Appendf(body, `,"operationName":%q`, q.operation)
	}
	return judge.Call{Method: "POST", Path: "/graphql/v2", ContentType: "application/json", Body: append(body, '}')}, nil
}

// textOf gives the text of a flag, or standard input for "-".
func (m *Main) textOf(flag string) (string, error) {
	if flag != "-" {
		return flag, nil
	}
	const most = 1 << 20
	text, err := io.ReadAll(io.LimitReader(m.Stdin, most+1))
	if err == nil && len(text) > most {
		err = errors.New("more than 1 MB")
	}
	if err != nil {
		return "", fmt.Errorf("reading standard input: %w", err)
	}
	return string(bytes.TrimRight(text, "\n")), nil
}

// usage tells what is wrong with the command line.
func (m *Main) usage(problem string) error {
	m.complain(broker.Errorf(broker.CodeInvalid, "%s", problem).WithNext("hourkeyd classify --help"))
	return exitCode(exitUsage)
}

// classify sums a verdict up. Of several operations of the same class the first decided.
func classify(verdict judge.Verdict) classified {
	answer := classified{Class: verdict.Class, Operations: []string{}, Resources: []namedResource{}, Details: []classifiedRow{}}
	for _, operation := range verdict.Operations {
		answer.Operations = append(answer.Operations, operation.Name)
		answer.Details = append(answer.Details, classifiedRow{operation.Name, operation.Class, operation.Why, operation.Text})
		for _, named := range operation.Touches {
			resource := namedResource{named.Kind, named.ID, named.In}
			if !slices.Contains(answer.Resources, resource) {
				answer.Resources = append(answer.Resources, resource)
			}
		}
		if answer.Row.Operation == "" && operation.Class == verdict.Class {
			answer.Row = decidingRow{operation.Name, operation.Why, operation.Line, operation.Rule}
		}
	}
	if answer.Row.Why == "" || verdict.Refusal != "" && answer.Row.Line == 0 {
		answer.Row.Why = verdict.Refusal
	}
	return answer
}

func writeClassified(w io.Writer, c classified) {
	_, _ = fmt.Fprintln(w, c.Class)
	for _, detail := range c.Details {
		_, _ = fmt.Fprintf(w, "  %-7s %s: %s\n", detail.Class, detail.Operation, detail.Why)
	}
	if len(c.Details) == 0 {
		_, _ = fmt.Fprintf(w, "  %s\n", c.Row.Why)
	}
	for _, resource := range c.Resources {
		where := ""
		if resource.In != "" {
			where = " in " + resource.In
		}
		_, _ = fmt.Fprintf(w, "  names %s %s%s\n", resource.Kind, cmp.Or(resource.ID, "(all)"), where)
	}
}
