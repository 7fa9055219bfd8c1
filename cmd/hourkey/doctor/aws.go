package doctor

import (
	"bytes"
	"cmp"
	"strings"
	"time"
)

// Temporary AWS keys live for 36 hours at most (sts:GetSessionToken).
const awsSession = 36 * time.Hour

// aws looks at the shared files of the AWS tools, and at the caches of their logins. Profiles that log in
// elsewhere (sso_*, credential_process, role_arn) hold no credential.
func (x *examination) aws() {
	var profiles []entry
	files := []*file{
		x.open(cmp.Or(x.getenv("AWS_SHARED_CREDENTIALS_FILE"), ".aws/credentials")),
		x.open(cmp.Or(x.getenv("AWS_CONFIG_FILE"), ".aws/config")),
	}
	for _, f := range files {
		if f != nil {
			profiles = append(profiles, readINI(f.data)...)
		}
	}
	for _, f := range files {
		if f != nil {
			x.awsKeys(f, profiles)
		}
	}
	for _, folder := range []string{".aws/cli/cache", ".aws/sso/cache", cmp.Or(x.getenv("AWS_LOGIN_CACHE_DIRECTORY"), ".aws/login/cache")} {
		for _, f := range x.openAll(folder, ".json") {
			x.awsCached(f)
		}
	}
	x.s3Tools()
}

// s3Tools looks at the keys that other clients of S3 keep: MinIO's mc, s3cmd, rclone. The playground that mc comes with has a
// key that everybody knows.
func (x *examination) s3Tools() {
	if f := x.open(".mc/config.json"); f != nil {
		entries, err := readJSON(f.data)
		if err != nil {
			x.unreadable(f, "the aliases of mc")
		}
		for _, e := range entries {
			if !e.is("aliases", "*", "secretKey") || !usable(e.value) {
				continue
			}
			alias, server := e.path[1], valueOf(entries, "aliases", e.path[1], "url")
			if server != "https://play.min.io" {
				x.s3Key(f, e, "alias "+alias)
			}
		}
	}
	for _, path := range []string{".s3cfg", x.config("rclone/rclone.conf")} {
		f := x.open(path)
		if f == nil {
			continue
		}
		for _, e := range readINI(f.data) {
			if len(e.path) == 2 && (e.path[1] == "secret_key" || e.path[1] == "secret_access_key") && usable(e.value) {
				x.s3Key(f, e, "section "+e.path[0])
			}
		}
	}
}

// s3Key reports one key.
func (x *examination) s3Key(f *file, e entry, name string) {
	x.add(e.value, found{kind: awsOtherKey, place: f.at(e.line), reaches: said("%s: "+reachOfMaker, name)})
}

// awsKeys reports the keys of one file. Profiles are those of all files, to tell which roles a key leads to.
func (x *examination) awsKeys(f *file, profiles []entry) {
	entries := readINI(f.data)
	for _, e := range entries {
		if len(e.path) != 2 || !strings.EqualFold(e.path[1], "aws_secret_access_key") || !usable(e.value) {
			continue
		}
		section, name := e.path[0], strings.TrimPrefix(e.path[0], "profile ")
		id := valueOf(entries, section, "aws_access_key_id")
		switch {
		case strings.HasPrefix(id, "ASIA") || valueOf(entries, section, "aws_session_token") != "":
			x.keepOut(e.value)
			if x.Now().Sub(f.info.ModTime()) < awsSession {
				x.note("%s: profile %s has a temporary AWS key, which ends by itself within 36 hours", f.shown, name)
			}
		case strings.HasPrefix(id, "AKIA"):
			x.add(e.value, found{kind: awsAccessKey, place: f.at(e.line), reaches: awsReach(name, profiles)})
		default:
			x.add(e.value, found{kind: awsOtherKey, place: f.at(e.line), reaches: said("profile %s: "+reachOfMaker, name)})
		}
	}
}

// awsReach names the profile, and the roles of others that it is the source of.
func awsReach(name string, profiles []entry) phrase {
	var roles []string
	for _, e := range profiles {
		if e.is("*", "source_profile") && e.value == name {
			if role := valueOf(profiles, e.path[0], "role_arn"); role != "" {
				roles = append(roles, role)
			}
		}
	}
	if len(roles) == 0 {
		return said("profile %s: "+awsAccessKey.reaches, name)
	}
	return said("profile %s: "+awsAccessKey.reaches+"; and it is the way into %s", name, several(roles))
}

// awsCached notes a login that the AWS tools keep until it ends.
func (x *examination) awsCached(f *file) {
	entries, err := readJSON(f.data)
	if err != nil {
		x.unreadable(f, "a cached login of the AWS tools")
		x.examineText(f)
		return
	}
	renewed := false
	for _, e := range entries {
		if e.is("refreshToken") && usable(e.value) { // of an sso-session: as long as the portal's session lasts, 8 hours unless set longer
			x.keepOut(e.value)
			renewed = true
		}
	}
	if renewed {
		x.note("%s: a login at the access portal of AWS, which renews itself for as long as an administrator set: 8 hours, or up to 90 days", f.shown)
		return
	}
	for _, e := range entries {
		key := e.path[max(0, len(e.path)-1):]
		if len(key) == 0 || !strings.EqualFold(key[0], "expiresAt") && !strings.EqualFold(key[0], "Expiration") {
			continue
		}
		if end, err := time.Parse(time.RFC3339, strings.Replace(e.value, "UTC", "Z", 1)); err == nil && x.Now().Before(end) {
			x.note("%s: a temporary AWS login, until "+clock(end), f.shown)
		}
	}
}

// isAWSSecret tells the form of a secret access key: 40 characters, and no hash in hexadecimal.
func isAWSSecret(value string) bool {
	return len(value) == 40 && span([]byte(value), letters+"+/") == 40 && span([]byte(value), "abcdef"+digits) < 40 &&
		variety(value) >= 12 && !strings.Contains(value, "EXAMPLE")
}

// awsPairs finds an access key in a text: its id, and near it what has the form of its secret. The id
// alone is no credential.
func (x *examination) awsPairs(f *file) {
	const near = 300 // bytes
	line := countLines(f.data)
	for from := 0; ; {
		at := bytes.Index(f.data[from:], []byte("AKIA"))
		if at < 0 || x.enough(f) {
			return
		}
		start := from + at
		end := start + span(f.data[start:], upper+digits)
		from = end
		if end-start != 20 || wordBefore(f.data, start) || bytes.Contains(f.data[start:end], []byte("EXAMPLE")) {
			continue
		}
		low, high := max(line.offset, start-near), min(len(f.data), end+near)
		for offset, value := range runs(f.data[low:high], letters+"+/") {
			if isAWSSecret(value) {
				x.add(value, found{kind: awsAccessKey, place: f.at(line.at(low + offset))})
			}
		}
	}
}

// runs gives each longest run of an alphabet, with its offset.
func runs(data []byte, alphabet string) func(func(int, string) bool) {
	return func(yield func(int, string) bool) {
		for at := 0; at < len(data); {
			length := span(data[at:], alphabet)
			if length > 0 && !yield(at, string(data[at:at+length])) {
				return
			}
			at += length + 1
		}
	}
}
