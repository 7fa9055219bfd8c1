package supabase

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

const (
	theToken = "sbp_real-token-of-the-broker"
	shop     = "shopshopshopshopshop"
	preview  = "previewpreviewprevie"
	payroll  = "payrollpayrollpayrol"
	draft    = "draftdraftdraftdraft" // a branch of payroll
)

// fake is a small Supabase. It takes the operations of the list alone.
type fake struct {
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	projects map[string]string // ref → name
	branches []branch
	answers  func(w http.ResponseWriter, r *http.Request) bool
	asked    []string
	now      atomic.Pointer[time.Time]
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{
		t:        t,
		projects: map[string]string{shop: "shop", preview: "preview", payroll: "payroll", draft: "draft"},
		branches: []branch{
			{ID: "b0", Name: "main", Ref: shop, Parent: shop, Default: true}, {ID: "b1", Name: "fix", Ref: preview, Parent: shop},
			{ID: "b2", Name: "draft", Ref: draft, Parent: payroll},
		},
	}
	f.at(time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC))
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fake) provider(ref string) *Provider {
	f.t.Helper()
	p, err := Open(Config{
		Settings: Settings{Token: "env:SUPABASE", Project: ref}, Token: broker.NewSecret(theToken), Client: f.Client(), Base: f.URL,
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

func (f *fake) isPublished(r *http.Request) bool {
	for _, operation := range operations(f.t) {
		pattern := regexp.MustCompile("^" + parameter.ReplaceAllString(operation.Path, `[^/]+`) + "$")
		if operation.Method == r.Method && pattern.MatchString(r.URL.Path) {
			return true
		}
	}
	return false
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, r.URL.Path)
	switch {
	case !f.isPublished(r):
		f.t.Errorf("Supabase publishes no %s %s", r.Method, r.URL.Path)
	case r.Header.Get("Authorization") != "Bearer "+theToken:
		w.WriteHeader(http.StatusUnauthorized)
		return
	case f.answers != nil && f.answers(w, r):
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	name, known := f.projects[parts[2]]
	at := slices.IndexFunc(f.branches, func(b branch) bool { return b.ID == parts[2] || b.Ref == parts[2] })
	switch {
	case parts[1] == "branches" && at >= 0:
		f.say(w, map[string]any{"ref": f.branches[at].Ref, "db_pass": "a-password-that-nobody-must-see", "jwt_secret": "nor-this"})
	case parts[1] != "projects" || !known:
		http.Error(w, `{"message":"not found"}`, http.StatusNotFound)
	case len(parts) == 3:
		f.say(w, map[string]any{"id": parts[2], "ref": parts[2], "name": name, "region": "eu-central-1", "status": "ACTIVE_HEALTHY"})
	case parts[3] == "branches":
		mine := slices.DeleteFunc(slices.Clone(f.branches), func(b branch) bool { return b.Parent != parts[2] })
		f.say(w, mine)
	default:
		f.say(w, map[string]any{"pitr_enabled": false, "backups": []any{map[string]any{}, map[string]any{}}})
	}
}

func (f *fake) say(w http.ResponseWriter, what any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(what); err != nil {
		f.t.Error(err)
	}
}

func named(kind, id string) judge.Named { return judge.Named{Kind: kind, ID: id, At: "the argument"} }

func resolve(t *testing.T, p *Provider, fresh bool, names ...judge.Named) []gateway.Found {
	t.Helper()
	found, err := p.Resolve(t.Context(), names, fresh)
	if err != nil {
		t.Fatalf("resolving %v: %v", names, err)
	}
	return found
}

func refuses(t *testing.T, err error, code broker.Code, words ...string) {
	t.Helper()
	if broker.CodeOf(err) != code {
		t.Errorf("error %v of code %s, wanted %s", err, broker.CodeOf(err), code)
		return
	}
	told, _ := errors.AsType[*broker.Error](err)
	for _, word := range words {
		if text := told.Message + " " + told.Next; !strings.Contains(text, word) {
			t.Errorf("%q does not say %q", text, word)
		}
	}
	if strings.Contains(err.Error(), theToken) {
		t.Errorf("the error has the token in it: %v", err)
	}
}

func where(found gateway.Found) string {
	var places []string
	for _, place := range found.Places {
		places = append(places, place.Identity)
	}
	return string(found.Names[0]) + " in " + strings.Join(places, " ")
}

func TestAnEnvironmentIsOneProject(t *testing.T) {
	f := newFake(t)
	got, err := f.provider(shop).Identify(t.Context())
	if diff := cmp.Diff(broker.Identity{ID: "supabase:" + shop, Shown: "project shop (" + shop + ") in eu-central-1"}, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	f.change(func() { delete(f.projects, shop) })
	_, err = f.provider(shop).Identify(t.Context())
	refuses(t, err, broker.CodeConflict, shop)
}

// Attack: another project's ref in a call; a branch's id, which says nothing of where it lives.
func TestEverythingIsInThePlaceOfItsOwnProject(t *testing.T) {
	f := newFake(t)
	p := f.provider(shop)
	for want, name := range map[string]judge.Named{
		"project/" + shop + " in supabase:" + shop:       named("project", shop),
		"database/" + shop + " in supabase:" + shop:      named("database", shop),
		"project/" + payroll + " in supabase:" + payroll: named("project", payroll),
		"branch/" + preview + " in supabase:" + preview:  named("branch", "b1"),
		"branch/" + shop + " in supabase:" + shop:        named("branch", "b0"),
		"branch/" + draft + " in supabase:" + draft:      named("branch", "b2"),
		"project/" + shop + " in supabase:" + shop + " ": named("parent", preview),
		"project/unknown": named("parent", "b2"),
		"project/" + shop + " in supabase:" + shop + " supabase:" + preview: named("branches", shop),
		"organization/acme in supabase:organization":                        named("organization", "acme"),
		"account/supabase in supabase:account":                              {Kind: "account"},
	} {
		got := where(resolve(t, p, false, name)[0])
		if want == "project/unknown" {
			want = "parent/unknown in supabase:parent"
		}
		if got != strings.TrimSpace(want) {
			t.Errorf("%s %s: %s, wanted %s", name.Kind, name.ID, got, want)
		}
	}
}

// A lease of the branch's own environment: the branch is its place, what it merges into is not.
func TestAMergeReachesTheProjectThatTheBranchCameFrom(t *testing.T) {
	f := newFake(t)
	home, err := f.provider(preview).Identify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := resolve(t, f.provider(preview), true, named("branch", preview), named("parent", preview))
	if found[0].Places[0].Identity != home.ID || found[1].Places[0].Identity == home.ID {
		t.Errorf("the branch is in %s, its parent in %s", found[0].Places[0].Identity, found[1].Places[0].Identity)
	}
}

// Attack: an id that resolves nowhere, or into another path.
func TestWhatSupabaseDoesNotShowIsRefused(t *testing.T) {
	f := newFake(t)
	p := f.provider(shop)
	for _, name := range []judge.Named{named("project", "nononononononononono"), named("branch", "b9"), named("database", "x"), named("branches", "x")} {
		_, err := p.Resolve(t.Context(), []judge.Named{name}, false)
		refuses(t, err, broker.CodeDenied, "the argument", name.ID)
	}
	for _, id := range []string{"../organizations", "shop/pause", "..", "a b", "x?y=z"} {
		before := f.count()
		_, err := p.Resolve(t.Context(), []judge.Named{named("project", id)}, false)
		refuses(t, err, broker.CodeDenied)
		_, err = p.Resolve(t.Context(), []judge.Named{named("branch", id)}, false)
		refuses(t, err, broker.CodeDenied)
		if f.count() > before+1 { // the target's own branches
			t.Errorf("Supabase was asked for %q", id)
		}
	}
	_, err := p.Resolve(t.Context(), []judge.Named{{Kind: "project"}}, false)
	refuses(t, err, broker.CodeDenied, "names no project")
	_, err = p.Resolve(t.Context(), []judge.Named{named("bucket", "x")}, false)
	refuses(t, err, broker.CodeInternal)
}

// Attack: Supabase's answer about a branch has the password of its database in it. It is not kept.
func TestAPasswordInAnAnswerIsNotRemembered(t *testing.T) {
	f := newFake(t)
	p := f.provider(shop)
	resolve(t, p, false, named("branch", "b2"))
	p.mu.Lock()
	defer p.mu.Unlock()
	for path, answer := range p.memory {
		if strings.Contains(string(answer.read), "nobody") || strings.Contains(string(answer.read), "nor-this") {
			t.Errorf("%s is remembered with a secret: %s", path, answer.read)
		}
	}
}

func TestAnswersAreUsedAgainForAMinuteAndNeverForWhatDestroys(t *testing.T) {
	f := newFake(t)
	p := f.provider(shop)
	resolve(t, p, false, named("project", shop))
	resolve(t, p, false, named("project", shop), named("database", shop))
	if f.count() != 1 {
		t.Errorf("%d questions, wanted 1", f.count())
	}
	resolve(t, p, true, named("project", shop), named("database", shop))
	if f.count() != 2 {
		t.Errorf("%d questions, wanted 2: afresh, and once for each call", f.count())
	}
	f.at(f.now.Load().Add(61 * time.Second))
	resolve(t, p, false, named("project", shop))
	if f.count() != 3 {
		t.Error("an answer of more than a minute ago was used")
	}
}

func TestAFailedLookUpRefusesWithAClearWord(t *testing.T) {
	f := newFake(t)
	p := f.provider(shop)
	for _, c := range []struct {
		name   string
		answer func(w http.ResponseWriter)
		code   broker.Code
		words  string
	}{
		{"limited", func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "30")
			w.WriteHeader(http.StatusTooManyRequests)
		}, broker.CodeSlowDown, "until 2026-11-22T10:00:30Z"},
		{"a token that ended", func(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) }, broker.CodeUnavailable, "renew"},
		{"down", func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }, broker.CodeUnavailable, "502"},
		{"not allowed", func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) }, broker.CodeDenied, shop},
		{"redirecting", func(w http.ResponseWriter) {
			w.Header().Set("Location", "https://evil.example")
			w.WriteHeader(http.StatusFound)
		}, broker.CodeUnavailable, "302"},
		{"no JSON", func(w http.ResponseWriter) { _, _ = w.Write([]byte("<html>")) }, broker.CodeUnavailable, "cannot be read"},
		{"another project", func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"ref":"` + payroll + `"}`)) }, broker.CodeUnavailable, "another project"},
		{"endless", func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, mostAnswer+2)) }, broker.CodeUnavailable, "too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.change(func() {
				f.answers = func(w http.ResponseWriter, _ *http.Request) bool { c.answer(w); return true }
			})
			_, err := p.Resolve(t.Context(), []judge.Named{named("project", shop)}, true)
			refuses(t, err, c.code, c.words)
		})
	}
	f.Close()
	_, err := p.Identify(t.Context())
	refuses(t, err, broker.CodeUnavailable, "cannot be reached")
}

func TestABranchWithoutAProjectIsNotBelieved(t *testing.T) {
	f := newFake(t)
	f.change(func() { f.branches = append(f.branches, branch{ID: "b7", Name: "odd", Ref: "../x", Parent: shop}) })
	_, err := f.provider(shop).Resolve(t.Context(), []judge.Named{named("branches", shop)}, false)
	refuses(t, err, broker.CodeUnavailable)
}

func TestTheInventorySaysWhatCouldBeRestored(t *testing.T) {
	f := newFake(t)
	facts, err := f.provider(shop).Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, fact := range facts {
		texts = append(texts, fact.About+": "+fact.Text)
	}
	about := "project/" + shop + ": "
	want := []string{about + "shop, eu-central-1, active_healthy", about + "its branches: fix (" + preview + ")", about + "2 backups, no restore to a point in time"}
	if diff := cmp.Diff(want, texts); diff != "" {
		t.Error(diff)
	}
}

func TestAScopesResourceIsFoundByRefAndByName(t *testing.T) {
	f := newFake(t)
	p := f.provider(shop)
	for resource, want := range map[broker.Resource]string{
		broker.Resource("project/" + shop): "supabase:" + shop, "project/shop": "supabase:" + shop, "database/shop": "supabase:" + shop,
		"branch/fix": "supabase:" + preview, broker.Resource("branch/" + preview): "supabase:" + preview,
	} {
		found, err := p.Find(t.Context(), resource)
		if err != nil || found.Places[0].Identity != want {
			t.Errorf("%s: %v %v", resource, found.Places, err)
		}
	}
	for resource, code := range map[broker.Resource]broker.Code{
		"project/payroll": broker.CodeDenied, "branch/none": broker.CodeDenied, "organization/acme": broker.CodeInvalid, "shop": broker.CodeInvalid, "project/": broker.CodeDenied,
	} {
		_, err := p.Find(t.Context(), resource)
		refuses(t, err, code)
	}
}

func TestSettingsAndSight(t *testing.T) {
	for _, ref := range []string{"", "shop", strings.Repeat("A", 20), strings.Repeat("a", 19) + "/"} {
		_, err := Open(Config{Settings: Settings{Project: ref}, Token: broker.NewSecret("x"), Client: http.DefaultClient, Now: time.Now})
		told, ok := errors.AsType[*broker.Error](err)
		if !ok || told.Code != broker.CodeInvalid || told.Field != "project" {
			t.Errorf("project %q: %v", ref, err)
		}
	}
	if _, err := Open(Config{Settings: Settings{Project: shop}}); broker.CodeOf(err) != broker.CodeInternal {
		t.Errorf("opened without a token: %v", err)
	}
	p := newFake(t).provider(shop)
	header := http.Header{"Authorization": {"Bearer hkp_x"}}
	p.Attach(header)
	if diff := cmp.Diff(http.Header{"Authorization": {"Bearer " + theToken}}, header); diff != "" {
		t.Error(diff)
	}
	sight := p.Sight()
	if !sight.Keeps("project", shop) || sight.Keeps("project", payroll) || sight.Keeps("repo", shop) || sight.Secrets {
		t.Error("sight keeps other than the project")
	}
}
