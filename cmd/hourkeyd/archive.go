package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/admin"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/cmd/hourkeyd/daemon"
	"github.com/hourkey/hourkey/store/auditlog"
)

func (m *Main) auditCommand() *cobra.Command {
	export := &cobra.Command{
		Use: "export [FILE]", Short: "Write the event log as JSON lines, signed; to the standard output without FILE", Args: takesUpTo(1, "FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return m.stream(c.Context(), "/export", m.Stdout, (*daemon.Stack).Export)
			}
			return m.streamTo(c.Context(), "/export", args[0], (*daemon.Stack).Export)
		},
	}
	checkpoint := &cobra.Command{
		Use: "checkpoint", Short: "Sign the event log as it stands; keep the output elsewhere, for audit verify --checkpoint", Args: takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			var signed string
			if err := m.ask(c.Context(), http.MethodGet, "/checkpoint", nil, &signed); err != nil {
				return err
			}
			return m.say(map[string]string{"checkpoint": signed}, func(w io.Writer) { _, _ = io.WriteString(w, signed) })
		},
	}
	return group("audit", "The event log: verify, export, checkpoint", m.verifyCommand(), export, checkpoint)
}

// verified is what audit verify prints.
type verified struct {
	Verifies bool            `json:"verifies"`
	Report   auditlog.Report `json:"report"`
}

func (m *Main) verifyCommand() *cobra.Command {
	var key, kept string
	c := &cobra.Command{
		Use: "verify FILE", Short: "Prove that an exported log was not changed", Args: takes("FILE"),
		Long: "verify needs the exported file and the public key of the log: given with --key, as text or as a file,\n" +
			"or asked of the running broker. Without a checkpoint that you kept it cannot see a tail that was cut off.",
		RunE: func(c *cobra.Command, args []string) error {
			public, err := m.publicKey(c.Context(), key)
			if err != nil {
				return err
			}
			var checkpoint []byte
			if kept != "" {
				if checkpoint, err = os.ReadFile(kept); err != nil {
					return broker.Errorf(broker.CodeInvalid, "the checkpoint %s cannot be read", kept).Because(err)
				}
			}
			return m.verify(args[0], public, checkpoint)
		},
	}
	c.Flags().StringVar(&key, "key", "", "the log's public key (hourkey/NAME+HASH+KEY), or a file that holds it")
	c.Flags().StringVar(&kept, "checkpoint", "", "a checkpoint that you kept")
	return c
}

func (m *Main) verify(path, public string, checkpoint []byte) error {
	file, err := os.Open(path)
	if err != nil {
		return broker.Errorf(broker.CodeInvalid, "the export %s cannot be read", path).Because(err)
	}
	defer file.Close() //nolint:errcheck // only read
	report, err := auditlog.Verify(file, public, checkpoint)
	if err != nil && broker.CodeOf(err) != broker.CodeConflict {
		return err
	}
	result := verified{Verifies: err == nil, Report: report}
	if sayErr := m.say(result, func(w io.Writer) { _, _ = fmt.Fprintln(w, report) }); sayErr != nil {
		return sayErr
	}
	if err != nil {
		return exitCode(exitError)
	}
	return nil
}

// publicKey is as given, from a file, or the running broker's. The file that is verified holds one too,
// which proves nothing: whoever changed the file could have put a key of their own there.
func (m *Main) publicKey(ctx context.Context, given string) (string, error) {
	if strings.HasPrefix(given, "hourkey/") && strings.Contains(given, "+") {
		return given, nil
	}
	if given != "" {
		text, err := os.ReadFile(given)
		if err != nil {
			return "", broker.Errorf(broker.CodeInvalid, "--key: neither a public key nor a file that can be read").Because(err)
		}
		return strings.TrimSpace(string(text)), nil
	}
	var status admin.Status
	if err := m.ask(ctx, http.MethodGet, "/status", nil, &status); err != nil {
		return "", broker.Errorf(broker.CodeInvalid, "the log's public key is not known: no broker is running here").
			WithNext("give it with --key; `hourkeyd status` and the first lines of `hourkeyd serve` print it")
	}
	return status.LogKey, nil
}

func (m *Main) backupCommand() *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "Copy the store, of a running broker too; the key that opens it is not in it", Args: takes("FILE"),
		Long: "backup copies the store as it is at one moment, into a new file; the broker may run. Keep the key of the store (keys,\n" +
			"in hourkey.yaml) elsewhere: it is in no backup, and without it a backup cannot be opened.",
		RunE: func(c *cobra.Command, args []string) error {
			return m.streamTo(c.Context(), "/backup", args[0], (*daemon.Stack).Backup)
		},
	}
}

