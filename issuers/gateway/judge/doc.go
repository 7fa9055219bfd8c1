// Package judge says what a call to a provider would do: its class, the resources that it names, and the
// row of the pack that decided. It makes the bytes that are sent instead of the caller's, and the answer
// that the caller may see.
//
// It owns: the format of a pack's rows, reading GraphQL documents and REST requests, the class of an
// operation, what its arguments name, the re-serialisation of what was judged, the masking and filtering
// of answers.
//
// It does not know: any provider, where a resource lives, who is calling, whether that is allowed. It is
// pure: no I/O, no clock, no state that changes.
//
// It trusts: the rows and the list of a pack. Nothing that the caller sent is trusted or passed on as it
// came: what cannot be read in one way only is refused, what has no row is refused.
package judge
