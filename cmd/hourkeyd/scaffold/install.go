package scaffold

import (
	"path/filepath"
	"strings"
)

// The places of a service.
const (
	serviceUser   = "hourkey"
	serviceConfig = "/etc/hourkey"
	serviceState  = "/var/lib/hourkey"
	serviceUnit   = "/etc/systemd/system/hourkeyd.service"
	serviceBinary = "/usr/local/bin/hourkeyd"
	serviceEnv    = "/etc/hourkey/environment"
	serviceSecret = "/etc/hourkey/secrets"
)

// Step is one thing that install does. Exactly one of Command, Folder, Copy and File is set.
type Step struct {
	Why     string   `json:"why"`
	Unless  string   `json:"unless,omitempty"` // user:NAME or path: the step is done already when that is there
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
		{Why: "the broker's own OS user", Unless: "user:" + serviceUser, Command: []string{
			"useradd", "--system", "--user-group", "--home-dir", serviceState, "--no-create-home", "--shell", "/usr/sbin/nologin", serviceUser,
		}},
		{Why: "the program, where only root writes", Copy: serviceBinary, Mode: 0o755, Owner: "root:root"},
		{Why: "the store, the keys and the admin socket", Folder: serviceState, Mode: 0o700, Owner: serviceUser + ":" + serviceUser},
	}
	for _, folder := range []string{serviceConfig, serviceConfig + "/environments", serviceConfig + "/policies", serviceConfig + "/policies/tasks"} {
		steps = append(steps, Step{Why: "configuration: root writes, the broker reads", Folder: folder, Mode: 0o750, Owner: "root:" + serviceUser})
	}
	for _, file := range files {
		path := filepath.Join(serviceConfig, file.Name)
		steps = append(steps, Step{Why: "configuration", Unless: path, File: path, Mode: 0o640, Owner: "root:" + serviceUser, Text: file.Text})
	}
	steps = append(steps,
		Step{Why: "secrets that file: refers to", Folder: serviceSecret, Mode: 0o700, Owner: serviceUser + ":" + serviceUser},
		Step{Why: "secrets that env: refers to, as NAME=VALUE; root reads it for the service", Unless: serviceEnv, File: serviceEnv, Mode: 0o600, Owner: "root:root", Text: "# STAGING_ADMIN_DSN=postgres://…\n"},
		Step{Why: "the service", Unless: serviceUnit, File: serviceUnit, Mode: 0o644, Owner: "root:root", Text: unit},
		Step{Why: "systemd reads the unit", Command: []string{"systemctl", "daemon-reload"}},
		Step{Why: "start with the machine", Command: []string{"systemctl", "enable", "hourkeyd.service"}},
	)
	return steps, nil
}

func unit() (string, error) {
	text, err := templates.ReadFile("template/hourkeyd.service")
	fill := strings.NewReplacer("{{PROGRAM}}", serviceBinary, "{{CONFIG}}", ServiceConfig(), "{{SECRETS}}", serviceEnv)
	return fill.Replace(string(text)), err
}
