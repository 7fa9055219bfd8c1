package session

import (
	"context"
	"regexp"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// referencePattern is PATH#FIELD, as it stands behind "vault:".
var referencePattern = regexp.MustCompile(`^([^#]+)#([A-Za-z0-9_.-]{1,128})$`)

// Secret reads a secret that Vault keeps: reference is PATH#FIELD, where PATH is that of Vault's API, like
// kv/data/hourkey/staging#admin_dsn. An answer of KV version 2 is recognised by its shape. Errors never repeat a
// text that is no reference: it may be a secret in the wrong place.
func (s *Session) Secret(ctx context.Context, reference string) (broker.Secret, error) {
	parts := referencePattern.FindStringSubmatch(reference)
	if parts == nil || !IsPath(parts[1]) {
		return broker.Secret{}, broker.Errorf(broker.CodeInvalid, "expected vault:PATH#FIELD, with the path of Vault's API").
			WithNext("for version 2 of the KV engine the path has data in it: vault:kv/data/hourkey/staging#admin_dsn")
	}
	path, field := parts[1], parts[2]
	answer, err := s.Read(ctx, path)
	if err != nil {
		return broker.Secret{}, s.Fault("vault:"+path, "reading a secret", err)
	}
	data := answer.Data
	if inner, ok := data["data"].(map[string]any); ok && data["metadata"] != nil {
		data = inner
	}
	text, ok := data[field].(string)
	if !ok || text == "" {
		return broker.Secret{}, broker.Errorf(broker.CodeInvalid, "vault:%s has no text in the field %s", path, field).
			WithNext("look at the names of its fields in Vault")
	}
	return broker.NewSecret(strings.TrimRight(text, "\r\n")), nil
}
