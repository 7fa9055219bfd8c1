package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// visible tells whether the caller may see a request: the agent with the key that asked, its owner,
// reviewers of one of its environments, operators, auditors, the admin socket.
func (b *Broker) visible(caller Caller, request Request) bool {
	switch caller.Kind {
	case CallerAgent:
		return mine(caller, request)
	case CallerSocket:
		return true
	case CallerHuman:
		cfg := b.Configuration()
		return caller.Name == request.Owner || cfg.HasRole(caller.Name, RoleOperator) || cfg.HasRole(caller.Name, RoleAuditor) ||
			slices.ContainsFunc(request.Environments, func(e string) bool { return cfg.MayReview(caller.Name, e) })
	}
	return false
}

// Request gives one request that the caller may see, CodeNotFound otherwise.
func (b *Broker) Request(ctx context.Context, caller Caller, id string) (Request, error) {
	request := Request{ID: id}
	var found bool
	err := b.store.View(ctx, func(r Reader) (err error) {
		if found, err = load(r, &request); err != nil {
			return err
		}
		return b.recount(r, &request)
	})
	switch {
	case err != nil:
		return Request{}, err
	case !found || !b.visible(caller, request):
		return Request{}, noRequest(id)
	}
	return request, nil
}

// Await is Request, but waits until the request is no longer pending, or more humans have signed it than the caller
// knows of. When ctx ends first it gives the pending request without error.
func (b *Broker) Await(ctx context.Context, caller Caller, id string, signed int) (Request, error) {
	for {
		changed := b.changed.wait()
		request, err := b.Request(context.WithoutCancel(ctx), caller, id)
		if err != nil || request.State != RequestPending || request.Signed > signed {
			return request, err
		}
		select {
		case <-ctx.Done():
			return request, nil
		case <-changed:
		}
	}
}

// Appended gives a channel that is closed when the log may next have grown. Take it before reading the log.
func (b *Broker) Appended() <-chan struct{} { return b.appended.wait() }

// requestsRead is how many requests a list looks at: they are never deleted, and who may see few of them must not make
// the broker read all that was ever asked.
const requestsRead = 2000

// Requests lists, newest first, at most limit requests that the caller may see, of the newest 2,000: of an agent's
// own, or of all.
func (b *Broker) Requests(ctx context.Context, caller Caller, limit int) ([]Request, error) {
	requests, _, err := b.Recent(ctx, caller, limit)
	return requests, err
}

// Recent is Requests, and tells whether there are older ones that were not looked at.
func (b *Broker) Recent(ctx context.Context, caller Caller, limit int) (requests []Request, cut bool, err error) {
	index := "recent"
	if caller.Kind == CallerAgent {
		index = "agent/" + caller.Name
	}
	read := 0
	err = b.store.View(ctx, func(r Reader) error {
		err := r.Scan("request", index, func(raw []byte) error {
			if len(requests) >= limit {
				return ErrStop
			}
			if cut = read == requestsRead; cut {
				return ErrStop
			}
			read++
			request, sees, err := b.decodeVisible(caller, raw)
			if err == nil && sees {
				requests = append(requests, request)
			}
			return err
		})
		if err != nil {
			return err
		}
		return b.recountAll(r, requests)
	})
	return requests, cut, err
}

// decodeVisible decodes a request that the caller may see; of others no more than tells that.
func (b *Broker) decodeVisible(caller Caller, raw []byte) (request Request, sees bool, err error) {
	var head struct {
		Agent        string   `json:"agent"`
		AgentKey     string   `json:"agent_key"`
		Owner        string   `json:"owner"`
		Environments []string `json:"environments"`
	}
	err = json.Unmarshal(raw, &head)
	sees = err == nil && b.visible(caller, Request{Agent: head.Agent, AgentKey: head.AgentKey, Owner: head.Owner, Environments: head.Environments})
	if sees {
		err = json.Unmarshal(raw, &request)
	}
	if err != nil {
		return Request{}, false, fmt.Errorf("reading request: %w", err)
	}
	return request, sees, nil
}

// newest lists at most limit records for which keep holds, of an index that goes from the newest on.
func newest[T any](ctx context.Context, b *Broker, kind, index string, limit int, keep func(T) bool) ([]T, error) {
	var kept []T
	err := b.store.View(ctx, func(r Reader) error {
		return r.Scan(kind, index, func(raw []byte) error {
			if len(kept) >= limit {
				return ErrStop
			}
			var one T
			if err := json.Unmarshal(raw, &one); err != nil {
				return fmt.Errorf("reading %s: %w", kind, err)
			}
			if keep(one) {
				kept = append(kept, one)
			}
			return nil
		})
	})
	return kept, err
}

// Approvals lists the approvals of a request that the caller may see, in their order; of those that no longer count,
// Void says why.
func (b *Broker) Approvals(ctx context.Context, caller Caller, id string) (approvals []Approval, err error) {
	request, err := b.Request(ctx, caller, id)
	if err != nil {
		return nil, err
	}
	err = b.store.View(ctx, func(r Reader) (err error) {
		approvals, err = b.judged(r, request)
		return err
	})
	return approvals, err
}

