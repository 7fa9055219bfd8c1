package forward_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkey/forward"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
	"github.com/hourkey/hourkey/issuers/gateway/proxy"
	"github.com/hourkey/hourkey/web/api"
)

// smallPack is a provider's with two operations.
type smallPack struct{ *judge.REST }

func (smallPack) Name() string                               { return "small" }
func (smallPack) Hosts() []string                            { return []string{mainHost, otherHost} }
func (smallPack) Rows() *judge.Pack                          { return &judge.Pack{} }
func (smallPack) Kinds() []string                            { return []string{"thing"} }
func (smallPack) Variables(string, string) map[string]string { return nil }

func (smallPack) Refuse(_ judge.Call, _ int, problem gateway.Problem) (string, []byte) {
	body, _ := json.Marshal(map[string]string{"message": problem.Message})
	return "application/json", body
}

// smallProvider has everything in staging.
type smallProvider struct {
	gateway.Provider
	base string
}

func (smallProvider) Resolve(_ context.Context, named []judge.Named, _ bool) ([]gateway.Found, error) {
	return slices.Repeat([]gateway.Found{{Names: []broker.Resource{"thing/1"}, Places: []broker.Place{{Identity: "small", Shown: "staging"}}}}, len(named)), nil
}

func (smallProvider) Sight() judge.Sight        { return judge.Sight{} }
func (p smallProvider) Base() string            { return p.base }
func (smallProvider) Attach(header http.Header) { header.Set("Authorization", "Bearer real-token") }

// smallIssuer is a target behind the gateway.
type smallIssuer struct {
	broker.Issuer
	broker.Declarer
	pack     smallPack
	provider smallProvider
}

func (i *smallIssuer) Pack() gateway.Pack         { return i.pack }
func (i *smallIssuer) Provider() gateway.Provider { return i.provider }

// permissive is a broker that lets every call of one lease pass while the lease lives.
type permissive struct {
	token     string
	presented *broker.Presented
}

func (p *permissive) Present(_ context.Context, token broker.Secret, key string) (*broker.Presented, error) {
	switch {
	case token.Reveal() != p.token || key != p.presented.Lease.AgentKey:
		return nil, broker.Errorf(broker.CodeUnauthenticated, "this token is of no lease of this key")
	case p.presented.Ends.Err() != nil:
		return nil, broker.Errorf(broker.CodeExpired, "this lease has ended")
	}
	return p.presented, nil
}

func (*permissive) Use(context.Context, *broker.Presented, broker.Call) (broker.Pass, error) {
	return broker.Pass{}, nil
}
func (*permissive) Used(context.Context, *broker.Presented, broker.Pass, broker.Call, string) {}
func (*permissive) RefusedCall(context.Context, *broker.Presented, string, error)             {}

