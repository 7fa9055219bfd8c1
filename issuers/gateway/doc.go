// Package gateway is the issuer for providers that have no walls of their own: the broker keeps the
// provider's real token, the agent gets an opaque one that only our gateway takes, and every call is
// judged (docs/gateway.md).
//
// It owns: what a pack and a provider are, the description and the issue of a lease behind the gateway.
// Its children own the rest: judge reads calls, packs know the providers, proxy carries calls through,
// lists hold the facts of the published descriptions, faithful has a provider to test against.
//
// It does not know: any provider, HTTP from the agent, who may do what.
//
// It trusts: a Provider to tell, with the real token, where resources live.
package gateway
