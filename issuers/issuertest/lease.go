package issuertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Wish reads scopes of one target, each written without it: "public.orders:read,write".
func Wish(tb testing.TB, target string, ttl time.Duration, texts ...string) broker.Wish {
	tb.Helper()
	wish := broker.Wish{TTL: ttl}
	for _, text := range texts {
		scope, err := broker.ParseScope(target + ":" + text)
		if err != nil {
			tb.Fatal(err)
		}
		wish.Scopes = append(wish.Scopes, scope)
	}
	return wish
}

// Describe describes a wish that can be described.
func Describe(tb testing.TB, issuer broker.Issuer, wish broker.Wish) broker.Description {
	tb.Helper()
	description, err := issuer.Describe(tb.Context(), wish)
	if err != nil {
		tb.Fatalf("Describe: %v\n%s", err, Next(err))
	}
	return description
}

// Order orders what was described, from now on and under the lease's name.
func Order(description broker.Description, name string) broker.Order {
	return broker.Order{
		Name: name, Lease: "lease", Description: description, TTL: description.TTL, Expires: time.Now().Add(description.TTL),
		Agent: "claude-code", Owner: "alice", Task: "fix-orders-data",
	}
}

// Lease issues what was ordered and ends it with the test, which may have ended it before.
func Lease(tb testing.TB, issuer broker.Issuer, order broker.Order) (broker.Credential, broker.Handle) {
	tb.Helper()
	credential, handle, err := issuer.Issue(tb.Context(), order)
	tb.Cleanup(func() {
		if err := issuer.Revoke(context.Background(), order.Name, handle); err != nil {
			tb.Errorf("Revoke: %v", err)
		}
	})
	if err != nil {
		tb.Fatalf("Issue: %v\n%s", err, Next(err))
	}
	return credential, handle
}

// Findings are what an issuer finds wrong with its target.
func Findings(tb testing.TB, issuer broker.Checker) []broker.Finding {
	tb.Helper()
	found, err := issuer.Check(tb.Context())
	if err != nil {
		tb.Fatalf("Check: %v", err)
	}
	return found
}

// Next is the next step that an error names; empty if it names none.
func Next(err error) string {
	if e, ok := errors.AsType[*broker.Error](err); ok {
		return e.Next
	}
	return ""
}
