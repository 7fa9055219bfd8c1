package config

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"

	"github.com/hourkey/hourkey/broker"
)

// Server is hourkey.yaml, with the HOURKEY_* overrides applied. Its paths are absolute.
type Server struct {
	File string // hourkey.yaml itself
	Dir  string // its folder

	Listen         string         // host:port
	Origin         string         // of the pages and the API: scheme://host[:port]
	TLSCert        string         // PEM files; both or none
	TLSKey         string         //
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed
	Data           string         // folder of the store and the admin socket
	Keys           string         // the file of the key-encryption key; empty where Vault keeps it
	Transit        Transit        // the key-encryption key at Vault; zero where a file has it
	Anchor         string         // outside the data folder, so that a rolled back store is noticed

	Limits       broker.Limits
	Sessions     Sessions                 // of people's browsers
	Notify       Notify                   // channels to people
	SingleSignOn *SingleSignOn            // nil: passkeys alone
	Vault        *yaml.Node               // the broker's own login at a Vault, for who knows Vault to decode; nil: none
	Groups       map[string][]string      // group → humans
	Roles        map[broker.Role][]string // role → groups
}

// Transit names a key of Vault's transit engine: "keys: vault:MOUNT/keys/KEY", as Vault's API has it.
type Transit struct{ Mount, Key string }

// Sessions is how long a browser stays signed in.
type Sessions struct{ Idle, Life time.Duration }

// The most that these settings may say.
const (
	maxSessionIdle = 30 * time.Minute
	maxSessionLife = 12 * time.Hour
	maxPasskeyWait = 14 * 24 * time.Hour
)

// The scalar settings and their defaults. HOURKEY_ and the name in capitals, with dots as underscores,
// overrides each: HOURKEY_LISTEN, HOURKEY_TLS_CERT.
var defaults = map[string]string{
	"listen": "127.0.0.1:8750", "origin": "", "tls.cert": "", "tls.key": "", "trusted_proxies": "",
	"data": "data", "keys": "keys/kek", "anchor": "keys/anchor",
	"limits.pending_per_agent": "20", "limits.leases_per_agent": "64",
	"passkeys.wait": "24h", "sessions.idle": "30m", "sessions.life": "12h",
}

// DecodeServer reads hourkey.yaml, which stands at path, and the overrides of the environment.
func DecodeServer(path string, text []byte) (Server, error) {
	s := Server{File: path, Dir: filepath.Dir(path)}
	d, err := parse(filepath.Base(path), text)
	if err != nil {
		return s, err
	}
	if err := s.decode(d); err != nil {
		return s, err
	}
	v, err := settings(text)
	if err != nil {
		return s, broker.Errorf(broker.CodeInvalid, "%s: cannot be read", d.name).Because(err)
	}
	return s, s.apply(v, d.name)
}

// decode checks every field and takes the two that viper must not touch, for it lower-cases keys.
func (s *Server) decode(d document) error {
	var text string
	var number int
	return d.fields(d.root, map[string]field{
		"listen": d.text(&text, "listen"), "origin": d.text(&text, "origin"),
		"data": d.text(&text, "data"), "keys": d.text(&text, "keys"), "anchor": d.text(&text, "anchor"),
		"trusted_proxies": func(value *yaml.Node) error {
			_, err := d.list(value, "trusted_proxies")
			return err
		},
		"tls": func(value *yaml.Node) error {
			return d.fields(value, map[string]field{"cert": d.text(&text, "tls.cert"), "key": d.text(&text, "tls.key")})
		},
		"limits": func(value *yaml.Node) error {
			return d.fields(value, map[string]field{
				"pending_per_agent": d.number(&number, "limits.pending_per_agent"),
				"leases_per_agent":  d.number(&number, "limits.leases_per_agent"),
			})
		},
		"passkeys": func(value *yaml.Node) error {
			return d.fields(value, map[string]field{"wait": d.text(&text, "passkeys.wait")})
		},
		"sessions": func(value *yaml.Node) error {
			return d.fields(value, map[string]field{"idle": d.text(&text, "sessions.idle"), "life": d.text(&text, "sessions.life")})
		},
		"sso": d.singleSignOn(&s.SingleSignOn),
		"vault": func(value *yaml.Node) error {
			s.Vault = value
			return nil
		},
		"notify": d.notify(&s.Notify),
		"groups": func(value *yaml.Node) error { return s.groups(d, value) },
		"roles":  func(value *yaml.Node) error { return s.roles(d, value) },
	})
}

