package supabase

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/hourkey/hourkey/broker"
)

const (
	// mostAnswer bounds what is read of an answer, in bytes.
	mostAnswer = 4 << 20
	// rememberFor is how long an answer may be used again.
	rememberFor = 60 * time.Second
	// mostRemembered bounds the memory; when it is full, all is forgotten.
	mostRemembered = 1000
)

// errAbsent: Supabase has no such thing, or does not show it to the broker's token.
var errAbsent = errors.New("absent")

type remembered struct {
	read []byte // what was read of the answer, not the answer: one has a password in it
	err  error  // errAbsent
	at   time.Time
}

// looking is the looking up for one call: it asks each question once, and sees one answer to it.
type looking struct {
	*Provider
	fresh bool
	got   map[string]remembered // by path
}

func (p *Provider) look(fresh bool) *looking {
	return &looking{Provider: p, fresh: fresh, got: map[string]remembered{}}
}

// get reads what is at path into what, a pointer.
func (l *looking) get(ctx context.Context, path string, what any) error {
	answer, known := l.got[path]
	if !known && !l.fresh {
		answer, known = l.recall(path)
	}
	if !known {
		answer = remembered{at: l.config.Now()}
		if answer.read, answer.err = l.read(ctx, path, what); answer.err != nil && !errors.Is(answer.err, errAbsent) {
			return answer.err
		}
		l.remember(path, answer)
	}
	l.got[path] = answer
	if answer.err != nil {
		return answer.err
	}
	if err := json.Unmarshal(answer.read, what); err != nil {
		return unavailable("Supabase's answer cannot be read").Because(err)
	}
	return nil
}

func (p *Provider) recall(path string) (remembered, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	answer, known := p.memory[path]
	age := p.config.Now().Sub(answer.at)
	return answer, known && age >= 0 && age < rememberFor
}

func (p *Provider) remember(path string, answer remembered) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.memory) >= mostRemembered {
		clear(p.memory)
	}
	p.memory[path] = answer
}

// read makes one request with the real token and keeps of the answer what is known of it.
func (p *Provider) read(ctx context.Context, path string, what any) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.config.Base+path, nil)
	if err != nil {
		return nil, broker.Errorf(broker.CodeInternal, "asking Supabase").Because(err)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "hourkey")
	p.Attach(request.Header)
	response, err := p.client.Do(request)
	if err != nil {
		return nil, unavailable("Supabase cannot be reached").Because(err)
	}
	defer response.Body.Close()
	if err := statusError(response, p.config.Now()); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, mostAnswer+1))
	if err != nil || len(body) > mostAnswer {
		return nil, unavailable("Supabase's answer broke off or is too long").Because(err)
	}
	if err := json.Unmarshal(body, what); err != nil {
		return nil, unavailable("Supabase's answer cannot be read").Because(err)
	}
	return json.Marshal(what)
}

func statusError(response *http.Response, now time.Time) error {
	switch status := response.StatusCode; status {
	case http.StatusOK:
		return nil
	case http.StatusNotFound, http.StatusGone, http.StatusForbidden, http.StatusBadRequest, http.StatusUnprocessableEntity:
		return errAbsent // what the token may not see is told in all these ways
	case http.StatusUnauthorized:
		return unavailable("Supabase no longer takes the broker's token").WithNext("ask an operator to renew the target's token")
	case http.StatusTooManyRequests:
		return limited(response.Header, now)
	}
	return unavailable("Supabase answered " + response.Status + " to a look-up")
}

func limited(header http.Header, now time.Time) error {
	until := ""
	for _, name := range []string{"Retry-After", "X-Ratelimit-Reset"} { // both in seconds from now
		if seconds, err := strconv.ParseInt(header.Get(name), 10, 32); err == nil && until == "" {
			until = " until " + now.Add(time.Duration(seconds)*time.Second).UTC().Format(time.RFC3339)
		}
	}
	return broker.Errorf(broker.CodeSlowDown, "Supabase's rate limit for the broker's token is used up%s: what the call reaches cannot be looked up", until).
		WithNext("wait; the agents' own calls count as well")
}

func unavailable(message string) *broker.Error {
	return broker.Errorf(broker.CodeUnavailable, "%s", message)
}
