package web

import (
	"context"

	"github.com/hourkey/hourkey/web/ui"
)

// notices stand on every page. Whom a reset touched is told only to who is signed in. When the store
// cannot be read, those that need no store come with the error.
func (p *pages) notices(ctx context.Context, human string) ([]ui.Notice, error) {
	var notices []ui.Notice
	if p.mistakesOnly() {
		notices = append(notices, ui.MistakesNotice())
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
	return notices, nil
}

// mistakesOnly tells whether every page must say that Hourkey protects from mistakes only (invariant
// 5): the broker was started without a user of its own, or a local peer had its uid; for good.
func (p *pages) mistakesOnly() bool { return !p.broker.Installation().SameUser.IsZero() }
