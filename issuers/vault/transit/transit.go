// Package transit is a key-encryption key that lies in Vault's transit engine and never leaves it.
//
// It owns: the key's checks (it must be one that nobody can export, read back or delete by mistake) and the two calls. It
// does not know what is sealed with it. It has the methods of store/keys.KEK.
//
// What is sealed is bound to its place: Vault authenticates the place as associated data, and opens it for no other. Keys
// may be rotated in Vault at any time: what an older version sealed still opens, until min_decryption_version says otherwise.
package transit

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/vault/session"
)

// Settings says which key.
type Settings struct {
	Mount string `yaml:"mount"` // of the transit engine; default transit
	Key   string `yaml:"key"`   // its name
}

// Key is a key-encryption key at Vault. Its methods are safe for concurrent use.
type Key struct {
	session  *session.Session
	settings Settings
	id       string
}

// Open looks at the key, and refuses one that could be taken out of Vault or be deleted. It makes none: a key that is made
// by mistake opens nothing. CodeWall says how to make or mend it.
func Open(ctx context.Context, at *session.Session, settings Settings) (*Key, error) {
	if settings.Mount == "" {
		settings.Mount = "transit"
	}
	if !session.IsPath(settings.Mount) || !session.IsPath(settings.Key) || strings.Contains(settings.Key, "/") {
		return nil, broker.Errorf(broker.CodeInvalid, "transit: key must be the name of a key, and mount the engine's, without slashes at its ends").WithField("key")
	}
	answer, err := at.Read(ctx, settings.Mount+"/keys/"+settings.Key)
	if session.StatusOf(err) == http.StatusNotFound {
		return nil, broker.Errorf(broker.CodeNotFound, "transit: there is no key %s at %s", settings.Key, settings.Mount).
			WithNext("for a new store: vault write -f %s/keys/%s type=aes256-gcm96; for one that is sealed already, restore the Vault that has its key: a new one opens nothing", settings.Mount, settings.Key)
	}
	if err != nil {
		return nil, at.Fault("transit", "reading the key "+settings.Key, err)
	}
	if deletable, _ := answer.Data["deletion_allowed"].(bool); deletable {
		return nil, broker.Errorf(broker.CodeWall, "transit: the key %s can be deleted: everything that it sealed would be lost", settings.Key).
			WithNext("vault write %s/keys/%s/config deletion_allowed=false", settings.Mount, settings.Key)
	}
	if wrong := unfit(answer.Data); wrong != "" {
		return nil, broker.Errorf(broker.CodeWall, "transit: the key %s %s", settings.Key, wrong).
			WithNext("that cannot be taken back: make another, vault write -f %s/keys/NAME type=aes256-gcm96, before there is a store", settings.Mount)
	}
	sum := sha256.Sum256([]byte("hourkey/transit-id/1\x00" + settings.Key))
	return &Key{session: at, settings: settings, id: "transit-" + hex.EncodeToString(sum[:8])}, nil
}

// unfit says what is wrong with a key, empty if nothing.
func unfit(data map[string]any) string {
	kind, _ := data["type"].(string)
	is := func(name string) bool { value, _ := data[name].(bool); return value }
	switch {
	case kind != "aes256-gcm96" && kind != "chacha20-poly1305":
		return "is of type " + kind + ": it must be aes256-gcm96 or chacha20-poly1305, which authenticate where a text belongs"
	case is("derived"):
		return "is derived: it wants a context of its own"
	case is("exportable"), is("allow_plaintext_backup"):
		return "can be taken out of Vault"
	}
	return ""
}

// ID tells one name of a key from another, not where it is: a Vault that another cluster took over for, or a mount that was moved,
// has the same key. That it is the same is told by opening: Vault authenticates what it opens.
func (k *Key) ID() string { return k.id }

// Wrap seals plain for the place that context names.
func (k *Key) Wrap(ctx context.Context, plain []byte, place string) ([]byte, error) {
	answer, err := k.session.Write(ctx, k.settings.Mount+"/encrypt/"+k.settings.Key, map[string]any{
		"plaintext": base64.StdEncoding.EncodeToString(plain), "associated_data": associated(place),
	})
	if err != nil {
		return nil, k.fault("sealing", err, plain)
	}
	text, _ := answer.Data["ciphertext"].(string)
	if !strings.HasPrefix(text, "vault:v") {
		return nil, k.fault("sealing", errors.New("the answer holds nothing sealed"), plain)
	}
	return []byte(text), nil
}

// Unwrap opens what Wrap sealed for the same place. CodeConflict: Vault was asked and the key does not open it; any other error
// tells nothing of what is sealed.
func (k *Key) Unwrap(ctx context.Context, wrapped []byte, place string) ([]byte, error) {
	answer, err := k.session.Write(ctx, k.settings.Mount+"/decrypt/"+k.settings.Key, map[string]any{
		"ciphertext": string(wrapped), "associated_data": associated(place),
	})
	if session.StatusOf(err) == http.StatusBadRequest { // it was asked, and answered: this key does not open it
		return nil, broker.Errorf(broker.CodeConflict, "transit: the key %s does not open what was sealed", k.settings.Key).Because(errors.Unwrap(k.fault("opening", err, nil))).
			WithNext("if min_decryption_version of the key was raised, lower it; if the key was deleted and made anew under its name, restore the Vault that has the old one; otherwise the store was changed: restore a backup")
	}
	if err != nil {
		return nil, k.fault("opening", err, nil)
	}
	text, _ := answer.Data["plaintext"].(string)
	plain, err := base64.StdEncoding.DecodeString(text)
	if err != nil || text == "" {
		return nil, k.fault("opening", errors.New("the answer holds nothing that was sealed"), nil)
	}
	return plain, nil
}

// associated binds a sealed text to its place, and to this use of the key.
func associated(place string) string {
	return base64.StdEncoding.EncodeToString([]byte("hourkey/transit/1\x00" + place))
}

func (k *Key) fault(doing string, err error, plain []byte) error {
	return k.session.Fault("transit", doing+" with the key "+k.settings.Key, err, broker.NewSecret(string(plain)), broker.NewSecret(base64.StdEncoding.EncodeToString(plain)))
}

// Policy is what the broker's login needs for the key, to paste.
func (s Settings) Policy() string {
	mount := s.Mount
	if mount == "" {
		mount = "transit"
	}
	return "path \"" + mount + "/keys/" + s.Key + "\" { capabilities = [\"read\"] }\n" +
		"path \"" + mount + "/encrypt/" + s.Key + "\" { capabilities = [\"update\"] }\n" +
		"path \"" + mount + "/decrypt/" + s.Key + "\" { capabilities = [\"update\"] }\n"
}
