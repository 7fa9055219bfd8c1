package web

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/authn"
	"github.com/hourkey/hourkey/web/ui"
)

// The clocks and bounds of the stream of changes. It ends before a page's own time does (router.go) and before the
// server's for writing (listen.go); the browser opens the next one and says how far it was.
const (
	streamLasts    = 45 * time.Second
	streamBeat     = 10 * time.Second // and so long may a session that ended elsewhere have a stream that says nothing
	streamGathers  = 250 * time.Millisecond
	streamsOfOne   = 6 // of one session
	streamsOfHuman = 24
	streamsOfAll   = 256
	changesAtOnce  = 50 // more are told as one
)

// follows says which changes concern a page.
func follows(v *visit, name ui.Name, now time.Time) ui.Live {
	live := ui.Live{From: v.height, Now: now.UTC().Format(time.RFC3339Nano)}
	if v.request.Method != http.MethodGet {
		return live // the answer to a form: asked for again, it would be another page
	}
	live.Kinds = map[ui.Name]string{
		ui.PageInbox:        "request agent target human freeze",
		ui.PageRequests:     "request",
		ui.PageLeases:       "lease",
		ui.PageAgents:       "agent freeze",
		ui.PageEnvironments: "target freeze configuration",
		ui.PageTasks:        "agent freeze configuration",
		ui.PageMe:           "human configuration",
		ui.PagePeople:       "human configuration",
	}[name]
	if name == ui.PageRequest {
		live.Kinds, live.Subject = "request lease", v.param("id")
	}
	if name == ui.PageSubject {
		live.Kinds, live.Subject = subjectOf(v)
	}
	return live
}

// subjectOf says what the page of an agent, a target, a human or a freeze is about.
func subjectOf(v *visit) (kind, subject string) {
	kind, rest, _ := strings.Cut(strings.TrimPrefix(v.request.URL.Path, "/"), "/")
	return strings.TrimSuffix(kind, "s"), rest
}

// live tells a page that something changed, and of what kind and name it is, as far as this human may see it; the
// page then asks for the rest. A page that is left open is no use of its session: the stream does not touch it,
// and ends with it.
func (p *pages) live(v *visit) error {
	session, err := p.sessions.Find(v.request)
	if err != nil {
		return p.orCharge(v, err)
	}
	v.caller = broker.Caller{Kind: broker.CallerHuman, Name: session.Human}
	if err := p.chargeSession(v.call, session); err != nil {
		return err
	}
	of, from, err := streamAsked(v)
	if err != nil {
		return err
	}
	if !p.streams.enter(session.Hash) {
		return tooManyOpen()
	}
	defer p.streams.leave(session.Hash)
	if !p.watchers.enter(session.Human) { // those of sessions that ended a moment ago are open still
		return tooManyOpen()
	}
	defer p.watchers.leave(session.Human)
	s := &stream{pages: p, visit: v, session: session, of: of, at: from, control: http.NewResponseController(bare(v.writer))}
	s.run()
	return nil
}

func tooManyOpen() error {
	return broker.Errorf(broker.CodeSlowDown, "too many pages are open already").WithNext("close one of them")
}

// orCharge counts a stranger's attempt against the address.
func (p *pages) orCharge(v *visit, err error) error {
	if broker.CodeOf(err) == broker.CodeUnauthenticated {
		return p.failed(v.call, "live", err)
	}
	return err
}

// streamAsked reads what a page wants to hear of, empty for all that it may, and the height of the log that it knows of
// already: as its last stream ended, else as the page was made.
func streamAsked(v *visit) (of string, from uint64, err error) {
	query, err := v.query("from", "of")
	if err != nil {
		return "", 0, err
	}
	if last := v.request.Header.Get("Last-Event-ID"); last != "" {
		from, err = number(last, "Last-Event-ID", 0)
	} else {
		from, err = number(query.Get("from"), "from", 0)
	}
	return query.Get("of"), from, err
}

// stream is one open stream (HTML, section 9.2).
type stream struct {
	*pages
	*visit
	session authn.Session
	of      string // the one subject that the page is about; empty: it is a list
	at      uint64 // the log's height up to which the page has been told
	control *http.ResponseController
}

func (s *stream) run() {
	header := s.writer.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("X-Accel-Buffering", "no") // a proxy that waits for more would hold the news back
	s.writer.WriteHeader(http.StatusOK)
	ctx, cancel := context.WithTimeout(s.ctx(), streamLasts)
	defer cancel()
	beat := time.NewTicker(streamBeat)
	defer beat.Stop()
	ok := s.send("retry: 1000\n")
	for ok {
		appended := s.broker.Appended() // before looking
		if ok = s.tell(ctx); !ok {
			return
		}
		select {
		case <-appended:
			ok = pause(ctx, streamGathers) // what comes together goes out together
		case <-beat.C:
			ok = s.send(": still here\n")
		case <-ctx.Done():
			ok = false
		case <-s.stopping:
			ok = false
		}
	}
}

// pause waits, and tells whether there is still something to wait for.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// tell sends what changed since the last time. Who it is, and what they may see, is asked each time anew.
func (s *stream) tell(ctx context.Context) (goesOn bool) {
	if _, err := s.sessions.Find(s.visit.request); err != nil {
		if broker.CodeOf(err) == broker.CodeUnauthenticated {
			s.send("event: over\ndata: over\n")
		}
		return false
	}
	news, at, err := s.changes.since(ctx, s.store, s.at)
	if err != nil {
		s.log.WarnContext(ctx, "a page is not told of changes any more", "call", s.id, "error", err)
		return false
	}
	if at == s.at {
		return true
	}
	s.at = at
	lines, err := s.seen(ctx, news)
	if err != nil {
		return false
	}
	id := "id: " + strconv.FormatUint(at, 10) + "\n"
	if len(lines) == 0 {
		return s.send(id + "event: at\ndata: at\n")
	}
	return s.send(id + "event: changed\ndata: " + strings.Join(lines, "\ndata: ") + "\n")
}

// seen writes the changes that this human may see, each once. Too many are told as one that names nothing.
func (s *stream) seen(ctx context.Context, news news) ([]string, error) {
	told := map[change]bool{}
	var lines []string
	for _, c := range news.changes {
		if told[c] || s.of != "" && s.of != c.subject {
			continue
		}
		if told[c] = true; len(told) > changesAtOnce {
			return []string{"much"}, nil
		}
		may, err := s.maySeeChange(ctx, c)
		if err != nil {
			return nil, err
		}
		if may {
			lines = append(lines, strings.TrimSpace(c.kind+" "+c.subject))
		}
	}
	if news.missed {
		lines = []string{"much"}
	}
	return lines, nil
}

// maySeeChange asks whoever decides about the page of what changed.
func (s *stream) maySeeChange(ctx context.Context, c change) (bool, error) {
	config, name := s.broker.Configuration(), s.session.Human
	is := kinds(config, name)
	switch c.kind {
	case "request", "lease": // a lease is told of by its request
		_, err := s.broker.Request(ctx, s.caller, c.subject)
		return found(err)
	case "agent":
		agent, err := s.broker.Agent(ctx, c.subject)
		there, err := found(err)
		return there && maySeeAgent(name, is, agent), err
	case "target":
		environment, _, _ := strings.Cut(c.subject, "/")
		return is&(operator|auditor) != 0 || config.MayReview(name, environment), nil
	case "human":
		return is&operator != 0 || c.subject == name, nil
	case "freeze":
		of, what, _ := strings.Cut(c.subject, ":")
		return s.opensFreeze(ctx, name, broker.Freeze{Of: broker.FreezeKind(of), Name: what})
	case "configuration":
		return true, nil
	}
	return false, nil
}

// found tells whether there is such a thing that the caller may see.
func found(err error) (bool, error) {
	if broker.CodeOf(err) == broker.CodeNotFound {
		return false, nil
	}
	return err == nil, err
}

// send writes one message and tells whether it went out.
func (s *stream) send(message string) bool {
	if _, err := fmt.Fprint(s.writer, message+"\n"); err != nil {
		return false
	}
	return s.control.Flush() == nil
}
