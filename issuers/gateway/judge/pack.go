package judge

// Pack is what is known of one provider: rows for every operation of its published description, and for
// GraphQL the schema and the types.
type Pack struct {
	Provider string
	File     string            // where it was read from, for messages
	Rows     map[string]*Row   // by Operation
	Types    map[string]*Type  // by Name; GraphQL
	Fields   map[string]*Field // by Name; GraphQL
}
