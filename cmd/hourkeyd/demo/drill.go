package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Options of a drill.
type Options struct {
	Out  io.Writer
	Now  func() time.Time
	Auto bool // a software passkey plays you; needs no human
}

// Failure says which step of the drill found its wall off.
type Failure struct {
	Step string
	Why  string
}

// Error names the step and what happened.
func (f *Failure) Error() string { return "step " + f.Step + ": " + f.Why }

// Run tells the drill and gives a *Failure when a wall is off.
func Run(ctx context.Context, options Options) error { return run(ctx, options, intact()) }

func run(ctx context.Context, options Options, p parts) error {
	w, err := open(ctx, options.Now, p)
	if err != nil {
		return fmt.Errorf("starting the drill: %w", err)
	}
	d := &drill{world: w, story: &story{out: options.Out, began: options.Now(), now: options.Now}, auto: options.Auto}
	err = d.tell(ctx)
	for _, lease := range d.leases {
		lease.client.CloseIdleConnections()
	}
	return errors.Join(err, w.close())
}

type drill struct {
	*world
	*story
	sight

	auto   bool
	code   broker.Secret // yours
	leases []*lease
	lease  *lease // for routine work in staging
}

// tell goes through the steps. Each is one wall, or what must go on working beside it.
func (d *drill) tell(ctx context.Context) error {
	d.title("The nine-second drill", "a Railway that really loses data, a broker and an agent in one process; everything lies in "+d.folder+" and goes with it")
	steps := []struct {
		name string
		run  func(context.Context) error
	}{
		{"as it was", d.asItWas},
		{"begin", d.begin},
		{"routine", d.routine},
		{"sight", d.sightWall},
		{"environment", d.environmentWall},
		{"one id decides", d.idWall},
		{"one reading", d.readingWall},
		{"key", d.keyWall},
		{"host", d.hostWall},
		{"class", d.classWall},
		{"token", d.tokenWall},
		{"lifetime", d.lifetimeWall},
		{"freeze", d.freezeWall},
		{"log", d.logWall},
	}
	for _, step := range steps {
		err := step.run(ctx)
		if ctx.Err() != nil {
			return ctx.Err() // it was broken off: no wall has failed
		}
		if err != nil {
			return d.failed(step.name, err)
		}
	}
	d.end(d.auto)
	return nil
}

// failed tells a wall that is off from a drill that could not go on.
func (d *drill) failed(step string, err error) error {
	f, ok := errors.AsType[*Failure](err)
	if !ok {
		return fmt.Errorf("step %s: %w", step, err)
	}
	if f.Step == "" { // else a part of the step has a name of its own
		f.Step = step
	}
	d.bad("FAILED", f.Error())
	return f
}

func off(format string, args ...any) error { return &Failure{Why: fmt.Sprintf(format, args...)} }

// volumeDelete is the call of the incident: no name, no variables, the id in the text.
func volumeDelete(id string) string {
	return fmt.Sprintf(`mutation { volumeDelete(volumeId: "%s") }`, id)
}