// realWorld is a forwarder before the broker's own proxy. End ends the lease.
func realWorld(t *testing.T) (w *world, end func()) {
	t.Helper()
	w = &world{T: t, said: &lines{}, folder: t.TempDir(), environ: map[string]string{}}
	t.Setenv("TMPDIR", w.folder)
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"was":"%s %s %s as %s"}`, r.Method, r.URL, text, strings.ReplaceAll(r.Header.Get("Authorization"), "real", "the broker's"))
	}))
	t.Cleanup(provider.Close)
	rows, err := judge.ParsePack("small", "small.pack", []byte("GET /things\n    read    lists\n    touch   none\n\nPUT /things/{id}\n    write   changes one\n    touch   thing id\n"))
	if err != nil {
		t.Fatal(err)
	}
	rest, err := judge.NewREST(rows)
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	ends, end := context.WithCancel(context.Background())
	t.Cleanup(end)
	rules := &permissive{token: "hkt_lease1_" + strings.Repeat("A", 26), presented: &broker.Presented{
		Lease: broker.Lease{
			ID: "lease1", AgentKey: api.Thumbprint(key.Public().(ed25519.PublicKey)), Environment: "staging", Target: "small", State: broker.LeaseLive,
			Created: time.Now().Add(-time.Minute), Expires: time.Now().Add(time.Hour),
		},
		Target: broker.Target{Binding: "b", Issuer: &smallIssuer{pack: smallPack{rest}, provider: smallProvider{base: provider.URL}}}, Ends: ends,
	}}
	w.broker = httptest.NewUnstartedServer(nil)
	origin := "http://" + w.broker.Listener.Addr().String()
	authority, err := gateway.NewAuthority([]byte(strings.Repeat("s", 32)), "installation")
	if err != nil {
		t.Fatal(err)
	}
	door, err := proxy.New(proxy.Config{Broker: rules, Authority: authority, Origin: origin, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	w.broker.Config.Handler = door
	w.broker.Start()
	t.Cleanup(w.broker.Close)
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- door.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})

	lease := rules.presented.Lease
	ca, err := authority.Certificate(lease.ID, smallPack{}.Hosts(), lease.Created, lease.Expires)
	if err != nil {
		t.Fatal(err)
	}
	w.client, err = api.NewClient(api.ClientConfig{Origin: origin, Agent: "claude-code", Key: key, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	w.lease = api.Gateway{Token: api.NewSecret(rules.token), Hosts: smallPack{}.Hosts(), CA: ca, Variables: map[string]string{"PROVIDER_URL": "{base}", "PROVIDER_TOKEN": "{placeholder}"}}
	w.Forwarder, err = forward.Start(forward.Config{
		Now:     time.Now,
		Targets: []forward.Target{{Name: "staging/small", Gateway: w.lease}}, Open: w.client.OpenTunnel, Say: w.said.say, Getenv: func(string) string { return "" },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	for name, value := range w.Environ() {
		w.environ[name] = value.Reveal()
	}
	return w, end
}

// Both sides of the tunnel are the real ones.
func TestProgramsThroughTheBrokersOwnProxy(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"curl":   {"curl", "--silent", "--show-error", "--header", "Authorization: Bearer mine", "URL"},
		"Python": {"python3", "-c", pythonProgram, "URL"},
		"Node":   {"node", "-e", nodeHTTPS, "URL"},
		"Go":     {self, "URL"},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := realWorld(t)
			for _, url := range []string{"https://" + mainHost, "https://" + otherHost, w.environ["PROVIDER_URL"]} {
				args := slices.Clone(args)
				args[len(args)-1] = url + "/things"
				if strings.HasPrefix(url, "http:") && name == "Node" {
					continue // this program speaks https alone
				}
				command := exec.Command(program(t, args[0], strings.ToLower(name)), args[1:]...)
				command.Env = w.childEnviron()
				text, err := command.CombinedOutput()
				if err != nil || strings.TrimSpace(string(text)) != `{"was":"GET /things  as Bearer the broker's-token"}` {
					t.Errorf("%s: %v\n%s", url, err, text)
				}
			}
			if said := w.said.list(); len(said) > 0 {
				t.Error(said)
			}
		})
	}
}

func TestCallsThroughTheBrokersOwnProxy(t *testing.T) {
	w, end := realWorld(t)
	for name, client := range map[string]*http.Client{"https://" + mainHost: w.child(), w.environ["PROVIDER_URL"]: w.base()} {
		for range 3 { // one tunnel, kept
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, name+"/things/1", strings.NewReader(`{}`))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", "application/json")
			answer, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(answer.Body)
			_ = answer.Body.Close()
			if answer.StatusCode != 200 || !strings.Contains(string(text), "PUT /things/1 {}") {
				t.Errorf("%s: %s %s", name, answer.Status, text)
			}
		}
		if status, text := w.get(client, name+"/../things"); status != http.StatusBadRequest && status != http.StatusForbidden {
			t.Errorf("%s: %d %s", name, status, text)
		}
		if status, text := w.get(client, name+"/unknown"); status != http.StatusForbidden {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	end()
	eventually(t, "the lease has ended for the child too", func() bool {
		status, text := w.get(w.base(), w.environ["PROVIDER_URL"]+"/things")
		return status == http.StatusForbidden && text == "hourkey: the lease for staging/small has ended; more time is a new request\n"
	})
	if said := w.said.list(); len(said) != 1 || said[0] != "the lease for staging/small has ended; more time is a new request" {
		t.Errorf("said %q", said)
	}
}
