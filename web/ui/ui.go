// Package ui is how Hourkey's pages look: templates, one style sheet, one script, and the views that
// turn the domain's records into what a page shows.
//
// It owns: the words and the order of every page, what is marked as dangerous, and how text that
// others wrote is made harmless to read. It is pure: no I/O, no clock, no HTTP.
//
// It does not know: sessions, routes' rules, who may do what. The caller says what may be offered.
//
// It trusts html/template to escape, and nothing that it shows.
package ui

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"path"
	"strings"
)

//go:embed template/*.html static/*
var files embed.FS

// Name names a page.
type Name string

// The pages.
const (
	PageInvite   Name = "invite"   // Invite: name and one-time code
	PageRegister Name = "register" // Register: make the passkey
	PageSignIn   Name = "sign-in"  // SignIn
	PageInbox    Name = "inbox"    // Inbox
	PageRequest  Name = "request"  // Request
	PageSubject  Name = "subject"  // Subject: an agent, a target, an invite or a freeze
	PageProblem  Name = "problem"  // Problem

	PageRequests     Name = "requests"     // Requests: all that this human may see
	PageLeases       Name = "leases"       // Leases
	PageAgents       Name = "agents"       // Agents
	PageEnvironments Name = "environments" // Environments
	PageTasks        Name = "tasks"        // Tasks
	PageAudit        Name = "audit"        // Audit
	PageMe           Name = "me"           // Me: this human's passkeys and sessions
	PageNewPasskey   Name = "new-passkey"  // NewPasskey
	PagePeople       Name = "people"       // People
	PageConfirm      Name = "confirm"      // Confirm: is this really meant?
	PageCode         Name = "code"         // Code: a one-time code, shown once
)

var names = []Name{
	PageInvite, PageRegister, PageSignIn, PageInbox, PageRequest, PageSubject, PageProblem,
	PageRequests, PageLeases, PageAgents, PageEnvironments, PageTasks, PageAudit, PageMe, PageNewPasskey, PagePeople, PageConfirm, PageCode,
}

// Frame is what stands around every page.
type Frame struct {
	Title   string
	Human   string // who is signed in, empty for nobody
	Nav     []Link // to the pages that this human may open
	Notices []Notice
	Live    Live
	View    any // what the page shows, of the type that its name says
}

// Notice is a warning that stands on every page. Path leads to where more is said, empty for nowhere. SignOn is
// where a single sign-on that it offers comes back to, empty where it offers none.
type Notice struct{ Head, Text, Path, SignOn string }

// Pages holds the parsed templates.
type Pages struct{ sets map[Name]*template.Template }

// New parses the templates.
func New() (*Pages, error) {
	p := &Pages{sets: map[Name]*template.Template{}}
	for _, name := range names {
		set, err := template.New("layout.html").Funcs(functions()).
			ParseFS(files, "template/layout.html", "template/part.html", "template/list.html", "template/"+string(name)+".html")
		if err != nil {
			return nil, fmt.Errorf("parsing page %s: %w", name, err)
		}
		p.sets[name] = set.Option("missingkey=error")
	}
	return p, nil
}

func functions() template.FuncMap {
	return template.FuncMap{"visible": Visible, "notASCII": NotASCII, "join": strings.Join, "outcome": outcome}
}

// Render gives a page whole, or nothing of it: half a page could hide what matters.
func (p *Pages) Render(name Name, frame Frame) ([]byte, error) {
	set, known := p.sets[name]
	if !known {
		return nil, fmt.Errorf("rendering page %q: there is none", name)
	}
	var page bytes.Buffer
	if err := set.Execute(&page, frame); err != nil {
		return nil, fmt.Errorf("rendering page %s: %w", name, err)
	}
	return page.Bytes(), nil
}

// Asset gives a static file and its media type.
func Asset(name string) (content []byte, mediaType string, found bool) {
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	mediaType, known := types[path.Ext(name)]
	if !known || path.Base(name) != name {
		return nil, "", false
	}
	content, err := files.ReadFile("static/" + name)
	return content, mediaType, err == nil
}
