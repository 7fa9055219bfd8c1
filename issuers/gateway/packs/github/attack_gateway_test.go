package github

import (
	"slices"
	"strings"
	"testing"
)

// Two environments that share a repository are not isolated (invariant 12: a second environment with the same
// identity refuses). The lists 11+12 and 12 are different words, so an identity says what it is made of.
func TestARepositoryOfTwoEnvironmentsIsNoticed(t *testing.T) {
	f := newFake(t)
	staging, production := f.provider("acme/web", "acme/shop"), f.provider("acme/shop")
	theirs, err := production.Identify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ours, err := staging.Identify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(strings.Fields(ours.Parts), theirs.ID) {
		t.Errorf("acme/shop is production (%s); staging (%s) does not say that it is a part of it: %q", theirs.ID, ours.ID, ours.Parts)
	}
}
