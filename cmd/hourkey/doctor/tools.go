package doctor

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"path/filepath"
	"strings"
)

// otherTools looks at the logins of package registries, databases and the like.
func (x *examination) otherTools() {
	for _, place := range []struct {
		path string
		read func(*examination, *file)
	}{
		{cmp.Or(x.getenv("NPM_CONFIG_USERCONFIG"), ".npmrc"), (*examination).npmrc},
		{".pypirc", (*examination).pypirc},
		{cmp.Or(x.getenv("PGPASSFILE"), ".pgpass"), (*examination).pgpass},
		{filepath.Join(cmp.Or(x.getenv("DOCKER_CONFIG"), ".docker"), "config.json"), (*examination).dockerConfig},
		{".vault-token", (*examination).vaultFile},
		{".terraform.d/credentials.tfrc.json", (*examination).terraform},
	} {
		if f := x.open(place.path); f != nil {
			place.read(x, f)
		}
	}
}

// npmrc reads `//registry/:_authToken=…`, `_auth` and `_password`.
func (x *examination) npmrc(f *file) {
	for _, e := range readINI(f.data) {
		key := e.path[1]
		if !strings.HasSuffix(key, "_authToken") && !strings.HasSuffix(key, "_auth") && !strings.HasSuffix(key, "_password") {
			continue
		}
		if value := strings.Trim(e.value, `"`); usable(value) {
			registry, _, _ := strings.Cut(strings.TrimPrefix(key, "//"), "/")
			x.add(value, found{kind: npmToken, place: f.at(e.line), reaches: said("%s: "+npmToken.reaches, registry)})
		}
	}
}

func (x *examination) pypirc(f *file) {
	for _, e := range readINI(f.data) {
		if e.is("*", "password") && usable(e.value) {
			x.add(e.value, found{kind: pypiToken, place: f.at(e.line), reaches: said("%s: "+pypiToken.reaches, e.path[0])})
		}
	}
}

// pgpass reads host:port:database:user:password, with \ before a colon or backslash of a field.
func (x *examination) pgpass(f *file) {
	for i, line := range lines(f.data) {
		fields := pgpassFields(line)
		if strings.HasPrefix(line, "#") || len(fields) != 5 || !usable(fields[4]) || isLeaseName(fields[3]) {
			continue
		}
		reported := found{kind: databasePassword, place: f.at(i + 1), reaches: said("the database %s at %s:%s as %s, with all that this role may do", fields[2], fields[0], fields[1], fields[3])}
		if isLocalHost(fields[0]) && fields[0] != "*" {
			x.local(fields[4], reported)
			continue
		}
		x.add(fields[4], reported)
	}
}

func pgpassFields(line string) []string {
	fields := []string{""}
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '\\' && i+1 < len(line):
			i++
			fields[len(fields)-1] += string(line[i])
		case line[i] == ':' && len(fields) < 5:
			fields = append(fields, "")
		default:
			fields[len(fields)-1] += string(line[i])
		}
	}
	return fields
}

// dockerConfig reads auths.HOST.auth, which is user:password in base64, and identity tokens. What a
// credsStore keeps does not lie here.
func (x *examination) dockerConfig(f *file) {
	entries, err := readJSON(f.data)
	if err != nil {
		x.unreadable(f, "the configuration of Docker")
		x.examineText(f)
		return
	}
	for _, e := range entries {
		if len(e.path) != 3 || e.path[0] != "auths" || !usable(e.value) {
			continue
		}
		if key := e.path[2]; key != "auth" && key != "identitytoken" && key != "registrytoken" && key != "password" {
			continue
		}
		if plain, err := base64.StdEncoding.DecodeString(e.value); err == nil {
			_, password, _ := strings.Cut(string(plain), ":")
			x.keepOut(password)
		}
		x.add(e.value, found{kind: dockerLogin, place: f.at(e.line), reaches: said("%s: "+dockerLogin.reaches, e.path[1])})
	}
}

func (x *examination) vaultFile(f *file) {
	if value := strings.TrimSpace(string(f.data)); usable(value) {
		x.add(value, found{kind: vaultToken, place: f.at(1)})
	}
}

func (x *examination) terraform(f *file) {
	entries, err := readJSON(f.data)
	if err != nil {
		x.unreadable(f, "Terraform's credentials")
		x.examineText(f)
		return
	}
	for _, e := range entries {
		if e.is("credentials", "*", "token") && usable(e.value) {
			x.add(e.value, found{kind: terraformToken, place: f.at(e.line), reaches: said("at %s: "+terraformToken.reaches, e.path[1])})
		}
	}
}

