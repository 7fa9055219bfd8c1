package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/admin"
)

// ask makes one call to the running broker.
func (m *Main) ask(ctx context.Context, method, path string, in, out any) error {
	client, err := m.client()
	if err != nil {
		return err
	}
	return client.Call(ctx, method, path, in, out)
}

func (m *Main) reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use: "reload", Short: "Put changed files in force; a bad set leaves the old one in force", Args: takes(),
		Long: "reload reads every file again, as check does, and puts the set in force as a whole. It says what got wider, and which\n" +
			"settings wait for a new start. What waits for a human, or was approved and not collected, ends: it was asked under\n" +
			"the old files. Leases go on.",
		RunE: func(c *cobra.Command, _ []string) error {
			var done admin.Reloaded
			if err := m.ask(c.Context(), http.MethodPost, "/reload", nil, &done); err != nil {
				return err
			}
			return m.say(done, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "configuration %s is in force\n", done.Config)
				for _, line := range done.Wider {
					_, _ = fmt.Fprintf(w, "  wider: %s\n", line)
				}
				for _, setting := range done.Restart {
					_, _ = fmt.Fprintf(w, "  not yet: %s changed, which only a new start takes\n", setting)
				}
				for _, line := range done.Warnings {
					_, _ = fmt.Fprintf(w, "  warning: %s\n", line)
				}
			})
		},
	}
}

func (m *Main) statusCommand() *cobra.Command {
	var wait time.Duration
	c := &cobra.Command{
		Use: "status", Short: "The running broker in numbers", Args: takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			status, err := m.statusWithin(c.Context(), wait)
			if err != nil {
				return err
			}
			return m.say(status, func(w io.Writer) { writeStatus(w, status) })
		},
	}
	c.Flags().DurationVar(&wait, "wait", 0, "wait so long for a broker that is still starting")
	return c
}

// statusWithin asks, and asks again while nobody answers and there is time.
func (m *Main) statusWithin(ctx context.Context, wait time.Duration) (status admin.Status, err error) {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err = m.ask(ctx, http.MethodGet, "/status", nil, &status)
		if !errors.Is(err, admin.ErrNotRunning) {
			return status, err
		}
		select {
		case <-waiting.Done():
			return status, err
		case <-tick.C:
		}
	}
}

func writeStatus(w io.Writer, s admin.Status) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { _, _ = fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	line("address", "%s (%s)", s.Origin, s.Version)
	line("installation", "%s, epoch %d", s.Installation.ID, s.Installation.Epoch)
	line("protects from", "%s", protects(s.Installation))
	line("configuration", "%s", s.Config)
	line("events", "%d, verified by %s", s.Events, s.LogKey)
	for _, state := range slices.Sorted(maps.Keys(s.Leases)) {
		line("leases "+string(state), "%d", s.Leases[state])
	}
	line("requests pending", "%d", s.Pending)
	for _, f := range s.Freezes {
		line("frozen", "%s by %s since %s: %s", f.ID(), f.By, stamp(f.At), f.Reason)
	}
	for _, target := range s.Unconfirmed {
		line("unconfirmed", "%s: an operator confirms it at %s/targets/%s", target, s.Origin, target)
	}
	if !s.Writable {
		line("STORE", "does not take writes: nothing is issued")
	}
	if s.Behind {
		line("CLOCK", "is behind the last event: nothing is issued")
	}
	_ = t.Flush()
}

// protects says what an installation can promise (invariant 5).
func protects(i broker.Installation) string {
	if !i.SameUser.IsZero() {
		return "mistakes only: since " + stamp(i.SameUser) + " a program of the broker's own OS user could reach it"
	}
	return "mistakes and agents: the broker has an OS user of its own"
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (m *Main) agentCommand() *cobra.Command {
	var owner string
	add := &cobra.Command{
		Use: "add NAME --owner HUMAN", Short: "Let an agent enrol a key; it stays inert until its owner signs it", Args: takes("NAME"),
		Long: "add prints a one-time code for `hourkey enroll`, which lives an hour. A name stays its owner's, also when the agent\n" +
			"is removed. Adding an agent again, with the same owner, makes a new code: for a new machine, or a lost key.",
		Example: "  hourkeyd agent add claude-code --owner alice",
		RunE: func(c *cobra.Command, args []string) error {
			var added admin.AgentAdded
			if err := m.ask(c.Context(), http.MethodPost, "/agents", admin.AgentToAdd{Name: args[0], Owner: owner}, &added); err != nil {
				return err
			}
			return m.say(added, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "%s\n", added.Code)
				m.note("this one-time code for agent %s lives one hour; on the agent's side: hourkey enroll %s --agent %s", added.Name, m.origin(), added.Name)
				m.noteNewAgent(c.Context(), added.Name, owner)
			})
		},
	}
	add.Flags().StringVar(&owner, "owner", "", "the human on whose behalf the agent acts")
	must(add.MarkFlagRequired("owner"))
	remove := &cobra.Command{
		Use: "remove NAME", Short: "End an agent and its leases", Args: takes("NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			return listedBy(m.do(c.Context(), http.MethodDelete, "/agents/"+url.PathEscape(args[0]), "agent "+args[0]+" is removed"), "hourkeyd agent list")
		},
	}
	list := &cobra.Command{
		Use: "list", Short: "All agents", Args: takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			var agents []broker.Agent
			if err := m.ask(c.Context(), http.MethodGet, "/agents", nil, &agents); err != nil {
				return err
			}
			return m.table(agents, "AGENT\tOWNER\tSTATE\tKEY", "there is no agent yet; `hourkeyd agent add NAME --owner HUMAN` makes one", len(agents), func(i int) string {
				return strings.Join([]string{agents[i].Name, agents[i].Owner, string(agents[i].State), agents[i].Thumbprint}, "\t")
			})
		},
	}
	return group("agent", "Agents: add, remove, list", add, remove, list)
}