// written is what backup and export print.
type written struct {
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
}

// streamTo writes a new file: at once, or not at all.
func (m *Main) streamTo(ctx context.Context, path, to string, direct func(*daemon.Stack, context.Context, io.Writer) error) (err error) {
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return broker.Errorf(broker.CodeConflict, "%s is there already: it is not overwritten", to).WithNext("choose another name")
	}
	file, err := os.CreateTemp(filepath.Dir(to), "."+filepath.Base(to)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("making %s: %w", to, err)
	}
	defer func() { _ = os.Remove(file.Name()) }() // renamed away unless something failed
	err = m.stream(ctx, path, file, direct)
	size, seekErr := file.Seek(0, io.SeekCurrent)
	if err := errors.Join(err, seekErr, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Link(file.Name(), to); err != nil { // unlike rename, it never replaces
		return fmt.Errorf("naming %s: %w", to, err)
	}
	return m.say(written{to, size}, func(w io.Writer) { _, _ = fmt.Fprintf(w, "wrote %s (%d bytes)\n", to, size) })
}

// stream copies from the running broker, or from the store itself when none runs.
func (m *Main) stream(ctx context.Context, path string, to io.Writer, direct func(*daemon.Stack, context.Context, io.Writer) error) error {
	client, err := m.client()
	if err != nil {
		return err
	}
	err = client.Stream(ctx, path, to)
	if !errors.Is(err, admin.ErrNotRunning) {
		return err
	}
	server, err := m.server()
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(server.Data, daemon.StoreName)); err != nil {
		return broker.Errorf(broker.CodeNotFound, "there is no store in %s, and no broker is running", server.Data).WithNext("hourkeyd serve makes one")
	}
	stack, err := daemon.OpenStack(ctx, server, config.Secrets{Guard: m.Guard, Lookup: m.Lookup}, m.Now)
	if err != nil {
		return err
	}
	return errors.Join(direct(stack, ctx, to), stack.Close())
}

func (m *Main) offline() (daemon.Offline, error) {
	path, err := config.Find(m.config)
	return daemon.Offline{Path: path, Guard: m.Guard, Lookup: m.Lookup, Now: m.Now}, err
}

func (m *Main) restoreCommand() *cobra.Command {
	return &cobra.Command{
		Use: "restore FILE", Short: "Put a backup in the place of the store; the broker must be stopped", Args: takes("FILE"),
		Long: "restore keeps the former store beside the new one. What opens next is frozen, has a new installation id,\n" +
			"ends every lease that the backup thought alive, and has forgotten every approval that was open.",
		RunE: func(c *cobra.Command, args []string) error {
			offline, err := m.offline()
			if err != nil {
				return err
			}
			done, err := offline.Restore(c.Context(), args[0])
			if err != nil {
				return err
			}
			return m.say(done, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "restored: installation %s (formerly %s), epoch %d, %d events\n",
					done.Installation.ID, strings.Join(done.Installation.Former, ", "), done.Installation.Epoch, done.Events)
				if done.Replaced != "" {
					_, _ = fmt.Fprintf(w, "the former store is %s\n", done.Replaced)
				}
				_, _ = fmt.Fprintf(w, "%d lease(s) are ended as soon as the broker runs\n", done.Leases)
				m.note("everything is frozen: start the broker, look, and lift it on the approval page")
			})
		},
	}
}

func (m *Main) resetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "reset NAME", Short: "Forget a human's passkeys, freeze everything; the broker must be stopped", Args: takes("NAME"),
		Long: "reset is for the last operator who has lost every passkey; while another operator is left, invite again instead. It\n" +
			"acts at once: the passkeys of that human are gone, requests and approvals that are open are void, everything is\n" +
			"frozen, and every page says so for 7 days. It prints a one-time code for a new passkey.",
		RunE: func(c *cobra.Command, args []string) error {
			offline, err := m.offline()
			if err != nil {
				return err
			}
			invite, code, err := offline.ResetHuman(c.Context(), args[0])
			if err != nil {
				return err
			}
			invite.CodeHash = ""
			m.note("all passkeys of %s are gone, open requests are void, everything is frozen, and every page says so for 7 days", args[0])
			return m.invited(admin.Invited{Invite: invite, Code: code.Reveal()}, nil)
		},
	}
}
