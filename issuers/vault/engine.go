package vault

import (
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/hourkey/hourkey/broker"
)

// The engines, as a target's file names them.
const (
	engineDatabase   = "database"
	engineKV         = "kv"
	engineKV1        = "kv1"
	engineAWS        = "aws"
	engineAWSSTS     = "aws-sts"
	engineKubernetes = "kubernetes"
	enginePKI        = "pki"
	engineSSH        = "ssh"
	engineOther      = "other"
)

// engine is what differs from one secrets engine to another.
type engine interface {
	traits() traits
	// paths lists what must be read of Vault to judge the target's offers.
	paths(s Settings) []string
	// judge says what an offer hands out, from what was read. It calls nobody.
	judge(i *Issuer, read papers, offer Offer) (offered, error)
	// path is where the lease's token asks for the credential; empty where the token is the credential.
	path(s Settings, offer Offer) string
	// ask makes the request; left is the lease's time in seconds.
	ask(s Settings, offer Offer, order broker.Order, left int64) (request, error)
	// values names what was handed out, for the environment of a child.
	values(s Settings, got issued) (credentialValues, error)
}

// traits are an engine's promises.
type traits struct {
	mounted string        // the type of the mount, as Vault calls it; empty: any
	leases  bool          // what it hands out must have a lease, which is ended with the lease's token
	early   bool          // the credential can be ended before its TTL
	floor   time.Duration // the shortest life that it can give
	ends    string
}

// ttlFloor leaves some seconds to use what is counted in whole seconds, rounded down.
const ttlFloor = 5 * time.Second

// engines is the table.
func engines() map[string]engine {
	return map[string]engine{
		engineDatabase:   databaseEngine{},
		engineKV:         kvEngine{versioned: true},
		engineKV1:        kvEngine{},
		engineAWS:        awsEngine{},
		engineAWSSTS:     awsEngine{sts: true},
		engineKubernetes: kubernetesEngine{},
		enginePKI:        pkiEngine{},
		engineSSH:        sshEngine{},
		engineOther:      otherEngine{},
	}
}

// Engines lists the engines that a target may name, sorted.
func Engines() []string { return slices.Sorted(maps.Keys(engines())) }

// offered is an offer with what Vault says of it.
type offered struct {
	Offer
	native     []string
	reach      []broker.Scope            // all that the credential can do, or could
	gives      func(w broker.Scope) bool // what can be relied on
	walls      []broker.WallFact
	exceptions []broker.Exception
	longest    time.Duration     // of the credential, by its role; 0: no bound
	mends      map[string]string // what a wall stops → what makes it stronger
}

// request is what the lease's token sends to the engine.
type request struct {
	data map[string]any // nil: the path is read
	key  broker.Secret  // a private key that was made for it, and never leaves for Vault
}

// issued is what came of an order.
type issued struct {
	token  broker.Secret // the lease's own
	answer *api.Secret   // of the engine; nil for kv
	key    broker.Secret
	offer  Offer
	native []string // as it was approved
}

// credentialValues are the variables of a credential.
type credentialValues struct {
	values map[string]broker.Secret
	ends   time.Time // by the credential's own word; zero if it has none beside its lease
}

// declared makes the judgement of an offer whose powers stand in the environment's file: what is declared, and never less
// than what is plain to see.
func declared(target string, offer Offer, plain broker.Actions) (reach []broker.Scope, gives func(broker.Scope) bool, exceptions []broker.Exception) {
	var said []broker.Scope
	for _, text := range offer.Scopes {
		scope, err := broker.ParseScope(target + ":" + text)
		if err != nil {
			continue // New has refused it
		}
		said = append(said, scope)
		scope.Actions |= plain
		reach = append(reach, scope)
	}
	gives = func(wish broker.Scope) bool { return broker.Covers(said, []broker.Scope{wish}) }
	if len(offer.Scopes) > 0 {
		exceptions = []broker.Exception{{Object: "role " + offer.Role, Why: offer.Why}}
	}
	return broker.Normalize(reach), gives, exceptions
}

// believed is the wall of what is declared.
func believed(offer Offer) broker.WallFact {
	return broker.WallFact{Stops: "actions that are not declared", Wall: broker.WallWeak, How: "Hourkey cannot read out of Vault what role " + offer.Role + " may do there: the environment's file says so, because " + offer.Why}
}
