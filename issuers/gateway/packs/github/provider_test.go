package github

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

func repo(id string) judge.Named { return judge.Named{Kind: kindRepo, ID: id, At: "owner/repo"} }

func resolve(t *testing.T, p *Provider, fresh bool, named ...judge.Named) []gateway.Found {
	t.Helper()
	found, err := p.Resolve(t.Context(), named, fresh)
	if err != nil {
		t.Fatalf("resolving %v: %v", named, err)
	}
	return found
}

// refuses wants an error of a code whose message says all of words.
func refuses(t *testing.T, err error, code broker.Code, words ...string) {
	t.Helper()
	if broker.CodeOf(err) != code {
		t.Errorf("error %v of code %s, wanted %s", err, broker.CodeOf(err), code)
		return
	}
	told, _ := errors.AsType[*broker.Error](err)
	text := told.Message + " " + told.Next
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%q does not say %q", text, word)
		}
	}
	if strings.Contains(err.Error(), theToken) {
		t.Errorf("the error has the token in it: %v", err)
	}
}

func TestAnEnvironmentIsItsRepositoriesByTheirNumbers(t *testing.T) {
	f := newFake(t)
	got, err := f.provider("acme/web", "acme/shop").Identify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(f.URL, "http://")
	want := broker.Identity{ID: "github:" + host + "/11+12", Shown: "repositories acme/web, acme/shop at " + host, Parts: "github:" + host + "/11 github:" + host + "/12"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	other, err := f.provider("acme/shop").Identify(t.Context())
	if err != nil || other.ID == got.ID {
		t.Errorf("another list has the identity %q: %v", other.ID, err)
	}
}

func TestARepositoryOfTheListIsInTheTargetsPlaceAndAnotherIsNot(t *testing.T) {
	f := newFake(t)
	p := f.provider("acme/shop", "acme/web")
	home, err := p.Identify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := resolve(t, p, false, repo("acme/shop"), repo("ACME/Web"), repo("acme/payroll"), judge.Named{Kind: kindAccount})
	var places []string
	for _, resource := range found {
		places = append(places, string(resource.Names[0])+" in "+resource.Places[0].Identity)
	}
	want := []string{"repo/acme/shop in " + home.ID, "repo/acme/web in " + home.ID, "repo/acme/payroll in " + p.identity(21), "account/github in github:account"}
	if diff := cmp.Diff(want, places); diff != "" {
		t.Error(diff)
	}
	alone, err := f.provider("acme/payroll").Identify(t.Context())
	if err != nil || alone.ID != found[2].Places[0].Identity {
		t.Errorf("the place %q is not the identity %q of the target that lists it alone: %v", found[2].Places[0].Identity, alone.ID, err)
	}
}

// Attack: the name of a repository of the list is given to another repository.
func TestARepositoryUnderAFormerNameIsAnotherOne(t *testing.T) {
	f := newFake(t)
	p := f.provider("acme/shop")
	before, err := p.Identify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.change(func() { f.repos[11].name, f.repos[21].name = "acme/old", "acme/shop" })
	after, err := p.Identify(t.Context())
	if err != nil || after.ID == before.ID {
		t.Errorf("identity %q before and %q after: %v", before.ID, after.ID, err)
	}
	if place := resolve(t, p, true, repo("acme/shop"))[0].Places[0]; place.Identity == before.ID {
		t.Error("asked afresh, the other repository is in the old one's place")
	}
}

// A repository that was renamed is reached by GitHub's redirect; we do not follow it silently.
func TestARenamedRepositoryIsRefusedWithItsNewName(t *testing.T) {
	f := newFake(t)
	p := f.provider("acme/shop")
	f.change(func() { f.repos[21].name = "acme/wages"; f.moved["acme/payroll"] = 21 })
	_, err := p.Resolve(t.Context(), []judge.Named{repo("acme/payroll")}, false)
	refuses(t, err, broker.CodeDenied, "owner/repo", "acme/wages", "use the new name")
	f.change(func() { f.repos[11].name = "acme/store"; f.moved["acme/shop"] = 11 })
	_, err = p.Identify(t.Context())
	refuses(t, err, broker.CodeConflict, "acme/shop", "acme/store")
	_, err = p.Find(t.Context(), "repo/acme/payroll")
	refuses(t, err, broker.CodeConflict)
}

func TestARedirectToAnotherServerIsNotFollowed(t *testing.T) {
	f := newFake(t)
	p := f.provider("acme/shop")
	f.change(func() {
		f.answers = func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "https://evil.example/repositories/11", http.StatusMovedPermanently)
			return true
		}
	})
	_, err := p.Identify(t.Context())
	refuses(t, err, broker.CodeConflict, "acme/shop", "something else")
}

