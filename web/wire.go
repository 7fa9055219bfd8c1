package web

import (
	"encoding/json"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

const requestPage = "/requests/" // where a reviewer decides; the page is human.go's

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func (s *Server) wireRequests(requests []broker.Request) api.RequestList {
	list := api.RequestList{Requests: make([]api.Request, len(requests))}
	for i, request := range requests {
		list.Requests[i] = s.wireRequest(request)
	}
	return list
}

// wireRequest shows a request as it stands: narrowed, once reviewers have narrowed it.
func (s *Server) wireRequest(r broker.Request) api.Request {
	wire := api.Request{
		ID: r.ID, Agent: r.Agent, Owner: r.Owner, Task: r.Task, Environments: r.Environments, State: string(r.State),
		TTLSeconds: seconds(r.EffectiveTTL()), Outcome: string(r.Decision.Outcome), Reasons: reasons(r.Decision.Reasons),
		Verdict: r.Verdict, Reason: r.Reason, Created: r.Created, Deadline: r.Deadline, Expires: r.Expires,
		Collected: r.Collected, Config: r.Config, Repeats: r.Repeats, Signed: r.Signed, Items: []api.Item{}, Taken: taken(r),
	}
	if r.State == broker.RequestPending { // costly, and nobody signs it later
		wire.Page, wire.Digest, wire.Phrase = s.origin+requestPage+r.ID, r.Digest(), r.Phrase()
	}
	if o := r.Operation; o != nil {
		wire.Operation = &api.Operation{Lease: o.Lease, Text: o.Text}
	}
	for _, item := range r.Effective() {
		d := item.Description
		wire.Items = append(wire.Items, api.Item{
			Environment: item.Environment, Target: item.Target, Asked: broker.Texts(item.Asked), Scopes: broker.Texts(d.Scopes),
			Reaches: d.Reaches, Native: d.Native, Ends: d.Ends, TTLSeconds: seconds(d.TTL),
		})
	}
	for _, need := range r.Needs {
		wire.Needs = append(wire.Needs, api.Need{Environment: need.Environment, Humans: need.Humans})
	}
	return wire
}

// taken compares a request with what reviewers left of it, target by target.
func taken(r broker.Request) []api.Taken {
	var all []api.Taken
	for _, was := range r.Items {
		one := api.Taken{Environment: was.Environment, Target: was.Target, Scopes: broker.Texts(was.Description.Scopes), Whole: true}
		for _, is := range r.Effective() {
			if is.Environment == was.Environment && is.Target == was.Target {
				one.Whole, one.Scopes = false, broker.Texts(lost(was.Description.Scopes, is.Description.Scopes))
				if is.Description.TTL != was.Description.TTL {
					one.TTLSeconds = seconds(was.Description.TTL)
				}
			}
		}
		if one.Whole || len(one.Scopes) > 0 || one.TTLSeconds > 0 {
			all = append(all, one)
		}
	}
	return all
}

// lost gives the scopes, with those of their actions, that left does not cover in full. Of a pattern that was
// made narrower the pattern is lost; what is left of it stands in the item.
func lost(was, left []broker.Scope) []broker.Scope {
	var all []broker.Scope
	for _, scope := range was {
		gone := broker.Scope{Target: scope.Target, Resource: scope.Resource}
		for _, action := range scope.Actions.Each() {
			one := broker.Scope{Target: scope.Target, Resource: scope.Resource, Actions: action}
			if !broker.Covers(left, []broker.Scope{one}) {
				gone.Actions |= action
			}
		}
		if gone.Actions != 0 {
			all = append(all, gone)
		}
	}
	return all
}

// wireLease shows a lease. Why ending it has failed so far is for those who can do something about it.
func wireLease(l broker.Lease, caller broker.Caller) api.Lease {
	wire := api.Lease{
		ID: l.ID, Name: l.Name, Request: l.Request, Agent: l.Agent, Task: l.Task, Environment: l.Environment, Target: l.Target,
		Scopes: broker.Texts(l.Scopes), State: string(l.State), Cause: string(l.Cause), By: l.By, Created: l.Created, Expires: l.Expires, Ended: l.Ended,
	}
	if caller.Kind != broker.CallerAgent {
		wire.Problem = l.LastError
	}
	return wire
}

func wireFreeze(f broker.Freeze) api.Freeze {
	return api.Freeze{ID: f.ID(), Of: string(f.Of), Name: f.Name, By: f.By, Reason: f.Reason, At: f.At, Until: f.Until}
}

func wireApproval(a broker.Approval) (api.Approval, error) {
	assertion, err := json.Marshal(a.Assertion)
	return api.Approval{
		Request: a.Request, Reviewer: a.Reviewer, Passkey: a.Passkey, Nonce: a.Nonce,
		Statement: a.Statement.Canonical(), Assertion: assertion, At: a.At, Void: a.Void,
	}, err
}
