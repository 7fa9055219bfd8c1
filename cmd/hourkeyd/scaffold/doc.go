// Package scaffold writes the files that a new installation begins with, and the service that
// `hourkeyd install` sets up.
//
// It owns: their texts, their modes, and the rule that nothing is ever overwritten.
//
// It does not know: what the policy files mean; they come from package policies.
package scaffold
