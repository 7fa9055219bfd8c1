package judge

import "net/url"

// Call is one HTTP request, read: method, path and query as they were sent, and the whole body.
type Call struct {
	Method      string
	Path        string // escaped, as in the request line, without the query
	Query       string // raw, without "?"
	ContentType string
	Body        []byte
}

// Verdict is what the judge says of a call. A refused call has nothing but Operations, Class and Refusal.
type Verdict struct {
	Class      Class       // the worst of the operations
	Operations []Operation // in their order
	Refusal    string      // one sentence, for Refused
	Send       Send        // what is sent instead of the call's own bytes
	Answer     Answer      // what is done with the answer
}

// Operation is one thing that a call does: a root field of a GraphQL document, or the REST operation.
type Operation struct {
	Name    string // "volumeDelete", "DELETE /repos/{owner}/{repo}"
	Class   Class
	Why     string  // the reason of the line that decided
	Line    int     // of the pack, 0 when no row speaks of it
	Rule    string  // of a row that a rule made
	Touches []Named // what its arguments name
	Text    string  // canonical: the whole operation with all its arguments, for reviewers and the log
	Exact   string  // digest of the same with nothing hidden; empty when Text hides nothing
}

// Named is a resource as a call names it. It is the caller's word: where it lives is asked of the provider.
type Named struct {
	Kind string
	ID   string // empty: the whole of the kind
	In   string // the provider's environment that the call names; empty: none, so wherever the resource lives
	New  bool   // it does not exist yet
	At   string // the argument, for messages: "input.volumeId"
}

// Send is the request as it goes out.
type Send struct {
	Method      string
	Path        string // escaped
	Query       url.Values
	ContentType string
	Body        []byte
	Raw         bool // the body is the caller's, passed on as it is
}
