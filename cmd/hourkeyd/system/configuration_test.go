package system

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/web/api"
)

// TestEnvironmentPointsElsewhereAfterTheDecision: somebody edits staging's file, or the variable that it
// refers to, so that it leads to production's database, after the decision and before the collect.
func TestEnvironmentPointsElsewhereAfterTheDecision(t *testing.T) {
	t.Parallel()
	i := install(t)
	decided := func() (allowed, approved string) {
		t.Helper()
		one, err := i.allowed()
		must(t, err)
		two, err := i.agent.request(t.Context(), "staging", 0, rwd)
		must(t, err)
		i.approve(two.ID)
		return one, two.ID
	}
	wantRefused := func(how string, requests ...string) {
		t.Helper()
		for _, id := range requests {
			_, err := i.agent.collect(t.Context(), id)
			// The last two: an earlier collect got as far as the provider's own look, which refused; that used
			// up the approval, or waits until somebody can say at the right provider that nothing is there.
			refused(t, how+", collect", err, api.CodeConflict, api.CodeUnconfirmed, api.CodeWall, api.CodeExpired, api.CodeUnavailable)
		}
		_, err := i.agent.request(t.Context(), "staging", 0)
		refused(t, how+", a new request", err, api.CodeUnconfirmed, api.CodeWall)
		if roles := i.staging.roles(t, i.prefix()); len(roles) > 0 {
			t.Errorf("%s: roles were made: %v", how, roles)
		}
	}
	staging, production := fmt.Sprintf(environmentFile, "STAGING", i.staging.owner), fmt.Sprintf(environmentFile, "PRODUCTION", i.production.owner)

	one, two := decided()
	i.put("environments/staging.yaml", production)
	key, err := i.agent.collect(t.Context(), one) // what is in force is what was decided, not what a file says meanwhile
	must(t, err)
	if database := key.Values["PGDATABASE"].Reveal(); database != i.staging.name {
		t.Errorf("a key of staging leads to %s", database)
	}
	must(t, i.agent.release(t.Context(), key.Lease))
	one, err = i.allowed()
	must(t, err)
	i.must("reload")
	wantRefused("edited and reloaded", one, two)

	i.put("environments/staging.yaml", staging)
	i.must("reload")
	one, two = decided()
	i.put("environments/staging.yaml", production)
	i.stop()
	i.serve()
	wantRefused("edited and restarted", one, two)

	i.put("environments/staging.yaml", staging)
	i.stop()
	i.serve()
	one, two = decided()
	i.stop()
	i.serve("STAGING_ADMIN_DSN=" + i.production.dsn()) // the file is as it was, and so is its hash
	wantRefused("another value of the variable", one, two)

	i.put("environments/staging.yaml", strings.Replace(staging, i.staging.owner, i.production.owner, 1))
	i.stop()
	i.serve("STAGING_ADMIN_DSN=" + i.production.dsn())
	wantRefused("variable and owner", one, two)

	i.put("environments/staging.yaml", staging)
	i.stop()
	i.serve()
	i.none()
}

// allowed asks for what needs nobody, and does not collect it.
func (i *installation) allowed() (request string, err error) {
	r, err := i.agent.request(i.Context(), "staging", 0)
	return r.ID, err
}

// wide is what every bad set below would give away if any of it came into force.
const wide = `gives: ["orders-db:public.orders:read,write", "orders-db:public.secrets:read"]`

