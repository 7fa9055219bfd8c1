package doctor

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// rule says what a variable of a certain name holds. Names are compared in capitals, without `_`, `-` and
// `.`, so that RAILWAY_TOKEN, railwayToken and railway-token are one. A star stands for anything.
type rule struct {
	pattern string
	kind    kind
	people  bool // chosen by people: may be short, and words
}

// rules are tried in their order.
var rules = []rule{
	{"PROJECTACCESSTOKEN", railwayProjectToken, false}, // the header of Railway's API
	{"*RAILWAY*PROJECTTOKEN", railwayProjectToken, false},
	{"*RAILWAYAPITOKEN", railwayAccountToken, false},
	{"*RAILWAYACCOUNTTOKEN", railwayAccountToken, false},
	{"*RAILWAY*TOKEN", railwayToken, false},
	{"*RAILWAY*APIKEY", railwayToken, false},
	{"*GITHUB*TOKEN", githubToken, false},
	{"*GITHUB*PAT", githubToken, false},
	{"*GHTOKEN", githubToken, false},
	{"*GHPAT", githubToken, false},
	{"*GHENTERPRISETOKEN", githubToken, false},
	{"*SUPABASE*ACCESSTOKEN", supabaseAccessToken, false},
	{"*SUPABASE*SECRETKEY", supabaseSecretKey, false},
	{"*SUPABASE*JWTSECRET", supabaseJWTSecret, false},
	{"*SUPABASE*DBPASSWORD", supabaseDatabase, true},
	{"*SUPABASE*DATABASEPASSWORD", supabaseDatabase, true},
	{"*AWSSECRETACCESSKEY", awsAccessKey, false},
	{"*AZURECLIENTSECRET", azureService, false},
	{"*ARMCLIENTSECRET", azureService, false},
	{"*PGPASSWORD", databasePassword, true},
	{"*MYSQLPWD", databasePassword, true},
	{"*REDISCLIAUTH", databasePassword, true},
	{"*VAULTTOKEN", vaultToken, false},
	{"*VAULT*SECRETID", vaultAppRole, false},
	{"*APPROLE*SECRETID", vaultAppRole, false},
	{"*KUBETOKEN", kubernetesUser, false}, // of the Kubernetes providers of OpenTofu and Terraform; Helm's
	{"*KUBERNETES*TOKEN", kubernetesUser, false},
	{"K8SAUTHAPIKEY", kubernetesUser, false}, // Ansible
	{"*GITLABTOKEN", gitlabToken, false},
	{"*NPMTOKEN", npmToken, false},
	{"*NODEAUTHTOKEN", npmToken, false},
	{"*TWINEPASSWORD", pypiToken, true},
	{"*DIGITALOCEAN*TOKEN", digitalOcean, false},
	{"TFTOKEN*", terraformToken, false}, // TF_TOKEN_app_terraform_io
	{"*HCLOUDTOKEN", hostingToken, false},
	{"*CLOUDFLAREAPITOKEN", hostingToken, false},
	{"*CLOUDFLAREAPIKEY", hostingToken, false},
	{"*VERCELTOKEN", hostingToken, false},
	{"*NETLIFYAUTHTOKEN", hostingToken, false},
	{"*HEROKUAPIKEY", hostingToken, false},
	{"*FLYAPITOKEN", hostingToken, false},
	{"*FLYACCESSTOKEN", hostingToken, false},
	{"*RENDERAPIKEY", hostingToken, false},
	{"*PULUMIACCESSTOKEN", hostingToken, false},
}

// secretWords are in every name that a rule is for; looking for them first is what makes a large tree quick.
var secretWords = []string{"TOKEN", "KEY", "PAT", "SECRET", "PASSWORD", "PWD", "AUTH"}

// railwayCLI is the variable that the Railway CLI takes a project token from, written exactly so.
var railwayCLI = rule{"RAILWAY_TOKEN", railwayProjectToken, false}

// ruleFor finds what a variable of this name holds.
func ruleFor(name string) *rule {
	if name == railwayCLI.pattern {
		return &railwayCLI
	}
	bare := strings.Map(func(c rune) rune {
		if strings.ContainsRune("_-.", c) {
			return -1
		}
		return unicode.ToUpper(c)
	}, name)
	if !slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(bare, word) }) {
		return nil
	}
	for i := range rules {
		if fits, err := path.Match(rules[i].pattern, bare); err == nil && fits {
			return &rules[i]
		}
	}
	return nil
}

// accepts tells whether a value can be what the rule says. In text that is no list of variables only
// what a program made counts: there `token = readToken` is code.
func (r *rule) accepts(value string, inText bool) bool {
	switch {
	case !usable(value) || strings.Contains(value, "://"):
		return false
	case r.kind.name == awsAccessKey.name:
		return isAWSSecret(value)
	case inText:
		return isTokenLike(value)
	case r.people:
		return true
	default:
		return len(value) >= 12 && !strings.ContainsAny(value, " \t\n")
	}
}

// examineVariable looks at one variable of the environment or of an environment file. What a value's
// form says counts more than its name.
func (x *examination) examineVariable(name, value string, at place) {
	if strings.HasPrefix(name, "HOURKEY_") || isOwn(value) {
		return
	}
	at.variable = name
	if x.endsSoon(value, at) {
		return
	}
	if x.examineForms(value, at) {
		return
	}
	if r := ruleFor(name); r != nil && r.accepts(value, false) {
		x.add(value, found{kind: r.kind, place: at})
	}
}

