package main

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hourkey/hourkey/web/api"
)

// ask is what the flags of request, exec and credential say.
type ask struct {
	request      string // an id, instead of all the others
	task         string
	environments []string
	scopes       []string
	ttl          time.Duration
	reason       string

	given func(flag string) bool // on the command line; nil where there is no --request
}

// flags declares the ask's flags.
func (q *ask) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&q.task, "task", "", "the task, as \"hourkey tasks\" lists it (HOURKEY_TASK)")
	flags.StringArrayVar(&q.environments, "environment", nil, "where; repeat for a request that reaches several (HOURKEY_ENVIRONMENT)")
	flags.StringArrayVar(&q.scopes, "scope", nil, "target:resource:actions; repeat for more; without it, what the task gives")
	flags.DurationVar(&q.ttl, "ttl", 0, "how long, like 15m; without it, what the task says")
	flags.StringVar(&q.reason, "reason", "", "why, in your words: shown to reviewers as yours, never decided on")
}

// requestFlag declares --request, which excludes the others.
func (q *ask) requestFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&q.request, "request", "", "a request that was made before")
	q.given = cmd.Flags().Changed
}

// checkRequest refuses what would say two things at once. An empty --request, of a variable that is not set,
// must not become a new request.
func (q *ask) checkRequest() error {
	if q.given == nil || !q.given("request") {
		return nil
	}
	if q.request == "" {
		return &hintError{err: &usageError{"--request is empty: expected the id of a request"}, hint: "`hourkey requests` lists this agent's requests"}
	}
	for _, other := range []string{"task", "environment", "scope", "ttl", "reason"} {
		if q.given(other) {
			return &hintError{err: &usageError{"--request and --" + other + " exclude each other: a request that was made has its own"}, hint: "leave one of the two out"}
		}
	}
	return nil
}

// complete fills in what the environment variables say and checks what needs no broker.
func (q *ask) complete(getenv func(string) string) error {
	if err := q.checkRequest(); err != nil || q.request != "" {
		return err
	}
	if q.task == "" {
		q.task = getenv("HOURKEY_TASK")
	}
	if len(q.environments) == 0 {
		q.environments = strings.FieldsFunc(getenv("HOURKEY_ENVIRONMENT"), func(c rune) bool { return c == ',' || c == ' ' })
	}
	switch {
	case q.task == "":
		return &hintError{err: &usageError{"no task: expected --task or HOURKEY_TASK"}, hint: "`hourkey tasks` lists what this agent may ask for"}
	case len(q.environments) == 0:
		return &hintError{err: &usageError{"no environment: expected --environment or HOURKEY_ENVIRONMENT"}, hint: "`hourkey tasks` lists where each task may run"}
	case q.ttl < 0 || q.ttl%time.Second != 0:
		return &usageError{"--ttl: expected whole seconds above zero, like 15m"}
	}
	return nil
}

// narrow has an ask without scopes be for one target alone, if the task gives something there: what nobody will use is better
// not issued, and a session of AWS could not even be ended.
func (q *ask) narrow(ctx context.Context, client *api.Client, target string) error {
	if target == "" || q.request != "" || len(q.scopes) > 0 {
		return nil
	}
	tasks, err := client.Tasks(ctx)
	if err != nil {
		return err
	}
	for _, task := range tasks {
		if task.Name != q.task {
			continue
		}
		for _, scope := range task.Gives {
			if targetOf(scope) == target[strings.LastIndexByte(target, '/')+1:] {
				q.scopes = append(q.scopes, scope)
			}
		}
	}
	return nil
}

// find gives the request that the ask names, or makes it; made tells whether it is new, and so this run's alone
// to withdraw. With collect, a request that waits for nobody comes with its credentials; no signal stops that
// half-way, see app.collect.
func (q *ask) find(ctx context.Context, client *api.Client, collect bool) (request api.Request, made bool, err error) {
	if q.request != "" {
		request, err = client.Request(ctx, q.request, 0)
		return request, false, err
	}
	if collect {
		ctx = context.WithoutCancel(ctx)
	}
	request, err = client.Submit(ctx, api.RequestCreate{
		Collect: collect,
		Task:    q.task, Environments: q.environments, Scopes: q.scopes, TTLSeconds: int64(q.ttl / time.Second), Reason: q.reason,
	}, api.NewIdempotencyKey())
	return request, request.Repeats == 0, err // the same may wait already, for another run of us
}

// collectable tells whether Collect can give something.
func collectable(request api.Request) bool {
	return request.State == api.StateApproved || request.State == api.StateCollected
}

// decided waits for the humans, at most for limit unless that is 0, and fails unless they approved.
func (a *app) decided(ctx context.Context, client *api.Client, request api.Request, limit time.Duration) (api.Request, error) {
	if request.State != api.StatePending {
		return settled(request)
	}
	// The broker ends a request at its deadline; the minute is for a broker that is late to say so. Both
	// times are the broker's, so that a wrong clock here does not matter.
	life := request.Deadline.Sub(request.Created) + time.Minute
	if limit > 0 {
		life = min(life, limit)
	}
	waiting, cancel := context.WithTimeout(ctx, life)
	defer cancel()
	latest, err := a.follow(waiting, client, request)
	switch {
	case err == nil:
		return settled(latest)
	case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		return request, &undecided{request}
	default:
		return request, err
	}
}

// follow waits for the decision, and says what changes before it.
func (a *app) follow(ctx context.Context, client *api.Client, request api.Request) (api.Request, error) {
	shown, stop := a.progress(request)
	defer stop()
	told := request
	return client.Follow(ctx, request.ID, func(now api.Request) {
		switch less := !reflect.DeepEqual(now.Taken, told.Taken); {
		case less:
			a.say("a reviewer has approved less of it; it still waits for others%s", halfSigned(now))
			a.announceTaken(now)
		case now.Signed > told.Signed:
			a.say("a reviewer has approved it; it still waits for others%s", halfSigned(now))
		}
		told = now
		shown(now)
	})
}

// settled is an error unless the request can be collected.
func settled(request api.Request) (api.Request, error) {
	if !collectable(request) {
		return request, &undecided{request}
	}
	return request, nil
}
