package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Broker is all of the broker that the socket can reach.
type Broker interface {
	Status(ctx context.Context) (broker.Status, error)
	Leases(ctx context.Context, caller broker.Caller, all bool) ([]broker.Lease, error)
	Revoke(ctx context.Context, caller broker.Caller, lease string) error
	Freeze(ctx context.Context, caller broker.Caller, freeze broker.Freeze) (ended int, err error)
	Freezes(ctx context.Context) ([]broker.Freeze, error)
	AddAgent(ctx context.Context, caller broker.Caller, name, owner string) (broker.Secret, error)
	RemoveAgent(ctx context.Context, caller broker.Caller, name string) error
	Agents(ctx context.Context) ([]broker.Agent, error)
	InviteHuman(ctx context.Context, caller broker.Caller, name string) (broker.Invite, broker.Secret, error)
	Humans(ctx context.Context) ([]broker.Human, error)
	Pins(ctx context.Context) ([]broker.Pin, error)
}

// Config is what the socket serves.
type Config struct {
	Broker  Broker
	Origin  string
	Version string
	// LogKey and Checkpoint give the event log's public key and its state, signed.
	LogKey     func(ctx context.Context) (string, error)
	Checkpoint func(ctx context.Context) ([]byte, error)
	Backup     func(ctx context.Context, to io.Writer) error
	Export     func(ctx context.Context, to io.Writer) error
	Reload     func(ctx context.Context, caller broker.Caller) (Reloaded, error)
	Enrolled   func(ctx context.Context) ([]string, error) // the humans who have a passkey, by name
	Log        *slog.Logger
}

// maxBody bounds a request over the socket, in bytes.
const maxBody = 64 << 10

// caller is who everybody at the socket is.
var caller = broker.Caller{Kind: broker.CallerSocket}

// route is one line of the table of what the socket can do.
type route struct {
	pattern string
	handle  http.HandlerFunc
}

// Handler answers what Config allows, and nothing else.
func Handler(config Config) http.Handler {
	mux := http.NewServeMux()
	for _, route := range routes(config) {
		mux.HandleFunc(route.pattern, route.handle)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, config.Log, r, broker.Errorf(broker.CodeNotFound, "the admin socket has no %s %s", r.Method, r.URL.Path))
	})
	return mux
}

// NewServer makes the HTTP server of the socket. Backups take their time, so that only the reading of a
// request is bounded.
func NewServer(config Config) *http.Server {
	return &http.Server{
		Handler: Handler(config), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(config.Log.Handler(), slog.LevelWarn),
	}
}

func routes(c Config) []route {
	b := c.Broker
	return []route{
		{"GET /status", c.answer(c.status)},
		{"GET /pins", c.answer(func(r *http.Request) (any, error) { return b.Pins(r.Context()) })},
		{"GET /leases", c.answer(func(r *http.Request) (any, error) {
			return b.Leases(r.Context(), caller, r.URL.Query().Get("all") == "true")
		})},
		{"DELETE /leases/{id}", c.answer(func(r *http.Request) (any, error) {
			return Done{true}, b.Revoke(r.Context(), caller, r.PathValue("id"))
		})},
		{"GET /freezes", c.answer(func(r *http.Request) (any, error) { return b.Freezes(r.Context()) })},
		{"POST /freezes", c.answer(c.freeze)},
		{"GET /agents", c.answer(c.agents)},
		{"POST /agents", c.answer(c.addAgent)},
		{"DELETE /agents/{name}", c.answer(func(r *http.Request) (any, error) {
			return Done{true}, b.RemoveAgent(r.Context(), caller, r.PathValue("name"))
		})},
		{"GET /humans", c.answer(func(r *http.Request) (any, error) { return b.Humans(r.Context()) })},
		{"POST /humans", c.answer(c.invite)},
		{"POST /reload", c.answer(func(r *http.Request) (any, error) { return c.Reload(r.Context(), caller) })},
		{"GET /checkpoint", c.answer(func(r *http.Request) (any, error) {
			signed, err := c.Checkpoint(r.Context())
			return string(signed), err
		})},
		{"GET /backup", c.stream(c.Backup)},
		{"GET /export", c.stream(c.Export)},
	}
}

