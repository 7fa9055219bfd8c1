package web

import (
	"maps"
	"slices"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/ui"
)

const peopleAtATime = 51 // one more than a page shows

// people gathers what is known of those whose names come behind after: as many as a page needs.
func (p *pages) people(v *visit, after string) ([]ui.Person, error) {
	humans, err := p.broker.Humans(v.ctx())
	if err != nil {
		return nil, err
	}
	people := map[string]ui.Person{} // by name
	config := p.broker.Configuration()
	for _, groups := range []map[string][]string{config.Groups, config.Away} {
		for _, names := range groups {
			for _, name := range names {
				people[name] = ui.Person{Name: name}
			}
		}
	}
	for _, h := range humans {
		people[h.Name] = ui.Person{Name: h.Name, Created: h.Created}
	}
	var list []ui.Person
	for _, name := range slices.Sorted(maps.Keys(people)) {
		if name <= after {
			continue
		}
		if len(list) == peopleAtATime {
			break
		}
		person, err := p.person(v, people[name])
		if err != nil {
			return nil, err
		}
		list = append(list, person)
	}
	return list, nil
}

// person adds passkeys, sign-ins and what invite there is.
func (p *pages) person(v *visit, person ui.Person) (ui.Person, error) {
	passkeys, err := p.broker.Passkeys(v.ctx(), person.Name)
	if err != nil {
		return person, err
	}
	person.Passkeys = len(passkeys)
	login, found, err := p.broker.Login(v.ctx(), person.Name)
	if err != nil {
		return person, err
	}
	if found {
		person.Email, person.LastIn = login.Email, login.At
	}
	sessions, err := p.sessions.List(v.ctx(), person.Name)
	if err != nil {
		return person, err
	}
	for _, s := range sessions {
		if s.Created.After(person.LastIn) {
			person.LastIn = s.Created
		}
	}
	person.Invite, err = p.invite(v, person.Name)
	return person, err
}

// invite gives the invite of a human, nil for none.
func (p *pages) invite(v *visit, name string) (*broker.Invite, error) {
	invite := &broker.Invite{Human: name}
	err := p.store.View(v.ctx(), func(r broker.Reader) error { return r.Load(invite) })
	if broker.CodeOf(err) == broker.CodeNotFound {
		return nil, nil
	}
	return invite, err
}
