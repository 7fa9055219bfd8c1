// Package forward lets the child of `hourkey exec` use leases behind the gateway without seeing them: a
// listener on loopback holds the lease tokens and opens tunnels to the broker.
//
//	child ── CONNECT api.example:443 ──▶ forwarder ── tunnel, token and proof ──▶ broker
//	      ── http://127.0.0.1:PORT/PASSWORD/N/… ──▶
//
// It owns: the per-run password, who may connect, which hosts a run reaches, the child's variables, and
// the files with the gateway's authority.
//
// It does not know: what a call means, what is allowed, any provider. The broker judges every call; what
// is refused here never gets that far.
//
// It trusts: the broker (through the function that opens tunnels), and the kernel to tell whose a socket
// is. It does not trust the child, nor any other program on this machine: on Linux only sockets of our
// own user are served, and everywhere only those that know the password, which is in the child's
// environment and worth nothing elsewhere. Whatever runs as the same user can read it there; such a
// program reaches what the child reaches, until the child ends.
package forward
