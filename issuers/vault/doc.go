// Package vault issues credentials by way of HashiCorp Vault: dynamic secrets of any engine that leases, and
// Vault's own tokens for the paths of a KV engine.
//
// It owns: the token that is made for each lease, its end, and the judging of what Vault would hand out. It
// does not know what lies behind Vault. It trusts Vault's own answers about its roles and policies.
//
// # One token for each lease
//
// Every lease begins with a token of its own, made by a token role of Vault: an orphan, not renewable, of the lease's
// policies alone, whose longest life is the lease's. At a KV engine that token is the credential. At every other
// engine it asks for the credential and is then forgotten; what it asked for is leased to it, so it dies with it:
// at the TTL, by Vault's own clock, whether or not a broker runs. The token's accessor, its display name and its metadata bear the
// lease's name (invariant 8): so an orphan is found, and ended, without its secret.
//
// # Resources and actions
//
// They are read out of Vault, not believed from a file:
//
//	database    the tables of the creation statements (sql.go): SELECT is read, INSERT and UPDATE are write, all other
//	            privileges are delete; membership, attributes and what is not understood are admin
//	kv          the paths of the policies, without the mount (kv.go): read and list are read; creating and updating values is
//	            write; deleting, destroying, and changing how long versions are kept is delete; sudo is admin
//	aws         what the environment's file declares, and in any case all that the role's document allows (aws_policy.go), by the
//	            table of AWS's actions, the one leaf of another adapter that this one knows
//	kubernetes  what the file declares, and in any case all that the generated rules allow (kubernetes_rules.go)
//	pki, ssh    what the file declares, and in any case what else the certificates are good for (pki_wall.go); at ssh a login that runs
//	            any command deletes and gives power, unless the file says that the host prevents it (ssh_wall.go)
//	others      what the file declares, in words that reviewers see; at other databases, no less than what is plain to see
//
// An offer is issued whole or not at all: Vault hands out what its role says. So a description names all that the role
// or policies reach, whatever was asked.
//
// # The wall between environments
//
// A target is one engine at one mount. A database target is one connection of it besides; a KV target is some folders; at pki
// and ssh it is the mount with the key that it signs by, which works wherever it is trusted (authority.go); any other target is the
// roles that it lists. These make the identity that an operator confirms, with Vault's cluster id and the mount's
// accessor, and no two environments may have the same. Folders of version 2 of KV are no wall (kv_wall.go): there it is the mount.
//
// # What was described is what is handed out
//
// Vault takes a role or a policy as it is when it is asked. So Issue looks once more after Vault has answered: where anything differs
// from the description, what was handed out is not used, and the broker ends it.
package vault
