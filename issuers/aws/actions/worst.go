package actions

import (
	"strings"
	"sync"

	"github.com/hourkey/hourkey/broker"
)

// everything is what is assumed of what the table cannot tell.
const everything = broker.Read | broker.Write | broker.Delete | broker.Admin

// rated is an action's name, in small letters, and its class; everything where it is refused.
type rated struct {
	name  string
	class broker.Actions
}

// byService maps a service, in small letters, to its actions, which are classed when the first pattern of that service is asked for.
var byService = sync.OnceValue(func() map[string]func() []rated {
	of := map[string][]fact{}
	for f := range facts(table) {
		of[strings.ToLower(f.service)] = append(of[strings.ToLower(f.service)], f)
	}
	all := make(map[string]func() []rated, len(of))
	for service, list := range of {
		all[service] = sync.OnceValue(func() []rated { return rate(list) })
	}
	return all
})

func rate(list []fact) []rated {
	all := make([]rated, len(list))
	for at, f := range list {
		all[at] = rated{strings.ToLower(f.name), Classify(f.String()).Class}
		if all[at].class == 0 {
			all[at].class = everything
		}
	}
	return all
}

// Worst says what somebody can do, at worst, who is allowed a pattern: SERVICE:ACTION as IAM reads it, without regard to case, with
// * for any letters of the action and ? for one. It joins the classes of all actions that the pattern fits. Hourkey grants nothing that
// Classify refuses, but others may have: so one refused action is everything, and so are no action at all and a pattern of services.
//
// A pattern takes some microseconds; the first one of a service, a millisecond or so more.
func Worst(pattern string) broker.Actions {
	service, name, _ := strings.Cut(strings.ToLower(pattern), ":")
	actions, known := byService()[service]
	if !known {
		return everything
	}
	var worst broker.Actions
	for _, one := range actions() {
		if !one.class.IsSubsetOf(worst) && fits(name, one.name) {
			worst |= one.class
		}
	}
	if worst == 0 {
		return everything
	}
	return worst
}

// fits tells whether a pattern stands for a name. After a star it tries the nearest place first, and goes back to the last star alone:
// an earlier one could only find what that one finds too.
func fits(pattern, name string) bool {
	p, n := 0, 0
	star, resume := -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, resume = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			resume++
			p, n = star+1, resume
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
