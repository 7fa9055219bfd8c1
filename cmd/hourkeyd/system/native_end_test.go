package system

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

// TestAWSLeaseEndsEveryWay: a session ends at its time and not before, whoever orders it, and the broker never says otherwise. All of
// them end at once when the operator takes the broker's user away, as the issuer says.
func TestAWSLeaseEndsEveryWay(t *testing.T) {
	t.Parallel()
	f, m := fortAndMinIO(t)
	f.endsEveryWay(looksOn)
	m.MC(t, m.folder, "mc admin user disable minio hourkey-staging")
	eventually(t, func() error {
		for _, one := range f.loot() {
			if works, err := one.works(t.Context()); works || err != nil {
				return fmt.Errorf("with the user taken away a session works: %t, %w", works, err)
			}
		}
		return nil
	})
}

// TestKubernetesLeaseEndsEveryWay: but for the TTL, whose floor nobody here can wait for; the issuer's own tests make tokens of former times.
func TestKubernetesLeaseEndsEveryWay(t *testing.T) {
	t.Parallel()
	f, _ := fortAndCluster(t)
	f.endsEveryWay(looksOn)
}

// TestVaultLeaseEndsEveryWay: with an open session at the database, a row that it wrote and an object that it owns.
func TestVaultLeaseEndsEveryWay(t *testing.T) {
	t.Parallel()
	f, s := fortAndVault(t)
	f.staging = s.databases["staging"]
	f.endsEveryWay(func(key api.Credential) (func(), error) {
		session, err := f.use(key)
		return func() { f.dead(key, session, 1) }, err
	})
	f.endsAlone()
}

// looksOn uses nothing: at some providers nothing stays open.
func looksOn(api.Credential) (over func(), err error) { return func() {}, nil }

// endsEveryWay has leases ended by everybody who can. use uses a key, and gives what looks whether it is over.
func (f *fort) endsEveryWay(use func(api.Credential) (over func(), err error)) {
	f.Helper()
	for _, end := range []struct {
		cause broker.Cause
		do    func(key api.Credential) error
	}{
		{broker.CauseReleased, func(key api.Credential) error { return f.agent.release(f.Context(), key.Lease) }},
		{broker.CauseRevoked, func(key api.Credential) error { return f.revoke(key.Lease) }},
		{broker.CauseFrozen, func(api.Credential) error { return f.freeze(broker.FreezeEnvironment, "staging") }},
		{broker.CauseExpired, func(key api.Credential) error { time.Sleep(time.Until(key.Expires)); return nil }},
	} {
		ttl := f.ttl // long enough for what is done before the end
		if end.cause == broker.CauseExpired {
			if ttl = f.short; ttl == 0 {
				continue
			}
		}
		key := f.given(ttl)
		over, err := use(key)
		for err != nil && ttl < patience && !time.Now().Before(key.Expires) { // the machine stood still until the key was over
			ttl *= 2
			key = f.given(ttl)
			over, err = use(key)
		}
		must(f, err)
		f.worksNow(key)
		if err := end.do(key); err != nil {
			f.Errorf("%s: %v", end.cause, err)
		}
		over()
		f.none()
		if lease := f.lease(key.Lease); lease.Cause != end.cause {
			f.Errorf("it ended because it was %s; want %s", lease.Cause, end.cause)
		}
		for _, freeze := range f.status().Freezes {
			f.lift(freeze.ID())
		}
	}
}

// worksNow wants the last credential that was made to work, unless it is over by now.
func (f *fort) worksNow(key api.Credential) {
	f.Helper()
	all := f.loot()
	works, err := all[len(all)-1].works(f.Context())
	if time.Now().Before(key.Expires) && (!works || err != nil) {
		f.Errorf("a fresh credential works: %t, %v", works, err)
	}
}

// endsAlone: the broker is killed while a lease is alive, and the provider ends it at its time all the same.
func (f *fort) endsAlone() {
	f.Helper()
	key := f.given(f.short)
	f.worksNow(key)
	f.broker.kill()
	mine := slices.DeleteFunc(f.loot(), func(one loot) bool { return one.lease != f.begins+key.Lease })
	if len(mine) == 0 {
		f.Fatal("the credential was not on the wire")
	}
	time.Sleep(time.Until(key.Expires))
	eventually(f, func() error { // by the provider's clock, which ends in whole seconds
		for _, one := range mine {
			if works, err := one.works(f.Context()); works || err != nil {
				return fmt.Errorf("after the TTL, without a broker, the %s works: %t, %w", one.what, works, err)
			}
		}
		return nil
	})
	f.serve()
	f.none()
}
