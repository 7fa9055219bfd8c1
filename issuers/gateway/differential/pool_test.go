package differential

import (
	"encoding/json"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"

	faithful "github.com/hourkey/hourkey/issuers/gateway/faithful/railway"
)

// pool is what there is to name in a world, sorted.
type pool struct {
	all     map[string][]string            // kind → ids
	in      map[string]map[string][]string // environment → kind → ids of what lives there
	codes   map[string]string              // what a secret is, as in faithful-WHAT-… → the secret
	project map[string]string              // environment → its project
	kinds   []string
}

func newPool(w *world) *pool {
	p := &pool{all: map[string][]string{}, in: map[string]map[string][]string{}, codes: map[string]string{}, project: map[string]string{}}
	for id, r := range w.before.Records {
		p.all[r.Kind] = append(p.all[r.Kind], id)
		if r.Kind == "Environment" {
			p.project[id] = r.Project
		}
		for _, environment := range r.Environments {
			if p.in[environment] == nil {
				p.in[environment] = map[string][]string{}
			}
			p.in[environment][r.Kind] = append(p.in[environment][r.Kind], id)
		}
	}
	for kind := range p.all {
		p.kinds = append(p.kinds, kind)
		slices.Sort(p.all[kind])
	}
	for _, kinds := range p.in {
		for _, ids := range kinds {
			slices.Sort(ids)
		}
	}
	slices.Sort(p.kinds)
	for _, secret := range w.server.Secrets() {
		if parts := strings.Split(secret, "-"); len(parts) > 2 && parts[0] == "faithful" {
			p.codes[strings.Join(parts[1:len(parts)-1], "-")] = secret
		}
	}
	return p
}

// id names something of a kind that lives in an environment, if there is any.
func (p *pool) id(r *rand.Rand, kind, environment string) string {
	if ids := p.in[environment][kind]; len(ids) > 0 {
		return pick(r, ids)
	}
	if kind == "Project" && p.project[environment] != "" {
		return p.project[environment]
	}
	if ids := p.all[kind]; len(ids) > 0 {
		return pick(r, ids)
	}
	return nobody
}

// nobody is the id of nothing.
const nobody = "00000000-0000-4000-8000-000000000000"

// mistaken names what an agent names by mistake: something from elsewhere, of another kind, or nothing.
func (p *pool) mistaken(r *rand.Rand, kind string) string {
	switch n := r.IntN(10); {
	case n < 6 && len(p.all[kind]) > 0:
		return pick(r, p.all[kind])
	case n < 8:
		return pick(r, p.all[pick(r, p.kinds)])
	case n < 9:
		return nobody
	}
	return pick(r, []string{"", " ", "*", "a/b", "production", "staging", "web", "shop", "0", "null"})
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

var uuid = regexp.MustCompile(`[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}`)

// marksOf lists the texts that tell which record an answer speaks of. What says nothing (a state, a type, a
// time) is left out.
func marksOf(shot faithful.Snapshot) map[string][]string {
	marks := map[string][]string{}
	for id, r := range shot.Records {
		marks[id] = append(marks[id], id)
		for name, value := range r.Fields {
			var text string
			telling := slices.Contains([]string{"name", "domain", "dnsName", "externalId", "email", "friendlyName", "accessKeyId", "repository"}, name)
			if telling && json.Unmarshal([]byte(value), &text) == nil && len(text) > 5 && !uuid.MatchString(text) {
				marks[text] = append(marks[text], id)
			}
		}
	}
	return marks
}
