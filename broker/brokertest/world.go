package brokertest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Origin is that of the approval page in a World.
const Origin = "https://hourkey.test"

// Clock is set by hand.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now gives the time that was set.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock; a negative d sets it back.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Policy gives what Gives covers, offers with approval what Offers covers, and denies the rest.
type Policy struct {
	Gives, Offers []broker.Scope
	TTL           time.Duration
	Forbid        func(broker.Query) bool
}

var _ broker.Policy = (*Policy)(nil)

// Resolve makes one item per target and environment.
func (p *Policy) Resolve(ask broker.Ask) (broker.Resolution, error) {
	if ask.Task != "fix" && ask.Task != "tidy" {
		return broker.Resolution{}, broker.Errorf(broker.CodeDenied, "no task %s", ask.Task)
	}
	scopes := ask.Scopes
	if len(scopes) == 0 {
		scopes = p.Gives
	}
	resolution := broker.Resolution{TTL: p.TTL}
	if ask.TTL != 0 {
		resolution.TTL = ask.TTL
	}
	for _, environment := range ask.Environments {
		byTarget := map[string][]broker.Scope{}
		for _, scope := range scopes {
			byTarget[scope.Target] = append(byTarget[scope.Target], scope)
		}
		for _, target := range slices.Sorted(keysOf(byTarget)) {
			resolution.Items = append(resolution.Items, broker.ResolvedItem{Environment: environment, Target: target, Scopes: byTarget[target]})
		}
	}
	return resolution, nil
}

func keysOf[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for key := range m {
			if !yield(key) {
				return
			}
		}
	}
}

// Evaluate decides as the type says.
func (p *Policy) Evaluate(query broker.Query) broker.Decision {
	say := func(outcome broker.Outcome, text string) broker.Decision {
		return broker.Decision{Outcome: outcome, Reasons: []broker.Reason{{Where: "fix.yaml:1", Rule: "fix", Outcome: outcome, Text: text}}}
	}
	switch {
	case p.Forbid != nil && p.Forbid(query):
		return say(broker.Deny, "forbidden")
	case query.Granted, broker.Covers(p.Gives, query.Scopes):
		return say(broker.Allow, "the task gives it")
	case broker.Covers(append(slices.Clone(p.Gives), p.Offers...), query.Scopes):
		return say(broker.Escalate, "with approval")
	}
	return say(broker.Deny, "the task does not give it")
}

// AllTasks gives the one task.
func (p *Policy) AllTasks() []broker.Task { return p.Tasks("") }

// Tasks gives the one task, whoever asks.
func (p *Policy) Tasks(string) []broker.Task {
	return []broker.Task{{Name: "fix", Environments: []string{"staging", "production"}, Gives: broker.Texts(p.Gives), TTL: p.TTL}}
}

// Passkeys verifies and makes assertions without WebAuthn: a signature is a hash over the passkey's id
// and the challenge, the first byte of the authenticator data says whether the user was verified.
type Passkeys struct{}

var _ broker.Verifier = Passkeys{}

// Verify refuses whatever Assert did not make with user verification.
func (Passkeys) Verify(passkey broker.Passkey, challenge []byte, a broker.Assertion) (uint32, error) {
	if len(a.AuthenticatorData) != 1 || a.AuthenticatorData[0] != 1 {
		return 0, broker.Errorf(broker.CodeForbidden, "the user was not verified")
	}
	if !bytes.Equal(a.Signature, signature(passkey.ID, challenge)) {
		return 0, errors.New("the signature is over something else")
	}
	return passkey.Counter + 1, nil
}

// Assert signs a ceremony's challenge with the passkey of that id.
func Assert(t testing.TB, id string, ceremony *broker.Ceremony) broker.Assertion {
	t.Helper()
	challenge, err := ceremony.Challenge()
	if err != nil {
		t.Fatal(err)
	}
	return broker.Assertion{CredentialID: id, AuthenticatorData: []byte{1}, Signature: signature(id, challenge)}
}

func signature(id string, challenge []byte) []byte {
	sum := sha256.Sum256(append([]byte(id+"\x00"), challenge...))
	return sum[:]
}

// Sealer binds a context and hides nothing.
type Sealer struct{}

// Seal prefixes the context.
func (Sealer) Seal(plain []byte, context string) ([]byte, error) {
	return append([]byte("sealed:"+context+":"), plain...), nil
}

// Open takes the prefix off again.
func (Sealer) Open(sealed []byte, context string) ([]byte, error) {
	plain, ok := bytes.CutPrefix(sealed, []byte("sealed:"+context+":"))
	if !ok {
		return nil, errors.New("sealed for something else")
	}
	return plain, nil
}

