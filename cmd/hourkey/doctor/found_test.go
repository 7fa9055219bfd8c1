package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// plants are credentials as tools and people leave them, one for each place and kind. "§" stands for the
// secret that secret makes.
var plants = []struct {
	name    string
	place   string // "~/path", "./path" in the tree, or "NAME" of a variable
	secret  func(*box) string
	content string
	kind    kind
	where   string // how the place is told; TREE stands for the tree
	reaches string
}{
	{"Railway CLI, old", "~/.railway/config.json", (*box).uuid, "{\n \"projects\": {\"/w\": {\"project\": \"p1\", \"name\": \"shop\", \"environmentName\": \"production\"}},\n \"user\": {\"token\": \"§\"}\n}", railwayLogin, "~/.railway/config.json:3", "linked on this machine: shop (production)"},
	{"Railway CLI, OAuth", "~/.railway/config.json", refreshToken, `{"projects":{},"user":{"token":null,"accessToken":"§","refreshToken":"§","tokenExpiresAt":1700000000}}`, railwayLogin, "~/.railway/config.json:1", "every workspace and project"},
	{"Railway account token", "RAILWAY_API_TOKEN", (*box).uuid, "§", railwayAccountToken, "environment RAILWAY_API_TOKEN", "delete included"},
	{"Railway project token", "RAILWAY_TOKEN", (*box).uuid, "§", railwayProjectToken, "environment RAILWAY_TOKEN", "one environment of one project"},
	{"the incident: in an unrelated script", "./tools/domains.sh", (*box).uuid, "#!/bin/sh\ncurl https://backboard.railway.app/graphql/v2 -H \"Authorization: Bearer §\" -d @q", railwayAccountToken, "TREE/tools/domains.sh:2", "every workspace"},
	{"the incident: in notes", "./docs/notes.md", (*box).uuid, "domains:\n\n    export RAILWAY_API_TOKEN=§\n", railwayAccountToken, "TREE/docs/notes.md:3 (RAILWAY_API_TOKEN)", "every workspace"},
	{"token header of a project", "./api.http", (*box).uuid, "POST https://backboard.railway.com\nProject-Access-Token: §\n", railwayProjectToken, "TREE/api.http:2 (Project-Access-Token)", "one environment"},
	{"a file that is a token", "./ops/railway-token.txt", (*box).uuid, "§\n", railwayToken, "TREE/ops/railway-token.txt:1", "cannot be told"},
	{"camel case in JSON", "./app.json", (*box).uuid, `{"deploy": {"railwayToken": "§"}}`, railwayToken, "TREE/app.json:1 (railwayToken)", ""},
	{"prefixed name", "./main.tfvars", (*box).uuid, `prod_railway_token = "§"`, railwayToken, "TREE/main.tfvars:1 (prod_railway_token)", ""},

	{"gh", "~/.config/gh/hosts.yml", (*box).githubToken, "github.com:\n    users:\n        mona:\n            oauth_token: §\n    user: mona\n    oauth_token: §\n", githubLogin, "~/.config/gh/hosts.yml:6", "at github.com"},
	{"gh of several users", "~/.config/gh/hosts.yml", (*box).githubToken, "git.corp.net:\n    users:\n        mona:\n            oauth_token: §\n", githubLogin, "~/.config/gh/hosts.yml:4", "at git.corp.net"},
	{"gh with a keyring", "~/.config/gh/hosts.yml", nil, "github.com:\n    users:\n        mona:\n    git_protocol: https\n    user: mona\n", githubKeyring, "~/.config/gh/hosts.yml:5", "as mona"},
	{"GITHUB_TOKEN", "GITHUB_TOKEN", (*box).githubToken, "§", githubClassic, "environment GITHUB_TOKEN", "force-pushes and deletes"},
	{"GH_TOKEN, old form", "GH_TOKEN", hex40, "§", githubToken, "environment GH_TOKEN", ""},
	{"GH_ENTERPRISE_TOKEN", "GH_ENTERPRISE_TOKEN", hex40, "§", githubToken, "environment GH_ENTERPRISE_TOKEN", ""},
	{"fine-grained", "./deploy.yml", fineGrained, "env:\n  TOKEN: §\n", githubFineGrained, "TREE/deploy.yml:2", "permissions chosen"},
	{"OAuth token in text", "./log.txt", oauth, "sent §, got 200", githubOAuth, "TREE/log.txt:1", ""},
	{"in the settings of an agent", "~/.cursor/mcp.json", (*box).githubToken, `{"mcpServers":{"github":{"env":{"GITHUB_PERSONAL_ACCESS_TOKEN":"§"}}}}`, githubClassic, "~/.cursor/mcp.json:1", ""},
	{"in a history", "~/.bash_history", (*box).githubToken, "ls\ncurl -H 'Authorization: token §' https://api.github.com\n", githubClassic, "~/.bash_history:2", ""},
	{"in a shell's start-up file", "~/.zshrc", (*box).uuid, "# tools\nexport RAILWAY_API_TOKEN='§' # mine\n", railwayAccountToken, "~/.zshrc:2 (RAILWAY_API_TOKEN)", ""},

	{"Supabase CLI", "~/.supabase/access-token", supabase, "§", supabaseAccessToken, "~/.supabase/access-token:1", "delete of projects"},
	{"SUPABASE_ACCESS_TOKEN", "SUPABASE_ACCESS_TOKEN", supabase, "§", supabaseAccessToken, "environment SUPABASE_ACCESS_TOKEN", ""},
	{"SUPABASE_DB_PASSWORD", "./.env", password, "SUPABASE_DB_PASSWORD=\"§\"\n", supabaseDatabase, "TREE/.env:1 (SUPABASE_DB_PASSWORD)", ""},
	{"service role under another name", "./.env.local", serviceRole, "URL=https://x.supabase.co\nADMIN=§\n", supabaseServiceRole, "TREE/.env.local:2 (ADMIN)", "project abcdefghij"},
	{"service role in code", "./src/db.ts", serviceRole, "const c = createClient(url, '§')", supabaseServiceRole, "TREE/src/db.ts:1", "row level security"},
	{"Supabase secret key", "./.env", func(b *box) string { return b.secret("sb_"+"secret_", letters, 31) }, "K=§", supabaseSecretKey, "TREE/.env:1 (K)", ""},

	{"AWS static key", "~/.aws/credentials", aws, "[default]\naws_access_key_id = AKIA" + "Q3EGTQ7RZ5YVNB2W\naws_secret_access_key = §\n", awsAccessKey, "~/.aws/credentials:3", "profile default"},
	{"AWS static key in config", "~/.aws/config", aws, "[profile prod]\naws_access_key_id=AKIA" + "Q3EGTQ7RZ5YVNB2W\naws_secret_access_key=§\n[profile boss]\nrole_arn = arn:aws:iam::1:role/boss\nsource_profile = prod\n", awsAccessKey, "~/.aws/config:3", "the way into arn:aws:iam::1:role/boss"},
	{"key for another service", "~/.aws/credentials", aws, "[r2]\naws_access_key_id = 7c1d\naws_secret_access_key = §\n", awsOtherKey, "~/.aws/credentials:3", "profile r2"},
	{"AWS_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", aws, "§", awsAccessKey, "environment AWS_SECRET_ACCESS_KEY", ""},
	{"AWS pair in a text", "./backup.py", aws, "s3 = connect('AKIA" + "Q3EGTQ7RZ5YVNB2W',\n  '§')\n", awsAccessKey, "TREE/backup.py:2", ""},

	{"kubeconfig, token", "~/.kube/config", func(b *box) string { return b.secret("", letters, 60) }, kubeconfig("token: §"), kubernetesUser, "~/.kube/config:19", "cluster prod (https://k8s.prod.internal:6443) as admin"},
	{"kubeconfig, key", "~/.kube/config", base64Secret, kubeconfig("client-key-data: §"), kubernetesUser, "~/.kube/config:19", "a client certificate"},
	{"kubeconfig, key in a file", "~/.kube/config", nil, kubeconfig("client-key: /etc/k.pem"), kubernetesUser, "~/.kube/config:19", "a client certificate"},
	{"kubeconfig, password", "~/.kube/config", password, kubeconfig("password: §"), kubernetesUser, "~/.kube/config:19", "a password"},
	{"kubeconfig, login", "~/.kube/config", refreshToken, kubeconfig("auth-provider: {name: oidc, config: {refresh-token: §}}"), kubernetesUser, "~/.kube/config:19", "a token of a login"},
	{"kubeconfig in the tree", "./deploy/prod.yaml", password, kubeconfig("token: §"), kubernetesUser, "TREE/deploy/prod.yaml:19", "cluster prod"},

	{"another kubeconfig", "~/.kube/production.yml.bak", password, kubeconfig("token: §"), kubernetesUser, "~/.kube/production.yml.bak:19", "cluster prod"},
	{"KUBE_TOKEN", "KUBE_TOKEN", func(b *box) string { return b.jwt(`{"sub":"system:serviceaccount:a:b"}`) }, "§", kubernetesUser, "environment KUBE_TOKEN", ""},
	{"KUBE_TOKEN of a year", "./.env", func(b *box) string { return b.jwt(`{"exp":%d}`, noon.AddDate(1, 0, 0).Unix()) }, "HELM_KUBETOKEN=§", kubernetesUser, "TREE/.env:1 (HELM_KUBETOKEN)", ""},
	{"AppRole", "./.env", (*box).uuid, "VAULT_ROLE_ID=x\nVAULT_SECRET_ID=§", vaultAppRole, "TREE/.env:2 (VAULT_SECRET_ID)", "whatever tokens of the role"},
	{"mc", "~/.mc/config.json", aws, "{\"version\": \"10\", \"aliases\": {\n\"play\": {\"url\": \"https://play.min.io\", \"secretKey\": \"zuf+tfteSlswRu7BJ86wekitnifILbZam1KYdZG1\"},\n\"prod\": {\"url\": \"https://minio.corp.net\", \"accessKey\": \"me\", \"secretKey\": \"§\"}}}", awsOtherKey, "~/.mc/config.json:3", "alias prod"},
	{"s3cmd", "~/.s3cfg", aws, "[default]\naccess_key = me\nsecret_key = §\n", awsOtherKey, "~/.s3cfg:3", "section default"},
	{"rclone", "~/.config/rclone/rclone.conf", aws, "[backups]\ntype = s3\nsecret_access_key = §\n", awsOtherKey, "~/.config/rclone/rclone.conf:3", "section backups"},

	{"netrc", "~/.netrc", password, "machine ftp.corp.net login me password §\n", netrcLogin, "~/.netrc:1", "ftp.corp.net"},
	{"netrc over lines", "~/.netrc", password, "# mine\nmachine github.com\n  login me\n  password §\n", gitPassword, "~/.netrc:4", "github.com"},
	{"netrc default", "~/.netrc", password, "default login me password \"§\"\n", netrcLogin, "~/.netrc:1", "every host without an entry"},
	{"git store", "~/.git-credentials", (*box).githubToken, "https://mona:§@github.com\n", githubClassic, "~/.git-credentials:1", ""},
	{"git store in XDG", "~/.config/git/credentials", password, "https://mona:§@git.corp.net\n", gitPassword, "~/.config/git/credentials:1", "git.corp.net"},
	{"remote with a password", "./.git/config", password, "[remote \"origin\"]\n\turl = https://ci:§@gitlab.com/shop/shop.git\n", gitPassword, "TREE/.git/config:2", "gitlab.com"},
	{"remote with a token as user", "./.git/modules/lib/config", (*box).githubToken, "[remote \"origin\"]\n\turl = https://§@github.com/shop/lib\n", githubClassic, "TREE/.git/modules/lib/config:2", ""},
	{"header left by CI", "./.git/config", base64Secret, "[http \"https://github.com/\"]\n\textraheader = AUTHORIZATION: basic §\n", gitPassword, "TREE/.git/config:2", "github.com"},

	{"database URL", "./.env.production", password, "DATABASE_URL=postgres://shop:§@db.shop.io:5432/orders?sslmode=require\n", databaseURL, "TREE/.env.production:1 (DATABASE_URL)", "the database orders at db.shop.io:5432 (postgres) as shop"},
	{"unescaped password", "./.env", func(b *box) string { return b.secret("p@/#", letters, 12) }, "DB=mysql://root:§@db.shop.io/shop\n", databaseURL, "TREE/.env:1 (DB)", "the database shop at db.shop.io (mysql) as root"},
	{"dialect", "./settings.py", password, "URI = 'postgresql+asyncpg://shop:§@10.0.0.7/orders'\n", databaseURL, "TREE/settings.py:1", "(postgresql)"},
	{"commented out", "./.env", password, "# DATABASE_URL=postgres://shop:§@db.shop.io/orders\n", databaseURL, "TREE/.env:1 (DATABASE_URL)", ""},
	{"PGPASSWORD", "PGPASSWORD", password, "§", databasePassword, "environment PGPASSWORD", ""},
	{"pgpass", "~/.pgpass", func(b *box) string { return b.secret("", letters, 14) }, "db.shop.io:5432:orders:shop:§\n", databasePassword, "~/.pgpass:1", "the database orders at db.shop.io:5432 as shop"},

	{"npm", "~/.npmrc", func(b *box) string { return b.secret("npm"+"_", letters, 36) }, "//npm.example/:_authToken=§\n", npmToken, "~/.npmrc:1", "npm.example"},
	{"PyPI", "~/.pypirc", func(b *box) string { return b.secret("pypi-"+"AgE", letters, 80) }, "[pypi]\nusername = __token__\npassword = §\n", pypiToken, "~/.pypirc:3", "pypi:"},
	{"Docker", "~/.docker/config.json", dockerAuth, `{"auths":{"ghcr.io":{"auth":"§"}}}`, dockerLogin, "~/.docker/config.json:1", "ghcr.io"},
	{"Vault", "~/.vault-token", func(b *box) string { return b.secret("hvs"+".", letters, 30) }, "§", vaultToken, "~/.vault-token:1", ""},
	{"Terraform", "~/.terraform.d/credentials.tfrc.json", refreshToken, `{"credentials":{"app.terraform.io":{"token":"§"}}}`, terraformToken, "~/.terraform.d/credentials.tfrc.json:1", "app.terraform.io"},
	{"gcloud", "~/.config/gcloud/application_default_credentials.json", refreshToken, `{"client_id":"i","type":"authorized_user","refresh_token":"§"}`, googleUser, "~/.config/gcloud/application_default_credentials.json:1", "every project"},
	{"gcloud accounts", "~/.config/gcloud/legacy_credentials/me@shop.io/adc.json", refreshToken, `{"refresh_token":"§"}`, googleUser, "~/.config/gcloud/legacy_credentials/me@shop.io/adc.json:1", "as me@shop.io"},
	{"service account in the tree", "./infra/key.json", base64Secret, "{\"type\": \"service_account\",\n\"private_key\": \"-----BEGIN PRIVATE KEY-----\\n§\\n-----END PRIVATE KEY-----\\n\",\n\"client_email\": \"deploy@shop.iam\"}", googleService, "TREE/infra/key.json:2", "as deploy@shop.iam"},
	{"Azure", "~/.azure/msal_token_cache.json", refreshToken, `{"RefreshToken":{"k":{"secret":"§"}}}`, azureLogin, "~/.azure/msal_token_cache.json:1", "every subscription"},
	{"GitLab", "./x.txt", func(b *box) string { return b.secret("glpat"+"-", letters, 20) }, "§", gitlabToken, "TREE/x.txt:1", ""},
	{"Stripe", "./.env", func(b *box) string { return b.secret("sk_"+"live_", letters, 24) }, "STRIPE=§", stripeKey, "TREE/.env:1 (STRIPE)", ""},
	{"Slack", "./.env", func(b *box) string { return b.secret("xoxb"+"-", digits, 24) }, "BOT=§", slackToken, "TREE/.env:1 (BOT)", ""},
	{"hosting", "HCLOUD_TOKEN", refreshToken, "§", hostingToken, "environment HCLOUD_TOKEN", ""},
	{"proxy", "HTTPS_PROXY", password, "http://me:§@proxy.corp.net:3128", urlPassword, "environment HTTPS_PROXY", "proxy.corp.net:3128"},
	{"SSH key", "~/.ssh/id_ed25519", base64Secret, "-----BEGIN PRIVATE KEY-----\n§\n-----END PRIVATE KEY-----\n", sshKey, "~/.ssh/id_ed25519", "git host"},
}

