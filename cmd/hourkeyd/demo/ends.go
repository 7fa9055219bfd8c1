package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/store/auditlog"
	"github.com/hourkey/hourkey/web/api"
)

// shortest is how long the drill's shortest lease lives. Its end is in whole seconds.
const shortest = 2 * time.Second

// lifetimeWall: a lease that nobody ended is dead when its time is over, with its tunnels.
func (d *drill) lifetimeWall(ctx context.Context) error {
	d.chapter("4  The end")
	l, err := d.keeps(ctx, shortest)
	if err != nil {
		return err
	}
	if err := pause(ctx, l.expires.Sub(d.world.now())+100*time.Millisecond); err != nil {
		return err
	}
	return d.dead(ctx, l)
}

// keeps is a lease that works, for so long. On a machine that stands still it may be over before it was tried: the next one has more.
func (d *drill) keeps(ctx context.Context, ttl time.Duration) (*lease, error) {
	l, _, err := d.ask(ctx, ttl)
	if err != nil {
		return nil, err
	}
	d.line("agent", fmt.Sprintf("gets a lease for %s and keeps it", ttl))
	err = d.works(ctx, l)
	if err != nil && ttl < time.Minute && !d.world.now().Before(l.expires) {
		return d.keeps(ctx, 4*ttl)
	}
	return l, err
}

// works makes a harmless call.
func (d *drill) works(ctx context.Context, l *lease) error {
	a, err := l.call(ctx, d.setVariable(d.railway.Web))
	if err != nil || a.refusal() != "" {
		return errors.Join(err, off("a fresh lease does not work: %s", a.raw))
	}
	return nil
}

// dead makes the same call with a lease that has ended: in the tunnel that is left, which may be cut just
// then, and in a new one.
func (d *drill) dead(ctx context.Context, l *lease) error {
	a, err := l.call(ctx, d.setVariable(d.railway.Web))
	if _, refused := api.AsProblem(err); err != nil && !refused {
		a, err = l.call(ctx, d.setVariable(d.railway.Web))
	}
	if problem, refused := api.AsProblem(err); refused {
		d.good("gateway", problem.Detail)
		return nil
	}
	if err != nil || a.refusal() == "" {
		return errors.Join(err, off("the lease does its work after its end: %s", a.raw))
	}
	d.good("gateway", a.refusal())
	return nil
}

// freezeWall: one command ends everything of an agent, at once.
func (d *drill) freezeWall(ctx context.Context) error {
	l, _, err := d.ask(ctx, 0)
	if err != nil {
		return err
	}
	if err := d.works(ctx, l); err != nil {
		return err
	}
	ended, err := d.broker.Freeze(ctx, broker.Caller{Kind: broker.CallerSocket}, broker.Freeze{Of: broker.FreezeAgent, Name: agentName, Reason: "the drill is over"})
	if err != nil {
		return err
	}
	d.line("operator", fmt.Sprintf("freezes the agent: %d leases ended", ended))
	if err := d.dead(ctx, l); err != nil {
		return err
	}
	_, _, err = d.ask(ctx, 0)
	problem, refused := api.AsProblem(err)
	if !refused || problem.Code != api.CodeFrozen {
		return errors.Join(err, off("a frozen agent was given a lease"))
	}
	d.good("broker", "a new request: "+problem.Detail)
	return nil
}

// logWall: everything is in the log, and the log is whole. An edited copy is found out.
func (d *drill) logWall(ctx context.Context) error {
	kept, err := d.log.Checkpoint(ctx, d.signing)
	if err != nil {
		return err
	}
	public, err := d.log.PublicKey(ctx, d.signing)
	if err != nil {
		return err
	}
	var export bytes.Buffer
	if err := d.log.Export(ctx, &export, d.signing); err != nil {
		return err
	}
	report, err := auditlog.Verify(bytes.NewReader(export.Bytes()), public, kept)
	if err != nil {
		return off("the log does not verify: %v", err)
	}
	if leaked := d.railway.current.Load().Revealed(export.String()); len(leaked) > 0 {
		return off("the log holds %d secrets of Railway", len(leaked))
	}
	d.good("log", fmt.Sprintf("%d events, verified against a kept checkpoint; no secret is in them", report.Events))
	edited := bytes.Replace(export.Bytes(), []byte(d.railway.ShopData), []byte(d.railway.RenderCache), 1)
	if _, err := auditlog.Verify(bytes.NewReader(edited), public, kept); err == nil {
		return off("an edited log verifies")
	}
	d.good("log", "a copy with one id changed: found")
	return nil
}
