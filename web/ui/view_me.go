package ui

import (
	"slices"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Me is the view of PageMe: one human, as this broker knows them.
type Me struct {
	Human    string
	May      []string // sentences
	Groups   []MyGroup
	Account  *Account // of the single sign-on; nil: none
	Connects bool     // an account of the single sign-on can be tied to this human
	SignsOn  bool     // the single sign-on can be used
	Passkeys []PasskeyRow
	Wait     string // before a further passkey may sign; empty: none
	Offered  []OfferedRow
	Asked    *Admission // a first passkey that waits for operators
	Sessions []SessionRow
}

// MyGroup is a group and what put this human in it.
type MyGroup struct{ Name, From string }

// Account is that of a single sign-on. Old tells that it no longer lets this human sign.
type Account struct {
	Email, Issuer string
	At            Moment
	Old           string
}

// PasskeyRow is one passkey of this human.
type PasskeyRow struct {
	ID, Name  string
	Called    string // Name, or that it has none
	Created   Moment
	Waits     string // until when it may not sign
	Current   bool   // this session was begun with it
	Removable bool   // another one can sign that it goes
	Remove    Sign
}

// OfferedRow is a further passkey that an earlier one must sign.
type OfferedRow struct {
	Name    string
	Created Moment
	Until   Moment
	Sign    Sign
}

// Admission is a first passkey, made after single sign-on, that operators must sign. They compare the phrase.
type Admission struct {
	Phrase, Passkey string
	Signed, Needs   int
	Until           Moment
}

// SessionRow is one browser in which this human is signed in.
type SessionRow struct {
	ID, Via       string
	Since         Moment
	Seen          string
	Address, With string
	Current       bool
}

// Session is what the page says of a session.
type Session struct {
	ID, Via            string // Via in words: "a passkey"
	Created, Seen      time.Time
	Address, UserAgent string
	Current            bool
}

// MeContext is what a human's page is made from.
type MeContext struct {
	Human         string
	Configuration *broker.Configuration
	Login         *broker.Login // nil: no single sign-on
	Passkeys      []broker.Passkey
	Offered       []broker.WaitingPasskey
	Invite        *broker.Invite // of this human; nil: none
	Passkey       string         // with which this session was begun
	Sessions      []Session
	Now           time.Time
}

// MeOf makes the view.
func MeOf(c MeContext) Me {
	view := Me{Human: c.Human, May: rightsOf(c.Human, c.Configuration), Groups: groupsOf(c), Account: accountOf(c), Asked: admissionOf(c.Invite, c.Now)}
	if wait := c.Configuration.Limits.PasskeyWait; wait > 0 {
		view.Wait = span(wait)
	}
	for _, p := range c.Passkeys {
		row := PasskeyRow{
			ID: p.ID, Name: p.Name, Called: orUnnamed(p.Name), Created: onClock(p.Created), Current: p.ID == c.Passkey, Removable: len(c.Passkeys) > 1,
			Remove: Sign{Act: broker.ActRemovePasskey, Subject: p.ID, Digest: p.Digest(), Button: "Remove it…"},
		}
		if c.Now.Before(p.UsableFrom) {
			row.Waits = clock(p.UsableFrom)
		}
		view.Passkeys = append(view.Passkeys, row)
	}
	for _, o := range c.Offered {
		view.Offered = append(view.Offered, OfferedRow{
			Name: orUnnamed(o.Passkey.Name), Created: onClock(o.Passkey.Created), Until: countdown(o.Expires, c.Now),
			Sign: Sign{Act: broker.ActAddPasskey, Subject: o.Passkey.ID, Digest: o.Passkey.Digest(), Button: "Add it…"},
		})
	}
	for _, s := range c.Sessions {
		view.Sessions = append(view.Sessions, SessionRow{
			ID: s.ID, Via: s.Via, Since: onClock(s.Created), Seen: ago(s.Seen, c.Now), Address: s.Address, With: browser(s.UserAgent), Current: s.Current,
		})
	}
	return view
}

// Others counts the sessions beside this one.
func (m Me) Others() int {
	return len(slices.DeleteFunc(slices.Clone(m.Sessions), func(s SessionRow) bool { return s.Current }))
}

func orUnnamed(name string) string {
	if name == "" {
		return "Passkey without a name"
	}
	return name
}

// rightsOf says in sentences what a human may do.
func rightsOf(human string, configuration *broker.Configuration) []string {
	var may, reviews []string
	for name := range configuration.Environments {
		if configuration.MayReview(human, name) {
			reviews = append(reviews, name)
		}
	}
	if len(reviews) > 0 {
		may = append(may, "You review what agents ask in "+strings.Join(slices.Sorted(slices.Values(reviews)), ", ")+".")
	}
	if configuration.HasRole(human, broker.RoleOperator) {
		may = append(may, "You operate: agents, people, targets, leases and freezes.")
	}
	if configuration.HasRole(human, broker.RoleAuditor) {
		may = append(may, "You audit: you may read every request, lease and agent, and the whole log.")
	}
	if len(may) == 0 {
		may = append(may, "You decide about the agents that you own, and nothing else.")
	}
	return may
}

func groupsOf(c MeContext) []MyGroup {
	var list []MyGroup
	for _, group := range c.Configuration.GroupsOf(c.Human) {
		from := "by the broker's configuration"
		if signOn := c.Configuration.SignOn; c.Login != nil && signOn != nil && c.Login.Issuer == signOn.Issuer &&
			slices.Contains(signOn.Groups, group) && slices.Contains(c.Login.Groups, group) {
			from = "by your single sign-on, " + ago(c.Login.At, c.Now)
		}
		list = append(list, MyGroup{group, from})
	}
	for group, humans := range c.Configuration.Away {
		if slices.Contains(humans, c.Human) {
			list = append(list, MyGroup{group, "not now: sign on again, and it counts"})
		}
	}
	slices.SortFunc(list, func(a, b MyGroup) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func accountOf(c MeContext) *Account {
	if c.Login == nil {
		return nil
	}
	account := &Account{Email: c.Login.Email, Issuer: c.Login.Issuer, At: onClock(c.Login.At)}
	if c.Now.Sub(c.Login.At) >= broker.SignedOnFor {
		account.Old = "That was more than " + span(broker.SignedOnFor) + " ago: until you sign on again, its groups let you sign nothing."
	}
	return account
}

func admissionOf(invite *broker.Invite, now time.Time) *Admission {
	if invite == nil || invite.Passkey == nil || invite.State != broker.InviteInert || now.After(invite.Expires) {
		return nil
	}
	return &Admission{
		Phrase: invite.Phrase(), Passkey: invite.Passkey.ID, Signed: len(invite.Signed), Needs: invite.Needs, Until: onClock(invite.Expires),
	}
}

// NewPasskey is the view of PageNewPasskey. Options is the JSON that the script hands to the browser, empty when
// no passkey can be made now.
type NewPasskey struct {
	Human, Options string
	First          bool   // there is none yet: operators sign it, and not an earlier one
	Wait           string // before it may sign; empty: none
	Asked          *Admission
}

// NewPasskeyOf makes the view. invite is that of this human, nil for none.
func NewPasskeyOf(human, options string, passkeys int, invite *broker.Invite, wait time.Duration, now time.Time) NewPasskey {
	view := NewPasskey{Human: human, Options: options, First: passkeys == 0, Asked: admissionOf(invite, now)}
	if wait > 0 && !view.First {
		view.Wait = span(wait)
	}
	return view
}

// browser says in a few words what a browser says that it is.
func browser(agent string) string {
	name := firstOf(agent, [][2]string{{"Edg", "Edge"}, {"OPR/", "Opera"}, {"SamsungBrowser/", "Samsung Internet"}, {"Firefox/", "Firefox"},
		{"FxiOS/", "Firefox"}, {"CriOS/", "Chrome"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}})
	system := firstOf(agent, [][2]string{{"iPhone", "an iPhone"}, {"iPad", "an iPad"}, {"Android", "Android"}, {"CrOS", "ChromeOS"},
		{"Windows", "Windows"}, {"Macintosh", "a Mac"}, {"Linux", "Linux"}})
	switch {
	case name != "" && system != "":
		return name + " on " + system
	case agent == "":
		return "no name"
	}
	return short(agent, 60)
}

func firstOf(text string, words [][2]string) string {
	for _, word := range words {
		if strings.Contains(text, word[0]) {
			return word[1]
		}
	}
	return ""
}