// TestBadSetsNeverAllow: each set widens the task and has one thing wrong. A reload leaves the old one in
// force; a start is refused.
func TestBadSetsNeverAllow(t *testing.T) {
	t.Parallel()
	i := install(t)
	orders, staging, guardrails := "policies/tasks/orders.yaml", "environments/staging.yaml", "policies/guardrails.cedar"
	bad := map[string]func(){
		"a typo in a task":                func() { i.edit(orders, "with_approval:", "with_aproval:") },
		"a typo in an environment":        func() { i.edit(staging, "approval:", "aproval:") },
		"a typo in a group":               func() { i.edit(staging, "[reviewers]", "[reviewer]") },
		"a typo in the target's settings": func() { i.edit(staging, "owner:", "ower:") },
		"a typo in hourkey.yaml":          func() { i.edit("hourkey.yaml", "operator:", "operators:") },
		"delete without approval":         func() { i.edit(orders, "public.secrets:read", "public.secrets:read,delete") },
		"nobody approves a delete":        func() { i.edit(staging, "delete: 1", "delete: 0") },
		"a permit":                        func() { i.add(guardrails, `@id("open") permit (principal, action, resource);`) },
		"a guardrail without @id":         func() { i.add(guardrails, `forbid (principal, action, resource);`) },
		"a guardrail with a type error": func() {
			i.add(guardrails, `@id("x") forbid (principal, action, resource) when { resource.name > 1 };`)
		},
		"a guardrail with an unknown attribute": func() {
			i.add(guardrails, `@id("x") forbid (principal, action, resource) when { resource.nam == "a" };`)
		},
		"half a guardrail":                     func() { i.add(guardrails, `@id("x") forbid (principal`) },
		"a task twice":                         func() { i.add(orders, strings.TrimSpace(taskFile)) },
		"the environment is missing":           func() { must(t, os.Remove(i.path(staging))) },
		"a world-writable task":                func() { must(t, os.Chmod(i.path(orders), 0o666)) },
		"a world-writable environment":         func() { must(t, os.Chmod(i.path(staging), 0o602)) },
		"a world-writable folder":              func() { must(t, os.Chmod(i.path("policies"), 0o777)) },
		"a world-writable hourkey.yaml":        func() { must(t, os.Chmod(i.path("hourkey.yaml"), 0o606)) },
		"a secret in the file":                 func() { i.edit(staging, "env:STAGING_ADMIN_DSN", i.staging.dsn()) },
		"a variable that is not set":           func() { i.edit(staging, "env:STAGING_ADMIN_DSN", "env:NOT_SET") },
		"a secret's file that is missing":      func() { i.edit(staging, "env:STAGING_ADMIN_DSN", "file:nonesuch") },
		"a secret's file that others can read": func() { i.readable(staging) },
	}
	names := []string{"hourkey.yaml", orders, staging, guardrails}
	was := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(i.path(name))
		must(t, err)
		was[name] = string(text)
	}
	mend := func() {
		for _, name := range names {
			_ = os.Remove(i.path(name))
			i.put(name, was[name])
		}
		must(t, os.Chmod(i.path("policies"), 0o700))
	}
	each := func(do func(what string)) {
		for what, break_ := range bad {
			i.edit(orders, giving, wide)
			break_()
			do(what)
			mend()
		}
	}

	each(func(what string) {
		if out, code := i.run("reload"); code == 0 {
			t.Errorf("%s: the reload was taken: %s", what, out)
		}
		_, err := i.agent.request(t.Context(), "staging", 0, "orders-db:public.secrets:read")
		refused(t, what, err, api.CodeDenied)
	})
	i.stop()
	each(func(what string) {
		if out, code := i.run("check"); code == 0 {
			t.Errorf("%s: check finds it good: %s", what, out)
		}
		p := i.launch()
		if !p.died(patience) {
			t.Errorf("%s: the broker serves", what)
			p.kill()
		}
	})
	i.serve()
	i.key(time.Minute) // the old set still works
	i.edit(orders, giving, wide)
	i.must("reload")
	i.key(time.Minute, "orders-db:public.secrets:read") // and the wider one would have been one, but for what is wrong
}

// add appends to a file.
func (i *installation) add(name, text string) {
	i.Helper()
	was, err := os.ReadFile(i.path(name))
	must(i, err)
	i.put(name, string(was)+"\n"+text+"\n")
}

// readable moves the secret into a file that every user can read.
func (i *installation) readable(environment string) {
	i.Helper()
	i.put("dsn", i.staging.dsn())
	must(i, os.Chmod(i.path("dsn"), 0o644))
	i.edit(environment, "env:STAGING_ADMIN_DSN", "file:dsn")
}

