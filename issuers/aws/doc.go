// Package aws issues sessions of one IAM role (STS AssumeRole) whose own policy names exactly what a lease may do. A server
// that speaks S3 and STS without being AWS (MinIO, for one) works as well, with S3 alone.
//
// It owns: the lists of actions by service and class (service.go), the session policy that is made of a scope (policy.go),
// what is looked up before a write is given (loss.go), the check of the broker's user and of the role. It does not know
// tasks, approvals or the store. It trusts IAM to evaluate a session policy as documented, STS to say who it assumed, and
// the provider's clock.
//
// # Resources and actions
//
// A resource is service/name: s3/BUCKET/KEY, sqs/QUEUE, dynamodb/TABLE, logs/LOG-GROUP, ecr/REPOSITORY, lambda/FUNCTION,
// rds/INSTANCE. One that ends in a star stands for all names that begin so, and stays a prefix: the session policy holds it
// as it is, and what comes to be under it later is included. Only what the target's file lists can be asked for.
//
//	read    the service's own reading, never secrets or environment variables
//	write   s3 PutObject · sqs SendMessage · dynamodb PutItem, UpdateItem · logs CreateLogStream, PutLogEvents
//	        ecr the upload of an image · lambda InvokeFunction
//	delete  s3 DeleteObject, DeleteObjectVersion · sqs ReceiveMessage, DeleteMessage, PurgeQueue · dynamodb DeleteItem, …
//	admin   refused
//
// A write that could destroy needs the approvals of delete, whatever was asked, and gets no action of delete: to an S3 bucket
// that is not versioned, where the former object would be gone; to a DynamoDB table with a time to live, where an item can
// be written so that it expires.
//
// # The session policy
//
//	Allow  the actions, each on its own ARNs, none with a star
//	Deny   buckets of other accounts                 (s3:ResourceAccount)
//	Deny   every action that is not among them       (NotAction: what AWS invents later as well)
//	Deny   every resource that is not among them     (NotResource)
//	Deny   everything from the end of the lease on   (aws:CurrentTime)
//
// Effective is what the role's policies and this one both allow, so the role may be wide and a lease is not. The Denies
// are there for resource policies that would give to a session directly. Name and source identity of the session are the
// lease's name; its tags are agent and task. The trust policy must allow sts:AssumeRole, sts:TagSession and
// sts:SetSourceIdentity to the broker's user, and nobody else.
//
// # How surely a lease ends
//
// The last Deny ends it to the second, by the provider's clock at every call, whether or not a broker runs; presigned URLs
// made of it end with it. STS makes no session shorter than 15 minutes; the one of a shorter lease exists until then,
// able to do nothing. A sign-in to the console made of it can be told to last longer than the credential: that it keeps the
// policy, and so the end, is not proven. Before its time a session cannot be ended singly. All sessions of the role that are
// older than now can: "Revoke active sessions" in the IAM console adds the policy AWSRevokeOlderSessions to the role.
//
// # A server that is not AWS
//
// MinIO lets a client say what a policy's conditions are compared with: a header or a parameter named Currenttime, Prefix, or
// Versionid goes before the server's own value (tried: TestBypasses). And it lets a write name the version that it replaces.
// So there, nothing hangs on a condition that a client could turn: a lease ends with its session, and none is shorter than
// 15 minutes; keys are listed where the whole bucket is the environment's; a write needs the approvals of delete. Releases
// that let a session make itself a lasting key (CVE-2025-62506) are refused.
//
// # The environment
//
// One role for each environment: account, role ARN and the role's unique id are the target's identity, told by STS with
// every session and compared each time. The broker's own credential is an IAM user's access key; a session's (role
// chaining) is refused, as is an account's root.
package aws