// World is a broker with a small team. staging is not protected: delete and admin want one reviewer.
// production is: write wants one, delete and admin two, never the owner. alice, bob and carol review and
// operate, and each has a passkey called NAME-key; alice owns the active agent "claude" with key "thumb".
type World struct {
	testing.TB
	*broker.Broker
	Store      *Store
	Clock      *Clock
	Policy     *Policy
	Staging    *Issuer // target db in staging
	Production *Issuer // target db in production
	Agent      broker.Caller
	Config     broker.Config
}

// NewWorld starts one; change may alter the configuration before the broker opens.
func NewWorld(t testing.TB, change ...func(*broker.Config)) *World {
	t.Helper()
	can := broker.Capabilities{Kind: "memory", EndsEarly: true, Ends: "at once"}
	w := &World{
		TB: t, Store: &Store{}, Clock: &Clock{now: time.Date(2026, 4, 24, 12, 0, 0, 0, time.UTC)},
		Policy:     &Policy{TTL: 30 * time.Minute},
		Staging:    &Issuer{ID: "memory:staging", Can: can, Tables: []string{"public.orders", "public.customers"}},
		Production: &Issuer{ID: "memory:production", Can: can, Tables: []string{"public.orders", "public.customers"}},
		Agent:      broker.Caller{Kind: broker.CallerAgent, Name: "claude", Key: "thumb"},
	}
	w.Policy.Gives = []broker.Scope{w.Scope("db:public.*:read,write")}
	w.Policy.Offers = []broker.Scope{w.Scope("db:public.*:delete")}
	w.Config = broker.Config{
		Store: w.Store, Sealer: Sealer{}, Verifier: Passkeys{}, Origin: Origin, Now: w.Clock.Now, Configuration: w.Configuration(),
	}
	for _, c := range change {
		c(&w.Config)
	}
	w.Reopen()
	w.enrol()
	return w
}

// Configuration is the World's, fresh for each call.
func (w *World) Configuration() *broker.Configuration {
	return &broker.Configuration{
		Hash: "config-1",
		Environments: map[string]broker.Environment{
			"staging":    {Name: "staging", Approval: map[broker.Actions]int{broker.Delete: 1, broker.Admin: 1}, Where: "staging.yaml:1"},
			"production": {Name: "production", Protected: true, Approval: map[broker.Actions]int{broker.Write: 1, broker.Delete: 2, broker.Admin: 2}, Where: "production.yaml:1"},
		},
		Groups: map[string][]string{"team": {"alice", "bob", "carol"}},
		SignOn: &broker.SignOn{Issuer: "https://login.example", Groups: []string{"team"}},
		Roles:  map[broker.Role][]string{broker.RoleReviewer: {"team"}, broker.RoleOperator: {"team"}},
		Policy: w.Policy,
		Targets: map[broker.TargetRef]broker.Target{
			{Environment: "staging", Target: "db"}:    {Binding: "staging/db/1", Issuer: w.Staging},
			{Environment: "production", Target: "db"}: {Binding: "production/db/1", Issuer: w.Production},
		},
	}
}

// Reopen opens a new broker on the same store, as a restart does.
func (w *World) Reopen() {
	w.Helper()
	b, err := broker.New(w.Context(), w.Config)
	if err != nil {
		w.Fatal(err)
	}
	w.Broker = b
}

// Scope parses a scope.
func (w *World) Scope(text string) broker.Scope {
	w.Helper()
	scope, err := broker.ParseScope(text)
	if err != nil {
		w.Fatal(err)
	}
	return scope
}

func (w *World) enrol() {
	w.Helper()
	err := w.Store.Update(w.Context(), func(tx broker.Tx) error {
		agent := &broker.Agent{Name: "claude", Owner: "alice", State: broker.AgentActive, Thumbprint: "thumb", Key: json.RawMessage(`{}`)}
		failed := []error{tx.Save(agent)}
		for _, name := range []string{"alice", "bob", "carol"} {
			failed = append(failed, tx.Save(&broker.Human{Name: name, Handle: []byte(name)}), tx.Save(&broker.Passkey{ID: name + "-key", Human: name}))
		}
		return errors.Join(failed...)
	})
	if err != nil {
		w.Fatal(err)
	}
	if _, err := w.Learn(w.Context()); err != nil {
		w.Fatal(err)
	}
	for _, target := range []string{"staging/db", "production/db"} {
		w.SignAs("bob", broker.ActConfirmTarget, target)
	}
}

