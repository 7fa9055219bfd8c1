package railway

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/hourkey/hourkey/issuers/gateway/lists"
)

// Config is what a Server needs. Only Now is required.
type Config struct {
	Now         func() time.Time
	Folder      string      // where the volumes' bytes lie as files; empty for none
	HourlyLimit int         // requests in an hour for each token; 0 for no limit
	Random      io.Reader   // ids and secrets come from it; crypto/rand if nil
	Schema      *ast.Schema // the parsed schema, to share it among servers; parsed anew if nil
}

// Server is a Railway. It is an http.Handler and safe for concurrent use; one request is served at a time.
type Server struct {
	now    func() time.Time
	random io.Reader
	limit  int
	disk   *disk
	schema *ast.Schema

	effects  map[string]effect
	queries  map[string]query
	computed map[string]computed

	mu        sync.Mutex
	st        *state
	spent     map[string]spending // token → what it used of the hour
	persisted map[string]string   // SHA-256 of a query in hex → its text
	workflows map[string]bool     // ids of workflows, all complete
}

// New makes an empty Railway. It panics if the schema in this program cannot be read.
func New(config Config) *Server {
	s := &Server{
		now: config.Now, random: config.Random, limit: config.HourlyLimit, schema: config.Schema,
		effects: effects(), queries: queries(), computed: computedFields(),
		st: newState(), spent: map[string]spending{}, persisted: map[string]string{}, workflows: map[string]bool{},
	}
	if s.random == nil {
		s.random = rand.Reader
	}
	if s.schema == nil {
		s.schema = must(lists.Railway())
	}
	if config.Folder != "" {
		s.disk = &disk{folder: config.Folder, files: map[string]string{}}
	}
	return s
}

// Clone makes an independent server in the same state, without a folder and without a limit.
func (s *Server) Clone() *Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Server{
		now: s.now, random: s.random, schema: s.schema,
		effects: s.effects, queries: s.queries, computed: s.computed,
		st: s.st.clone(), spent: map[string]spending{}, persisted: maps.Clone(s.persisted), workflows: maps.Clone(s.workflows),
	}
}

// Secrets lists the text of every secret there ever was in this server, sorted: variables' values, tokens,
// credentials, invite codes. Those shorter than 8 characters are left out: they are found by accident.
func (s *Server) Secrets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.DeleteFunc(slices.Collect(maps.Keys(s.st.secrets)), func(text string) bool { return len(text) < 8 })
	slices.Sort(all)
	return all
}

// IDs lists the ids of the records of a kind, oldest first: Volume, Deployment, …
func (s *Server) IDs(kind string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for _, r := range s.st.kinds[kind] {
		ids = append(ids, r.id)
	}
	return ids
}

// uuid makes a version 4 UUID.
func (s *Server) uuid() string {
	b := s.bytes(16)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// secret makes a secret that is easy to recognise: faithful-<what>-<24 hex digits>.
func (s *Server) secret(what string) secret {
	return secret("faithful-" + what + "-" + hex.EncodeToString(s.bytes(12)))
}

func (s *Server) bytes(n int) []byte {
	b := make([]byte, n)
	must(io.ReadFull(s.random, b))
	return b
}

// sweep does what time does: backups and sessions expire, projects whose days of grace are over go.
func (s *Server) sweep(now time.Time) {
	for kind, field := range map[string]string{
		"VolumeInstanceBackup": "expiresAt", "Project": "deleteAt", "Session": "expiredAt", "LoginSession": "expiresAt",
	} {
		for _, r := range s.st.all(kind) {
			if end := r.when(field); !end.IsZero() && !now.Before(end) {
				s.st.destroy(r)
			}
		}
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
