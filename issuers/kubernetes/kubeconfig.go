package kubernetes

import (
	"crypto/tls"
	"encoding/base64"

	"go.yaml.in/yaml/v3"

	"github.com/hourkey/hourkey/broker"
)

// kubeconfig is what is read of a kubeconfig file (kubectl reference, v1 Config). What it may say otherwise is not read; what
// would start a program, name a file, or switch checks off is refused.
type kubeconfig struct {
	Current  string `yaml:"current-context"`
	Contexts []struct {
		Name    string `yaml:"name"`
		Context struct {
			Cluster string `yaml:"cluster"`
			User    string `yaml:"user"`
		} `yaml:"context"`
	} `yaml:"contexts"`
	Clusters []struct {
		Name    string  `yaml:"name"`
		Cluster cluster `yaml:"cluster"`
	} `yaml:"clusters"`
	Users []struct {
		Name string `yaml:"name"`
		User user   `yaml:"user"`
	} `yaml:"users"`
}

type cluster struct {
	Server   string `yaml:"server"`
	CA       string `yaml:"certificate-authority-data"`
	CAFile   string `yaml:"certificate-authority"`
	Insecure bool   `yaml:"insecure-skip-tls-verify"`
	Proxy    string `yaml:"proxy-url"`
	TLSName  string `yaml:"tls-server-name"`
}

type user struct {
	Token       string `yaml:"token"`
	TokenFile   string `yaml:"tokenFile"`
	Certificate string `yaml:"client-certificate-data"`
	Key         string `yaml:"client-key-data"`
	CertFile    string `yaml:"client-certificate"`
	KeyFile     string `yaml:"client-key"`
	Username    string `yaml:"username"`
	Exec        any    `yaml:"exec"`
	Provider    any    `yaml:"auth-provider"`
	As          string `yaml:"as"`
}

// readKubeconfig gives the way to the cluster of the current context, and its authority. No error repeats what is in the file.
func readKubeconfig(text broker.Secret) (access, string, error) {
	var file kubeconfig
	if yaml.Unmarshal([]byte(text.Reveal()), &file) != nil {
		return access{}, "", invalid("kubeconfig", "is no kubeconfig in YAML or JSON")
	}
	c, u, found := file.current()
	switch {
	case !found:
		return access{}, "", invalid("kubeconfig", "has no current-context whose cluster and user are in it")
	case c.Insecure:
		return access{}, "", invalid("kubeconfig", "switches the check of the server's certificate off: anybody in between would get the broker's token")
	case c.CAFile != "" || u.TokenFile != "" || u.CertFile != "" || u.KeyFile != "":
		return access{}, "", invalid("kubeconfig", "names files: make it self-contained with kubectl config view --flatten --minify --raw")
	case u.Exec != nil || u.Provider != nil || u.Username != "" || u.As != "" || c.Proxy != "" || c.TLSName != "":
		return access{}, "", invalid("kubeconfig", "has exec, auth-provider, username, as, proxy-url or tls-server-name, which the broker does not do: make a token for a ServiceAccount of its own")
	}
	return useKubeconfig(c, u)
}

func useKubeconfig(c cluster, u user) (access, string, error) {
	ca, err := base64.StdEncoding.DecodeString(c.CA)
	if err != nil {
		return access{}, "", invalid("kubeconfig", "has a certificate-authority-data that is not base64")
	}
	a, failed := newAccess("kubeconfig", c.Server, "kubeconfig", string(ca))
	if failed != nil {
		return access{}, "", failed
	}
	if u.Token != "" {
		if a.token, err = cleanToken("kubeconfig", broker.NewSecret(u.Token)); err != nil {
			return access{}, "", err
		}
		return a, string(ca), nil
	}
	certificate, certErr := base64.StdEncoding.DecodeString(u.Certificate)
	key, keyErr := base64.StdEncoding.DecodeString(u.Key)
	pair, err := tls.X509KeyPair(certificate, key)
	if certErr != nil || keyErr != nil || err != nil {
		return access{}, "", invalid("kubeconfig", "has neither a token nor a client certificate with its key")
	}
	a.tls.Certificates = []tls.Certificate{pair}
	return a, string(ca), nil
}

func (k kubeconfig) current() (c cluster, u user, found bool) {
	for _, context := range k.Contexts {
		if context.Name != k.Current {
			continue
		}
		var hasCluster, hasUser bool
		for _, one := range k.Clusters {
			if one.Name == context.Context.Cluster {
				c, hasCluster = one.Cluster, true
			}
		}
		for _, one := range k.Users {
			if one.Name == context.Context.User {
				u, hasUser = one.User, true
			}
		}
		return c, u, hasCluster && hasUser
	}
	return c, u, false
}
