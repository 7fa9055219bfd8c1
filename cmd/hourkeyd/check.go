package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/admin"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/cmd/hourkeyd/daemon"
	"github.com/hourkey/hourkey/issuers/postgres"
)

// checked is what check prints.
type checked struct {
	Config       string          `json:"config"` // hash
	Environments []string        `json:"environments"`
	Tasks        []string        `json:"tasks"`      // files
	Guardrails   []string        `json:"guardrails"` // files
	Targets      []checkedTarget `json:"targets"`
	Refuses      bool            `json:"refuses"` // something would be refused
}

type checkedTarget struct {
	Target   string           `json:"target"` // environment/target
	Kind     string           `json:"kind"`
	Where    string           `json:"where"`
	Identity string           `json:"identity,omitempty"` // with --live
	Problem  string           `json:"problem,omitempty"`
	Mend     string           `json:"mend,omitempty"` // makes the broker's login, when it did not get in
	Findings []broker.Finding `json:"findings"`
}

func (t checkedTarget) refuses() bool {
	return t.Problem != "" || slices.ContainsFunc(t.Findings, func(f broker.Finding) bool { return f.Refuses })
}

func (m *Main) checkCommand() *cobra.Command {
	var live bool
	c := &cobra.Command{
		Use: "check", Short: "Validate every file; --live also asks the targets and prints what mends their walls", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return m.check(c.Context(), live) },
	}
	c.Flags().BoolVar(&live, "live", false, "connect to each target with the broker's own login and audit its walls")
	return c
}

func (m *Main) check(ctx context.Context, live bool) error {
	server, err := m.server()
	if err != nil {
		return err
	}
	m.Guard = m.Guard.ForOwnerOf(server.Data)
	set, err := m.set()
	if err != nil {
		return err
	}
	secrets, err := daemon.OpenReferences(set.Server, config.Secrets{Guard: m.Guard, Lookup: m.Lookup}, m.Now)
	if err != nil {
		return err
	}
	defer secrets.Close() //nolint:errcheck // nothing was changed
	authority, err := daemon.ThrowawayAuthority()
	if err != nil {
		return err
	}
	built, err := daemon.Build{Secrets: secrets.Secrets, Signer: daemon.Throwaway, Now: m.Now, Authority: authority}.Configuration(ctx, set, nil)
	if err != nil {
		return err
	}
	defer built.Close() //nolint:errcheck // nothing was changed
	if _, _, err := daemon.People(set.Server, secrets.Secrets); err != nil {
		return err
	}
	if err := m.checkPlaces(set.Server); err != nil {
		return err
	}
	result := overview(set)
	if live {
		if err := secrets.CheckKey(ctx); err != nil {
			return err
		}
		pins, err := m.pins(ctx)
		if err != nil {
			return err
		}
		checkLive(ctx, built, pins, &result)
		for i, target := range set.Targets {
			if strings.Contains(result.Targets[i].Problem, "refused the admin login") {
				result.Targets[i].Mend = loginSQL(target, secrets.Secrets)
			}
		}
	}
	if err := m.say(result, func(w io.Writer) { writeChecked(w, result, live) }); err != nil {
		return err
	}
	if result.Refuses {
		return exitCode(exitError)
	}
	return nil
}

