// Package policies turns task files and guardrail files into decisions.
//
// It owns: the format of policies/tasks/*.yaml and of policies/*.cedar, their checks at load, and the
// rule that a task gives and a guardrail only takes away. Load reads a whole set or refuses it whole;
// a Set never changes afterwards and is safe for concurrent use.
//
// It does not know: files, clocks, providers, approvals, or who is calling. Files reach it as bytes
// with their names. The agent's words are not among its inputs (invariant 11).
//
// It trusts: the caller to have authenticated the agent and looked up its owner and the owner's
// groups. It trusts no file: what is not understood is an error of the load, with file and line, and
// what is not known at a decision is a deny (invariant 6).
//
// # Tasks
//
// A task file maps names to tasks. All lists are lists of text; a scope is written as broker.ParseScope
// reads it.
//
//	fix-orders-data:
//	  summary: Repair wrong rows of the orders service   # optional, shown to people
//	  agents: [claude-code, "ci/*"]                      # a name, or everything below "ci/"
//	  environments: [staging]
//	  gives: ["orders-db:public.*:read,write"]           # at once; never delete or admin (invariant 3)
//	  with_approval: ["orders-db:public.*:delete"]       # may be asked for; humans decide
//	  ttl: 30m                                           # optional, at most 60m (invariant 1)
//
// # Guardrails
//
// A guardrail file holds Cedar policies (docs.cedarpolicy.com) that are all forbid and all carry an
// @id of their own. They are checked against guardrails.cedarschema, which stands beside this file:
//
//	principal  Agent::"claude-code", in Group::"g" for each group of its owner
//	action     Action::"read", "write", "delete" or "admin"
//	resource   Resource::"environment/target/name", with the attributes name, target and environment
//	           (text), in Target::"environment/target" and in Environment::"environment"
//
// There is no context, no tag, and no `has`: every attribute is always there. A guardrail that names
// an environment, target, group or agent that does not exist is refused, because it would silently
// forbid nothing.
//
// Each guardrail is evaluated for every single action on every resource of a query. One that errors
// denies; cedar-go itself would skip it.
package policies
