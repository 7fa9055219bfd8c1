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
	} {
		if checkVariable(name, api.NewSecret("x")) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, name := range []string{"PGPASSWORD", "DATABASE_URL", "GH_TOKEN", "GITHUB_API_URL", "RAILWAY_API_TOKEN", "SUPABASE_ACCESS_TOKEN"} {
		if err := checkVariable(name, api.NewSecret("x")); err != nil {
			t.Error(err)
		}
	}
}
