package web

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/web/ui"
)

func storybook(t *testing.T) *Storybook {
	t.Helper()
	s, err := NewStorybook()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStorybookHasEveryStateOfEveryPage(t *testing.T) {
	s := storybook(t)
	index := string(s.files[storyIndex].content)
	for _, fixture := range ui.Fixtures() {
		if strings.Count(index, `href="`+fixture.File+`.html"`) != 1 {
			t.Errorf("the index does not lead to %s", fixture.File)
		}
		if _, there := s.files[fixture.File+".html"]; !there {
			t.Errorf("there is no page %s", fixture.File)
		}
	}
	if strings.Count(index, "<h2>request</h2>") != 1 {
		t.Error("the pages are not grouped")
	}
}

// Everything that a page names lies beside it, so that it opens from a disk; nothing leads out.
func TestStorybookLeadsNowhereElse(t *testing.T) {
	s := storybook(t)
	named := regexp.MustCompile(`\s(?:href|src|action|formaction)="([^"]*)"`)
	pages := 0
	err := s.Each(func(name string, content []byte) error {
		if !strings.HasSuffix(name, ".html") {
			return nil
		}
		pages++
		for _, found := range named.FindAllStringSubmatch(string(content), -1) {
			file, _, _ := strings.Cut(found[1], "#")
			file, _, _ = strings.Cut(file, "?")
			if _, there := s.files[file]; !there && file != "" {
				t.Errorf("%s leads to %s", name, found[1])
			}
		}
		return nil
	})
	if err != nil || pages != len(ui.Fixtures())+1 {
		t.Error(pages, err)
	}
}

func TestStorybookIsServedUnderThePagesHeadersAndChangesNothing(t *testing.T) {
	s := storybook(t)
	for _, step := range []struct {
		method, path string
		status       int
		says         string
	}{
		{"GET", "/", 200, "Every state of every page"},
		{"GET", "/index.html", 200, "Every state of every page"},
		{"GET", "/request-pending.html", 200, "</html>"},
		{"GET", "/assets/hourkey.css", 200, "--ground"},
		{"POST", "/index.html", 200, "Every state of every page"},
		{"POST", "/sign/prepare", 404, "nothing is signed here"},
		{"GET", "/request-pending", 404, ""},
		{"GET", "/../../etc/passwd", 404, ""},
		{"POST", "/request-pending.html", 404, ""},
	} {
		answer := httptest.NewRecorder()
		s.ServeHTTP(answer, httptest.NewRequest(step.method, step.path, http.NoBody))
		if answer.Code != step.status || !strings.Contains(answer.Body.String(), step.says) {
			t.Errorf("%s %s: %d %.100s", step.method, step.path, answer.Code, answer.Body)
		}
		if policy := answer.Header().Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'") {
			t.Errorf("%s %s: Content-Security-Policy %q", step.method, step.path, policy)
		}
	}
}
