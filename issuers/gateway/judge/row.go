package judge

// Row is what a pack says of one operation. The text form of a pack is a file of rows and types; a line
// that begins in column one opens an entry, indented lines belong to it, "#" begins a comment line, words
// are separated by blanks:
//
//	mutation serviceInstanceUpdate
//	    write   sets how one instance is built and run
//	    touch   service serviceId in environmentId
//	    when    input.numReplicas = 0       delete  stops every replica
//	    when    input.source given          admin   chooses whose code runs with the environment's secrets
//	    only    input.startCommand input.region input.numReplicas input.source   refused  a setting that no row speaks of yet
//
//	GET /repos/{owner}/{repo}/actions/secrets
//	    read    lists names, never values
//	    touch   repo owner/repo
//	    rule    reads-of-a-repo
//
// The first line of an operation is its class and why; the others are:
//
//	touch KIND PATH [in PATH]    the arguments name a resource; PATHs joined by "/" make one id of several.
//	                             "in" names the argument that says in which of the provider's environments; when that
//	                             argument is absent, every environment in which the resource lives is meant
//	touch KIND new PATH [in PATH]   the resource will be made, and be called so
//	touch KIND -                 the whole of a kind: there is no argument that names one
//	touch none                   public, or only about the call itself: nothing of anybody's
//	when PATH TEST CLASS WHY     the class is at least CLASS when the argument is so. TEST is one of
//	                             given, absent, null, empty, = JSON, != JSON, < NUMBER, > NUMBER
//	only PATH... CLASS WHY       of the arguments below the first segment of the PATHs these alone are known; anything
//	                             else that is given makes it CLASS
//	hide PATH...                 values that are secrets: what a reviewer reads and the log keeps shows that there is one
//	secret PATH...               in the answer of a REST operation: values masked unless the lease has admin
//	keep KIND LIST KEY           in the answer of a REST operation: of the list at LIST ("-": the answer itself) those
//	                             elements stay whose resource, named by KEY, is the lease's
//	raw                          REST: the body is no JSON and is passed on as it is, bounded
//	rule NAME                    the row was made by a rule, and by which
//
// The values that a condition compares are JSON. A number and a string that look the same are equal, because
// a server may read either as the other; what can be read in two ways meets both = and !=. A condition on a
// path that leads into a list is met when one element meets it. < and > do not look at an explicit null: write
// null or empty. An argument with a default in the schema is always given: what is sent has the default in it.
//
// A PATH is segments joined by dots. In GraphQL it begins with an argument's name; in REST with the name of
// a path parameter, "query" or "body"; a parameter that takes several segments of the path is written
// {name...} in the operation. Lists are walked through without a segment of their own; "*" is
// every key of an object, "**" any depth; "keys(PATH)" are the keys of the object at PATH.
//
// A GraphQL pack also says of every object type how an answer is kept to one environment:
//
//	type VolumeInstance   environment environmentId     of the environment whose id this field holds
//	type Project          project id                    of the project whose id this field holds
//	type PageInfo         open                          holds nothing that belongs anywhere
//	type ApiToken         admin  a token of the account  a document that selects from it is of this class
//	field Query.variables secret                        masked under read; admin sees it where it is a root field
//	field User.email      admin  WHY
type Row struct {
	Operation string // "mutation volumeDelete", "query project", "GET /repos/{owner}/{repo}"
	Class     Class
	Why       string
	Touches   []Touch
	When      []Condition
	Only      *Only
	Hide      []Path // arguments whose values are shown to nobody
	Secrets   []Path
	Keep      []Keep
	Raw       bool
	Rule      string // empty: written by hand
	Line      int    // in the pack's file
}

// Touch says which argument names a resource.
type Touch struct {
	Kind  string // "volume"; "" for `touch none`
	Paths []Path // joined by "/"; empty for "-"
	In    Path   // nil: not said
	New   bool
	Line  int
}

// Condition raises the class when an argument is so.
type Condition struct {
	Path  Path
	Test  Test
	Value string // JSON, for = != < >
	Class Class
	Why   string
	Line  int

	value any // Value, read
}

// Test is how a condition looks at an argument.
type Test string

// The tests. An explicit null is given; an absent argument is not; empty is "", [], {} and null.
const (
	Given  Test = "given"
	Absent Test = "absent"
	Null   Test = "null"
	Empty  Test = "empty"
	Equal  Test = "="
	Unlike Test = "!="
	Below  Test = "<"
	Above  Test = ">"
)

// Only lists the arguments that are known.
type Only struct {
	Paths []Path
	Class Class
	Why   string
	Line  int
}

// Keep filters a list in a REST answer.
type Keep struct {
	Kind string
	List Path // empty: the answer itself
	Key  Path
	Line int
}

// Type is how answers with objects of one GraphQL type are kept to the lease's environment.
type Type struct {
	Name  string
	Bound Bound
	Field string // for ByEnvironment and ByProject
	Class Class  // for ByClass
	Why   string
	Line  int
}

// Bound is what an object of a type belongs to.
type Bound string

// The bounds.
const (
	Open          Bound = "open"
	ByEnvironment Bound = "environment"
	ByProject     Bound = "project"
	ByClass       Bound = "class"
)

// Field is what is special about one field of one type.
type Field struct {
	Name   string // "Variable.value"
	Secret bool   // masked unless the lease has admin
	Class  Class  // "" when Secret
	Why    string
	Line   int
}
