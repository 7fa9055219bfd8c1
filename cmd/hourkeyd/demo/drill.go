package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/store/auditlog"
	"github.com/hourkey/hourkey/web/api"
	"github.com/hourkey/hourkey/web/authn/softkey"
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
	return errors.Join(d.tell(ctx), w.close())
}

type drill struct {
	*world
	*story

	auto    bool
	code    broker.Secret // yours
	routine api.Secret    // the token for routine work
	kept    []byte        // a checkpoint of the log
}

// tell goes through the steps. Each is one wall, or what must go on working beside it.
func (d *drill) tell(ctx context.Context) error {
	d.title("The nine-second drill", "a provider, a broker and an agent in one process; everything lies in "+d.folder+" and goes with it")
	steps := []struct {
		name string
		run  func(context.Context) error
	}{
		{"as it was", d.asItWas},
		{"enrol", d.begin},
		{"routine", d.goThrough},
		{"class", d.classWall},
		{"environment", d.environmentWall},
		{"approval", d.approvalWall},
		{"lifetime", d.lifetimeWall},
		{"log", d.verifyLog},
	}
	for _, step := range steps {
		if err := step.run(ctx); err != nil {
			if f, ok := errors.AsType[*Failure](err); ok {
				f.Step = step.name
				d.bad("FAILED", f.Error())
				return f
			}
			return fmt.Errorf("step %s: %w", step.name, err)
		}
	}
	d.end(d.auto)
	return nil
}

func off(format string, args ...any) error { return &Failure{Why: fmt.Sprintf(format, args...)} }

// asItWas is the incident: one call with a token that lay about.
func (d *drill) asItWas(ctx context.Context) error {
	d.chapter("1  As it was: a token that works everywhere")
	d.line("agent", "is on a routine task in staging; a login fails; it looks for another token")
	d.line("agent", "finds one in scripts/domains.env, made months ago for something else")
	before, _, err := d.volume(sharedVolume)
	if err != nil {
		return err
	}
	d.line("agent", "guesses that the volume "+before.Name+" is staging's, and does not check:")
	d.shell("DELETE /volumes/" + sharedVolume)
	status, body, err := d.call(ctx, http.MethodDelete, "/volumes/"+sharedVolume, d.stray)
	if err != nil {
		return err
	}
	if _, there, err := d.volume(sharedVolume); err != nil || there || status != http.StatusOK {
		return errors.Join(err, off("the provider did not lose the volume: %d %s", status, body))
	}
	d.bad("provider", fmt.Sprintf("200. Gone in one call: %d rows in %s, and the %d backups that lay on the volume", before.Rows, strings.Join(before.Environments, " and "), before.Backups))
	return d.fill()
}

func (d *drill) begin(ctx context.Context) (err error) {
	d.chapter("2  The same day with Hourkey")
	if d.code, err = d.enrol(ctx); err != nil {
		return err
	}
	d.line("operator", "olga has set up an environment, a task, and the agent; robin and you review")
	return nil
}

// ask submits, and collects when nothing waits for a human.
func (d *drill) ask(ctx context.Context, ttl time.Duration, scopes ...string) (api.Request, error) {
	return d.agent.Submit(ctx, api.RequestCreate{
		Task: "fix-staging", Environments: []string{"staging"}, Scopes: scopes, TTLSeconds: int64(ttl / time.Second),
		Reason: "cleaning up before the release; this is safe, nobody uses it",
	}, api.NewIdempotencyKey())
}

func (d *drill) collect(ctx context.Context, request api.Request) (api.Secret, error) {
	credentials, err := d.agent.Collect(ctx, request.ID)
	if err != nil {
		return api.Secret{}, err
	}
	return credentials[0].Values["QUAY_TOKEN"], nil
}

// goThrough: work that belongs to the task does not wait.
func (d *drill) goThrough(ctx context.Context) error {
	began := d.world.now()
	request, err := d.ask(ctx, 0)
	if err == nil {
		d.routine, err = d.collect(ctx, request)
	}
	if err != nil {
		return off("routine work was not let through: %v", err)
	}
	d.good("broker", fmt.Sprintf("task fix-staging: a key for staging, read and write, %s; asked and issued in %s", time.Duration(request.TTLSeconds)*time.Second, d.world.now().Sub(began).Round(time.Millisecond)))
	status, body, err := d.call(ctx, http.MethodPut, "/services/web/variables/LOG_LEVEL?value=debug", d.routine.Reveal())
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return off("the key does not do its work: %d %s", status, body)
	}
	d.good("agent", "sets LOG_LEVEL of the service web: done, nobody was asked")
	return nil
}

