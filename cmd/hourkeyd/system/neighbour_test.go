package system

import (
	"slices"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
)

// TestNeighboursOnOneServer: three installations, two of them on the very same databases. Whatever one does,
// crashes, sweeps, freezes, the others' keys live on; its own orphan it ends.
func TestNeighboursOnOneServer(t *testing.T) {
	t.Parallel()
	a := install(t)
	b := prepare(t, a.staging, a.production)
	b.serve()
	b.people()
	c := install(t)
	keys := map[*installation]api.Credential{a: a.key(0), b: b.key(0), c: c.key(0)}
	alive := func(when string, wanted ...*installation) {
		t.Helper()
		for i, key := range keys {
			err := run(t.Context(), key, "SELECT count(*) FROM public.orders")
			if want := slices.Contains(wanted, i); want != (err == nil) {
				t.Errorf("%s: a key of %s: %v", when, i.prefix(), err)
			}
		}
	}
	alive("at first", a, b, c)

	orphan := a.prefix() + "00000000000000000000000000"
	foreign := b.prefix() + "00000000000000000000000000"
	almost := a.prefix()[:len(a.prefix())-1] + "x-00000000000000000000000000" // an id that begins as this one's
	a.broker.kill()
	for _, role := range []string{orphan, foreign, almost} {
		a.staging.Exec(t, a.staging.name, `CREATE ROLE "`+role+`"`, `GRANT "`+role+`" TO `+a.staging.admin,
			"GRANT CONNECT ON DATABASE "+a.staging.name+` TO "`+role+`"`)
		t.Cleanup(func() { _ = a.staging.Try(a.staging.name, `DROP OWNED BY "`+role+`"`, `DROP ROLE "`+role+`"`) })
	}
	a.serve()
	eventually(t, func() error {
		if slices.Contains(a.staging.roles(t, "hk-"), orphan) {
			return errStillThere(orphan)
		}
		return nil
	})
	for _, role := range []string{foreign, almost} {
		if !slices.Contains(a.staging.roles(t, "hk-"), role) {
			t.Errorf("%s is gone: it was another's", role)
		}
	}
	alive("after a crash of one", a, b, c)

	must(t, a.freeze(broker.FreezeAll, ""))
	a.none()
	alive("after one froze everything", b, c)
	if err := b.revoke(keys[c].Lease); err == nil {
		t.Error("one revoked another's lease")
	}
	must(t, c.revoke(keys[c].Lease))
	alive("after another revoked", b)
}
