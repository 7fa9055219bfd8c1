package vault

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/vault/session"
)

// awsEngine gives out IAM users, or sessions of STS.
type awsEngine struct{ sts bool }

func (e awsEngine) traits() traits {
	if e.sts {
		return traits{
			mounted: "aws", leases: true, early: false, floor: 16 * time.Minute, // AWS's own is 15, and asking takes some of it
			ends: "At the TTL by AWS's own clock, whether or not a broker runs. A session of STS cannot be ended earlier: a release or a revoke changes nothing before that.",
		}
	}
	return traits{
		mounted: "aws", leases: true, early: true, floor: ttlFloor,
		ends: "At the TTL Vault deletes the IAM user, whether or not a broker runs; earlier, when the broker revokes the lease. AWS may take some seconds to believe it everywhere.",
	}
}

func (awsEngine) paths(s Settings) []string { return rolePaths(s) }

func (e awsEngine) judge(i *Issuer, read papers, offer Offer) (offered, error) {
	data, err := read.at(rolePath(i.config.Settings, offer))
	if err != nil {
		return offered{}, i.fault("reading the role "+offer.Role, err)
	}
	kinds := session.Texts(data["credential_types"])
	if kind, _ := data["credential_type"].(string); kind != "" {
		kinds = append(kinds, kind)
	}
	if kinds = unique(kinds); len(kinds) != 1 || (kinds[0] == "iam_user") == e.sts {
		return offered{}, broker.Errorf(broker.CodeWall, "%s: role %s gives %s", i.config.Ref, offer.Role, strings.Join(kinds, ", ")).
			WithNext("engine: aws is for roles of the one type iam_user, engine: aws-sts for those of assumed_role, federation_token or session_token: they end differently")
	}
	switch {
	case kinds[0] == "session_token":
		return offered{}, broker.Errorf(broker.CodeWall, "%s: role %s gives a session with all the powers of Vault's own user at AWS", i.config.Ref, offer.Role).
			WithNext("use a role of the type assumed_role or federation_token, with a policy_document")
	case kinds[0] == "assumed_role" && len(session.Texts(data["role_arns"])) != 1:
		return offered{}, broker.Errorf(broker.CodeWall, "%s: role %s does not name one role of AWS", i.config.Ref, offer.Role).WithNext("set role_arns to the one role of this environment")
	}
	document, _ := data["policy_document"].(string)
	plain, err := plainAWS(document)
	if err != nil {
		return offered{}, broker.Errorf(broker.CodeWall, "%s: the policy document of role %s cannot be read", i.config.Ref, offer.Role).Because(err)
	}
	plain |= plainPolicies(session.Texts(data["policy_arns"]))
	return i.believe(offer, data, plain, broker.WallFact{Stops: "use after the end", Wall: broker.WallNative, How: e.traits().ends}), nil
}

func (e awsEngine) path(s Settings, offer Offer) string {
	if e.sts {
		return s.Mount + "/sts/" + offer.Role
	}
	return s.Mount + "/creds/" + offer.Role
}

func (e awsEngine) ask(_ Settings, _ Offer, order broker.Order, left int64) (request, error) {
	if !e.sts {
		return request{}, nil
	}
	return request{data: map[string]any{"ttl": fmt.Sprintf("%ds", left), "role_session_name": order.Name}}, nil
}

func (e awsEngine) values(_ Settings, got issued) (credentialValues, error) {
	names := map[string]string{"access_key": "AWS_ACCESS_KEY_ID", "secret_key": "AWS_SECRET_ACCESS_KEY"}
	if e.sts {
		names["session_token"] = "AWS_SESSION_TOKEN"
	}
	return taken(got, names)
}

// plainAWS gives the actions that a policy document plainly allows. It is a floor, no judgement: what an action does at
// AWS cannot be told from its name.
func plainAWS(document string) (broker.Actions, error) {
	if document == "" {
		return 0, nil
	}
	var policy struct{ Statement json.RawMessage }
	if err := json.Unmarshal([]byte(document), &policy); err != nil {
		return 0, err
	}
	type statement struct {
		Effect            string
		Action, NotAction any
	}
	var list []statement
	if json.Unmarshal(policy.Statement, &list) != nil {
		list = make([]statement, 1)
		if err := json.Unmarshal(policy.Statement, &list[0]); err != nil {
			return 0, err
		}
	}
	var plain broker.Actions
	for _, one := range list {
		if !strings.EqualFold(one.Effect, "Allow") {
			continue
		}
		if one.NotAction != nil {
			plain |= broker.Read | broker.Write | broker.Delete | broker.Admin
		}
		for _, action := range texts(one.Action) {
			plain |= plainAction(action)
		}
	}
	return plain, nil
}

// texts reads a text or a list of them.
func texts(value any) []string {
	if text, ok := value.(string); ok {
		return []string{text}
	}
	return session.Texts(value)
}

// plainPolicies gives what the names of AWS's own managed policies say.
func plainPolicies(arns []string) broker.Actions {
	var plain broker.Actions
	for _, arn := range arns {
		_, name, ofAWS := strings.Cut(arn, ":iam::aws:policy/")
		switch {
		case !ofAWS:
		case strings.Contains(name, "ReadOnly"):
			plain |= broker.Read
		default: // AdministratorAccess, PowerUserAccess, AmazonS3FullAccess, …
			plain |= broker.Read | broker.Write | broker.Delete | broker.Admin
		}
	}
	return plain
}

func plainAction(action string) broker.Actions {
	service, verb, _ := strings.Cut(strings.ToLower(action), ":")
	begins := func(words ...string) bool {
		return slices.ContainsFunc(words, func(word string) bool { return strings.HasPrefix(verb, word) })
	}
	holds := func(words ...string) bool {
		return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(verb, word) })
	}
	isReading := begins("get", "list", "describe", "head", "batchget")
	handsOut := slices.Contains([]string{"iam", "sts", "organizations", "sso", "account", "kms", "secretsmanager"}, service)
	switch {
	case verb == "" || strings.ContainsAny(service, "*?"), strings.ContainsAny(verb, "*?") && !isReading: // a star may stand for PutBucketPolicy
		return broker.Read | broker.Write | broker.Delete | broker.Admin
	case handsOut && !begins("list", "describe"), isReading && holds("secret", "password", "credential", "token", "parameter"):
		return broker.Admin
	case isReading:
		return broker.Read
	case begins("delete", "terminate", "remove", "purge", "destroy", "batchdelete"):
		return broker.Write | broker.Delete
	case holds("policy", "acl", "permission", "role"):
		return broker.Admin
	case holds("lifecycle", "versioning", "retention", "backup", "replication"):
		return broker.Write | broker.Delete
	}
	return broker.Write
}
