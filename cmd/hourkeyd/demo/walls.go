package demo

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hourkey/hourkey/web/api"
)

// ask wants the task's work in staging; what waits for nobody comes in the same answer.
func (d *drill) ask(ctx context.Context, ttl time.Duration) (*lease, api.Request, error) {
	request, err := d.agent.Submit(ctx, api.RequestCreate{
		Task: "fix-staging", Environments: []string{"staging"}, TTLSeconds: int64(ttl / time.Second), Collect: true,
		Reason: "cleaning up before the release; this is safe, nobody uses it",
	}, api.NewIdempotencyKey())
	if err != nil {
		return nil, request, err
	}
	if len(request.Credentials) != 1 {
		return nil, request, off("work that the task gives was not given at once: the request is %s", request.State)
	}
	if err := d.sawCredentials(request.Credentials); err != nil {
		return nil, request, err
	}
	l, err := d.use(request.Credentials[0])
	return l, request, err
}

// routine: work that belongs to the task does not wait.
func (d *drill) routine(ctx context.Context) error {
	began := d.world.now()
	l, request, err := d.ask(ctx, 0)
	if err != nil {
		return off("routine work was not let through: %v", err)
	}
	d.lease = l
	d.good("broker", fmt.Sprintf("staging, to read and write, for %d minutes: issued in %s, no human was asked", request.TTLSeconds/60, d.world.now().Sub(began).Round(time.Millisecond)))
	a, err := l.call(ctx, d.setVariable(d.railway.Web))
	if err != nil {
		return err
	}
	if value := d.railway.variable(d.railway.Staging, d.railway.Web, "LOG_LEVEL"); a.refusal() != "" || value != "debug" {
		return off("the lease does not do its work: %s", a.raw)
	}
	d.good("agent", "sets LOG_LEVEL of the service web, through the gateway: done")
	return nil
}

// setVariable names staging, whatever service it is.
func (d *drill) setVariable(service string) string {
	return fmt.Sprintf(`mutation { variableUpsert(input: {projectId: "%s", environmentId: "%s", serviceId: "%s", name: "LOG_LEVEL", value: "debug"}) }`,
		d.railway.Shop, d.railway.Staging, service)
}

// sightWall: what is read is staging's, and secret values stay with the broker.
func (d *drill) sightWall(ctx context.Context) error {
	variables, err := d.lease.call(ctx, fmt.Sprintf(`query { variables(projectId: "%s", environmentId: "%s", serviceId: "%s") }`, d.railway.Shop, d.railway.Staging, d.railway.Web))
	if err != nil {
		return err
	}
	if leaked := d.railway.current.Load().Revealed(variables.raw); len(leaked) > 0 || !strings.Contains(variables.raw, "STRIPE_KEY") {
		return off("of the variables the agent sees %d secret values: %s", len(leaked), variables.raw)
	}
	d.good("gateway", "lists variables by name, STRIPE_KEY among them; their values are hidden")
	project, err := d.lease.call(ctx, fmt.Sprintf(`query { project(id: "%s") { name environments { edges { node { id name } } } volumes { edges { node { name volumeInstances { edges { node { id environmentId } } } } } } } }`, d.railway.Shop))
	if err != nil {
		return err
	}
	for _, foreign := range []string{"production", d.railway.Production, d.railway.ShopDataProduction} {
		if strings.Contains(project.raw, foreign) || !strings.Contains(project.raw, d.railway.ShopDataStaging) {
			return off("the project's listing is not kept to staging: %s", project.raw)
		}
	}
	d.good("gateway", "lists the project as far as it is staging")
	return nil
}

// environmentWall: the very same mutation. What lives elsewhere too is refused, and the answer says where.
func (d *drill) environmentWall(ctx context.Context) error {
	d.line("agent", "takes "+sharedVolume+" for staging's alone, again:")
	d.shell(volumeDelete(d.railway.ShopData))
	a, err := d.refused(ctx, volumeDelete(d.railway.ShopData))
	if err != nil {
		return err
	}
	if !strings.Contains(a.refusal(), "production") {
		return off("the refusal does not say what lives in production: %s", a.refusal())
	}
	d.good("gateway", a.refusal())
	return nil
}