// classWall: the key for routine work deletes nothing.
func (d *drill) classWall(ctx context.Context) error {
	d.line("agent", "tries what it did before, with the key it has:")
	for _, id := range []string{ownVolume, sharedVolume} {
		d.shell("DELETE /volumes/" + id)
		status, body, err := d.call(ctx, http.MethodDelete, "/volumes/"+id, d.routine.Reveal())
		if err != nil {
			return err
		}
		if _, there, err := d.volume(id); err != nil || !there || status != http.StatusForbidden {
			return errors.Join(err, off("a key for reading and writing deleted the volume %s", id))
		}
		d.good("provider", fmt.Sprintf("%d: %s", status, body))
	}
	return nil
}

// environmentWall: what lives elsewhere too is refused, and the answer says where.
func (d *drill) environmentWall(ctx context.Context) error {
	d.line("agent", "asks for a key that may delete "+sharedVolume)
	_, err := d.ask(ctx, 0, "quay:volume/"+sharedVolume+":delete")
	problem, refused := api.AsProblem(err)
	switch {
	case err == nil:
		return off("a request that reaches production was taken for one of staging")
	case !refused || !strings.Contains(problem.Detail, "production"):
		return off("the refusal does not say what lives in production: %v", err)
	}
	d.good("broker", "refused: "+problem.Detail)
	return nil
}

// approvalWall: what is staging's alone waits for a human; nothing else lets it pass.
func (d *drill) approvalWall(ctx context.Context) error {
	d.line("agent", "asks for a key that may delete "+ownVolume+", which only staging has")
	request, err := d.ask(ctx, time.Minute, "quay:volume/"+ownVolume+":delete")
	if err != nil {
		return err
	}
	if request.State != string(broker.RequestPending) {
		return off("a delete was %s without a human", request.State)
	}
	d.good("broker", "waits for a human: "+request.Page)
	if _, err := d.collect(ctx, request); err == nil {
		return off("the key was handed out before anybody approved")
	}
	if err := d.forge(ctx, request); err != nil {
		return err
	}
	if err := d.review(ctx, request); err != nil {
		return err
	}
	return d.afterReview(ctx, request)
}

// forge approves as an agent on the reviewer's machine would: with the cookies of his browser, and a key
// that it made itself.
func (d *drill) forge(ctx context.Context, request api.Request) error {
	d.line("agent", "has robin's browser cookies, makes a passkey of its own, and approves its own request")
	thief := *d.people[reviewer]
	stolen := *thief.Key
	forged, err := softkey.New(stolen.RPID)
	if err != nil {
		return err
	}
	forged.ID, forged.UserHandle, forged.Counter = stolen.ID, stolen.UserHandle, stolen.Counter+1
	thief.Key = forged
	if _, err := thief.Approve(ctx, broker.ActApprove, "/requests/"+request.ID, request.ID); err == nil {
		return off("a signature by a key that nobody enrolled let it pass")
	}
	d.good("broker", "refused and recorded: that is not robin's passkey")
	return nil
}

// review lets you decide, or with auto decides as you would on a good day.
func (d *drill) review(ctx context.Context, request api.Request) error {
	if !d.auto {
		d.askYou(d.origin, you, d.code.Reveal(), request.Page)
		return nil
	}
	person, err := softkey.NewPerson(d.origin, nil)
	if err != nil {
		return err
	}
	if err := person.Enrol(ctx, you, d.code.Reveal()); err != nil {
		return err
	}
	page, err := person.Approve(ctx, broker.ActApprove, "/requests/"+request.ID, request.ID)
	if err != nil {
		return off("your own approval was refused: %v", err)
	}
	if !strings.Contains(page, "render-cache") {
		return off("the page did not say what would be lost")
	}
	d.line("you", "read the page, and sign with a passkey (software: --auto)")
	return nil
}

