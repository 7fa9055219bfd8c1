package issuers

import (
	"net/http"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/packs/github"
	"github.com/hourkey/hourkey/issuers/gateway/packs/railway"
	"github.com/hourkey/hourkey/issuers/gateway/packs/supabase"
	"github.com/hourkey/hourkey/issuers/gateway/proxy"
)

// lookUpWithin bounds one question to a provider about where things live.
const lookUpWithin = 15 * time.Second

// lookUps is the client of one target's questions. Its connections are the target's own, and close with it.
func lookUps() *http.Client {
	return &http.Client{Transport: proxy.NewTransport(), Timeout: lookUpWithin}
}

// behindGateway makes the issuer of a target that the gateway stands in front of.
func (c Config) behindGateway(ref broker.TargetRef, pack gateway.Pack, provider gateway.Provider, client *http.Client) (targetIssuer, error) {
	issuer, err := gateway.New(gateway.Config{Ref: ref, Pack: pack, Provider: provider, Authority: c.Authority, Now: c.Now, Close: client.CloseIdleConnections})
	if err != nil {
		return nil, err // not issuer: a nil pointer in an interface is not nil
	}
	return issuer, nil
}

func openRailway(config Config, ref broker.TargetRef, node *yaml.Node) (targetIssuer, any, error) {
	var settings railway.Settings
	if err := config.decode(node, &settings); err != nil {
		return nil, nil, err
	}
	token, err := config.resolve("token", settings.Token)
	if err != nil {
		return nil, nil, err
	}
	pack, err := railway.New()
	if err != nil {
		return nil, nil, err
	}
	client := lookUps()
	provider, err := railway.Open(railway.Config{Settings: settings, Token: token, Client: client, Now: config.Now, Pack: pack})
	if err != nil {
		return nil, nil, err
	}
	issuer, err := config.behindGateway(ref, pack, provider, client)
	return issuer, settings, err
}

func openGitHub(config Config, ref broker.TargetRef, node *yaml.Node) (targetIssuer, any, error) {
	var settings github.Settings
	if err := config.decode(node, &settings); err != nil {
		return nil, nil, err
	}
	token, err := config.resolve("token", settings.Token)
	if err != nil {
		return nil, nil, err
	}
	pack, err := settings.Pack()
	if err != nil {
		return nil, nil, err
	}
	client := lookUps()
	provider, err := github.Open(github.Config{Settings: settings, Token: token, Client: client, Now: config.Now})
	if err != nil {
		return nil, nil, err
	}
	issuer, err := config.behindGateway(ref, pack, provider, client)
	return issuer, settings, err
}

func openSupabase(config Config, ref broker.TargetRef, node *yaml.Node) (targetIssuer, any, error) {
	var settings supabase.Settings
	if err := config.decode(node, &settings); err != nil {
		return nil, nil, err
	}
	token, err := config.resolve("token", settings.Token)
	if err != nil {
		return nil, nil, err
	}
	pack, err := supabase.New()
	if err != nil {
		return nil, nil, err
	}
	client := lookUps()
	provider, err := supabase.Open(supabase.Config{Settings: settings, Token: token, Client: client, Now: config.Now})
	if err != nil {
		return nil, nil, err
	}
	issuer, err := config.behindGateway(ref, pack, provider, client)
	return issuer, settings, err
}
