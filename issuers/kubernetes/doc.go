// Package kubernetes issues credentials in one namespace of a Kubernetes cluster: a ServiceAccount, a Role and
// a RoleBinding per lease, and a token of that account.
//
// It owns: which built-in resource gives what power (kinds.txt), the rules of a lease and their end, the audit of what
// every account of the namespace gets beside its own rules, the admission policy that closes what RBAC leaves open
// (policy.yaml). It does not know tasks, approvals or the store. It trusts the API server, and the cluster's own
// admission and controllers.
//
// # Resources and actions
//
// A resource is KIND/NAME: configmaps/settings, deployments.apps/web. KIND is the plural name and the API group, as in
// kubectl; a subresource follows a plus: deployments.apps+scale/web. KIND/* stands for every object of that kind, also
// those that are made later. KIND/web-* stands for the objects that exist when it is described.
//
//	read    get, list
//	write   create, update, patch
//	delete  delete, deletecollection
//	admin   nothing by itself, but exec, attach and portforward; other kinds want it beside another action
//
// RBAC can hold get, update, patch and delete to a name, list to a query for that name (--field-selector
// metadata.name=web), and create to server-side apply of that name; deletecollection is given for KIND/* alone. watch, logs, exec,
// attach and portforward go on after the end of a lease, for as long as the caller said when it began, so they are given
// only where the configuration accepts "open streams".
//
// A kind that is not built in is refused, unless the configuration names it as plain data: an operator may delete a
// database because of what is written into one.
//
// # What RBAC cannot hold
//
// Whoever may write an object may scale it to zero, give it an owner that is gone (the garbage collector then deletes
// it), take its finalizers away, count a StatefulSet's pods from another number, mount the data of others, or have its pods run as
// another ServiceAccount. It may choose machines for its pods, keep those of others off them, or read Secrets by a pod. The admission policy
// refuses each of these to leases that may not delete, or not read Secrets; what is there already may stay. Without the policy nothing may be
// written, unless the configuration accepts that; then the description gives what the walls do not hold (WallFact.Gives), and humans
// approve that.
//
// To deploy a service is to change its template, so no policy refuses that. The code runs as the account that the workload has, and with the claims
// that it mounts: both are looked for in what may be written, and what the account may do, and the delete of the claims, is given in the description.
// So is whatever else makes more of a write and is there already: volumes of drivers, a class of runtimes that Pod Security excepts, a priority, for
// which pods of every namespace are ended (of what may be scaled as well).
//
// What no controller owns is taken over, and removed, by a new controller whose selector fits it; a CronJob or a StatefulSet is stopped by a Job or a
// pod of the name of its next one; a custom resource loses fields by a write in another version. No policy sees any of it, so it is looked for, and
// given in the description while there is some.
//
// Both are snapshots, and so is the audit: what somebody gives every account of the namespace, or a workload, while a lease lives, the lease has too.
//
// # The broker's account
//
// RBAC lets nobody give what they do not hold, so the broker's account holds, in the namespace, whatever leases may be given
// there, and no escalate, bind or impersonate. It may ask for tokens of every ServiceAccount of the namespace, which RBAC cannot limit:
// guard its token as the sum of them. AdminYAML prints what makes it; check --live tests it, permission by permission.
//
// # How surely a lease ends
//
// The token carries its expiry, which the API server holds to with the broker down. Earlier, Revoke deletes the
// RoleBinding first: with it every right goes within milliseconds, and a second admission policy refuses what was begun before and is
// there as a whole only after it. The API server may know the token for some seconds longer, as
// somebody who may do nothing.
package kubernetes
