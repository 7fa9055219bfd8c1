package forward

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hourkey/hourkey/cmd/hourkey/scratch"
	"github.com/hourkey/hourkey/web/api"
)

// Bounds of the listener.
const (
	headTime = 10 * time.Second // for the header of a request
	idleTime = time.Minute      // between two requests of one connection
	maxHead  = 64 << 10         // bytes of a request's header
	maxTold  = 32               // different lines that one run says, but for those about its leases
)

// Config is what a Forwarder depends on. All but Direct are required.
type Config struct {
	Targets []Target
	Open    func(context.Context, api.Tunnel) (api.Stream, error) // Client.OpenTunnel
	Getenv  func(string) string                                   // of the environment that the child would have without us
	Direct  []string                                              // hosts that the child reaches past the forwarder, like the broker's
	Say     func(line string)                                     // tells the human; called from any goroutine
	Now     func() time.Time                                      // for the age of what earlier runs left
}

// Target is one lease behind the gateway.
type Target struct {
	Name    string // "staging/railway"
	Gateway api.Gateway
}

// Forwarder serves one child. It ends with Close.
type Forwarder struct {
	config   Config
	hosts    map[string]int  // host → index of the target that leads there
	address  string          // 127.0.0.1:PORT
	password api.Secret      // of this run, in the child's variables
	folder   *scratch.Folder // holds nothing secret, but code that Node.js loads
	environ  map[string]api.Secret
	bases    []*base // one for each target
	server   *http.Server

	life context.Context // ends with Close; the forwarder owns it
	end  context.CancelFunc
	busy sync.WaitGroup // what serves the child

	mu     sync.Mutex
	closed bool
	told   map[string]bool // keys of what was said
}

// Start checks the targets, writes the authority's files and serves on a free port of 127.0.0.1.
func Start(config Config) (*Forwarder, error) {
	hosts, err := hostsOf(config.Targets)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening on loopback: %w", err)
	}
	f := &Forwarder{
		config: config, hosts: hosts, address: listener.Addr().String(), told: map[string]bool{},
		password: api.NewSecret("hkp_" + rand.Text() + rand.Text()),
	}
	f.life, f.end = context.WithCancel(context.Background())
	for n := range config.Targets {
		f.bases = append(f.bases, f.newBase(n))
	}
	if f.environ, err = f.variables(); err != nil {
		return nil, errors.Join(err, listener.Close(), f.Close())
	}
	f.serve(listener)
	return f, nil
}

// Environ gives the variables for the child. They take the place of its own of the same names.
func (f *Forwarder) Environ() map[string]api.Secret { return maps.Clone(f.environ) }

// Close ends every connection and tunnel and removes the files. It returns when all has ended.
func (f *Forwarder) Close() error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.end()
	var err error
	if f.server != nil {
		err = f.server.Close()
	}
	f.busy.Wait()
	for _, one := range f.bases {
		one.tunnels.CloseIdleConnections()
	}
	if f.folder != nil {
		err = errors.Join(err, f.folder.Remove())
	}
	return err
}

// serve begins to answer on the listener.
func (f *Forwarder) serve(listener net.Listener) {
	f.server = &http.Server{
		Handler: http.HandlerFunc(f.handle), ReadHeaderTimeout: headTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHead,
		BaseContext: func(net.Listener) context.Context { return f.life },
		ErrorLog:    slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // a child's broken connections are its own
	}
	own := &ownListener{Listener: listener, uid: os.Geteuid(), uidOf: peerUID, refused: func(why string) { f.tell("peer", "refused a connection "+why) }}
	f.busy.Go(func() {
		if err := f.server.Serve(own); !errors.Is(err, http.ErrServerClosed) {
			f.tell("stopped", "the forwarder has stopped: "+err.Error())
		}
	})
}

// enter tells whether a request may still be served; who entered calls busy.Done.
func (f *Forwarder) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.busy.Add(1)
	return true
}

// keyHost begins the keys of the one kind of line that the child can make as many of as it likes.
const keyHost = "host "

// tell says a line to the human, once for each key.
func (f *Forwarder) tell(key, line string) {
	f.mu.Lock()
	fresh := !f.closed && !f.told[key] && (len(f.told) < maxTold || !strings.HasPrefix(key, keyHost))
	if fresh {
		f.told[key] = true
	}
	f.mu.Unlock()
	if fresh {
		f.config.Say(line)
	}
}