// TestGuardrailThatErrorsWhenEvaluated passes the checks of the load, and then denies.
func TestGuardrailThatErrorsWhenEvaluated(t *testing.T) {
	t.Parallel()
	i := install(t)
	before, err := i.agent.request(t.Context(), "staging", 0)
	must(t, err)
	i.add("policies/guardrails.cedar", `@id("overflow") forbid (principal, action, resource) when { 9223372036854775807 + 1 > 0 };`)
	i.must("reload")
	_, err = i.agent.collect(t.Context(), before.ID)
	refused(t, "what was decided before", err, api.CodeConflict, api.CodeDenied)
	_, err = i.agent.request(t.Context(), "staging", 0)
	refused(t, "a guardrail that errors", err, api.CodeDenied)
	i.none()
}

// TestTaskFileGone: what no file gives, nobody gets.
func TestTaskFileGone(t *testing.T) {
	t.Parallel()
	i := install(t)
	before, err := i.agent.request(t.Context(), "staging", 0)
	must(t, err)
	must(t, os.Remove(i.path("policies/tasks/orders.yaml")))
	_, reloaded := i.run("reload")
	if reloaded == 0 {
		_, err = i.agent.collect(t.Context(), before.ID)
		refused(t, "what was decided before", err, api.CodeConflict, api.CodeDenied)
		_, err = i.agent.request(t.Context(), "staging", 0)
		refused(t, "a task that is gone", err, api.CodeDenied, api.CodeInvalid, api.CodeNotFound)
	}
	i.none()
}

// TestDecisionOfFormerFilesAfterReload: a decision under other files is void, also when they got narrower.
func TestDecisionOfFormerFilesAfterReload(t *testing.T) {
	t.Parallel()
	i := install(t)
	request, err := i.agent.request(t.Context(), "staging", 0)
	must(t, err)
	i.edit("policies/tasks/orders.yaml", "ttl: 30m", "ttl: 20m")
	i.must("reload")
	_, err = i.agent.collect(t.Context(), request.ID)
	refused(t, "a decision of former files", err, api.CodeConflict)
}

// TestKeyEncryptionKeyGoneOrOpen: a new key would open nothing of the store, and one that others can read is
// everybody's.
func TestKeyEncryptionKeyGoneOrOpen(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.stop()
	for what, attack := range map[string]func(){
		"readable by others": func() { must(t, os.Chmod(i.path("keys/kek"), 0o644)) },
		"gone":               func() { must(t, os.Rename(i.path("keys/kek"), i.path("keys/kept"))) },
	} {
		attack()
		if p := i.launch(); !p.died(patience) {
			t.Errorf("%s: the broker serves", what)
			p.kill()
		}
		_ = os.Rename(i.path("keys/kept"), i.path("keys/kek"))
		must(t, os.Chmod(i.path("keys/kek"), 0o600))
	}
	i.serve()
	i.key(time.Minute)
}

// TestTargetEditedWhileALeaseLives: the lease ends all the same, whatever its file says by then, or how the
// broker logs in.
func TestTargetEditedWhileALeaseLives(t *testing.T) {
	t.Parallel()
	i := install(t)
	const file = "environments/staging.yaml"
	for what, edit := range map[string]func(){
		"accept": func() { i.edit(file, "dsn:", `accept: [{object: "function public.x()", why: "a test"}], dsn:`) },
		"the variable": func() {
			i.edit(file, "STAGING_ADMIN_DSN", "OTHER_DSN")
			i.environ = append(i.environ, "OTHER_DSN="+i.staging.dsn())
		},
		"the password": func() {
			i.staging.Exec(t, "postgres", "ALTER ROLE "+i.staging.admin+" PASSWORD 'another'")
			i.staging.password = "another" // also for what is edited after this: the order is by chance
			for _, name := range []string{"STAGING_ADMIN_DSN", "OTHER_DSN"} {
				i.environ = append(i.environ, name+"="+i.staging.DSN(i.staging.admin, "another", i.staging.name))
			}
		},
	} {
		key, session := i.inUse(4 * time.Second)
		edit()
		i.stop()
		i.serve()
		time.Sleep(time.Until(key.Expires))
		i.dead(key, session, 1)
		t.Logf("%s: dead", what)
	}
}
