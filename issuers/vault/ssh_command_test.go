package vault_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/vault"
)

// Commands that are forced, and run or write what the session's input says: each counts like none. A list of what is known was got
// around by a quote, a variable, a redirection: so whatever is not plain is not believed.
var looseCommands = []string{
	// Not a path and plain words: the account's shell reads them.
	`"/bin/sh"`, `'/bin/bash'`, `$SHELL`, `exec "$SHELL" -l`, `${SHELL:-/bin/false}`, `nodejs`, `xargs -I{} -d '\n' /usr/bin/sudo {}`, `sh -c "$SSH_ORIGINAL_COMMAND"`,
	`xargs -n1 rm -f`, `tee authorized_keys`, `cat >>authorized_keys`, `tar -xf -`, `make -f -`, `awk -f -`, `awk -f /dev/stdin`, `rrsync /srv`, `psql shop`, `mysql shop`,
	`crontab -`, `git-receive-pack shop.git`, `tmux attach`, `vim`, `mosh-server`, `php`, `lua -`, `tclsh`, `pwsh`, `docker run -i web`, `nc -l 2222 -e web`, `internal-sftp`,
	`if true; then sh</dev/stdin; fi`, `sh<&0`, `. /dev/stdin`, `source /dev/stdin`, `/bin/sh>&1`, "`which sh`", `dash#`, `ash"`, `report`, `./report`, `~/report`, `~deploy/report`,
	`/usr/bin/report;sh`, `/usr/bin/report|sh`, `/usr/bin/report&&sh`, `/usr/bin/report & sh`, "/usr/bin/report\nsh", "/usr/bin/report\tx", `/usr/bin/report $HOME`, `/usr/bin/report $(sh)`,
	"/usr/bin/report `sh`", `/usr/bin/report <(sh)`, `/usr/bin/rep?rt`, `/usr/bin/*sh`, `/usr/bin/{sh,x}`, `/usr/bin/[d]ash`, `/usr/bin/d\ash`, `/bin/sh # report`, `/usr/bin/report !x`, ` /usr/bin/report`,
	// No plain path, or one that is something else each time.
	`/bin//sh`, `/usr/bin/../bin/sh`, `/usr/local/bin/`, `/`, `/bin/.`, `/proc/self/exe`, `/dev/fd/0`, `/tmp/report`, `/var/tmp/report`, `/run/../tmp/report`,
	// Shells, interpreters, starters, pagers and editors, and what carries files, in whatever folder, by whatever version.
	`/bin/sh`, `/bin/SH`, `/bin/bash -l`, `/bin/bash-static`, `/usr/local/bin/bash5`, `/opt/x/bin/zsh-5.9`, `/usr/bin/nodejs`, `/usr/bin/php8.2`, `/usr/bin/php-cgi`, `/usr/bin/lua5.4 -`, `/usr/bin/tclsh8.6`,
	`/usr/bin/pwsh`, `/usr/bin/python3.11 /opt/report.py`, `/usr/bin/perl /opt/report.pl`, `/usr/bin/env report`, `/usr/bin/sudo -n report`, `/usr/bin/xargs -n1 rm -f`, `/usr/bin/tee authorized_keys`,
	`/usr/bin/tar -xf -`, `/usr/bin/make -f -`, `/usr/bin/awk -f /dev/stdin`, `/usr/bin/crontab -`, `/usr/bin/git-receive-pack shop.git`, `/usr/bin/git-shell`, `/usr/bin/psql shop`, `/usr/bin/mysql shop`,
	`/usr/bin/vim`, `/usr/bin/vim.basic /srv/notes`, `/usr/bin/tmux attach`, `/usr/bin/mosh-server`, `/usr/bin/docker run -i web`, `/usr/bin/nc -l 2222`, `/usr/bin/less /var/log/report`, `/usr/bin/systemctl status web`,
	`/usr/lib/openssh/sftp-server`, `/usr/lib/openssh/sftp-server -R`, `/usr/libexec/sftp-server`, `/usr/bin/rrsync /srv`, `/usr/bin/rsync --server . /`, `/usr/bin/scp -t /home/deploy`,
	`/usr/local/bin/python3.11 x`, `/opt/x/node /opt/report.js`, `/usr/bin/linux64`, `/usr/bin/newgrp`, `/usr/lib/apt/methods/copy`, `/usr/bin/ssh-keygen`, `/usr/bin/perl5.36-x86_64-linux-gnu`, `/usr/bin/troff -U`,
	`/usr/lib/git-core/git-apply`, `/usr/bin/zless x`, `/usr/bin/touch x`, `/bin/true`, `/usr/share/report`, `/usr/games/report`, `/lib64/ld-linux-x86-64.so.2 /opt/report`, `/lib/ld-musl-x86_64.so.1 /opt/report`, `/usr/bin/find /srv -delete`, `/usr/bin/borg serve`, `/usr/bin/sort -o authorized_keys`,
	// Words that have any program run or read commands.
	`/usr/local/bin/wrap sh`, `/usr/local/bin/wrap -- /bin/bash`, `/usr/local/bin/wrap --shell=/bin/zsh`, `/usr/local/bin/wrap python3`, `/usr/local/bin/wrap x:sh`, `/usr/local/bin/wrap /usr/libexec/sftp-server`, `/usr/local/bin/wrap SSH_ORIGINAL_COMMAND`, `/usr/local/bin/wrap -c true`, `/usr/local/bin/wrap -e x`,
	`/usr/local/bin/wrap -`, `/usr/local/bin/wrap -f-`, `/usr/local/bin/wrap --file=-`, `/usr/local/bin/wrap /dev/stdin`, `/usr/local/bin/wrap -f/dev/stdin`, `/usr/local/bin/wrap @/dev/fd/0`, `/usr/local/bin/wrap //dev/stdin`,
	`/usr/local/bin/wrap ../../dev/stdin`, `/usr/local/bin/wrap --in=/proc/self/fd/0`, `/usr/local/bin/wrap -exec rm`, `/usr/local/bin/wrap --exec=rm`, `/usr/local/bin/wrap --rsync-path=rm`, `/usr/local/bin/wrap --to-command=rm`,
}

