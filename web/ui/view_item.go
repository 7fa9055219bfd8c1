package ui

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hourkey/hourkey/broker"
)

// Item is one target of the request.
type Item struct {
	Target, Identity string
	Environment      Environment
	Scopes           []ScopeList
	Facts            []Fact   // of things that stand in no list
	Reaches          []string // environments beside its own
	Elsewhere        []string // what lives there too, in sentences
	Title            string   // above what is issued or called
	Native           []string
	Length           string // how much there is to read of it, when that is a lot
	Walls            []Wall
	Exceptions       []broker.Exception
	TTL, Ends        string
	Once             bool // it is one call
}

// ScopeList is what an item reaches, in one degree of danger.
type ScopeList struct {
	Title  string
	Scopes []Scope
}

// Scope is one line of what an item reaches.
type Scope struct {
	Actions  []Action
	Resource string
	Prefix   bool
	Facts    []Fact
}

// Fact is a size or count and when it was taken. About is empty where it stands below its thing.
type Fact struct{ About, Text, When string }

// Wall is one wall of an item, in words.
type Wall struct {
	Wall broker.Wall
	Says string // what it does, and with what: "stops another environment"
	How  string
}

func itemOf(r broker.Request, item broker.Item, c Context) Item {
	d, ttl := item.Description, r.EffectiveTTL()
	view := Item{
		Target: item.Target, Environment: Environment{Name: item.Environment, Protected: protected(item.Environment, c.Configuration)},
		Identity: identityOf(d.Identity, c.Pins), Reaches: foreign(d.Reaches, []string{item.Environment}), Elsewhere: d.Elsewhere,
		Title: exactly(r), Native: d.Native, Length: length(d.Native), Walls: walls(d.Walls), Exceptions: d.Exceptions, TTL: span(min(ttl, d.TTL)), Ends: d.Ends, Once: r.Operation != nil,
	}
	if ttl == 0 {
		view.TTL = span(d.TTL)
	}
	if !view.Once { // then it goes on in the middle of a sentence
		view.Ends = said(view.Ends)
	}
	facts := append(slices.Clone(item.Facts), given(d)...)
	view.Scopes, facts = scopeLists(d.Means(), r, facts, c.Now)
	for _, fact := range facts {
		view.Facts = append(view.Facts, Fact{fact.About, fact.Text, seen(fact, c.Now)})
	}
	return view
}

// exactly is the title of the provider's own words, by what has become of them.
func exactly(r broker.Request) string {
	done := "issued"
	if r.Operation != nil {
		done = "called"
	}
	switch r.State {
	case broker.RequestPending, broker.RequestApproved:
		return "Exactly what would be " + done
	case broker.RequestCollected:
		return "Exactly what was " + done
	case broker.RequestDenied, broker.RequestExpired, broker.RequestCancelled:
	}
	return "Exactly what would have been " + done
}

// given says of each thing why more is counted there than would be issued: a wall is known to let it through.
func given(d broker.Description) (facts []broker.Fact) {
	for _, wall := range d.Walls {
		for _, scope := range wall.Gives {
			beyond := scope.Actions &^ broker.AllActions(d.Scopes)
			if beyond == 0 {
				continue
			}
			facts = append(facts, broker.Fact{About: string(scope.Resource), Text: strings.Join(beyond.Names(), " and ") + " counts too: " + stops(wall) + " (" + wall.How + ")"})
		}
	}
	return facts
}

// seen is when a fact was taken, empty for what is always so.
func seen(fact broker.Fact, now time.Time) string {
	if fact.At.IsZero() {
		return ""
	}
	return ago(fact.At, now)
}

// scopeLists has every scope once, in the list of the worst that it allows, with the facts about it. It
// also gives the facts that are about none of them.
func scopeLists(scopes []broker.Scope, r broker.Request, facts []broker.Fact, now time.Time) ([]ScopeList, []broker.Fact) {
	lists := []ScopeList{{Title: "What gives it more power"}, {Title: "What can be destroyed"}, {Title: "What else it can do"}}
	for _, scope := range scopes {
		at := 2
		switch {
		case scope.Actions.Has(broker.Delete):
			at = 1
		case scope.Actions.Has(broker.Admin):
			at = 0
		}
		line := Scope{Actions: actionsOf(scope.Actions), Resource: r.Called(scope.Resource), Prefix: scope.Resource.IsPrefix() && scope.Resource.Stem() != ""}
		facts = slices.DeleteFunc(facts, func(f broker.Fact) bool {
			about := isAbout(f, scope.Resource, r.Operation)
			if about {
				line.Facts = append(line.Facts, Fact{Text: f.Text, When: seen(f, now)})
			}
			return about
		})
		lists[at].Scopes = append(lists[at].Scopes, line)
	}
	lists = slices.DeleteFunc(lists, func(l ScopeList) bool { return len(l.Scopes) == 0 })
	if len(lists) == 1 && !scopes[0].Actions.NeedsHuman() {
		lists[0].Title = "What it can do"
	}
	return lists, facts
}

