package github

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

const (
	// mostAnswer bounds what is read of an answer, in bytes. A repository is about 8 KB.
	mostAnswer = 4 << 20
	// apiVersion is the version of the API that answers are read by.
	apiVersion = "2022-11-28"
	// rememberFor is how long an answer may be used again.
	rememberFor = 60 * time.Second
	// mostRemembered bounds the memory; when it is full, all is forgotten.
	mostRemembered = 2000
)

// errAbsent: GitHub has no such thing, or does not show it to the broker's token.
var errAbsent = errors.New("absent")

// movedError is GitHub's redirect of a repository that has another name now.
type movedError struct{ to string }

func (e *movedError) Error() string { return "moved to " + e.to }

type remembered struct {
	body []byte // as far as it was read
	read any    // a pointer to what was made of it; nobody changes that
	err  error  // errAbsent or a *movedError
	etag string
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

// get reads what is at path into what, a pointer. What was read of an answer is remembered, and not the
// answer: a repository's has a token in it.
func (l *looking) get(ctx context.Context, path string, what any) error {
	answer, known := l.got[path]
	if !known {
		var err error
		if answer, err = l.current(ctx, path); err != nil {
			return err
		}
	}
	if reuse(answer.read, what) {
		l.got[path] = answer
		l.remember(path, answer) // it may have been asked about again
		return nil
	}
	if answer.err == nil {
		err := json.Unmarshal(answer.body, what)
		if err == nil {
			answer.body, err = json.Marshal(what)
		}
		if err != nil {
			return unavailable("GitHub's answer cannot be read").Because(err)
		}
		answer.read = what
	}
	l.got[path] = answer
	l.remember(path, answer)
	return answer.err
}

// reuse copies what was read before into what, if it is of the same type.
func reuse(read, what any) bool {
	from, to := reflect.ValueOf(read), reflect.ValueOf(what)
	if read == nil || from.Type() != to.Type() {
		return false
	}
	to.Elem().Set(from.Elem())
	return true
}

// current is what was remembered, if that is recent enough, or else what GitHub says now.
func (l *looking) current(ctx context.Context, path string) (remembered, error) {
	former := l.recall(path)
	age := l.config.Now().Sub(former.at)
	if !l.fresh && age >= 0 && age < rememberFor {
		return former, nil
	}
	return l.ask(ctx, path, former)
}

// recall gives the former answer, of whatever age; the zero value if there is none.
func (p *Provider) recall(path string) remembered {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.memory[path]
}

func (p *Provider) remember(path string, answer remembered) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.memory) >= mostRemembered {
		clear(p.memory)
	}
	p.memory[path] = answer
}

// ask makes one request with the real token. Redirects are not followed: they say that a name is old. A
// former answer is asked about by its ETag: if it still holds, the question does not count against the rate
// limit (GitHub's "conditional requests").
func (p *Provider) ask(ctx context.Context, path string, former remembered) (remembered, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base.String()+path, nil)
	if err != nil {
		return remembered{}, broker.Errorf(broker.CodeInternal, "asking GitHub").Because(err)
	}
	request.Header.Set("Accept", "application/vnd.github+json")
	request.Header.Set("X-GitHub-Api-Version", apiVersion)
	request.Header.Set("User-Agent", "hourkey")
	if former.etag != "" {
		request.Header.Set("If-None-Match", former.etag)
	}
	p.Attach(request.Header)
	response, err := p.client.Do(request)
	if err != nil {
		return remembered{}, unavailable("GitHub cannot be reached").Because(err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotModified && former.etag != "" {
		former.at = p.config.Now()
		return former, nil
	}
	return p.readAnswer(response)
}

// readAnswer keeps what says something of the path; all else is an error and is asked again.
func (p *Provider) readAnswer(response *http.Response) (remembered, error) {
	answer := remembered{at: p.config.Now()}
	var moved *movedError
	err := p.statusError(response)
	switch {
	case errors.Is(err, errAbsent), errors.As(err, &moved):
		answer.err = err
		return answer, nil
	case err != nil:
		return remembered{}, err
	}
	answer.body, err = io.ReadAll(io.LimitReader(response.Body, mostAnswer+1))
	if err != nil || len(answer.body) > mostAnswer {
		return remembered{}, unavailable("GitHub's answer broke off or is too long").Because(err)
	}
	answer.etag = response.Header.Get("ETag")
	return answer, nil
}

func (p *Provider) statusError(response *http.Response) error {
	switch status := response.StatusCode; {
	case status == http.StatusOK:
		return nil
	case status == http.StatusMovedPermanently, status == http.StatusFound, status == http.StatusTemporaryRedirect, status == http.StatusPermanentRedirect:
		return &movedError{p.local(response.Header.Get("Location"))}
	case status == http.StatusNotFound, status == http.StatusGone, status == http.StatusUnavailableForLegalReasons:
		return errAbsent
	case status == http.StatusUnauthorized:
		return unavailable("GitHub no longer takes the broker's token").WithNext("ask an operator to renew the target's token")
	case isLimited(response):
		return limited(response.Header, p.config.Now())
	case status == http.StatusForbidden:
		return broker.Errorf(broker.CodeDenied, "GitHub does not let the broker's token look there (403)")
	}
	return unavailable("GitHub answered " + response.Status + " to a look-up")
}

// local is the path that a redirect leads to, if it stays at the same server.
func (p *Provider) local(location string) string {
	to, err := url.Parse(location)
	if err != nil || to.Host != "" && to.Host != p.base.Host {
		return ""
	}
	return strings.TrimPrefix(to.EscapedPath(), p.base.Path)
}

// isLimited reads GitHub's two kinds of rate limit: the hour's, and the one for too much at once.
func isLimited(response *http.Response) bool {
	if response.StatusCode == http.StatusTooManyRequests {
		return true
	}
	return response.StatusCode == http.StatusForbidden && (response.Header.Get("X-Ratelimit-Remaining") == "0" || response.Header.Get("Retry-After") != "")
}

func limited(header http.Header, now time.Time) error {
	until := ""
	if seconds, err := strconv.ParseInt(header.Get("X-Ratelimit-Reset"), 10, 64); err == nil && header.Get("X-Ratelimit-Remaining") == "0" {
		until = " until " + time.Unix(seconds, 0).UTC().Format(time.RFC3339)
	} else if seconds, err := strconv.ParseInt(header.Get("Retry-After"), 10, 32); err == nil {
		until = " until " + now.Add(time.Duration(seconds)*time.Second).UTC().Format(time.RFC3339)
	}
	return broker.Errorf(broker.CodeSlowDown, "GitHub's rate limit for the broker's token is used up%s: what the call reaches cannot be looked up", until).
		WithNext("wait; the agents' own calls count as well")
}

func unavailable(message string) *broker.Error {
	return broker.Errorf(broker.CodeUnavailable, "%s", message)
}
