package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hourkey/hourkey/web/api"
)

func (a *app) credentialKubectlCommand() *cobra.Command {
	var w credentialAsk
	var file string
	cmd := &cobra.Command{
		Use:   "kubectl [--request REQUEST | --task TASK --environment ENVIRONMENT]",
		Short: "Print a Kubernetes credential as a plugin of kubectl does, or write a kubeconfig with that plugin",
		Long: `Print a Kubernetes credential as kubectl and its like want it of a credential plugin (ExecCredential, client.authentication.k8s.io/v1).
With --kubeconfig, write a kubeconfig instead that has this very command as its plugin: it holds the cluster's address and
certificate, and no token.

kubectl runs the plugin each time. With --task each run is a request and a lease of its own, which lives until its end; with
--request each run ends the lease of the one before, and only for ten minutes from the decision. What may delete is given
once, and what waits for a human fails and says what collects it. Where exec can start the command, it is the better way.`,
		Example: `  hourkey credential kubectl --kubeconfig staging.yaml --task TASK --environment staging
  KUBECONFIG=staging.yaml kubectl get pods`,
		Args: none,
		RunE: a.does(func(ctx context.Context, _ []string) error {
			if err := checkNewFile(file); err != nil { // before anything is issued
				return err
			}
			if w.plugin = file != ""; w.plugin {
				if err := repeatable(w.scopes); err != nil {
					return err
				}
			}
			return a.credential(ctx, &w, func(got taken) error {
				chosen, err := pick(got.credentials, w.target, "Kubernetes credential", kubeHost, kubeToken)
				if err != nil {
					return err
				}
				if file != "" {
					return a.writeKubeconfig(ctx, file, &w, got, chosen)
				}
				a.releaseBut(ctx, got, chosen)
				return a.printKubectl(chosen)
			})
		}),
	}
	a.credentialFlags(cmd, &w)
	cmd.Flags().StringVar(&file, "kubeconfig", "", "a new file for a kubeconfig that runs this command")
	return a.withOutput(cmd)
}

// execCredential is what a plugin answers (Kubernetes, "client-go credential plugins", client.authentication.k8s.io/v1).
type execCredential struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Status     struct {
		Expires time.Time `json:"expirationTimestamp"`
		Token   string    `json:"token"`
	} `json:"status"`
}

const execVersion = "client.authentication.k8s.io/v1"

func (a *app) printKubectl(c api.Credential) error {
	a.warnOfScrollback()
	answer := execCredential{APIVersion: execVersion, Kind: "ExecCredential"}
	answer.Status.Expires, answer.Status.Token = c.Expires.UTC().Truncate(time.Second), c.Values[kubeToken].Reveal()
	return json.NewEncoder(a.stdout).Encode(answer)
}

// writeKubeconfig writes a kubeconfig whose user is this command. The lease showed where the cluster is, and ends.
func (a *app) writeKubeconfig(ctx context.Context, file string, w *credentialAsk, got taken, c api.Credential) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	text, err := kubeconfig(c.Values, kubeUser{Exec: &kubeExec{
		APIVersion: execVersion, InteractiveMode: "Never", Command: program, Args: w.pluginArgs(c), Env: []kubeVariable{{"HOURKEY_URL", got.id.Origin}},
	}})
	if err != nil {
		return err
	}
	if err := writeNew(file, text); err != nil {
		return err
	}
	a.release(ctx, got.client, got.credentials)
	a.say("wrote %s; it holds no token: kubectl runs hourkey for each command", file)
	if w.request != "" {
		a.say("request %s can be collected until %s", w.request, clock(got.request.Deadline))
	}
	return a.show(map[string]string{"kubeconfig": file}, func(io.Writer) {})
}

// pluginArgs are the arguments by which the plugin asks for the same again.
func (w *credentialAsk) pluginArgs(c api.Credential) []string {
	args := []string{"credential", "kubectl", "--target", place(c)}
	if w.request != "" {
		return append(args, "--request", w.request)
	}
	args = append(args, "--task", w.task)
	for _, environment := range w.environments {
		args = append(args, "--environment", environment)
	}
	for _, scope := range w.scopes {
		args = append(args, "--scope", scope)
	}
	if w.ttl > 0 {
		args = append(args, "--ttl", w.ttl.String())
	}
	if w.reason != "" {
		args = append(args, "--reason", w.reason)
	}
	return args
}

// needsHuman tells whether a scope, target:resource:actions, has an action that is given once.
func needsHuman(scope string) bool {
	actions := strings.Split(scope[strings.LastIndexByte(scope, ':')+1:], ",")
	return slices.Contains(actions, "delete") || slices.Contains(actions, "admin")
}

// checkNewFile refuses a file that is there: a kubeconfig may hold the only copy of somebody's keys.
func checkNewFile(file string) error {
	if file == "" {
		return nil
	}
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return failf("name another one, or remove it", "%s is there already: it is not overwritten", file)
	}
	return nil
}

// writeNew makes a file for its owner alone.
func writeNew(path string, text []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("making the file: %w", err)
	}
	_, err = file.Write(text)
	if err := errors.Join(err, file.Close()); err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", path, err), os.Remove(path))
	}
	return nil
}
