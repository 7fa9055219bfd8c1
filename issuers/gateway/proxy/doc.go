// Package proxy carries the calls of agents through to providers. It is a caller of the broker, beside web:
// a tunnel is opened for one lease, each HTTP request in it is judged, its resources are looked up, the
// broker decides and records, and then what was judged goes out with the real credential.
//
//	agent's forwarder ── GET /gateway/connect, DPoP ──▶ 101 ── raw bytes ──┐
//	    forward mode:  TLS with a leaf of the lease's CA, then HTTP/1.1    │
//	    base-URL mode: HTTP/1.1                                            ▼
//	               guard ▶ admit ▶ judge ▶ resolve ▶ broker.Use ▶ forward ▶ filter, mask, scrub
//
// It owns: the tunnel protocol, the proof of possession (RFC 9449), what of HTTP may pass in either
// direction, the bounds of sizes and times, the end of calls under way when a lease ends.
//
// It does not know: what any operation does, where a resource lives, who may do what, how a lease ends.
//
// It trusts: a pack to judge and to re-serialise, a provider to look up and to attach its credential, the
// broker to decide. Of the agent's bytes it trusts nothing: what can be read in two ways is refused, and what
// goes out is written anew. Of the provider's answer it trusts nothing but that it is the provider's.
package proxy