// checkPlaces looks at what serve would open, as far as it is there.
func (m *Main) checkPlaces(server config.Server) error {
	if _, err := admin.SocketPath(server.Data); err != nil {
		return err
	}
	for _, path := range []string{server.Data, server.Keys, server.TLSKey} {
		if path == "" {
			continue
		}
		if err := m.Guard.CheckSecret(path); err != nil && (path == server.TLSKey || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	if server.TLSCert != "" {
		return m.Guard.Check(server.TLSCert)
	}
	return nil
}

func overview(set *config.Set) checked {
	c := checked{Config: set.Hash, Environments: slices.Sorted(maps.Keys(set.Environments)), Tasks: []string{}, Guardrails: []string{}, Targets: []checkedTarget{}}
	for _, file := range set.Tasks {
		c.Tasks = append(c.Tasks, file.Name)
	}
	for _, file := range set.Guardrails {
		c.Guardrails = append(c.Guardrails, file.Name)
	}
	for _, target := range set.Targets {
		c.Targets = append(c.Targets, checkedTarget{Target: target.Ref.String(), Kind: target.Kind, Where: target.Where, Findings: []broker.Finding{}})
	}
	return c
}

// pins are the identities that operators confirmed: of the running broker; none when it is stopped.
func (m *Main) pins(ctx context.Context) ([]broker.Pin, error) {
	var pins []broker.Pin
	err := m.ask(ctx, http.MethodGet, "/pins", nil, &pins)
	if errors.Is(err, admin.ErrNotRunning) {
		m.note("no broker is running: what the targets are is not compared with what was confirmed")
		return nil, nil
	}
	return pins, err
}

const checkTimeout = 30 * time.Second // for one target

func checkLive(ctx context.Context, built *daemon.Built, pins []broker.Pin, result *checked) {
	claimed := map[string]string{} // identity → environment/target that has it
	for i := range result.Targets {
		t := &result.Targets[i]
		environment, name, _ := strings.Cut(t.Target, "/")
		ref := broker.TargetRef{Environment: environment, Target: name}
		identity, err := checkTarget(ctx, built.Targets[ref], t)
		switch other, twice := claimed[identity.ID]; {
		case err != nil:
			t.Problem = operatorText(err)
		case twice && environmentOf(other) != environment:
			t.Problem = fmt.Sprintf("is the same thing at the provider as %s: an environment is an isolation boundary", other)
		default:
			claimed[identity.ID] = t.Target
			t.Problem = pinProblem(pins, ref, identity)
		}
	}
	result.Refuses = slices.ContainsFunc(result.Targets, checkedTarget.refuses)
}

// loginSQL prints what makes the broker's own login at a database that did not let it in.
func loginSQL(target config.Target, secrets config.Secrets) string {
	var settings postgres.Settings
	if target.Kind != postgres.Kind || target.Body.Decode(&settings) != nil {
		return ""
	}
	dsn, err := secrets.Resolve(settings.DSN)
	if err != nil {
		return ""
	}
	u, err := url.Parse(dsn.Reveal())
	if err != nil {
		return ""
	}
	return postgres.AdminSQL(u.User.Username(), strings.TrimPrefix(u.Path, "/"), settings.Owner)
}

func environmentOf(target string) string {
	environment, _, _ := strings.Cut(target, "/")
	return environment
}

// checkTarget asks who the target is and, where it can tell, what is wrong with its walls.
func checkTarget(ctx context.Context, target broker.Target, t *checkedTarget) (broker.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if checker, can := any(target.Issuer).(broker.Checker); can {
		findings, err := checker.Check(ctx)
		if err != nil {
			return broker.Identity{}, err
		}
		t.Findings = append(t.Findings, findings...)
	}
	identity, err := target.Issuer.Identify(ctx)
	t.Identity = identity.Shown
	return identity, err
}

func pinProblem(pins []broker.Pin, ref broker.TargetRef, identity broker.Identity) string {
	for _, pin := range pins {
		if pin.Environment == ref.Environment && pin.Target == ref.Target && pin.Identity.ID != identity.ID {
			return "is not what was confirmed, which was " + pin.Identity.Shown
		}
	}
	return ""
}

// operatorText is an error with its cause and next step, for the operator's own terminal.
func operatorText(err error) string {
	if e, ok := errors.AsType[*broker.Error](err); ok && e.Next != "" && !strings.Contains(e.Next, "check --live") {
		return e.Error() + " (" + e.Next + ")"
	}
	return err.Error()
}

func mendText(mend string) string { return strings.ReplaceAll(mend, "\n", "\n            ") }

func writeChecked(w io.Writer, c checked, live bool) {
	_, _ = fmt.Fprintf(w, "files       %d environment(s), %d task file(s), %d guardrail file(s): configuration %s\n", len(c.Environments), len(c.Tasks), len(c.Guardrails), c.Config)
	for _, t := range c.Targets {
		_, _ = fmt.Fprintf(w, "target      %s (%s, %s)\n", t.Target, t.Kind, filepath.ToSlash(t.Where))
		if t.Identity != "" {
			_, _ = fmt.Fprintf(w, "  is        %s\n", t.Identity)
		}
		if t.Problem != "" {
			_, _ = fmt.Fprintf(w, "  REFUSED   %s\n", indented(t.Problem))
		}
		if t.Mend != "" {
			_, _ = fmt.Fprintf(w, "    mend:   if the login is not there yet, a superuser makes it in that database:\n            %s\n", mendText(t.Mend))
		}
		for _, f := range t.Findings {
			_, _ = fmt.Fprintf(w, "  %-9s %s: %s\n", map[bool]string{true: "REFUSED", false: "warning"}[f.Refuses], f.Object, f.Problem)
			if f.Mend != "" {
				_, _ = fmt.Fprintf(w, "    mend:   %s\n", mendText(f.Mend))
			}
		}
	}
	switch {
	case c.Refuses:
		_, _ = fmt.Fprintln(w, "not good: nothing is issued where it says REFUSED")
	case live:
		_, _ = fmt.Fprintln(w, "good: files and targets")
	default:
		_, _ = fmt.Fprintln(w, "good: files (targets are asked with --live)")
	}
}
