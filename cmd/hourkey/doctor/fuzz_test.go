package doctor

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadNetrc(t *testing.T) {
	for text, want := range map[string][]login{
		"machine a login l password p":                           {{"a", "p", 1}},
		"machine a\n\tlogin l\n\tpassword p\nmachine b":          {{"a", "p", 3}, {machine: "b"}},
		"default password p":                                     {{"", "p", 1}},
		`machine a password "p \"q\" \\"` + "\nmachine b":        {{"a", `p "q" \`, 1}, {machine: "b"}},
		"# machine x password y\nmachine a password p # more":    {{"a", "p", 2}},
		"macdef m\nmachine x password y\n\nmachine a password p": {{"a", "p", 4}},
		"machine a account x passwd p":                           {{"a", "p", 1}},
		"machine password password password":                     {{"password", "password", 1}},
		`machine a password "unclosed`:                           {{"a", `"unclosed`, 1}},
		"password p machine":                                     {{}},
		"machine a login password password p":                    {{"a", "p", 1}},
		"":                                                       nil,
	} {
		if diff := cmp.Diff(want, readNetrc([]byte(text)), cmp.AllowUnexported(login{})); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func TestReadDotenv(t *testing.T) {
	for text, want := range map[string]string{
		"A=b":                                "A=b:1",
		" export A = b c  # comment\r\nB=2":  "A=b c:1 B=2:2",
		"#A=b\n# export B=c":                 "A=b:1 B=c:2",
		"A='b # c' # d":                      "A=b # c:1",
		`A="b\"c"`:                           `A=b\"c:1`,
		"A=\"b\nc\nd\" # e\nB=2":             "A=b\nc\nd:1 B=2:4",
		"A=\"b\nB=2\nC=3":                    "A=b:1 B=2:2 C=3:3",
		"A=`b`\nA=":                          "A=b:1 A=:2",
		"1A=b\nA B=c\nA: b\n=x\n==\nA.b-c=d": "A.b-c=d:6",
	} {
		var got []string
		for _, e := range readDotenv([]byte(text)) {
			got = append(got, e.path[0]+"="+e.value+":"+string(rune('0'+e.line)))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestReadJSONAndYAML(t *testing.T) {
	want := []entry{{[]string{"a", "b"}, "1", 2}, {[]string{"a", "b"}, "x", 3}, {[]string{"c", "0"}, "true", 4}, {[]string{"c", "1", "d"}, "y\nz", 5}}
	got, err := readJSON([]byte("{\"a\": {\n\"b\": 1,\n\"b\": \"x\"}, \"e\": {}, \"f\": [],\n\"c\": [true, {\n\"d\": \"y\\nz\"}]}"))
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(entry{})); diff != "" || err != nil {
		t.Error(diff, err)
	}
	got, err = readYAML([]byte("a:\n  b: 1\nx: *no\n"))
	if err == nil {
		t.Errorf("an alias without an anchor: %v", got)
	}
	got, err = readYAML([]byte("a: &a\n  b: 1\nx: *a\nc: [x,\n {d: y}]\n"))
	want = []entry{{[]string{"a", "b"}, "1", 2}, {[]string{"c", "0"}, "x", 4}, {[]string{"c", "1", "d"}, "y", 5}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(entry{})); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for _, broken := range []string{"{", "[", `{"a":`, `{"a":1`, "]", `{"a":1}}`, strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1)} {
		if got, err := readJSON([]byte(broken)); err == nil {
			t.Errorf("%q: %v", broken, got)
		}
	}
}

func FuzzNetrc(f *testing.F) {
	for _, seed := range []string{"machine a login b password c", "machine a password \"b\\\"c", "macdef x\n\n#", "default\npassword", "machine \xff\n\x00password \u202e"} {
		f.Add([]byte(seed))
	}
	fuzzFile(f, ".netrc", (*examination).netrcFile)
}

func FuzzDotenv(f *testing.F) {
	for _, seed := range []string{
		"export A=\"b\nc\"", "DATABASE_URL=postgres://u:p@ss@h:1/d", "#X='", "RAILWAY_TOKEN=3d2c42fb-aaaa-4bbb-8ccc-123456789abc", "A=://:@:", "PGPASSWORD=\xff\x00\u202e12345",
	} {
		f.Add([]byte(seed))
	}
	fuzzFile(f, "x.env", (*examination).dotenv)
}

// FuzzForeignText goes the way of any file of a tree, under each name that has a reader of its own.
func FuzzForeignText(f *testing.F) {
	for _, p := range plants {
		f.Add([]byte(p.content))
	}
	names := []string{"x.txt", "k/kubeconfig", ".npmrc", ".pypirc", ".pgpass", ".git-credentials", ".git/config", ".aws/credentials", ".docker/config.json", ".gitconfig"}
	fuzzFile(f, names[0], func(x *examination, one *file) {
		for _, name := range names {
			one.path = "/tree/" + name
			x.examineNamed(one)
			x.examineText(one)
		}
		x.railwayFile(one)
		x.githubFile(one)
		x.googleFile(one)
		x.awsCached(one)
		x.terraform(one)
		x.kubeconfig(one)
	})
}

// fuzzFile wants that no reader fails, names a line that is not there, or lets a secret out in a word of
// its own.
func fuzzFile(f *testing.F, name string, look func(*examination, *file)) {
	info, err := os.Stat(".")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		x := newExamination(Machine{Home: "/home", Tree: "/tree", Now: noonClock})
		one := &file{path: "/tree/" + name, shown: "/tree/" + name, data: data, info: info, id: fileID{1, 1}}
		look(x, one)
		last := len(lines(data))
		phrases := slices.Concat(x.notes, x.warnings)
		for _, found := range x.findings {
			if line := found.place.line; line < 0 || line > last {
				t.Errorf("line %d of %d", line, last)
			}
			phrases = append(phrases, found.reaches, said("%s", found.place.variable))
		}
		for _, p := range phrases {
			for _, word := range p.words {
				shown := x.clean(word)
				for _, secret := range x.secrets {
					if strings.Contains(shown, secret) && !strings.Contains("[REDACTED]", secret) {
						t.Errorf("%q shows %q", shown, secret)
					}
				}
			}
		}
	})
}
