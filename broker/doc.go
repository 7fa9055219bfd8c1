// Package broker is the domain of Hourkey and the one way of a request through it:
// resolve, evaluate, describe, evaluate again, review, collect, end.
//
// It owns: scopes and their algebra, requests, decisions, statements and approvals, grants,
// leases, freezes, passkey-signed acts, events, and the order in which all of these change.
//
// It does not know: HTTP, files, databases, cryptographic key formats, any provider. Those reach
// it through the small interfaces of ports.go, which the adapters implement and cmd/hourkeyd wires.
//
// It trusts: its Store to be atomic and durable, its Verifier to check a WebAuthn assertion, and an
// Issuer to do what its Description says. It trusts nothing that an agent says: the words of an
// agent never enter a decision (invariant 11).
//
// The invariants that the code cites by number are those of docs/design/0001-the-heart.md.
package broker