// do makes a call whose answer is only that it is done.
func (m *Main) do(ctx context.Context, method, path, text string) error {
	var done admin.Done
	if err := m.ask(ctx, method, path, nil, &done); err != nil {
		return err
	}
	return m.say(done, func(w io.Writer) { _, _ = fmt.Fprintln(w, text) })
}

// listedBy names the command that lists what was not found.
func listedBy(err error, command string) error {
	if e, ok := errors.AsType[*broker.Error](err); ok && e.Code == broker.CodeNotFound {
		there := *e
		return there.WithNext("`%s` lists what there is", command)
	}
	return err
}

// table prints rows below a head, tab separated. Where there are none it says so, in the words of none, beside
// the result.
func (m *Main) table(value any, head, none string, rows int, row func(i int) string) error {
	if rows == 0 {
		m.note("%s", none)
		return m.say([]struct{}{}, func(io.Writer) {}) // an empty list is no null
	}
	return m.say(value, func(w io.Writer) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(t, head)
		for i := range rows {
			_, _ = fmt.Fprintln(t, row(i))
		}
		_ = t.Flush()
	})
}

// origin is for hints: where the pages are, as far as hourkey.yaml says.
func (m *Main) origin() string {
	server, err := m.server()
	if err != nil {
		return "URL"
	}
	return server.Origin
}

func (m *Main) humanCommand() *cobra.Command {
	invite := &cobra.Command{
		Use: "invite NAME", Short: "Let a human make a passkey, or another one for one that is lost", Args: takes("NAME"),
		Long: "invite prints a one-time code, with which a human makes a passkey on the page. All but the first invite wait\n" +
			"for operators to sign. For somebody who has a passkey already it is about a lost one: when the new one is\n" +
			"made, the old ones are gone. Where no other operator is left to sign, stop the broker and use `human reset`.",
		RunE: func(c *cobra.Command, args []string) error {
			var invited admin.Invited
			if err := m.ask(c.Context(), http.MethodPost, "/humans", admin.HumanToInvite{Name: args[0]}, &invited); err != nil {
				return err
			}
			return m.invited(invited, m.enrolled(c.Context()))
		},
	}
	list := &cobra.Command{
		Use: "list", Short: "Everybody who was ever invited", Args: takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			var humans []broker.Human
			if err := m.ask(c.Context(), http.MethodGet, "/humans", nil, &humans); err != nil {
				return err
			}
			return m.table(humans, "HUMAN\tSINCE", "nobody was invited yet; `hourkeyd human invite NAME` does that", len(humans), func(i int) string { return humans[i].Name + "\t" + stamp(humans[i].Created) })
		},
	}
	return group("human", "Humans: invite, reset, list", invite, m.resetCommand(), list)
}

// enrolled are the humans who have a passkey, as far as a running broker tells.
func (m *Main) enrolled(ctx context.Context) []string {
	var status admin.Status
	if m.ask(ctx, http.MethodGet, "/status", nil, &status) != nil {
		return nil // only warnings need it
	}
	return status.Enrolled
}

// invited says what happens next, and who must do it. Enrolled are the humans who have a passkey.
func (m *Main) invited(invited admin.Invited, enrolled []string) error {
	invite := invited.Invite
	return m.say(invited, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "%s\n", invited.Code)
		if invite.Replaces {
			m.note("%s has a passkey: this is for one that is lost; when the new one is made, every old one is gone", invite.Human)
		}
		then := ""
		if invite.State == broker.InviteInert {
			m.note("first %s at %s/humans/%s", m.signers(invite), m.origin(), invite.Human)
			m.noteNoSigner(invite.Human, enrolled)
			m.note("who signs finds these words there, and asks you for them: %s", invited.Phrase)
			then = "then "
		}
		m.note("%s%s types this one-time code within the hour at %s/invite", then, invite.Human, m.origin())
		if len(invite.Groups) == 0 {
			m.note("%s is in no group of hourkey.yaml, and so may do nothing yet", invite.Human)
		}
	})
}

