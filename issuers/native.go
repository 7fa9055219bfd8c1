package issuers

import (
	"errors"

	"go.yaml.in/yaml/v3"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/aws"
	"github.com/hourkey/hourkey/issuers/kubernetes"
	"github.com/hourkey/hourkey/issuers/vault"
	"github.com/hourkey/hourkey/issuers/vault/session"
)

func openAWS(config Config, ref broker.TargetRef, node *yaml.Node) (targetIssuer, any, error) {
	var settings aws.Settings
	if err := config.decode(node, &settings); err != nil {
		return nil, nil, err
	}
	accessKey, err := config.resolve("access_key", settings.AccessKey)
	if err != nil {
		return nil, nil, err
	}
	secretKey, err := config.resolve("secret_key", settings.SecretKey)
	if err != nil {
		return nil, nil, err
	}
	issuer, err := aws.New(aws.Config{
		Ref: ref, Settings: settings, AccessKey: accessKey, SecretKey: secretKey, Now: config.Now, Failpoint: config.Failpoint,
	})
	if err != nil {
		return nil, nil, err // not issuer: a nil pointer in an interface is not nil
	}
	return issuer, settings, nil
}

func openKubernetes(config Config, ref broker.TargetRef, node *yaml.Node) (targetIssuer, any, error) {
	var settings kubernetes.Settings
	if err := config.decode(node, &settings); err != nil {
		return nil, nil, err
	}
	issuer, err := kubernetes.New(kubernetes.Config{
		Ref: ref, Settings: settings, Resolve: config.resolve, Now: config.Now, Failpoint: config.Failpoint,
	})
	if err != nil {
		return nil, nil, err
	}
	return issuer, settings, nil
}

func openVault(config Config, ref broker.TargetRef, node *yaml.Node) (targetIssuer, any, error) {
	var settings vault.Settings
	if err := config.decode(node, &settings); err != nil {
		return nil, nil, err
	}
	issuer, err := vault.New(vault.Config{
		Ref: ref, Settings: settings, Resolve: config.resolve, Now: config.Now, Failpoint: config.Failpoint,
	})
	if err != nil {
		return nil, nil, err
	}
	return issuer, settings, nil
}

// VaultSession makes the broker's own login at a Vault, beside all targets: for the secrets of its configuration, and its
// key-encryption key. node is the body of `vault:` in config.File; of config, File, Now and Resolve are used. It calls nobody.
// Errors are CodeInvalid with file and line, and hold no secret.
func VaultSession(config Config, node *yaml.Node) (*session.Session, error) {
	var settings session.Settings
	if err := config.decode(node, &settings); err != nil {
		return nil, err
	}
	opened, err := session.New(session.Config{Settings: settings, Resolve: config.resolve, Now: config.Now})
	if known, ours := errors.AsType[*broker.Error](err); ours {
		placed := *known
		placed.Message = config.where(at(node, known.Field)) + known.Message
		return nil, &placed
	}
	return opened, err
}
