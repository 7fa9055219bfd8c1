// Package packs is the table of providers that the gateway knows. It owns nothing else: each child knows
// one provider.
package packs

import (
	"fmt"

	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/packs/github"
	"github.com/hourkey/hourkey/issuers/gateway/packs/railway"
	"github.com/hourkey/hourkey/issuers/gateway/packs/supabase"
)

// Names lists the providers that have a pack, sorted.
func Names() []string { return []string{"github", "railway", "supabase"} }

// Find gives the pack of a provider; known is false where there is none.
func Find(provider string) (pack gateway.Pack, known bool, err error) {
	switch provider {
	case "github":
		pack, err = github.New()
	case "railway":
		pack, err = railway.New()
	case "supabase":
		pack, err = supabase.New()
	default:
		return nil, false, nil
	}
	if err != nil {
		return nil, true, fmt.Errorf("reading the pack of %s: %w", provider, err)
	}
	return pack, true, nil
}
