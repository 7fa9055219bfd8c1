package daemon

import (
	"errors"
	"fmt"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/web/authn"
)

// signOnSettings resolves what `sso:` says; nil when there is no single sign-on.
func signOnSettings(s *config.SingleSignOn, secrets config.Secrets) (*authn.SignOnSettings, error) {
	if s == nil {
		return nil, nil
	}
	secret, err := secrets.Resolve(s.ClientSecret)
	if err != nil {
		return nil, named("sso.client_secret", err)
	}
	return &authn.SignOnSettings{
		Issuer: s.Issuer, ClientID: s.ClientID, ClientSecret: secret, Domains: s.Domains, Groups: s.Groups,
		NameClaim: s.NameClaim, GroupsClaim: s.GroupsClaim, NoAuthTime: !s.AuthTime,
	}, nil
}

// named says of which setting an error about its secret is.
func named(setting string, err error) error {
	e, ours := errors.AsType[*broker.Error](err)
	if !ours {
		return fmt.Errorf("%s: %w", setting, err)
	}
	told := *e
	told.Message, told.Field = setting+": "+e.Message, setting
	return &told
}
