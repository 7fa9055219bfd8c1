// Package bench measures the broker as it is wired: store on bbolt, event log, keys, policies, issuers,
// broker and HTTP, over loopback. It holds benchmarks alone:
//
//	go test -run '^$' -bench . ./cmd/hourkeyd/bench
//	HOURKEY_BENCH_LONG=1 go test -run '^$' -bench Memory -benchtime 1x ./cmd/hourkeyd/bench
//
// Each number stands beside its floor, measured in the same run, in turns with it: the machine's own
// speed changes from minute to minute, a ratio does not. floor_test.go is the floor of HTTP and store; it
// imports nothing of ours but the store engine. Times are of the way from a request to its credential.
//
// It owns: the load, the floors, the arithmetic of medians. It does not know how anything it measures is made.
package bench