func hex40(b *box) string        { return b.secret("", "abcdef"+digits, 40) }
func password(b *box) string     { return b.secret("", letters+"-_!", 17) }
func refreshToken(b *box) string { return b.secret("", letters+"_-", 43) }
func fineGrained(b *box) string  { return b.secret("github"+"_pat_", letters, 82) }
func oauth(b *box) string        { return b.secret("gho"+"_", letters, 36) }
func supabase(b *box) string     { return b.secret("sbp"+"_", "abcdef"+digits, 40) }

func aws(b *box) string {
	for {
		if secret := b.secret("", letters+"/+", 40); isAWSSecret(secret) {
			return secret
		}
	}
}

func serviceRole(b *box) string {
	return b.jwt(`{"iss":"supabase","ref":"abcdefghij","role":"service_role","exp":%d}`, noon.AddDate(8, 0, 0).Unix())
}

func base64Secret(b *box) string {
	text := base64.StdEncoding.EncodeToString([]byte(b.secret("", letters, 90)))
	b.secrets = append(b.secrets, text)
	return text
}

func dockerAuth(b *box) string {
	text := base64.StdEncoding.EncodeToString([]byte("mona:" + b.secret("", letters, 20)))
	b.secrets = append(b.secrets, text)
	return text
}

// kubeconfig makes one whose user has this, on line 19.
func kubeconfig(user string) string {
	return `apiVersion: v1
kind: Config
current-context: prod
clusters:
- name: prod
  cluster:
    server: https://k8s.prod.internal:6443
- name: kind
  cluster:
    server: https://127.0.0.1:41000
contexts:
- name: prod
  context:
    cluster: prod
    user: admin
users:
- name: admin
  user:
    ` + user + "\n"
}

