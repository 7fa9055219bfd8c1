// Package differential holds the gateway's judge and Railway's pack against the faithful Railway, which knows
// neither: what the server really does with a call is never of a higher class, nor in another environment,
// than what was judged and looked up; what is a read changes nothing; and what is let through of an answer
// tells no secret and nothing from elsewhere.
//
// It owns: making calls (every operation, every argument, every condition of the rows), the two readings of
// what a call did, the table of known bugs, the rows that are lowered to see whether that is found.
//
// It does not know: leases, scopes, who may do what. It trusts the faithful server to be what Railway is, and
// nothing else. There is no code here, only tests:
//
//	go test ./issuers/gateway/differential                        some seconds
//	HOURKEY_TEST_ALL=1 go test ./issuers/gateway/differential     every row, argument and condition 100 times
//	HOURKEY_TEST_SEED=7 …                                         other calls
//	go test -fuzz FuzzDifferential ./issuers/gateway/differential requests as bytes
package differential
