// Package demo is the nine-second drill: the incident of 2026 on a provider that really loses data,
// first as it was, then with Hourkey in between.
//
// It owns: the story, the provider (package provider), the issuer for it, and a broker wired from the
// same parts as serve, in one process and a temporary folder.
//
// It does not know: any shortcut. The agent speaks HTTP like every agent, the reviewer signs with a
// passkey like every reviewer; with Auto the passkey is software. Each wall is a named step that fails
// when the wall is off; the tests take the walls away one by one.
package demo