// Attack: an id that resolves nowhere.
func TestWhatGitHubDoesNotShowIsRefused(t *testing.T) {
	f := newFake(t)
	p := f.provider("acme/shop")
	for _, named := range []judge.Named{repo("acme/none"), repo("~/99"), repo("nobody/../acme"), repo("acme/.."), repo("~/0"), {Kind: kindPull, ID: "acme/shop/77", At: "pull_number"}} {
		_, err := p.Resolve(t.Context(), []judge.Named{named}, false)
		refuses(t, err, broker.CodeDenied, named.At)
	}
	_, err := p.Resolve(t.Context(), []judge.Named{{Kind: kindRepo, At: "owner/repo"}}, false)
	refuses(t, err, broker.CodeDenied, "names no repo")
	_, err = p.Resolve(t.Context(), []judge.Named{{Kind: "secret", ID: "x"}}, false)
	refuses(t, err, broker.CodeInternal)
}

func TestARepositoryIsFoundByItsNumber(t *testing.T) {
	f := newFake(t)
	found := resolve(t, f.provider("acme/shop"), false, repo("~/21"))
	if diff := cmp.Diff([]broker.Resource{"repo/acme/payroll"}, found[0].Names); diff != "" {
		t.Error(diff)
	}
}

// Attack: a pull request whose branch lies in a fork makes a write here one over there.
func TestABranchOfAPullRequestLivesWhereItsForkIs(t *testing.T) {
	f := newFake(t)
	p := f.provider("acme/shop", "acme/web")
	home, _ := p.Identify(t.Context())
	pull := func(number string) judge.Named {
		return judge.Named{Kind: kindPull, ID: "acme/shop/" + number, At: "pull_number"}
	}
	found := resolve(t, p, false, pull("7"), pull("8"), pull("10"))
	want := []string{"repo/acme/shop " + home.ID, "repo/eve/shop " + p.identity(31), "repo/acme/web " + home.ID}
	for at, resource := range found {
		if got := string(resource.Names[0]) + " " + resource.Places[0].Identity; got != want[at] {
			t.Errorf("%s, wanted %s", got, want[at])
		}
	}
	_, err := p.Resolve(t.Context(), []judge.Named{pull("9")}, false)
	refuses(t, err, broker.CodeDenied, "gone")
	_, err = p.Resolve(t.Context(), []judge.Named{pull("7/merge")}, false)
	refuses(t, err, broker.CodeDenied, "no number")
}

// Attack: the content of another repository is read through a comparison, or brought in by a pull request.
func TestNamesOfCommitsWithAColonAreOfAnotherRepository(t *testing.T) {
	f := newFake(t)
	p := f.provider("acme/shop", "acme/web")
	commits := func(text string) judge.Named {
		return judge.Named{Kind: kindCommits, ID: "acme/shop/" + text, At: "basehead"}
	}
	for text, want := range map[string]string{
		"main": "repo/acme/shop", "main...fix": "repo/acme/shop", "a/b..c": "repo/acme/shop", "acme:main...acme:fix": "repo/acme/shop", "ACME:main": "repo/acme/shop",
		"eve:fix": "repo/eve/shop", "main...eve:fix": "repo/eve/shop", "main...eve:shop:fix": "repo/eve/shop",
	} {
		found := resolve(t, p, false, commits(text))[0]
		if string(found.Names[0]) != want {
			t.Errorf("%s is of %s, wanted %s", text, found.Names[0], want)
		}
		if home, _ := p.Identify(t.Context()); (want == "repo/acme/shop") != (found.Places[0].Identity == home.ID) {
			t.Errorf("%s lives in %s", text, found.Places[0].Identity)
		}
	}
	for _, text := range []string{"main...eve:tools:x", "acme:payroll:main", "bob:fix", "main...", "a:b:c:d", ":x", "x:", "eve:../x:y"} {
		_, err := p.Resolve(t.Context(), []judge.Named{commits(text)}, false)
		refuses(t, err, broker.CodeDenied)
	}
}