func TestPlantedSecretsOfEachKindAreFoundAndNotEightBytesOfThemShown(t *testing.T) {
	for _, p := range plants {
		t.Run(p.name, func(t *testing.T) {
			b := newBox(t)
			content := p.content
			if p.secret != nil {
				content = strings.ReplaceAll(content, "§", p.secret(b))
			}
			switch {
			case strings.HasPrefix(p.place, "~/"):
				b.home(p.place[2:], content)
			case strings.HasPrefix(p.place, "./"):
				b.tree(p.place[2:], content)
			default:
				b.env(p.place, content)
			}
			report := b.wantKinds(p.kind)
			if t.Failed() {
				return
			}
			f := report.Findings[0]
			if want := strings.ReplaceAll(p.where, "TREE", b.machine.Tree); f.Where() != want {
				t.Errorf("it lies at %q, want %q", f.Where(), want)
			}
			if !strings.Contains(f.Reaches, p.reaches) || f.Reaches == "" {
				t.Errorf("it reaches %q, want %q in it", f.Reaches, p.reaches)
			}
			if len(f.Move.Steps) == 0 || f.Extent == "" || f.Title == "" || (f.File == "") != (f.Since == nil) {
				t.Errorf("something is missing: %+v", f)
			}
		})
	}
}

func TestEverythingAtOnceIsSortedByWhatItCanDestroy(t *testing.T) {
	b := newBox(t)
	b.home(".netrc", "machine ftp.corp.net login me password "+password(b))
	b.tree(".env", "DATABASE_URL=postgres://u:"+password(b)+"@db.shop.io/d\nRAILWAY_API_TOKEN="+b.uuid()+"\n")
	b.home(".npmrc", "//r.io/:_authToken="+refreshToken(b))
	b.env("GITHUB_TOKEN", b.githubToken())
	report, text := b.examine()
	var got []string
	for _, f := range report.Findings {
		got = append(got, string(f.Extent)+" "+f.Provider)
	}
	if want := "account github, account railway, system database, code npm, unknown netrc"; strings.Join(got, ", ") != want {
		t.Errorf("%q, want %q", got, want)
	}
	if !strings.Contains(text, "5 standing credentials around the broker (account 2, system 1, code 1, unknown 1), in the environment, "+b.machine.Home+" and "+b.machine.Tree+" (3 files).\n") {
		t.Error(text)
	}
	if again, _ := b.examine(); fmt.Sprint(again) != fmt.Sprint(report) {
		t.Error("looking twice tells two things")
	}
}

