// Package session is one login at one Vault: the connection, the token and its renewal.
//
// It owns: how the broker logs in (AppRole, Kubernetes, JWT, or a token), keeps its token alive and logs in
// again; which tokens it refuses to hold; how a failure of Vault becomes an error; references to secrets
// that Vault keeps. The token is kept in memory alone.
//
// It does not know leases, roles or policies: package vault does. It trusts the server at the configured
// address, over TLS, and nothing that the process's environment says about Vault (VAULT_TOKEN, VAULT_SKIP_VERIFY,
// VAULT_PROXY_ADDR and their like; one that the library cannot read is an error). HTTPS_PROXY counts, as for every
// program: such a proxy passes TLS on and sees no token. It follows no redirect: the token goes to one address.
//
// A call is tried once. Only one that Vault refused because the token had ended is repeated, after a new
// login: a refused call has changed nothing. What Vault refused as a login is not sent again for a while, so that it
// does not lock the role; another secret is tried at once.
package session
