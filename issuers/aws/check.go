package aws

import (
	"context"
	"errors"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// Check tries, permission by permission, what the broker's user and the role lack and what they have too much of, and
// tells what of the resources makes a write a delete. It changes nothing: the sessions that it makes may not even look.
func (i *Issuer) Check(ctx context.Context) ([]broker.Finding, error) {
	caller, found, err := i.checkCaller(ctx)
	if err != nil || len(found) > 0 {
		return found, err
	}
	found, stop, err := i.checkTrust(ctx, caller)
	if err != nil || stop {
		return found, err
	}
	seen, err := i.lookAnew(ctx)
	if err != nil {
		if wall, missing := errors.AsType[missingWall](err); missing {
			return append(found, wall.finding()), nil
		}
		return nil, i.fault(lookingAtRole, err)
	}
	more, err := i.checkResources(ctx, seen)
	if err != nil {
		return nil, err
	}
	found = append(found, more...)
	check := i.checkSurplus
	if i.isCompatible() {
		check = i.checkBuckets
	}
	surplus, err := check(ctx)
	return append(found, surplus...), err
}

// checkCaller asks whose key the broker holds. With a finding nothing else can be tried.
func (i *Issuer) checkCaller(ctx context.Context) (caller string, found []broker.Finding, err error) {
	caller, err = i.caller(ctx)
	if wall, missing := errors.AsType[missingWall](err); missing {
		return "", []broker.Finding{wall.finding()}, nil
	}
	switch {
	case err == nil:
		return caller, nil, nil
	case isWrongKey(err):
		return "", []broker.Finding{{
			Refuses: true, Object: "broker key", Problem: "the provider does not take the broker's access key (" + codeOf(err) + ")",
			Mend: "make a new access key for the broker's user, and put it where access_key and secret_key refer to",
		}}, nil
	}
	return "", nil, i.fault("asking whose key this is", err)
}

// powerless is the policy of a session that may do nothing.
const powerless = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"s3:*","Resource":"*"}]}`

// checkTrust assumes the role bare, with tags, and with a source identity: each wants a permission of its own, both of the
// broker's user and of the role's trust policy.
func (i *Issuer) checkTrust(ctx context.Context, caller string) (found []broker.Finding, stop bool, err error) {
	for _, try := range []struct {
		permission string
		session    session
	}{
		{"sts:AssumeRole", session{name: lookName}},
		{"sts:TagSession", session{name: lookName, tags: map[string]string{tagAgent: "check", tagTask: "check"}}},
		{"sts:SetSourceIdentity", session{name: lookName, isLease: true}},
	} {
		try.session.policy, try.session.duration = powerless, stsFloor
		_, err := i.assume(ctx, try.session)
		switch {
		case isDenied(err) && i.isCompatible(): // it wants no permission: the key is wrong, or its user unknown
			return []broker.Finding{{
				Refuses: true, Object: "broker key", Problem: "the server makes no session for the broker's access key: it does not know the key, or its user, or the secret is another",
				Mend: "make a user for the broker at the server, with a policy for the buckets of " + strings.Join(i.config.Settings.Resources, ", ") + ", and put its key where access_key and secret_key refer to",
			}}, true, nil
		case isDenied(err):
			found = append(found, broker.Finding{
				Refuses: true, Object: try.permission,
				Problem: "the broker's user may not " + try.permission + " on " + i.role.arn + ", by its own policy or by the role's trust policy",
				Mend:    "trust policy of the role:\n" + TrustPolicy(caller) + "\npolicy of the broker's user:\n" + i.UserPolicy(),
			})
			if try.permission == "sts:AssumeRole" {
				return found, true, nil
			}
		case err != nil:
			return nil, true, i.fault("assuming the role", err)
		}
	}
	return found, false, nil
}

// checkResources asks about each bucket and table of the file what a write there could lose.
func (i *Issuer) checkResources(ctx context.Context, seen *looked) ([]broker.Finding, error) {
	var found []broker.Finding
	known := map[string]bool{} // place → it was asked about
	for _, t := range i.listed {
		if known[t.place()] || t.service.asks == "" || t.service.name == dynamoName && t.prefix {
			continue
		}
		known[t.place()] = true
		more, err := i.checkResource(ctx, seen, t)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return found, nil
}

func (i *Issuer) checkResource(ctx context.Context, seen *looked, t thing) ([]broker.Finding, error) {
	place, asks := t.place(), t.service.asks
	l, err := i.lossAt(ctx, seen, t)
	switch {
	case isDenied(err):
		return []broker.Finding{{
			Object: "role " + asks + " " + place, Problem: "requests to write there are refused: the role may not " + asks + " on " + place + ", or it is another account's",
			Mend: i.RolePolicy(),
		}}, nil
	case isMissing(err):
		return []broker.Finding{{
			Object: place, Problem: "there is no such place in region " + i.config.Settings.Region + " (" + codeOf(err) + "): requests for it come to nothing",
			Mend: "make it, correct the region, or take it out of resources",
		}}, nil
	case err != nil:
		return nil, i.fault("asking about "+place, err)
	case l.wall != broker.WallNone:
		return nil, nil
	case t.service.name == s3Name:
		return []broker.Finding{{
			Object: place, Problem: "the bucket is not versioned, so requests to write there count as deleting",
			Mend: "aws s3api put-bucket-versioning --bucket " + t.bucket + " --versioning-configuration Status=Enabled",
		}}, nil
	}
	return []broker.Finding{{
		Object: place, Problem: "the table has a time to live, so requests to write there count as deleting",
		Mend: "leave it, and let such requests be approved; or keep what may expire in a table of its own",
	}}, nil
}
