package vault

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// holdingCommand says what looseness finds nothing wrong with, to operators.
const holdingCommand = "the absolute path of a program of yours, outside the system's own folders, that takes no commands from the other side and that its account cannot replace, then plain words"

// plainCommand is an absolute path and words, of characters that mean nothing to any shell: the account's own runs it (sshd(8)).
var plainCommand = regexp.MustCompile(`^/[\w./:=,@+-]+(?: +[\w./:=,@+-]+)*$`)

// systems are the folders of what a system brings along. Too much there does what its input says, or leads to something that does
// (shells under many names, editors, interpreters, what unpacks and copies), for anybody to list: who wants one writes a wrapper.
var systems = regexp.MustCompile(`^/(?:(?:usr/)?(?:bin|sbin|libexec|lib\w*|share|games)|snap|nix|gnu)/`)

// isShell matches programs that run what they are told, or replace any file, also with a version or in one of the ways that systems
// build them: python3.11, bash-static. Neither a program nor a word may be called so.
var isShell = regexp.MustCompile(`(?i)^(?:` + strings.ReplaceAll(shells, " ", "|") + `)[0-9._+-]*(?:[.-]?(?:static|minimal|real|bin|exe|preview))?$`)

const shells = `sh ash bash rbash dash zsh rzsh ksh rksh mksh lksh oksh loksh pdksh csh bsd-csh tcsh fish yash posh xonsh elvish nu osh oil ysh ` +
	`pwsh powershell sash rush rssh lshell git-shell gitolite-shell busybox toybox tclsh jimsh wish expect python pypy perl ruby node nodejs php lua ` +
	`env sudo su doas runuser pkexec setpriv xargs parallel eval exec ssh_original_command .*sftp.* scp rsync rrsync`

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
	case systems.MatchString(program):
		return program + " is one of the system's own, and many of those run other commands, or replace files, as their input says"
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