// google looks at the logins of gcloud, and at the key that the libraries are pointed to.
func (x *examination) google() {
	folder := cmp.Or(x.getenv("CLOUDSDK_CONFIG"), x.config("gcloud"))
	files := []*file{x.open(filepath.Join(folder, "application_default_credentials.json")), x.open(x.getenv("GOOGLE_APPLICATION_CREDENTIALS"))}
	for _, account := range x.folders(filepath.Join(folder, "legacy_credentials")) {
		files = append(files, x.open(filepath.Join(account, "adc.json")))
	}
	for _, f := range files {
		if f != nil {
			x.googleFile(f)
		}
	}
}

func (x *examination) googleFile(f *file) {
	entries, err := readJSON(f.data)
	if err != nil {
		x.unreadable(f, "credentials of Google Cloud")
		x.examineText(f)
		return
	}
	for _, e := range entries {
		if !usable(e.value) {
			continue
		}
		switch {
		case e.is("refresh_token"):
			reported := found{kind: googleUser, place: f.at(e.line)}
			if account := filepath.Base(filepath.Dir(f.path)); strings.Contains(account, "@") {
				reported.reaches = said("as %s: "+googleUser.reaches, account)
			}
			x.add(e.value, reported)
		case e.is("private_key") && strings.Contains(e.value, "PRIVATE KEY"):
			account := cmp.Or(valueOf(entries, "client_email"), "a service account")
			x.add(e.value, found{kind: googleService, place: f.at(e.line), reaches: said("as %s: "+googleService.reaches, account)})
		}
	}
}

// serviceAccount finds the key file of a Google service account under any name.
func (x *examination) serviceAccount(f *file) {
	if bytes.Contains(f.data, []byte(`"service_account"`)) && bytes.Contains(f.data, []byte(`"private_key"`)) {
		if _, err := readJSON(f.data); err == nil { // else it is a text about them
			x.googleFile(f)
		}
	}
}

// azure looks at what the Azure CLI keeps where it finds no keyring.
func (x *examination) azure() {
	folder := cmp.Or(x.getenv("AZURE_CONFIG_DIR"), ".azure")
	for _, name := range []string{"msal_token_cache.json", "service_principal_entries.json"} {
		f := x.open(filepath.Join(folder, name))
		if f == nil {
			continue
		}
		entries, err := readJSON(f.data)
		if err != nil {
			x.unreadable(f, "a login of the Azure CLI")
			x.examineText(f)
			continue
		}
		for _, e := range entries {
			switch {
			case e.is("RefreshToken", "*", "secret") && usable(e.value):
				x.add(e.value, found{kind: azureLogin, place: f.at(e.line)})
			case e.is("*", "client_secret") && usable(e.value):
				x.add(e.value, found{kind: azureService, place: f.at(e.line)})
			}
		}
	}
}

// ssh looks at the keys of the user that need no passphrase.
func (x *examination) ssh() {
	for _, f := range x.openAll(".ssh", "") {
		if block, _ := pem.Decode(f.data); block != nil && strings.HasSuffix(block.Type, "PRIVATE KEY") && !isEncrypted(block) {
			x.add("", found{kind: sshKey, place: f.at(0)})
		}
	}
}

// isEncrypted tells a private key under a passphrase: PKCS #8, the older PEM encryption, or OpenSSH's own
// format, in which the cipher's name follows the magic (openssh PROTOCOL.key).
func isEncrypted(block *pem.Block) bool {
	if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
		return true
	}
	rest, is := bytes.CutPrefix(block.Bytes, []byte("openssh-key-v1\x00"))
	if !is || len(rest) < 4 {
		return false
	}
	length := binary.BigEndian.Uint32(rest)
	rest = rest[4:]
	return uint64(length) > uint64(len(rest)) || string(rest[:length]) != "none"
}

// shellFiles may set variables; looseFiles hold them now and then: what was typed, and the settings of
// agents and their tools.
var (
	shellFiles = []string{".profile", ".bashrc", ".bash_profile", ".bash_aliases", ".zshrc", ".zshenv", ".zprofile", ".env", ".envrc", ".config/fish/config.fish"}
	looseFiles = []string{
		".bash_history", ".zsh_history", ".local/share/fish/fish_history", ".psql_history", ".terraformrc",
		".claude.json", ".claude/settings.json", ".claude/settings.local.json", ".cursor/mcp.json", ".codex/config.toml", ".codeium/windsurf/mcp_config.json",
		".gemini/settings.json", ".config/Claude/claude_desktop_config.json", "Library/Application Support/Claude/claude_desktop_config.json",
	}
)

func (x *examination) looseFiles() {
	for _, path := range shellFiles {
		if f := x.open(path); f != nil && !isBinary(f.data) {
			x.dotenv(f)
			x.examineText(f)
		}
	}
	for _, path := range looseFiles {
		if f := x.open(path); f != nil && !isBinary(f.data) {
			x.examineText(f)
		}
	}
}

// dotenv looks at the variables that a file sets.
func (x *examination) dotenv(f *file) {
	for _, e := range readDotenv(f.data) {
		if x.enough(f) {
			return
		}
		x.examineVariable(e.path[0], e.value, f.at(e.line))
	}
}
