// Package web is the broker over HTTP: the agents' API, the humans' pages, target-token issuers, health
// and metrics.
//
// It owns: the router and its table of who may what (access.go), the one table from an error's code to
// a status (problem.go), rate limits, body limits, headers, and who is calling.
//
// It does not know: policies, providers, record formats. It asks the broker and nobody else, so that
// every decision is made in one place; what it refuses itself is only what the broker should not even
// be asked.
//
// It trusts: its operating system to tell the address of a TCP peer, and a proxy that was named. It
// trusts nothing in a request: not its Host, not its Origin, not its length, not its JSON.
package web
