package aws

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// maxPolicy is how many characters STS takes of a session policy (STS API reference, AssumeRole).
const maxPolicy = 2048

// policy is the statements of an IAM policy document.
type policy []statement

type statement struct {
	Effect      string    `json:"Effect"`
	Action      many      `json:"Action,omitempty"`
	NotAction   many      `json:"NotAction,omitempty"`
	Resource    many      `json:"Resource,omitempty"`
	NotResource many      `json:"NotResource,omitempty"`
	Condition   condition `json:"Condition,omitempty"`
}

// condition maps operator → key → values.
type condition map[string]map[string]many

// many is a list that IAM also reads as a single text: a policy may have 2,048 characters.
type many []string

// MarshalJSON writes one as a text.
func (m many) MarshalJSON() ([]byte, error) {
	if len(m) == 1 {
		return encode(m[0])
	}
	return encode([]string(m))
}

// encode is JSON without the escapes for HTML, which would count as characters.
func encode(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(value)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// lines are the policy statement by statement, each in JSON.
func (p policy) lines() []string {
	list := make([]string, len(p))
	for at, s := range p {
		text, err := encode(s)
		if err != nil {
			panic(err) // texts and lists of texts cannot fail to encode
		}
		list[at] = string(text)
	}
	return list
}

// document is the policy of these lines as STS gets it. One that is too long is refused before STS is asked.
func (i *Issuer) document(lines []string) (string, error) {
	text := `{"Version":"2012-10-17","Statement":[` + strings.Join(lines, ",") + `]}`
	if len(text) > maxPolicy {
		return "", broker.Errorf(broker.CodeInvalid, "%s: the session policy for this would have %d characters, and STS takes %d", i.config.Ref, len(text), maxPolicy).
			WithField("scope").WithNext("ask for fewer resources at once, or for one prefix instead of several names")
	}
	return text, nil
}

// pretty is the policy as it is printed for somebody to paste.
func (p policy) pretty() string {
	return "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [\n    " + strings.Join(p.lines(), ",\n    ") + "\n  ]\n}"
}