// isAbout tells whether a fact names exactly this resource, by its id or by what people call it.
func isAbout(f broker.Fact, resource broker.Resource, operation *broker.Operation) bool {
	return f.About == string(resource) || operation != nil && f.About == string(operation.Names[resource])
}

// identityOf gives the words that an operator confirmed for this identity, and the identity itself.
func identityOf(id string, pins []broker.Pin) string {
	for _, pin := range pins {
		if pin.Identity.ID == id && pin.Identity.Shown != "" && pin.Identity.Shown != id {
			return pin.Identity.Shown + " (" + id + ")"
		}
	}
	return id
}

// length says how long a policy or an operation is that nobody reads at a glance.
func length(native []string) string {
	const short = 4000 // characters: a few screens of a phone
	lines, characters := 0, 0
	for _, line := range native {
		lines += 1 + strings.Count(line, "\n")
		characters += utf8.RuneCountInString(line)
	}
	if characters <= short {
		return ""
	}
	return fmt.Sprintf("It is long: %s characters in %s. All of it stands here.", grouped(characters), count(lines, "line"))
}

// walls puts first what a reviewer must know: what is not held.
func walls(facts []broker.WallFact) []Wall {
	order := []broker.Wall{broker.WallNone, broker.WallWeak, broker.WallGateway, broker.WallNative}
	sorted := slices.Clone(facts)
	slices.SortStableFunc(sorted, func(a, b broker.WallFact) int { return slices.Index(order, a.Wall) - slices.Index(order, b.Wall) })
	views := make([]Wall, len(sorted))
	for i, fact := range sorted {
		views[i] = Wall{Wall: fact.Wall, Says: stops(fact), How: fact.How}
		if len(fact.Gives) > 0 {
			views[i].How += ": so this counts as " + strings.Join(broker.AllActions(fact.Gives).Names(), " and ")
		}
	}
	return views
}

// stops says what a wall does, as the middle of a sentence.
func stops(wall broker.WallFact) string {
	switch wall.Wall {
	case broker.WallNone:
		return "nothing stops " + wall.Stops
	case broker.WallWeak:
		return wall.Stops + " is stopped only in part"
	case broker.WallNative, broker.WallGateway:
	}
	return "stops " + wall.Stops
}

// outcome is how a deciding line is announced.
func outcome(o broker.Outcome) string {
	switch o {
	case broker.Allow:
		return "Allows:"
	case broker.Escalate:
		return "" // the title says so
	case broker.Deny:
	}
	return "Denies:"
}

// maxShown is how many bytes of names, policies and words a page shows. A person does not read a tenth of
// it; what is longer could break a phone's browser halfway, and half is not what may be signed.
const maxShown = 256 << 10

// Unshown says why a request cannot be shown whole, and so cannot be approved; empty for the usual one.
func Unshown(r broker.Request) string {
	size := len(r.Reason)
	for _, item := range r.Effective() {
		if len(item.Description.Scopes) == 0 {
			return "The broker does not say what would be issued at " + item.Target + "."
		}
		size += sizeOf(item)
	}
	for _, reason := range r.Decision.Reasons {
		size += len(reason.Where) + len(reason.Rule) + len(reason.Text)
	}
	if o := r.Operation; o != nil {
		if o.Text == "" {
			return "The broker does not say what would be called."
		}
		for _, name := range o.Names {
			size += len(name)
		}
	}
	if size > maxShown {
		return fmt.Sprintf("It has %s bytes; a page shows at most %s.", grouped(size), grouped(maxShown))
	}
	return ""
}

// sizeOf counts the bytes of all that a page shows of an item.
func sizeOf(item broker.Item) int {
	d := item.Description
	texts := slices.Concat(d.Native, d.Elsewhere, d.Reaches, broker.Texts(d.Means()), []string{d.Identity, d.Ends})
	for _, wall := range d.Walls {
		texts = append(texts, wall.Stops, wall.How)
	}
	for _, hole := range d.Exceptions {
		texts = append(texts, hole.Object, hole.Why)
	}
	for _, fact := range item.Facts {
		texts = append(texts, fact.About, fact.Text)
	}
	return len(strings.Join(texts, ""))
}
