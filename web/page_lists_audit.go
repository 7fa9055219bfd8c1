package web

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/ui"
)

// Integrity is what can be said of the event log without reading its events.
type Integrity struct {
	Checkpoint []byte    // the newest that was signed, as a note; empty: none yet
	Covers     uint64    // how many events it is over
	At         time.Time // when it was signed
}

const exportsOfAll = 2 // at once

// auditPage searches the log, newest first.
func (p *pages) auditPage(v *visit) error {
	if err := v.only(auditor); err != nil {
		return err
	}
	filter, err := auditFilterOf(v)
	if err != nil {
		return err
	}
	search, err := newSearch(filter)
	if err != nil {
		return err
	}
	page, err := p.searchLog(v.ctx(), search)
	if err != nil {
		return err
	}
	integrity, err := p.integrityOf(v.ctx())
	if err != nil {
		return err
	}
	return p.show(v, http.StatusOK, ui.PageAudit, "Audit", ui.AuditOf(filter, page, integrity, p.export != nil))
}

func auditFilterOf(v *visit) (ui.AuditFilter, error) {
	query, err := v.query("kind", "actor", "subject", "text", "from", "to", "before")
	if err != nil {
		return ui.AuditFilter{}, err
	}
	trimmed := func(name string) string { return strings.TrimSpace(query.Get(name)) }
	f := ui.AuditFilter{
		Kind: query.Get("kind"), Actor: trimmed("actor"), Subject: trimmed("subject"), Text: trimmed("text"),
		From: query.Get("from"), To: query.Get("to"), Before: query.Get("before"),
	}
	for name, text := range map[string]string{"actor": f.Actor, "subject": f.Subject, "text": f.Text} {
		if len(text) > 1000 {
			return f, broker.Errorf(broker.CodeInvalid, "%s: expected at most 1000 bytes", name).WithField(name)
		}
	}
	return f, nil
}

// integrityOf says how far the log is known to be whole. That it does not hold is no error of this page.
func (p *pages) integrityOf(ctx context.Context) (ui.Integrity, error) {
	height, err := p.height(ctx)
	view := ui.Integrity{Height: height, Unknown: p.integrity == nil}
	if err != nil || view.Unknown {
		return view, err
	}
	known, err := p.integrity(ctx)
	if broker.CodeOf(err) == broker.CodeConflict {
		view.Problem = ui.InWords(refusal(err))
		return view, nil
	}
	view.Checkpoint, view.Covers, view.At = string(known.Checkpoint), known.Covers, known.At
	return view, err
}

// height is the number of events in the log.
func (p *pages) height(ctx context.Context) (height uint64, err error) {
	err = p.store.View(ctx, func(r broker.Reader) error {
		height, err = r.Height()
		return err
	})
	return height, err
}

// exportLog sends the whole log as a file, as `hourkeyd audit export` writes it. It is a POST because making it
// signs a checkpoint.
func (p *pages) exportLog(v *visit) error {
	if _, err := v.formOf(); err != nil {
		return err
	}
	if err := v.only(auditor); err != nil {
		return err
	}
	if p.export == nil {
		return broker.Errorf(broker.CodeNotFound, "this broker does not export its log here").WithNext("run `hourkeyd audit export`")
	}
	if !p.exports.enter(v.human) {
		return broker.Errorf(broker.CodeSlowDown, "the log is being exported already").WithNext("wait until that is done")
	}
	defer p.exports.leave(v.human)
	name := "hourkey-" + p.broker.Installation().ID + "-" + p.now().UTC().Format("20060102-150405") + ".jsonl"
	return p.download(v, name, p.export)
}

// daysOf gives the first moment that counts and the first that does not any more; zero times: unbounded.
func daysOf(filter ui.AuditFilter) (from, to time.Time, err error) {
	day := func(name, text string) (time.Time, error) {
		if text == "" {
			return time.Time{}, nil
		}
		at, err := time.Parse(time.DateOnly, text)
		if err != nil {
			return at, broker.Errorf(broker.CodeInvalid, "%s: expected a day like 2026-11-21", name).WithField(name)
		}
		return at, nil
	}
	if from, err = day("from", filter.From); err != nil {
		return from, to, err
	}
	if to, err = day("to", filter.To); err == nil && !to.IsZero() {
		to = to.AddDate(0, 0, 1)
	}
	return from, to, err
}

// beforeOf reads the number before which a page begins.
func beforeOf(text string) (uint64, bool, error) {
	if text == "" {
		return 0, false, nil
	}
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, false, broker.Errorf(broker.CodeInvalid, "before: expected the number of an event").WithField("before")
	}
	return number, true, nil
}
