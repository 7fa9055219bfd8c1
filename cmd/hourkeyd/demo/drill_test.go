package demo

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// auto gives the story as one line: where it is wrapped is of no matter.
func auto(ctx context.Context, p parts) (string, error) {
	var out bytes.Buffer
	err := run(ctx, Options{Out: &out, Now: time.Now, Auto: true}, p)
	return strings.Join(strings.Fields(out.String()), " "), err
}

func TestDrill(t *testing.T) {
	t.Parallel()
	out, err := auto(t.Context(), intact())
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		`mutation { volumeDelete(volumeId: \"`,
		`200 {"data":{"volumeDelete":true}}`,
		"8000 rows in production and staging, and the 4 backups on it",
		"lives in production",
		"A human was asked: http://localhost:",
		"Every wall held",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the story does not say %q:\n%s", want, out)
		}
	}
}

func TestTwoDrillsAtOnce(t *testing.T) {
	t.Parallel()
	done := make(chan error, 2)
	for range cap(done) {
		go func() {
			_, err := auto(t.Context(), intact())
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestDrillIsBrokenOff: whoever has seen enough gets no wall reported as off.
func TestDrillIsBrokenOff(t *testing.T) {
	t.Parallel()
	for _, after := range []int{0, 20, 100, 300, 900, 1100, 2000} {
		began, off := time.Now(), time.Duration(after)*time.Millisecond
		ctx, cancel := context.WithTimeout(t.Context(), off)
		out, err := auto(ctx, intact())
		cancel()
		wholeBefore := err == nil && time.Since(began) < off // on a fast machine
		if _, wall := errors.AsType[*Failure](err); wall || err == nil && !wholeBefore {
			t.Errorf("after %d ms: got %v\n%s", after, err, out)
		}
	}
}

// TestRailwayBelievesAnyValidToken: the walls are Hourkey's; Railway destroys everything for whoever goes
// around the broker with a token that it accepts.
func TestRailwayBelievesAnyValidToken(t *testing.T) {
	t.Parallel()
	w, err := open(t.Context(), time.Now, intact())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}()
	d := &drill{world: w}
	a, err := d.railwayCall(t.Context(), w.railway.AccountToken, volumeDelete(w.railway.ShopData))
	if err != nil || a.refusal() != "" {
		t.Fatalf("%s %v", a.raw, err)
	}
	if left, err := w.railway.disk(sharedVolume); !left.gone() || err != nil {
		t.Fatalf("of the volume there is %s (%v)", left, err)
	}
}

// TestPutBackIsTheSame: the story is told twice in the same world.
func TestPutBackIsTheSame(t *testing.T) {
	t.Parallel()
	h, err := newHost(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	world, reports := h.World, h.Reports
	if err := h.putBack(); err != nil {
		t.Fatal(err)
	}
	if h.ShopData != world.ShopData || h.AccountToken != world.AccountToken || h.Reports != reports || h.RenderCache != world.RenderCache {
		t.Errorf("before: %+v\nafter: %+v", world, h.World)
	}
	if v, err := h.disk(ownVolume); err != nil || v.String() != "120 rows in staging, backups: 1" {
		t.Errorf("on the disk: %s (%v)", v, err)
	}
	if v, err := h.disk(sharedVolume); err != nil || v.String() != "8000 rows in production and staging, backups: 4" {
		t.Errorf("on the disk: %s (%v)", v, err)
	}
}
