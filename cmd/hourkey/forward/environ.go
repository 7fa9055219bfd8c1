package forward

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/hourkey/hourkey/web/api"
)

// variables gives what the child gets: the targets' own, the proxy for tools that take no base URL, and
// the files with the gateway's authority.
func (f *Forwarder) variables() (map[string]api.Secret, error) {
	proxy := "http://" + proxyUser + ":" + f.password.Reveal() + "@" + f.address
	around := f.around()
	all := map[string]string{
		"HTTPS_PROXY": proxy, "https_proxy": proxy, // not HTTP_PROXY: plain http is none of ours
		"NO_PROXY": around, "no_proxy": around,
		"NODE_USE_ENV_PROXY": "1", // without it Node.js reads none of these; what it leaves is the preload's
	}
	trust, err := f.writeTrust()
	if err != nil {
		return nil, err
	}
	maps.Copy(all, trust)
	if all["NODE_OPTIONS"], err = f.writePreload(); err != nil {
		return nil, err
	}
	for n, target := range f.config.Targets {
		filled := strings.NewReplacer("{base}", "http://"+f.address+f.prefix(n), "{placeholder}", f.password.Reveal())
		for name, text := range target.Gateway.Variables {
			if _, taken := all[name]; taken {
				return nil, fmt.Errorf("%s sets %s, which is set already", target.Name, name)
			}
			all[name] = filled.Replace(text)
		}
	}
	secrets := map[string]api.Secret{}
	for name, value := range all {
		secrets[name] = api.NewSecret(value)
	}
	return secrets, nil
}

// around is NO_PROXY: loopback, the broker, and what it held before, without what would lead the child
// past us to a target's host, where its placeholder of a token is refused.
func (f *Forwarder) around() string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	before := f.config.Getenv("NO_PROXY") + "," + f.config.Getenv("no_proxy")
	for _, entry := range slices.Concat(f.config.Direct, strings.FieldsFunc(before, isBetween)) {
		entry = strings.TrimSpace(entry)
		if entry != "" && !slices.Contains(hosts, entry) && !f.leadsPast(entry) {
			hosts = append(hosts, entry)
		}
	}
	return strings.Join(hosts, ",")
}

// isBetween tells what stands between entries: curl and Python take blanks too.
func isBetween(c rune) bool { return c == ',' || unicode.IsSpace(c) }

// leadsPast tells whether an entry of NO_PROXY is for one of the targets' hosts. There is no standard
// for these; "*", "example.com", ".example.com" and "*.example.com", each perhaps with a port, are what
// tools take.
func (f *Forwarder) leadsPast(entry string) bool {
	if entry == "*" {
		return true
	}
	name, _, _ := strings.Cut(strings.ToLower(entry), ":")
	domain := strings.TrimPrefix(strings.TrimPrefix(name, "*"), ".")
	for host := range f.hosts {
		if host == domain || strings.HasSuffix(host, "."+domain) {
			return true
		}
	}
	return false
}
