// Package railway is the pack for Railway: what each operation of its API does (rows.pack), and where
// things live there, asked with the real token.
//
// It owns: the rows, which doors of the provider's hosts are open, the kinds of ids and how each is looked
// up, how a blast radius reads in words.
//
// It does not know: who may do what, leases, HTTP from the agent.
//
// It trusts: what Railway answers to the broker's own token over TLS. Of a call it believes nothing but the
// ids, and those only as questions. What cannot be looked up is refused.
//
// # By what name a scope speaks of things
//
//	project/ID  project/NAME           the project's own: settings, members, what reaches all environments
//	environment/ID  environment/NAME   shared variables, staged changes, networks, dashboards, sandboxes' place
//	service/ID  service/NAME           a service and all that is its own: deployments, variables, domains, proxies, triggers
//	service/(new)                      a service that will be made; so volume/(new), bucket/(new), plugin/(new)
//	volume/ID  volume/NAME             a volume, its instances and the backups that lie on it
//	bucket/ID  bucket/NAME  plugin/ID  plugin/NAME  group/ID  group/NAME
//	sandbox/ID                         a sandbox, or a saved disk
//	staged/DIGEST                      exactly what is staged; environment/… covers it too
//
// A name that two things of one kind bear is nobody's name: only ids name them.
//
// # Kinds in rows.pack that are not spoken of in scopes
//
// base-service, base-new-service: the operation treats all environments that are no forks as one. So it
// reaches all of them unless a fork is named (in Railway's words, of an argument that it calls experimental).
// project-view, service-view, environment-view: a read whose answer the judge keeps to the lease's
// environment; the rest of the resource is not touched. project-service: a service of the project that need
// not be in the environment yet. new-service, new-volume, new-bucket, new-plugin: their id is the project's.
// variables P/E in S: the variables that an environment's services share or, with S, those of one service.
// account, workspace, template and their like: nothing of any environment's; they live in a place that no
// target is.
package railway
