// Package railway is a Railway that really loses data: a GraphQL server over the published schema, with
// projects, environments, services, volumes whose backups lie on the volume, staged changes and tokens of
// each kind. The drill runs against it, and the gateway's tests do.
//
// It owns its state, in memory, and on request the bytes of the volumes as files (Config.Folder). What an
// operation does is written from the schema's own words and from what is public about the provider; the
// package knows no pack, no class and no policy, so that it can be a witness against them. It imports only
// the list of the published schema. It trusts nobody: each call is made with a token, and reaches what
// that token reaches.
//
// # Where it is worse than it need be
//
// Where the published words leave room, it does the thing that an agent's mistake is punished for:
//
//   - an id decides. A second argument that should go with it (environmentId beside a domain's id,
//     volumeInstanceId beside a backup's id) is not compared with it;
//   - what an argument's description says is taken literally: serviceInstanceUpdate for an environment that
//     is no fork changes every environment that is no fork, volumeInstanceUpdate without a serviceId
//     detaches the volume, volumeCreate without an environmentId reaches all of them, with null none;
//   - deleting is at once and for good, and takes backups with it. Only projectScheduleDelete waits, for
//     48 hours of the server's clock;
//   - GET, batches of requests and persisted queries are served, for mutations too.
//
// # Words of its own
//
// Where the schema has no type for what the provider must keep, a kind has a name of ours: BucketInstance and
// BucketCredentials (a bucket in one environment, its keys), Container with data (a plugin in one environment),
// WorkspaceInvite, OwnershipTransfer, LoginSession, ShellToken, EmailChange, Telemetry, WebhookSent. Fields of ours:
// data (the bytes of a volume instance or a backup), token, code, nonce, secret (what is handed out), running
// (whether a service instance serves), pitr (whether its write-ahead log is kept), deleteAt (when a project goes).
//
// # What it really did
//
// Snapshot pictures the whole state and Compare tells two pictures apart, so that a test can say what a call
// did: which records it made, changed and destroyed, in which environments, what power it handed out, and
// which secrets its answer carried.
package railway
