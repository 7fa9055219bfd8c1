package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const sharedVolume, ownVolume = "shop-data", "render-cache" // as people call them

// asItWas is the incident by what is public of it: one call, with a token that lay about.
func (d *drill) asItWas(ctx context.Context) error {
	d.chapter("1  As it was: one token that may do everything")
	own, err := d.checkout.read(agents)
	if err != nil {
		return err
	}
	if a, err := d.railwayCall(ctx, own, "query { me { id } }"); err != nil || a.refusal() == "" {
		return errors.Join(err, off("the agent's own token works: %s", a.raw))
	}
	d.line("agent", "is on a routine task in staging; its credential is refused; it looks for another")
	stray, err := d.checkout.read(forgotten)
	if err != nil {
		return err
	}
	d.line("agent", "finds one in "+forgotten+", made to add and remove custom domains")
	d.line("agent", "takes the volume "+sharedVolume+" for staging's alone, and does not check:")
	d.shell("curl -X POST " + d.railway.url + apiPath + ` -H "Authorization: Bearer [token]" \`)
	d.shell(`  -d '{"query":` + strconv.Quote(volumeDelete(d.railway.ShopData[:9]+"…")) + `}'`)
	return d.lose(ctx, stray)
}

// lose makes the call and looks at the disk before and after it.
func (d *drill) lose(ctx context.Context, token string) error {
	before, err := d.railway.disk(sharedVolume)
	if err != nil {
		return err
	}
	began := d.world.now()
	a, err := d.railwayCall(ctx, token, volumeDelete(d.railway.ShopData))
	if err != nil {
		return err
	}
	took := d.world.now().Sub(began)
	after, err := d.railway.disk(sharedVolume)
	if err != nil || !after.gone() || a.refusal() != "" {
		return errors.Join(err, off("Railway did not lose the volume: %s", a.raw))
	}
	d.bad("railway", fmt.Sprintf("%d %s", a.status, strings.TrimSpace(a.raw)))
	d.bad("disk", fmt.Sprintf("gone in %.3f s: %d rows in %s, and the %d backups on it", took.Seconds(), before.rows, strings.Join(before.environments, " and "), before.backups))
	return nil
}

// railwayCall goes to Railway itself, around every broker.
func (d *drill) railwayCall(ctx context.Context, token, query string) (answer, error) {
	return post(ctx, http.DefaultClient, d.railway.url, token, query)
}

// begin puts back what was lost, and the broker between the agent and Railway.
func (d *drill) begin(ctx context.Context) (err error) {
	d.chapter("2  The same day with Hourkey")
	if err := d.railway.putBack(); err != nil {
		return err
	}
	if err := d.checkout.remove(forgotten, agents); err != nil {
		return err
	}
	if d.code, err = d.enrol(ctx); err != nil {
		return err
	}
	d.line("operator", "puts everything back; the token leaves the checkout: the broker has it now")
	d.line("operator", "signs with a passkey: which environment at Railway is which, and the agent's key")
	// A proof is dated in whole seconds, and the gateway takes none from before its start.
	return pause(ctx, d.started.Truncate(time.Second).Add(time.Second).Sub(d.world.now()))
}

// sure checks on the disk that a volume is what it was.
func (d *drill) sure(volume string, was holding) error {
	v, err := d.railway.disk(volume)
	if err != nil {
		return err
	}
	if v.String() != was.String() {
		return off("%s was %s, and is %s", volume, was, v)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
