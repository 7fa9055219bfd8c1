package jwt

import (
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hourkey/hourkey/broker"
)

// DetailType is the type of our authorization details (RFC 9396 section 2). In one of them, actions
// are our actions and identifier is a resource: a name, or a prefix that ends in "*".
const DetailType = "hourkey"

// Claims are a token's claims: those that RFC 9068 section 2.2 requires, and
//
//	sub, client_id         the agent
//	jti                    the lease's name, hk-<installation>-<lease>
//	owner, task            the human on whose behalf the agent acts, and its named work
//	scope                  resource:action for each pair, between spaces: "orders/*:read orders/*:write"
//	authorization_details  the same as RFC 9396 objects
//
// The agent is the subject, and never the owner: a service that gives rights by sub must not take the
// agent for the human. RFC 8693's act is not used, because beside this sub it would say that the owner
// acts for the agent.
type Claims struct {
	jwt.RegisteredClaims
	ClientID string   `json:"client_id"`
	Owner    string   `json:"owner"`
	Task     string   `json:"task"`
	Scope    string   `json:"scope"`
	Details  []Detail `json:"authorization_details"`
}

// Detail is one authorization detail (RFC 9396 section 2.2).
type Detail struct {
	Type       string   `json:"type"`
	Actions    []string `json:"actions"`
	Identifier string   `json:"identifier"`
}

// scopeClaim writes scopes as RFC 6749 section 3.3 wants them. The last colon of each splits it.
func scopeClaim(scopes []broker.Scope) string {
	var tokens []string
	for _, s := range scopes {
		for _, action := range s.Actions.Names() {
			tokens = append(tokens, string(s.Resource)+":"+action)
		}
	}
	return strings.Join(tokens, " ")
}

func details(scopes []broker.Scope) []Detail {
	all := make([]Detail, len(scopes))
	for i, s := range scopes {
		all[i] = Detail{Type: DetailType, Actions: s.Actions.Names(), Identifier: string(s.Resource)}
	}
	return all
}
