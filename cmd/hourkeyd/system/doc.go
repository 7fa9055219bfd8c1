// Package system attacks the real thing: hourkeyd as it is built, its files, its store on a disk, its
// pages and its API over loopback, and a real PostgreSQL behind it. It holds tests alone, each named
// after its attack:
//
//	go test ./cmd/hourkeyd/system
//	go test -tags failpoint -run CrashAtEveryStep ./cmd/hourkeyd/system
//
// It owns: an installation like the README's, in a folder of its own, with two environments that are two
// databases of one server, a human with a software passkey and an enrolled agent; the processes that it
// started, which it ends by their ids.
//
// It does not know: how anything is done inside. What a test believes comes from the API, the admin
// socket, the exported log, the files, or PostgreSQL's own catalogue.
//
// It needs PostgreSQL 15 or newer (Debian: apt-get install postgresql). Without it the tests are skipped,
// unless HOURKEY_TEST_ALL=1, with which they fail. So are the tests of the gateway where bash, curl, node,
// openssl, python3 or setpriv is missing; they need no PostgreSQL. The tests of providers that hold the walls themselves
// (AWS, Kubernetes, Vault: an agent's day, the walls taken away, every way of ending, the provider in trouble, killed at every
// step) start a MinIO, a kube-apiserver or a Vault, where test.sh has built it. Between them and the broker stands a tap, which
// hears every secret and makes every trouble. HOURKEY_TEST_KILLS says how often each step is died at, 2 if it is not set.
//
// TestREADMETellsTheProvidersTable holds README.md to what the issuers declare; -update writes it.
package system
