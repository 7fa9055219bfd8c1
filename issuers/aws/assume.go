package aws

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/hourkey/hourkey/broker"
)

// session is what is asked of STS.
type session struct {
	name     string // also the source identity, when it is a lease's
	isLease  bool
	policy   string
	duration time.Duration
	tags     map[string]string
}

// assumed is what STS gave.
type assumed struct {
	aws.Credentials
	identity broker.Identity
}

// maxSkew is how far the provider's clock may be from ours, before the call or after it: the end of a lease counts by the
// provider's, and an answer says the time in whole seconds.
const maxSkew = 5 * time.Second

// assume asks STS for a session and holds the answer to what was asked. After an error the session may exist.
func (i *Issuer) assume(ctx context.Context, s session) (assumed, error) {
	before := i.config.Now()
	out, err := i.sts.AssumeRole(ctx, i.input(s), func(o *sts.Options) {
		if s.isLease {
			o.Retryer = onceRetryer()
		}
	})
	if err != nil {
		return assumed{}, err
	}
	c := out.Credentials
	if c == nil || aws.ToString(c.AccessKeyId) == "" || aws.ToString(c.SecretAccessKey) == "" || aws.ToString(c.SessionToken) == "" || c.Expiration == nil {
		return assumed{}, broker.Errorf(broker.CodeUnavailable, "%s: STS gave no complete session", i.config.Ref).WithNext("try again")
	}
	if longest := i.config.Now().Add(s.duration + maxSkew); c.Expiration.After(longest) || !c.Expiration.After(i.config.Now()) {
		return assumed{}, broker.Errorf(broker.CodeUnavailable, "%s: STS gave a session until %s, and %s was asked for: it is not handed out", i.config.Ref, c.Expiration.UTC().Format(time.RFC3339), s.duration)
	}
	if err := i.packed(out); err != nil {
		return assumed{}, err
	}
	if err := i.sameTime(before, out); err != nil {
		return assumed{}, err
	}
	identity, err := i.who(s, out)
	return assumed{
		aws.Credentials{AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: *c.SessionToken, CanExpire: true, Expires: *c.Expiration},
		identity,
	}, err
}

// sameTime compares the provider's clock with ours. The answer was written at some time of the call, which may take long.
func (i *Issuer) sameTime(before time.Time, out *sts.AssumeRoleOutput) error {
	at, known := middleware.GetServerTime(out.ResultMetadata)
	if !known {
		return broker.Errorf(broker.CodeUnavailable, "%s: STS does not say what time it is, and a lease ends by the provider's clock: it is not handed out", i.config.Ref)
	}
	after := i.config.Now()
	if !at.Before(before.Add(-maxSkew-time.Second)) && !at.After(after.Add(maxSkew)) {
		return nil
	}
	differ := before.Sub(at)
	if at.After(after) {
		differ = at.Sub(after)
	}
	return broker.Errorf(broker.CodeUnavailable, "%s: the provider's clock and the broker's differ by %s, and a lease ends by the provider's", i.config.Ref, differ.Round(time.Second)).
		WithNext("have the clocks set (NTP)")
}

func (i *Issuer) input(s session) *sts.AssumeRoleInput {
	input := &sts.AssumeRoleInput{
		RoleArn: &i.role.arn, RoleSessionName: &s.name, Policy: &s.policy,
		DurationSeconds: aws.Int32(int32(min(s.duration, broker.Hour) / time.Second)), //nolint:gosec // an hour has 3600 seconds
	}
	if s.isLease {
		input.SourceIdentity = &s.name
	}
	for _, key := range []string{tagAgent, tagTask} {
		if value := s.tags[key]; value != "" {
			input.Tags = append(input.Tags, types.Tag{Key: aws.String(key), Value: aws.String(value)})
			input.TransitiveTagKeys = append(input.TransitiveTagKeys, key)
		}
	}
	return input
}

const (
	tagAgent = "hourkey:agent"
	tagTask  = "hourkey:task"
)

// packed reads how much of its space the session takes. At AWS the answer always says so when a policy was passed: one
// that does not was given without it.
func (i *Issuer) packed(out *sts.AssumeRoleOutput) error {
	used := out.SessionTokenUtilization
	if used == nil {
		used = out.PackedPolicySize //nolint:staticcheck // SA1019: regions that do not tell the newer number yet tell this one
	}
	switch {
	case used == nil && i.isCompatible(): // its sessions were tried: see prove
		return nil
	case used == nil:
		return broker.Errorf(broker.CodeUnavailable, "%s: STS does not say that the session policy is in the session: it is not handed out", i.config.Ref)
	case *used > 100:
		return broker.Errorf(broker.CodeUnavailable, "%s: STS says that the session policy takes %d %% of its space: it is not handed out", i.config.Ref, *used)
	}
	return nil
}

// who reads whose session it is. A server without roles does not say; its address and the broker's key stand for it.
func (i *Issuer) who(s session, out *sts.AssumeRoleOutput) (broker.Identity, error) {
	user := out.AssumedRoleUser
	if user == nil || aws.ToString(user.Arn) == "" {
		if i.isCompatible() && i.config.Settings.Role == "" {
			return i.endpointIdentity(), nil
		}
		return broker.Identity{}, broker.Errorf(broker.CodeUnavailable, "%s: STS does not say whose session this is: it is not handed out", i.config.Ref)
	}
	wanted := "arn:" + i.role.partition + ":sts::" + i.role.account + ":assumed-role/" + i.role.name + "/" + s.name
	id, name, _ := strings.Cut(aws.ToString(user.AssumedRoleId), ":")
	if *user.Arn != wanted || id == "" || name != s.name {
		return broker.Identity{}, broker.Errorf(broker.CodeUnavailable, "%s: STS gave a session of %s, and %s was asked for: it is not handed out", i.config.Ref, *user.Arn, wanted)
	}
	if s.isLease && !i.isCompatible() && aws.ToString(out.SourceIdentity) != s.name {
		return broker.Identity{}, broker.Errorf(broker.CodeUnavailable, "%s: the session does not carry its lease as source identity: it is not handed out", i.config.Ref)
	}
	return broker.Identity{
		ID:    "aws:" + i.role.arn + "#" + id,
		Shown: "role " + i.role.arn + " (" + id + ") of account " + i.role.account + ", for " + strings.Join(i.config.Settings.Resources, ", "),
		Parts: i.parts(),
	}, nil
}

func (i *Issuer) endpointIdentity() broker.Identity {
	key := i.config.AccessKey.Reveal()
	return broker.Identity{
		ID:    "s3:" + i.config.Settings.Endpoint + "#" + key,
		Shown: "user " + key + " at " + i.config.Settings.Endpoint + ", for " + strings.Join(i.config.Settings.Resources, ", "),
		Parts: i.parts(),
	}
}

// parts are the resources that the file lists: none of them may be another environment's as well.
func (i *Issuer) parts() string {
	var list []string
	for _, t := range i.listed {
		list = append(list, i.config.Settings.Endpoint+i.arns(t, object)[0])
	}
	return strings.Join(list, " ")
}
