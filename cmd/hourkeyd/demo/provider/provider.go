// Package provider is the hosting provider of the drill: projects with environments, services, volumes
// that have an instance in each environment, and backups that lie on the volume. It keeps its data in a
// folder and really loses it.
//
// It knows two kinds of credential, like the provider of the incident: an account token that may do
// everything, and short target tokens (RFC 9068) of which it checks signature, audience, expiry and
// scope. It does not know what an environment boundary, a class of action or an approval is, and it
// imports nothing of Hourkey: it would delete production for anyone whose token says so.
package provider

import (
	"crypto/ed25519"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Audience is what a target token must be for.
const Audience = "https://quay.example/api"

// Volume is what the provider tells about a volume.
type Volume struct {
	ID           string   `json:"id"`
	Name         string   `json:"name"`
	Environments []string `json:"environments"` // in which it has an instance
	Service      string   `json:"service"`      // that it is attached to
	Rows         int      `json:"rows"`         // over all instances
	Backups      int      `json:"backups"`      // on the volume itself
}

// Config is what a Provider depends on. All fields are required.
type Config struct {
	Folder       string // where the volumes lie
	AccountToken string
	Issuers      map[string]ed25519.PublicKey // token issuer (iss) → key
	Now          func() time.Time
}

// Provider answers its API over HTTP: GET /volumes, DELETE /volumes/{id}, GET and PUT
// /services/{name}/variables.
type Provider struct {
	config Config
	mux    *http.ServeMux

	mu        sync.Mutex
	variables map[string]map[string]string // service → name → value
}

var _ http.Handler = (*Provider)(nil)

// New makes a provider on an empty folder.
func New(config Config) *Provider {
	p := &Provider{config: config, mux: http.NewServeMux(), variables: map[string]map[string]string{}}
	p.mux.HandleFunc("GET /volumes", p.guarded("read", func(*http.Request) string { return "volume/" }, p.list))
	p.mux.HandleFunc("DELETE /volumes/{id}", p.guarded("delete", func(r *http.Request) string { return "volume/" + r.PathValue("id") }, p.deleteVolume))
	p.mux.HandleFunc("GET /services/{name}/variables", p.guarded("read", service, p.readVariables))
	p.mux.HandleFunc("PUT /services/{name}/variables/{variable}", p.guarded("write", service, p.setVariable))
	return p
}

func service(r *http.Request) string { return "service/" + r.PathValue("name") }

// ServeHTTP implements http.Handler.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.mux.ServeHTTP(w, r) }

// Create makes a volume with so many rows in each of its environments, and backups that lie on it.
func (p *Provider) Create(id, name, service string, environments []string, rows, backups int) error {
	folder := filepath.Join(p.config.Folder, id)
	write := func(text string, parts ...string) error {
		path := filepath.Join(append([]string{folder}, parts...)...)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		return os.WriteFile(path, []byte(text), 0o600)
	}
	failed := []error{write(name, "name"), write(service, "service")}
	for _, environment := range environments {
		failed = append(failed, write(strings.Repeat("a customer's order\n", rows), "instances", environment))
	}
	for n := range backups {
		failed = append(failed, write(strings.Repeat("a customer's order\n", rows), "backups", strconv.Itoa(n)))
	}
	return errors.Join(failed...)
}

// Volumes lists the volumes that still exist.
func (p *Provider) Volumes() ([]Volume, error) {
	folders, err := os.ReadDir(p.config.Folder)
	if err != nil {
		return nil, err
	}
	volumes := make([]Volume, 0, len(folders))
	for _, folder := range folders {
		volume, err := p.volume(folder.Name())
		if err != nil {
			return nil, err
		}
		volumes = append(volumes, volume)
	}
	return volumes, nil
}

func (p *Provider) volume(id string) (Volume, error) {
	files := os.DirFS(filepath.Join(p.config.Folder, id))
	name, err1 := fs.ReadFile(files, "name")
	service, err2 := fs.ReadFile(files, "service")
	instances, err3 := fs.Glob(files, "instances/*")
	backups, err4 := fs.Glob(files, "backups/*")
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return Volume{}, fmt.Errorf("reading volume %s: %w", id, err)
	}
	v := Volume{ID: id, Name: string(name), Service: string(service), Backups: len(backups)}
	for _, instance := range instances {
		rows, err := fs.ReadFile(files, instance)
		if err != nil {
			return Volume{}, err
		}
		v.Environments = append(v.Environments, filepath.Base(instance))
		v.Rows += strings.Count(string(rows), "\n")
	}
	slices.Sort(v.Environments)
	return v, nil
}

