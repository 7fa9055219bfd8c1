package broker

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Narrowing makes a request smaller: it says what remains of the items that it names.
type Narrowing struct {
	Items []NarrowedItem
	TTL   time.Duration // 0: unchanged
}

// NarrowedItem is what remains of one item; no scopes leaves the item out.
type NarrowedItem struct {
	Environment, Target string
	Scopes              []Scope
}

// narrow applies what a reviewer leaves of a request, described anew, to the statement.
func (b *Broker) narrow(ctx context.Context, request *Request, s *Statement, narrowing *Narrowing) ([]Item, error) {
	shown := *request
	if narrowing == nil {
		return shown.Effective(), nil
	}
	if request.Operation != nil {
		return nil, Errorf(CodeInvalid, "one operation is approved whole or not at all").WithNext("deny it instead")
	}
	ttl := request.EffectiveTTL()
	if narrowing.TTL < 0 || narrowing.TTL > ttl || narrowing.TTL%time.Second != 0 {
		return nil, Errorf(CodeInvalid, "ttl %s: a reviewer may only shorten %s", narrowing.TTL, ttl).WithField("ttl")
	}
	if narrowing.TTL > 0 {
		ttl = narrowing.TTL
	}
	for _, n := range narrowing.Items {
		if !slices.ContainsFunc(request.Effective(), func(i Item) bool { return i.Environment == n.Environment && i.Target == n.Target }) {
			return nil, Errorf(CodeInvalid, "the request has no item %s/%s", clip(n.Environment), clip(n.Target)).WithField("items")
		}
	}
	var items []Item
	for _, item := range request.Effective() {
		scopes := item.Description.Scopes
		if at := slices.IndexFunc(narrowing.Items, func(n NarrowedItem) bool {
			return n.Environment == item.Environment && n.Target == item.Target
		}); at >= 0 {
			scopes = Normalize(narrowing.Items[at].Scopes)
		}
		if len(scopes) == 0 {
			continue
		}
		if !Covers(item.Description.Scopes, scopes) {
			return nil, Errorf(CodeInvalid, "%s: a reviewer may narrow, never widen (invariant 5)", strings.Join(Texts(scopes), " ")).WithField("scopes")
		}
		description, err := b.describe(ctx, b.Configuration(), item, scopes, min(ttl, item.Description.TTL))
		if err != nil {
			return nil, err
		}
		if err := description.reachesOnly(item.environments(), item.Environment, item.Target); err != nil {
			return nil, err
		}
		if !Covers(item.Description.Scopes, description.Scopes) || !Covers(item.Description.Means(), description.Means()) {
			return nil, Errorf(CodeDenied, "%s/%s cannot give less than what it gives now", item.Environment, item.Target)
		}
		item.Facts, description.Facts = description.Facts, nil
		item.Description = description
		items = append(items, item)
	}
	if len(items) == 0 {
		return nil, Errorf(CodeInvalid, "nothing would be left").WithNext("deny the request instead")
	}
	request.narrowTo(items, ttl)
	s.setGranted(*request)
	return items, nil
}
