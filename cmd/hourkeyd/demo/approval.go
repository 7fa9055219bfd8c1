package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
	"github.com/hourkey/hourkey/web/authn/softkey"
)

// classWall: what deletes waits for a human, who signs this one call; nothing else lets it pass, and it
// passes once.
func (d *drill) classWall(ctx context.Context) error {
	if d.auto {
		d.chapter("3  One delete that is meant: a human decides")
	} else {
		d.chapter("3  Your turn: approve or deny, and watch")
	}
	d.line("agent", "wants "+ownVolume+" gone, which only staging has:")
	d.shell(volumeDelete(d.railway.RenderCache))
	asked, err := d.waits(ctx)
	if err != nil {
		return err
	}
	d.good("gateway", asked.line)
	err = errors.Join(d.forge(ctx, asked.id), d.replay(ctx, asked.id))
	if err == nil {
		err = d.review(ctx, asked)
	}
	if err != nil {
		return part("approval", err)
	}
	return d.afterReview(ctx, asked.id)
}

// part gives a failure the name of the wall that is off, where one step tries several.
func part(name string, err error) error {
	if f, ok := errors.AsType[*Failure](err); ok && f.Step == "" {
		f.Step = name
	}
	return err
}

// waits makes the call, which must be answered with a request for humans.
func (d *drill) waits(ctx context.Context) (pending, error) {
	was, err := d.railway.disk(ownVolume)
	if err != nil {
		return pending{}, err
	}
	a, err := d.lease.call(ctx, volumeDelete(d.railway.RenderCache))
	if err != nil {
		return pending{}, err
	}
	asked := a.pending()
	if asked.id == "" {
		return asked, off("a delete did not wait for a human: %s", a.raw)
	}
	return asked, d.sure(ownVolume, was)
}

// forge approves as an agent on the reviewer's machine would: with the cookies of his browser, and a key
// that it made itself.
func (d *drill) forge(ctx context.Context, request string) error {
	d.line("agent", "has robin's browser cookies, makes a passkey of its own, approves its own call")
	thief := *d.people[reviewer]
	stolen := *thief.Key
	forged, err := softkey.New(stolen.RPID)
	if err != nil {
		return err
	}
	forged.ID, forged.UserHandle, forged.Counter = stolen.ID, stolen.UserHandle, stolen.Counter+1
	thief.Key = forged
	if _, err := thief.Approve(ctx, broker.ActApprove, "/requests/"+request, request); err == nil {
		return off("a signature by a key that nobody enrolled let it pass")
	}
	d.good("broker", "refused and recorded: that is not robin's passkey")
	return nil
}

// replay presents a true signature of robin's once more: the one with which he signed in.
func (d *drill) replay(ctx context.Context, request string) error {
	robin := *d.people[reviewer]
	heard, failed := json.RawMessage(nil), error(nil)
	robin.Edit = func(r *http.Request) {
		if r.URL.Path != "/sign-in" {
			return
		}
		body, err := r.GetBody()
		if err == nil {
			heard, err = io.ReadAll(body)
		}
		failed = err
	}
	if err := errors.Join(robin.SignIn(ctx), failed); err != nil {
		return err
	}
	_, digest, err := robin.Read(ctx, "/requests/"+request)
	if err != nil {
		return err
	}
	prepared, err := robin.Prepare(ctx, broker.ActApprove, request, digest)
	if err != nil {
		return err
	}
	if err := robin.Post(ctx, "/sign", map[string]any{"nonce": prepared.Nonce, "assertion": heard}, nil); err == nil {
		return off("a signature that robin gave for something else let it pass")
	}
	d.good("broker", "the signature with which robin signed in, sent once more: refused")
	return nil
}

// review lets you decide, or with auto decides as you would on a good day.
func (d *drill) review(ctx context.Context, asked pending) error {
	request, err := d.agent.Request(ctx, asked.id, 0)
	if err != nil {
		return err
	}
	asked.phrase = request.Phrase
	if !d.auto {
		d.askYou(d.origin, you, d.code.Reveal(), asked)
		return nil
	}
	person, err := softkey.NewPerson(d.origin, nil)
	if err != nil {
		return err
	}
	if err := person.Enrol(ctx, you, d.code.Reveal()); err != nil {
		return err
	}
	shown, err := person.Approve(ctx, broker.ActApprove, "/requests/"+asked.id, asked.id)
	if err != nil {
		return off("your own approval was refused: %v", err)
	}
	for _, word := range []string{"volumeDelete", d.railway.RenderCache, ownVolume, "1 backup", asked.phrase} {
		if !strings.Contains(shown, word) {
			return off("the page is of another request, or does not say what would be lost: %s is not on it", word)
		}
	}
	d.line("you", "read the page: the phrase "+asked.phrase+", the call, what goes, how much; sign with a passkey (--auto)")
	return nil
}

// afterReview waits for your word and does what it says.
func (d *drill) afterReview(ctx context.Context, request string) error {
	decided, err := d.await(ctx, request)
	if err != nil {
		return err
	}
	if !d.world.now().Before(d.lease.expires) {
		d.line("broker", "the agent's lease has ended while it waited: nothing passes any more")
		return d.kept()
	}
	switch broker.RequestState(decided.State) {
	case broker.RequestApproved:
		d.good("broker", "approved by a passkey, for exactly this call")
		return part("once", d.passesOnce(ctx))
	case broker.RequestDenied:
		d.good("you", "denied it; the agent is told: "+orNothing(decided.Verdict))
		return d.staysDenied(ctx)
	default:
		d.line("broker", "nobody decided in time: "+decided.State+"; nothing passed")
		return d.kept()
	}
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

// passesOnce: the same call passes, another does not, and the same one waits again.
func (d *drill) passesOnce(ctx context.Context) error {
	d.line("agent", "makes the same call again")
	a, err := d.lease.call(ctx, volumeDelete(d.railway.RenderCache))
	if err != nil {
		return err
	}
	if left, err := d.railway.disk(ownVolume); err != nil || a.refusal() != "" || !left.gone() {
		return errors.Join(err, off("what was approved did not pass: %s", a.raw))
	}
	d.good("railway", fmt.Sprintf("%d %s. The cache is gone, as you wished", a.status, strings.TrimSpace(a.raw)))
	if _, err := d.refused(ctx, volumeDelete(d.railway.ShopData)); err != nil {
		return err
	}
	if err := d.railway.putBack(); err != nil {
		return err
	}
	d.line("operator", "puts the cache back; the agent makes the same call once more")
	asked, err := d.waits(ctx)
	if err != nil {
		return err
	}
	d.good("gateway", "asks again: "+asked.page)
	_, err = d.agent.Cancel(ctx, asked.id)
	return err
}

func (d *drill) staysDenied(ctx context.Context) error {
	a, err := d.lease.call(ctx, volumeDelete(d.railway.RenderCache))
	if err != nil {
		return err
	}
	if a.refusal() == "" || a.pending().id != "" {
		return off("what was denied passed, or was asked again: %s", a.raw)
	}
	d.good("gateway", a.refusal())
	return d.kept()
}

// kept says that the cache is where it was.
func (d *drill) kept() error {
	v, err := d.railway.disk(ownVolume)
	if err != nil || v.gone() {
		return errors.Join(err, off("%s is gone", ownVolume))
	}
	d.good("disk", fmt.Sprintf("%s is untouched: %s", ownVolume, v))
	return nil
}
