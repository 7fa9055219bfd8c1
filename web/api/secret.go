package api

import "log/slog"

// Secret is secret material that came over the wire. It can be read from JSON; however it is printed,
// logged or encoded again, it shows REDACTED. The one way to the value is Reveal.
type Secret struct {
	value *string // a pointer: fmt prints unexported fields of other structs without asking String
}

const redacted = "REDACTED"

// NewSecret wraps value.
func NewSecret(value string) Secret { return Secret{&value} }

// Reveal gives the value. Call it only where the value leaves: for the child of exec, the stdout of
// credential, an Authorization header.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero tells whether there is no secret.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// String gives REDACTED.
func (Secret) String() string { return redacted }

// GoString gives REDACTED.
func (Secret) GoString() string { return redacted }

// LogValue gives REDACTED.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText gives REDACTED, so that no encoder can leak the value.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText keeps the value.
func (s *Secret) UnmarshalText(text []byte) error {
	value := string(text)
	s.value = &value
	return nil
}
