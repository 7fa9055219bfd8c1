package broker

import "log/slog"

// Secret holds secret material. However it is printed, logged or encoded, it shows REDACTED; the one
// way to the value is Reveal (invariant 10). It holds a pointer because fmt prints the unexported
// fields of a struct without asking their String method.
type Secret struct{ value *string }

const redacted = "REDACTED"

// NewSecret wraps value.
func NewSecret(value string) Secret { return Secret{&value} }

// Reveal gives the value. Call it only where the value leaves by one of the two ways out.
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
