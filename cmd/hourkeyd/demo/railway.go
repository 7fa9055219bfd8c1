package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	rng "math/rand/v2"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hourkey/hourkey/issuers/gateway/faithful/railway"
	"github.com/hourkey/hourkey/issuers/gateway/lists"
	"github.com/hourkey/hourkey/web"
)

// host is the Railway of the drill. It really loses data; what is lost can be put back as it was, so that
// the story can be told twice.
type host struct {
	railway.World

	Reports string // a service that only production has
	folder  string // the volumes lie there as files
	url     string
	empty   func() *railway.Server // makes one, whose ids and tokens will be the same each time
	current atomic.Pointer[railway.Server]
}

// What the volumes hold, in rows.
const (
	orders = 4000 // in each environment
	cached = 120
)

func newHost(folder string, now func() time.Time) (*host, error) {
	schema, err := lists.Railway()
	if err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	var seed [32]byte
	_, _ = rand.Read(seed[:]) // never fails: it stops the program instead (crypto/rand)
	h := &host{folder: folder, empty: func() *railway.Server {
		return railway.New(railway.Config{Now: now, Folder: folder, Schema: schema, Random: rng.NewChaCha8(seed)})
	}}
	return h, h.putBack()
}

// putBack makes everything as it was before the nine seconds.
func (h *host) putBack() error {
	if err := os.RemoveAll(h.folder); err != nil {
		return fmt.Errorf("removing what is left of the volumes: %w", err)
	}
	s := h.empty()
	h.World = s.Seed()
	h.Reports = s.AddService(h.Shop, "reports", "ghcr.io/acme/reports:2", h.Production)
	for _, instance := range []string{h.ShopDataProduction, h.ShopDataStaging} {
		s.SetData(instance, strings.Repeat("a customer's order\n", orders))
	}
	s.SetData(h.RenderCacheStaging, strings.Repeat("a page, rendered\n", cached))
	s.AddBackup(h.RenderCacheStaging, "Daily", 20*time.Hour)
	h.current.Store(s)
	return nil
}

// ServeHTTP is http.Handler's.
func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.current.Load().ServeHTTP(w, r) }

// serve opens the API on a free port of this machine.
func (h *host) serve(ctx context.Context) (run func() error, err error) {
	listener, err := web.Listen(ctx, web.ListenConfig{Address: "127.0.0.1:0"})
	if err != nil {
		return nil, err
	}
	h.url = "http://" + listener.Addr().String()
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() }) // nothing is under way that matters
	return func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}, nil
}

// holding is what lies on the disk of a volume.
type holding struct {
	environments []string // in which it has an instance
	rows         int      // over all instances
	backups      int      // that lie on it
}

func (v holding) gone() bool { return len(v.environments) == 0 && v.backups == 0 }

// String is like "8000 rows in production and staging, backups: 4".
func (v holding) String() string {
	if v.gone() {
		return "nothing"
	}
	return fmt.Sprintf("%d rows in %s, backups: %d", v.rows, strings.Join(v.environments, " and "), v.backups)
}

// disk looks at the files of a volume: PROJECT/ENVIRONMENT/VOLUME/data and …/backups/BACKUP, each name
// followed by a dot and the first digits of its id.
func (h *host) disk(volume string) (v holding, err error) {
	disk := os.DirFS(h.folder)
	instances, err1 := fs.Glob(disk, "*/*/"+volume+".*/data")
	backups, err2 := fs.Glob(disk, "*/*/"+volume+".*/backups/*")
	for _, instance := range instances {
		data, err := fs.ReadFile(disk, instance)
		if err != nil {
			return v, fmt.Errorf("looking at the disk: %w", err)
		}
		name, _, _ := strings.Cut(path.Base(path.Dir(path.Dir(instance))), ".")
		v.environments = append(v.environments, name)
		v.rows += strings.Count(string(data), "\n")
	}
	slices.Sort(v.environments)
	v.backups = len(backups)
	return v, errors.Join(err1, err2)
}

// variable is the value of a service's variable as Railway has it, empty if there is none.
func (h *host) variable(environment, service, name string) string {
	for _, r := range h.current.Load().Snapshot().Records {
		if r.Kind == "Variable" && r.Name == name && slices.Contains(r.Environments, environment) && r.Fields["serviceId"] == `"`+service+`"` {
			return strings.Trim(r.Fields["value"], `"`)
		}
	}
	return ""
}

// checkout is the folder that the agent works in, with the file that nobody remembers.
type checkout string

const (
	forgotten = "scripts/domains.env"
	agents    = ".env"
)

func (c checkout) write(name, text string) error {
	file := filepath.Join(string(c), filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("making the checkout: %w", err)
	}
	return os.WriteFile(file, []byte(text), 0o600)
}

// read gives the value of the one variable in a file.
func (c checkout) read(name string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(string(c), filepath.FromSlash(name)))
	_, value, _ := strings.Cut(strings.TrimSpace(string(raw)), "=")
	return value, err
}

func (c checkout) remove(names ...string) error {
	var failed []error
	for _, name := range names {
		failed = append(failed, os.Remove(filepath.Join(string(c), filepath.FromSlash(name))))
	}
	return errors.Join(failed...)
}

// all is every byte in it.
func (c checkout) all() (string, error) {
	var text strings.Builder
	err := fs.WalkDir(os.DirFS(string(c)), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := fs.ReadFile(os.DirFS(string(c)), name)
		text.Write(raw)
		return err
	})
	return text.String(), err
}
