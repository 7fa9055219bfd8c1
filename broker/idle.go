package broker

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Asks that lead to no key are heard only so often: each is a line of the log, and the log keeps everything for good.
// The attack: an agent that asks all day for what it does not get, until the disk is full and nothing more is issued.
const (
	idleAtOnce  = 30               // of one agent
	idleEvery   = 20 * time.Second // and one more so often
	unheardTold = time.Minute      // how many were not heard is one line of the log so often
)

// idle holds, for each agent, how often it asked for nothing lately: what a policy or a wall denied, what was allowed
// and then withdrawn or could not be issued. The zero value is ready. It forgets with the broker: an agent cannot
// restart that. What waits already is counted by one of its own (Broker.repeats), and so is an agent that has all that
// it may have (Broker.full): jobs that wait for a human keep no other job of their agent from being heard.
type idle struct {
	mu     sync.Mutex
	agents map[string]*idling // agent →
}

type idling struct {
	until   time.Time // from then on none of its asks counts any more
	unheard unheard
}

// unheard is what an agent asked too often, so that not each is written down.
type unheard struct {
	agent Agent
	about string // a task, or for repetitions the request; empty: several
	count int
	since time.Time // of the first
}

// take counts an ask for nothing, if the agent may make one more; else it tells after how long it may.
func (i *idle) take(agent Agent, about string, now time.Time) (wait time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if wait = i.wait(agent, about, now); wait == 0 {
		i.add(agent.Name, now)
	}
	return wait
}

// hear is take for an ask of which nobody knows yet what it leads to: it counts only what is not heard.
func (i *idle) hear(agent Agent, about string, now time.Time) (wait time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.wait(agent, about, now)
}

// charge counts what cannot be refused any more.
func (i *idle) charge(agent string, now time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.add(agent, now)
}

func (i *idle) wait(agent Agent, about string, now time.Time) time.Duration {
	known := i.agents[agent.Name]
	if known == nil {
		return 0
	}
	wait := known.until.Sub(now) - (idleAtOnce-1)*idleEvery
	if wait <= 0 {
		return 0
	}
	if known.unheard.count++; known.unheard.count == 1 {
		known.unheard.since = now
	}
	if known.unheard.count > 1 && known.unheard.about != about {
		about = ""
	}
	known.unheard.agent, known.unheard.about = agent, about
	return wait
}

func (i *idle) add(agent string, now time.Time) {
	known := i.agents[agent]
	if known == nil {
		known = &idling{}
		if i.agents == nil {
			i.agents = map[string]*idling{}
		}
		i.agents[agent] = known
	}
	if most := now.Add(idleAtOnce * idleEvery); known.until.Before(now) {
		known.until = now.Add(idleEvery)
	} else if known.until = known.until.Add(idleEvery); known.until.After(most) {
		known.until = most
	}
}

// due takes out what is to be told of unheard asks: what is a minute old, or all. It forgets whoever rested.
func (i *idle) due(now time.Time, all bool) (due []unheard) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for name, known := range i.agents {
		if u := known.unheard; u.count > 0 && (all || now.Sub(u.since) >= unheardTold) {
			due, known.unheard = append(due, u), unheard{}
		}
		if known.unheard.count == 0 && known.until.Before(now) {
			delete(i.agents, name)
		}
	}
	return due
}

// giveBack is for what could not be written: it is told later.
func (i *idle) giveBack(due []unheard) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, u := range due {
		known := i.agents[u.agent.Name]
		if known == nil {
			known = &idling{}
			i.agents[u.agent.Name] = known
		}
		if known.unheard.count > 0 {
			u.agent, u.about, u.count = known.unheard.agent, known.unheard.about, u.count+known.unheard.count
		}
		known.unheard = u
	}
}

// hear refuses, before anything is decided, to listen to an agent that asked too often for nothing.
func (b *Broker) hear(agent Agent, task string) error {
	return tooOften(agent.Name, b.idle.hear(agent, task, b.now()))
}

// mayIdle counts an ask that led to nothing. It refuses when there were too many meanwhile: then the agent is not told
// what came of it.
func (b *Broker) mayIdle(agent Agent, task string) error {
	return tooOften(agent.Name, b.idle.take(agent, task, b.now()))
}

func tooOften(agent string, wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	return Errorf(CodeSlowDown, "%s asked %d times for what led to no key (denied, withdrawn, or not to be had now): it is heard again in %s", agent, idleAtOnce, inWords(wait.Round(time.Second))).
		WithNext("wait, and read what was answered before; `hourkey tasks` lists what may be asked for").In(wait)
}

// recordUnheard writes down how often agents were not heard, each agent's in one line: those of a minute, or all.
func (b *Broker) recordUnheard(ctx context.Context, all bool) error {
	denied := errors.Join(b.recordUnheardOf(ctx, &b.idle, all, EventRequestDenied), b.recordUnheardOf(ctx, &b.full, all, EventRequestDenied))
	return errors.Join(denied, b.recordUnheardOf(ctx, &b.repeats, all, EventRequestRepeated))
}

func (b *Broker) recordUnheardOf(ctx context.Context, of *idle, all bool, as EventType) error {
	due := of.due(b.now(), all)
	if len(due) == 0 {
		return nil
	}
	err := b.update(ctx, func(tx Tx) error {
		for _, u := range due {
			if err := b.append(tx, as, "agent:"+u.agent.Name, u.about, u.event(as)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		of.giveBack(due)
	}
	return err
}

func (u unheard) event(as EventType) RequestEvent {
	data := RequestEvent{Agent: u.agent.Name, AgentKey: u.agent.Thumbprint, Owner: u.agent.Owner, Environments: []string{}, Count: u.count, Since: u.since}
	if as == EventRequestDenied {
		data.Task, data.Outcome, data.Code = u.about, Deny, CodeSlowDown
		data.Refusal = "asked too often for what led to no key: counted, not written down each"
	}
	return data
}
