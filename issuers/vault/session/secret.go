package session

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/hourkey/hourkey/broker"
)

// referencePattern is PATH#FIELD, as it stands behind "vault:".
var referencePattern = regexp.MustCompile(`^([^#]+)#([A-Za-z0-9_.-]{1,128})$`)

// SplitReference takes PATH#FIELD apart. PATH is that of Vault's API; those of Vault itself hold no secret that somebody put
// there, but the broker's own token. Errors never repeat a text that is no reference: it may be a secret in the wrong place.
func SplitReference(reference string) (path, field string, err error) {
	parts := referencePattern.FindStringSubmatch(reference)
	if parts == nil || !IsPath(parts[1]) {
		return "", "", broker.Errorf(broker.CodeInvalid, "expected vault:PATH#FIELD, with the path of Vault's API").WithNext("%s", hintVersioned)
	}
	first, _, _ := strings.Cut(parts[1], "/")
	if slices.Contains([]string{"auth", "cubbyhole", "identity", "sys"}, first) {
		return "", "", broker.Errorf(broker.CodeInvalid, "vault:%s is not in a secrets engine", parts[1]).WithNext("%s", hintVersioned)
	}
	return parts[1], parts[2], nil
}

const hintVersioned = "for version 2 of the KV engine the path has data in it: vault:kv/data/hourkey/staging#admin_dsn"

// Secret reads a secret that Vault keeps: reference is PATH#FIELD, like kv/data/hourkey/staging#admin_dsn. An answer of KV
// version 2 is recognised by its shape. What Vault makes anew at each reading is refused: nobody would end it.
func (s *Session) Secret(ctx context.Context, reference string) (broker.Secret, error) {
	path, field, err := SplitReference(reference)
	if err != nil {
		return broker.Secret{}, err
	}
	answer, err := s.Read(ctx, path)
	switch StatusOf(err) {
	case http.StatusForbidden:
		next := "add to the policy of that login: " + readRule(path)
		if !strings.Contains(path, "/data/") {
			next += "; " + hintVersioned
		}
		return broker.Secret{}, broker.Errorf(broker.CodeUnavailable, "vault:%s: the broker's login may not read it", path).WithNext("%s", next)
	case http.StatusNotFound:
		return broker.Secret{}, nothingAt(path)
	}
	if err != nil {
		return broker.Secret{}, s.Fault("vault:"+path, "reading a secret", err)
	}
	if answer.LeaseID != "" {
		return broker.Secret{}, broker.Errorf(broker.CodeInvalid, "vault:%s is no kept secret: Vault makes another one at each reading, which nobody would end", path).
			WithNext("refer to a secret of the KV engine, or make it a target of kind vault")
	}
	data := kept(answer)
	if data == nil {
		return broker.Secret{}, nothingAt(path)
	}
	text, _ := data[field].(string)
	if text = strings.TrimRight(text, "\r\n"); text == "" {
		return broker.Secret{}, broker.Errorf(broker.CodeInvalid, "vault:%s has no text in the field %s", path, field).
			WithNext("look at the names of its fields in Vault; numbers, true and false, and nested values are not taken")
	}
	return broker.NewSecret(text), nil
}

func nothingAt(path string) error {
	return broker.Errorf(broker.CodeInvalid, "vault:%s: there is nothing, or its newest version was deleted", path).WithNext("%s", hintVersioned)
}

// kept gives the fields of a secret, nil where there are none.
func kept(answer *api.Secret) map[string]any {
	_, described := answer.Data["metadata"].(map[string]any)
	if inner, has := answer.Data["data"]; has && described {
		fields, _ := inner.(map[string]any)
		return fields
	}
	return answer.Data
}

// readRule is the line of a policy that lets a login read a path.
func readRule(path string) string { return fmt.Sprintf("path %q { capabilities = [\"read\"] }", path) }
