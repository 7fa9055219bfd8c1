package vault

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/hourkey/hourkey/broker"
)

// pkiEngine gives out X.509 certificates with their keys.
type pkiEngine struct{}

func (pkiEngine) traits() traits {
	return traits{
		mounted: "pki", leases: true, early: true, floor: 30 * time.Second,
		ends: "At the TTL by the certificate's own expiry, whether or not a broker runs. Earlier it is put on Vault's revocation list at once: " +
			"a server that does not read the list accepts it until its expiry.",
	}
}

func (pkiEngine) paths(s Settings) []string { return rolePaths(s) }

func (pkiEngine) judge(i *Issuer, read papers, offer Offer) (offered, error) {
	data, err := read.at(rolePath(i.config.Settings, offer))
	if err != nil {
		return offered{}, i.fault("reading the role "+offer.Role, err)
	}
	if leases, _ := data["generate_lease"].(bool); !leases {
		return offered{}, broker.Errorf(broker.CodeWall, "%s: role %s makes certificates without a lease: nothing would revoke them", i.config.Ref, offer.Role).
			WithNext("set generate_lease=true on the role")
	}
	found := i.believe(offer, data, 0,
		broker.WallFact{Stops: "use after the end", Wall: broker.WallNative, How: "the certificate expires, by the clock of whoever checks it"},
		broker.WallFact{Stops: "use after a revoke, before the end", Wall: broker.WallWeak, How: "only a server that reads Vault's revocation list (or asks its OCSP) refuses it"})
	found.native = append(found.native, "common name "+offer.CommonName)
	found.longest = seconds(data["max_ttl"])
	return found, nil
}

func (pkiEngine) path(s Settings, offer Offer) string { return s.Mount + "/issue/" + offer.Role }

func (pkiEngine) ask(_ Settings, offer Offer, _ broker.Order, left int64) (request, error) {
	return request{data: map[string]any{"common_name": offer.CommonName, "ttl": fmt.Sprintf("%ds", left), "format": "pem"}}, nil
}

func (pkiEngine) values(_ Settings, got issued) (credentialValues, error) {
	named, err := taken(got, map[string]string{"certificate": "TLS_CERTIFICATE", "private_key": "TLS_PRIVATE_KEY", "issuing_ca": "TLS_CA"})
	if err != nil {
		return named, err
	}
	block, _ := pem.Decode([]byte(named.values["TLS_CERTIFICATE"].Reveal()))
	if block == nil {
		return named, errors.New("the answer holds no certificate")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return named, errors.New("the certificate cannot be read")
	}
	named.ends = leaf.NotAfter.UTC()
	return named, notJust(leaf, got.offer.CommonName)
}

// notJust refuses a certificate that is for more than the one name: the role's own settings could put that in.
func notJust(leaf *x509.Certificate, name string) error {
	others := slices.ContainsFunc(slices.Concat(leaf.DNSNames, leaf.EmailAddresses), func(one string) bool { return one != name })
	switch {
	case leaf.IsCA || leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return errors.New("the certificate could sign others")
	case leaf.Subject.CommonName != name || others || len(leaf.IPAddresses)+len(leaf.URIs) > 0:
		return errors.New("the certificate is for other names than the one that was asked for")
	}
	return nil
}

// sshEngine signs a key that is made for the lease. Nothing of it is kept at Vault, so nothing can be ended there.
type sshEngine struct{}

func (sshEngine) traits() traits {
	return traits{
		mounted: "ssh", leases: false, early: false, floor: 30 * time.Second,
		ends: "At the TTL by the certificate's own expiry, whether or not a broker runs; nothing ends it earlier. A session that is open then goes on, until the server or the client closes it.",
	}
}

func (sshEngine) paths(s Settings) []string { return rolePaths(s) }

func (sshEngine) judge(i *Issuer, read papers, offer Offer) (offered, error) {
	data, err := read.at(rolePath(i.config.Settings, offer))
	if err != nil {
		return offered{}, i.fault("reading the role "+offer.Role, err)
	}
	kind, _ := data["key_type"].(string)
	if users, _ := data["allow_user_certificates"].(bool); kind != "ca" || !users {
		return offered{}, broker.Errorf(broker.CodeWall, "%s: role %s does not sign certificates of users", i.config.Ref, offer.Role).
			WithNext("make it with key_type=ca allow_user_certificates=true")
	}
	found := i.believe(offer, data, 0,
		broker.WallFact{Stops: "login after the end", Wall: broker.WallNative, How: "the certificate expires, by the clock of the server"},
		broker.WallFact{Stops: "an open session after the end", Wall: broker.WallNone, How: "nobody closes it"},
		broker.WallFact{Stops: "login after a revoke, before the end", Wall: broker.WallNone, How: "a certificate cannot be taken back"})
	found.native = append(found.native, "principal "+offer.Principal)
	found.longest = seconds(data["max_ttl"])
	return found, nil
}

func (sshEngine) path(s Settings, offer Offer) string { return s.Mount + "/sign/" + offer.Role }

// ask makes a key and asks for its signature. The private half never leaves for Vault.
func (sshEngine) ask(_ Settings, offer Offer, order broker.Order, left int64) (request, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return request{}, fmt.Errorf("making a key: %w", err)
	}
	shown, err := ssh.NewPublicKey(public)
	if err != nil {
		return request{}, fmt.Errorf("writing the public key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, order.Name)
	if err != nil {
		return request{}, fmt.Errorf("writing the key: %w", err)
	}
	return request{
		key: broker.NewSecret(string(pem.EncodeToMemory(block))),
		data: map[string]any{
			"public_key": string(ssh.MarshalAuthorizedKey(shown)), "valid_principals": offer.Principal, "cert_type": "user", "ttl": fmt.Sprintf("%ds", left),
		},
	}, nil
}

func (sshEngine) values(_ Settings, got issued) (credentialValues, error) {
	named, err := taken(got, map[string]string{"signed_key": "SSH_CERTIFICATE"})
	if err != nil {
		return named, err
	}
	parsed, _, _, _, err := ssh.ParseAuthorizedKey([]byte(named.values["SSH_CERTIFICATE"].Reveal()))
	if err != nil {
		return named, errors.New("the answer holds no certificate")
	}
	certificate, ok := parsed.(*ssh.Certificate)
	if !ok || certificate.CertType != ssh.UserCert || certificate.ValidBefore > math.MaxInt64 || len(certificate.ValidPrincipals) != 1 || certificate.ValidPrincipals[0] != got.offer.Principal {
		return named, errors.New("the certificate is not a user's, has no end, or not the one principal that was asked for")
	}
	named.ends = time.Unix(int64(certificate.ValidBefore), 0).UTC()
	named.values["SSH_PRIVATE_KEY"], named.values["SSH_USER"] = got.key, broker.NewSecret(got.offer.Principal)
	return named, nil
}