// endsSoon notes a token that says itself that it is over within the day, like those of clusters.
func (x *examination) endsSoon(value string, at place) bool {
	c, is := readJWT(value)
	if end := c.end(); !is || end.IsZero() || end.Sub(x.Now()) > 24*time.Hour {
		return false
	}
	x.keepOut(value)
	if r := ruleFor(at.variable); r != nil && c.end().After(x.Now()) {
		x.note("%s: a token that ends by itself ("+r.kind.title+"), at "+clock(c.end()), x.where(at))
	}
	return true
}

// examineForms finds what tells by its form, in one value, and whether there was any.
func (x *examination) examineForms(value string, at place) bool {
	any := false
	for _, t := range tokensIn([]byte(value)) {
		any = true
		x.addToken(t, at)
	}
	for _, t := range jwtsIn([]byte(value)) {
		any = x.addServiceRole(t.text, at) || any
	}
	for _, line := range strings.Split(value, "\n") {
		for _, a := range addressesIn(line) {
			any = true
			x.addAddress(a, at)
		}
	}
	return any
}

// addToken keeps a token found by its shape; one that ends by itself is a note while it may live.
func (x *examination) addToken(t token, at place) {
	x.keepOut(t.text)
	if t.shape.life == 0 {
		x.add(t.text, found{kind: t.shape.kind, place: at})
		return
	}
	if at.file == nil || x.Now().Sub(at.file.info.ModTime()) < t.shape.life {
		x.note("%s: a token that ends by itself (%s), within a day at most", x.where(at), t.shape.kind.title)
	}
}

// where names a place for notes and warnings.
func (x *examination) where(at place) string {
	if at.file == nil {
		return "environment " + at.variable
	}
	if at.line == 0 {
		return at.file.shown
	}
	return at.file.shown + ":" + strconv.Itoa(at.line)
}

// addAddress keeps a URL with a password.
func (x *examination) addAddress(a address, at place) {
	f := found{kind: urlPassword, place: at, reaches: a.reaches()}
	switch {
	case a.isDatabase():
		f.kind = databaseURL
	case a.isWeb() && isGitHost(a.hostname()):
		f.kind = gitPassword
	}
	if a.isLocal() {
		x.local(a.secret(), f)
		return
	}
	x.add(a.secret(), f)
}

// local notes what leads to this machine, as far as the name of the host tells. That is a database for
// development nearly always; the note is for the other times, when it is the end of a tunnel.
func (x *examination) local(secret string, f found) {
	x.keepOut(secret)
	words := append([]string{x.where(f.place)}, f.reaches.words...)
	x.note("%s: on this machine or its containers, unless it is a tunnel: "+f.reaches.format, words...)
}

// addServiceRole keeps a Supabase service role key, which tells its role and project in its payload. The
// one that every local Supabase has is none.
func (x *examination) addServiceRole(text string, at place) bool {
	c, ok := readJWT(text)
	if !ok || c.Role != "service_role" || c.Issuer == "supabase-demo" {
		return false
	}
	x.keepOut(text)
	if end := c.end(); !end.IsZero() && end.Before(x.Now()) {
		return false
	}
	f := found{kind: supabaseServiceRole, place: at}
	if c.Ref != "" {
		f.reaches = said("project %s: every row of every table, past row level security; all users and files; valid until %s", c.Ref, dayOf(c))
	}
	x.add(text, f)
	return true
}

func dayOf(c claims) string {
	if c.end().IsZero() {
		return "it is rotated"
	}
	return c.end().Format("2006-01-02")
}

// environment looks at the variables of the process. Those that `hourkey exec` says it has set are of a lease, and end with it;
// that is noted, for anybody can say so.
func (x *examination) environment() {
	leased := strings.Fields(x.getenv("HOURKEY_LEASED"))
	for _, entry := range x.Environ {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case slices.Contains(leased, name):
			x.leased(name, value)
		case name == "PGPASSWORD":
			x.pgPassword(value)
		case name == "AWS_SECRET_ACCESS_KEY" && x.getenv("AWS_SESSION_TOKEN") != "":
			x.keepOut(value)
			x.note("environment %s: a temporary AWS key, which ends by itself", name)
		default:
			x.examineVariable(name, value, place{})
		}
	}
}

// leased notes a variable of a lease that would be a finding elsewhere.
func (x *examination) leased(name, value string) {
	x.keepOut(value)
	if ruleFor(name) != nil || len(tokensIn([]byte(value)))+len(jwtsIn([]byte(value)))+len(addressesIn(value)) > 0 {
		x.note("environment %s: of the lease that hourkey exec runs this with, as HOURKEY_LEASED says", name)
	}
}

// pgPassword looks at libpq's password with the variables that say what it is for. One of a lease is no
// finding.
func (x *examination) pgPassword(value string) {
	user, host := x.getenv("PGUSER"), x.getenv("PGHOST")
	if !usable(value) || isLeaseName(user) {
		x.keepOut(value)
		return
	}
	f := found{kind: databasePassword, place: place{variable: "PGPASSWORD"}}
	if host != "" {
		f.reaches = said("the database %s at %s as %s, with all that this role may do", orAny(x.getenv("PGDATABASE")), host, orAny(user))
		if isLocalHost(host) {
			x.local(value, f)
			return
		}
	}
	x.add(value, f)
}
