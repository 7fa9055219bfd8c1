package gateway

import (
	"context"
	"net/http"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// Pack is what is known of a provider without asking it: pure and offline. Implementations are immutable.
type Pack interface {
	Name() string    // "railway": also the kind of its targets
	Hosts() []string // names of the hosts that the provider's API is reached at, https; the first is the main one
	// Judge says what a call would do. Lenient is for `hourkeyd classify`: arguments may be missing.
	Judge(call judge.Call, lenient bool) judge.Verdict
	Rows() *judge.Pack
	Kinds() []string // of the resources that scopes name: "service" of "service/web"
	// Variables are what a child of `hourkey exec` gets: tools want to see a token and, where they take
	// one, a base URL. placeholder is worth nothing at the provider, base is the forwarder's.
	Variables(base, placeholder string) map[string]string
	// Refuse writes a refusal in the provider's own shape of errors, for a call of this kind.
	Refuse(call judge.Call, status int, problem Problem) (contentType string, body []byte)
}

// Problem is a refusal as the caller reads it.
type Problem struct {
	Code    string // broker.Code
	Message string // one line: what, why, where to look, the request's id
	Request string // id of the request that waits for a human, if any
	URL     string // where that human decides
}

// Provider asks one provider, with the real token, about one target.
type Provider interface {
	// Identify tells project and environment; a target's pinned identity.
	Identify(ctx context.Context) (broker.Identity, error)
	// Resolve tells for each of named, in their order, what it is and where it lives. What is not found
	// is an error of CodeDenied that names the argument. fresh: nothing remembered is used.
	Resolve(ctx context.Context, named []judge.Named, fresh bool) ([]Found, error)
	// Inventory tells what is in the environment, for reviewers.
	Inventory(ctx context.Context) ([]broker.Fact, error)
	// Sight is what answers are kept to.
	Sight() judge.Sight
	// Attach puts the real credential into the header of a request that goes out.
	Attach(header http.Header)
	// Base is where requests go: scheme and host.
	Base() string
}

// Found is a resource as the provider knows it.
type Found struct {
	// Names are how scopes may call it, the surest first: "volume/3d2c42fb-…", then "volume/shop-data".
	Names  []broker.Resource
	Places []broker.Place // where it lives; empty: nowhere, it is public
	Says   string         // one sentence for the reviewer: what it is, what goes with it
	Facts  []broker.Fact  // sizes and counts
}
