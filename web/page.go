package web

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/ui"
)

// recentRequests is how many requests the inbox looks back at.
const recentRequests = 20

func (p *pages) inbox(v *visit) error {
	inbox, err := p.broker.Inbox(v.ctx(), v.human)
	if err != nil {
		return err
	}
	recent, cut, err := p.broker.Recent(v.ctx(), v.asHuman(), recentRequests)
	if err != nil {
		return err
	}
	view := ui.InboxOf(inbox, recent, p.broker.Configuration(), p.now())
	view.RecentCut = cut
	return p.show(v, http.StatusOK, ui.PageInbox, "Inbox", view)
}

// requestPage shows one request. What may be offered is what the broker would prepare for this human: the
// rule is the broker's, and is not repeated here.
func (p *pages) requestPage(v *visit) error {
	request, err := p.broker.Request(v.ctx(), v.asHuman(), v.param("id"))
	if err != nil {
		return err
	}
	view, err := p.aboutRequest(v, request)
	if err != nil {
		return err
	}
	return p.show(v, http.StatusOK, ui.PageRequest, "Request of "+request.Agent, ui.RequestOf(request, view))
}

// aboutRequest gathers what the page says beside the request itself.
func (p *pages) aboutRequest(v *visit, request broker.Request) (ui.Context, error) {
	c := ui.Context{Human: v.human, Configuration: p.broker.Configuration(), Now: p.now()}
	if request.State == broker.RequestPending {
		err := p.decides(v, request.ID)
		c.Decides, c.Why = err == nil, said(err)
		c.Rejects = p.broker.MayReject(v.ctx(), v.human, request.ID) == nil
	}
	var err error
	if c.Approvals, err = p.broker.Approvals(v.ctx(), v.asHuman(), request.ID); err != nil {
		return c, err
	}
	if c.Pins, err = p.broker.Pins(v.ctx()); err != nil {
		return c, err
	}
	if c.History, err = p.broker.History(v.ctx(), v.asHuman(), request); err != nil {
		return c, err
	}
	c.DeniedBy = deniedBy(request)
	freezes, err := p.broker.Freezes(v.ctx())
	at := slices.IndexFunc(freezes, func(f broker.Freeze) bool { return f.Of == broker.FreezeAgent && f.Name == request.Agent })
	if at >= 0 {
		c.Frozen = &freezes[at]
	}
	return c, err
}

// decides tells whether this human may approve a request now, and has a passkey to do it with: nil, or why not.
func (p *pages) decides(v *visit, id string) error {
	if err := p.broker.MaySign(v.ctx(), v.human, broker.ActApprove, id); err != nil {
		return err
	}
	_, err := p.usablePasskeys(v)
	return err
}

// said is a refusal in words, with what to do next; empty for none.
func said(err error) string {
	if err == nil {
		return ""
	}
	return ui.InWords(refusal(err))
}

// deny takes no passkey: saying no is meant to be easy. It carries the digest of what was shown. With
// freeze=hour the agent is stopped as well.
func (p *pages) deny(v *visit) error {
	form, err := v.formOf("digest", "words", "freeze")
	if err != nil {
		return err
	}
	reject := p.broker.Reject
	switch form.Get("freeze") {
	case "":
	case "hour":
		reject = p.broker.RejectAndFreeze
	default:
		return broker.Errorf(broker.CodeInvalid, "freeze: expected hour, or nothing").WithField("freeze")
	}
	id := v.param("id")
	if err := reject(v.ctx(), v.human, id, form.Get("digest"), strings.TrimSpace(form.Get("words"))); err != nil {
		return p.orDecided(v, id, err)
	}
	v.redirect(ui.RequestPath(id))
	return nil
}

func notYours(what string) error {
	return broker.Errorf(broker.CodeNotFound, "there is no such %s, or it is not yours to see", what)
}

// targetPage is for operators, auditors, and the reviewers of the environment.
func (p *pages) targetPage(v *visit) error {
	environment, target := v.param("environment"), v.param("target")
	config := p.broker.Configuration()
	if v.kinds&(operator|auditor) == 0 && !config.MayReview(v.human, environment) {
		return notYours("target")
	}
	pins, err := p.broker.Pins(v.ctx())
	if err != nil {
		return err
	}
	at := slices.IndexFunc(pins, func(pin broker.Pin) bool { return pin.Environment == environment && pin.Target == target })
	if at < 0 {
		return notYours("target")
	}
	refused := p.broker.MaySign(v.ctx(), v.human, broker.ActConfirmTarget, environment+"/"+target)
	view := ui.TargetOf(pins[at], config.Environments[environment].Protected, refused == nil)
	if !pins[at].IsConfirmed() {
		whyNot(v, &view, refused)
	}
	return p.show(v, http.StatusOK, ui.PageSubject, "Target "+target+" in "+environment, view)
}

// humanPage shows an invite: to operators, as long as it is kept, and to whom it is about.
func (p *pages) humanPage(v *visit) error {
	name := v.param("name")
	if v.kinds&operator == 0 && v.human != name {
		return notYours("invite")
	}
	invite := broker.Invite{Human: name}
	err := p.store.View(v.ctx(), func(r broker.Reader) error { return r.Load(&invite) })
	if broker.CodeOf(err) == broker.CodeNotFound {
		return notYours("invite")
	}
	if err != nil {
		return err
	}
	refused := p.broker.MaySign(v.ctx(), v.human, broker.ActAdmitHuman, name)
	view := ui.InviteOf(invite, refused == nil)
	switch over := p.now().After(invite.Expires); {
	case !over && invite.State == broker.InviteInert:
		whyNot(v, &view, refused)
	case over && invite.State != broker.InviteUsed:
		view.State, view.StateText, view.NotYours = "expired", "Its time is over", "An operator can invite "+name+" again."
		view.Care, view.Alarm, view.Phrase = "", false, ""
	}
	return p.show(v, http.StatusOK, ui.PageSubject, "Admit "+name, view)
}

// freezePage is for every human with a role, and for the owner of a frozen agent: a freeze explains why nothing is
// issued.
func (p *pages) freezePage(v *visit) error {
	freezes, err := p.broker.Freezes(v.ctx())
	if err != nil {
		return err
	}
	id := strings.TrimPrefix(v.param("id"), "/")
	at := slices.IndexFunc(freezes, func(f broker.Freeze) bool { return f.ID() == id })
	if at < 0 {
		return notYours("freeze")
	}
	if opens, err := p.opensFreeze(v.ctx(), v.human, freezes[at]); err != nil || !opens {
		return errors.Join(err, notYours("freeze"))
	}
	refused := p.broker.MaySign(v.ctx(), v.human, broker.ActLiftFreeze, id)
	view := ui.FreezeOf(freezes[at], refused == nil)
	whyNot(v, &view, refused)
	return p.show(v, http.StatusOK, ui.PageSubject, "Freeze "+id, view)
}

// whyNot tells an operator why what operators sign cannot be signed by this one, or now.
func whyNot(v *visit, view *ui.Subject, refused error) {
	if refused != nil && v.kinds&operator != 0 {
		view.NotYours = said(refused)
	}
}

// opensFreeze tells whether this human may look at a freeze: what others' agents do is not everybody's to know.
func (p *pages) opensFreeze(ctx context.Context, name string, f broker.Freeze) (bool, error) {
	if kinds(p.broker.Configuration(), name) != 0 {
		return true, nil
	}
	if f.Of != broker.FreezeAgent {
		return false, nil
	}
	agent, err := p.broker.Agent(ctx, f.Name)
	there, err := found(err)
	return there && agent.Owner == name, err
}
