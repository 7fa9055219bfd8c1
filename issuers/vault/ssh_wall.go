package vault

import (
	"regexp"
	"slices"

	"github.com/hourkey/hourkey/broker"
)

// Walls of a login that have known ways around.
const (
	stopsCommands = "other commands, and what they leave behind"
	stopsForward  = "what the host itself can reach"
)

const portForwarding = "permit-port-forwarding"

// plainSSH gives the actions that are plain to see in the extensions of a role. Those of OpenSSH let a login do things at its own
// host (PROTOCOL.certkeys); any other may be somebody's name at another service.
func plainSSH(extensions map[string]string) broker.Actions {
	known := []string{"no-touch-required", "permit-X11-forwarding", "permit-agent-forwarding", portForwarding, "permit-pty", "permit-user-rc"}
	for name := range extensions {
		if !slices.Contains(known, name) {
			return broker.Admin
		}
	}
	return 0
}

// forced gives the command that a server runs whatever is asked, empty where there is none that holds. A server that does not know the
// option must refuse the certificate. With permit-user-rc a file of the account runs besides.
func forced(options, extensions map[string]string) string {
	command := options["force-command"]
	if _, runs := extensions["permit-user-rc"]; runs || loose.MatchString(command) {
		return ""
	}
	return command
}

// loose are commands that hold nobody to anything: those that run what was asked for (sshd(8), SSH_ORIGINAL_COMMAND), shells, and what replaces
// any file of the account, those that let in other keys among them.
var loose = regexp.MustCompile(`(?i)sftp|SSH_ORIGINAL_COMMAND|\beval\b|(^|[/\s;&|(])(ba|da|z|k|c|tc|fi|a)?sh([\s;&|)]|$)|(^|[/\s;&|(])(scp|rsync|python[0-9.]*|perl|ruby|node|busybox|env|sudo|su)(\s|$)`)

// sshWalls says what holds a login, and what does not.
func (i *Issuer) sshWalls(options, extensions map[string]string, found *offered) {
	command := forced(options, extensions)
	forward := broker.WallFact{Stops: stopsForward, Wall: broker.WallNone, How: "a command can connect to whatever the host can"}
	_, forwards := extensions[portForwarding]
	switch {
	case forwards:
		forward.How = "the certificate permits port forwarding: whatever the host can connect to, its holder can"
	case command != "":
		forward.Wall, forward.How = broker.WallNative, "a certificate without "+portForwarding+" forwards nothing; what the forced command connects to is its own affair"
	}
	found.walls = append([]broker.WallFact{
		{Stops: "other accounts", Wall: broker.WallNative, How: "the certificate bears the one principal; which accounts that opens, each server decides, most of them the one of that name"},
		i.trusted("hosts"),
		i.commands(command, found),
		forward,
		{Stops: "login after the end", Wall: broker.WallNative, How: "the certificate expires, by the clock of the server"},
		{Stops: "an open session after the end", Wall: broker.WallNone, How: "nobody closes it"},
		{Stops: "login after a revoke, before the end", Wall: broker.WallNone, How: "a certificate cannot be taken back"},
	}, found.walls...)
	found.mends = map[string]string{
		stopsCommands: `set default_critical_options={"force-command":"…"} on the role; or, where the host itself runs nothing else, say so: accept: [{object: ` + AcceptShell + ", why: …}]",
	}
	if forwards {
		found.mends[stopsForward] = "take " + portForwarding + " out of the role's default_extensions"
	}
}

// commands is what stands before a login that does as it likes. Who runs any command deletes what the account may, and leaves a key of
// its own that goes on after the end: where nobody says that the host prevents it, that needs the approvals of both.
func (i *Issuer) commands(command string, found *offered) broker.WallFact {
	wall := broker.WallFact{Stops: stopsCommands, Wall: broker.WallNative, How: "the server runs " + command + ", whatever is asked"}
	if command != "" {
		return wall
	}
	if why, accepted := i.config.Settings.accepts(AcceptShell); accepted {
		wall.Wall, wall.How = broker.WallWeak, "the certificate forces no command; the environment's file says that the host does: "+why
		found.exceptions = append(found.exceptions, broker.Exception{Object: AcceptShell, Why: why})
		return wall
	}
	wall.Wall = broker.WallNone
	wall.How = "the certificate forces no command: the login runs what its account may, deletes what that may, and can leave keys and processes that go on after the end"
	wall.Gives = []broker.Scope{{Target: i.config.Ref.Target, Resource: "*", Actions: broker.Delete | broker.Admin}}
	return wall
}
