package web

import (
	"net/http"
	"strconv"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

func (s *Server) leases(c *call) error {
	query, err := c.query("all")
	if err != nil {
		return err
	}
	all := query.Get("all") == "true"
	if text := query.Get("all"); text != "" && text != "true" && text != "false" {
		return broker.Errorf(broker.CodeInvalid, "all: expected true or false").WithField("all")
	}
	leases, err := s.broker.Leases(c.ctx(), c.caller, all)
	if err != nil {
		return err
	}
	list := api.LeaseList{Leases: make([]api.Lease, len(leases))}
	for i, lease := range leases {
		list.Leases[i] = wireLease(lease, c.caller)
	}
	return c.answer(http.StatusOK, list)
}

func (s *Server) release(c *call) error {
	return c.done(s.broker.Release(c.ctx(), c.caller, c.param("id")))
}

func (s *Server) revoke(c *call) error {
	return c.done(s.broker.Revoke(c.ctx(), c.caller, c.param("id")))
}

// done answers 204 when there is no error.
func (c *call) done(err error) error {
	if err == nil {
		c.writer.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (s *Server) freezes(c *call) error {
	freezes, err := s.broker.Freezes(c.ctx())
	if err != nil {
		return err
	}
	list := api.FreezeList{Freezes: make([]api.Freeze, len(freezes))}
	for i, freeze := range freezes {
		list.Freezes[i] = wireFreeze(freeze)
	}
	return c.answer(http.StatusOK, list)
}

// maxFreeze bounds Seconds; what must last longer lasts until a human lifts it.
const maxFreeze = 366 * 24 * time.Hour

func (s *Server) freeze(c *call) error {
	var wish api.FreezeCreate
	if err := c.decode(&wish); err != nil {
		return err
	}
	if wish.Seconds < 0 || wish.Seconds > seconds(maxFreeze) {
		return broker.Errorf(broker.CodeInvalid, "seconds is %d: expected at most a year, or none until a human lifts it", wish.Seconds).WithField("seconds")
	}
	if len(wish.Reason) > 2000 {
		return broker.Errorf(broker.CodeInvalid, "reason: expected at most 2000 bytes").WithField("reason")
	}
	freeze := broker.Freeze{Of: broker.FreezeKind(wish.Of), Name: wish.Name, Reason: wish.Reason}
	if wish.Seconds > 0 {
		freeze.Until = s.now().UTC().Add(time.Duration(wish.Seconds) * time.Second)
	}
	ended, err := s.broker.Freeze(c.ctx(), c.caller, freeze)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, api.FreezeResult{ID: freeze.ID(), Ended: ended})
}

// approvals lists what waits for this human, or, with ?request=, who signed a request.
func (s *Server) approvals(c *call) error {
	query, err := c.query("request")
	if err != nil {
		return err
	}
	if !query.Has("request") {
		inbox, err := s.broker.Inbox(c.ctx(), c.caller.Name)
		if err != nil {
			return err
		}
		return c.answer(http.StatusOK, s.wireRequests(inbox.Requests))
	}
	approvals, err := s.broker.Approvals(c.ctx(), c.caller, query.Get("request"))
	if err != nil {
		return err
	}
	list := api.ApprovalList{Approvals: make([]api.Approval, len(approvals))}
	for i, approval := range approvals {
		if list.Approvals[i], err = wireApproval(approval); err != nil {
			return err
		}
	}
	return c.answer(http.StatusOK, list)
}

const (
	auditPage    = 200 // events in a page, when nothing is said
	auditPageMax = 1000
)

// audit gives a page of the log, as it stands.
func (s *Server) audit(c *call) error {
	query, err := c.query("from", "limit")
	if err != nil {
		return err
	}
	from, err := number(query.Get("from"), "from", 0)
	if err != nil {
		return err
	}
	limit, err := number(query.Get("limit"), "limit", auditPage)
	if err != nil {
		return err
	}
	limit = min(max(limit, 1), auditPageMax)
	page := api.AuditPage{Events: []api.AuditEvent{}, Next: from}
	err = s.store.View(c.ctx(), func(r broker.Reader) error {
		return r.Events(from, func(number uint64, e broker.Event) error {
			if uint64(len(page.Events)) == limit {
				return broker.ErrStop
			}
			page.Events = append(page.Events, api.AuditEvent{Number: number, Type: string(e.Type), Time: e.Time, Actor: e.Actor, Subject: e.Subject, Data: e.Data})
			page.Next = number + 1
			return nil
		})
	})
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, page)
}

func number(text, field string, otherwise uint64) (uint64, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, broker.Errorf(broker.CodeInvalid, "%s: expected a whole number", field).WithField(field)
	}
	return n, nil
}
