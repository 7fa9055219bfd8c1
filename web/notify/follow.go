package notify

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/hourkey/hourkey/broker"
)

const (
	slowTick = 30 * time.Second       // the log is looked at so often whether or not anybody wakes us
	settle   = 200 * time.Millisecond // after being woken: several events are read together
	readPage = 5000                   // events in one view of the store
	keepLag  = 1000                   // events that a cursor may lag behind when there was nothing to tell

	timeout    = 15 * time.Second // of one try
	mailFor    = time.Minute      // the same for mail: servers greet slowly on purpose, and take one human after the other
	tryFor     = 70 * time.Minute // from when it happened, or from our start if that is later: an outage of an hour loses nothing
	maxTries   = 40
	firstPause = 5 * time.Second
	longPause  = 2 * time.Minute
	obeyFor    = 15 * time.Minute // at most so long a receiver can have us wait
)

// worker tells one channel what happened, in the order of the log.
type worker struct {
	channel Channel
	broker  Broker
	store   broker.Store
	sender  sender
	now     func() time.Time
	timeout time.Duration // of one try
	sleep   func(ctx context.Context, d time.Duration, wake <-chan struct{})
	log     *slog.Logger
	close   func()

	began time.Time
	next  uint64    // the first event that is not dealt with
	kept  uint64    // as the store has it
	under *delivery // way: tried, and neither told nor given up
	crowd crowd
}

// delivery is a notice on its way through one channel, over all its tries.
type delivery struct {
	*notice
	room    room
	tries   int
	told    []string // humans who have their mail
	refused []string // humans whose address the mail server will never take
	problem string   // of the last try
}

// left is who has no mail yet and may still get it.
func (d *delivery) left() []hearer {
	return slices.DeleteFunc(slices.Clone(d.hearers), func(h hearer) bool {
		return slices.Contains(d.told, h.human) || slices.Contains(d.refused, h.human)
	})
}

// missed is who has no mail, if mail is what this is.
func (d *delivery) missed() (missed []string) {
	for _, h := range d.hearers {
		if !slices.Contains(d.told, h.human) {
			missed = append(missed, h.human)
		}
	}
	return missed
}

func (w *worker) run(ctx context.Context) {
	defer w.close()
	for ctx.Err() == nil {
		err := w.begin(ctx)
		if err == nil {
			break
		}
		w.log.ErrorContext(ctx, "a channel waits for the store", "error", err)
		w.sleep(ctx, slowTick, nil)
	}
	for ctx.Err() == nil {
		w.step(ctx)
	}
}

// step deals with one notice, or one try of it, or waits for the next.
func (w *worker) step(ctx context.Context) {
	appended := w.broker.Appended() // before reading, or what comes in between wakes nobody
	n, more, err := w.read(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		w.log.ErrorContext(ctx, "the log could not be read", "error", err)
		w.sleep(ctx, slowTick, nil)
	case w.under != nil && (n == nil || n.number != w.under.number):
		w.finish(ctx, w.under, w.next, w.under.problem+"; by then it was over")
	case n != nil:
		w.tell(ctx, n)
	case more:
	default:
		w.keepUp(ctx)
		w.sleep(ctx, slowTick, appended)
		w.sleep(ctx, settle, nil)
	}
}

// read goes on in the log to the next event that this channel tells. It looks at what is under way again as
// well: what waited may have been decided since the last try. more: the end of the log was not reached.
func (w *worker) read(ctx context.Context) (found *notice, more bool, err error) {
	err = w.store.View(ctx, func(r broker.Reader) error {
		for limit := w.next + readPage; ; w.next++ {
			event, some, err := w.candidate(r, limit)
			if err != nil || !some {
				more = w.next >= limit
				return err
			}
			if found, err = w.look(ctx, r, event); err != nil || found != nil {
				return err
			}
		}
	})
	return found, more, err
}

// candidate moves next to the first event before limit that is of a kind that the channel takes, or to limit,
// or to the end of the log.
func (w *worker) candidate(r broker.Reader, limit uint64) (event broker.Event, some bool, err error) {
	if w.next >= limit {
		return event, false, nil
	}
	err = r.Events(w.next, func(number uint64, e broker.Event) error {
		if about, told := aboutOf(e.Type); told && w.channel.takes(about) {
			w.next, event, some = number, e, true
			return broker.ErrStop
		}
		if w.next = number + 1; w.next >= limit {
			return broker.ErrStop
		}
		return nil
	})
	return event, some, err
}

