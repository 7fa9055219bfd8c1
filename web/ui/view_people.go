package ui

import (
	"cmp"
	"slices"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// People is the view of PagePeople.
type People struct {
	Rows     []PersonRow
	Pager    Pager
	Inviting string // the name as it was sent, when it was not taken
	Problem  string // why
}

// Person is one human, as the broker knows them.
type Person struct {
	Name     string
	Created  time.Time // zero: never invited, and only named in a group
	Passkeys int
	LastIn   time.Time // the newest sign-in that is known
	Email    string    // of the single sign-on
	Invite   *broker.Invite
}

// PersonRow is one human in the list.
type PersonRow struct {
	Name, Email  string
	Groups       []string
	Away         []string // groups that count once they sign on again
	Passkeys     string
	LastIn       string
	Invite       string // what becomes of an invite that waits
	InvitePath   string // where operators sign it
	InviteButton string
	Again        string // path of the page that invites
}

// PeopleOf makes the view of a page of people, sorted by name; after is the name that the page before ended with.
func PeopleOf(people []Person, after string, configuration *broker.Configuration, now time.Time) People {
	const page = 50
	var view People
	people = slices.Clone(people)
	slices.SortFunc(people, func(a, b Person) int { return cmp.Compare(a.Name, b.Name) })
	if after != "" {
		view.Pager.First = "/people"
		people = slices.DeleteFunc(people, func(p Person) bool { return p.Name <= after })
	}
	for _, p := range people[:min(len(people), page)] {
		view.Rows = append(view.Rows, personRow(p, configuration, now))
	}
	if len(people) > page {
		view.Pager.Next, view.Pager.Text = with("/people", map[string]string{"after": people[page-1].Name}), "More people"
	}
	return view
}

func personRow(p Person, configuration *broker.Configuration, now time.Time) PersonRow {
	row := PersonRow{
		Name: p.Name, Email: p.Email, Groups: configuration.GroupsOf(p.Name), Passkeys: count(p.Passkeys, "passkey"), LastIn: "not signed in lately",
		InviteButton: "Lost passkeys? Invite again…", Again: InvitePath(p.Name),
	}
	for group, humans := range configuration.Away {
		if slices.Contains(humans, p.Name) {
			row.Away = append(row.Away, group)
		}
	}
	slices.Sort(row.Away)
	if p.Passkeys == 0 {
		row.Passkeys, row.InviteButton = "no passkey", "Invite…"
	}
	if !p.LastIn.IsZero() {
		row.LastIn = "signed in " + ago(p.LastIn, now)
	}
	if i := p.Invite; i != nil && i.State != broker.InviteUsed && now.Before(i.Expires) {
		row.InviteButton = "New code…"
		switch i.State {
		case broker.InviteInert:
			row.Invite, row.InvitePath = "Waits for "+count(i.Needs-len(i.Signed), "operator")+" to sign, until "+clock(i.Expires), HumanPath(i.Human)
		case broker.InviteUsable:
			row.Invite = "May make a passkey until " + clock(i.Expires)
		case broker.InviteUsed:
		}
	}
	return row
}

// InvitePath is where the page is that invites a human.
func InvitePath(name string) string { return "/people/" + escape(name) + "/invite" }

// InviteHuman asks whether somebody is to be invited. passkeys counts those that they have.
func InviteHuman(name string, groups []string, passkeys int) Confirm {
	view := Confirm{
		Question: "Invite " + name + "?",
		Sentence: []Word{strong(name), plain(" gets a one-time code, and makes a passkey with it.")},
		Facts:    []NamedFact{{"Groups", listed(groups), false}},
		Care:     "Operators sign the invite before the code works. You see the code once, on the next page; tell it to " + name + " in person or on the telephone.",
		Action:   "/people", Fields: []Field{{"name", name}}, Button: "Invite", Back: "/people", BackText: "Leave it",
	}
	if passkeys > 0 {
		view.Question = "Did " + name + " lose the passkeys?"
		view.Sentence[1] = plain(" has " + count(passkeys, "passkey") + ". A new invite replaces them: once another operator has signed it and the new one is made, they are gone.")
		view.Care = "Be sure that it is " + name + " who asks: call them, or see them. Whoever gets this code can approve in their name, after a waiting time that everybody is told of."
		view.Button = "Invite again"
	}
	return view
}