// Cancel withdraws the agent's own request, before it is collected.
func (b *Broker) Cancel(ctx context.Context, caller Caller, id string) error {
	defer b.collects.lock(id)()
	request, err := b.Request(ctx, caller, id)
	if err != nil {
		return err
	}
	if !mine(caller, request) {
		return Errorf(CodeForbidden, "only the agent that asked may cancel; a reviewer denies")
	}
	if request.State != RequestPending && request.State != RequestApproved {
		return Errorf(CodeConflict, "this request is %s already", request.State)
	}
	was := request.State
	err = b.update(ctx, func(tx Tx) error {
		if err := tx.Load(&request); err != nil {
			return err
		}
		if request.State != was {
			return Errorf(CodeConflict, "this request is %s by now", request.State).WithNext("try again")
		}
		return b.close(tx, request, RequestCancelled, EventRequestCancelled, caller.Actor(), "")
	})
	if err == nil && was == RequestApproved { // how often one that waits is withdrawn is counted for its reviewers: steady
		b.idle.charge(request.Agent, b.now())
	}
	b.changed.notify()
	return err
}

// maxListed bounds what a list of leases reads into memory.
const maxListed = 1000

// Leases lists, newest first, at most 1,000 leases that the caller may see; open ones only, or all.
func (b *Broker) Leases(ctx context.Context, caller Caller, all bool) ([]Lease, error) {
	index := map[bool]string{true: "recent", false: "open"}[all]
	if caller.Kind == CallerAgent {
		index = map[bool]string{true: "agent/", false: "open/"}[all] + caller.Name
	}
	leases, err := newest(ctx, b, "lease", index, maxListed, func(l Lease) bool {
		if caller.Kind == CallerAgent {
			return l.Agent == caller.Name && l.AgentKey == caller.Key
		}
		return b.visible(caller, Request{Owner: l.Owner, Environments: append([]string{l.Environment}, l.Reaches...)})
	})
	for i := range leases {
		leases[i].Handle = nil
	}
	return leases, err
}

// IsLive tells whether the lease of that name, in that environment, is live: not expired, released, revoked
// or frozen, nor about to be. It is what a service asks that does not want to wait for a token's expiry.
func (b *Broker) IsLive(ctx context.Context, environment, name string) (bool, error) {
	id, ours := strings.CutPrefix(name, namePrefix(b.Installation().ID))
	if !ours {
		return false, nil
	}
	lease, err := b.lease(ctx, id)
	if CodeOf(err) == CodeNotFound {
		return false, nil
	}
	return err == nil && lease.State == LeaseLive && lease.Environment == environment && b.now().Before(lease.Expires), err
}

// Tasks lists what the agent may ask for.
func (b *Broker) Tasks(agent string) []Task { return b.Configuration().Policy.Tasks(agent) }

// AllTasks lists what is configured, for humans who read policy: also what no agent may ask for.
func (b *Broker) AllTasks() []Task { return b.Configuration().Policy.AllTasks() }

// Status is the state of the broker in numbers.
type Status struct {
	Installation Installation       `json:"installation"`
	Config       string             `json:"config"`
	Leases       map[LeaseState]int `json:"leases"` // open ones
	Pending      int                `json:"pending"`
	Freezes      []Freeze           `json:"freezes"`
	Unconfirmed  []string           `json:"unconfirmed"` // environment/target
	Events       uint64             `json:"events"`
	Writable     bool               `json:"writable"`     // the store took the last write
	Behind       bool               `json:"clock_behind"` // nothing is issued
}

// Status counts.
func (b *Broker) Status(ctx context.Context) (Status, error) {
	status := Status{
		Installation: b.Installation(), Config: b.Configuration().Hash, Leases: map[LeaseState]int{},
		Writable: !b.broken.Load(), Behind: b.clockBehind() != nil,
	}
	pins := map[string]Pin{} // environment/target → pin
	err := b.store.View(ctx, func(r Reader) (err error) {
		open, err := list[Lease](r, "lease", "open")
		for _, lease := range open {
			status.Leases[lease.State]++
		}
		known, err2 := list[Pin](r, "pin", "")
		for _, pin := range known {
			pins[pin.Environment+"/"+pin.Target] = pin
		}
		pending, err3 := list[Request](r, "request", "pending")
		status.Pending = len(pending)
		height, err4 := r.Height()
		status.Events = height
		return errors.Join(err, err2, err3, err4)
	})
	for ref := range b.Configuration().Targets {
		if pin, known := pins[ref.String()]; !known || !pin.IsConfirmed() {
			status.Unconfirmed = append(status.Unconfirmed, ref.String())
		}
	}
	slices.Sort(status.Unconfirmed)
	freezes, err2 := b.Freezes(ctx)
	status.Freezes = freezes
	return status, errors.Join(err, err2)
}