// look gives the notice of an event if this channel has somebody to tell it to.
func (w *worker) look(ctx context.Context, r broker.Reader, event broker.Event) (*notice, error) {
	s := scene{Reader: r, number: w.next, event: event, config: w.broker.Configuration(), now: w.now()}
	n, err := s.notice()
	if odd, is := errors.AsType[unreadable](err); is {
		w.log.ErrorContext(ctx, "an event is passed over that cannot be read", "error", odd)
		return nil, nil
	}
	if err != nil || n == nil || !w.channel.covers(n.environments) {
		return nil, err
	}
	if w.channel.Kind != SMTP {
		n.hearers = nil // everybody in the channel reads the same
		return n, nil
	}
	n.hearers = slices.DeleteFunc(n.hearers, func(h hearer) bool { return w.channel.To[h.human] == "" })
	if len(n.hearers) == 0 {
		return nil, nil
	}
	return n, nil
}

// tell makes one try.
func (w *worker) tell(ctx context.Context, n *notice) {
	d := w.delivery(n)
	if d.room == roomNone {
		w.finish(ctx, d, n.number+1, called(n.agent)+" asks so often that not all of it is told")
		return
	}
	try, cancel := context.WithTimeout(ctx, w.timeout)
	problem := w.sender.send(try, d)
	cancel()
	if problem != nil && ctx.Err() != nil {
		return // we are stopped, and that is not the receiver's fault
	}
	d.tries++
	switch {
	case problem == nil:
		w.finish(ctx, d, n.number+1, "")
	case problem.final || w.isOver(d):
		w.finish(ctx, d, n.number+1, problem.says)
	default:
		d.problem = problem.says
		w.log.WarnContext(ctx, "a notice could not be delivered: it is tried again", "event", n.number, "tries", d.tries, "problem", problem.says)
		w.sleep(ctx, max(wait(d.tries), min(problem.after, obeyFor)), nil)
	}
}

// delivery gives the one under way, with what there is to tell by now, or begins one.
func (w *worker) delivery(n *notice) *delivery {
	if w.under == nil {
		w.under = &delivery{room: w.crowd.admit(n.agent, w.now())}
	}
	w.under.notice = n
	if w.under.room == roomLast {
		n.tooMuch()
	}
	return w.under
}

// wait is how long to wait after so many tries: 5 s, 10 s, 20 s … 2 min.
func wait(tries int) time.Duration { return min(firstPause<<min(tries-1, 10), longPause) }

// isOver tells whether a notice was tried long enough. The hour counts from when it happened and not from the
// first try, so that what gathered in an outage does not cost an hour each when it goes on.
func (w *worker) isOver(d *delivery) bool {
	from := d.event.Time
	if from.Before(w.began) {
		from = w.began
	}
	return d.tries >= maxTries || w.now().Sub(from) >= tryFor
}

// finish writes what became of a notice, and goes on at next. What was delivered is not delivered again
// because the store does not take that: it is only written again.
func (w *worker) finish(ctx context.Context, d *delivery, next uint64, why string) {
	if why != "" {
		w.log.ErrorContext(ctx, "a notice is given up", "event", d.number, "tries", d.tries, "problem", why)
	}
	events, err := w.events(d, why)
	for ctx.Err() == nil {
		if err == nil {
			err = w.keep(ctx, next, events...)
		}
		if err == nil {
			w.under = nil
			return
		}
		w.log.ErrorContext(ctx, "what became of a notice could not be recorded: the channel waits", "event", d.number, "error", err)
		w.sleep(ctx, slowTick, nil)
		events, err = w.events(d, why)
	}
}

// keepUp writes the cursor when much was passed over, so that a restart need not read it again.
func (w *worker) keepUp(ctx context.Context) {
	if w.next < w.kept+keepLag {
		return
	}
	if err := w.keep(ctx, w.next); err != nil {
		w.log.WarnContext(ctx, "a cursor could not be written: more is read again after a restart", "error", err)
	}
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }
