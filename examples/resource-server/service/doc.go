// Package service is a reference for your own services: a small store of named values that accepts the
// access tokens of one environment of one broker, and shows every check that such a service has to make.
// Copy verify.go; it needs nothing of Hourkey.
//
// It owns: its values, in memory, and the rule which method needs which action.
//
// It does not know: the broker. It never calls it but for the key set, once, when it starts; so tokens
// are accepted, and die, with the broker down.
//
// It trusts: the one issuer, audience and key set that it was started with, and its own clock.
package service
