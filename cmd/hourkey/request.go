package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hourkey/hourkey/web/api"
)

func (a *app) requestCommand() *cobra.Command {
	var q ask
	var wait bool
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "request --task TASK --environment ENVIRONMENT",
		Short: "Ask for credentials; prints the request's id, never a key",
		Long: `Ask for credentials. The request's id goes to stdout: use it with exec --request, wait and credential.
The exit code is 0 when it can be collected, 3 when it was denied, 4 while a human has to decide.`,
		Args: none,
		RunE: a.does(func(ctx context.Context, _ []string) error {
			return a.request(ctx, &q, wait, limit)
		}),
	}
	q.flags(cmd)
	a.reviewFlags(cmd)
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the humans have decided")
	cmd.Flags().DurationVar(&limit, "timeout", 0, "with --wait: wait at most so long, then exit 4")
	return a.withOutput(cmd)
}

func (a *app) request(ctx context.Context, q *ask, wait bool, limit time.Duration) error {
	if err := q.complete(a.getenv); err != nil {
		return err
	}
	client, _, err := a.client()
	if err != nil {
		return err
	}
	request, _, err := q.find(ctx, client, false)
	if err != nil {
		return err
	}
	if a.output == outputText { // at once: whoever stops waiting needs the id
		fmt.Fprintln(a.stdout, visible(request.ID))
	}
	if request.State == api.StatePending {
		a.announce(request)
	}
	if wait {
		request, err = a.decided(ctx, client, request, limit)
	} else {
		request, err = settled(request)
	}
	return a.conclude(request, err)
}

// conclude shows how far a request has come; err says why it cannot be collected, if it cannot.
func (a *app) conclude(request api.Request, err error) error {
	_, open := errors.AsType[*undecided](err)
	if err != nil && !open {
		return a.stillWaiting(request, err)
	}
	if a.output == outputJSON {
		if err := a.show(request, nil); err != nil {
			return err
		}
	}
	if err == nil && request.Operation != nil {
		a.announceApproval(request, ": make the same call again before "+clock(request.Deadline))
	} else if err == nil {
		a.announceApproval(request, ": `hourkey exec --request "+request.ID+" -- COMMAND` collects it until "+clock(request.Deadline))
	}
	return err
}

// stillWaiting adds to an interruption that the request goes on without us.
func (a *app) stillWaiting(request api.Request, err error) error {
	if isInterrupt(err) && request.State == api.StatePending {
		return &hintError{err: err, hint: "the request still waits for a human: `hourkey wait " + request.ID + "`"}
	}
	return err
}

func (a *app) waitCommand() *cobra.Command {
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "wait REQUEST",
		Short: "Wait until humans have decided on a request",
		Args:  exactly("REQUEST"),
		RunE: a.does(func(ctx context.Context, args []string) error {
			client, _, err := a.client()
			if err != nil {
				return err
			}
			request, err := client.Request(ctx, args[0], 0)
			if err != nil {
				return err
			}
			if request.State == api.StatePending {
				a.announce(request)
			}
			request, err = a.decided(ctx, client, request, limit)
			return a.conclude(request, err)
		}),
	}
	a.reviewFlags(cmd)
	cmd.Flags().DurationVar(&limit, "timeout", 0, "wait at most so long, then exit 4")
	return a.withOutput(cmd)
}

func (a *app) requestsCommand() *cobra.Command {
	return a.withOutput(&cobra.Command{
		Use:   "requests",
		Short: "List this agent's requests, newest first",
		Args:  none,
		RunE: a.does(func(ctx context.Context, _ []string) error {
			client, _, err := a.client()
			if err != nil {
				return err
			}
			requests, err := client.Requests(ctx)
			if err != nil {
				return err
			}
			if len(requests) == 0 {
				a.say("this agent has asked for nothing yet")
			}
			return a.show(api.RequestList{Requests: requests}, func(out io.Writer) { requestTable(out, requests) })
		}),
	})
}

func requestTable(out io.Writer, requests []api.Request) {
	var rows [][]string
	for _, r := range requests {
		rows = append(rows, []string{r.ID, r.State, r.Task, strings.Join(r.Environments, ","), span(r.TTLSeconds), clock(r.Deadline)})
	}
	table(out, []string{"REQUEST", "STATE", "TASK", "ENVIRONMENT", "TTL", "DEADLINE"}, rows)
}