func (p *Provider) list(w http.ResponseWriter, _ *http.Request) {
	volumes, err := p.Volumes()
	if err != nil {
		http.Error(w, "the disk cannot be read", http.StatusInternalServerError)
		return
	}
	answer(w, volumes)
}

// deleteVolume does what the provider of the incident did: at once, all instances, and the backups with it.
func (p *Provider) deleteVolume(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	volumes, err := p.Volumes()
	if err != nil || !slices.ContainsFunc(volumes, func(v Volume) bool { return v.ID == id }) {
		http.Error(w, "no such volume", http.StatusNotFound)
		return
	}
	if err := os.RemoveAll(filepath.Join(p.config.Folder, id)); err != nil {
		http.Error(w, "the disk cannot be written", http.StatusInternalServerError)
		return
	}
	answer(w, map[string]bool{"deleted": true})
}

func (p *Provider) readVariables(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	answer(w, p.variables[r.PathValue("name")])
}

func (p *Provider) setVariable(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := r.PathValue("name")
	if p.variables[name] == nil {
		p.variables[name] = map[string]string{}
	}
	p.variables[name][r.PathValue("variable")] = r.URL.Query().Get("value")
	answer(w, p.variables[name])
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		http.Error(w, "the answer cannot be encoded", http.StatusInternalServerError)
	}
}

// guarded lets a call pass whose token is the account's, or whose scope covers action on the resource.
func (p *Provider) guarded(action string, resource func(*http.Request) string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if subtle.ConstantTimeCompare([]byte(token), []byte(p.config.AccountToken)) == 1 {
			next(w, r)
			return
		}
		scope, err := p.scopeOf(token)
		switch {
		case err != nil:
			http.Error(w, "not authorized: "+err.Error(), http.StatusUnauthorized)
		case !covers(scope, resource(r), action):
			http.Error(w, "not authorized: the token's scope does not say "+action+" on "+resource(r), http.StatusForbidden)
		default:
			next(w, r)
		}
	}
}

// scopeOf checks a target token and gives its scope (RFC 8693 section 4.2: words between spaces).
func (p *Provider) scopeOf(token string) (string, error) {
	var claims struct {
		jwt.RegisteredClaims
		Scope string `json:"scope"`
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithAudience(Audience), jwt.WithExpirationRequired(), jwt.WithTimeFunc(p.config.Now))
	parsed, err := parser.ParseWithClaims(token, &claims, func(t *jwt.Token) (any, error) {
		issuer, err := t.Claims.GetIssuer()
		key, known := p.config.Issuers[issuer]
		if err != nil || !known || t.Header["typ"] != "at+jwt" {
			return nil, errors.New("no token of a known issuer")
		}
		return key, nil
	})
	if err != nil || !parsed.Valid {
		return "", errors.New("the token is not valid, or no longer")
	}
	return claims.Scope, nil
}

// covers looks for the word RESOURCE:ACTION, where RESOURCE may end in a star.
func covers(scope, resource, action string) bool {
	for word := range strings.FieldsSeq(scope) {
		name, allowed, ok := strings.Cut(word, ":")
		if !ok || !slices.Contains(strings.Split(allowed, ","), action) {
			continue
		}
		if stem, prefix := strings.CutSuffix(name, "*"); name == resource || prefix && strings.HasPrefix(resource, stem) {
			return true
		}
		if strings.HasSuffix(resource, "/") && strings.HasPrefix(name, resource) { // listing: any of the kind
			return true
		}
	}
	return false
}