// signers says who must sign an invite, with their names as far as hourkey.yaml says them: single sign-on may
// bring more.
func (m *Main) signers(invite broker.Invite) string {
	var names []string
	if server, err := m.server(); err == nil {
		for _, group := range server.Roles[broker.RoleOperator] {
			names = append(names, server.Groups[group]...)
		}
	}
	slices.Sort(names)
	names = slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == invite.Human })
	text := "one operator must sign this invite"
	if invite.Needs > 1 {
		text = fmt.Sprintf("%d operators must sign this invite", invite.Needs)
	}
	if len(names) > 0 {
		text += " (" + strings.Join(names, ", ") + ")"
	}
	return text
}

func (m *Main) freezeCommand() *cobra.Command {
	var freeze admin.ToFreeze
	var all bool
	var agent, task, environment string
	c := &cobra.Command{
		Use:   "freeze (--agent NAME | --task NAME | --environment NAME | --all) --reason TEXT",
		Short: "Stop issuing and end leases at once; an operator lifts it with a passkey", Args: takes(),
		Long: "freeze ends the leases at their providers, and nothing more is issued until an operator lifts it on the page: there is\n" +
			"no command for that. What cannot be ended at once, like a session of AWS, works until its time is over.",
		Example: "  hourkeyd freeze --agent claude-code --reason \"looks odd\"",
		RunE: func(c *cobra.Command, _ []string) error {
			freeze.Of, freeze.Name = toFreeze(all, agent, task, environment)
			var frozen admin.Frozen
			if err := m.ask(c.Context(), http.MethodPost, "/freezes", freeze, &frozen); err != nil {
				return err
			}
			return m.say(frozen, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "%s is frozen; %d lease(s) ended\n", frozen.Freeze, frozen.Ended)
				m.noteFreeze(c.Context(), freeze)
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "everything")
	c.Flags().StringVar(&agent, "agent", "", "one agent")
	c.Flags().StringVar(&task, "task", "", "one task")
	c.Flags().StringVar(&environment, "environment", "", "one environment")
	c.Flags().StringVar(&freeze.Reason, "reason", "", "why, for whoever sees the refusals")
	c.MarkFlagsOneRequired("all", "agent", "task", "environment")
	c.MarkFlagsMutuallyExclusive("all", "agent", "task", "environment")
	must(c.MarkFlagRequired("reason"))
	c.AddCommand(&cobra.Command{
		Use: "list", Short: "The freezes in force", Args: takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			var freezes []broker.Freeze
			if err := m.ask(c.Context(), http.MethodGet, "/freezes", nil, &freezes); err != nil {
				return err
			}
			return m.table(freezes, "FREEZE\tBY\tSINCE\tREASON", "nothing is frozen", len(freezes), func(i int) string {
				return strings.Join([]string{freezes[i].ID(), freezes[i].By, stamp(freezes[i].At), freezes[i].Reason}, "\t")
			})
		},
	})
	return c
}

func toFreeze(all bool, agent, task, environment string) (broker.FreezeKind, string) {
	switch {
	case all:
		return broker.FreezeAll, ""
	case agent != "":
		return broker.FreezeAgent, agent
	case task != "":
		return broker.FreezeTask, task
	default:
		return broker.FreezeEnvironment, environment
	}
}

func (m *Main) revokeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "revoke LEASE", Short: "End a lease now", Args: takes("LEASE"),
		Long: "revoke ends one lease at its provider; `hourkeyd leases` has the ids. The agent may ask again: freeze stops that.",
		RunE: func(c *cobra.Command, args []string) error {
			return listedBy(m.do(c.Context(), http.MethodDelete, "/leases/"+url.PathEscape(args[0]), "lease "+args[0]+" is ended"), "hourkeyd leases")
		},
	}
}

func (m *Main) leasesCommand() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "leases", Short: "The open leases", Args: takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			var leases []broker.Lease
			if err := m.ask(c.Context(), http.MethodGet, fmt.Sprintf("/leases?all=%t", all), nil, &leases); err != nil {
				return err
			}
			none := "no lease is open"
			if all {
				none = "there was no lease yet"
			}
			return m.table(leases, "LEASE\tAGENT\tTASK\tTARGET\tSTATE\tEXPIRES\tSCOPES", none, len(leases), func(i int) string {
				l := leases[i]
				return strings.Join([]string{
					l.ID, l.Agent, l.Task, l.Environment + "/" + l.Target, string(l.State), stamp(l.Expires), strings.Join(broker.Texts(l.Scopes), " "),
				}, "\t")
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "ended ones too")
	return c
}

// must stops on a mistake in this package's own flags.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
