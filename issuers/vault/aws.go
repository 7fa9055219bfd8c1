package vault

import (
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
	allowed, err := allowedAWS(kinds[0], data)
	if err != nil {
		return offered{}, broker.Errorf(broker.CodeWall, "%s: the policy document of role %s cannot be read", i.config.Ref, offer.Role).Because(err)
	}
	found := i.believe(offer, data, plainAWS(allowed), broker.WallFact{Stops: "use after the end", Wall: broker.WallNative, How: e.traits().ends})
	if e.sts {
		found.walls = append(found.walls, broker.WallFact{Stops: "use after a revoke, before the end", Wall: broker.WallNone, How: "a session of STS cannot be taken back"})
	}
	if slices.ContainsFunc(allowed, writesObjects) {
		i.overwritingObjects(&found)
	}
	return found, nil
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
