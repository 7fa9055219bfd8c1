package doctor

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func noonClock() time.Time { return noon }

// box is a machine in a temporary folder. Secrets are made while a test runs: none stands in this
// repository, where doctor itself and other scanners would find it.
type box struct {
	t       *testing.T
	machine Machine
	random  *rand.Rand
	secrets []string
}

func newBox(t *testing.T) *box {
	folder := t.TempDir()
	b := &box{t: t, machine: Machine{Home: filepath.Join(folder, "home"), Tree: filepath.Join(folder, "work", "shop"), Now: noonClock}}
	for _, path := range []string{b.machine.Home, b.machine.Tree} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	seed := fnv.New64()
	seed.Write([]byte(t.Name()))
	b.random = rand.New(rand.NewPCG(seed.Sum64(), 1))
	return b
}

func (b *box) home(path, content string) string { return b.write(b.machine.Home, path, content) }
func (b *box) tree(path, content string) string { return b.write(b.machine.Tree, path, content) }

func (b *box) write(folder, path, content string) string {
	b.t.Helper()
	path = filepath.Join(folder, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Chtimes(path, noon, noon.Add(-time.Hour)); err != nil {
		b.t.Fatal(err)
	}
	return path
}

func (b *box) env(name, value string) { b.machine.Environ = append(b.machine.Environ, name+"="+value) }

// secret makes a secret: a prefix and so many characters of an alphabet.
func (b *box) secret(prefix, alphabet string, length int) string {
	for {
		text := []byte(prefix)
		for range length {
			text = append(text, alphabet[b.random.IntN(len(alphabet))])
		}
		if random := string(text[len(prefix):]); length < 12 || variety(random) >= 8 && strings.ContainsAny(random, digits) {
			b.secrets = append(b.secrets, string(text))
			return string(text)
		}
	}
}

func (b *box) uuid() string {
	hex := b.secret("", "0123456789abcdef", 32)
	b.secrets = append(b.secrets, hex[:8]+"-"+hex[8:12]+"-"+hex[12:16]+"-"+hex[16:20]+"-"+hex[20:])
	return b.secrets[len(b.secrets)-1]
}

func (b *box) githubToken() string { return b.secret("ghp"+"_", letters, 36) }

// jwt makes a token with these claims, signed by nobody.
func (b *box) jwt(format string, args ...any) string {
	part := base64.RawURLEncoding.EncodeToString
	head := part([]byte(`{"alg":"HS256","typ":"JWT"}`))
	token := head + "." + part(fmt.Appendf(nil, format, args...)) + "." + b.secret("", letters, 43)
	b.secrets = append(b.secrets, token)
	return token
}

// examine looks at the machine, and checks that not eight bytes of any secret come out, in no form.
func (b *box) examine() (Report, string) {
	b.t.Helper()
	report, err := Examine(b.machine)
	if err != nil {
		b.t.Fatal(err)
	}
	var text bytes.Buffer
	report.WriteText(&text)
	encoded, err := json.Marshal(report)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, out := range []string{text.String(), string(encoded), fmt.Sprintf("%+v", report)} {
		b.wantNoSecret(out)
	}
	return report, text.String()
}

func (b *box) wantNoSecret(out string) {
	b.t.Helper()
	for _, secret := range b.secrets {
		for i := 0; i+8 <= len(secret); i++ {
			if strings.Contains(out, secret[i:i+8]) {
				b.t.Errorf("the output holds %q of the secret %q:\n%s", secret[i:i+8], secret, out)
				return
			}
		}
	}
}

// wantNone wants no finding.
func (b *box) wantNone() Report {
	b.t.Helper()
	report, text := b.examine()
	if len(report.Findings) > 0 {
		b.t.Errorf("findings where there is nothing:\n%s", text)
	}
	return report
}

// wantKinds wants findings of exactly these kinds, in any order.
func (b *box) wantKinds(want ...kind) Report {
	b.t.Helper()
	report, text := b.examine()
	var got, names []string
	for _, f := range report.Findings {
		got = append(got, f.Kind)
	}
	for _, k := range want {
		names = append(names, k.name)
	}
	slices.Sort(got)
	slices.Sort(names)
	if !slices.Equal(got, names) {
		b.t.Errorf("found %v, want %v:\n%s", got, names, text)
	}
	return report
}

// wantRemark wants a note or warning with these words.
func wantRemark(t *testing.T, remarks []string, words string) {
	t.Helper()
	if !slices.ContainsFunc(remarks, func(r string) bool { return strings.Contains(r, words) }) {
		t.Errorf("nothing says %q: %q", words, remarks)
	}
}
