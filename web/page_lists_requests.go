package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/ui"
)

const (
	requestsOnPage = 50
	requestsLooked = 2000 // at most, for one page
)

// requestsPage lists the requests that this human may see, newest first.
func (p *pages) requestsPage(v *visit) error {
	filter, err := requestFilterOf(v)
	if err != nil {
		return err
	}
	found, err := p.findRequests(v, filter)
	if err != nil {
		return err
	}
	view := ui.RequestsOf(filter, p.seenEnvironments(v), found.requests, found.older, found.looked, p.broker.Configuration(), p.now())
	return p.show(v, http.StatusOK, ui.PageRequests, "Requests", view)
}

// requestFilterOf reads the query. A typo must not mean "all".
func requestFilterOf(v *visit) (ui.RequestFilter, error) {
	query, err := v.query("state", "agent", "environment", "before")
	if err != nil {
		return ui.RequestFilter{}, err
	}
	f := ui.RequestFilter{State: broker.RequestState(query.Get("state")), Agent: strings.TrimSpace(query.Get("agent")), Environment: query.Get("environment"), Before: query.Get("before")}
	states := []broker.RequestState{"", broker.RequestPending, broker.RequestApproved, broker.RequestCollected, broker.RequestDenied, broker.RequestExpired, broker.RequestCancelled}
	switch {
	case !slices.Contains(states, f.State):
		return f, broker.Errorf(broker.CodeInvalid, "there is no such state of a request").WithField("state")
	case f.Agent != "" && !broker.IsAgentName(f.Agent):
		return f, broker.Errorf(broker.CodeInvalid, "this is not an agent's name: expected a-z, 0-9, dashes, and slashes between parts").WithField("agent")
	case f.Environment != "" && !broker.IsName(f.Environment):
		return f, broker.Errorf(broker.CodeInvalid, "this is not an environment's name: expected a-z, 0-9 and dashes").WithField("environment")
	}
	return f, nil
}

// requestHead is what a list needs of a request, before it asks for all of it.
type requestHead struct {
	ID           string              `json:"id"`
	Agent        string              `json:"agent"`
	Owner        string              `json:"owner"`
	Environments []string            `json:"environments"`
	State        broker.RequestState `json:"state"`
	Created      time.Time           `json:"created"`
}

// mark says where in the list a request stands. Newer ones, and of the same moment those of a lower id, come before.
func (h requestHead) mark() string { return strconv.FormatInt(h.Created.UnixNano(), 10) + "-" + h.ID }

// markOf reads a mark; of an empty one the list is read from its beginning.
func markOf(text string) (at int64, id string, err error) {
	if text == "" {
		return 0, "", nil
	}
	number, id, found := strings.Cut(text, "-")
	at, err = strconv.ParseInt(number, 10, 64)
	if err != nil || !found || id == "" || at <= 0 {
		return 0, "", broker.Errorf(broker.CodeInvalid, "this is no place in the list").WithField("before").WithNext("begin at /requests")
	}
	return at, id, nil
}

// requestsFound is a page of requests. older is where the next page begins, looked how many were looked at when
// the page is not full for all that.
type requestsFound struct {
	requests []broker.Request
	older    string
	looked   int
}

// findRequests reads a page. What this human may see is asked of the broker for each request; the heads only save
// asking about those for which the answer is known to be no.
func (p *pages) findRequests(v *visit, filter ui.RequestFilter) (found requestsFound, err error) {
	heads, last, looked, err := p.requestHeads(v, filter)
	if err != nil {
		return found, err
	}
	for _, head := range heads[:min(len(heads), requestsOnPage)] {
		request, err := p.broker.Request(v.ctx(), v.asHuman(), head.ID)
		if broker.CodeOf(err) == broker.CodeNotFound {
			continue
		}
		if err != nil {
			return found, err
		}
		found.requests = append(found.requests, request)
	}
	switch {
	case len(heads) > requestsOnPage:
		found.older = heads[requestsOnPage-1].mark()
	case looked == requestsLooked:
		found.older, found.looked = last, looked
	}
	return found, nil
}

// requestHeads gives the heads that match from the filter's place on: one more than fit on a page, or as many as
// there are among the next requestsLooked; last is the mark of the last one looked at.
func (p *pages) requestHeads(v *visit, filter ui.RequestFilter) (heads []requestHead, last string, looked int, err error) {
	at, id, err := markOf(filter.Before)
	if err != nil {
		return nil, "", 0, err
	}
	index := "recent"
	if filter.Agent != "" {
		index = "agent/" + filter.Agent
	}
	err = p.eachHead(v.ctx(), index, func(head requestHead) error {
		if created := head.Created.UnixNano(); at != 0 && (created > at || created == at && head.ID <= id) {
			return nil // on a page before
		}
		if len(heads) > requestsOnPage || looked == requestsLooked {
			return broker.ErrStop
		}
		looked, last = looked+1, head.mark()
		if p.maySee(v, head) && matches(filter, head) {
			heads = append(heads, head)
		}
		return nil
	})
	return heads, last, looked, err
}

func (p *pages) eachHead(ctx context.Context, index string, each func(requestHead) error) error {
	return p.store.View(ctx, func(r broker.Reader) error {
		return r.Scan("request", index, func(raw []byte) error {
			var head requestHead
			if err := json.Unmarshal(raw, &head); err != nil {
				return fmt.Errorf("reading request: %w", err)
			}
			return each(head)
		})
	})
}

// maySee is a first guess at what the broker decides.
func (p *pages) maySee(v *visit, head requestHead) bool {
	config := p.broker.Configuration()
	return v.seesAll() || head.Owner == v.human || slices.ContainsFunc(head.Environments, func(e string) bool { return config.MayReview(v.human, e) })
}

func matches(filter ui.RequestFilter, head requestHead) bool {
	return (filter.State == "" || filter.State == head.State) && (filter.Environment == "" || slices.Contains(head.Environments, filter.Environment))
}
