package system

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestApprovalIsCheckedByASecondImplementation: with the exported log alone, a program that has no line of ours
// in it finds that this key signed this statement, and finds every change of either.
func TestApprovalIsCheckedByASecondImplementation(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("node"); err != nil {
		if os.Getenv("HOURKEY_TEST_ALL") == "1" {
			t.Fatal("no Node here: install it (Debian: apt-get install nodejs)")
		}
		t.Skip("no Node here: install it (Debian: apt-get install nodejs)")
	}
	i := install(t)
	request, err := i.agent.request(t.Context(), "staging", time.Minute, "orders-db:public.orders:delete")
	must(t, err)
	i.approve(request.ID)
	i.must("audit", "export", i.path("log.jsonl"))
	whole, err := os.ReadFile(i.path("log.jsonl"))
	must(t, err)

	verify := func(text string) (string, bool) {
		i.put("tried.jsonl", text)
		out, err := exec.CommandContext(t.Context(), "node", "testdata/verify-approvals.mjs", i.path("tried.jsonl")).CombinedOutput()
		return string(out), err == nil
	}
	out, good := verify(string(whole))
	if !good || !strings.Contains(out, "alice signed approve-request "+request.ID) || !strings.Contains(out, "signed activate-agent") {
		t.Fatalf("it does not hold:\n%s", out)
	}
	for what, change := range map[string][2]string{
		"a longer life":      {`"ttl_seconds":60`, `"ttl_seconds":61`},
		"another scope":      {`"orders-db:public.orders:delete"`, `"orders-db:public.orders:admin"`},
		"another reviewer":   {`"reviewer":"alice"`, `"reviewer":"bob"`},
		"another sentence":   {"asks to delete", "asks to read"},
		"another site":       {i.origin, "http://localhost:1"},
		"another agent's":    {`"agent_key":"`, `"agent_key":"A`},
		"another's passkey":  {`"type":"hourkey.passkey.added","time`, `"type":"hourkey.passkey.offered","time`},
		"another public key": {`"public_key":"pQECAyYgASFYI`, `"public_key":"pQECAyYgASFYA`},
	} {
		changed := strings.ReplaceAll(string(whole), change[0], change[1])
		if changed == string(whole) {
			t.Errorf("%s: the log has no %s", what, change[0])
		}
		if out, good := verify(changed); good {
			t.Errorf("%s: it still holds:\n%s", what, out)
		}
	}
}
