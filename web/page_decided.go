package web

import (
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/ui"
)

// orDecided says, of a refusal because somebody else was quicker, who that was and when.
func (p *pages) orDecided(v *visit, id string, refusal error) error {
	if broker.CodeOf(refusal) != broker.CodeConflict {
		return refusal
	}
	request, err := p.broker.Request(v.ctx(), v.asHuman(), id)
	if err != nil || request.State == broker.RequestPending {
		return refusal
	}
	approvals, err := p.broker.Approvals(v.ctx(), v.asHuman(), id)
	if err != nil {
		return refusal
	}
	return broker.Errorf(broker.CodeConflict, "nothing of yours was counted: %s", ui.Decided(request, deniedBy(request), approvals, p.now())).
		WithNext("look at it again").Because(refusal)
}

// deniedBy gives the human who denied a request, empty when it was not denied.
func deniedBy(request broker.Request) string {
	if request.State != broker.RequestDenied {
		return ""
	}
	return strings.TrimPrefix(request.DecidedBy, string(broker.CallerHuman)+":")
}
