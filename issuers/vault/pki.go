package vault

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/vault/session"
)

// pkiEngine gives out X.509 certificates with their keys. What holds them is in pki_wall.go.
type pkiEngine struct{}

func (pkiEngine) traits() traits {
	return traits{
		mounted: "pki", leases: true, early: true, floor: 30 * time.Second,
		ends: "At the TTL by the certificate's own expiry, whether or not a broker runs. Earlier Vault revokes it: " +
			"a server that does not read Vault's revocation list, or ask its OCSP, accepts it until its expiry.",
	}
}

// paths are the offers' roles, and how the mount revokes and gives out certificates by itself.
func (pkiEngine) paths(s Settings) []string {
	return append(rolePaths(s), crlPath(s), acmePath(s))
}

func crlPath(s Settings) string { return s.Mount + "/config/crl" }

func acmePath(s Settings) string { return s.Mount + "/config/acme" }

// judge reads the role of an offer. Roles whose certificates could sign for the authority, or could not be ended, are refused.
func (pkiEngine) judge(i *Issuer, read papers, offer Offer) (offered, error) {
	data, err := read.at(rolePath(i.config.Settings, offer))
	if err != nil {
		return offered{}, i.fault("reading the role "+offer.Role, err)
	}
	signs, err := i.authority(read)
	if err != nil {
		return offered{}, err
	}
	wall := func(problem, next string) (offered, error) {
		return offered{}, broker.Errorf(broker.CodeWall, "%s: role %s %s", i.config.Ref, offer.Role, problem).WithNext("%s", next)
	}
	usage := usageOf(data)
	end, _ := data["not_after"].(string)
	issuer, _ := data["issuer_ref"].(string)
	switch leases, _ := data["generate_lease"].(bool); {
	case !leases:
		return wall("makes certificates without a lease: nothing would revoke them", "set generate_lease=true on the role, and no_store=false")
	case usage.signs != "":
		return wall("makes certificates that could sign for the authority ("+usage.signs+")", "take it out of the role's key_usage or ext_key_usage")
	case end != "":
		return wall("makes certificates that end at a fixed date, not with their lease", "set not_after= (nothing) on the role")
	case issuer != "" && issuer != "default":
		return wall("signs by the issuer "+issuer+", which is not the mount's default: the target's identity says which that is", "set issuer_ref=default on the role: one mount, one authority, one environment")
	}
	found := i.believe(offer, data, usage.plain)
	if err := i.pkiWalls(read, usage, &found); err != nil {
		return offered{}, err
	}
	found.native = append(found.native, "common name "+offer.CommonName, "authority "+signs)
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
	leaf, err := certificateIn(named.values["TLS_CERTIFICATE"].Reveal())
	if err != nil {
		return named, err
	}
	authority, err := certificateIn(named.values["TLS_CA"].Reveal())
	if err != nil {
		return named, err
	}
	if leaf.CheckSignatureFrom(authority) != nil || !slices.Contains(got.native, "authority "+authorityID(authority)) {
		return named, errors.New("the certificate is not of the authority that was described")
	}
	named.ends = leaf.NotAfter.UTC()
	named.values["TLS_CERTIFICATE"] = broker.NewSecret(withChain(named.values["TLS_CERTIFICATE"].Reveal(), session.Texts(got.answer.Data["ca_chain"])))
	return named, notJust(leaf, got.offer.CommonName)
}

// withChain puts the authorities between a certificate and its root behind it, for servers that trust the root alone (RFC 8446, 4.4.2).
func withChain(leaf string, chain []string) string {
	text := strings.TrimSpace(leaf) + "\n"
	for _, one := range chain {
		if between, err := certificateIn(one); err == nil && between.CheckSignatureFrom(between) != nil {
			text += strings.TrimSpace(one) + "\n"
		}
	}
	return text
}

// certificateIn reads the first certificate of a text in PEM.
func certificateIn(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("the answer holds no certificate")
	}
	read, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, errors.New("the certificate cannot be read")
	}
	return read, nil
}

// authorityID is how an authority stands in an identity: by its key, which stays when its certificate is made anew.
func authorityID(authority *x509.Certificate) string {
	sum := sha256.Sum256(authority.RawSubjectPublicKeyInfo)
	return "x509-authority:" + hex.EncodeToString(sum[:])
}

// notJust refuses a certificate that is for more than the one name, or signs: the role's own settings could put that in.
func notJust(leaf *x509.Certificate, name string) error {
	others := slices.ContainsFunc(slices.Concat(leaf.DNSNames, leaf.EmailAddresses), func(one string) bool { return !strings.EqualFold(one, name) })
	switch {
	case leaf.IsCA || leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 || slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return errors.New("the certificate could sign others")
	case leaf.Subject.CommonName != name || others || len(leaf.IPAddresses)+len(leaf.URIs) > 0:
		return errors.New("the certificate is for other names than the one that was asked for")
	}
	return nil
}
