package web

import (
	"net/http"
	"slices"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/ui"
)

// leasesPage lists what is out, and what ended lately.
func (p *pages) leasesPage(v *visit) error {
	query, err := v.query("after")
	if err != nil {
		return err
	}
	open, err := p.broker.Leases(v.ctx(), v.asHuman(), false)
	if err != nil {
		return err
	}
	all, err := p.broker.Leases(v.ctx(), v.asHuman(), true)
	if err != nil {
		return err
	}
	ended := slices.DeleteFunc(all, func(l broker.Lease) bool { return l.Open() })
	mayEnd := func(l broker.Lease) bool { return p.broker.MayRevoke(v.asHuman(), l) == nil }
	view := ui.LeasesOf(open, ended, query.Get("after"), mayEnd, p.broker.Configuration(), p.now())
	return p.show(v, http.StatusOK, ui.PageLeases, "Leases", view)
}

// endLeasePage asks whether a lease is to be ended.
func (p *pages) endLeasePage(v *visit) error {
	open, err := p.broker.Leases(v.ctx(), v.asHuman(), false)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(open, func(l broker.Lease) bool { return l.ID == v.param("id") })
	if at < 0 {
		return broker.Errorf(broker.CodeNotFound, "there is no such lease, or it has ended already")
	}
	if p.broker.MayRevoke(v.asHuman(), open[at]) != nil {
		return broker.Errorf(broker.CodeForbidden, "an operator ends this lease, or %s", open[at].Owner)
	}
	return p.show(v, http.StatusOK, ui.PageConfirm, "End a lease", ui.EndLease(open[at], p.now()))
}

// endLease ends it. Ending asks for no passkey: it must be as quick as it can be.
func (p *pages) endLease(v *visit) error {
	if _, err := v.formOf(); err != nil {
		return err
	}
	if err := p.broker.Revoke(v.ctx(), v.asHuman(), v.param("id")); err != nil {
		return err
	}
	v.redirect("/leases")
	return nil
}
