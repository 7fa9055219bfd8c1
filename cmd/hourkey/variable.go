package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/web/api"
)

// A broker that was taken over has what it issues, and not the machine of who asks it: what it names is a variable, holds a
// credential, and is none by which a program finds code, a file of this machine, or a way through another one.

// checkVariable refuses what would not stay one variable, a name with shell syntax in it or a value that the environment
// cannot hold, and a variable that is more than a credential. The message never holds the value.
func checkVariable(name string, value api.Secret) error {
	if !isVariable(name) {
		return fmt.Errorf("the broker names a variable %q, which is no name for one", name)
	}
	if steers(name) {
		return failf("it may be a target's `variable:` in the broker's files: name one that ends in _TOKEN",
			"the broker names the variable %s, by which programs find code, files or servers: no credential needs that", name)
	}
	if strings.ContainsRune(value.Reveal(), 0) {
		return errors.New("the value of " + name + " holds a zero byte, which no environment can carry")
	}
	return nil
}

// steers tells of variables from which loaders, shells, interpreters and tools take code, a program, options, a file or a
// proxy. Most say so by how they begin or end; a token of whatever is only a token.
func steers(name string) bool {
	name = strings.ToUpper(name)
	if strings.HasPrefix(name, "HOURKEY_TOKEN_") || strings.HasPrefix(name, "SECRET_") || strings.HasSuffix(name, "_TOKEN") && !strings.HasPrefix(name, "HOURKEY_") {
		return false // of targets jwt and vault, and of the providers'
	}
	begins := func(with string) bool { return strings.HasPrefix(name, with) }
	ends := func(with string) bool { return strings.HasSuffix(name, with) }
	return slices.ContainsFunc(steeringPrefixes(), begins) || slices.ContainsFunc(steeringSuffixes(), ends) || slices.Contains(steeringNames(), name)
}

// steeringPrefixes lists loaders, languages and tools whose variables steer them.
func steeringPrefixes() []string {
	return []string{
		"LD_", "DYLD_", "GLIBC_", "GCONV_", "MALLOC_", "BASH_", "ZDOTDIR", "LESS", "XDG_", "DBUS_", "SYSTEMD_", "GTK_", "QT_", "OPENSSL_", "GNUPG",
		"NODE_", "NPM_CONFIG_", "YARN_", "COREPACK_", "BUN_", "DENO_", "PYTHON", "PIP_", "UV_", "CONDA_", "PERL", "RUBY", "GEM_", "BUNDLE_", "LUA_", "PHP",
		"JAVA_", "JDK_", "_JAVA", "MAVEN_", "GRADLE_", "DOTNET_", "COMPLUS_", "CORECLR_", "ERL_", "CGO_", "CARGO_", "RUST",
		"GIT_", "DOCKER_", "COMPOSE_", "HELM_", "KUBECTL_", "K8S_AUTH_", "KUBERNETES_", "TF_", "ANSIBLE_", "HOURKEY_",
	}
}

// steeringSuffixes lists how variables end that name programs, their options, files, folders and proxies: KUBECONFIG and
// AWS_CONFIG_FILE name files that name programs, AWS_PAGER a program.
func steeringSuffixes() []string {
	return []string{
		"PATH", "_DIR", "_DIRS", "_HOME", "_FILE", "_FILES", "CONFIG", "_CONF", "CONFDIR", "RC", "_PROFILE", "_BUNDLE", "CACERT", "CAPATH", "_SOCK",
		"PAGER", "EDITOR", "BROWSER", "SHELL", "ASKPASS", "_COMMAND", "_CMD", "_EXEC", "_RSH", "_SSH", "_WRAPPER", "_HOOK", "_HOOKS", "_DIFF", "_PROGRAM",
		"FLAGS", "OPTIONS", "_OPTS", "_ARGS", "_INIT", "PRELOAD", "_PLUGIN", "_PLUGINS", "_MODULES", "_PROXY", "GOPROXY", "PROXY_ADDR", "PROXY_URL",
	}
}

// steeringNames lists the others.
func steeringNames() []string {
	return []string{
		"HOME", "ENV", "IFS", "PS0", "PS1", "PS4", "VISUAL", "TMPDIR", "TEMP", "TMP", "TERMINFO", "TERMCAP", "SHELLOPTS", "BASHOPTS", "GOENV", "CC", "CXX", "LD", "AR",
		"PGSERVICE", "PGSERVICEFILE", "PGPASSFILE", "PGHOSTADDR", "VIMINIT", "EXINIT", "VAULT_AGENT_ADDR",
	}
}

func isVariable(name string) bool {
	for i, c := range []byte(name) {
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c == '_':
		case i > 0 && c >= '0' && c <= '9':
		default:
			return false
		}
	}
	return name != ""
}
