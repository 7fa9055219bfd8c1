package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hourkey/hourkey/web/api"
)

// identity is what enrolment leaves on this machine: ${XDG_CONFIG_HOME:-~/.config}/hourkey/<host>/agent.json,
// mode 0600, in a folder of mode 0700.
//
//	{
//	  "format": 1,
//	  "origin": "https://hourkey.example",
//	  "agent": "claude-code",
//	  "ca_file": "/etc/ssl/private-ca.pem",      (only with HOURKEY_CA)
//	  "enrolled": "2026-11-21T12:00:00Z",
//	  "seed": "base64 of the 32 bytes of RFC 8032 section 5.1.5"
//	}
type identity struct {
	Format   int       `json:"format"`
	Origin   string    `json:"origin"`
	Agent    string    `json:"agent"`
	CAFile   string    `json:"ca_file,omitempty"`
	Enrolled time.Time `json:"enrolled"`
	Seed     []byte    `json:"seed"`

	key ed25519.PrivateKey
}

const (
	identityFormat = 1
	identityFile   = "agent.json"
	maxIdentity    = 64 << 10
)

// brokersFolder is the folder with one folder for each broker.
func (a *app) brokersFolder() (string, error) {
	if folder := a.getenv("XDG_CONFIG_HOME"); filepath.IsAbs(folder) {
		return filepath.Join(folder, "hourkey"), nil
	}
	home := a.getenv("HOME")
	if !filepath.IsAbs(home) {
		return "", errors.New("neither XDG_CONFIG_HOME nor HOME is an absolute path, so there is no place for keys")
	}
	return filepath.Join(home, ".config", "hourkey"), nil
}

// identityPath is where the key for a broker lies.
func (a *app) identityPath(origin string) (string, error) {
	folder, err := a.brokersFolder()
	if err != nil {
		return "", err
	}
	u, err := url.Parse(origin)
	if err != nil {
		return "", fmt.Errorf("reading the broker's URL: %w", err)
	}
	return filepath.Join(folder, strings.ReplaceAll(u.Host, ":", "_"), identityFile), nil
}

// identity gives the key for the broker that HOURKEY_URL names, or for the only one that is enrolled.
func (a *app) identity() (*identity, error) {
	if named := a.getenv("HOURKEY_URL"); named != "" {
		return a.identityAt(named)
	}
	folder, err := a.brokersFolder()
	if err != nil {
		return nil, err
	}
	paths, err := filepath.Glob(filepath.Join(escapeGlob(folder), "*", identityFile))
	if err != nil {
		return nil, fmt.Errorf("looking for keys: %w", err)
	}
	switch len(paths) {
	case 0:
		return nil, failf("an operator runs `hourkeyd agent add NAME --owner HUMAN`; then run `hourkey enroll URL --agent NAME`",
			"this machine's user is not enrolled with any broker")
	case 1:
		return loadIdentity(paths[0])
	}
	var brokers []string
	for _, path := range paths {
		brokers = append(brokers, a.originOf(path))
	}
	return nil, &hintError{
		err:  &usageError{"several brokers are enrolled: " + strings.Join(brokers, ", ")},
		hint: "set HOURKEY_URL to the one that is meant, like HOURKEY_URL=" + brokers[0],
	}
}

// originOf is the URL of the broker that a key is for, or the name of its folder where the two do not agree.
func (a *app) originOf(path string) string {
	if id, err := loadIdentity(path); err == nil {
		if at, err := a.identityPath(id.Origin); err == nil && at == path {
			return id.Origin
		}
	}
	return filepath.Base(filepath.Dir(path))
}

// escapeGlob makes a folder's name stand for itself.
func escapeGlob(folder string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(folder)
}

func (a *app) identityAt(named string) (*identity, error) {
	origin, err := api.ParseOrigin(named)
	if err != nil {
		return nil, &hintError{err: &usageError{"HOURKEY_URL: " + err.Error()}}
	}
	path, err := a.identityPath(origin)
	if err != nil {
		return nil, err
	}
	id, err := loadIdentity(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, failf("run `hourkey enroll "+origin+" --agent NAME` with a one-time code", "this machine's user is not enrolled with %s", origin)
	}
	if err == nil && id.Origin != origin {
		return nil, failf("enrol again with --force", "the key in %s belongs to %s, not to %s", path, id.Origin, origin)
	}
	return id, err
}

// loadIdentity reads a key, but only one that nobody else could have read or put there.
func loadIdentity(path string) (*identity, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the agent's key: %w", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("looking at the agent's key: %w", err)
	}
	if err := checkPrivate(path, info); err != nil {
		return nil, err
	}
	folder, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("looking at the key's folder: %w", err)
	}
	if err := checkFolder(filepath.Dir(path), folder); err != nil {
		return nil, err
	}
	var id identity
	if info.Size() > maxIdentity || json.NewDecoder(file).Decode(&id) != nil || id.Format != identityFormat || len(id.Seed) != ed25519.SeedSize {
		return nil, failf("enrol again with --force, with a new one-time code", "%s cannot be read as an agent's key of format %d", path, identityFormat)
	}
	id.key = ed25519.NewKeyFromSeed(id.Seed)
	return &id, nil
}

// checkPrivate refuses a key that others can read or change.
func checkPrivate(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	if owner, ok := ownerOf(info); !ok || owner != os.Getuid() {
		return failf("enrol as this user", "%s does not belong to the user who runs hourkey", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return failf("if nobody else had access, run `chmod 600 "+path+"`; otherwise enrol again with --force",
			"%s has mode %04o: others can reach the agent's key", path, info.Mode().Perm())
	}
	return nil
}

// checkFolder refuses a folder in which others could put another key.
func checkFolder(path string, info fs.FileInfo) error {
	owner, ok := ownerOf(info)
	if !ok || owner != os.Getuid() || info.Mode().Perm()&0o022 != 0 {
		return failf("run `chmod 700 "+path+"` as its owner", "others can write in %s, where the agent's key lies", path)
	}
	return nil
}

// ownerOf tells the user id of a file's owner.
func ownerOf(info fs.FileInfo) (int, bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}

// draft writes the identity beside its place, durably, so that a key exists before the one-time code
// is used up. Commit puts it in its place.
func (id *identity) draft(path string) (string, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("making the folder for the key: %w", err)
	}
	text, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encoding the key: %w", err)
	}
	file, err := os.CreateTemp(filepath.Dir(path), identityFile+".new-*") // mode 0600
	if err != nil {
		return "", fmt.Errorf("writing the key: %w", err)
	}
	_, writeErr := file.Write(append(text, '\n'))
	if err := errors.Join(writeErr, file.Sync(), file.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("writing the key: %w", err), os.Remove(file.Name()))
	}
	return file.Name(), nil
}

// roots reads the private authority, if one is named: HOURKEY_CA, else the one of the enrolment. It
// takes the place of the system's: a broker with a private authority has no other.
func (a *app) roots(enrolled string) (*x509.CertPool, error) {
	path := a.getenv("HOURKEY_CA")
	if path == "" {
		path = enrolled
	}
	if path == "" {
		return nil, nil // what crypto/tls takes for the system's
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the authority of HOURKEY_CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, failf("HOURKEY_CA is a file with certificates in PEM", "%s holds no certificate", path)
	}
	return pool, nil
}
