package scaffold

import (
	"path/filepath"
	"strings"
)

// The places of a service, and the OS user that it has.
const (
	ServiceUser        = "hourkey" // its group has the same name
	ServiceBinary      = "/usr/local/bin/hourkeyd"
	ServiceEnvironment = "/etc/hourkey/environment" // what env: refers to

	serviceConfig = "/etc/hourkey"
	serviceState  = "/var/lib/hourkey"
	serviceUnit   = "/etc/systemd/system/hourkeyd.service"
	serviceSecret = "/etc/hourkey/secrets"
)

// Step is one thing that install does. Exactly one of Command, Folder, Copy and File is set.
type Step struct {
	Why     string   `json:"why"`
	Unless  []string `json:"unless,omitempty"` // user:NAME or path: the step is done already when one of them is there
	Command []string `json:"command,omitempty"`
	Folder  string   `json:"folder,omitempty"`
	File    string   `json:"file,omitempty"`
	Copy    string   `json:"copy,omitempty"` // to; this very program
	Mode    uint32   `json:"mode,omitempty"`
	Owner   string   `json:"owner,omitempty"` // user:group
	Text    string   `json:"text,omitempty"`
}

// ServiceConfig is where an installed broker's hourkey.yaml is.
func ServiceConfig() string { return filepath.Join(serviceConfig, "hourkey.yaml") }

// Installation gives the steps of `hourkeyd install`, in order. What root owns and the service's user
// can only read, no agent can change; what the service's user owns, no agent can read.
func Installation(human string) ([]Step, error) {
	place := Place{
		Human: human, Data: serviceState + "/data", Keys: serviceState + "/keys/kek", Anchor: serviceState + "/keys/anchor", Listen: "127.0.0.1:8750",
	}
	files, err := Configuration(place)
	if err != nil {
		return nil, err
	}
	unit, err := unit()
	if err != nil {
		return nil, err
	}
	steps := []Step{
		{Why: "the broker's own OS user", Unless: []string{"user:" + ServiceUser}, Command: []string{
			"useradd", "--system", "--user-group", "--home-dir", serviceState, "--no-create-home", "--shell", "/usr/sbin/nologin", ServiceUser,
		}},
		{Why: "the program, where only root writes", Copy: ServiceBinary, Mode: 0o755, Owner: "root:root"},
		{Why: "the store, the keys and the admin socket", Folder: serviceState, Mode: 0o700, Owner: ServiceUser + ":" + ServiceUser},
	}
	for _, folder := range []string{serviceConfig, serviceConfig + "/environments", serviceConfig + "/policies", serviceConfig + "/policies/tasks"} {
		steps = append(steps, Step{Why: "configuration: root writes, the broker reads", Folder: folder, Mode: 0o750, Owner: "root:" + ServiceUser})
	}
	steps = append(steps, configuration(files)...)
	steps = append(steps,
		Step{Why: "secrets that file: refers to", Folder: serviceSecret, Mode: 0o700, Owner: ServiceUser + ":" + ServiceUser},
		Step{Why: "secrets that env: refers to, as NAME=VALUE; root reads it for the service", Unless: []string{ServiceEnvironment}, File: ServiceEnvironment, Mode: 0o600, Owner: "root:root", Text: "# STAGING_ADMIN_DSN=postgres://…\n"},
		Step{Why: "the service", Unless: []string{serviceUnit}, File: serviceUnit, Mode: 0o644, Owner: "root:root", Text: unit},
		Step{Why: "systemd reads the unit", Command: []string{"systemctl", "daemon-reload"}},
		Step{Why: "start with the machine", Command: []string{"systemctl", "enable", "hourkeyd.service"}},
	)
	return steps, nil
}

// configuration writes hourkey.yaml last, and nothing where it is there: an installation that has one has all the files that
// somebody decided to have, and an example that was taken out would give again what nobody decided to give.
func configuration(files []File) []Step {
	var steps, last []Step
	for _, file := range files {
		path := filepath.Join(serviceConfig, file.Name)
		step := Step{Why: "configuration", Unless: []string{ServiceConfig(), path}, File: path, Mode: 0o640, Owner: "root:" + ServiceUser, Text: file.Text}
		if path == ServiceConfig() {
			last = append(last, step)
		} else {
			steps = append(steps, step)
		}
	}
	return append(steps, last...)
}

func unit() (string, error) {
	text, err := templates.ReadFile("template/hourkeyd.service")
	fill := strings.NewReplacer("{{PROGRAM}}", ServiceBinary, "{{CONFIG}}", ServiceConfig(), "{{SECRETS}}", ServiceEnvironment)
	return fill.Replace(string(text)), err
}
