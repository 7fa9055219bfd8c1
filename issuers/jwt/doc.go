// Package jwt issues access tokens (RFC 9068) for the user's own services.
//
// It owns: the token issuers, one per environment, with an issuer URL and a signing key of its own; the
// claims of a token; what a token's walls are worth.
//
// It does not know: how its keys are kept, who serves the key sets, which services read the tokens. It
// calls nobody, so it cannot look whether a service is there, nor tell one that a token was revoked.
//
// It trusts: the signer to give every environment a key of its own, and a service to check algorithm,
// type, issuer, audience, expiry and scope as examples/resource-server does. What rests on the service
// alone is called weak in every description.
package jwt