func TestEverySecretOfAFileIsListedThoughTheyAreTheSame(t *testing.T) {
	b := newBox(t)
	secret := password(b)
	b.tree(".env", "STAGING=postgres://u:"+secret+"@s.shop.io/d\nPRODUCTION=postgres://u:"+secret+"@p.shop.io/d\n")
	b.wantKinds(databaseURL, databaseURL)
}

func TestAFileBothInTheHomeAndInTheTreeIsReportedOnce(t *testing.T) {
	b := newBox(t)
	b.home(".npmrc", "//r.io/:_authToken="+refreshToken(b))
	b.home(".aws/credentials", "[default]\naws_access_key_id = AKIA"+"Q3EGTQ7RZ5YVNB2W\naws_secret_access_key = "+aws(b))
	b.home(".kube/config", kubeconfig("token: "+refreshToken(b)))
	b.home(".git-credentials", "https://mona:"+b.githubToken()+"@github.com")
	b.machine.Tree = b.machine.Home
	b.wantKinds(npmToken, awsAccessKey, kubernetesUser, githubClassic)
}

func TestPrivateKeysUnderAPassphraseAreNotReported(t *testing.T) {
	b := newBox(t)
	openssh := append([]byte("openssh-key-v1\x00"), 0, 0, 0, 10)
	openssh = append(openssh, "aes256-ctr..."...)
	for i, block := range []pem.Block{
		{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")},
		{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: []byte("x")},
		{Type: "OPENSSH PRIVATE KEY", Bytes: openssh},
		{Type: "OPENSSH PRIVATE KEY", Bytes: []byte("openssh-key-v1\x00\xff\xff\xff\xff")},
	} {
		b.home(fmt.Sprintf(".ssh/id_%d", i), string(pem.EncodeToMemory(&block)))
	}
	b.home(".ssh/id.pub", "ssh-ed25519 AAAA me")
	b.wantNone()
	b.home(".ssh/id_plain", string(pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: append([]byte("openssh-key-v1\x00\x00\x00\x00\x04"), "none..."...)})))
	b.wantKinds(sshKey)
}

