package vault

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/hourkey/hourkey/broker"
)

// sshEngine signs a key that is made for the lease. Nothing of it is kept at Vault, so nothing can be ended there. What holds the
// login is in ssh_wall.go.
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
	signs, err := i.authority(read)
	if err != nil {
		return offered{}, err
	}
	kind, _ := data["key_type"].(string)
	if users, _ := data["allow_user_certificates"].(bool); kind != "ca" || !users {
		return offered{}, broker.Errorf(broker.CodeWall, "%s: role %s does not sign certificates of users", i.config.Ref, offer.Role).
			WithNext("make it with key_type=ca allow_user_certificates=true")
	}
	users, _ := data["allowed_users"].(string)
	if list := strings.Split(strings.ReplaceAll(users, " ", ""), ","); !slices.Contains(list, offer.Principal) && users != "*" {
		return offered{}, broker.Errorf(broker.CodeWall, "%s: role %s does not sign for the principal %s", i.config.Ref, offer.Role, offer.Principal).
			WithNext("set allowed_users=%s on the role, or correct principal", offer.Principal)
	}
	options, extensions := pairs(data[criticalOptions]), pairs(data[defaultExtensions])
	found := i.believe(offer, data, plainSSH(extensions))
	i.sshWalls(options, extensions, &found)
	found.native = append(found.native, "principal "+offer.Principal, "authority "+signs)
	found.longest = lowest(seconds(data["max_ttl"]), read.mount.longest)
	return found, nil
}

// The fields of a role that go into each certificate, unless the request has its own: ours has none.
const (
	criticalOptions   = "default_critical_options"
	defaultExtensions = "default_extensions"
)

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
	if err := asDescribed(certificate, got.native); err != nil {
		return named, err
	}
	named.ends = time.Unix(int64(certificate.ValidBefore), 0).UTC()
	named.values["SSH_PRIVATE_KEY"], named.values["SSH_USER"] = got.key, broker.NewSecret(got.offer.Principal)
	return named, nil
}

// asDescribed refuses a certificate of another authority, with another forced command, or with more extensions than was approved.
func asDescribed(certificate *ssh.Certificate, native []string) error {
	options, extensions := approvedPairs(native, criticalOptions), approvedPairs(native, defaultExtensions)
	more := slices.ContainsFunc(slices.Collect(maps.Keys(certificate.Extensions)), func(name string) bool {
		value, approved := extensions[name]
		return !approved || value != certificate.Extensions[name]
	})
	switch {
	case !slices.Contains(native, "authority "+sshAuthorityID(certificate.SignatureKey)):
		return errors.New("the certificate is not of the authority that was described")
	case more || !maps.Equal(options, certificate.CriticalOptions):
		return errors.New("the certificate has other options or extensions than were described")
	}
	return nil
}

// approvedPairs reads a field of the role out of the native policy.
func approvedPairs(native []string, field string) map[string]string {
	found := map[string]string{}
	for _, line := range native {
		if text, ok := strings.CutPrefix(line, field+" = "); ok && json.Unmarshal([]byte(text), &found) != nil {
			return nil
		}
	}
	return found
}

// pairs reads a field of names and texts.
func pairs(value any) map[string]string {
	found := map[string]string{}
	all, _ := value.(map[string]any)
	for name, one := range all {
		found[name], _ = one.(string)
	}
	return found
}

// sshAuthorityID is how an authority of ssh stands in an identity.
func sshAuthorityID(authority ssh.PublicKey) string {
	return "ssh-authority:" + ssh.FingerprintSHA256(authority)
}
