package config

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hourkey/hourkey/broker"
)

func server(text string) (Server, error) { return DecodeServer("/conf/hourkey.yaml", []byte(text)) }

func TestServerDefaults(t *testing.T) {
	got, err := server("groups: {humans: [alice]}\n")
	if err != nil {
		t.Fatal(err)
	}
	want := Server{
		File: "/conf/hourkey.yaml", Dir: "/conf", Listen: "127.0.0.1:8750", Origin: "http://localhost:8750",
		Data: "/conf/data", Keys: "/conf/keys/kek", Anchor: "/conf/keys/anchor",
		Limits:   broker.Limits{PendingPerAgent: 20, LeasesPerAgent: 64, PasskeyWait: 24 * time.Hour},
		Sessions: Sessions{Idle: 30 * time.Minute, Life: 12 * time.Hour},
		Groups:   map[string][]string{"humans": {"alice"}},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Error(diff)
	}
}

func TestServerSettings(t *testing.T) {
	got, err := server(`
listen: 0.0.0.0:443
origin: https://hourkey.example
tls: {cert: tls/cert.pem, key: /etc/ssl/key.pem}
trusted_proxies: [10.0.0.5, "10.1.0.0/16"]
data: /var/lib/hourkey
keys: /etc/hourkey/kek
limits: {pending_per_agent: 5, leases_per_agent: 7}
passkeys: {wait: 1h}
sessions: {idle: 10m, life: 8h}
roles: {operator: [admins], reviewer: [admins]}
groups: {admins: [alice, bob]}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := Server{
		File: "/conf/hourkey.yaml", Dir: "/conf", Listen: "0.0.0.0:443", Origin: "https://hourkey.example",
		TLSCert: "/conf/tls/cert.pem", TLSKey: "/etc/ssl/key.pem",
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.5/32"), netip.MustParsePrefix("10.1.0.0/16")},
		Data:           "/var/lib/hourkey", Keys: "/etc/hourkey/kek", Anchor: "/conf/keys/anchor",
		Limits:   broker.Limits{PendingPerAgent: 5, LeasesPerAgent: 7, PasskeyWait: time.Hour},
		Sessions: Sessions{Idle: 10 * time.Minute, Life: 8 * time.Hour},
		Groups:   map[string][]string{"admins": {"alice", "bob"}},
		Roles:    map[broker.Role][]string{broker.RoleOperator: {"admins"}, broker.RoleReviewer: {"admins"}},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Error(diff)
	}
}

func TestKeyAtVault(t *testing.T) {
	got, err := server("vault: {address: https://vault.example}\nkeys: vault:transit/keys/hourkey\n")
	if err != nil || got.Keys != "" || got.Transit != (Transit{"transit", "hourkey"}) || got.Vault == nil {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{
		"keys: vault:transit/keys/hourkey", "vault: {}\nkeys: vault:hourkey", "vault: {}\nkeys: vault:transit/keys/", "vault: {}\nkeys: 'vault:'",
		"vault: {}\nvault: {}", "vault: {}\nkeys: ''",
	} {
		if _, err := server(text + "\n"); broker.CodeOf(err) != broker.CodeInvalid {
			t.Errorf("%s: %v", text, err)
		}
	}
	t.Setenv("HOURKEY_KEYS", "vault:team/transit/keys/hourkey")
	if got, err = server("vault: {}\n"); err != nil || got.Transit != (Transit{"team/transit", "hourkey"}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTimesThatAreNone(t *testing.T) {
	for _, text := range []string{"passkeys: {wait: -1h}", "passkeys: {wait: 400h}", "sessions: {idle: 0s}", "sessions: {life: 25h}", "sessions: {idle: soon}", "passkeys: {wayt: 1h}"} {
		if _, err := server(text + "\n"); broker.CodeOf(err) != broker.CodeInvalid {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestEnvironmentVariablesOverride(t *testing.T) {
	t.Setenv("HOURKEY_LISTEN", "127.0.0.1:9000")
	t.Setenv("HOURKEY_DATA", "elsewhere")
	t.Setenv("HOURKEY_LIMITS_LEASES_PER_AGENT", "3")
	t.Setenv("HOURKEY_TRUSTED_PROXIES", "10.0.0.1, 10.0.0.2")
	got, err := server("listen: 127.0.0.1:8750\nlimits: {leases_per_agent: 9}\n")
	if err != nil {
		t.Fatal(err)
	}
	if got.Listen != "127.0.0.1:9000" || got.Origin != "http://localhost:9000" || got.Data != "/conf/elsewhere" ||
		got.Limits.LeasesPerAgent != 3 || len(got.TrustedProxies) != 2 {
		t.Errorf("got %+v", got)
	}
}

// Who approves is part of what was decided: no environment variable may change it.
func TestGroupsAndRolesCannotBeOverriddenByTheEnvironment(t *testing.T) {
	t.Setenv("HOURKEY_GROUPS_ADMINS", "mallory")
	t.Setenv("HOURKEY_ROLES_OPERATOR", "everybody")
	t.Setenv("HOURKEY_VAULT_ADDRESS", "http://127.0.0.1:1")
	got, err := server("groups: {admins: [alice]}\nroles: {operator: [admins]}\nvault: {address: \"https://vault.example\"}\n")
	if err != nil {
		t.Fatal(err)
	}
	var vault struct{ Address string }
	if err := got.Vault.Decode(&vault); err != nil || vault.Address != "https://vault.example" {
		t.Errorf("the Vault that is asked: %+v, %v", vault, err)
	}
	if diff := cmp.Diff(map[string][]string{"admins": {"alice"}}, got.Groups); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[broker.Role][]string{broker.RoleOperator: {"admins"}}, got.Roles); diff != "" {
		t.Error(diff)
	}
}

func TestServerRefusals(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"typo":                        {"lisen: x\n", `hourkey.yaml:1: unknown field "lisen": did you mean "listen"?`},
		"typo in a role":              {"roles: {operater: [a]}\n", `unknown role "operater": did you mean "operator"?`},
		"typo below tls":              {"tls: {crt: a}\n", `did you mean "cert"?`},
		"plain HTTP on a network":     {"listen: 0.0.0.0:8750\n", "plain HTTP is served on loopback only"},
		"plain HTTP on every address": {"listen: \":8750\"\n", "plain HTTP is served on loopback only"},
		"half a certificate":          {"tls: {cert: a}\n", "expected both cert and key"},
		"no port":                     {"listen: localhost\n", "expected host:port"},
		"the key in the data folder":  {"keys: data/kek\n", "must lie outside the data folder"},
		"the key through dots":        {"keys: keys/../data/kek\n", "must lie outside the data folder"},
		"the anchor in the data":      {"anchor: data/anchor\n", "must lie outside the data folder"},
		"no data folder":              {"data: \"\"\n", "data: expected a path"},
		"an address as origin":        {"origin: \"https://10.0.0.1\"\n", "needs a host name"},
		"an origin with a path":       {"origin: https://a.example/x\n", "nothing after it"},
		"an origin with a user":       {"origin: \"https://u@a.example\"\n", "nothing after it"},
		"an origin in capitals":       {"origin: https://A.example\n", "lower case"},
		"plain HTTP elsewhere":        {"origin: http://a.example\n", "expected https://"},
		"a proxy that is a name":      {"trusted_proxies: [proxy.example]\n", "neither an address nor a prefix"},
		"a limit of nothing":          {"limits: {leases_per_agent: 0}\n", "expected a number from 1"},
		"a limit in words":            {"limits: {leases_per_agent: many}\n", "expected a whole number"},
		"a human with a space":        {"groups: {a: [\"al ice\"]}\n", "is not a name"},
		"a group in capitals":         {"groups: {Admins: [alice]}\n", "is not a name"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := server(test.text)
			refused(t, err, test.want)
		})
	}
}

func TestLimitOverrideThatIsNoNumberIsRefused(t *testing.T) {
	t.Setenv("HOURKEY_LIMITS_LEASES_PER_AGENT", "unlimited")
	_, err := server("listen: 127.0.0.1:8750\n")
	refused(t, err, "expected a number")
}