func TestWhatEndsByItselfIsNotedAndWhatIsOverIsNot(t *testing.T) {
	soon, past := noon.Add(time.Hour).Format(time.RFC3339), noon.Add(-time.Hour).Format(time.RFC3339)
	for name, c := range map[string]struct {
		put  func(b *box)
		note string // "" for none
	}{
		"AWS session": {func(b *box) {
			b.home(".aws/credentials", "[s]\naws_access_key_id=ASIA1\naws_secret_access_key="+aws(b))
		}, "profile s has a temporary AWS key"},
		"AWS cache":           {func(b *box) { b.home(".aws/cli/cache/a.json", `{"Credentials":{"Expiration":"`+soon+`"}}`) }, "until 2026-11-22 13:00 UTC"},
		"AWS cache, over":     {func(b *box) { b.home(".aws/sso/cache/a.json", `{"accessToken":"x","expiresAt":"`+past+`"}`) }, ""},
		"AWS SSO, old format": {func(b *box) { b.home(".aws/sso/cache/a.json", `{"expiresAt":"2026-11-22T13:00:00UTC"}`) }, "until 2026-11-22 13:00 UTC"},
		"AWS in the environment": {func(b *box) {
			b.env("AWS_ACCESS_KEY_ID", "ASIA1")
			b.env("AWS_SECRET_ACCESS_KEY", aws(b))
			b.env("AWS_SESSION_TOKEN", refreshToken(b))
		}, "environment AWS_SECRET_ACCESS_KEY"},
		"Railway access token": {func(b *box) {
			b.home(".railway/config.json", fmt.Sprintf(`{"user":{"accessToken":"%s","tokenExpiresAt":%d}}`, refreshToken(b), noon.Add(time.Hour).Unix()))
		}, "an access token of Railway, until"},
		"Railway access token, over": {func(b *box) {
			b.home(".railway/config.json", `{"user":{"accessToken":"`+refreshToken(b)+`","tokenExpiresAt":1700000000}}`)
		}, ""},
		"installation token": {func(b *box) { b.env("GITHUB_TOKEN", b.secret("ghs"+"_", letters, 36)) }, "environment GITHUB_TOKEN: a token that ends by itself"},
		"Kubernetes token": {func(b *box) {
			b.home(".kube/config", kubeconfig("token: "+b.jwt(`{"exp":%d}`, noon.Add(time.Hour).Unix())))
		}, "the Kubernetes user admin has a token until"},
		"AWS access portal": {func(b *box) {
			b.home(".aws/sso/cache/a.json", `{"accessToken":"`+refreshToken(b)+`","expiresAt":"2026-11-22T11:00:00Z","refreshToken":"`+refreshToken(b)+`"}`)
		}, "a login at the access portal of AWS, which renews itself"},
		"KUBE_TOKEN of an hour": {func(b *box) {
			b.env("KUBE_TOKEN", b.jwt(`{"exp":%d}`, noon.Add(time.Hour).Unix()))
		}, "environment KUBE_TOKEN: a token that ends by itself (Kubernetes user), at"},
		"KUBE_TOKEN, over": {func(b *box) { b.env("KUBE_TOKEN", b.jwt(`{"exp":%d}`, noon.Add(-time.Hour).Unix())) }, ""},
		"Vault's token of a lease": {func(b *box) {
			b.env("HOURKEY_LEASED", "VAULT_ADDR VAULT_TOKEN")
			b.env("VAULT_ADDR", "https://vault.corp.net")
			b.env("VAULT_TOKEN", b.secret("hvs"+".", letters, 30))
			b.env("AWS_CONFIG_FILE", "/dev/null")
		}, "environment VAULT_TOKEN: of the lease that hourkey exec runs this with"},
		"Kubernetes token, over": {func(b *box) {
			b.home(".kube/config", kubeconfig("token: "+b.jwt(`{"exp":%d}`, noon.Add(-time.Hour).Unix())))
		}, ""},
		"Kubernetes certificate, over": {func(b *box) { b.home(".kube/config", kubeconfig(certificate(t, noon.Add(-time.Hour)))) }, ""},
		"service role, over":           {func(b *box) { b.env("X", b.jwt(`{"role":"service_role","exp":1700000000}`)) }, ""},
		"exec plugin":                  {func(b *box) { b.home(".kube/config", kubeconfig("exec: {command: aws, args: [eks, get-token]}")) }, ""},
		"AWS SSO profile":              {func(b *box) { b.home(".aws/config", "[profile s]\nsso_session = corp\ncredential_process = /bin/x\n") }, ""},
		"database on this machine":     {func(b *box) { b.tree(".env", "DATABASE_URL=postgres://app:"+password(b)+"@localhost:5433/orders") }, "unless it is a tunnel: the database orders at localhost:5433"},
		"pgpass for this machine":      {func(b *box) { b.home(".pgpass", "localhost:*:orders:app:"+password(b)) }, "unless it is a tunnel"},
		"cluster on this machine": {func(b *box) {
			b.home(".kube/config", strings.Replace(kubeconfig("token: "+password(b)), "cluster: prod\n", "cluster: kind\n", 1))
		}, "cluster kind (https://127.0.0.1:41000)"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			c.put(b)
			report := b.wantNone()
			if c.note == "" && len(report.Notes)+len(report.Warnings) > 0 {
				t.Errorf("notes %q, warnings %q", report.Notes, report.Warnings)
			}
			if c.note != "" {
				wantRemark(t, report.Notes, c.note)
			}
		})
	}
}

