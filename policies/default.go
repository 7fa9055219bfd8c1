package policies

import "embed"

// Default holds the policy files that a new installation begins with, below the folder "default": what
// lies there is written to policies/. They are safe as they are: no task gives delete or admin, and the
// one guardrail takes admin away altogether. They expect an environment "staging" with a target
// "orders-db" and need no groups.
//
//go:embed default
var Default embed.FS
