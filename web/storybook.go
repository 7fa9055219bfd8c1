package web

import (
	"bytes"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/web/ui"
)

// Storybook shows every state of every page, from the fixtures that the golden pages are made of. Nothing in it
// is real, and nothing that it offers does anything. It is a set of files that link to one another by relative
// paths, so that it can be served, and opened from a disk.
type Storybook struct {
	files map[string]storyFile // "index.html", "request-pending.html", "assets/hourkey.css" → its content
}

type storyFile struct {
	content   []byte
	mediaType string
}

const storyIndex = "index.html"

// NewStorybook renders all pages.
func NewStorybook() (*Storybook, error) {
	pages, err := ui.New()
	if err != nil {
		return nil, err
	}
	s := &Storybook{files: map[string]storyFile{}}
	fixtures := ui.Fixtures()
	for _, fixture := range fixtures {
		raw, err := pages.Render(fixture.Page, fixture.Frame)
		if err != nil {
			return nil, fmt.Errorf("rendering fixture %s: %w", fixture.File, err)
		}
		if err := s.add(fixture.File+".html", raw); err != nil {
			return nil, err
		}
	}
	var index bytes.Buffer
	if err := indexTemplate().Execute(&index, chaptersOf(fixtures)); err != nil {
		return nil, fmt.Errorf("rendering the index: %w", err)
	}
	return s, s.add(storyIndex, index.Bytes())
}

var (
	storyAsset = regexp.MustCompile(`"/assets/([^"/]+)"`)
	storyLink  = regexp.MustCompile(`(href|action)="/`) // formaction too; text that others wrote has no bare quotes
)

// add keeps a page, with the assets that it names. What would lead into a broker leads to the index.
func (s *Storybook) add(name string, page []byte) error {
	if _, twice := s.files[name]; twice {
		return fmt.Errorf("two pages of the storybook are named %s", name)
	}
	for _, found := range storyAsset.FindAllSubmatch(page, -1) {
		content, mediaType, known := ui.Asset(string(found[1]))
		if !known {
			return fmt.Errorf("page %s names the asset %s, which there is not", name, found[1])
		}
		s.files["assets/"+string(found[1])] = storyFile{content, mediaType}
	}
	page = storyAsset.ReplaceAll(page, []byte(`"assets/$1"`))
	page = storyLink.ReplaceAll(page, []byte(`$1="`+storyIndex+`#/`))
	s.files[name] = storyFile{page, "text/html; charset=utf-8"}
	return nil
}

// Each gives every file, its name relative to the storybook's folder, with slashes.
func (s *Storybook) Each(save func(name string, content []byte) error) error {
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		if err := save(name, s.files[name].content); err != nil {
			return err
		}
	}
	return nil
}

// ServeHTTP answers with the files, under the headers that the pages really have.
func (s *Storybook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	if name == "" {
		name = storyIndex
	}
	file, found := s.files[name]
	pageHeaders(w.Header())
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch {
	case found && isSafe(r.Method), found && name == storyIndex: // the index is where every form leads, too
		w.Header().Set("Content-Type", file.mediaType)
		_, _ = w.Write(file.content)
	default: // our script reads JSON
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"title":"This is the storybook: there is nothing behind its pages, and nothing is signed here"}` + "\n"))
	}
}

// chapter is all states of one page.
type chapter struct {
	Page   ui.Name
	States []ui.Fixture
}

// chaptersOf groups the fixtures by page, both in the order in which they come.
func chaptersOf(fixtures []ui.Fixture) []chapter {
	var all []chapter
	for _, fixture := range fixtures {
		at := slices.IndexFunc(all, func(c chapter) bool { return c.Page == fixture.Page })
		if at < 0 {
			all, at = append(all, chapter{Page: fixture.Page}), len(all)
		}
		all[at].States = append(all[at].States, fixture)
	}
	return all
}

func indexTemplate() *template.Template {
	return template.Must(template.New(storyIndex).Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Storybook · Hourkey</title>
<link rel="icon" href="/assets/mark.svg" type="image/svg+xml">
<link rel="stylesheet" href="/assets/hourkey.css">
</head>
<body>
<header class="top"><a class="brand" href="#"><img src="/assets/mark.svg" alt="" width="28" height="28">Hourkey</a></header>
<main>
<h1>Storybook</h1>
<p>Every state of every page. Nothing here is real, and nothing that it offers does anything.</p>
{{range .}}<h2>{{.Page}}</h2>
<ul class="cards">
{{range .States}}<li><a href="{{.File}}.html"><span class="line">{{.File}}</span></a></li>
{{end}}</ul>
{{end}}</main>
</body>
</html>
`))
}