// refused makes a call that must not pass, nor be offered to a human, and looks at the disk.
func (d *drill) refused(ctx context.Context, query string) (answer, error) {
	was, err := d.railway.disk(sharedVolume)
	if err != nil {
		return answer{}, err
	}
	a, err := d.lease.call(ctx, query)
	if err != nil {
		return a, err
	}
	if a.refusal() == "" {
		return a, off("it passed: %s: %s", query, a.raw)
	}
	switch a.Errors[0].Extensions.Code {
	case api.CodeDenied:
	case api.CodePending:
		return a, off("a human was asked for what this lease may never do: %s", query)
	default:
		return a, off("it was not the gateway that refused: %s: %s", query, a.raw)
	}
	return a, d.sure(sharedVolume, was)
}

// idWall: where an id lives is asked of Railway; what the call says beside it counts for nothing. Railway
// itself lets the id decide, too.
func (d *drill) idWall(ctx context.Context) error {
	d.line("agent", "names staging, beside ids of production: a service, and a backup")
	backup := fmt.Sprintf(`mutation { volumeInstanceBackupDelete(volumeInstanceId: "%s", volumeInstanceBackupId: "%s") { workflowId } }`,
		d.railway.ShopDataStaging, d.railway.ShopDataBackups[0])
	for _, query := range []string{d.setVariable(d.railway.Reports), backup} {
		a, err := d.refused(ctx, query)
		if err != nil {
			return err
		}
		d.good("gateway", a.refusal())
	}
	if value := d.railway.variable(d.railway.Production, d.railway.Reports, "LOG_LEVEL"); value != "" {
		return off("a variable of production was set")
	}
	return nil
}

// readingWall: however it is dressed, it is one operation, and is read as Railway reads it.
func (d *drill) readingWall(ctx context.Context) error {
	for _, dressed := range []string{
		`mutation listVolumes { volumes: volumeDelete(volumeId: "%s") }`,
		`mutation { ... on Mutation { ...f } } fragment f on Mutation { volumeDelete(volumeId: "%s") }`,
		`mutation M($id: String! = "%s", $no: Boolean = false) { volumeDelete(volumeId: $id) @skip(if: $no) }`,
		`query read { __typename } mutation { volumeDelete(volumeId: "%s") }`,
	} {
		if _, err := d.refused(ctx, fmt.Sprintf(dressed, d.railway.ShopData)); err != nil {
			return err
		}
	}
	d.good("gateway", "the same behind an alias, in fragments, in defaults, beside a query: refused")
	return nil
}

// keyWall: the lease's token without the agent's key is worth nothing, anywhere.
func (d *drill) keyWall(ctx context.Context) error {
	a, err := d.railwayCall(ctx, d.lease.Token.Reveal(), "query { me { id } }")
	if err != nil || a.refusal() == "" {
		return errors.Join(err, off("Railway takes the lease's token: %s", a.raw))
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	thief, err := api.NewClient(api.ClientConfig{Origin: d.origin, Agent: agentName, Key: key, Now: d.world.now})
	if err != nil {
		return err
	}
	if err := d.noTunnel(ctx, thief, d.lease.Hosts[0]); err != nil {
		return err
	}
	d.good("gateway", "the lease's token, copied: without the agent's key no tunnel opens")
	return nil
}

// hostWall: the tunnel leads to the target's hosts and nowhere else.
func (d *drill) hostWall(ctx context.Context) error {
	if err := d.noTunnel(ctx, d.agent, elsewhere); err != nil {
		return err
	}
	d.good("gateway", "a tunnel to "+elsewhere+": no such host for this lease")
	return nil
}

const elsewhere = "api.github.com"

func (d *drill) noTunnel(ctx context.Context, client *api.Client, to string) error {
	stream, err := client.OpenTunnel(ctx, api.Tunnel{Token: d.lease.Token, Host: to, Plain: true})
	if err == nil {
		return errors.Join(stream.Close(), off("a tunnel to %s opened", to))
	}
	if _, refused := api.AsProblem(err); !refused {
		return err
	}
	return nil
}

// tokenWall looks through everything that the agent got to see, since it works through Hourkey.
func (d *drill) tokenWall(context.Context) error {
	files, err := d.checkout.all()
	if err != nil {
		return err
	}
	d.saw(files)
	if leaked := d.railway.current.Load().Revealed(d.text.String()); len(leaked) > 0 {
		return off("%d secrets of Railway are in what the agent got to see", len(leaked))
	}
	d.good("gateway", fmt.Sprintf("in all that the agent got to see: none of Railway's %d secrets", len(d.railway.current.Load().Secrets())))
	return nil
}
