package doctor

import (
	"net"
	"net/url"
	"slices"
	"strings"
)

// address is a URL with a password in it.
type address struct {
	scheme   string // the first part: "postgres" of postgres+asyncpg
	user     string
	password string
	host     string // with its port
	path     string // without the first slash, up to the query
}

// databases are the schemes of URLs that databases and queues are reached by.
var databases = []string{
	"postgres", "postgresql", "cockroachdb", "mysql", "mariadb", "mongodb", "redis", "rediss", "amqp", "amqps", "mssql", "sqlserver", "clickhouse", "nats",
}

func (a address) isDatabase() bool { return slices.Contains(databases, a.scheme) }

// isWeb tells an address of HTTP, where git hosts and registries are.
func (a address) isWeb() bool { return a.scheme == "http" || a.scheme == "https" }

// addressesIn finds the URLs with a password, or with a token as the user, in a line.
func addressesIn(line string) []address {
	var found []address
	const most = 50 // more are there only to make us slow
	for from, count := 0, 0; ; count++ {
		at := strings.Index(line[from:], "://")
		if at < 0 || count == most {
			return found
		}
		mark := from + at
		end := mark + 3 + urlEnd(line[mark+3:])
		if a, ok := parseAddress(schemeBefore(line[:mark]), line[mark+3:end]); ok {
			found = append(found, a)
		}
		from = mark + 3
	}
}

// urlEnd is where a URL ends in running text.
func urlEnd(text string) int {
	if end := strings.IndexAny(text, " \t\"'`<>\\|;"); end >= 0 {
		return end
	}
	return len(text)
}

// schemeBefore takes the scheme off the end of a text, without what a dialect adds to it.
func schemeBefore(text string) string {
	start := len(text)
	for start > 0 && strings.IndexByte(letters+"+.-", text[start-1]) >= 0 {
		start--
	}
	scheme, dialect, _ := strings.Cut(strings.ToLower(text[start:]), "+")
	if scheme == "git" || scheme == "jdbc" {
		scheme = dialect
	}
	return scheme
}

// parseAddress reads what follows "://". A database's password is often not escaped as it should be, so
// the last @ counts there; elsewhere an @ of the path must not.
func parseAddress(scheme, rest string) (address, bool) {
	a := address{scheme: scheme}
	authority := rest
	if !a.isDatabase() {
		authority = rest[:cutAt(rest, "/?#")]
	}
	at := strings.LastIndexByte(authority, '@')
	if at < 0 || scheme == "" {
		return a, false
	}
	a.user, a.password, _ = strings.Cut(authority[:at], ":")
	after := rest[at+1:]
	end := cutAt(after, "/?#,)")
	a.host = after[:end]
	if !isAddress(a.host) { // nobody could connect there; it may be a part of the password
		return a, false
	}
	if path, is := strings.CutPrefix(after[end:], "/"); is {
		a.path = path[:cutAt(path, "?#")]
	}
	if plain, err := url.PathUnescape(a.user); err == nil {
		a.user = plain
	}
	return a, a.counts()
}

// isAddress tells a host, with or without a port.
func isAddress(text string) bool {
	name, port := text, ""
	if host, rest, err := net.SplitHostPort(text); err == nil {
		name, port = host, rest
	}
	if ip := net.ParseIP(strings.Trim(name, "[]")); ip == nil && span([]byte(name), letters+"-._") < len(name) {
		return false
	}
	return name != "" && span([]byte(port), digits) == len(port)
}

func cutAt(text, any string) int {
	if at := strings.IndexAny(text, any); at >= 0 {
		return at
	}
	return len(text)
}

// secret is what must not be shown: the password, or the token that stands where the user would.
func (a address) secret() string {
	if a.password == "" || a.password == "x-oauth-basic" {
		return a.user
	}
	return a.password
}

// counts tells whether anybody could log in with it.
func (a address) counts() bool {
	secret := a.secret()
	switch {
	case isExampleHost(a.hostname()) || !usable(secret):
		return false
	case isLeaseName(a.user):
		return false
	case a.password == "" && !isTokenLike(a.user):
		return false
	case a.isLocal() && (a.isWeb() || strings.EqualFold(a.password, a.user)):
		// A proxy or a tool's own port, like that of `hourkey exec`; a database for development.
		return false
	}
	return true
}

func (a address) hostname() string {
	host := a.host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.Trim(host, "[]")
}

// isLocal tells a host of this machine, or of a network of containers on it, as far as the name tells. A
// tunnel to production has such a name too.
func (a address) isLocal() bool { return isLocalHost(a.hostname()) }

func isLocalHost(host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback() || ip.IsUnspecified()
	}
	return !strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".docker.internal")
}

// isExampleHost tells the names that RFC 2606 keeps for documents, and others that documents use.
func isExampleHost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, end := range []string{"example", "example.com", "example.org", "example.net", "test", "invalid"} {
		if host == end || strings.HasSuffix(host, "."+end) {
			return true
		}
	}
	return slices.Contains([]string{"host", "hostname", "server", "your-host", "myhost"}, host)
}

// reaches says where it leads, without the password.
func (a address) reaches() phrase {
	switch {
	case a.isDatabase() && a.user == "":
		return said("the database %s at %s (%s), with all that its login may do", a.path, a.host, a.scheme)
	case a.isDatabase():
		return said("the database %s at %s (%s) as %s, with all that this role may do", orAny(a.path), a.host, a.scheme, a.user)
	default:
		return said("%s, as the user of the URL", a.host)
	}
}

func orAny(name string) string {
	if name == "" {
		return "(any)"
	}
	return name
}
