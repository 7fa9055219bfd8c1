package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/hourkey/hourkey/cmd/hourkey/scratch"
	"github.com/hourkey/hourkey/web/api"
)

// The variables of a Kubernetes credential.
const (
	kubeHost       = "KUBE_HOST"
	kubeToken      = "KUBE_TOKEN"
	kubeNamespace  = "KUBE_NAMESPACE"
	kubeCA         = "KUBE_CLUSTER_CA_CERT_DATA" // PEM; without it the system's authorities count
	kubeconfigPath = "KUBECONFIG"
)

// kubeFile is a kubeconfig (v1.Config of k8s.io/client-go), as far as ours go. It is written as JSON, which is YAML too: then no
// value can become anything but a value.
type kubeFile struct {
	APIVersion string        `json:"apiVersion"`
	Kind       string        `json:"kind"`
	Current    string        `json:"current-context"`
	Clusters   []kubeCluster `json:"clusters"`
	Users      []kubeEntry   `json:"users"`
	Contexts   []kubeContext `json:"contexts"`
}

type kubeCluster struct {
	Name    string `json:"name"`
	Cluster struct {
		Server string `json:"server"`
		CA     []byte `json:"certificate-authority-data,omitempty"` // base64, as encoding/json writes bytes
	} `json:"cluster"`
}

type kubeEntry struct {
	Name string   `json:"name"`
	User kubeUser `json:"user"`
}

// kubeUser has one of both.
type kubeUser struct {
	Token string    `json:"token,omitempty"`
	Exec  *kubeExec `json:"exec,omitempty"`
}

// kubeExec is a credential plugin.
type kubeExec struct {
	APIVersion      string         `json:"apiVersion"`
	InteractiveMode string         `json:"interactiveMode"`
	Command         string         `json:"command"`
	Args            []string       `json:"args"`
	Env             []kubeVariable `json:"env"`
}

type kubeVariable struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type kubeContext struct {
	Name    string `json:"name"`
	Context struct {
		Cluster   string `json:"cluster"`
		User      string `json:"user"`
		Namespace string `json:"namespace,omitempty"`
	} `json:"context"`
}

// kubeconfig leads to the cluster that a credential is for.
func kubeconfig(values map[string]api.Secret, user kubeUser) ([]byte, error) {
	const name = "hourkey"
	server := values[kubeHost].Reveal()
	if !strings.HasPrefix(server, "https://") {
		return nil, errors.New("the broker names a cluster whose address does not begin with https://: a token is sent nowhere else")
	}
	cluster := kubeCluster{Name: name}
	cluster.Cluster.Server, cluster.Cluster.CA = server, []byte(values[kubeCA].Reveal())
	context := kubeContext{Name: name}
	context.Context.Cluster, context.Context.User, context.Context.Namespace = name, name, values[kubeNamespace].Reveal()
	text, err := json.MarshalIndent(kubeFile{
		APIVersion: "v1", Kind: "Config", Current: name,
		Clusters: []kubeCluster{cluster}, Users: []kubeEntry{{name, user}}, Contexts: []kubeContext{context},
	}, "", "  ")
	return append(text, '\n'), err
}

// kubeconfigFor writes, where values lead to a cluster, the file that kubectl and its like read, and names it among them: none of
// them takes a token from a variable. The file is for exec's child alone, in a folder of its own that remove takes away.
func kubeconfigFor(values map[string]api.Secret, now time.Time) (remove func() error, err error) {
	if values[kubeHost].IsZero() || values[kubeToken].IsZero() {
		return func() error { return nil }, nil
	}
	if _, taken := values[kubeconfigPath]; taken {
		return nil, fmt.Errorf("a credential sets %s, which is ours to set", kubeconfigPath)
	}
	text, err := kubeconfig(values, kubeUser{Token: values[kubeToken].Reveal()})
	if err != nil {
		return nil, err
	}
	folder, err := scratch.New(now)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(folder.Path, "kubeconfig")
	if err := writeNew(path, text); err != nil {
		return nil, errors.Join(err, folder.Remove())
	}
	values[kubeconfigPath] = api.NewSecret(path)
	return folder.Remove, nil
}
