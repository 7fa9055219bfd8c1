package ui

import "strings"

// Link leads to another page. Current marks the one that is open.
type Link struct {
	Path, Text string
	Current    bool
}

// Doors says which pages a human may open beside those that everybody may.
type Doors struct {
	Environments bool // reviews somewhere, operates or audits
	Audit        bool
	People       bool
}

// Navigation gives the links to every page that this human may open; path is the page that is open.
func Navigation(path string, doors Doors) []Link {
	links := []Link{{Path: "/", Text: "Inbox"}, {Path: "/requests", Text: "Requests"}, {Path: "/leases", Text: "Leases"}, {Path: "/agents", Text: "Agents"}}
	if doors.Environments {
		links = append(links, Link{Path: "/environments", Text: "Environments"})
	}
	links = append(links, Link{Path: "/tasks", Text: "Tasks"})
	if doors.Audit {
		links = append(links, Link{Path: "/audit", Text: "Audit"})
	}
	if doors.People {
		links = append(links, Link{Path: "/people", Text: "People"})
	}
	links = append(links, Link{Path: "/me", Text: "You"})
	for i := range links {
		links[i].Current = path == links[i].Path || links[i].Path != "/" && strings.HasPrefix(path, links[i].Path+"/")
	}
	return links
}

// Live tells the script which changes to follow. It gets no news of what this human may not see.
type Live struct {
	Kinds   string // of change that concern the page, separated by blanks; empty: none
	Subject string // only changes of this one; then nothing moves, and the page says that it is old
	From    uint64 // the log's height before the page was made
	Now     string // when it was made, RFC 3339: what is left of something is counted from then
}
