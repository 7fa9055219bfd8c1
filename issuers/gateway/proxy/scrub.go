package proxy

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
)

// scrubber takes the real credential out of what a provider says, in the forms in which one is echoed: as
// it is, escaped for JSON or a URL, in base64 wherever it stands in what was encoded, in hex. It is
// immutable.
type scrubber struct {
	needles []needle // longest first
	longest int
}

type needle struct {
	text  string
	bytes []byte // the same
}

const (
	scrubbedAway = "REDACTED"
	leastSecret  = 8 // bytes; a shorter text would be found everywhere, and is no secret
)

func newScrubber(secrets []string) *scrubber {
	s := &scrubber{}
	for _, secret := range secrets {
		if len(secret) < leastSecret {
			continue
		}
		for _, form := range forms(secret) {
			if !slices.ContainsFunc(s.needles, func(n needle) bool { return n.text == form }) {
				s.needles = append(s.needles, needle{form, []byte(form)})
			}
		}
	}
	slices.SortFunc(s.needles, func(a, b needle) int { return len(b.text) - len(a.text) })
	if len(s.needles) > 0 {
		s.longest = len(s.needles[0].text)
	}
	return s
}

// forms lists how a secret may be written.
func forms(secret string) []string {
	escaped, _ := json.Marshal(secret) // a string has a JSON form: this one escapes <, > and & as well
	var bare bytes.Buffer
	encoder := json.NewEncoder(&bare)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(secret)
	inner := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(bare.String()), `"`), `"`)
	plain := string(escaped[1 : len(escaped)-1])
	all := []string{
		secret, plain, inner, strings.ReplaceAll(plain, "/", `\/`), strings.ReplaceAll(inner, "/", `\/`), url.QueryEscape(secret), url.PathEscape(secret),
		smallHex(url.QueryEscape(secret)), smallHex(url.PathEscape(secret)), everyByte(secret, "%%%02X"), everyByte(secret, "%%%02x"),
		everyByte(secret, "%c\x00"), capitalHex(plain), capitalHex(strings.ReplaceAll(plain, "/", `\/`)), html.EscapeString(secret), strings.ReplaceAll(html.EscapeString(secret), "&#34;", "&quot;"), hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret))),
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 { // bytes of something else in the first group of three
			all = append(all, inBase64(encoding, secret, before))
		}
	}
	return all
}

var (
	percentEscape = regexp.MustCompile(`%[0-9A-F]{2}`)
	unicodeEscape = regexp.MustCompile(`\\u[0-9a-f]{4}`)
)

// smallHex writes the escapes of a URL, and nothing else in it, in small letters.
func smallHex(escaped string) string {
	return percentEscape.ReplaceAllStringFunc(escaped, strings.ToLower)
}

// capitalHex writes the escapes of JSON in capitals.
func capitalHex(escaped string) string {
	return unicodeEscape.ReplaceAllStringFunc(escaped, func(one string) string { return `\u` + strings.ToUpper(one[2:]) })
}

func everyByte(secret, format string) string {
	var all strings.Builder
	for _, c := range []byte(secret) {
		fmt.Fprintf(&all, format, c)
	}
	return all.String()
}

// inBase64 is that part of the encoding which depends on the secret alone.
func inBase64(encoding *base64.Encoding, secret string, before int) string {
	text := encoding.EncodeToString(append(make([]byte, before), secret...))
	from := (before*8 + 5) / 6              // the first character without a bit of what stands before
	until := (before + len(secret)) * 8 / 6 // and the last without one of what comes after
	return text[from:until]
}

// all scrubs a whole text. What it returns may be its argument.
func (s *scrubber) all(text []byte) []byte {
	for _, needle := range s.needles {
		if bytes.Contains(text, needle.bytes) {
			text = bytes.ReplaceAll(text, needle.bytes, []byte(scrubbedAway))
		}
	}
	return text
}

// text is all, for a string.
func (s *scrubber) text(text string) string {
	for _, needle := range s.needles {
		if strings.Contains(text, needle.text) {
			return string(s.all([]byte(text)))
		}
	}
	return text
}

// scrubbing scrubs a text that comes in parts.
type scrubbing struct {
	*scrubber
	held []byte // the end of what came, which may be the beginning of a needle
}

// next gives what may leave after part came. Only what may be the beginning of a needle is held back.
func (s *scrubbing) next(part []byte, last bool) []byte {
	text := part
	if len(s.held) > 0 {
		text = append(s.held, part...)
	}
	text = s.all(text)
	keep := 0
	if !last {
		keep = s.begun(text)
	}
	s.held = bytes.Clone(text[len(text)-keep:])
	return text[:len(text)-keep]
}

// begun is the length of the longest end of text that is the beginning of a needle.
func (s *scrubber) begun(text []byte) int {
	for length := min(len(text), s.longest-1); length > 0; length-- {
		end := text[len(text)-length:]
		if slices.ContainsFunc(s.needles, func(n needle) bool { return len(n.text) > length && bytes.HasPrefix(n.bytes, end) }) {
			return length
		}
	}
	return 0
}

// lastScrubber keeps the scrubber of the credential that was attached last: most are attached often.
type lastScrubber struct{ kept atomic.Pointer[keptScrubber] }

type keptScrubber struct {
	secrets []string
	*scrubber
}

// of is the scrubber for a credential, as it was put into a header.
func (l *lastScrubber) of(credential http.Header) *scrubber {
	secrets := secretsIn(credential)
	kept := l.kept.Load()
	if kept == nil || !slices.Equal(secrets, kept.secrets) {
		kept = &keptScrubber{secrets, newScrubber(secrets)}
		l.kept.Store(kept)
	}
	return kept.scrubber
}

// secretsIn lists the secret parts of the headers that a credential was put into.
func secretsIn(credential http.Header) []string {
	var secrets []string
	for _, values := range credential {
		for _, value := range values {
			fields := strings.Fields(value)
			if len(fields) == 0 {
				continue
			}
			secret := fields[len(fields)-1] // after the scheme, if there is one
			secrets = append(secrets, secret)
			if raw, err := base64.StdEncoding.DecodeString(secret); err == nil && strings.EqualFold(fields[0], "Basic") {
				_, password, _ := strings.Cut(string(raw), ":")
				secrets = append(secrets, password)
			}
		}
	}
	slices.Sort(secrets)
	return secrets
}

// credential is what the provider attaches now, and the scrubber for it.
func (t *tunnel) credential() (http.Header, *scrubber) {
	header := http.Header{}
	t.provider.Attach(header)
	return header, t.scrub.of(header)
}

// clean takes the credential out of a message.
func (t *tunnel) clean(text string) string {
	_, scrub := t.credential()
	return scrub.text(text)
}

// quote is an error without the credential in its text.
func (t *tunnel) quote(err error) error { return errors.New(t.clean(err.Error())) }
