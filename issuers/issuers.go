// Package issuers opens the targets that an environment's file names: it knows which kinds there are,
// reads the body of each strictly, and makes the issuer.
//
// It owns: the table kind → constructor (nothing registers itself), the decoding of a target's body, the
// resolving of its secret references. It does not know any provider: its children do. It trusts Config.Resolve to
// give a secret for a reference.
package issuers

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/aws"
	"github.com/hourkey/hourkey/issuers/gateway"
	"github.com/hourkey/hourkey/issuers/jwt"
	"github.com/hourkey/hourkey/issuers/kubernetes"
	"github.com/hourkey/hourkey/issuers/postgres"
	"github.com/hourkey/hourkey/issuers/vault"
)

// Config is what issuers are opened with. Failpoint may be nil.
type Config struct {
	// Resolve gives the secret for a reference like env:NAME, file:PATH or vault:PATH#FIELD. Some issuers ask again later,
	// from any goroutine: a token that was exchanged is read anew.
	Resolve func(reference string) (broker.Secret, error)
	// Signer gives the key that signs an environment's target tokens.
	Signer func(environment string) (ed25519.PrivateKey, error)
	// Issuer is the broker's own URL, the stem of each environment's token issuer.
	Issuer string
	// File is the file that the targets stand in, for errors: "environments/staging.yaml".
	File string
	Now  func() time.Time
	// Failpoint is called around each provider call, for crash tests (postgres.Failpoints and its like).
	Failpoint func(point string)
	// Authority certifies our end of tunnels, for the kinds behind the gateway.
	Authority *gateway.Authority
}

// opener makes the issuer of one kind from its body; settings, in JSON, tell one configuration from another.
type opener func(config Config, ref broker.TargetRef, node *yaml.Node) (issuer targetIssuer, settings any, err error)

type targetIssuer interface {
	broker.Issuer
	broker.Declarer
}

// openers is the table of kinds.
func openers() map[string]opener {
	return map[string]opener{
		aws.Kind:        openAWS,
		"github":        openGitHub,
		jwt.Kind:        openJWT,
		kubernetes.Kind: openKubernetes,
		postgres.Kind:   openPostgres,
		"railway":       openRailway,
		"supabase":      openSupabase,
		vault.Kind:      openVault,
	}
}

// Kinds lists the kinds of target, sorted.
func Kinds() []string { return slices.Sorted(maps.Keys(openers())) }

// Open makes the target of an environment from the body of its kind. It calls no provider. Errors are
// CodeInvalid with file and line, and hold no secret.
func Open(_ context.Context, config Config, ref broker.TargetRef, kind string, node *yaml.Node) (broker.Target, error) {
	open, known := openers()[kind]
	if !known {
		return broker.Target{}, config.refuse(node, "unknown kind of target %q%s: expected one of %s", kind, suggestion(kind, Kinds()), strings.Join(Kinds(), ", "))
	}
	issuer, settings, err := open(config, ref, node)
	if err != nil {
		return broker.Target{}, config.locate(node, ref, err)
	}
	return broker.Target{Binding: binding(kind, ref, settings), Issuer: issuer}, nil
}

func openPostgres(config Config, ref broker.TargetRef, node *yaml.Node) (targetIssuer, any, error) {
	var settings postgres.Settings
	if err := config.decode(node, &settings); err != nil {
		return nil, nil, err
	}
	dsn, err := config.resolve("dsn", settings.DSN)
	if err != nil {
		return nil, nil, err
	}
	issuer, err := postgres.New(postgres.Config{Ref: ref, Settings: settings, DSN: dsn, Now: config.Now, Failpoint: config.Failpoint})
	if err != nil {
		return nil, nil, err // not issuer: a nil pointer in an interface is not nil
	}
	return issuer, settings, nil
}

func openJWT(config Config, ref broker.TargetRef, node *yaml.Node) (targetIssuer, any, error) {
	var settings jwt.Settings
	if err := config.decode(node, &settings); err != nil {
		return nil, nil, err
	}
	issuer, err := jwt.New(jwt.Config{Ref: ref, Settings: settings, BaseURL: config.Issuer, Signer: config.Signer, Now: config.Now})
	if err != nil {
		return nil, nil, err
	}
	return issuer, settings, nil
}

var referencePattern = regexp.MustCompile(`^(env|file|vault):.`)

// resolve gives the secret that a field refers to. What is not a reference is perhaps the secret itself, so it is
// not repeated.
func (c Config) resolve(field, reference string) (broker.Secret, error) {
	if !referencePattern.MatchString(reference) {
		return broker.Secret{}, broker.Errorf(broker.CodeInvalid, "%s must be a reference to a secret, like env:NAME, file:PATH or vault:PATH#FIELD, not the secret itself", field).WithField(field)
	}
	if c.Resolve == nil {
		return broker.Secret{}, broker.Errorf(broker.CodeInternal, "%s: nothing resolves secrets here", field).WithField(field)
	}
	secret, err := c.Resolve(reference)
	if err != nil {
		return broker.Secret{}, broker.Errorf(broker.CodeInvalid, "%s: %s cannot be read", field, reference).WithField(field).Because(err)
	}
	if secret.IsZero() {
		return broker.Secret{}, broker.Errorf(broker.CodeInvalid, "%s: %s is empty", field, reference).WithField(field)
	}
	return secret, nil
}

// binding names a target's configuration without its secrets.
func binding(kind string, ref broker.TargetRef, settings any) string {
	text, err := json.Marshal([]any{kind, ref.Environment, ref.Target, settings})
	if err != nil {
		text = fmt.Appendf(nil, "%s %s %+v", kind, ref, settings) // settings are plain: this cannot happen, and would still be apart
	}
	sum := sha256.Sum256(text)
	return kind + ":" + base64.RawURLEncoding.EncodeToString(sum[:12])
}
