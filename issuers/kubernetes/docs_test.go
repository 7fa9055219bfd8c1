package kubernetes_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/kubernetes"
	"github.com/hourkey/hourkey/issuers/kubernetes/kubetest"
)

const documentation = "../../docs/issuers/kubernetes.md"

// block is a part of the documentation as it is pasted: without indent and fences.
func block(t *testing.T, mark string) string {
	t.Helper()
	page, err := os.ReadFile(documentation)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(page), "<!-- "+mark+" -->\n")
	text, _, ends := strings.Cut(rest, "<!-- /"+mark+" -->")
	if !begins || !ends {
		t.Fatalf("%s has no place for %s", documentation, mark)
	}
	indent := before[strings.LastIndex(before, "\n")+1:]
	var lines strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimPrefix(line, indent)
		if !strings.HasPrefix(line, "```") {
			lines.WriteString(line)
		}
	}
	return lines.String()
}

// The documentation's YAML is what the program prints.
func TestTheDocumentationHasTheYAML(t *testing.T) {
	t.Parallel()
	issuertest.HoldPage(t, *update, documentation, "admin", "```yaml\n"+kubernetes.AdminYAML("shop-staging")+"```\n")
	issuertest.HoldPage(t, *update, documentation, "policies", "```yaml\n"+kubernetes.PolicyYAML()+"```\n")
}

// Line by line, with the real kubectl: what the documentation says to create, and a lease by what was created.
func TestTheDocumentationLineByLine(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	program, err := kubetest.Kubectl()
	issuertest.Needs(t, err, kubetest.ErrAbsent)
	dir := t.TempDir()
	config := strings.NewReplacer("KUBE", s.URL, "TOKEN", s.Token()).Replace(`{"current-context":"a","contexts":[{"name":"a","context":{"cluster":"a","user":"a"}}],"users":[{"name":"a","user":{"token":"TOKEN"}}],"clusters":[{"name":"a","cluster":{"server":"KUBE","certificate-authority":"ca.pem"}}]}`)
	for name, text := range map[string]string{"config": config, "ca.pem": string(s.CA)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(script, stdin string) string {
		t.Helper()
		command := exec.CommandContext(t.Context(), "/bin/sh", "-c", strings.ReplaceAll(script, "kubectl", program))
		command.Dir, command.Stdin = dir, strings.NewReader(stdin)
		command.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + dir, "KUBECONFIG=" + filepath.Join(dir, "config")}
		var out, said bytes.Buffer
		command.Stdout, command.Stderr = &out, &said
		if err := command.Run(); err != nil {
			t.Fatalf("%s: %v\n%s", script, err, &said)
		}
		return out.String()
	}
	run("kubectl create namespace shop-staging && kubectl create serviceaccount default --namespace shop-staging", "")
	run(block(t, "label"), "")
	run("kubectl apply -f -", block(t, "admin"))
	run("kubectl apply -f -", block(t, "policies"))
	run(block(t, "token"), "")
	token, ca := read(t, dir, "secrets/cluster-token"), read(t, dir, "secrets/cluster-ca.pem")

	issuer := open(t, kubernetes.Config{
		Ref: s.ref, Settings: documentedSettings(t, s.URL), Now: s.config().Now,
		Resolve: func(field, _ string) (broker.Secret, error) {
			return broker.NewSecret(map[string]string{"token": token, "ca": ca}[field]), nil
		},
	})
	if found := findings(t, issuer); len(found) > 0 {
		t.Errorf("check finds %+v", found)
	}
	for _, scope := range documentedScopes(t) {
		describe(t, issuer, wish(t, scope))
	}
	c := lease(t, issuer, "configmaps/*:read,write", "pods/*:write", "deployments.apps+scale/*:read,write", "cronjobs.batch/*:write,delete", "replicasets.apps/*:read")
	if said, err := kubectl(t, c)("", "create", "configmap", "by-the-documentation"); err != nil {
		t.Errorf("kubectl: %v\n%s", err, said)
	}
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v, %v; want it for its owner alone", name, info.Mode(), err)
	}
	return string(text)
}

// documentedScopes are what the documentation's task gives, without the target, one by one.
func documentedScopes(t *testing.T) []string {
	t.Helper()
	var tasks map[string]struct {
		Gives    []string `yaml:"gives"`
		Approval []string `yaml:"with_approval"`
	}
	if err := yaml.Unmarshal([]byte(block(t, "task")), &tasks); err != nil {
		t.Fatal(err)
	}
	var scopes []string
	for _, task := range tasks {
		for _, scope := range slices.Concat(task.Gives, task.Approval) {
			scopes = append(scopes, strings.TrimPrefix(scope, "cluster:"))
		}
	}
	if len(scopes) < 5 {
		t.Fatalf("the documentation's task gives %v", scopes)
	}
	return scopes
}

// What the documentation accepts can be accepted.
func TestTheDocumentationsAcceptIsRead(t *testing.T) {
	t.Parallel()
	var part struct {
		Accept []kubernetes.Accept `yaml:"accept"`
	}
	if err := yaml.Unmarshal([]byte(block(t, "accept")), &part); err != nil || len(part.Accept) == 0 {
		t.Fatalf("%+v, %v", part, err)
	}
	settings := documentedSettings(t, "https://10.0.0.1:6443")
	settings.CA, settings.Accept = "", part.Accept
	if err := opens(settings, map[string]string{settings.Token: secretToken}); err != nil {
		t.Error(err)
	}
}

// documentedSettings reads the documentation's environment, for this server.
func documentedSettings(t *testing.T, server string) kubernetes.Settings {
	t.Helper()
	var environment struct {
		Targets map[string]map[string]kubernetes.Settings `yaml:"targets"`
	}
	decoder := yaml.NewDecoder(strings.NewReader(block(t, "environment")))
	decoder.KnownFields(true)
	if err := decoder.Decode(&environment); err != nil {
		t.Fatal(err)
	}
	settings := environment.Targets["cluster"]["kubernetes"]
	settings.Server = server
	return settings
}
