package main

import (
	"slices"
	"strings"

	"github.com/hourkey/hourkey/web/api"
)

// directHosts are where the credentials in values work: a command beside a gateway lease must reach them past the forwarder, which
// refuses every host but its own. In the form of NO_PROXY.
func directHosts(values map[string]api.Secret) []string {
	var hosts []string
	for _, name := range []string{kubeHost, "VAULT_ADDR", "AWS_ENDPOINT_URL"} {
		if host := hostOf(values[name].Reveal()); host != "" {
			hosts = append(hosts, host)
		}
	}
	_, aws := values[awsKeyID]
	if _, elsewhere := values["AWS_ENDPOINT_URL"]; aws && !elsewhere {
		hosts = append(hosts, ".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
	}
	return hosts
}

// misleads tells whether a variable of exec's environment would lead a command to another credential than the one in values,
// or send that one elsewhere: AWS_PROFILE goes before keys in some SDKs, and what is left of an older session spoils a new key.
// The files that they name stay where they are.
func misleads(name string, values map[string]api.Secret) bool {
	_, aws := values[awsKeyID]
	_, kubernetes := values[kubeToken]
	return aws && (slices.Contains(awsRivals(), name) || strings.HasPrefix(name, "AWS_ENDPOINT_URL")) || kubernetes && slices.Contains(kubeRivals(), name)
}

// awsRivals lists the ways to other credentials of AWS (SDKs and Tools Reference Guide, "Settings reference").
func awsRivals() []string {
	return []string{
		"AWS_PROFILE", "AWS_DEFAULT_PROFILE", awsSession, "AWS_SECURITY_TOKEN", awsExpires, "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", awsEndpoint, awsPassword, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
	}
}

// kubeRivals lists those of kubectl, and of the Kubernetes providers of OpenTofu and Terraform.
func kubeRivals() []string {
	return []string{
		kubeconfigPath, kubeHost, kubeNamespace, kubeCA, "KUBE_CONFIG_PATH", "KUBE_CONFIG_PATHS", "KUBE_CTX", "KUBE_CTX_AUTH_INFO", "KUBE_CTX_CLUSTER",
		"KUBE_USER", "KUBE_PASSWORD", "KUBE_CLIENT_CERT_DATA", "KUBE_CLIENT_KEY_DATA", "KUBE_INSECURE", "KUBE_TLS_SERVER_NAME", "KUBE_PROXY_URL",
	}
}
