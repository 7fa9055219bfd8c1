package github

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway/lists"
)

const theToken = "ghs_real-token-of-the-broker"

// fake is a small GitHub. It takes the operations of the list alone, and the paths by number that GitHub's
// redirects lead to. It keeps repositories by number: names can move.
type fake struct {
	*httptest.Server
	t *testing.T

	mu      sync.Mutex
	repos   map[int64]*fakeRepo
	moved   map[string]int64 // former name → number
	answers func(w http.ResponseWriter, r *http.Request) bool
	asked   []string
	counted int // answers that count against the rate limit
	now     atomic.Pointer[time.Time]
}

type fakeRepo struct {
	id     int64
	name   string
	source int64
	pulls  map[string]int64 // number → repository of its branch
	rules  []string
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{t: t, repos: map[int64]*fakeRepo{}, moved: map[string]int64{}}
	f.at(time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC))
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	f.add(&fakeRepo{id: 11, name: "acme/shop", pulls: map[string]int64{"7": 11, "8": 31, "9": 0, "10": 12}, rules: []string{"deletion", "non_fast_forward"}})
	f.add(&fakeRepo{id: 12, name: "acme/web"})
	f.add(&fakeRepo{id: 21, name: "acme/payroll"})
	f.add(&fakeRepo{id: 31, name: "eve/shop", source: 11})
	f.add(&fakeRepo{id: 32, name: "eve/tools"})
	return f
}

func (f *fake) add(repo *fakeRepo) { f.repos[repo.id] = repo }

func (f *fake) provider(repositories ...string) *Provider {
	f.t.Helper()
	p, err := Open(Config{
		Settings: Settings{Token: "env:GITHUB", Repositories: repositories, URL: f.URL}, Token: broker.NewSecret(theToken), Client: f.Client(),
		Now: func() time.Time { return *f.now.Load() },
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return p
}

// at sets the clock. It is no part of what the lock guards: a handler may be writing when it is read.
func (f *fake) at(now time.Time) { f.now.Store(&now) }

func (f *fake) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

var numberedPath = regexp.MustCompile(`^/repositories/(\d+)$`)

// published are the list's operations that read, as patterns.
var published = sync.OnceValues(func() ([]*regexp.Regexp, error) {
	all, err := lists.REST(Kind)
	var patterns []*regexp.Regexp
	for _, o := range all {
		if o.Method == http.MethodGet {
			patterns = append(patterns, regexp.MustCompile("^"+parameter.ReplaceAllString(o.Path, `[^/]+`)+"$"))
		}
	}
	return patterns, err
})

var parameter = regexp.MustCompile(`\{[^}]*\}`)

func (f *fake) isPublished(r *http.Request) bool {
	patterns, err := published()
	if err != nil {
		f.t.Error(err)
	}
	return r.Method == http.MethodGet && slices.ContainsFunc(append(patterns, numberedPath), func(p *regexp.Regexp) bool { return p.MatchString(r.URL.Path) })
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, r.URL.Path)
	switch {
	case !f.isPublished(r):
		f.t.Errorf("GitHub publishes no %s %s", r.Method, r.URL.Path)
	case r.Header.Get("Authorization") != "Bearer "+theToken:
		w.WriteHeader(http.StatusUnauthorized)
		return
	case f.answers != nil && f.answers(w, r):
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	repo := f.find(parts)
	switch {
	case repo == nil && len(parts) >= 3 && f.moved[strings.ToLower(parts[1]+"/"+parts[2])] != 0:
		http.Redirect(w, r, fmt.Sprintf("%s/repositories/%d", f.URL, f.moved[strings.ToLower(parts[1]+"/"+parts[2])]), http.StatusMovedPermanently)
	case repo == nil:
		http.Error(w, `{"message":"Not Found"}`, http.StatusNotFound)
	case len(parts) == 5 && parts[3] == "pulls":
		f.pull(w, r, repo, parts[4])
	case len(parts) == 6 && parts[3] == "rules":
		var rules []map[string]string
		for _, kind := range repo.rules {
			rules = append(rules, map[string]string{"type": kind})
		}
		f.say(w, r, rules)
	default:
		f.say(w, r, f.shown(repo))
	}
}

func (f *fake) find(parts []string) *fakeRepo {
	for _, repo := range f.repos {
		byName := parts[0] == "repos" && len(parts) >= 3 && strings.EqualFold(repo.name, parts[1]+"/"+parts[2])
		byNumber := parts[0] == "repositories" && parts[1] == fmt.Sprint(repo.id)
		if byName || byNumber {
			return repo
		}
	}
	return nil
}

func (f *fake) pull(w http.ResponseWriter, r *http.Request, repo *fakeRepo, number string) {
	head, known := repo.pulls[number]
	switch {
	case !known:
		http.Error(w, `{"message":"Not Found"}`, http.StatusNotFound)
	case head == 0:
		f.say(w, r, map[string]any{"head": map[string]any{"ref": "fix", "repo": nil}})
	default:
		f.say(w, r, map[string]any{"head": map[string]any{"ref": "fix", "repo": f.shown(f.repos[head])}})
	}
}

func (f *fake) shown(repo *fakeRepo) map[string]any {
	shown := map[string]any{
		"id": repo.id, "full_name": repo.name, "private": true, "visibility": "private", "default_branch": "main", "size": 2048,
		"pushed_at": "2026-11-21T08:00:00Z", "temp_clone_token": "a-token-that-nobody-must-see",
	}
	if repo.source != 0 {
		shown["source"] = map[string]any{"id": repo.source}
	}
	return shown
}

// say answers as GitHub does: with an ETag, and shortly when the asker has it already.
func (f *fake) say(w http.ResponseWriter, r *http.Request, what any) {
	body, err := json.Marshal(what)
	if err != nil {
		f.t.Error(err)
	}
	etag := fmt.Sprintf(`"%x"`, sha256.Sum256(body))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	f.counted++
	_, _ = w.Write(body)
}
