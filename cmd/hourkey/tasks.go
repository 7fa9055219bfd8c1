package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hourkey/hourkey/web/api"
)

func (a *app) tasksCommand() *cobra.Command {
	return a.withOutput(&cobra.Command{
		Use:   "tasks",
		Short: "List what this agent may ask for, and where",
		Args:  none,
		RunE: a.does(func(ctx context.Context, _ []string) error {
			client, id, err := a.client()
			if err != nil {
				return err
			}
			tasks, err := client.Tasks(ctx)
			if err != nil {
				return err
			}
			if len(tasks) == 0 {
				a.say("no task lists agent %s: a person adds it to `agents:` of a task (policies/tasks), and runs `hourkeyd reload`", id.Agent)
			}
			return a.show(api.TaskList{Tasks: tasks}, func(out io.Writer) { taskList(out, tasks) })
		}),
	})
}

func taskList(out io.Writer, tasks []api.Task) {
	for i, task := range tasks {
		if i > 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprintln(out, visible(task.Name+": "+task.Summary))
		where := "  in " + strings.Join(task.Environments, ", ")
		if task.TTLSeconds > 0 {
			where += ", for at most " + span(task.TTLSeconds)
		}
		fmt.Fprintln(out, visible(where))
		for _, scope := range task.Gives {
			fmt.Fprintln(out, "  gives          "+visible(scope))
		}
		for _, scope := range task.WithApproval {
			fmt.Fprintln(out, "  with approval  "+visible(scope))
		}
	}
}
