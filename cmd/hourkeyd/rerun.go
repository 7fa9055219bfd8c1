package main

import (
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
)

// What is to be run again in another way is told as a line to paste into a shell.

// shellSafe is what a shell takes as it stands.
var shellSafe = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// shellLine quotes where it must, and only there: POSIX.1, section 2.2.2.
func shellLine(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		if quoted[i] = word; !shellSafe.MatchString(word) {
			quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// asRoot is this command again, run by root. sudo has a PATH of its own, which does not have Go's folder.
func (m *Main) asRoot() string {
	return shellLine(append([]string{"sudo", thisProgram()}, m.Args...)...)
}

func thisProgram() string {
	program, err := os.Executable()
	if err != nil {
		return "hourkeyd" // only a line to paste is less sure
	}
	return program
}

// adviseRoot tells root, who was refused a file of the owner's, to run the command as the owner, where the broker runs as
// that user; nothing otherwise.
func (m *Main) adviseRoot(owner int) string {
	path, err := config.Find(m.config)
	if err != nil || ownerOf(brokersOwn(path)) != owner {
		return ""
	}
	known, err := user.LookupId(strconv.Itoa(owner))
	if err != nil {
		return ""
	}
	group := known.Gid
	if named, err := user.LookupGroupId(group); err == nil {
		group = named.Name
	}
	command := append([]string{thisProgram()}, m.Args...)
	if !filepath.IsAbs(m.config) {
		command = append(command, "--config", path)
	}
	return "run it as the broker's own user: " + runAs(known.Username, group, filepath.Join(filepath.Dir(path), "environment"), command)
}

// brokersOwn is what belongs to the broker's own user: the data folder, or hourkey.yaml where root itself may not read that.
func brokersOwn(path string) string {
	server, err := config.LoadServer(path, config.NewGuard()) // whose refusal asks for no advice
	if err != nil {
		return path
	}
	return server.Data
}

// ownerOf is whose the path is, or the nearest folder above that is there; -1 when that cannot be told.
func ownerOf(path string) int {
	for ; ; path = filepath.Dir(path) {
		info, err := os.Lstat(path)
		if os.IsNotExist(err) && path != "/" {
			continue
		}
		if err != nil {
			return -1
		}
		return uidOf(info)
	}
}

func uidOf(info fs.FileInfo) int {
	stat, known := info.Sys().(*syscall.Stat_t)
	if !known {
		return -1
	}
	return int(stat.Uid)
}

// runAs is a command that root runs as another user, with the environment of the service where a file has it. Root's own
// shell reads that file. The attack: a hourkey.yaml and an environment of an agent's, in a folder where root runs something.
func runAs(user, group, environment string, command []string) string {
	line := shellLine(slices.Concat([]string{"setpriv", "--reuid", user, "--regid", group, "--init-groups"}, command)...)
	if err := config.NewGuard().Check(environment); err != nil {
		return line
	}
	return "(set -a; . " + shellLine(environment) + "; exec " + line + ")"
}
