package web

import (
	"net/http"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn"
	"github.com/hourkey/hourkey/web/ui"
)

// mePage shows a human what this broker knows of them: groups, passkeys, sessions.
func (p *pages) mePage(v *visit) error {
	c := ui.MeContext{Human: v.human, Configuration: p.broker.Configuration(), Passkey: v.session.Passkey, Now: p.now()}
	login, found, err := p.broker.Login(v.ctx(), v.human)
	if err != nil {
		return err
	}
	if found {
		c.Login = &login
	}
	if c.Passkeys, err = p.broker.Passkeys(v.ctx(), v.human); err != nil {
		return err
	}
	if c.Offered, err = p.broker.WaitingPasskeys(v.ctx(), v.human); err != nil {
		return err
	}
	if c.Invite, err = p.waitingInvite(v); err != nil {
		return err
	}
	if c.Sessions, err = p.sessionsOf(v); err != nil {
		return err
	}
	view := ui.MeOf(c)
	view.SignsOn = p.signOn.IsOn() && !p.broker.MustSignOn(v.human) // else the notice above offers it
	view.Connects = p.signOn.IsOn() && !found && v.session.Via == authn.ViaPasskey
	return p.show(v, http.StatusOK, ui.PageMe, "You", view)
}

func (p *pages) sessionsOf(v *visit) ([]ui.Session, error) {
	sessions, err := p.sessions.List(v.ctx(), v.human)
	list := make([]ui.Session, len(sessions))
	for i, s := range sessions {
		list[i] = ui.Session{ID: s.ID, Via: "a passkey", Created: s.Created, Seen: s.Seen, Address: s.Address, UserAgent: s.UserAgent, Current: s.Hash == v.session.Hash}
		if s.Via == authn.ViaSignOn {
			list[i].Via = "single sign-on"
		}
	}
	return list, err
}

// renamePasskey changes what a passkey is called, and nothing else of it.
func (p *pages) renamePasskey(v *visit) error {
	form, err := v.formOf("id", "name")
	if err != nil {
		return err
	}
	name, err := passkeyName(form.Get("name"))
	if err != nil {
		return err
	}
	if err := p.broker.RenamePasskey(v.ctx(), v.human, form.Get("id"), name); err != nil {
		return err
	}
	v.redirect("/me")
	return nil
}

// endSession ends one of this human's own sessions, perhaps this one.
func (p *pages) endSession(v *visit) error {
	form, err := v.formOf("id")
	if err != nil {
		return err
	}
	if err := p.sessions.EndByID(v.ctx(), v.human, form.Get("id")); err != nil {
		return err
	}
	v.redirect("/me")
	return nil
}

func (p *pages) endOtherSessions(v *visit) error {
	if _, err := v.formOf(); err != nil {
		return err
	}
	if _, err := p.sessions.EndOthers(v.ctx(), v.session); err != nil {
		return err
	}
	v.redirect("/me")
	return nil
}

// peoplePage lists everybody who was ever invited, or whom a group names.
func (p *pages) peoplePage(v *visit) error {
	return p.showPeople(v, http.StatusOK, "", "")
}

// showPeople shows the list; inviting and problem are those of a form that was not taken.
func (p *pages) showPeople(v *visit, status int, inviting, problem string) error {
	if err := v.only(operator); err != nil {
		return err
	}
	query, err := v.query("after")
	if err != nil {
		return err
	}
	after := query.Get("after")
	people, err := p.people(v, after)
	if err != nil {
		return err
	}
	view := ui.PeopleOf(people, after, p.broker.Configuration(), p.now())
	view.Inviting, view.Problem = inviting, problem
	return p.show(v, status, ui.PagePeople, "People", view)
}

// invitePerson answers with the one-time code: it is on this answer alone, which nobody may keep (no-store).
func (p *pages) invitePerson(v *visit) error {
	form, err := v.formOf("name")
	if err != nil {
		return err
	}
	invite, code, err := p.broker.InviteHuman(v.ctx(), v.asHuman(), form.Get("name"))
	if isTypo(err) {
		told := refusal(err)
		return p.showPeople(v, problems(told.Code).status, form.Get("name"), ui.InWords(told))
	}
	if err != nil {
		return err
	}
	return p.show(v, http.StatusOK, ui.PageCode, "One-time code", ui.InviteCode(invite, code, p.origin))
}

// invitePersonPage asks whether somebody is to be invited, or invited again.
func (p *pages) invitePersonPage(v *visit) error {
	if err := v.only(operator); err != nil {
		return err
	}
	name := v.param("name")
	if !broker.IsName(name) {
		return notYours("name")
	}
	passkeys, err := p.broker.Passkeys(v.ctx(), name)
	if err != nil {
		return err
	}
	view := ui.InviteHuman(name, p.broker.Configuration().GroupsOf(name), len(passkeys))
	return p.show(v, http.StatusOK, ui.PageConfirm, "Invite", view)
}
