package vault

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// holdingCommand says what looseness finds nothing wrong with, to operators.
const holdingCommand = "the absolute path of a program of yours that takes no commands from the other side and that its account cannot replace, then plain words"

// plainCommand is an absolute path and words, of characters that mean nothing to any shell: the account's own runs it (sshd(8)).
var plainCommand = regexp.MustCompile(`^/[\w./:=,@+-]+(?: +[\w./:=,@+-]+)*$`)

// Programs, by their names in whatever folder, that hold nobody to anything. The lists are a second net: who names a program of the
// system's own is told to name one of theirs.
const (
	// Those that run what they are told, or replace any file. They are not let in as a word either: another program may run them.
	shells = `sh ash bash rbash dash zsh rzsh ksh rksh mksh lksh oksh loksh pdksh csh bsd-csh tcsh fish yash posh xonsh elvish nu osh oil ysh ` +
		`pwsh powershell sash rush rssh lshell git-shell gitolite-shell busybox toybox tclsh jimsh wish expect python pypy perl ruby node nodejs ` +
		`env sudo su doas runuser pkexec setpriv xargs parallel eval exec ssh_original_command .*sftp.* scp rsync`
	// Those that read a program, which can be the session's input.
	languages = `ipython irb jruby deno bun php php-cgi php-cli phar lua luajit tcl awk gawk mawk nawk original-awk m4 guile racket scheme gforth ghci ` +
		`runghc erl iex elixir escript ocaml julia r rscript octave gnuplot sbcl clisp ecl clojure clj java jshell scala groovy kotlin go swift ts-node ` +
		`npm npx yarn pnpm pip gem cargo mvn gradle rake bc dc make gmake bmake ninja cmake sed ed red sqlite psql pgcli mysql mycli mariadb mongo mongosh ` +
		`redis-cli valkey-cli cqlsh clickhouse clickhouse-client clickhouse-local sqlplus isql tsql sqlcmd duckdb influx cockroach ldapmodify nsupdate`
	// Those that start others, here or elsewhere.
	starters = `nohup setsid nice ionice chrt taskset timeout time stdbuf unbuffer strace ltrace gdb gdbserver chroot unshare nsenter bwrap firejail flock ` +
		`watch entr find script scriptlive screen tmux byobu zellij dtach abduco ttyd at batch crontab start-stop-daemon systemd-run systemctl ` +
		`machinectl ssh sshd slogin rsh rlogin mosh mosh-server telnet nc ncat netcat socat docker podman nerdctl ctr crictl buildah lxc lxc-attach incus ` +
		`ssh-agent dbus-run-session xvfb-run fakeroot proot numactl prlimit setarch capsh gosu su-exec run-parts valgrind perf ` +
		`virsh kubectl helm terraform tofu ansible ansible-playbook ansible-console salt ld\.so ld-(?:linux|musl).+ vagrant dpkg rpm apt apt-get snap tcpdump nmap`
	// Those that show or edit files: from each a key of the terminal leads to a shell, or to other files.
	editors = `less more most pg pager sensible-pager man info journalctl bat view vi vim vimdiff rvim rview gvim ex nvim nano rnano pico emacs emacsclient ` +
		`joe jed jmacs mc mcedit mcview micro helix hx kak ne editor sensible-editor select-editor sudoedit vipw vigr visudo top htop mail mailx mutt ` +
		`pine alpine lynx w3m links elinks vidir ranger nnn passwd chsh chfn`
	// Those that write the files, whole trees of them, that the session's input brings.
	carriers = `rrsync rclone ftp lftp tftp curl wget aria2c tar bsdtar gtar star pax cpio ar unzip zip 7z 7za 7zr rar unrar uudecode ` +
		`unshar patch tee sponge dd split csplit unison borg restic rdiff-backup duplicity git git-receive-pack git-upload-pack git-upload-archive git-lfs ` +
		`hg svn svnserve svnadmin cvs bzr darcs fossil sort shuf uniq xxd openssl gpg zfs btrfs pg_restore chpasswd newusers iptables-restore`
)

var (
	isShell  = named(shells)
	isRunner = named(shells, languages, starters, editors, carriers)
)

// named matches names, also with a version or in one of the ways that systems build them: python3.11, vim.basic, bash-static.
func named(lists ...string) *regexp.Regexp {
	names := strings.Join(strings.Fields(strings.Join(lists, " ")), "|")
	return regexp.MustCompile(`(?i)^(?:` + names + `)[0-9._+-]*(?:[.-]?(?:static|minimal|real|bin|exe|preview|basic|tiny|nox|gtk3?|athena|nightly|client))?$`)
}

// Words by which a program is told to run commands, or to read them: from the session's input, or by a device.
var (
	runsWord = regexp.MustCompile(`^(?:-[ce]|--?(?:exec|execdir|exec-batch|ok|okdir|eval|execute|command|cmd|` +
		`rsh|rsync-path|to-command|use-compress-program|checkpoint-action|pager|editor|init-file|rcfile|stdin|interactive))$`)
	inputWord = regexp.MustCompile(`^-(?:\w+-)?$`)
	devices   = regexp.MustCompile(`^/(?:-\w+/)?(?:dev|proc)/`)
	anybodys  = regexp.MustCompile(`^/(?:var/)?tmp/`)
)

// looseness says why a forced command cannot be told to hold anybody to anything; empty where it can.
func looseness(command string) string {
	if !plainCommand.MatchString(command) {
		return "it is not an absolute path with plain words after it, which a shell of the account's takes as they are"
	}
	words := strings.Fields(command)
	switch program := words[0]; {
	case path.Clean(program) != program || anybodys.MatchString(program):
		return program + " is no plain path, or in a folder that anybody can write"
	case isRunner.MatchString(path.Base(program)):
		return path.Base(program) + " is known to run other commands, or to replace files, as its input says"
	}
	for _, word := range words {
		if slices.ContainsFunc(strings.FieldsFunc(word, func(r rune) bool { return strings.ContainsRune("=:,@", r) }), bringsCommands) {
			return "its word " + word + " is known to run or read other commands"
		}
	}
	return ""
}

// bringsCommands tells whether a word, or what follows an option's sign in it, has a program run or read commands.
func bringsCommands(word string) bool {
	file := path.Clean("/" + word) // in whatever folder the account starts
	return runsWord.MatchString(word) || inputWord.MatchString(word) || devices.MatchString(file) || isShell.MatchString(path.Base(file))
}
