// Package supabase is what the gateway knows of Supabase: a row for each of the 164 operations of its
// management API, and how a project or a branch is looked up (docs/issuers/supabase.md).
//
// It owns: the pack, the settings of a target of this kind, the questions that are asked of Supabase. An
// environment is one project. A preview branch is a project of its own, so it is another environment.
//
// It does not know: who calls, what a lease covers, the answers' way back. It carries the management API
// alone: the project's own doors (its REST, auth, storage and functions hosts, the database itself) are
// reached with keys that only admin can see.
//
// It trusts: Supabase to tell which project a branch is. What belongs to an organisation or to the token's
// owner is in no environment.
package supabase
