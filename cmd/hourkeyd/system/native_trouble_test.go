package system

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

// TestAWSInTrouble, and those of the other kinds: the provider is down, slow, or ends in the middle of an answer, at issue and at the
// end. The agent is told what to do next, nothing is issued, and nothing that was made is lost.
func TestAWSInTrouble(t *testing.T) {
	t.Parallel()
	f, _ := fortAndMinIO(t)
	f.troubledIssue()
	f.troubledExpiry()
}

func TestKubernetesInTrouble(t *testing.T) {
	t.Parallel()
	f, _ := fortAndCluster(t)
	f.troubledIssue()
	f.troubledEnd()
}

func TestVaultInTrouble(t *testing.T) {
	t.Parallel()
	f, _ := fortAndVault(t)
	f.troubledIssue()
	f.troubledEnd()
}

// troubles are those of one call. A silent provider takes as long as the broker is patient.
func troubles() []trouble {
	all := []trouble{isDown, isIll, isTorn, isBlank}
	if os.Getenv("HOURKEY_TEST_ALL") == "1" {
		all = append(all, isMute)
	}
	return all
}

func (f *fort) troubledIssue() {
	f.Helper()
	mend := f.tap.breaks(isDown, everyCall)
	_, err := f.agent.request(f.Context(), "staging", f.ttl, f.looks)
	f.told("asking while the provider is down", err)
	mend()
	for _, how := range troubles() {
		request, err := f.agent.request(f.Context(), "staging", f.ttl, f.asks)
		must(f, err)
		before := len(f.leases(true))
		mend := f.tap.breaks(how, f.makes)
		_, err = f.agent.collect(f.Context(), request.ID)
		mend()
		f.told("collecting while the provider is "+string(how), err)
		if leases := f.leases(true); len(leases) != before+1 || leases[0].State == broker.LeaseLive {
			f.Errorf("%s: %d leases more, the last is %s; want the one that came to nothing on record", how, len(leases)-before, leases[0].State)
		}
	}
	if issued := f.eventsOf(string(broker.EventLeaseIssued)); len(issued) > 0 {
		f.Errorf("the log says that these were issued: %v", issued)
	}
	f.none()
	key, err := f.agent.get(f.Context(), "staging", f.ttl, f.asks)
	must(f, err)
	must(f, f.agent.release(f.Context(), key.Lease))
	f.none()
}

// told wants the agent to be told what failed, where, and what comes next, and nothing else.
func (f *fort) told(what string, err error) {
	f.Helper()
	refused(f, what, err, api.CodeUnavailable)
	problem, is := api.AsProblem(err)
	if !is {
		return
	}
	if !strings.Contains(problem.Detail, "staging/") || problem.Next == "" {
		f.Errorf("%s: the agent is told %q, and as the next step %q", what, problem.Detail, problem.Next)
	}
	if said := problem.Detail + problem.Next; strings.Contains(said, f.tap.URL) || strings.Contains(said, "connection re") || strings.Contains(said, "EOF") {
		f.Errorf("%s: the agent is told of the operator's network: %q", what, said)
	}
}

// troubledEnd: while the provider cannot be reached a lease is ending, tried again, alarmed; when it is back the lease ends by itself.
func (f *fort) troubledEnd() {
	f.Helper()
	for _, how := range []trouble{isIll, isTorn} { // at the one call that ends; the next attempt finds its work done, or does it
		key := f.given(f.ttl)
		mend := f.tap.breaks(how, f.ends)
		f.mayRefuse(f.agent.release(f.Context(), key.Lease))
		mend()
		f.none()
	}

	key := f.given(f.ttl)
	mend := f.tap.breaks(isDown, everyCall)
	f.mayRefuse(f.agent.release(f.Context(), key.Lease))
	if lease := f.lease(key.Lease); lease.State != broker.LeaseEnding || lease.Cause != broker.CauseReleased || lease.LastError == "" || lease.Retry.IsZero() {
		f.Errorf("the lease whose end failed: %+v", lease)
	}
	f.measures(`hourkey_leases{state="ending"} 1`)
	for f.lease(key.Lease).State != broker.LeaseStuck { // people try, and so does the sweeper
		if err := f.revoke(key.Lease); err == nil {
			f.Fatal("it is said to be ended while nobody can be asked")
		}
	}
	f.measures("hourkey_leases_stuck 1")
	if told := f.eventsOf(string(broker.EventLeaseStuck)); len(told) != 1 || !strings.HasPrefix(told[0], key.Lease) {
		f.Errorf("events of the alarm: %v", told)
	}
	if page := f.shows("/leases"); !strings.Contains(page, "Stuck: may still work") {
		f.Error("the page of leases does not say that one is stuck")
	}
	if works, err := f.loot()[len(f.loot())-1].works(f.Context()); !works || err != nil {
		f.Errorf("what is alarmed about works: %t, %v; or the alarm is for nothing", works, err)
	}
	mend()
	f.none() // by the sweeper alone
	f.measures("hourkey_leases_stuck 0")
	if lease := f.lease(key.Lease); lease.State != broker.LeaseEnded || lease.Cause != broker.CauseReleased {
		f.Errorf("the lease ended as %s, because it was %s", lease.State, lease.Cause)
	}
}

// troubledExpiry: where nobody is called at the end, nobody is missed.
func (f *fort) troubledExpiry() {
	f.Helper()
	key := f.given(f.ttl)
	mend := f.tap.breaks(isDown, everyCall)
	defer mend()
	if err := f.agent.release(f.Context(), key.Lease); err != nil {
		f.Errorf("releasing while the provider is down: %v", err)
	}
	if lease := f.lease(key.Lease); time.Now().Before(lease.Expires.Add(-time.Second)) && lease.State != broker.LeaseEnding {
		f.Errorf("the lease is %s before its time", lease.State)
	}
	f.none()
}

// given is a key in staging.
func (f *fort) given(ttl time.Duration) api.Credential {
	f.Helper()
	key, err := f.agent.get(f.Context(), "staging", ttl, f.asks)
	must(f, err)
	return key
}

// mayRefuse wants a release that fails to say that it is tried again.
func (f *fort) mayRefuse(err error) {
	f.Helper()
	if problem, is := api.AsProblem(err); err != nil && (!is || problem.Code != api.CodeUnavailable || !strings.Contains(problem.Detail, "retried at")) {
		f.Errorf("releasing: %v; want it to be retried, and to say so", err)
	}
}

func (f *fort) lease(id string) broker.Lease {
	f.Helper()
	for _, lease := range f.leases(true) {
		if lease.ID == id {
			return lease
		}
	}
	f.Fatalf("no lease %s", id)
	return broker.Lease{}
}

// measures waits for a line of the metrics.
func (f *fort) measures(line string) {
	f.Helper()
	eventually(f, func() error {
		if !strings.Contains(f.scrapeText(), line+"\n") {
			return fmt.Errorf("the metrics do not say %s", line)
		}
		return nil
	})
}