// Commands that hold: programs of somebody's own, and words.
var plainCommands = []string{
	`/usr/local/bin/report`, `/usr/local/bin/backup --full`, `/opt/app/bin/migrate up`, `/opt/app/bin/migrate --to=v12,v13 --only orders`, `/opt/publish.sh --shell`, `/usr/local/lib/orders/report`,
	`/opt/app-2.1+b3/bin/make-report  2026-11-22`, `/srv/dev/bin/find-orders --limit 10 -v`, `/usr/local/bin/mail:report a@b.example https://orders.example/x`, `/home/deploy/bin/restart-web -- now`, `/usr/local/sbin/shred-old`,
}

func TestAttackForcedCommandsThatHoldNobody(t *testing.T) {
	s := newHarbour(t)
	for _, command := range looseCommands {
		d := s.forcing(t, command)
		if means := broker.AllActions(d.Means()); means != worst || !hasWall(d, "other commands", broker.WallNone) || !hasWall(d, "can reach", broker.WallNone) {
			t.Errorf("%s: it means %s: %+v", command, means, d.Walls)
		}
		if !says(d, "counts like none") || !says(d, "the absolute path of a program of yours") {
			t.Errorf("%s: what would hold is not said: %+v", command, d.Walls)
		}
	}
	if found := shown(findings(t, s.issuer(t))); !strings.Contains(found, "the absolute path of a program of yours") || !strings.Contains(found, "object: "+vault.AcceptShell) {
		t.Errorf("check --live:%s", found)
	}
	for _, command := range plainCommands {
		d := s.forcing(t, command)
		if means := broker.AllActions(d.Means()); means != broker.Read|broker.Write || !hasWall(d, "other commands", broker.WallNative) || !says(d, "the server runs "+command) {
			t.Errorf("%s: it means %s: %+v", command, means, d.Walls)
		}
	}
}

