package main

import (
	"testing"

	"github.com/hourkey/hourkey/web/api"
)

// The attack: a broker that was taken over names variables by which the loader, a shell or an interpreter
// runs code of its choice on the agent's machine, or finds another program under the command's name.
func TestBrokerNamesAVariableThatRunsCode(t *testing.T) {
	for _, name := range []string{
		"LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "DYLD_INSERT_LIBRARIES", "PATH", "BASH_ENV", "ENV", "PROMPT_COMMAND", "NODE_OPTIONS",
		"PYTHONSTARTUP", "PYTHONPATH", "PERL5OPT", "RUBYOPT", "JAVA_TOOL_OPTIONS", "GIT_SSH_COMMAND", "GIT_CONFIG_COUNT", "EDITOR", "PAGER", "GCONV_PATH",
		"KUBECONFIG", "kubeconfig", "KUBE_CONFIG_PATH", "KUBE_EDITOR", "KUBECTL_EXTERNAL_DIFF", "KUBERNETES_SERVICE_HOST", "HELM_PLUGINS", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE",
		"AWS_PROFILE", "AWS_PAGER", "AWS_CA_BUNDLE", "AWS_WEB_IDENTITY_TOKEN_FILE", "VAULT_CONFIG_PATH", "VAULT_CACERT", "VAULT_AGENT_ADDR", "VAULT_PROXY_ADDR", "VAULT_HTTP_PROXY",
		"TF_CLI_CONFIG_FILE", "TF_CLI_ARGS", "TF_PLUGIN_CACHE_DIR", "PSQLRC", "PSQL_PAGER", "PGSERVICEFILE", "PGSYSCONFDIR", "PGPASSFILE", "PGHOSTADDR", "PGOPTIONS", "DOCKER_CONFIG", "DOCKER_HOST",
		"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_HOME", "NETRC", "OPENSSL_CONF", "SSH_ASKPASS", "SSH_AUTH_SOCK", "SUDO_ASKPASS", "LESSOPEN",
		"GOFLAGS", "GOPROXY", "CC", "CGO_CFLAGS", "CARGO_HOME", "RUSTC_WRAPPER", "MAKEFLAGS", "TAR_OPTIONS", "RSYNC_RSH", "DOTNET_STARTUP_HOOKS", "PHPRC", "LUA_INIT", "GLIBC_TUNABLES",
		"HOURKEY_URL", "HOURKEY_CA", "HOURKEY_TOKEN", "TERMINFO", "MANPAGER", "GIT_TOKEN_COMMAND", "HOURKEY_TASK",
	} {
		if checkVariable(name, api.NewSecret("x")) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, name := range []string{"PGPASSWORD", "DATABASE_URL", "GH_TOKEN", "GITHUB_API_URL", "RAILWAY_API_TOKEN", "SUPABASE_ACCESS_TOKEN",
		"PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGSSLMODE", "PGSSLROOTCERT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CREDENTIAL_EXPIRATION", "AWS_REGION",
		"AWS_DEFAULT_REGION", "AWS_EC2_METADATA_DISABLED", "AWS_ENDPOINT_URL", "KUBE_HOST", "KUBE_TOKEN", "KUBE_NAMESPACE", "KUBE_CLUSTER_CA_CERT_DATA", "VAULT_ADDR", "VAULT_TOKEN", "VAULT_NAMESPACE",
		"TLS_CERTIFICATE", "TLS_PRIVATE_KEY", "TLS_CA", "SSH_PRIVATE_KEY", "SSH_CERTIFICATE", "SSH_USER", "SECRET_USERNAME", "SECRET_CONFIG", "RAILWAY_API_URL", "SUPABASE_API_URL", "GITHUB_TOKEN",
		"HOURKEY_TOKEN_ORDERS_API", "HOURKEY_TOKEN_CONFIG", "ORDERS_TOKEN", "NODE_AUTH_TOKEN", "STRIPE_KEY",
	} {
		if err := checkVariable(name, api.NewSecret("x")); err != nil {
			t.Error(err)
		}
	}
}

// The attack: the name of a task, as a broker that was taken over tells it, is a command to the shell that completes it.
func TestCompletionIsNoCommand(t *testing.T) {
	for _, word := range []string{"$(id)", "`id`", "a b", "a;id", "a'", `a\`, "a\tb", "a\nb", "a*", "~", "a:b", "ä", "{a,b}", "!x"} {
		if isPlain(word) {
			t.Errorf("%q is offered", word)
		}
	}
	for _, word := range []string{"fix-orders", "ci/nightly", "staging", "06h04ykbtj1dgmne5sfy5xavac", "a_b.c"} {
		if !isPlain(word) {
			t.Errorf("%q is not offered", word)
		}
	}
}

// The attack: the name of a variable in the shell's environment is a command, and stands in what the shell evaluates.
func TestNameOfAVariableIsNoCommand(t *testing.T) {
	a := &app{environ: []string{"AWS_ENDPOINT$(touch pwned)=x", "AWS_ENDPOINT;id=x", "AWS_PROFILE=production", "AWS_CONFIG_FILE=mine", "AWS_EC2_METADATA_DISABLED=true", "PATH=/bin", awsKey + "=old"}}
	values := map[string]api.Secret{awsKeyID: api.NewSecret("k"), awsKey: api.NewSecret("s")}
	if got := unsets(a.stale(values, values)); got != "unset AWS_PROFILE\n" {
		t.Errorf("%q", got)
	}
	if got := unsets(a.stale(values, nil)); got != "unset AWS_PROFILE\nunset AWS_SECRET_ACCESS_KEY\n" { // as --serve prints: without the key itself
		t.Errorf("%q", got)
	}
}
