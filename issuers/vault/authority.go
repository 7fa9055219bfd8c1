package vault

import (
	"net/http"

	"golang.org/x/crypto/ssh"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/vault/session"
)

// authorityPath is where a mount shows the authority that it signs by: for pki, the default issuer.
func authorityPath(s Settings) string {
	if s.Engine == engineSSH {
		return s.Mount + "/config/ca"
	}
	return s.Mount + "/cert/ca"
}

// authority gives the key that a pki or ssh mount signs by, as a part of the target's identity. What it signs works wherever it is
// trusted: so neither the mount nor the key, which can be in several, may be in two environments.
func (i *Issuer) authority(read papers) (string, error) {
	s := i.config.Settings
	data, err := read.at(authorityPath(s))
	if err != nil && session.StatusOf(err) != http.StatusBadRequest { // it is what Vault says where there is none
		return "", i.fault("reading the authority of the mount "+s.Mount, err)
	}
	if s.Engine == engineSSH {
		text, _ := data["public_key"].(string)
		if key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text)); err == nil {
			return sshAuthorityID(key), nil
		}
		return "", i.noAuthority("vault write " + authorityPath(s) + " generate_signing_key=true")
	}
	text, _ := data["certificate"].(string)
	if certificate, err := certificateIn(text); err == nil {
		return authorityID(certificate), nil
	}
	return "", i.noAuthority("vault write " + s.Mount + "/root/generate/internal common_name=… ttl=…, or import one")
}

func (i *Issuer) noAuthority(next string) error {
	return broker.Errorf(broker.CodeWall, "%s: the mount %s has no authority to sign by", i.config.Ref, i.config.Settings.Mount).WithNext("%s", next)
}
