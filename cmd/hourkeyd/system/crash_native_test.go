//go:build failpoint

package system

import (
	"errors"
	"os"
	"strconv"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/aws"
	"github.com/hourkey/hourkey/issuers/kubernetes"
	issuer "github.com/hourkey/hourkey/issuers/vault"
)

// killsPerNativePoint is enough for both ways to most points; HOURKEY_TEST_KILLS=5 takes its minutes.
const killsPerNativePoint = 2

// TestCrashAtEveryStepOfAWS: a session can be neither listed nor ended. So what is shown is that whatever STS gave has its record, ends
// with it, was made once, and is not taken for ended before.
func TestCrashAtEveryStepOfAWS(t *testing.T) {
	t.Parallel()
	f, _ := fortAndMinIO(t)
	besiege(t, f, aws.Failpoints(), []string{"issue.intent", "issue.provider", "issue.live", "end.order"})
}

// TestCrashAtEveryStepOfKubernetes: no object of ours without a live lease, none missing, and no token that works.
func TestCrashAtEveryStepOfKubernetes(t *testing.T) {
	t.Parallel()
	f, _ := fortAndCluster(t)
	besiege(t, f, kubernetes.Failpoints(), []string{"issue.provider", "issue.live", "end.provider", "end.done"})
}

// TestCrashAtEveryStepOfVault: no token and no login of the database without a live lease.
func TestCrashAtEveryStepOfVault(t *testing.T) {
	t.Parallel()
	f, _ := fortAndVault(t)
	besiege(t, f, issuer.Failpoints(), []string{"issue.provider", "issue.live", "end.provider", "end.done"})
}

// siege is a fort whose broker is killed again and again.
type siege struct {
	*fort
	log   crash
	dead  map[string]bool // secrets that were tried and are worth nothing
	asked []string        // requests since the last check
}

// besiege kills the broker at every point of the issuer, and at those of the broker that stand between.
func besiege(t *testing.T, f *fort, issuers, brokers []string) {
	t.Helper()
	s := &siege{fort: f, log: crash{installation: f.installation, logKey: f.status().LogKey}, dead: map[string]bool{}}
	f.broker.kill()
	f.binary = shared.hourkeyd(t, "failpoint")
	var points []string
	for _, name := range issuers {
		points = append(points, "before "+name, "after "+name)
	}
	for _, name := range brokers {
		points = append(points, name+".before", name+".after")
	}
	var outcomes []outcome
	for _, point := range points {
		o := outcome{point: point}
		for try := 0; (o.kills < kills() || try < 2) && !t.Failed(); try++ { // both ways at least
			if try == 3*kills() {
				t.Fatalf("%s was reached %d times in %d tries:\n%s", point, o.kills, try, f.log())
			}
			s.kill(&o, try)
			s.check(&o)
		}
		outcomes = append(outcomes, o)
	}
	s.serve()
	s.none()
	s.broker.kill()
	report(outcomes)
}

// kills is how often each point is to be died at.
func kills() int {
	if many, err := strconv.Atoi(os.Getenv("HOURKEY_TEST_KILLS")); err == nil {
		return many
	}
	return killsPerNativePoint
}

// kill has the broker die at the point. One of ending it comes to in two ways, in turns: by a release, and then once more in the
// recovery; and in the recovery from a death in the middle of issuing, when it knows a lease by its name alone.
func (s *siege) kill(o *outcome, try int) {
	s.Helper()
	if isIssuing(o.point) {
		if s.strikes(o.point, s.provoke) {
			o.kills++
		}
		return
	}
	first := o.point
	if try%2 == 1 {
		first = "issue.live.before"
	}
	if s.strikes(first, s.provoke) && first == o.point {
		o.kills++
	}
	if s.strikes(o.point, func() {}) {
		o.kills++
		o.inRecovery++
	}
}

// provoke has a lease issued and released. The broker may die meanwhile, so that nothing needs to succeed.
func (s *siege) provoke() {
	request, err := s.agent.request(s.Context(), "staging", s.ttl, s.asks)
	if err != nil {
		return
	}
	s.asked = append(s.asked, request.ID)
	if key, err := s.agent.collect(s.Context(), request.ID); err == nil {
		_ = s.agent.release(s.Context(), key.Lease)
	}
}

// strikes starts the broker, and tells whether it died at the point or came to rest without.
func (s *siege) strikes(point string, do func()) bool {
	s.Helper()
	p := s.launch("HOURKEY_FAILPOINT=" + point)
	if s.answers(p) {
		do()
	}
	eventually(s, func() error {
		if p.gone() {
			return nil
		}
		return s.accounted()
	})
	if !p.gone() {
		p.kill()
		return false
	}
	if !p.killed() {
		s.Fatalf("%s: the broker gave up by itself:\n%s", point, s.installation.log())
	}
	return true
}

// check starts the broker without a failpoint. The agent, who got nothing, asks again for what it asked for; then the store and the
// provider are compared, and what is alive is ended.
func (s *siege) check(o *outcome) {
	s.Helper()
	s.serve()
	for _, id := range s.asked {
		if _, err := s.agent.collect(s.Context(), id); err != nil {
			refused(s, o.point+": collecting again", err, "expired_token", "temporarily_unavailable", "conflict", "access_denied")
		}
	}
	s.asked = nil
	eventually(s, func() error { return errors.Join(s.accounted(), s.powerless(s.dead)) })
	o.restarts++
	if err := s.log.verify(); err != nil {
		s.Errorf("%s: the log: %v", o.point, err)
	} else {
		o.logs++
	}
	open := map[string]int{} // request → live leases
	for _, lease := range s.leases(false) {
		if lease.State != broker.LeaseLive {
			continue // it waits for its time
		}
		if open[lease.Request]++; open[lease.Request] > 1 {
			s.Errorf("%s: request %s has several live leases", o.point, lease.Request)
		}
		o.live++
		must(s, s.revoke(lease.ID))
	}
	if s.early {
		eventually(s, func() error { return errors.Join(s.accounted(), s.powerless(s.dead)) })
		if o.open = len(s.leases(false)); o.open > 0 {
			s.Errorf("%s: %d leases are left", o.point, o.open)
		}
	}
	s.broker.kill()
}
