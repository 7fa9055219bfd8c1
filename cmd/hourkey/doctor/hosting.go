package doctor

import (
	"cmp"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// railway looks at the login of the Railway CLI: ~/.railway/config.json, and its siblings for Railway's
// own stages. {user: {token, accessToken, refreshToken, tokenExpiresAt}, projects: {folder: {name, …}}}
func (x *examination) railway() {
	for _, name := range []string{"config.json", "config-staging.json", "config-dev.json"} {
		if f := x.open(filepath.Join(".railway", name)); f != nil {
			x.railwayFile(f)
		}
	}
}

func (x *examination) railwayFile(f *file) {
	entries, err := readJSON(f.data)
	if err != nil {
		x.unreadable(f, "the configuration of the Railway CLI")
		x.examineText(f)
		return
	}
	login := found{kind: railwayLogin}
	if linked := railwayProjects(entries); len(linked) > 0 {
		login.reaches = said(railwayAll+"; linked on this machine: %s", several(linked))
	}
	refreshed := usable(valueOf(entries, "user", "refreshToken"))
	for _, e := range entries {
		if len(e.path) != 2 || e.path[0] != "user" || !usable(e.value) {
			continue
		}
		login.place = f.at(e.line)
		switch e.path[1] {
		case "token", "refreshToken":
			x.add(e.value, login)
		case "accessToken":
			x.keepOut(e.value)
			if end := unixTime(valueOf(entries, "user", "tokenExpiresAt")); !refreshed && x.Now().Before(end) {
				x.note("%s: an access token of Railway, until "+clock(end), f.shown)
			}
		}
	}
}

// railwayProjects names the linked projects: "shop (production)".
func railwayProjects(entries []entry) []string {
	var names []string
	for _, e := range entries {
		if !e.is("projects", "*", "project") {
			continue
		}
		name := cmp.Or(valueOf(entries, "projects", e.path[1], "name"), e.value)
		if environment := valueOf(entries, "projects", e.path[1], "environmentName"); environment != "" {
			name += " (" + environment + ")"
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// unixTime reads a number of seconds, or of milliseconds; zero if it is none.
func unixTime(text string) time.Time {
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || number <= 0 {
		return time.Time{}
	}
	if number > 1e11 {
		number /= 1000
	}
	return time.Unix(number, 0).UTC()
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// config gives a folder of the user's configuration: ${XDG_CONFIG_HOME:-~/.config}/name.
func (x *examination) config(name string) string {
	if folder := x.getenv("XDG_CONFIG_HOME"); filepath.IsAbs(folder) {
		return filepath.Join(folder, name)
	}
	return filepath.Join(x.Home, ".config", name)
}

// github looks at the login of the GitHub CLI: hosts.yml has, for each host, oauth_token, or users with one
// each. A user without a token has it in the system's keyring, which hands it to any program of the user.
func (x *examination) github() {
	if f := x.open(filepath.Join(cmp.Or(x.getenv("GH_CONFIG_DIR"), x.config("gh")), "hosts.yml")); f != nil {
		x.githubFile(f)
	}
}

func (x *examination) githubFile(f *file) {
	entries, err := readYAML(f.data)
	if err != nil {
		x.unreadable(f, "the hosts of the GitHub CLI")
		x.examineText(f)
		return
	}
	inFile := map[string]bool{} // host → a token of it stands in the file
	for _, e := range entries {
		ofUser := e.is("*", "users", "*", "oauth_token")
		if !e.is("*", "oauth_token") && !ofUser || !usable(e.value) {
			continue
		}
		inFile[e.path[0]] = true
		if ofUser && e.value == valueOf(entries, e.path[0], "oauth_token") {
			continue // the one in use stands twice
		}
		reaches := said("at %s: "+githubLogin.reaches, e.path[0])
		x.add(e.value, found{kind: githubLogin, place: f.at(e.line), reaches: reaches})
	}
	for _, e := range entries {
		if e.is("*", "user") && !inFile[e.path[0]] && e.value != "" {
			reaches := said("at %s as %s: "+githubLogin.reaches+"; `gh auth token` hands it to any program of this user", e.path[0], e.value)
			x.add("", found{kind: githubKeyring, place: f.at(e.line), reaches: reaches})
		}
	}
}

// supabase looks at the token that the Supabase CLI keeps where it finds no keyring.
func (x *examination) supabase() {
	f := x.open(".supabase/access-token")
	if f == nil {
		return
	}
	if value := strings.TrimSpace(string(f.data)); usable(value) {
		x.add(value, found{kind: supabaseAccessToken, place: f.at(1)})
	}
}
