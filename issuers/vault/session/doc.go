// Package session is one login at one Vault: the connection, the token and its renewal.
//
// It owns: how the broker logs in (AppRole, Kubernetes, JWT, or a token), keeps its token alive and logs in
// again; which tokens it refuses to hold; how a failure of Vault becomes an error; references to secrets
// that Vault keeps.
//
// It does not know leases, roles or policies: package vault does. It trusts the server at the configured
// address, over TLS, and nothing that the process's environment says about Vault (VAULT_TOKEN,
// VAULT_SKIP_VERIFY and their like are ignored). It follows no redirect: the token goes to one address.
//
// A call is tried once. Only one that Vault refused because the token had ended is repeated, after a new
// login: a refused call has changed nothing.
package session
