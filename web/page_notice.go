package web

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/ui"
)

// notices stand on every page. Whom something touched is told only to who is signed in. When the store
// cannot be read, those that need no store come with the error.
func (p *pages) notices(ctx context.Context, human string) ([]ui.Notice, error) {
	var notices []ui.Notice
	if p.mistakesOnly() {
		notices = append(notices, ui.MistakesNotice())
	}
	if p.written.refused() {
		notices = append(notices, ui.StoreNotice())
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
	return p.announced(ctx, human, humans, notices)
}

// announced adds what everybody who is signed in is told: new passkeys, and freezes.
func (p *pages) announced(ctx context.Context, human string, humans []broker.Human, notices []ui.Notice) ([]ui.Notice, error) {
	fresh, err := p.newPasskeys(ctx, humans)
	if err != nil {
		return notices, err
	}
	if notice, stands := ui.PasskeyNotice(fresh, p.now()); stands {
		notices = append(notices, notice)
	}
	freezes, err := p.broker.Freezes(ctx)
	if err != nil {
		return notices, err
	}
	noRole := kinds(p.broker.Configuration(), human) == 0
	if noRole { // only an agent's owner: what others' agents do is not theirs to know
		freezes = freezesOfAll(freezes)
	}
	if notice, stands := ui.FreezeNotice(freezes, !noRole); stands {
		notices = append(notices, notice)
	}
	return notices, nil
}

func freezesOfAll(freezes []broker.Freeze) (all []broker.Freeze) {
	for _, f := range freezes {
		if f.Of == broker.FreezeAll {
			all = append(all, f)
		}
	}
	return all
}

const (
	announcedFor = 7 * 24 * time.Hour
	enrolsWithin = 2 * time.Hour // a newcomer, from the invite to the first passkey
)

// newPasskeys lists the passkeys of the last week, those that still wait for a signature included, but for the first
// ones of newcomers: operators signed for those just so.
func (p *pages) newPasskeys(ctx context.Context, humans []broker.Human) (fresh []ui.FreshPasskey, err error) {
	came := map[string]time.Time{} // human → when they first came
	for _, h := range humans {
		came[h.Name] = h.Created
	}
	has := map[string]int{} // human → passkeys
	since := p.now().Add(-announcedFor)
	keep := func(k broker.Passkey, offered bool) {
		if k.Created.Before(since) {
			return
		}
		if offered || has[k.Human] > 1 || k.Created.Sub(came[k.Human]) > enrolsWithin {
			fresh = append(fresh, ui.FreshPasskey{Human: k.Human, Offered: offered, At: k.Created, From: k.UsableFrom})
		}
	}
	err = p.store.View(ctx, func(r broker.Reader) error {
		added, err := scan[broker.Passkey](r, "passkey")
		if err != nil {
			return err
		}
		for _, k := range added {
			has[k.Human]++
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
