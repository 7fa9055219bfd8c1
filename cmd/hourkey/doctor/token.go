package doctor

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// shape is a credential that tells by its form what it is.
type shape struct {
	prefix   string
	alphabet string // of what follows the prefix
	min, max int    // length of what follows; max 0: no limit
	kind     kind
	life     time.Duration // 0: it does not end by itself
}

const (
	digits  = "0123456789"
	upper   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	lower   = "abcdefghijklmnopqrstuvwxyz"
	letters = upper + lower + digits
)

// shapes are the prefixes that providers document for their tokens, so that scanners can find them.
var shapes = []shape{
	{prefix: "ghp_", alphabet: letters, min: 36, kind: githubClassic},
	{prefix: "github_pat_", alphabet: letters + "_", min: 50, kind: githubFineGrained},
	{prefix: "gho_", alphabet: letters, min: 36, kind: githubOAuth},
	{prefix: "ghu_", alphabet: letters, min: 36, kind: githubAppUser},
	{prefix: "ghr_", alphabet: letters, min: 36, kind: githubAppUser},
	// Of an App's installation: one hour, and a day in GitHub Actions. The longer form holds a JWT.
	{prefix: "ghs_", alphabet: letters + "._-", min: 36, kind: githubToken, life: 24 * time.Hour},
	{prefix: "sbp_", alphabet: letters + "_", min: 40, kind: supabaseAccessToken},
	{prefix: "sb_secret_", alphabet: letters + "_-", min: 20, kind: supabaseSecretKey},
	{prefix: "rw_Fe26.2*", alphabet: letters + "*_-", min: 40, kind: railwayLogin},
	{prefix: "glpat-", alphabet: letters + "_-.", min: 20, kind: gitlabToken},
	{prefix: "sk_live_", alphabet: letters, min: 20, kind: stripeKey},
	{prefix: "rk_live_", alphabet: letters, min: 20, kind: stripeKey},
	{prefix: "xoxb-", alphabet: letters + "-", min: 20, kind: slackToken},
	{prefix: "xoxp-", alphabet: letters + "-", min: 20, kind: slackToken},
	{prefix: "xapp-", alphabet: letters + "-", min: 20, kind: slackToken},
	{prefix: "npm_", alphabet: letters, min: 36, max: 36, kind: npmToken},
	{prefix: "pypi-AgE", alphabet: letters + "_-", min: 50, kind: pypiToken},
	{prefix: "dop_v1_", alphabet: "abcdef" + digits, min: 64, max: 64, kind: digitalOcean},
	{prefix: "hvs.", alphabet: letters + "_-", min: 24, kind: vaultToken},
	{prefix: "FlyV1 fm2_", alphabet: letters + "+/=_-,", min: 40, kind: hostingToken},
	{prefix: "HRKU-", alphabet: letters + "_-", min: 36, kind: hostingToken},
}

// token is a credential found by its shape.
type token struct {
	text   string
	offset int
	shape  *shape
}

// tokensIn finds every token by its shape, in the order of the text. Made-up ones are left out.
func tokensIn(data []byte) []token {
	var tokens []token
	for i := range shapes {
		s := &shapes[i]
		for from := 0; ; {
			at := bytes.Index(data[from:], []byte(s.prefix))
			if at < 0 {
				break
			}
			start := from + at
			end := start + len(s.prefix) + span(data[start+len(s.prefix):], s.alphabet)
			from = max(end, start+1)
			text := strings.TrimRight(string(data[start:end]), ".-,")
			if wordBefore(data, start) || !s.fits(len(text)-len(s.prefix)) || isMadeUp(text[len(s.prefix):]) {
				continue
			}
			tokens = append(tokens, token{text, start, s})
		}
	}
	slices.SortFunc(tokens, func(a, b token) int { return a.offset - b.offset })
	return tokens
}

func (s *shape) fits(length int) bool { return length >= s.min && (s.max == 0 || length <= s.max) }

// span is how many bytes of the alphabet data begins with.
func span(data []byte, alphabet string) int {
	for i, c := range data {
		if strings.IndexByte(alphabet, c) < 0 {
			return i
		}
	}
	return len(data)
}

// wordBefore tells that something runs on into the position, so that no token begins there.
func wordBefore(data []byte, at int) bool {
	return at > 0 && strings.IndexByte(letters, data[at-1]) >= 0
}

// isMadeUp tells a token that stands for one in documents and tests: few different characters, or rows
// of the alphabet that no generator gives.
func isMadeUp(random string) bool {
	low := strings.ToLower(random)
	for _, row := range []string{"1234567890", "0123456789", "abcdefghij", "xxxxxx", "example", "yourtoken", "your_token", "changeme"} {
		if strings.Contains(low, row) {
			return true
		}
	}
	return variety(random) < 8
}

// variety is how many different bytes a text has.
func variety(text string) int {
	var seen [256]bool
	count := 0
	for i := range len(text) {
		if !seen[text[i]] {
			seen[text[i]] = true
			count++
		}
	}
	return count
}

