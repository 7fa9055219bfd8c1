package daemon

import (
	"errors"
	"fmt"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/web/authn"
	"github.com/hourkey/hourkey/web/notify"
)

// People resolves and checks what hourkey.yaml says of single sign-on and of notifications; it calls nobody.
// settings is nil when there is no single sign-on.
func People(server config.Server, secrets config.Secrets) (settings *authn.SignOnSettings, channels []notify.Channel, err error) {
	if settings, err = signOnSettings(server.SingleSignOn, secrets); err != nil {
		return nil, nil, err
	}
	channels, err = notifyChannels(server.Notify, secrets)
	return settings, channels, err
}

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

func notifyChannels(list config.Notify, secrets config.Secrets) ([]notify.Channel, error) {
	var channels []notify.Channel
	for _, c := range list {
		secret, err := c.Resolve(secrets)
		if err != nil {
			return nil, err
		}
		channel := notify.Channel{
			Name: c.Name, Kind: notify.Kind(c.Kind), URL: secret.URL, Token: secret.Token, Secret: secret.Secret,
			Server: c.Server, From: c.From, User: c.User, Password: secret.Password, To: c.To, Environments: c.Environments,
		}
		for _, about := range c.About {
			channel.About = append(channel.About, notify.About(about))
		}
		if err := channel.Validate(); err != nil {
			return nil, named(c.Where+": notify."+c.Name, err)
		}
		channels = append(channels, channel)
	}
	return channels, nil
}

// named says of which setting an error is.
func named(setting string, err error) error {
	e, ours := errors.AsType[*broker.Error](err)
	if !ours {
		return fmt.Errorf("%s: %w", setting, err)
	}
	told := *e
	told.Message = setting + ": " + e.Message
	return &told
}
