package web

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/ui"
)

// The bounds of one search. What is not found within them is found by going on from there.
const (
	eventsOnPage = 50
	eventsLooked = 20000
	searchFor    = 2 * time.Second
	searchBlock  = 256 // events in memory at once
)

// search is what somebody looks for in the log. Its zero value matches everything.
type search struct {
	prefixes []string // of the type; one must fit
	actor    string
	subject  string
	text     string    // lower case
	inJSON   []byte    // the same as it stands inside of a JSON text
	from, to time.Time // from inclusive, to exclusive; zero: unbounded

	before    uint64 // only events with a lower number
	hasBefore bool
}

func newSearch(filter ui.AuditFilter) (s search, err error) {
	s.actor, s.subject, s.text = filter.Actor, filter.Subject, strings.ToLower(filter.Text)
	if filter.Kind != "" {
		kinds := ui.AuditKinds()
		at := slices.IndexFunc(kinds, func(k ui.AuditKind) bool { return k.Name == filter.Kind })
		if at < 0 {
			return s, broker.Errorf(broker.CodeInvalid, "there is no such kind of event").WithField("kind")
		}
		s.prefixes = kinds[at].Prefixes
	}
	if s.text != "" {
		raw, err := json.Marshal(s.text) // an event's data was encoded the same way: < is \u003c in both
		if err != nil {
			return s, err
		}
		s.inJSON = raw[1 : len(raw)-1]
	}
	if s.from, s.to, err = daysOf(filter); err != nil {
		return s, err
	}
	s.before, s.hasBefore, err = beforeOf(filter.Before)
	return s, err
}

func (s search) matches(e broker.Event) bool {
	switch _, name, _ := strings.Cut(e.Actor, ":"); {
	case s.prefixes != nil && !slices.ContainsFunc(s.prefixes, func(prefix string) bool { return strings.HasPrefix(string(e.Type), prefix) }),
		s.actor != "" && s.actor != e.Actor && s.actor != name,
		s.subject != "" && s.subject != e.Subject,
		!s.from.IsZero() && e.Time.Before(s.from),
		!s.to.IsZero() && !e.Time.Before(s.to):
		return false
	}
	if s.text == "" || strings.Contains(strings.ToLower(string(e.Type)+"\n"+e.Actor+"\n"+e.Subject), s.text) {
		return true
	}
	lower := bytes.ToLower(e.Data)
	return bytes.Contains(lower, s.inJSON) || bytes.Contains(lower, []byte(s.text))
}

// searchLog reads the log backwards, block by block, until a page is full, the log's beginning or the search's
// bounds are reached. No transaction is held longer than a block takes.
func (p *pages) searchLog(ctx context.Context, s search) (page ui.AuditPage, err error) {
	end, err := p.searchEnd(ctx, s)
	if err != nil {
		return page, err
	}
	began, looked := p.now(), 0
	for end > 0 {
		if looked >= eventsLooked || p.now().Sub(began) > searchFor {
			page.Before, page.Looked = strconv.FormatUint(end, 10), looked
			return page, nil
		}
		begin := end - min(end, searchBlock)
		block, err := p.eventsBetween(ctx, begin, end)
		if err != nil {
			return page, err
		}
		looked += len(block)
		for _, e := range slices.Backward(block) {
			if !s.matches(e.Event) {
				continue
			}
			if page.Events = append(page.Events, e); len(page.Events) == eventsOnPage && e.Number > 0 {
				page.Before = strconv.FormatUint(e.Number, 10)
				return page, nil
			}
		}
		if s.endsWith(block) {
			return page, nil
		}
		end = begin
	}
	return page, nil
}

// endsWith tells that nothing before the block can match: all of it is older than what is looked for. One event
// alone does not tell, because a clock may have been set back a little.
func (s search) endsWith(block []ui.Numbered) bool {
	return !s.from.IsZero() && !slices.ContainsFunc(block, func(e ui.Numbered) bool { return !e.Event.Time.Before(s.from) })
}

// searchEnd is the number behind the last event that can match.
func (p *pages) searchEnd(ctx context.Context, s search) (uint64, error) {
	height, err := p.height(ctx)
	if err != nil {
		return 0, err
	}
	if s.hasBefore {
		height = min(height, s.before)
	}
	if s.to.IsZero() {
		return height, nil
	}
	// Times rise with the numbers, but for a clock that was set back a little: a block more makes up for that.
	at := sort.Search(int(height), func(n int) bool { //nolint:gosec // a log of 2^63 events is none of ours
		var block []ui.Numbered
		if err == nil {
			block, err = p.eventsBetween(ctx, uint64(n), uint64(n)+1) //nolint:gosec // not negative
		}
		return len(block) == 0 || !block[0].Event.Time.Before(s.to)
	})
	return min(height, uint64(at)+searchBlock), err //nolint:gosec // not negative
}

// eventsBetween reads the events from the number begin up to, but not with, end.
func (p *pages) eventsBetween(ctx context.Context, begin, end uint64) (list []ui.Numbered, err error) {
	err = p.store.View(ctx, func(r broker.Reader) error {
		return r.Events(begin, func(number uint64, e broker.Event) error {
			if number >= end {
				return broker.ErrStop
			}
			list = append(list, ui.Numbered{Number: number, Event: e})
			return nil
		})
	})
	return list, err
}
