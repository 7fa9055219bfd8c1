package web

import (
	"sort"
	"strings"
	"time"

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
	by, err := p.deniedBy(v, request)
	if err != nil {
		return refusal
	}
	approvals, err := p.broker.Approvals(v.ctx(), v.asHuman(), id)
	if err != nil {
		return refusal
	}
	return broker.Errorf(broker.CodeConflict, "%s: nothing of yours was counted", ui.Decided(request, by, approvals, p.now())).
		WithNext("look at it again").Because(refusal)
}

// deniedBy gives the human who denied a request, empty when it was not denied, or the log does not say.
// The record has when; the log, which is in the order of time, has who.
func (p *pages) deniedBy(v *visit, request broker.Request) (by string, err error) {
	if request.State != broker.RequestDenied || request.Decided.IsZero() {
		return "", nil
	}
	const most = 1000 // events of that moment
	err = p.store.View(v.ctx(), func(r broker.Reader) error {
		from, err := firstEvent(r, request.Decided)
		if err != nil {
			return err
		}
		return r.Events(from, func(n uint64, event broker.Event) error {
			if event.Type == broker.EventRequestRejected && event.Subject == request.ID {
				by = strings.TrimPrefix(event.Actor, string(broker.CallerHuman)+":")
				return broker.ErrStop
			}
			if n-from >= most {
				return broker.ErrStop
			}
			return nil
		})
	})
	return by, err
}

// firstEvent gives the number of the first event that is not older than since.
func firstEvent(r broker.Reader, since time.Time) (uint64, error) {
	height, err := r.Height()
	if err != nil {
		return 0, err
	}
	n := sort.Search(int(height), func(n int) bool { //nolint:gosec // a log of 2^63 events takes longer than anybody waits
		at := time.Time{}
		read := r.Events(uint64(n), func(_ uint64, event broker.Event) error { //nolint:gosec // n is not negative
			at = event.Time
			return broker.ErrStop
		})
		if read != nil {
			err = read
		}
		return !at.Before(since)
	})
	return uint64(n), err //nolint:gosec // n is not negative
}
