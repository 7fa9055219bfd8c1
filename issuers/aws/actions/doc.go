// Package actions knows every action of AWS's service authorization reference, and what each is worth at worst: read,
// write, delete, admin, or refused. The issuer's lists are checked against it, and `hourkeyd classify aws` answers from it.
//
// It owns the table of names and access levels (table.txt), the rule that classes them (rule.go), and what the rule gets
// wrong, with reasons (reviewed.txt). It calls nobody. It trusts the table that was compiled in.
//
// # The classes
//
// IAM decides about names, not arguments: an action that destroys with some arguments is delete with all, one that can
// set a password is admin with all. So the classes here are wider than a gateway's. The rule looks at AWS's access level
// first, then at the verb, then at the other words of the name; an action whose verb nobody has judged is refused, as is
// every action that the table does not have. AWS's levels know no deleting, and its Read and List hold actions that hand
// out tokens, open sessions, or take messages off a queue: those are the reviews.
//
// # The table
//
//	# source: aws-actions.tsv
//	# sha256: <of the source, in hex>
//	# counts: 21190 actions of 464 services
//	s3
//	L ListAllMyBuckets …
//	R GetObject …
//
// One line for each verb: the access level (R read, L list, W write, T tagging, P permissions management), then the
// names. It is made anew by go generate, with HOURKEY_PROVIDER_APIS naming the folder of the source, a table of service,
// action and access level taken from the published reference.
package actions

//go:generate go run ./extract $HOURKEY_PROVIDER_APIS/aws-actions.tsv table.txt
