package main

import (
	"os"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/web/api"
)

// directHosts are where the credentials in values work: a command beside a gateway lease must reach them past the forwarder, which
// refuses every host but its own. In the form of NO_PROXY.
func directHosts(values map[string]api.Secret) []string {
	var hosts []string
	for _, name := range []string{kubeHost, "VAULT_ADDR", "AWS_ENDPOINT_URL"} {
		if host := hostOf(values[name].Reveal()); isHost(host) {
			hosts = append(hosts, host)
		}
	}
	_, aws := values[awsKeyID]
	if _, elsewhere := values["AWS_ENDPOINT_URL"]; aws && !elsewhere {
		hosts = append(hosts, ".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
	}
	return hosts
}

// isHost tells whether a name is one host: with a comma in it, it would be two entries of NO_PROXY.
func isHost(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-_.:", c)
	})
}

// family is what tools of one provider read to find a credential, and where to use it.
type family struct {
	given    string   // the credential's variable that shows that a run has one of this family
	prefixes []string // of variables that lead to another one, or send this one elsewhere
	names    []string // others
	harmless []string // of those with a prefix
}

// families are those whose variables have a rank among themselves, in which the lease's own may come last: AWS_PROFILE goes
// before keys in some SDKs, a service of libpq's before PGHOST, and VAULT_AGENT_ADDR before VAULT_ADDR.
func families() []family {
	return []family{
		// AWS SDKs and Tools Reference Guide, "Settings reference"; AWS_ACCESS_KEY and AWS_SECRET_KEY are an older SDK's, the
		// endpoints Terraform's and of tools for S3.
		{given: awsKeyID, prefixes: []string{"AWS_ENDPOINT", "AWS_CONTAINER_", "AWS_EC2_METADATA_", "AWS_WEB_IDENTITY_"}, names: []string{
			"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CREDENTIAL_FILE", awsSession, "AWS_SECURITY_TOKEN", awsExpires,
			"AWS_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_ACCOUNT_ID", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
			"AWS_S3_ENDPOINT", "AWS_STS_ENDPOINT", "AWS_IAM_ENDPOINT", "AWS_DYNAMODB_ENDPOINT", "S3_ENDPOINT", "S3_ENDPOINT_URL",
		}},
		// kubectl; the providers of OpenTofu and Terraform; Helm; Ansible; client libraries that run in a pod, or think so.
		{
			given: kubeToken, prefixes: []string{"KUBE_", "KUBERNETES_", "HELM_KUBE", "K8S_AUTH_"}, names: []string{kubeconfigPath, "HELM_NAMESPACE"},
			harmless: []string{"KUBE_EDITOR"},
		},
		// The Vault command's documentation, "Environment variables"; what it trusts (VAULT_CACERT) stays.
		{given: "VAULT_TOKEN", names: []string{
			"VAULT_ADDR", "VAULT_AGENT_ADDR", "VAULT_NAMESPACE", "VAULT_SKIP_VERIFY", "VAULT_TLS_SERVER_NAME", "VAULT_CLIENT_CERT", "VAULT_CLIENT_KEY", "VAULT_CONFIG_PATH",
			"VAULT_PROXY_ADDR", "VAULT_HTTP_PROXY", "VAULT_SRV_LOOKUP", "VAULT_HEADERS", "VAULT_WRAP_TTL", "VAULT_MFA",
		}},
		// PostgreSQL, libpq, "Environment Variables".
		{given: "PGPASSWORD", names: []string{"PGSERVICE", "PGSERVICEFILE", "PGHOSTADDR", "PGPASSFILE", "PGSSLCERT", "PGSSLKEY", "PGREQUIREAUTH", "PGOPTIONS"}},
	}
}

// misleads tells whether a variable of exec's environment would lead a command to another credential than the one in values,
// or send that one elsewhere.
func misleads(name string, values map[string]api.Secret) bool {
	return slices.ContainsFunc(families(), func(f family) bool {
		begins := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
		return !values[f.given].IsZero() && !slices.Contains(f.harmless, name) && (slices.Contains(f.names, name) || slices.ContainsFunc(f.prefixes, begins))
	})
}

// shut adds what keeps tools from falling back to other credentials: to the profiles of ~/.aws, which go before keys in version
// 3 of the SDK for .NET, and whose settings send requests elsewhere; to a machine's own role; and to ~/.kube/config, where a
// token comes without a cluster that a kubeconfig could name.
func shut(values map[string]api.Secret) {
	closed := map[string]string{}
	if !values[awsKeyID].IsZero() {
		closed["AWS_CONFIG_FILE"], closed["AWS_SHARED_CREDENTIALS_FILE"], closed["AWS_EC2_METADATA_DISABLED"] = os.DevNull, os.DevNull, "true"
	}
	if !values[kubeToken].IsZero() {
		closed[kubeconfigPath] = os.DevNull
	}
	for name, value := range closed {
		if _, set := values[name]; !set {
			values[name] = api.NewSecret(value)
		}
	}
}
