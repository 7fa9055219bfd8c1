package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/admin"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/cmd/hourkeyd/daemon"
	"github.com/hourkey/hourkey/issuers/vault"
)

// checked is what check prints.
type checked struct {
	Config       string          `json:"config"` // hash
	Environments []string        `json:"environments"`
	Tasks        []string        `json:"tasks"`           // files
	Guardrails   []string        `json:"guardrails"`      // files
	Vault        *checkedTarget  `json:"vault,omitempty"` // of hourkey.yaml, with --live
	Targets      []checkedTarget `json:"targets"`
	Warnings     []string        `json:"warnings"` // of hourkey.yaml
	Refuses      bool            `json:"refuses"`  // something would be refused
}

type checkedTarget struct {
	Target   string           `json:"target"` // environment/target
	Kind     string           `json:"kind"`
	Where    string           `json:"where"`
	Identity string           `json:"identity,omitempty"` // with --live
	Problem  string           `json:"problem,omitempty"`
	MendBy   string           `json:"mend_by,omitempty"` // who does what with Mend
	Mend     string           `json:"mend,omitempty"`    // makes the broker's login, when it did not get in
	Findings []broker.Finding `json:"findings"`
}

func (m *Main) checkCommand() *cobra.Command {
	var live bool
	c := &cobra.Command{
		Use: "check", Short: "Validate every file; --live also asks the targets and prints what mends their walls", Args: takes(),
		Long: "check reads every file as serve would, and says which line is wrong. With --live it also asks each target, with the\n" +
			"broker's own login, who it is and what its walls are: REFUSED is what nothing is issued for, a warning is what\n" +
			"reviewers are told, or a task that asks for what it never gets; below each stands what mends it, to paste at the\n" +
			"provider. It changes nothing, and needs no running broker. Exit code 1 when a file is wrong or something is REFUSED.",
		Example: "  hourkeyd check --live\n  hourkeyd check --live -o json | jq -r '.targets[] | select(.target == \"staging/cluster\").mend'",
		RunE:    func(c *cobra.Command, _ []string) error { return m.check(c.Context(), live) },
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
	if err := m.checkPlaces(set.Server); err != nil { // first: root is told how the rest can be looked at
		return err
	}
	m.noteIdleGroups(set)
	secrets, err := daemon.OpenReferences(set.Server, config.Secrets{Guard: m.Guard, Lookup: m.Lookup}, m.Now)
	if err != nil {
		return err
	}
	defer secrets.Close() //nolint:errcheck // nothing was changed
	result := overview(set)
	if warning := daemon.WithoutOperators(set.Server, m.enrolled(ctx)); warning != "" {
		result.Warnings = append(result.Warnings, warning)
	}
	if live {
		result.Vault = checkVault(ctx, secrets, set)
	}
	if result.Vault == nil || !result.Vault.refuses() { // else no target can be opened
		if err := m.checkTargets(ctx, set, secrets.Secrets, live, &result); err != nil {
			return err
		}
	}
	result.Refuses = result.Vault != nil && result.Vault.refuses() || slices.ContainsFunc(result.Targets, checkedTarget.refuses)
	if err := m.say(result, func(w io.Writer) { writeChecked(w, result, live) }); err != nil {
		return err
	}
	if result.Refuses {
		return exitCode(exitError)
	}
	return nil
}

// checkVault tries the login that hourkey.yaml names; nil where it names none.
func checkVault(ctx context.Context, secrets *daemon.References, set *config.Set) *checkedTarget {
	if set.Server.Vault == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	t := checkedTarget{Target: "the broker's own secrets", Kind: vault.Kind, Where: fmt.Sprintf("%s:%d", filepath.Base(set.Server.File), set.Server.Vault.Line)}
	found, err := secrets.Check(ctx, set)
	t.Findings = append([]broker.Finding{}, found...)
	if err != nil {
		t.Problem = operatorText(err)
	}
	if isLoginless(t) {
		t.MendBy, t.Mend = vaultMend("hourkey", secrets.Policy(set))
	}
	return &t
}

// checkTargets opens every target, and looks at the rest of the files; live also asks the targets.
func (m *Main) checkTargets(ctx context.Context, set *config.Set, secrets config.Secrets, live bool, result *checked) error {
	authority, err := daemon.ThrowawayAuthority()
	if err != nil {
		return err
	}
	built, err := daemon.Build{Secrets: secrets, Signer: daemon.Throwaway, Now: m.Now, Authority: authority}.Configuration(ctx, set, nil)
	if err != nil {
		return err
	}
	defer built.Close() //nolint:errcheck // nothing was changed
	if _, _, err := daemon.People(set.Server, secrets); err != nil {
		return err
	}
	if !live {
		warnTasks(ctx, built, live, result)
		return nil
	}
	pins, err := m.pins(ctx)
	if err != nil {
		return err
	}
	checkLive(ctx, built, pins, result)
	for i, target := range set.Targets {
		t := &result.Targets[i]
		t.MendBy, t.Mend = loginMend(*t, target, built.Targets[target.Ref].Issuer, secrets)
	}
	warnTasks(ctx, built, live, result)
	return nil
}

// checkPlaces looks at what serve would open, as far as it is there.
func (m *Main) checkPlaces(server config.Server) error {
	if _, err := admin.SocketPath(server.Data); err != nil {
		return err
	}
	for _, path := range []string{server.Data, server.Keys} {
		if path == "" {
			continue
		}
		if err := m.Guard.CheckSecret(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return daemon.CheckCertificate(server, m.Guard)
}

func overview(set *config.Set) checked {
	c := checked{Config: set.Hash, Environments: slices.Sorted(maps.Keys(set.Environments)), Tasks: []string{}, Guardrails: []string{}, Targets: []checkedTarget{}, Warnings: []string{}}
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
		case err != nil && t.refuses(): // the findings say why
		case err != nil:
			t.Problem = operatorText(err)
		case twice && environmentOf(other) != environment:
			t.Problem = fmt.Sprintf("is the same thing at the provider as %s: an environment is an isolation boundary", other)
		default:
			claimed[identity.ID] = t.Target
			t.Problem = pinProblem(pins, ref, identity)
		}
	}
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