func (s *Server) groups(d document, node *yaml.Node) error {
	s.Groups = map[string][]string{}
	return d.each(node, "groups", func(key, value *yaml.Node) error {
		if !broker.IsName(key.Value) {
			return d.errorf(key, "groups", "groups: %q is not a name: expected a-z, 0-9 and dashes", clip(key.Value))
		}
		var humans []string
		err := d.names(&humans, "groups."+key.Value)(value)
		s.Groups[key.Value] = humans
		return err
	})
}

func (s *Server) roles(d document, node *yaml.Node) error {
	s.Roles = map[broker.Role][]string{}
	known := []string{string(broker.RoleReviewer), string(broker.RoleOperator), string(broker.RoleAuditor)}
	return d.each(node, "roles", func(key, value *yaml.Node) error {
		for _, role := range known {
			if key.Value == role {
				var groups []string
				err := d.names(&groups, "roles."+role)(value)
				s.Roles[broker.Role(role)] = groups
				return err
			}
		}
		return d.errorf(key, "roles", "unknown role %q: %s", clip(key.Value), didYouMean(clip(key.Value), known))
	})
}

// settings merges defaults, file and environment.
func settings(text []byte) (*viper.Viper, error) {
	v := viper.New()
	v.SetConfigType("yaml")
	v.SetEnvPrefix("hourkey")
	v.SetEnvKeyReplacer(strings.NewReplacer(".", "_"))
	for name, value := range defaults {
		v.SetDefault(name, value)
		if err := v.BindEnv(name); err != nil {
			return nil, err
		}
	}
	return v, v.ReadConfig(bytes.NewReader(text))
}

func (s *Server) apply(v *viper.Viper, file string) error {
	wrong := func(name, format string, args ...any) error {
		return broker.Errorf(broker.CodeInvalid, "%s: %s: %s", file, name, fmt.Sprintf(format, args...)).WithField(name)
	}
	s.Listen, s.Origin = v.GetString("listen"), v.GetString("origin")
	for name, into := range map[string]*string{
		"tls.cert": &s.TLSCert, "tls.key": &s.TLSKey, "data": &s.Data, "anchor": &s.Anchor,
	} {
		*into = absolute(s.Dir, v.GetString(name))
	}
	if err := s.applyKeys(v.GetString("keys"), wrong); err != nil {
		return err
	}
	for name, into := range map[string]*int{
		"limits.pending_per_agent": &s.Limits.PendingPerAgent, "limits.leases_per_agent": &s.Limits.LeasesPerAgent,
	} {
		// viper's own GetInt gives 0 for what is no number, and 0 would mean "no limit" or "nothing at all".
		n, err := strconv.Atoi(v.GetString(name))
		if err != nil || n < 1 || n > 10000 {
			return wrong(name, "expected a number from 1 to 10000")
		}
		*into = n
	}
	for name, span := range map[string]struct {
		into        *time.Duration
		least, most time.Duration
	}{
		"passkeys.wait": {&s.Limits.PasskeyWait, 0, maxPasskeyWait},
		"sessions.idle": {&s.Sessions.Idle, time.Minute, maxSessionIdle},
		"sessions.life": {&s.Sessions.Life, time.Minute, maxSessionLife},
	} {
		d, err := time.ParseDuration(v.GetString(name))
		if err != nil || d < span.least || d > span.most {
			return wrong(name, "expected a time from %s to %s, like 30m or 12h", span.least, span.most)
		}
		*span.into = d
	}
	for _, text := range proxies(v.Get("trusted_proxies")) {
		prefix, err := prefixOf(text)
		if err != nil {
			return wrong("trusted_proxies", "%q is neither an address nor a prefix, like 10.0.0.5 or 10.0.0.0/24", clip(text))
		}
		s.TrustedProxies = append(s.TrustedProxies, prefix)
	}
	return s.validate(wrong)
}

