// Package lists holds the facts of each provider's published description: the names of its operations,
// arguments, types and permissions, and the SHA-256 of the description they were taken from. The packs are
// checked against them, and the faithful servers of the tests serve them.
//
// It owns the lists (embedded), how they are made from a description (Extract), and what two of them differ
// in (Diff). It knows no class, no pack and no server. It trusts the lists that were compiled in; a
// description that is handed in may be anything and is only read.
//
// # The lists
//
// The head of each list is comment lines:
//
//	# provider: railway
//	# source: railway.graphql.json
//	# sha256: <of the source, in hex>
//	# counts: 230 mutations, 152 queries, 13 subscriptions, 596 types
//
// What follows is, for a GraphQL API, its schema in the schema definition language without descriptions,
// everything sorted by name; for a REST API one line for each operation, sorted by path and method:
// METHOD, PATH and, where the description tells them, the permissions it wants, separated by tabs.
//
// The types counted are those of the API's own; what every GraphQL server has (Int, String, __Schema …) is
// left out, as the schema language demands. The lists are made anew by go generate, with HOURKEY_PROVIDER_APIS
// naming the folder of the descriptions.
package lists

//go:generate go run ./extract railway $HOURKEY_PROVIDER_APIS/railway.graphql.json railway.graphql
//go:generate go run ./extract github $HOURKEY_PROVIDER_APIS/github.operations.tsv github.tsv
//go:generate go run ./extract supabase $HOURKEY_PROVIDER_APIS/supabase.operations.tsv supabase.tsv
