// Package doctor finds the standing credentials on this machine that go around the broker: what an agent
// under this user could pick up and use without asking anybody, as happened in the incident that Hourkey
// is built against.
//
// It owns: where credentials lie and how they look, what each can reach as far as that is known offline,
// and how to move it behind Hourkey. It does not know brokers, leases or the network: it reads files and
// variables that it is handed, runs no program, writes nothing, and asks nobody.
//
// It trusts nothing that it reads. Files are bounded, links out of the tree are not followed, and every
// word of theirs that is shown is escaped and cleaned of secrets. A Finding has no field that could hold
// a secret; what is found is remembered only while looking, in order to keep it out of the report
// (invariant 10).
package doctor
