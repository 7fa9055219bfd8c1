package daemon

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/admin"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
)

func TestFilesThatLockEverybodyOutAreWarnedOf(t *testing.T) {
	t.Parallel()
	server := func(operators ...string) config.Server {
		return config.Server{
			Groups: map[string][]string{"dba": operators, "humans": {"alice"}},
			Roles:  map[broker.Role][]string{broker.RoleOperator: {"dba"}, broker.RoleReviewer: {"humans"}},
		}
	}
	onlyBySignOn := server()
	onlyBySignOn.SingleSignOn = &config.SingleSignOn{Groups: map[string]string{"their-dba": "dba"}}
	elsewhere := server("carol")
	elsewhere.SingleSignOn = &config.SingleSignOn{Groups: map[string]string{"their-oncall": "humans"}}
	for name, test := range map[string]struct {
		server   config.Server
		enrolled []string
		want     string // empty: no warning
	}{
		"somebody can sign":                   {server("alice", "carol"), []string{"alice"}, ""},
		"nobody has come yet":                 {server("carol"), nil, ""},
		"single sign-on may bring one":        {onlyBySignOn, []string{"alice"}, ""},
		"nobody":                              {server(), nil, "nobody is an operator"},
		"no role":                             {config.Server{}, []string{"alice"}, "nobody is an operator"},
		"only somebody who has no passkey":    {server("carol"), []string{"alice"}, "no operator (carol) has a passkey"},
		"single sign-on brings no operators":  {elsewhere, []string{"alice"}, "name an operator who has one (alice) in hourkey.yaml and `hourkeyd reload`"},
		"two who have none: one can be reset": {server("dave", "carol"), []string{"alice"}, "`hourkeyd human reset carol`"},
	} {
		if got := WithoutOperators(test.server, test.enrolled); test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

// The last operator with a passkey is taken out: it is said when it happens, not when somebody must sign.
func TestReloadThatLocksEverybodyOutSaysSo(t *testing.T) {
	dir := folder(t)
	d, client, _ := serve(t, dir)
	must(t, d.stack.Store.Update(t.Context(), func(tx broker.Tx) error {
		return errors.Join(tx.Save(&broker.Human{Name: "alice", Handle: []byte("a")}), tx.Save(&broker.Human{Name: "carol", Handle: []byte("c")}),
			tx.Save(&broker.Passkey{ID: "k", Human: "alice"}))
	}))
	var status admin.Status
	must(t, client.Call(t.Context(), http.MethodGet, "/status", nil, &status))
	if diff := cmp.Diff([]string{"alice"}, status.Enrolled); diff != "" {
		t.Error(diff)
	}
	for operator, want := range map[string]string{
		"alice": "", "carol": "no operator (carol) has a passkey", "": "nobody is an operator",
	} {
		put(t, dir, "hourkey.yaml", "listen: 127.0.0.1:0\norigin: http://localhost:8750\ngroups: {humans: [alice, bob], dba: ["+operator+"]}\nroles: {operator: [dba], reviewer: [humans]}\n")
		var done admin.Reloaded
		must(t, client.Call(t.Context(), http.MethodPost, "/reload", nil, &done))
		if got := strings.Join(done.Warnings, "\n"); want == "" && got != "" || !strings.HasPrefix(got, want) {
			t.Errorf("operator %q: %q", operator, got)
		}
	}
}