// SubjectDigest is what a page would show of a subject now.
func (w *World) SubjectDigest(act broker.Act, subject string) (digest string) {
	w.Helper()
	err := w.Store.View(w.Context(), func(r broker.Reader) error {
		switch act {
		case broker.ActApprove:
			q := &broker.Request{ID: subject}
			err := r.Load(q)
			digest = q.Digest()
			return err
		case broker.ActActivateAgent:
			a := &broker.Agent{Name: subject}
			err := r.Load(a)
			digest = a.Digest()
			return err
		case broker.ActAdmitHuman:
			i := &broker.Invite{Human: subject}
			err := r.Load(i)
			digest = i.Digest()
			return err
		case broker.ActConfirmTarget:
			environment, target, _ := strings.Cut(subject, "/")
			p := &broker.Pin{Environment: environment, Target: target}
			err := r.Load(p)
			digest = p.Digest()
			return err
		case broker.ActLiftFreeze:
			of, name, _ := strings.Cut(subject, ":")
			f := &broker.Freeze{Of: broker.FreezeKind(of), Name: name}
			err := r.Load(f)
			digest = f.Digest()
			return err
		case broker.ActAddPasskey:
			p := &broker.WaitingPasskey{Passkey: broker.Passkey{ID: subject}}
			err := r.Load(p)
			digest = p.Passkey.Digest()
			return err
		case broker.ActRemovePasskey:
			p := &broker.Passkey{ID: subject}
			err := r.Load(p)
			digest = p.Digest()
			return err
		}
		return errors.New("unknown act")
	})
	if err != nil {
		w.Fatal(err)
	}
	return digest
}

// SignAs prepares and signs an act with the human's passkey.
func (w *World) SignAs(human string, act broker.Act, subject string) {
	w.Helper()
	if err := w.TrySign(human, broker.Intent{Act: act, Subject: subject, Digest: w.SubjectDigest(act, subject)}); err != nil {
		w.Fatalf("%s could not sign %s of %s: %v", human, act, subject, err)
	}
}

// TrySign is SignAs that gives the error. It types what must be typed, unless the intent says what is.
func (w *World) TrySign(human string, intent broker.Intent) error {
	w.Helper()
	if intent.Act == broker.ActApprove && intent.Typed == nil {
		if request, err := w.Request(w.Context(), broker.Caller{Kind: broker.CallerSocket}, intent.Subject); err == nil {
			intent.Typed = w.Configuration().MustType(request.Effective())
		}
	}
	ceremony, err := w.Prepare(w.Context(), human, intent)
	if err != nil {
		return err
	}
	_, err = w.Sign(w.Context(), human, ceremony.Nonce, Assert(w, human+"-key", ceremony))
	return err
}

// Ask submits scopes for an environment.
func (w *World) Ask(environment string, scopes ...string) (broker.Request, error) {
	w.Helper()
	ask := broker.Ask{Agent: w.Agent.Name, AgentKey: w.Agent.Key, Task: "fix", Environments: []string{environment}}
	for _, scope := range scopes {
		ask.Scopes = append(ask.Scopes, w.Scope(scope))
	}
	return w.Submit(w.Context(), ask)
}

// MustAsk is Ask that fails the test on an error.
func (w *World) MustAsk(environment string, scopes ...string) broker.Request {
	w.Helper()
	request, err := w.Ask(environment, scopes...)
	if err != nil {
		w.Fatal(err)
	}
	return request
}

// MustCollect collects and fails the test on an error.
func (w *World) MustCollect(request broker.Request) []broker.Credential {
	w.Helper()
	credentials, err := w.Collect(w.Context(), w.Agent, request.ID)
	if err != nil {
		w.Fatal(err)
	}
	return credentials
}

// WantCode fails the test unless err has that code.
func (w *World) WantCode(err error, code broker.Code) {
	w.Helper()
	if broker.CodeOf(err) != code {
		w.Fatalf("got %q (%v), want %q", broker.CodeOf(err), err, code)
	}
}

// Events counts the events of a type.
func (w *World) Events(kind broker.EventType) int {
	n := 0
	for _, event := range w.Store.Log() {
		if event.Type == kind {
			n++
		}
	}
	return n
}

// CallsOf gives the data of the gateway's events of one kind.
func (w *World) CallsOf(kind broker.EventType) []broker.CallEvent {
	w.Helper()
	var all []broker.CallEvent
	for _, event := range w.Store.Log() {
		if event.Type != kind {
			continue
		}
		var data broker.CallEvent
		if err := json.Unmarshal(event.Data, &data); err != nil {
			w.Fatal(err)
		}
		all = append(all, data)
	}
	return all
}
