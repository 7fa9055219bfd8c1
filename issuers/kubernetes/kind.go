package kubernetes

import (
	_ "embed"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/hourkey/hourkey/broker"
)

//go:embed kinds.txt
var kindsText string

// demand is what an action on a kind wants beside itself, as a set.
type demand uint8

const (
	wantsDelete     demand = 1 << iota
	wantsAdmin             // a human's word for power
	wantsRestricted        // the namespace's Pod Security level, or admin
	wantsStreams           // that the environment accepts open streams
	changesOnly            // nothing is created
	impossible             // no such thing
	forbidden              // never given
)

var demands = map[string]demand{
	"yes": 0, "delete": wantsDelete, "admin": wantsAdmin, "runs": wantsRestricted, "stream": wantsStreams, "change": changesOnly,
	"-": impossible, "never": forbidden,
}

// kind is one row of kinds.txt.
type kind struct {
	name                 string // "deployments.apps+scale"
	group, resource, sub string
	cluster              bool // belongs to no namespace
	read, write          demand
	remove, use          demand
	why                  string
}

// kindTable maps a kind's name to its row.
type kindTable map[string]kind

func (t kindTable) has(name string) bool {
	_, known := t[name]
	return known
}

// builtIn is the table of what is built in. It is read once; a mistake in it is found by the first test.
var builtIn = sync.OnceValues(func() (kindTable, error) { return parseKinds(kindsText) })

func parseKinds(text string) (kindTable, error) {
	table := kindTable{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		k, err := parseKind(fields)
		if err != nil || table.has(k.name) {
			return nil, broker.Errorf(broker.CodeInternal, "kubernetes: the table of kinds has a wrong line, or one twice: %.60q", line)
		}
		table[k.name] = k
	}
	return table, nil
}

func parseKind(fields []string) (kind, error) {
	k := newKind(fields[0])
	if len(fields) == 2 && fields[1] == "cluster" {
		k.cluster, k.read, k.write, k.remove, k.use = true, forbidden, forbidden, forbidden, forbidden
		k.why = "it belongs to the whole cluster, and so to no environment"
		return k, nil
	}
	if len(fields) < 5 {
		return k, fmt.Errorf("%d fields", len(fields))
	}
	var wrong error
	for at, into := range []*demand{&k.read, &k.write, &k.remove, &k.use} {
		for word := range strings.SplitSeq(fields[at+1], "+") {
			d, known := demands[word]
			if !known {
				wrong = fmt.Errorf("unknown word %s", word)
			}
			*into |= d
		}
	}
	k.why = strings.Join(fields[5:], " ")
	return k, wrong
}

// newKind takes a name apart: resource.group+subresource.
func newKind(name string) kind {
	k := kind{name: name}
	name, k.sub, _ = strings.Cut(name, "+")
	k.resource, k.group, _ = strings.Cut(name, ".")
	return k
}

// kindOf finds a kind: a built-in one, or one that the configuration names as plain data.
func (i *Issuer) kindOf(name string) (kind, error) {
	if k, known := i.kinds[name]; known {
		return k, nil
	}
	if slices.Contains(i.config.Settings.Plain, name) {
		k := newKind(name)
		k.use = impossible
		return k, nil
	}
	return kind{}, broker.Errorf(broker.CodeInvalid, "%s: %.80q is no kind that is known to be harmless: expected the plural name and the group, as kubectl api-resources prints them, like configmaps or deployments.apps", i.config.Ref, name).
		WithField("scope").WithNext("if it is a custom resource that is nothing but data, that no operator acts on, the operator names it as plain in environments/%s.yaml", i.config.Ref.Environment)
}

// makers are the kinds whose controllers make pods, of the template that each object has; sorted.
func (t kindTable) makers() []kind {
	var makers []kind
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if runsPods(t[name]) && name != "pods" {
			makers = append(makers, t[name])
		}
	}
	return makers
}

func everyKind(kind) bool    { return true }
func runsPods(k kind) bool   { return k.write&wantsRestricted != 0 }
func isStream(k kind) bool   { return k.read&wantsStreams != 0 || k.use&wantsStreams != 0 }
func isSecret(k kind) bool   { return k.name == "secrets" }
func isInPod(k kind) bool    { return k.use&wantsStreams != 0 || isDebugged(k) }
func isDebugged(k kind) bool { return k.name == "pods+ephemeralcontainers" }
func isObject(k kind) bool   { return k.sub == "" }
func isScaled(k kind) bool {
	return k.sub == "scale" || runsPods(k) && k.name != "pods" && k.name != "jobs.batch"
}
func isConfig(k kind) bool { return k.name == "configmaps" }
func isPod(k kind) bool    { return k.name == "pods" }

// hasHistory tells whether former templates of it are kept, by which a rollout is undone.
func hasHistory(k kind) bool {
	return k.name == "deployments.apps" || k.name == setsKind || k.name == "daemonsets.apps"
}

func (i *Issuer) isPlain(k kind) bool { return slices.Contains(i.config.Settings.Plain, k.name) }

// thing is a resource of a scope, taken apart.
type thing struct {
	kind
	name broker.Resource // a name, or a prefix that ends in "*"
}

// all tells whether it stands for every object of the kind.
func (t thing) all() bool { return t.name == "*" }

// ruleResource is the resource in a rule of a Role: "deployments/scale".
func (k kind) ruleResource() string {
	if k.sub == "" {
		return k.resource
	}
	return k.resource + "/" + k.sub
}

// kindName is the name in the table of what RBAC calls a resource of a group: deployments/scale of apps.
func kindName(group, resource string) string {
	resource, sub, found := strings.Cut(resource, "/")
	if group != "" {
		resource += "." + group
	}
	if found {
		resource += "+" + sub
	}
	return resource
}

// resourceName is what a scope calls it.
func (t thing) resourceName() broker.Resource {
	return broker.Resource(t.kind.name + "/" + string(t.name))
}

// parent is the kind without its subresource: what exists, or does not.
func (k kind) parent() string {
	return kindName(k.group, k.resource)
}

// namePattern is what a name of an object may hold: never a slash, a percent sign, or a dot alone (path segment names). A
// prefix may end anywhere.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.:]{0,252})?$`)

// parse takes a scope's resource apart.
func (i *Issuer) parse(r broker.Resource) (thing, error) {
	name, object, found := strings.Cut(string(r), "/")
	wrong := func(problem string) error {
		return broker.Errorf(broker.CodeInvalid, "%s: resource %.120q %s: expected KIND/NAME, KIND/PREFIX* or KIND/*, like configmaps/settings or deployments.apps/web", i.config.Ref, r, problem).WithField("scope")
	}
	if !found {
		return thing{}, wrong("names no object")
	}
	k, err := i.kindOf(name)
	if err != nil {
		return thing{}, err
	}
	t := thing{kind: k, name: broker.Resource(object)}
	if stem := t.name.Stem(); stem == "" && !t.name.IsPrefix() || stem != "" && !namePattern.MatchString(stem) {
		return thing{}, wrong("has a name that no object can have")
	}
	return t, nil
}
