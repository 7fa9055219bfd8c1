package broker

import (
	"errors"
	"slices"
)

// VoidApproval is an earlier approval of a request that a later signature found not to count any more.
type VoidApproval struct {
	Reviewer string `json:"reviewer"`
	Passkey  string `json:"passkey"`
	Why      string `json:"why"` // one sentence
}

// judged lists a request's approvals in the order in which they were given. As long as it waits, those that would
// not count if somebody signed now say why (Void).
func (b *Broker) judged(r Reader, request Request) ([]Approval, error) {
	approvals, err := approvalsOf(r, request.ID)
	if err != nil || request.State != RequestPending {
		return approvals, err
	}
	for i := range approvals {
		if approvals[i].Void, err = b.whyVoid(r, request, approvals[i]); err != nil {
			return nil, err
		}
	}
	return approvals, nil
}

// whyVoid says why an approval no longer counts, empty while it does. Whether its signature holds is for collecting to
// verify. A passkey that came after the approval is another one, though it has the same id.
func (b *Broker) whyVoid(r Reader, request Request, approval Approval) (string, error) {
	if approval.Void != "" {
		return approval.Void, nil
	}
	passkey := Passkey{ID: approval.Passkey}
	found, err := load(r, &passkey)
	if err != nil {
		return "", err
	}
	cfg := b.Configuration()
	counts := func(n Need) bool { return cfg.counts(approval.Reviewer, request.Owner, n.Environment) }
	switch {
	case !found || passkey.Human != approval.Reviewer || approval.At.Before(passkey.UsableFrom):
		return "the passkey that signed it was removed", nil
	case !slices.ContainsFunc(request.Needs, counts):
		return approval.Reviewer + " may not approve this any more", nil
	}
	return "", nil
}

// recount says of a request that waits how many humans' approvals count now.
func (b *Broker) recount(r Reader, request *Request) error {
	if request.State != RequestPending || request.Signed == 0 {
		return nil
	}
	approvals, err := b.judged(r, *request)
	request.Signed = len(standing(approvals))
	return err
}

func (b *Broker) recountAll(r Reader, requests []Request) error {
	for i := range requests {
		if err := b.recount(r, &requests[i]); err != nil {
			return err
		}
	}
	return nil
}

// standing leaves out what no longer counts.
func standing(approvals []Approval) []Approval {
	return slices.DeleteFunc(slices.Clone(approvals), func(a Approval) bool { return a.Void != "" })
}

// approvedBy tells whether this human signed a request, and it still counts: else the human may sign again.
func (b *Broker) approvedBy(r Reader, request Request, human string) (bool, error) {
	approval := Approval{Request: request.ID, Reviewer: human}
	found, err := load(r, &approval)
	if err != nil || !found {
		return false, err
	}
	why, err := b.whyVoid(r, request, approval)
	return why == "", err
}

// leaveOut marks for good those approvals of a request that no longer count, so that nothing that comes later (a
// group that is given back) makes them count again, and collecting does not stumble over them. It gives the others.
func (b *Broker) leaveOut(tx Tx, request Request) (stand []Approval, void []VoidApproval, err error) {
	approvals, err := approvalsOf(tx, request.ID)
	if err != nil {
		return nil, nil, err
	}
	for _, approval := range approvals {
		why, err := b.whyVoid(tx, request, approval)
		switch {
		case err != nil:
			return nil, nil, err
		case why == "":
			stand = append(stand, approval)
		case approval.Void == "":
			marked := approval
			marked.Void = why
			if err := errors.Join(tx.Delete(&approval), tx.Save(&marked)); err != nil { // the same human may sign once more
				return nil, nil, err
			}
			void = append(void, VoidApproval{approval.Reviewer, approval.Passkey, why})
		}
	}
	return stand, void, nil
}
