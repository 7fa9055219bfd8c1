package ui

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// An auditor relies on the numbers: the first event is number 0, and so number 990 is not among the first 990.
func TestTheNumbersOfTheEventsThatAreVerified(t *testing.T) {
	for of, want := range map[[2]uint64][4]string{ // height and how many are covered → events, verified, proven, later
		{1, 0}:         {"1 event", "none of them verified", "none of the first 0 events was changed", "1 later event is not signed yet."},
		{1, 1}:         {"1 event", "the first verified (number 0)", "the first event was not changed", ""},
		{3, 2}:         {"3 events", "the first 2 verified (numbers 0 to 1)", "none of the first 2 events was changed", "1 later event is not signed yet."},
		{12345, 1000}:  {"12,345 events", "the first 1,000 verified (numbers 0 to 999)", "none of the first 1,000 events was changed", "11,345 later events are not signed yet."},
		{20000, 20001}: {"20,000 events", "the first 20,001 verified (numbers 0 to 20,000)", "none of the first 20,001 events was changed", ""}, // signed meanwhile
	} {
		i := Integrity{Height: of[0], Covers: of[1]}
		if diff := cmp.Diff(want, [4]string{i.Events(), i.Verified(), i.Proven(), i.Later()}); diff != "" {
			t.Errorf("%v: %s", of, diff)
		}
	}
}

// A list that was searched for is where the eye is led, past the form.
func TestOnlyAFilteredListIsJumpedTo(t *testing.T) {
	page := AuditPage{Before: "600"}
	all, some := AuditOf(AuditFilter{Before: "700"}, page, Integrity{}, false).Pager, AuditOf(AuditFilter{Before: "700", Kind: "leases"}, page, Integrity{}, false).Pager
	want := [4]string{"/audit", "/audit?before=600", "/audit?kind=leases#found", "/audit?before=600&kind=leases#found"}
	if diff := cmp.Diff(want, [4]string{all.First, all.Next, some.First, some.Next}); diff != "" {
		t.Error(diff)
	}
	if got := (Pager{Next: "/x"}).found(); got.First != "" || got.Next != "/x#found" {
		t.Errorf("%+v", got)
	}
}