// afterReview waits for your word and does what it says.
func (d *drill) afterReview(ctx context.Context, request api.Request) error {
	decided, err := d.await(ctx, request.ID)
	if err != nil {
		return err
	}
	switch broker.RequestState(decided.State) {
	case broker.RequestApproved:
	case broker.RequestDenied:
		d.good("you", "denied it; the agent is told: "+orNothing(decided.Verdict))
		return d.still(ownVolume)
	default:
		d.line("broker", "nobody decided in time: "+decided.State+"; nothing was issued")
		return d.still(ownVolume)
	}
	d.good("broker", "approved by a passkey, over exactly this; the signature was checked again before issuing")
	token, err := d.collect(ctx, decided)
	if err != nil {
		return off("an approved key was not handed out: %v", err)
	}
	d.shell("DELETE /volumes/" + ownVolume)
	status, body, err := d.call(ctx, http.MethodDelete, "/volumes/"+ownVolume, token.Reveal())
	if err != nil {
		return err
	}
	if _, there, err := d.volume(ownVolume); err != nil || there || status != http.StatusOK {
		return errors.Join(err, off("the approved key did not delete: %d %s", status, body))
	}
	d.good("provider", "200. The cache is gone, as you wished")
	status, _, err = d.call(ctx, http.MethodDelete, "/volumes/"+sharedVolume, token.Reveal())
	if err != nil {
		return err
	}
	if status != http.StatusForbidden {
		return off("the approved key reached more than was approved")
	}
	return d.still(sharedVolume)
}

func orNothing(words string) string {
	if words == "" {
		return "(no reason was given)"
	}
	return "“" + words + "”"
}

// await waits for the decision. The client's own long poll ends with the request's deadline.
func (d *drill) await(ctx context.Context, id string) (api.Request, error) {
	for {
		request, err := d.agent.Await(ctx, id)
		if err != nil || request.State != string(broker.RequestPending) {
			return request, err
		}
	}
}

// still checks that a volume is where it was.
func (d *drill) still(id string) error {
	v, there, err := d.volume(id)
	if err != nil || !there {
		return errors.Join(err, off("the volume %s is gone", id))
	}
	d.good("provider", fmt.Sprintf("%s is untouched: %d rows in %s, backups: %d", v.Name, v.Rows, strings.Join(v.Environments, " and "), v.Backups))
	return nil
}

// shortest is how long the drill's shortest key lives. Expiry is in whole seconds.
const shortest = 3 * time.Second

// lifetimeWall: a key that nobody ended is dead when its time is over.
func (d *drill) lifetimeWall(ctx context.Context) error {
	request, err := d.ask(ctx, shortest)
	if err != nil {
		return err
	}
	token, err := d.collect(ctx, request)
	if err != nil {
		return err
	}
	d.line("agent", fmt.Sprintf("gets a key for %s and keeps it", shortest))
	if status, body, err := d.call(ctx, http.MethodGet, "/services/web/variables", token.Reveal()); err != nil || status != http.StatusOK {
		return errors.Join(err, off("the fresh key does not work: %d %s", status, body))
	}
	if err := pause(ctx, shortest+time.Second); err != nil {
		return err
	}
	status, body, err := d.call(ctx, http.MethodGet, "/services/web/variables", token.Reveal())
	if err != nil {
		return err
	}
	if status != http.StatusUnauthorized {
		return off("the key outlives its lease")
	}
	d.good("provider", fmt.Sprintf("%d: %s", status, body))
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

// verifyLog: everything is in the log, and the log is whole. An edited copy is found out.
func (d *drill) verifyLog(ctx context.Context) (err error) {
	if d.kept, err = d.log.Checkpoint(ctx, d.signing); err != nil {
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
	report, err := auditlog.Verify(bytes.NewReader(export.Bytes()), public, d.kept)
	if err != nil {
		return off("the log does not verify: %v", err)
	}
	d.good("log", fmt.Sprintf("%d events, verified against a kept checkpoint", report.Events))
	edited := bytes.Replace(export.Bytes(), []byte(ownVolume), []byte(sharedVolume), 1)
	if _, err := auditlog.Verify(bytes.NewReader(edited), public, d.kept); err == nil {
		return off("an edited log verifies")
	}
	d.good("log", "a copy with one word changed: found")
	return nil
}