// forcing describes a login by a role that forces a command.
func (h *harbour) forcing(t *testing.T, command string) broker.Description {
	t.Helper()
	h.role(t, map[string]any{"default_critical_options": map[string]string{"force-command": command}})
	return describe(t, h.issuer(t), wish(t, "web-host:read,write"))
}

// What the input of a session does to a host, where the command that is forced is none that holds; and where it is, nothing.
func TestAttackForcedCommandTakesCommandsFromItsInput(t *testing.T) {
	s := newHarbour(t)
	web := newHost(t, s.authority)
	orders, keys := filepath.Join(web.home, "orders.db"), filepath.Join(web.home, "authorized_keys")
	const mine = "ssh-ed25519 AAAA mine\n"
	for at, one := range []struct {
		command, input string
		held           bool
	}{
		{`"/bin/sh"`, "rm orders.db\n", false},
		{`$SHELL`, "rm orders.db\n", false},
		{`. /dev/stdin`, "rm orders.db\n", false},
		{`sh<&0`, "rm orders.db\n", false},
		{`$SSH_ORIGINAL_COMMAND`, "", false},
		{`xargs -n1 rm -f`, "orders.db\n", false},
		{`/usr/bin/xargs -n1 rm -f`, "orders.db\n", false},
		{`/usr/bin/env sh`, "rm orders.db\n", false},
		{`cat >>authorized_keys`, mine, false},
		{`/usr/bin/tee authorized_keys`, mine, false},
		{`/opt/host/touch forced`, "rm orders.db\n" + mine, true},
	} {
		if err := errors.Join(os.WriteFile(orders, []byte("all orders"), 0o600), os.WriteFile(keys, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		if d := s.forcing(t, one.command); hasWall(d, "other commands", broker.WallNative) != one.held {
			t.Errorf("%s: %+v", one.command, d.Walls)
		}
		credential, _ := lease(t, s.issuer(t), fmt.Sprintf("hk-input-%d", at), "web-host:read,write")
		signer, _ := keyOf(t, credential)
		web.feed(t, signer, "rm orders.db", one.input)
		_, err := os.Stat(orders)
		list, failed := os.ReadFile(keys)
		if done := errors.Is(err, os.ErrNotExist) || string(list) == mine; done == one.held || failed != nil {
			t.Errorf("%s: done to the host: %t (%v, %q, %v)", one.command, done, err, list, failed)
		}
	}
}

// A command that Hourkey cannot judge can be vouched for: reviewers see both, what is forced and who says that it holds.
func TestForcedCommandThatIsVouchedFor(t *testing.T) {
	s := newHarbour(t)
	s.settings.Accept = []vault.Accept{{Object: vault.AcceptShell, Why: "the repository takes no deletes (OPS-120)"}}
	d := s.forcing(t, "/usr/bin/git-receive-pack /srv/shop.git")
	if means := broker.AllActions(d.Means()); means.NeedsHuman() || !hasWall(d, "other commands", broker.WallWeak) || !says(d, "takes no deletes") || !says(d, "is one of the system") || len(d.Exceptions) != 2 {
		t.Errorf("vouched for, it means %s: %+v", means, d)
	}
	s.settings.Accept = nil
	s.role(t, map[string]any{"default_critical_options": map[string]string{"force-command": "/usr/local/bin/report"}, "default_extensions": map[string]string{"permit-user-rc": ""}})
	if found := shown(findings(t, s.issuer(t))); !strings.Contains(found, "take permit-user-rc out of") {
		t.Errorf("a file of the account runs besides: check --live:%s", found)
	}
	s.settings.Accept = []vault.Accept{{Object: vault.AcceptShell, Why: "not needed"}}
	if d := s.forcing(t, "/usr/local/bin/report"); !hasWall(d, "other commands", broker.WallNative) || len(d.Exceptions) != 1 {
		t.Errorf("what needs nobody's word: %+v", d)
	}
}
