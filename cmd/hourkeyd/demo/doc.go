// Package demo is the nine-second drill: the incident of 2026 on a Railway that really loses data, first
// as it was, then with Hourkey's gateway in between.
//
// It owns: the story, and an installation wired from the same parts as serve, with a faithful Railway
// (issuers/gateway/faithful) behind it, in one process and a temporary folder.
//
// It does not know: any shortcut. The agent speaks HTTP like every agent and its calls go through the
// tunnel, the gateway asks that Railway with a real token, the reviewer signs with a passkey like every
// reviewer; with Auto the passkey is software. Each wall is a named step that fails when the wall is off;
// the tests take the walls away one by one.
package demo