// certificate makes the two fields of a kubeconfig for one that ends then.
func certificate(t *testing.T, end time.Time) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.AddDate(-1, 0, 0), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return "client-certificate-data: " + text + "\n    client-key-data: LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0t"
}

func TestACertificateOfYearsIsReportedWithItsEnd(t *testing.T) {
	b := newBox(t)
	b.home(".kube/config", kubeconfig(certificate(t, noon.AddDate(2, 0, 0))))
	if f := b.wantKinds(kubernetesUser).Findings[0]; !strings.Contains(f.Reaches, "until 2028-11-22") {
		t.Error(f.Reaches)
	}
}

func TestPlacesThatVariablesNameAreLookedAt(t *testing.T) {
	b := newBox(t)
	for name, path := range map[string]string{
		"KUBECONFIG":                     b.home("k8s", kubeconfig("token: "+refreshToken(b))) + ":" + b.home("k8s2", kubeconfig("token: "+refreshToken(b))) + ":relative",
		"NETRC":                          b.home("n", "machine a.io password "+password(b)),
		"AWS_SHARED_CREDENTIALS_FILE":    b.home("a", "[x]\naws_access_key_id=AKIA1\naws_secret_access_key="+aws(b)),
		"GH_CONFIG_DIR":                  b.machine.Home + "/ghx",
		"XDG_CONFIG_HOME":                b.machine.Home + "/xdg",
		"DOCKER_CONFIG":                  b.machine.Home + "/dock",
		"PGPASSFILE":                     b.home("pp", "db.io:5432:d:u:"+password(b)),
		"NPM_CONFIG_USERCONFIG":          b.home("npm", "//r.io/:_authToken="+refreshToken(b)),
		"GOOGLE_APPLICATION_CREDENTIALS": b.home("g.json", `{"refresh_token":"`+refreshToken(b)+`"}`),
	} {
		b.env(name, path)
	}
	b.home("ghx/hosts.yml", "github.com: {oauth_token: "+b.githubToken()+"}")
	b.home("xdg/git/credentials", "https://u:"+password(b)+"@bitbucket.org")
	b.home("dock/config.json", `{"auths":{"r.io":{"identitytoken":"`+refreshToken(b)+`"}}}`)
	b.wantKinds(kubernetesUser, kubernetesUser, netrcLogin, awsAccessKey, githubLogin, gitPassword, dockerLogin, databasePassword, npmToken, googleUser)
}

