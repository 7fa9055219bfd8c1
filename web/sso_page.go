package web

import (
	"bytes"
	"html/template"
	"net/http"

	"github.com/hourkey/hourkey/web/ui"
)

// goOn is a page that leads on by itself, and by a link where browsers are told not to. After a way back from
// another site the browser withholds our session cookie (SameSite=Strict) until a page of ours asks.
type goOn struct {
	Title, Text, To string
	Notices         []ui.Notice
}

// goOnPage is that page. It stands here and not in package ui because it has no frame: nobody reads it.
func goOnPage() *template.Template {
	page, err := template.New("go-on").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="refresh" content="0; url={{.To}}">
<title>{{.Title}} · Hourkey</title>
<link rel="icon" href="/assets/mark.svg" type="image/svg+xml">
<link rel="stylesheet" href="/assets/hourkey.css">
</head>
<body>
<header class="top"><a class="brand" href="/"><img src="/assets/mark.svg" alt="" width="28" height="28">Hourkey</a></header>
{{- range .Notices}}
<aside class="notice"><strong>{{.Head}}</strong> {{.Text}}</aside>
{{- end}}
<main>
<h1>{{.Title}}</h1>
<p>{{.Text}}</p>
<p><a class="button big" href="{{.To}}">Continue</a></p>
</main>
</body>
</html>
`)
	must(err)
	return page
}

func (p *pages) goOn(v *visit, page goOn) error {
	var err error
	if page.Notices, err = p.notices(v.ctx(), "", "/"); err != nil {
		return err
	}
	var raw bytes.Buffer
	if err := goOnPage().Execute(&raw, page); err != nil {
		return err
	}
	v.send(http.StatusOK, "text/html; charset=utf-8", raw.Bytes())
	return nil
}