func TestAnswersAreUsedAgainForAMinuteAndNeverForWhatDestroys(t *testing.T) {
	f := newFake(t)
	p := f.provider("acme/shop", "acme/web")
	resolve(t, p, false, repo("acme/shop"))
	first := f.count()
	resolve(t, p, false, repo("acme/shop"), repo("acme/web"))
	if f.count() != first {
		t.Errorf("%d questions where none was needed", f.count()-first)
	}
	resolve(t, p, true, repo("acme/shop"), repo("acme/shop"))
	if asked := f.count() - first; asked != 2 { // each repository of the list once
		t.Errorf("asked afresh %d times, wanted 2", asked)
	}
	first = f.count()
	f.at(f.now.Load().Add(61 * time.Second))
	resolve(t, p, false, repo("acme/shop"))
	if f.count() == first {
		t.Error("an answer of more than a minute ago was used")
	}
}

// A list of many repositories, asked about at every call that destroys, must not use the hour's limit up.
func TestAnAnswerThatStillHoldsDoesNotCountAgainstTheRateLimit(t *testing.T) {
	f := newFake(t)
	p := f.provider("acme/shop", "acme/web")
	resolve(t, p, true, repo("acme/shop"))
	before := f.counted
	resolve(t, p, true, repo("acme/shop"))
	if f.counted != before || f.count() != 4 {
		t.Errorf("%d answers counted, of %d questions", f.counted, f.count())
	}
	home, _ := p.Identify(t.Context())
	f.change(func() { f.repos[11].name, f.repos[21].name = "acme/old", "acme/shop" })
	if place := resolve(t, p, true, repo("acme/shop"))[0].Places[0]; place.Identity == home.ID {
		t.Error("what changed was taken from the memory")
	}
}

// Attack: GitHub's answer about a repository has a token in it. It is not kept.
func TestATokenInAnAnswerIsNotRemembered(t *testing.T) {
	f := newFake(t)
	p := f.provider("acme/shop")
	resolve(t, p, false, repo("acme/shop"), judge.Named{Kind: kindPull, ID: "acme/shop/8"})
	p.mu.Lock()
	defer p.mu.Unlock()
	for path, answer := range p.memory {
		if strings.Contains(string(answer.body), "nobody-must-see") {
			t.Errorf("%s is remembered with a token", path)
		}
	}
}

// Attack: a resource moves between two look-ups of one call. Within a call there is one answer.
func TestOneCallSeesOneAnswer(t *testing.T) {
	f := newFake(t)
	p := f.provider("acme/shop")
	asked := map[string]int{}
	f.change(func() {
		f.answers = func(_ http.ResponseWriter, r *http.Request) bool { asked[r.URL.Path]++; return false }
	})
	resolve(t, p, true, repo("acme/payroll"), judge.Named{Kind: kindCommits, ID: "acme/payroll/main"}, repo("acme/shop"))
	for path, times := range asked {
		if times != 1 {
			t.Errorf("%s was asked %d times", path, times)
		}
	}
}

func TestAFailedLookUpRefusesWithAClearWord(t *testing.T) {
	f := newFake(t)
	p := f.provider("acme/shop")
	for _, c := range []struct {
		name   string
		answer func(w http.ResponseWriter)
		code   broker.Code
		words  string
	}{
		{"the hour's limit", func(w http.ResponseWriter) {
			w.Header().Set("X-RateLimit-Remaining", "0")
			w.Header().Set("X-RateLimit-Reset", "1795345200")
			w.WriteHeader(http.StatusForbidden)
		}, broker.CodeSlowDown, "until 2026-11-22T11:00:00Z"},
		{"too much at once", func(w http.ResponseWriter) { w.Header().Set("Retry-After", "60"); w.WriteHeader(http.StatusForbidden) }, broker.CodeSlowDown, "until 2026-11-22T10:01:00Z"},
		{"429", func(w http.ResponseWriter) { w.WriteHeader(http.StatusTooManyRequests) }, broker.CodeSlowDown, "rate limit"},
		{"a token that ended", func(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) }, broker.CodeUnavailable, "renew"},
		{"down", func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }, broker.CodeUnavailable, "502"},
		{"not allowed", func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) }, broker.CodeDenied, "403"},
		{"no JSON", func(w http.ResponseWriter) { _, _ = w.Write([]byte("<html>")) }, broker.CodeUnavailable, "cannot be read"},
		{"no repository", func(w http.ResponseWriter) { _, _ = w.Write([]byte("{}")) }, broker.CodeUnavailable, "no repository"},
		{"endless", func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, mostAnswer+2)) }, broker.CodeUnavailable, "too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.change(func() {
				f.answers = func(w http.ResponseWriter, _ *http.Request) bool { c.answer(w); return true }
			})
			_, err := p.Resolve(t.Context(), []judge.Named{repo("acme/shop")}, true)
			refuses(t, err, c.code, c.words)
		})
	}
	f.Close()
	_, err := p.Resolve(t.Context(), []judge.Named{repo("acme/shop")}, true)
	refuses(t, err, broker.CodeUnavailable, "cannot be reached")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Identify(ctx); err == nil {
		t.Error("a question that was called off has an answer")
	}
}

