package doctor

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"
)

// git looks at the store of git's credential helper, and at git's own settings; those of the tree's
// checkout are found with the tree.
func (x *examination) git() {
	for _, path := range []string{".git-credentials", filepath.Join(x.config("git"), "credentials")} {
		if f := x.open(path); f != nil {
			x.gitStore(f)
		}
	}
	for _, path := range []string{".gitconfig", filepath.Join(x.config("git"), "config")} {
		if f := x.open(path); f != nil {
			x.gitConfig(f)
		}
	}
}

// isGitHost tells hosts of repositories, as far as the name tells.
func isGitHost(host string) bool {
	return strings.Contains(host, "git") || slices.Contains([]string{"bitbucket.org", "codeberg.org", "dev.azure.com"}, host)
}

// gitStore reads git's credential store: a URL with user and password on each line.
func (x *examination) gitStore(f *file) {
	for i, line := range lines(f.data) {
		x.gitAddresses(line, f.at(i+1))
	}
}

func (x *examination) gitAddresses(line string, at place) {
	for _, a := range addressesIn(line) {
		if !a.isWeb() {
			continue
		}
		f := found{kind: gitPassword, place: at, reaches: said("%s: the repositories of the user, with force-push and delete of branches", a.host)}
		if tokens := tokensIn([]byte(a.secret())); len(tokens) == 1 && tokens[0].shape.life == 0 {
			f.kind, f.reaches = tokens[0].shape.kind, phrase{}
		}
		x.add(a.secret(), f)
	}
}

// gitConfig finds passwords in the URLs of remotes and rewrites, and headers that log in, as CI leaves
// them behind.
func (x *examination) gitConfig(f *file) {
	section := ""
	for i, line := range lines(f.data) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
		}
		x.gitAddresses(line, f.at(i+1))
		key, value, _ := strings.Cut(line, "=")
		words := strings.Fields(value)
		if !strings.EqualFold(strings.TrimSpace(key), "extraheader") || len(words) < 2 || !strings.EqualFold(words[0], "authorization:") {
			continue
		}
		if secret := strings.Trim(words[len(words)-1], `"`); usable(secret) {
			x.add(secret, found{kind: gitPassword, place: f.at(i + 1), reaches: said("%s: the repositories that the header logs in to", sectionHost(section))})
		}
	}
}

// sectionHost names the host of a section like [http "https://github.com/"].
func sectionHost(section string) string {
	_, rest, _ := strings.Cut(section, "://")
	return cmp.Or(rest[:cutAt(rest, `/"]`)], "every host")
}

// netrc looks at $NETRC, or ~/.netrc.
func (x *examination) netrc() {
	if f := x.open(cmp.Or(x.getenv("NETRC"), ".netrc")); f != nil {
		x.netrcFile(f)
	}
}

func (x *examination) netrcFile(f *file) {
	for _, l := range readNetrc(f.data) {
		if !usable(l.password) {
			continue
		}
		reported := found{kind: netrcLogin, place: f.at(l.line), reaches: said("%s: whatever its login may do there", cmp.Or(l.machine, "every host without an entry of its own"))}
		tokens := tokensIn([]byte(l.password))
		switch {
		case len(tokens) == 1 && tokens[0].shape.life == 0:
			reported.kind = tokens[0].shape.kind
			reported.reaches = said("at %s: "+reported.kind.reaches, l.machine)
		case isGitHost(l.machine):
			reported.kind = gitPassword
		case strings.HasSuffix(l.machine, "heroku.com"):
			reported.kind = hostingToken
		}
		x.add(l.password, reported)
	}
}
