package vault

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/aws/actions"
	"github.com/hourkey/hourkey/issuers/vault/session"
)

// everything is what is assumed of what Vault does not show.
const everything = broker.Read | broker.Write | broker.Delete | broker.Admin

// allowedAWS lists the patterns of actions that a role of Vault's aws engine allows: those of its own document. What else gives power
// stands at AWS, where Vault does not look, and so is everything: managed policies, the policies of groups, and an assumed role that
// nothing narrows.
func allowedAWS(kind string, role map[string]any) ([]string, error) {
	document, _ := role["policy_document"].(string)
	elsewhere := len(session.Texts(role["policy_arns"])) + len(session.Texts(role["iam_groups"]))
	if elsewhere > 0 || kind == "assumed_role" && document == "" {
		return []string{"*"}, nil
	}
	return allowedBy(document)
}

// plainAWS gives the actions that patterns give at worst, by the table of AWS's actions. Where a table of DynamoDB has a time to live,
// whoever writes an item can have it expire, and Vault does not see which tables have one.
func plainAWS(allowed []string) broker.Actions {
	var plain broker.Actions
	for _, pattern := range allowed {
		plain |= actions.Worst(pattern)
		if writes("dynamodb", pattern) {
			plain |= broker.Delete
		}
	}
	return plain
}

// writesObjects tells whether a pattern allows to write at S3, where a write takes the place of what was there.
func writesObjects(pattern string) bool { return writes("s3", pattern) }

func writes(service, pattern string) bool {
	return strings.HasPrefix(strings.ToLower(pattern), service+":") && actions.Worst(pattern).Has(broker.Write)
}

const stopsObjects = "overwriting objects of S3"

// overwritingObjects says what stands before the loss of an object that is written over: the bucket's versions, which Vault does not
// see. Where nobody says that there are any, it is open to delete.
func (i *Issuer) overwritingObjects(found *offered) {
	wall := broker.WallFact{Stops: stopsObjects, Wall: broker.WallWeak}
	found.exceptions = append(found.exceptions, i.acceptances()...)
	if why, accepted := i.config.Settings.accepts(AcceptVersionHistory); accepted {
		wall.How = "Vault does not see whether a bucket keeps versions; the environment's file says that what is written over is kept: " + why
	} else {
		wall.Wall, wall.How = broker.WallNone, "Vault does not see whether a bucket keeps versions: where it does not, what is written over is gone"
		for _, scope := range found.reach {
			wall.Gives = append(wall.Gives, broker.Scope{Target: scope.Target, Resource: scope.Resource, Actions: broker.Delete})
		}
		found.mends = map[string]string{stopsObjects: "have the buckets keep versions, and say so: accept: [{object: " + AcceptVersionHistory + ", why: …}]"}
	}
	found.walls = append(found.walls, wall)
}

// statement is one of a policy, as far as it can give something. Resources and conditions only narrow it.
type statement struct {
	Effect    string
	Action    oneOrMore[string]
	NotAction any
}

// allowedBy lists the patterns that a policy document allows.
func allowedBy(document string) ([]string, error) {
	if document == "" {
		return nil, nil
	}
	var policy struct{ Statement oneOrMore[statement] }
	if err := json.Unmarshal([]byte(document), &policy); err != nil {
		return nil, err
	}
	if err := distinct(json.NewDecoder(strings.NewReader(document))); err != nil {
		return nil, err
	}
	var allowed []string
	for _, one := range policy.Statement {
		if one.Effect == "Deny" { // and nothing but that: it only narrows
			continue
		}
		if one.NotAction != nil {
			allowed = append(allowed, "*")
		}
		allowed = append(allowed, one.Action...)
	}
	return allowed, nil
}

// oneOrMore is a list that may be written without its brackets when it has one member.
type oneOrMore[T any] []T

// UnmarshalJSON reads a list, or its one member.
func (l *oneOrMore[T]) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(text, []byte("[")) {
		return json.Unmarshal(text, (*[]T)(l))
	}
	*l = make([]T, 1)
	return json.Unmarshal(text, &(*l)[0])
}

// distinct refuses a document with a key that an object has twice, in whatever case: which of them counts, its readers do not agree.
// Some readers take letters outside ASCII for others (ſ for s), so a key that has any is refused too.
func distinct(document *json.Decoder) error {
	token, err := document.Token()
	open, isOpen := token.(json.Delim)
	if err != nil || !isOpen {
		return err
	}
	keys := map[string]bool{}
	for document.More() {
		if open == '{' {
			key, err := document.Token()
			if err != nil {
				return err
			}
			name := strings.ToLower(fmt.Sprint(key))
			if strings.ContainsFunc(name, func(r rune) bool { return r > unicode.MaxASCII }) {
				return fmt.Errorf("the key %q has letters outside ASCII", name)
			}
			if keys[name] {
				return fmt.Errorf("the key %s stands twice in one object", name)
			}
			keys[name] = true
		}
		if err := distinct(document); err != nil {
			return err
		}
	}
	_, err = document.Token() // the bracket that closes it
	return err
}
