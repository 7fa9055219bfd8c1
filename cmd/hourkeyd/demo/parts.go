package demo

import (
	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/gateway/proxy"
)

// parts are what a test can take away. The shipped binary has only intact ones.
type parts struct {
	pack     func(gateway.Pack) gateway.Pack         // what an operation does
	provider func(gateway.Provider) gateway.Provider // what is where
	issuer   func(*gateway.Issuer) target            // what the agent gets
	calls    func(proxy.Broker) proxy.Broker         // who may call, and what passes
	verifier func(broker.Verifier) broker.Verifier   // who signed
}

// target is what an issuer behind the gateway must be.
type target interface {
	broker.Issuer
	broker.Declarer
	Pack() gateway.Pack
	Provider() gateway.Provider
}

func intact() parts {
	return parts{
		pack:     func(p gateway.Pack) gateway.Pack { return p },
		provider: func(p gateway.Provider) gateway.Provider { return p },
		issuer:   func(i *gateway.Issuer) target { return i },
		calls:    func(b proxy.Broker) proxy.Broker { return b },
		verifier: func(v broker.Verifier) broker.Verifier { return v },
	}
}