func TestTheInventorySaysWhatHoldsTheDefaultBranch(t *testing.T) {
	f := newFake(t)
	facts, err := f.provider("acme/shop", "acme/web").Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, fact := range facts {
		texts = append(texts, fact.About+": "+fact.Text)
	}
	want := []string{
		"repo/acme/shop: private, default branch main, 2 MB, last pushed to 2026-11-21 08:00Z",
		"repo/acme/shop: main is held by a ruleset against force pushes and deletion",
		"repo/acme/web: private, default branch main, 2 MB, last pushed to 2026-11-21 08:00Z",
		"repo/acme/web: no ruleset holds main against deletion and force pushes",
	}
	if diff := cmp.Diff(want, texts); diff != "" {
		t.Error(diff)
	}
}

func TestAScopesRepositoryIsFoundAsGitHubWritesIt(t *testing.T) {
	f := newFake(t)
	p := f.provider("acme/shop")
	if _, err := p.Find(t.Context(), "repo/acme/shop"); err != nil {
		t.Error(err)
	}
	_, err := p.Find(t.Context(), "repo/Acme/Shop")
	refuses(t, err, broker.CodeDenied, "repo/acme/shop")
	_, err = p.Find(t.Context(), "repo/acme/none")
	refuses(t, err, broker.CodeDenied, "acme/none")
	for _, resource := range []broker.Resource{"account/github", "repo/", "repo/~/11", "repo/acme/shop/x", "shop"} {
		_, err := p.Find(t.Context(), resource)
		refuses(t, err, broker.CodeInvalid)
	}
	f.change(func() { f.repos[21].name = "acme/wages"; f.moved["acme/payroll"] = 21 })
	_, err = p.Find(t.Context(), "repo/acme/payroll")
	refuses(t, err, broker.CodeDenied, "repo/acme/wages")
}

func TestSettingsThatCannotBeMeant(t *testing.T) {
	open := func(s Settings) error {
		_, err := Open(Config{Settings: s, Token: broker.NewSecret("x"), Client: http.DefaultClient, Now: time.Now})
		return err
	}
	for field, settings := range map[string][]Settings{
		"repositories": {
			{}, {Repositories: []string{"acme"}}, {Repositories: []string{"acme/shop", "Acme/SHOP"}}, {Repositories: []string{"acme/.."}}, {Repositories: []string{"~/11"}},
			{Repositories: []string{"acme/*"}}, {Repositories: []string{"acme/shop/x"}}, {Repositories: make([]string, 51)},
		},
		"url": {
			{URL: "ftp://x"}, {URL: "http://github.example/api/v3"}, {URL: "https://user:pw@github.example"}, {URL: "https://github.example/other"}, {URL: "https://github.example/?a=b"}, {URL: "::"},
		},
	} {
		for _, s := range settings {
			if field == "url" {
				s.Repositories = []string{"acme/shop"}
			}
			err := open(s)
			told, ok := errors.AsType[*broker.Error](err)
			if !ok || told.Code != broker.CodeInvalid || told.Field != field {
				t.Errorf("%+v: %v, wanted a refusal of %s", s, err, field)
			}
		}
	}
	if err := open(Settings{Repositories: []string{"acme/shop"}, URL: "https://github.acme.example/api/v3/"}); err != nil {
		t.Error(err)
	}
	if _, err := Open(Config{Settings: Settings{Repositories: []string{"acme/shop"}}}); broker.CodeOf(err) != broker.CodeInternal {
		t.Errorf("opened without a token: %v", err)
	}
}

func TestTheTokenGoesIntoTheHeaderAlone(t *testing.T) {
	f := newFake(t)
	p := f.provider("acme/shop")
	header := http.Header{"Authorization": {"Bearer hkp_x"}}
	p.Attach(header)
	if diff := cmp.Diff(http.Header{"Authorization": {"Bearer " + theToken}}, header); diff != "" {
		t.Error(diff)
	}
	if p.Base() != f.URL {
		t.Errorf("base %q", p.Base())
	}
	sight := p.Sight()
	if !sight.Keeps("repo", "Acme/Shop") || sight.Keeps("repo", "acme/payroll") || sight.Keeps("project", "acme/shop") || sight.Secrets {
		t.Error("sight keeps other than the list")
	}
}