func (c Config) status(r *http.Request) (any, error) {
	status, err := c.Broker.Status(r.Context())
	if err != nil {
		return nil, err
	}
	enrolled, err := c.Enrolled(r.Context())
	if err != nil {
		return nil, err
	}
	key, err := c.LogKey(r.Context())
	return Status{Status: status, Origin: c.Origin, Version: c.Version, LogKey: key, Enrolled: enrolled}, err
}

func (c Config) freeze(r *http.Request) (any, error) {
	var body ToFreeze
	if err := read(r, &body); err != nil {
		return nil, err
	}
	freeze := broker.Freeze{Of: body.Of, Name: body.Name, Reason: body.Reason}
	ended, err := c.Broker.Freeze(r.Context(), caller, freeze)
	return Frozen{Freeze: freeze.ID(), Ended: ended}, err
}

// agents lists them without the hashes of their codes.
func (c Config) agents(r *http.Request) (any, error) {
	agents, err := c.Broker.Agents(r.Context())
	for i := range agents {
		agents[i].CodeHash = ""
	}
	return agents, err
}

func (c Config) addAgent(r *http.Request) (any, error) {
	var body AgentToAdd
	if err := read(r, &body); err != nil {
		return nil, err
	}
	code, err := c.Broker.AddAgent(r.Context(), caller, body.Name, body.Owner)
	return AgentAdded{Name: body.Name, Code: code.Reveal()}, err
}

func (c Config) invite(r *http.Request) (any, error) {
	var body HumanToInvite
	if err := read(r, &body); err != nil {
		return nil, err
	}
	invite, code, err := c.Broker.InviteHuman(r.Context(), caller, body.Name)
	invited := Invited{Code: code.Reveal()}
	if invite.State == broker.InviteInert {
		invited.Phrase = invite.Phrase()
	}
	invite.CodeHash = ""
	invited.Invite = invite
	return invited, err
}

// answer writes what a function says, as JSON.
func (c Config) answer(say func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		value, err := say(r)
		if err != nil {
			refuse(w, c.Log, r, err)
			return
		}
		write(w, http.StatusOK, value)
	}
}

// Trailer fields of a stream: a copy that broke off must not be taken for a whole one.
const (
	trailerDone    = "Hourkey-Done"
	trailerProblem = "Hourkey-Problem"
)

func (c Config) stream(send func(context.Context, io.Writer) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", trailerDone+", "+trailerProblem)
		w.Header().Set("Content-Type", "application/octet-stream")
		if err := send(r.Context(), w); err != nil {
			c.Log.WarnContext(r.Context(), "a stream over the admin socket failed", "path", r.URL.Path, "error", err)
			w.Header().Set(trailerProblem, url.QueryEscape(ProblemOf(err).Message))
			return
		}
		w.Header().Set(trailerDone, "true")
	}
}

func read(r *http.Request, into any) error {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return broker.Errorf(broker.CodeInvalid, "the request cannot be read as JSON").Because(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return broker.Errorf(broker.CodeInvalid, "the request holds more than one value")
	}
	return nil
}

func refuse(w http.ResponseWriter, log *slog.Logger, r *http.Request, err error) {
	log.WarnContext(r.Context(), "refused at the admin socket", "method", r.Method, "path", r.URL.Path, "error", err)
	status := http.StatusUnprocessableEntity // the client looks at the code in the body alone
	if broker.CodeOf(err) == broker.CodeInternal {
		status = http.StatusInternalServerError
	}
	write(w, status, ProblemOf(err))
}

func write(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the peer is gone; there is nobody to tell
}
