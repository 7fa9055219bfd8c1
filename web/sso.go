package web

import (
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn"
)

// beginSignOn sends the browser to the token issuer. It answers with a page that goes on by itself and not
// with a redirect: browsers hold a form's redirects against form-action in the page's policy, the token
// issuer may send on to others that nobody can list here, and so the policy of our pages stays strict.
func (p *pages) beginSignOn(v *visit) error {
	form, err := v.formOf("next", "fresh")
	if err != nil {
		return err
	}
	former, err := p.sessions.Find(v.request)
	if err != nil && broker.CodeOf(err) != broker.CodeUnauthenticated {
		return err
	}
	wish := authn.SignOn{Next: ourPath(form.Get("next")), Fresh: form.Get("fresh") == "true", Former: former}
	to, cookie, err := p.signOn.Begin(v.ctx(), wish)
	if err != nil {
		return err
	}
	http.SetCookie(v.writer, cookie)
	return p.goOn(v, goOn{Title: "Single sign-on", Text: "Going to the single sign-on.", To: to})
}

// How many sign-ons come back at once.
const (
	redeemsOfOne = 16 // from one address
	redeemsOfAll = 256
)

// finishSignOn takes the browser's way back: the one GET that changes something, which only the browser can
// cause that began, once (the state and its cookie). The session that it begins is new, and the one before
// ends.
func (p *pages) finishSignOn(v *visit) error {
	// The attack: codes that were made up, each of which we take to the token issuer, one after the other.
	if from := addressKey(v.address); p.redeems.enter(from) {
		defer p.redeems.leave(from)
	} else {
		return broker.Errorf(broker.CodeSlowDown, "too many sign on now, from this address or in all").WithNext("try again in a moment")
	}
	signed, err := p.signOn.Finish(v.request)
	if err != nil {
		return err
	}
	if err := p.limited(v.call, p.entries, "sign-on "+signed.Account.Issuer+" "+signed.Account.Subject); err != nil {
		return err
	}
	former, err := p.sessions.Again(v.ctx(), signed.Former)
	if err != nil && broker.CodeOf(err) != broker.CodeUnauthenticated {
		return err
	}
	if err := p.mayLink(v, former, signed.Account); err != nil {
		return err
	}
	login, err := p.broker.SignedOn(v.ctx(), signed.Account, linking(former))
	if err != nil {
		return err
	}
	err = p.openSession(v, former, authn.Session{
		Human: login.Human, Via: authn.ViaSignOn, Issuer: login.Issuer, Subject: login.Subject, Proved: signed.Proved,
	})
	if err != nil {
		return err
	}
	http.SetCookie(v.writer, p.signOn.Forget())
	return p.goOn(v, goOn{Title: "Signed in", Text: "You are signed in as " + login.Human + ".", To: signed.Next})
}

// linking is the human who proved with a passkey, in this browser, who it is: only such a session binds an
// account to somebody who is known already.
func linking(former authn.Session) string {
	if former.Via != authn.ViaPasskey {
		return ""
	}
	return former.Human
}

// mayLink refuses to bind an account to a human whose passkey was used too long ago. The attack: a stolen session
// binds the thief's own account, and comes back through it when the session is over.
func (p *pages) mayLink(v *visit, former authn.Session, account broker.Account) error {
	human := linking(former)
	if human == "" || p.now().Before(former.Created.Add(authn.FreshFor)) {
		return nil
	}
	login, found, err := p.broker.Login(v.ctx(), human)
	if err != nil || found && login.Issuer == account.Issuer && login.Subject == account.Subject {
		return err
	}
	return broker.Errorf(broker.CodeForbidden, "another account is connected within %d minutes of signing in with a passkey", int(authn.FreshFor.Minutes())).
		WithNext("sign out, sign in with your passkey, and connect it then")
}

// openSession begins a session in this browser, and ends the one that it had.
func (p *pages) openSession(v *visit, former, begun authn.Session) error {
	if former.Hash != "" {
		if err := p.sessions.End(v.ctx(), former); err != nil {
			return err
		}
	}
	begun.Address, begun.UserAgent = addressText(v.address), v.request.UserAgent()
	cookie, err := p.sessions.Begin(v.ctx(), begun)
	if err == nil {
		http.SetCookie(v.writer, cookie)
	}
	return err
}

// ourPath makes sure that a place to go on to is a path of ours: the attack is a link to our sign-in that
// leads, in the end, to somebody else's page.
func ourPath(text string) string {
	const home, most = "/", 512
	u, err := url.Parse(text)
	if err != nil || len(text) > most || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(u.Path, "/") || strings.ContainsAny(u.Path, `\`) {
		return home
	}
	for _, r := range u.Path {
		if r < 0x20 || r == 0x7f {
			return home
		}
	}
	clean := (&url.URL{Path: path.Clean(u.Path)}).EscapedPath() // also of "//": that would be a host
	if strings.HasPrefix(clean, "/sign-in") {
		return home
	}
	return clean
}