func TestOthersWhoCanReadTheFileAreNamed(t *testing.T) {
	for mode, want := range map[uint32]string{0o644: "mode 0644: every user whom its folders let in can read it", 0o640: "mode 0640: its group can read it", 0o600: ""} {
		b := newBox(t)
		chmod(t, b.tree(".env", "GH_TOKEN="+b.githubToken()), mode)
		if got := b.wantKinds(githubClassic).Findings[0].Exposed; got != want {
			t.Errorf("%04o: %q, want %q", mode, got, want)
		}
	}
}

func TestSettingsOfAWorktreeAreFoundWhereItsGitFilePoints(t *testing.T) {
	b := newBox(t)
	b.home("src/.git/config", "[remote \"o\"]\nurl = https://ci:"+password(b)+"@git.corp.net/x\n")
	b.home("src/.git/worktrees/w/commondir", "../..\n")
	b.tree(".git", "gitdir: "+b.machine.Home+"/src/.git/worktrees/w\n")
	b.wantKinds(gitPassword)
}

func TestThePasswordOfLibpqIsToldWithItsDatabase(t *testing.T) {
	b := newBox(t)
	b.env("PGHOST", "db.shop.io")
	b.env("PGDATABASE", "orders")
	b.env("PGUSER", "shop")
	b.env("PGPASSWORD", password(b))
	if f := b.wantKinds(databasePassword).Findings[0]; !strings.HasPrefix(f.Reaches, "the database orders at db.shop.io as shop") {
		t.Error(f.Reaches)
	}
	b.env("PGHOST", "localhost")
	wantRemark(t, b.wantNone().Notes, "environment PGPASSWORD: on this machine or its containers, unless it is a tunnel: the database orders at localhost")
}

func TestLongListsAreShortened(t *testing.T) {
	if got := several([]string{"a", "b", "c", "d", "e", "f"}); got != "a, b, c, d and 2 more" {
		t.Error(got)
	}
}

// A pod's own account is a way to its cluster that no variable names.
func TestPodsAccountIsFound(t *testing.T) {
	b := newBox(t)
	token := b.home("pod/token", b.jwt(`{"exp":%d}`, noon.Add(time.Hour).Unix()))
	b.machine.Pod = filepath.Dir(token)
	if f := b.wantKinds(kubernetesPod).Findings[0]; !strings.Contains(f.Reaches, "renewed as long as the pod runs") {
		t.Error(f.Reaches)
	}
	b.machine.Pod = filepath.Join(b.machine.Home, "nowhere")
	b.wantNone()
}
