package doctor

import (
	"fmt"
	"go/parser"
	gotoken "go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func chmod(t *testing.T, path string, mode uint32) {
	t.Helper()
	if err := os.Chmod(path, os.FileMode(mode)); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func TestEmptyMachine(t *testing.T) {
	b := newBox(t)
	report := b.wantNone()
	if len(report.Notes)+len(report.Warnings) > 0 || report.Files != 0 {
		t.Errorf("%+v", report)
	}
	b.machine.Home += "/nowhere"
	b.wantNone()
}

func TestNoMachine(t *testing.T) {
	b := newBox(t)
	for _, m := range []Machine{{Tree: b.machine.Tree}, {Home: "rel", Tree: b.machine.Tree}, {Home: "/", Tree: "/nowhere"}, {Home: "/", Tree: b.tree("file", "")}, {Home: "/", Tree: "."}} {
		if _, err := Examine(m); err == nil {
			t.Errorf("%+v was examined", m)
		}
	}
}

func TestPlaceholdersAndReferencesAreNoCredentials(t *testing.T) {
	b := newBox(t)
	for i, value := range []string{
		"", "changeme", "your-token-here", "<token>", "xxxxxxxxxxxxxxxxxxxxxxxx", "00000000-0000-0000-0000-000000000000", "${RAILWAY_TOKEN}", "$RAILWAY_TOKEN",
		"op://vault/railway/token", "vault:secret/railway#token", "env:TOKEN", "file:secrets/railway-token", "{{ .Token }}", "%RAILWAY_TOKEN%", "ENC[AES256_GCM,data:abc1]",
		"arn:aws:secretsmanager:eu-west-1:1:secret:x", "...", "…", "REDACTED", "hkp_0123456789abcdef", "hkt_8sd7f6sd87f6s8d7", "replace_me_1234567", "$(pass railway)",
	} {
		b.tree(fmt.Sprintf("%d/.env", i), "RAILWAY_TOKEN="+value+"\nPGPASSWORD="+value+"\nexport GITHUB_TOKEN=\""+value+"\"\n")
		b.tree(fmt.Sprintf("%d/x.yml", i), "RAILWAY_API_TOKEN: '"+value+"'\nAuthorization: Bearer "+value+"\n")
		b.home(fmt.Sprintf("%d", i), "")
	}
	b.tree("ci.yml", "env:\n  GITHUB_TOKEN: ${{ secrets.GITHUB_TOKEN }}\n  RAILWAY_TOKEN: ${{ secrets.RAILWAY_TOKEN_123456 }}\n")
	b.tree("main.go", `githubToken := os.Getenv("GITHUB_TOKEN12345")`+"\nrailwayToken = readToken2FromTheFile(1)\nif railwayToken == lookupTheTokenAgain12.value {\n")
	b.tree("tokens.md", "ghp"+"_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ghp"+"_1234567890abcdefghijklmnopqrstuvwxyzAB AKIA"+"IOSFODNN7EXAMPLE AKIA"+"Q3EGTQ7RZ5YVNB2W\n")
	b.tree("urls.md", "postgres://user:password@host:5432/db https://example.com/@x https://git@github.com/x postgres://u:s3cr3tzz@db.example.com/d mailto:a@b.c http://h:80/@y\n")
	b.tree("test.ts", "connect('postgres://app:hunter22@localhost:5432/app_test')\n")
	b.home(".npmrc", "//npm.example/:_authToken=${NPM_TOKEN}\n")
	b.home(".docker/config.json", `{"auths":{"ghcr.io":{}},"credsStore":"secretservice"}`)
	b.home(".netrc", "machine a login b\nmachine c password changeme\n")
	b.env("UUID", "3d2c42fb-1111-4222-8333-abcdefabcdef")
	if report := b.wantNone(); len(report.Warnings) > 0 {
		t.Error(report.Warnings)
	}
}

func TestAnotherUUIDIsNoRailwayToken(t *testing.T) {
	b := newBox(t)
	b.tree("a.txt", "Authorization: Bearer "+b.uuid()+"\n")                      // says nothing of Railway
	b.tree("b.txt", "railway volume "+b.uuid()+"\nRAILWAY_PROJECT_ID="+b.uuid()) // ids
	b.wantNone()
}

// What `hourkey exec` gives to its child is no way around the broker.
func TestHourkeysOwnIsNoFinding(t *testing.T) {
	b := newBox(t)
	b.env("RAILWAY_API_TOKEN", b.secret("hkp"+"_", letters, 40))
	b.env("GITHUB_TOKEN", b.secret("hkp"+"_", letters, 40))
	b.env("HTTPS_PROXY", "http://hourkey:"+password(b)+"@127.0.0.1:41234")
	b.env("RAILWAY_BASE_URL", "http://x:"+password(b)+"@localhost:41234/railway")
	b.env("PGUSER", "hk-3f9k2m1q-01jd7w3k")
	b.env("PGPASSWORD", password(b))
	b.env("DATABASE_URL", "postgres://hk-3f9k2m1q-01jd7w3k:"+password(b)+"@db.shop.io/orders")
	b.env("HOURKEY_TOKEN_GITHUB", b.githubToken())
	b.home(".config/hourkey/hk.shop.io/agent.json", `{"format":1,"seed":"`+base64Secret(b)+`"}`)
	b.tree(".env", "TOKEN="+b.secret("hkt"+"_", letters, 40))
	if report := b.wantNone(); len(report.Notes)+len(report.Warnings) > 0 {
		t.Errorf("%+v", report)
	}
}

// The attack: an agent calls somebody's tokens its lease's, so that doctor does not count them. They are named all the same.
func TestWhatIsCalledALeaseIsNamed(t *testing.T) {
	b := newBox(t)
	b.env("HOURKEY_LEASED", "NOTES GITHUB_TOKEN ADDRESS PLAIN")
	b.env("NOTES", b.githubToken())
	b.env("GITHUB_TOKEN", hex40(b))
	b.env("ADDRESS", "postgres://shop:"+password(b)+"@db.shop.io/orders")
	b.env("PLAIN", "words")
	b.env("GH_TOKEN", b.githubToken())
	if notes := b.wantKinds(githubClassic).Notes; len(notes) != 3 {
		t.Errorf("%q", notes)
	}
}

// An agent writes names that a terminal would obey.
func TestEscapeSequencesInNamesAreNotObeyed(t *testing.T) {
	b := newBox(t)
	b.tree("a\x1b[2K\rok\n0. nothing/\u202egnp.env", "GH_TOKEN="+b.githubToken())
	b.home(".netrc", "machine evil\x1b]0;x\a.net password "+password(b))
	b.home(".aws/credentials", "[p\x1b[31m]\naws_access_key_id=AKIA1\naws_secret_access_key="+aws(b))
	b.home(".kube/config", strings.Replace(kubeconfig("token: "+refreshToken(b)), "- name: admin", "- name: \"\\x1b[0m\\u202e\"", 1))
	b.env("GH_TOKEN\x1b[1A", b.githubToken())
	_, text := b.examine()
	for _, c := range text {
		if c != '\n' && (c < ' ' || c == 0x7f || c == '\u202e') {
			t.Fatalf("%q is in:\n%q", c, text)
		}
	}
	if !strings.Contains(text, `\x1b[2K\rok\n0. nothing/\u202egnp.env":1`) {
		t.Error(text)
	}
}

func TestATokenThatIsANameIsNotShown(t *testing.T) {
	b := newBox(t)
	token, other := b.githubToken(), password(b)
	b.tree(token+"/"+token+".env", "GH_TOKEN="+token)
	b.home(".netrc", "machine "+other+".net password "+other+"\n")
	b.home(".aws/credentials", "["+other+"]\naws_access_key_id=AKIA1\naws_secret_access_key="+aws(b))
	b.home(".kube/config", kubeconfig("token: "+other)+"- name: "+other+"\n  user: {password: "+other+"}\n")
	symlink(t, "loop", filepath.Join(b.machine.Home, ".pypirc"))
	symlink(t, "/etc/passwd", filepath.Join(b.machine.Tree, token+".env"))
	if report, _ := b.examine(); len(report.Findings) < 4 || len(report.Warnings) == 0 {
		t.Errorf("%+v", report)
	}
}

func TestAHostThatIsAPieceOfAPasswordIsNotShown(t *testing.T) {
	b := newBox(t)
	secret := b.secret("", letters, 24)
	b.tree(".env", "A=postgres://u:x@"+"127.0.0.1:"+secret+"/d\nB=postgres://u:p@"+secret+"!x/d\nC=https://u:ab/"+secret+"@git.io/x\nD=redis://:"+secret+"@c.io:1/0\n")
	b.wantKinds(databaseURL)
}

func TestLinksOutOfTheTreeAreNotFollowed(t *testing.T) {
	b := newBox(t)
	outside := b.home("outside/.env", "GH_TOKEN="+b.githubToken())
	symlink(t, outside, filepath.Join(b.machine.Tree, ".env"))
	symlink(t, outside, filepath.Join(b.machine.Tree, "notes.txt"))
	symlink(t, filepath.Dir(outside), filepath.Join(b.machine.Tree, "folder"))
	symlink(t, "../../home/outside", filepath.Join(b.machine.Tree, "relative"))
	wantRemark(t, b.wantNone().Warnings, "shop/.env: a link out of the tree, which was not followed")
}

func TestLoopsOfLinksEnd(t *testing.T) {
	b := newBox(t)
	symlink(t, ".", filepath.Join(b.machine.Tree, "self"))
	symlink(t, "b.env", filepath.Join(b.machine.Tree, "a.env"))
	symlink(t, "a.env", filepath.Join(b.machine.Tree, "b.env"))
	symlink(t, ".netrc", filepath.Join(b.machine.Home, ".netrc"))
	b.tree("x/y/.env", "GH_TOKEN="+b.githubToken())
	report := b.wantKinds(githubClassic)
	wantRemark(t, report.Warnings, "~/.netrc: cannot be opened: too many levels of symbolic links")
}

// A named pipe would wait for a writer for ever, a folder cannot be read.
func TestWhatIsNoFileIsNotWaitedFor(t *testing.T) {
	b := newBox(t)
	for _, path := range []string{b.machine.Home + "/.netrc", b.machine.Tree + "/.env"} {
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.home(".pgpass/x", "")
	b.home(".aws", "a file where a folder belongs")
	report := b.wantNone()
	wantRemark(t, report.Warnings, "~/.netrc: cannot be read: it is not a regular file")
	wantRemark(t, report.Warnings, "~/.pgpass: cannot be read: it is not a regular file")
}

func TestHugeAndBinaryFiles(t *testing.T) {
	b := newBox(t)
	token := b.githubToken()
	b.tree("huge.txt", token+strings.Repeat("x\n", maxTreeFile))
	b.tree("huge.env", "GH_TOKEN="+token+strings.Repeat("\nx", maxTreeFile))
	b.tree("image.png", "\x89PNG\x00"+token)
	b.home(".bash_history", "curl "+token+"\n"+strings.Repeat("ls\n", maxHomeFile))
	report := b.wantKinds(githubClassic) // of the history's beginning
	wantRemark(t, report.Warnings, "2 files larger than 1 MB were not looked at")
	wantRemark(t, report.Warnings, "~/.bash_history: only its first 4 MB were looked at")
}

func TestATreeFullOfTokensDoesNotFloodTheReport(t *testing.T) {
	b := newBox(t)
	var file strings.Builder
	for range 5000 {
		file.WriteString("K=" + b.githubToken() + "\n")
	}
	b.secrets = b.secrets[:100] // checking all of them takes long
	for i := range 120 {
		b.tree(fmt.Sprintf("%03d.env", i), file.String())
	}
	report, _ := b.examine()
	if len(report.Findings) != maxFindings || len(report.Warnings) > maxRemarks+1 {
		t.Errorf("%d findings, %d warnings", len(report.Findings), len(report.Warnings))
	}
	wantRemark(t, report.Warnings, "000.env: has more findings than the 10 that are listed")
	wantRemark(t, report.Warnings, "more like these")
}

func TestATreeOfManyFilesIsBoundedWithEnvironmentFilesFirst(t *testing.T) {
	b := newBox(t)
	folder := filepath.Join(b.machine.Tree, "a")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range maxTreeFiles {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.tree("zz/.env", "GH_TOKEN="+b.githubToken())
	b.tree("zz/late.txt", b.githubToken())
	report := b.wantKinds(githubClassic)
	wantRemark(t, report.Warnings, "2 files were not looked at, beyond the first 20000")
}

func TestFoldersOfOthersAreSkipped(t *testing.T) {
	b := newBox(t)
	for _, folder := range []string{"node_modules/x", "api/vendor/y", ".venv/lib", ".git/objects", ".git/logs", "sub/.git/hooks"} {
		b.tree(folder+"/.env", "GH_TOKEN="+b.githubToken())
		b.tree(folder+"/config", b.githubToken())
	}
	b.tree(".git/COMMIT_EDITMSG", b.githubToken())
	b.wantNone()
}

func TestMalformedFilesAreWarningsAndTheirTokensAreFound(t *testing.T) {
	for path, as := range map[string]string{
		".railway/config.json": "the configuration of the Railway CLI", ".config/gh/hosts.yml": "the hosts of the GitHub CLI", ".kube/config": "a kubeconfig",
		".docker/config.json": "the configuration of Docker", ".terraform.d/credentials.tfrc.json": "Terraform's credentials",
		".azure/msal_token_cache.json": "a login of the Azure CLI", ".config/gcloud/application_default_credentials.json": "credentials of Google Cloud",
		".aws/sso/cache/x.json": "a cached login of the AWS tools",
	} {
		for _, broken := range []string{"{\"a\": [§", "a: [§\n  }: \t\"", "\t- {§", "{\"user\": {\"token\": \"§\"}"} {
			t.Run(path+" "+broken, func(t *testing.T) {
				b := newBox(t)
				b.home(path, strings.ReplaceAll(broken, "§", " "+b.githubToken()+" "))
				report, _ := b.examine()
				if strings.HasSuffix(path, ".yml") || strings.HasSuffix(path, "/config") {
					if len(report.Warnings) == 0 { // YAML takes more than JSON does
						return
					}
				}
				wantRemark(t, report.Warnings, "could not be read as "+as)
				if len(report.Findings) != 1 {
					t.Errorf("%+v", report)
				}
			})
		}
	}
}

func TestBombsOfNestingAndAliasesEnd(t *testing.T) {
	b := newBox(t)
	b.home(".railway/config.json", strings.Repeat(`{"user":`, 200_000))
	b.home(".docker/config.json", strings.Repeat("[", 300_000))
	b.home(".config/gh/hosts.yml", strings.Repeat("{a: ", 5000))
	bomb := "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
	for i := range 30 {
		bomb += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 9), ","))
	}
	b.home(".kube/config", bomb)
	b.home(".netrc", strings.Repeat("machine ", 400_000))
	b.tree(".env", strings.Repeat("A=\"\n", 200_000))
	b.tree("long.js", strings.Repeat("token=ghp"+"_", 80_000))
	b.tree("urls", strings.Repeat("://@", 200_000))
	b.tree("jwt", strings.Repeat("eyJ.", 200_000))
	b.tree("ghs", strings.Repeat("ghs"+"_aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5 ", 20_000))
	b.tree("signs", strings.Repeat(strings.Repeat("token)=:", 1000)+"\n", 120))
	b.tree("signs2", strings.Repeat(strings.Repeat("= ", 4000)+"\n", 120))
	b.tree("urls2", strings.Repeat(strings.Repeat("redis://:@", 800)+"\n", 120))
	b.tree("keys", strings.Repeat("AKIA"+"Q3EGTQ7RZ5YVNB2W ", 45_000))
	b.tree("local.env", strings.Repeat("token_railway A=postgres://u:s3cretpassword@h/d\nA=postgres://u:s3cretpassword@h/d\n", 10_000))
	start := time.Now()
	b.wantNone()
	if spent := time.Since(start); spent > time.Minute {
		t.Errorf("it took %v", spent)
	}
}

// Doctor promises to ask nobody and to run nothing: it has not the means.
func TestNothingThatCallsOutIsImported(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(gotoken.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imported := range parsed.Imports {
			if slices.Contains([]string{`"os/exec"`, `"net/http"`, `"plugin"`, `"net/rpc"`, `"golang.org/x/sys/unix"`}, imported.Path.Value) {
				t.Errorf("%s imports %s", name, imported.Path.Value)
			}
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range []string{"net.Dial", "net.Lookup", "net.Resolve", "os.StartProcess", "syscall.Exec", "os.WriteFile", "os.Create", "os.Remove", "os.Getenv", "os.Environ", "time.Now"} {
			if strings.Contains(string(text), call+"(") {
				t.Errorf("%s calls %s", name, call)
			}
		}
	}
}

func TestTreeIsTheGitCheckoutAround(t *testing.T) {
	b := newBox(t)
	b.tree(".git/config", "")
	b.tree("a/b/x", "")
	if got := TreeOf(filepath.Join(b.machine.Tree, "a", "b")); got != b.machine.Tree {
		t.Error(got)
	}
	if got := TreeOf(b.machine.Home); got != b.machine.Home {
		t.Error(got)
	}
}
