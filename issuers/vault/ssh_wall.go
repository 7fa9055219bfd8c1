package vault

import (
	"slices"

	"github.com/hourkey/hourkey/broker"
)

// Walls of a login that have known ways around.
const (
	stopsCommands = "other commands, and what they leave behind"
	stopsForward  = "what the host itself can reach"
)

const (
	portForwarding = "permit-port-forwarding"
	userRC         = "permit-user-rc"
)

// plainSSH gives the actions that are plain to see in the extensions of a role. Those of OpenSSH let a login do things at its own
// host (PROTOCOL.certkeys); any other may be somebody's name at another service.
func plainSSH(extensions map[string]string) broker.Actions {
	known := []string{"no-touch-required", "permit-X11-forwarding", "permit-agent-forwarding", portForwarding, "permit-pty", userRC}
	for name := range extensions {
		if !slices.Contains(known, name) {
			return broker.Admin
		}
	}
	return 0
}

// forced gives the command that a server runs whatever is asked, and why that holds nobody to anything: empty where it does. A server
// that does not know the option must refuse the certificate. With permit-user-rc a file of the account runs besides.
func forced(options, extensions map[string]string) (command, loose string) {
	command = options["force-command"]
	_, besides := extensions[userRC]
	switch loose = looseness(command); {
	case command == "":
		return "", "the certificate forces no command"
	case besides:
		return command, "the certificate forces a command that counts like none: by " + userRC + " a file of the account runs besides"
	case loose != "":
		return command, "the certificate forces a command that counts like none: " + loose + ". What holds is " + holdingCommand
	}
	return command, ""
}

// sshWalls says what holds a login, and what does not.
func (i *Issuer) sshWalls(options, extensions map[string]string, found *offered) {
	command, loose := forced(options, extensions)
	forward := broker.WallFact{Stops: stopsForward, Wall: broker.WallNone, How: "a command can connect to whatever the host can"}
	_, forwards := extensions[portForwarding]
	switch {
	case forwards:
		forward.How = "the certificate permits port forwarding: whatever the host can connect to, its holder can"
	case loose == "":
		forward.Wall, forward.How = broker.WallNative, "a certificate without "+portForwarding+" forwards nothing; what the forced command connects to is its own affair"
	}
	found.walls = append([]broker.WallFact{
		{Stops: "other accounts", Wall: broker.WallNative, How: "the certificate bears the one principal; which accounts that opens, each server decides, most of them the one of that name"},
		i.trusted("hosts"),
		i.commands(command, loose, found),
		forward,
		{Stops: "login after the end", Wall: broker.WallNative, How: "the certificate expires, by the clock of the server"},
		{Stops: "an open session after the end", Wall: broker.WallNone, How: "nobody closes it"},
		{Stops: "login after a revoke, before the end", Wall: broker.WallNone, How: "a certificate cannot be taken back"},
	}, found.walls...)
	found.mends = map[string]string{
		stopsCommands: `set default_critical_options={"force-command":"/…"} on the role, ` + holdingCommand + `; or, where the host itself runs nothing else, say so: accept: [{object: ` + AcceptShell + ", why: …}]",
	}
	if _, besides := extensions[userRC]; besides {
		found.mends[stopsCommands] = "take " + userRC + " out of the role's default_extensions; and " + found.mends[stopsCommands]
	}
	if forwards {
		found.mends[stopsForward] = "take " + portForwarding + " out of the role's default_extensions"
	}
}

// commands is what stands before a login that does as it likes. Who runs any command deletes what the account may, and leaves a key of
// its own that goes on after the end: where nobody says that the host prevents it, that needs the approvals of both.
func (i *Issuer) commands(command, loose string, found *offered) broker.WallFact {
	wall := broker.WallFact{Stops: stopsCommands, Wall: broker.WallNative, How: "the server runs " + command + ", whatever is asked"}
	if loose == "" {
		return wall
	}
	if why, accepted := i.config.Settings.accepts(AcceptShell); accepted {
		wall.Wall, wall.How = broker.WallWeak, loose+"; the environment's file says that the host holds the login to what is harmless: "+why
		found.exceptions = append(found.exceptions, broker.Exception{Object: AcceptShell, Why: why})
		return wall
	}
	wall.Wall = broker.WallNone
	wall.How = loose + "; so the login runs what its account may, deletes what that may, and can leave keys and processes that go on after the end"
	wall.Gives = []broker.Scope{{Target: i.config.Ref.Target, Resource: "*", Actions: broker.Delete | broker.Admin}}
	return wall
}