// isOwn tells Hourkey's own tokens: lease tokens, and the placeholders of `hourkey exec`. They are worth
// nothing without the agent's key, or nothing at all.
func isOwn(value string) bool {
	return strings.HasPrefix(value, "hkt_") || strings.HasPrefix(value, "hkp_")
}

// isLeaseName tells the name of a role or user that a lease made: hk-INSTALLATION-LEASE.
func isLeaseName(name string) bool {
	return strings.HasPrefix(name, "hk-") && strings.Count(name, "-") >= 2
}

// isReference tells a value that says where the secret is, and is none itself: of a shell, a template, a
// secret store, or an encrypted file.
func isReference(value string) bool {
	for _, mark := range []string{"${", "$(", "{{", "}}", "<%", "%(", "://op/"} {
		if strings.Contains(value, mark) {
			return true
		}
	}
	for _, start := range []string{
		"$", "<", "op://", "vault:", "env:", "file:", "ref:", "secretref:", "awssm:", "ssm:", "sm://", "gcpsm://", "azurekv://",
		"arn:aws:", "keyring:", "ENC[", "encrypted:", "process.env", "os.environ", "os.Getenv", "secrets.", "var.", "local.", "data.",
	} {
		if strings.HasPrefix(value, start) {
			return true
		}
	}
	return strings.HasPrefix(value, "%") && strings.HasSuffix(value, "%")
}

// placeholders are values that people write where a secret would go.
var placeholders = []string{
	"", "password", "passwd", "pass", "pw", "pwd", "secret", "token", "key", "apikey", "none", "null", "nil", "true", "false", "test", "dummy", "fake",
	"foo", "bar", "todo", "redacted", "hidden", "postgres", "root", "admin", "user", "username", "mypassword", "mysecretpassword", "example",
}

// isPlaceholder tells a value that nobody could log in with.
func isPlaceholder(value string) bool {
	low := strings.ToLower(strings.Trim(value, `"'<>[]{}`))
	if slices.Contains(placeholders, low) || variety(low) < 3 {
		return true
	}
	if len(value) > 200 { // a key or certificate, which may hold any word by chance
		return false
	}
	for _, part := range []string{
		"changeme", "change-me", "change_me", "placeholder", "your-", "your_", "yourtoken", "yourpassword", "replace", "xxxx", "****", "insert",
		"_here", "-here", "redacted", "dummy", "example", "to-be-", "not-a-real", "...",
	} {
		if strings.Contains(low, part) {
			return true
		}
	}
	return strings.Contains(value, "…")
}

// usable tells that a value may be a secret at all.
func usable(value string) bool {
	return !isOwn(value) && !isReference(value) && !isPlaceholder(value)
}

// isTokenLike tells a value that a program made: no words, and no name in code, which seldom has several
// digits. In text a value must be like that to count, in an environment file it need not.
func isTokenLike(value string) bool {
	alphabet := letters + "_-+/=~"
	if strings.HasPrefix(value, "eyJ") {
		alphabet += "."
	}
	numerals := 0
	for i := range len(value) {
		if strings.IndexByte(digits, value[i]) >= 0 {
			numerals++
		}
	}
	return len(value) >= 16 && span([]byte(value), alphabet) == len(value) && variety(value) >= 8 && (numerals >= 3 || numerals >= 1 && len(value) >= 32)
}

// isUUID tells a value of the form 8-4-4-4-12, which Railway's tokens have.
func isUUID(value string) bool {
	if len(value) != 36 {
		return false
	}
	for i := range len(value) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (value[i] == '-') || !dash && strings.IndexByte(digits+"abcdefABCDEF", value[i]) < 0 {
			return false
		}
	}
	return variety(value) >= 6
}

// claims are what doctor reads of a JWT (RFC 7519); no signature is checked, since it is not relied on.
type claims struct {
	Role    string  `json:"role"`
	Ref     string  `json:"ref"` // Supabase: the project
	Issuer  string  `json:"iss"`
	Expires float64 `json:"exp"`
}

// readJWT decodes the claims of a JWT in its compact form.
func readJWT(text string) (claims, bool) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 || !strings.HasPrefix(text, "eyJ") {
		return claims{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var c claims
	if err != nil || json.Unmarshal(payload, &c) != nil {
		return claims{}, false
	}
	return c, true
}

// end is when a JWT ends; zero for never.
func (c claims) end() time.Time {
	if c.Expires <= 0 || c.Expires > 1e11 {
		return time.Time{}
	}
	return time.Unix(int64(c.Expires), 0).UTC()
}

// jwtsIn finds what looks like a JWT.
func jwtsIn(data []byte) []token {
	var tokens []token
	for from := 0; ; {
		at := bytes.Index(data[from:], []byte("eyJ"))
		if at < 0 {
			return tokens
		}
		start := from + at
		end := start + span(data[start:], letters+"_-.")
		from = end
		if text := strings.TrimRight(string(data[start:end]), "."); !wordBefore(data, start) && strings.Count(text, ".") == 2 {
			tokens = append(tokens, token{text: text, offset: start})
		}
	}
}
