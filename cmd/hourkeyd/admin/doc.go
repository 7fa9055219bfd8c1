// Package admin is the socket over which hourkeyd's own commands reach a running broker.
//
// It owns: the unix socket in the data folder (mode 0600), the check of who is at its other end, the
// few routes on it, and the client.
//
// What it can do is what the interface Broker lists: tell the state, invite, add and remove agents,
// freeze, revoke, reload, back up and export. It cannot submit, approve, sign, lift or collect: these
// methods of the broker are not in the interface, so that no mistake in a route can reach them
// (invariants 3 and 5).
//
// It trusts: the kernel to name the uid of a peer (SO_PEERCRED on Linux, LOCAL_PEERCRED on
// macOS; elsewhere nobody is let in).
package admin
