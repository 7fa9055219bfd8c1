package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/ui"
)

// notices stand on every page. Whom something touched is told only to who is signed in. When the store
// cannot be read, those that need no store come with the error. back is the page to come back to from what a
// notice offers.
func (p *pages) notices(ctx context.Context, human, back string) ([]ui.Notice, error) {
	var notices []ui.Notice
	if p.mistakesOnly() {
		notices = append(notices, ui.MistakesNotice())
	}
	if p.written.refused() {
		notices = append(notices, ui.StoreNotice())
	}
	if human != "" && p.broker.MustSignOn(human) {
		notices = append(notices, p.signOnNotice(back))
	}
	humans, err := p.broker.Humans(ctx)
	if err != nil {
		return notices, err
	}
	for _, h := range humans {
		name := h.Name
		if human == "" {
			name = "somebody here"
		}
		if notice, stands := ui.ResetNotice(name, h.Reset, p.now()); stands {
			notices = append(notices, notice)
		}
	}
	if human == "" {
		return notices, nil
	}
	return p.announced(ctx, human, notices)
}

// announced adds what everybody who is signed in is told: new passkeys, and freezes.
func (p *pages) announced(ctx context.Context, human string, notices []ui.Notice) ([]ui.Notice, error) {
	fresh, err := p.newPasskeys(ctx)
	if err != nil {
		return notices, err
	}
	if notice, stands := ui.PasskeyNotice(fresh, p.now()); stands {
		notices = append(notices, notice)
	}
	freezes, opens, err := p.toldFreezes(ctx, human)
	if err != nil {
		return notices, err
	}
	if notice, stands := ui.FreezeNotice(freezes, opens, kinds(p.broker.Configuration(), human)&operator != 0); stands {
		notices = append(notices, notice)
	}
	return notices, nil
}

// toldFreezes lists the freezes of which this human is told: that of everything, and what may be looked at. opens tells
// whether all of it may be.
func (p *pages) toldFreezes(ctx context.Context, human string) (told []broker.Freeze, opens bool, err error) {
	freezes, err := p.broker.Freezes(ctx)
	if err != nil {
		return nil, false, err
	}
	opens = true
	for _, f := range freezes {
		may, err := p.opensFreeze(ctx, human, f)
		if err != nil {
			return nil, false, err
		}
		if may || f.Of == broker.FreezeAll {
			told, opens = append(told, f), opens && may
		}
	}
	return told, opens, nil
}

// signOnNotice offers the single sign-on where there is one.
func (p *pages) signOnNotice(back string) ui.Notice {
	if !p.signOn.IsOn() {
		back = ""
	}
	return ui.SignOnNotice(back)
}

// orSignOn says, of what is not this human's to see, that another single sign-on may open it: whether there is such a
// thing or not.
func (p *pages) orSignOn(v *visit, told *broker.Error) *broker.Error {
	closed := told.Code == broker.CodeNotFound || told.Code == broker.CodeForbidden && told.Next == ""
	if !closed || v.human == "" || !p.broker.MustSignOn(v.human) {
		return told
	}
	return broker.Errorf(told.Code, "%s", told.Message).WithNext("sign on again first: your groups may open it then")
}

// backTo is where whoever leaves a page, to sign on, comes back to.
func backTo(v *visit) string {
	if v.request.Method != http.MethodGet {
		return "/"
	}
	return v.request.URL.EscapedPath()
}

const announcedFor = 7 * 24 * time.Hour

// newPasskeys lists the passkeys of the last week, those that still wait for a signature included, but for everybody's
// first: operators signed for those just so.
func (p *pages) newPasskeys(ctx context.Context) (fresh []ui.FreshPasskey, err error) {
	since := p.now().Add(-announcedFor)
	keep := func(k broker.Passkey, offered bool) {
		if (offered || k.Further) && !k.Created.Before(since) {
			fresh = append(fresh, ui.FreshPasskey{Human: k.Human, Offered: offered, At: k.Created, From: k.UsableFrom})
		}
	}
	err = p.store.View(ctx, func(r broker.Reader) error {
		added, err := scan[broker.Passkey](r, "passkey")
		if err != nil {
			return err
		}
		for _, k := range added {
			keep(k, false)
		}
		waiting, err := scan[broker.WaitingPasskey](r, "waiting-passkey")
		for _, w := range waiting {
			if p.now().Before(w.Expires) {
				keep(w.Passkey, true)
			}
		}
		return err
	})
	return fresh, err
}

// scan reads every record of a kind.
func scan[T any](r broker.Reader, kind string) (list []T, err error) {
	err = r.Scan(kind, "", func(raw []byte) error {
		var one T
		if err := json.Unmarshal(raw, &one); err != nil {
			return fmt.Errorf("reading %s: %w", kind, err)
		}
		list = append(list, one)
		return nil
	})
	return list, err
}

// mistakesOnly tells whether every page must say that Hourkey protects from mistakes only (invariant
// 5): the broker was started without a user of its own, or a local peer had its uid; for good.
func (p *pages) mistakesOnly() bool { return !p.broker.Installation().SameUser.IsZero() }