// applyKeys takes where the key-encryption key is: a file, or Vault.
func (s *Server) applyKeys(text string, wrong wrongly) error {
	path, atVault := strings.CutPrefix(text, "vault:")
	if !atVault {
		s.Keys = absolute(s.Dir, path)
		return nil
	}
	s.Transit.Mount, s.Transit.Key, _ = strings.Cut(path, "/keys/")
	if s.Transit.Mount == "" || s.Transit.Key == "" || s.Vault == nil {
		return wrong("keys", "expected a path, or vault:MOUNT/keys/KEY with a vault: beside it that says where that is")
	}
	return nil
}

// proxies reads the list of a file, or the comma-separated text of the environment.
func proxies(value any) []string {
	var texts []string
	switch v := value.(type) {
	case []any:
		for _, element := range v {
			texts = append(texts, fmt.Sprint(element))
		}
	case string:
		for text := range strings.SplitSeq(v, ",") {
			if text = strings.TrimSpace(text); text != "" {
				texts = append(texts, text)
			}
		}
	}
	return texts
}

func prefixOf(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}

// wrongly makes the error of one setting.
type wrongly func(name, format string, args ...any) error

func (s *Server) validate(wrong wrongly) error {
	host, port, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return wrong("listen", "expected host:port, like 127.0.0.1:8750")
	}
	if (s.TLSCert == "") != (s.TLSKey == "") {
		return wrong("tls", "expected both cert and key, or none")
	}
	// An access token in the clear on a network is everybody's.
	if !loopback(host) && s.TLSCert == "" && len(s.TrustedProxies) == 0 {
		return wrong("listen", "plain HTTP is served on loopback only: set tls.cert and tls.key, or name the proxy that has them in trusted_proxies")
	}
	for name, path := range map[string]string{"data": s.Data, "keys": s.Keys, "anchor": s.Anchor} {
		if path == "" && (name != "keys" || s.Transit == Transit{}) {
			return wrong(name, "expected a path")
		}
	}
	for name, path := range map[string]string{"keys": s.Keys, "anchor": s.Anchor} {
		if path != "" && within(s.Data, path) {
			return wrong(name, "must lie outside the data folder, or who copies that folder has it too")
		}
	}
	return s.validateOrigin(wrong, port)
}

// usualPorts are those that a URL of the scheme has without saying so.
var usualPorts = map[string]string{"http": "80", "https": "443"}

func (s *Server) validateOrigin(wrong wrongly, port string) error {
	if s.Origin == "" {
		scheme := "http"
		if s.TLSCert != "" {
			scheme = "https"
		}
		s.Origin = scheme + "://localhost"
		if port != usualPorts[scheme] {
			s.Origin += ":" + port
		}
	}
	u, err := url.Parse(s.Origin)
	if err != nil || u.Host == "" || u.Scheme+"://"+u.Host != s.Origin || strings.ToLower(s.Origin) != s.Origin {
		return wrong("origin", "expected scheme://host or scheme://host:port in lower case, nothing after it")
	}
	if port := u.Port(); port != "" && port == usualPorts[u.Scheme] { // RFC 6454 section 6.2: browsers leave it out, and all is compared as text
		return wrong("origin", "browsers leave the port %s out: write %s://%s", port, u.Scheme, u.Hostname())
	}
	// WebAuthn level 3, section 5.1.2: a relying party is a domain, and the page a secure context.
	if _, err := netip.ParseAddr(u.Hostname()); err == nil {
		return wrong("origin", "a passkey needs a host name, not an address: use localhost or a name")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "localhost") {
		return wrong("origin", "expected https://, or http://localhost for one machine: a browser has passkeys nowhere else")
	}
	return nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

func within(folder, path string) bool {
	relative, err := filepath.Rel(folder, path)
	return err == nil && relative != ".." && !strings.HasPrefix(relative, "../")
}
