package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/web/api"
)

func TestValueFullOfShellStaysOneValue(t *testing.T) {
	for _, value := range []string{
		"", "plain", "it's", "''", `a'$(touch pwned)'b`, "`id`", `\`, `\'`, "$HOME", "a\nb", "!x", "*", "~", "ä€🔑", "-n", "\t x ", `"`, "'; exit 1; '",
	} {
		text, err := exports(map[string]api.Secret{"V": api.NewSecret(value)})
		if err != nil {
			t.Fatal(err)
		}
		got, err := exec.Command("sh", "-c", "set -eu; "+text+`printf %s "$V"; env | grep -c ^V= >/dev/null`).Output()
		if err != nil || string(got) != value {
			t.Errorf("%q came back as %q (%v) by %s", value, got, err, text)
		}
	}
}

func FuzzQuote(f *testing.F) {
	for _, seed := range []string{"", "'", "a'b", `'\''`, "$(id)", "\n'"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if got, ok := unquote(quote(value)); !ok || got != value {
			t.Errorf("%q became %q", value, got)
		}
	})
}

// unquote reads a word of single-quoted parts and \' as a shell does.
func unquote(word string) (string, bool) {
	var value strings.Builder
	for word != "" {
		if rest, escaped := strings.CutPrefix(word, `\'`); escaped {
			value.WriteByte('\'')
			word = rest
			continue
		}
		inner, rest, closed := strings.Cut(strings.TrimPrefix(word, "'"), "'")
		if word[0] != '\'' || !closed {
			return "", false
		}
		value.WriteString(inner)
		word = rest
	}
	return value.String(), true
}

func TestVariableNameWithShellInItIsRefused(t *testing.T) {
	for _, name := range []string{"", "A B", "A;id", "1A", "A-B", "A=B", "A$(id)", "É"} {
		if text, err := exports(map[string]api.Secret{name: api.NewSecret("hunter2")}); err == nil {
			t.Errorf("%q gave %q", name, text)
		}
	}
	_, err := exports(map[string]api.Secret{"A": api.NewSecret("hunter2\x00")})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}

func TestChildEnviron(t *testing.T) {
	parent := []string{"PATH=/bin", "PGUSER=old", "HOURKEY_TASK=t", "HOURKEY_DATABASE_KEY=secret", "HOURKEY_URL=u", "EMPTY=", "HOURKEY_LEASED=VAULT_TOKEN PGUSER"}
	got := childEnviron(parent, map[string]api.Secret{"PGUSER": api.NewSecret("new")})
	slices.Sort(got)
	if diff := cmp.Diff([]string{"EMPTY=", "HOURKEY_LEASED=PGUSER VAULT_TOKEN", "HOURKEY_TASK=t", "HOURKEY_URL=u", "PATH=/bin", "PGUSER=new"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestEscapeSequenceInTheBrokersWordsIsNotObeyed(t *testing.T) {
	var out bytes.Buffer
	a := &app{stderr: &out}
	a.say("%s", "denied\x1b[1A\rhourkey: approved\u202e\nhourkey: error: x")
	if got := out.String(); strings.ContainsAny(got[:len(got)-1], "\x1b\r\n\u202e") {
		t.Errorf("%q", got)
	}
}

func TestWarningsComeFiveMinutesBeforeTheEndAndAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &output{}
		a := &app{stderr: out, now: time.Now}
		start := time.Now()
		credentials := []api.Credential{
			{Target: "orders-db", Environment: "staging", Expires: start.Add(30 * time.Minute)},
			{Target: "stock-db", Environment: "staging", Expires: start.Add(30 * time.Minute)},
			{Target: "service", Environment: "staging", Expires: start.Add(5 * time.Minute)},
		}
		go a.watch(t.Context(), notices(credentials, start))
		said := func(at time.Duration) string {
			time.Sleep(time.Until(start.Add(at)))
			synctest.Wait()
			return out.take()
		}
		for _, step := range []struct {
			at   time.Duration
			want string
		}{
			{4*time.Minute - time.Second, ""},
			{4 * time.Minute, "service in staging ends in 1m, at"},
			{5*time.Minute - time.Second, ""},
			{5 * time.Minute, "service in staging has ended"},
			{25*time.Minute - time.Second, ""},
			{25 * time.Minute, "orders-db in staging, stock-db in staging ends in 5m, at"},
			{30*time.Minute - time.Second, ""},
			{30 * time.Minute, "orders-db in staging, stock-db in staging has ended"},
			{2 * time.Hour, ""},
		} {
			if got := said(step.at); (step.want == "") != (got == "") || !strings.Contains(got, step.want) {
				t.Errorf("after %v: %q, want %q", step.at, got, step.want)
			}
		}
	})
}

func TestWatchEndsWithTheChild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &app{stderr: &bytes.Buffer{}, now: time.Now}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		a.watch(ctx, notices([]api.Credential{{Expires: time.Now().Add(time.Hour)}}, time.Now()))
		if ctx.Err() == nil {
			t.Error("it ended by itself")
		}
	})
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{time.Hour: "1h", 10 * time.Minute: "10m", 90 * time.Second: "1m30s", time.Hour + time.Second: "1h0m1s", 5 * time.Second: "5s", 0: "0s"} {
		if got := short(d); got != want {
			t.Errorf("short(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestExitCodes(t *testing.T) {
	for code, want := range map[string]int{
		api.CodeDenied: 3, api.CodeForbidden: 3, api.CodeFrozen: 3, api.CodePending: 4, api.CodeUnauthenticated: 1, api.CodeWall: 1, api.CodeInternal: 1, "new_code": 1,
	} {
		if got := exitCode(&api.Problem{Code: code}); got != want {
			t.Errorf("%s exits %d, want %d", code, got, want)
		}
	}
	for state, want := range map[string]int{api.StatePending: 4, api.StateDenied: 3, api.StateExpired: 1, api.StateCancelled: 1} {
		if got := exitCode(&undecided{api.Request{State: state}}); got != want {
			t.Errorf("%s exits %d, want %d", state, got, want)
		}
	}
}

// An expiry that was not the clock's says whose it was.
func TestAnExpiryByAReloadSaysSo(t *testing.T) {
	for verdict, want := range map[string]string{
		"":                                     "request r1 has expired: it was not decided, or not collected, in time",
		"the configuration changed: ask again": "request r1 has expired: the configuration changed: ask again",
	} {
		if got := (&undecided{api.Request{ID: "r1", State: api.StateExpired, Verdict: verdict}}).Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestBrokerThatIsDownHasANextStep(t *testing.T) {
	down := fmt.Errorf("cannot reach the broker: %w", &net.OpError{Op: "dial", Err: errors.New("connection refused")})
	if hint := hintOf(down); !strings.Contains(hint, "see that the broker runs") {
		t.Error(hint)
	}
	if hint := hintOf(&net.OpError{Op: "listen", Err: errors.New("no")}); hint != "" { // is not the broker's
		t.Error(hint)
	}
}
