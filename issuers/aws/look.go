package aws

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/hourkey/hourkey/broker"
)

// looked is the role as it was last looked at: whose session one gets, and a session that may only look.
type looked struct {
	identity broker.Identity
	session  aws.Credentials
	s3       *s3.Client
	at       time.Time
	// asked maps the buckets that were asked about while looking to what they answered: nothing is asked twice for one
	// request. It is the caller's who looked; to all later ones it is nil, since a bucket can be another a moment later.
	asked map[string]versioning
}

// lookFor is how long that session is used. It is good for 15 minutes.
const lookFor = 10 * time.Minute

// lookingAtRole is what failed, to a caller, when look or lookAnew did.
const lookingAtRole = "looking at the role"

// lookName is the name of those sessions. It is no lease's.
const lookName = "hourkey-look"

// look gives the role as it was looked at a while ago, or looks anew. One caller at a time does the work.
func (i *Issuer) look(ctx context.Context) (*looked, error) { return i.lookOrRenew(ctx, lookFor) }

// lookAnew asks the provider in any case.
func (i *Issuer) lookAnew(ctx context.Context) (*looked, error) { return i.lookOrRenew(ctx, 0) }

func (i *Issuer) lookOrRenew(ctx context.Context, believed time.Duration) (*looked, error) {
	select {
	case i.looking <- struct{}{}:
	case <-ctx.Done():
		return nil, i.fault("waiting for STS", ctx.Err())
	}
	defer func() { <-i.looking }()
	if i.seen != nil {
		if age := i.config.Now().Sub(i.seen.at); age >= 0 && age < believed {
			return i.seen, nil
		}
	}
	i.seen = nil
	seen, err := i.lookNow(ctx)
	if err != nil {
		return nil, err
	}
	later := *seen
	later.asked = nil
	i.seen = &later
	return seen, nil
}

// forget makes the next caller look anew: what was seen may have changed. Who is looking just now sees it anyway.
func (i *Issuer) forget() {
	select {
	case i.looking <- struct{}{}:
		i.seen = nil
		<-i.looking
	default:
	}
}

func (i *Issuer) lookNow(ctx context.Context) (*looked, error) {
	if _, err := i.caller(ctx); err != nil {
		return nil, err
	}
	text, err := i.document(i.lookPolicy().lines())
	if err != nil {
		return nil, err
	}
	at := i.config.Now()
	got, err := i.assume(ctx, session{name: lookName, policy: text, duration: stsFloor})
	if err != nil {
		return nil, err
	}
	seen := &looked{identity: got.identity, session: got.Credentials, s3: i.newS3(got.Credentials), at: at, asked: map[string]versioning{}}
	if i.isCompatible() {
		if err := i.prove(ctx, seen); err != nil {
			return nil, err
		}
	}
	return seen, nil
}

// caller asks STS whose key the broker holds, and gives the ARN: empty where the server does not say. A session's is refused: it could assume a role for an hour at most, bears
// somebody else's source identity, and dies itself.
func (i *Issuer) caller(ctx context.Context) (string, error) {
	out, err := i.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		if i.isCompatible() && isUnsupported(err) {
			return "", nil
		}
		return "", err
	}
	arn := aws.ToString(out.Arn)
	return arn, i.unfit(arn)
}

var userPattern = regexp.MustCompile(`^arn:(aws|aws-cn|aws-us-gov):iam::[0-9]{12}:user/`)

// unfit says why a credential must not be the broker's own. At AWS only an IAM user's is fit: whoever says nothing of
// itself may be a session as well.
func (i *Issuer) unfit(arn string) error {
	wall := missingWall{mend: "make an IAM user for the broker, with sts:AssumeRole on the one role as its only permission, and name its access key in access_key and secret_key"}
	switch {
	case strings.Contains(arn, ":sts::"):
		wall.object, wall.problem = "role chaining", "the broker's own credential is a session ("+arn+"): sessions made of sessions live an hour at most and carry the first one's identity"
	case strings.HasSuffix(arn, ":root"):
		wall.object, wall.problem = "account root", "the broker's own credential is the account's root ("+arn+"), which nothing limits"
	case !i.isCompatible() && !userPattern.MatchString(arn):
		wall.object, wall.problem = "broker key", fmt.Sprintf("the broker's own credential is not an IAM user's: STS says %q", arn)
	default:
		return nil
	}
	return wall
}

// lookPolicy lets a session ask what a write could lose, and nothing else.
func (i *Issuer) lookPolicy() policy {
	arns := map[string][]string{} // permission → the buckets or tables of the file
	for _, t := range i.listed {
		if t.service.asks != "" {
			arns[t.service.asks] = append(arns[t.service.asks], i.arns(t, asked)...)
		}
	}
	var p policy
	for _, permission := range slices.Sorted(maps.Keys(arns)) {
		p = append(p, statement{Effect: "Allow", Action: many{permission}, Resource: eachOnce(arns[permission])})
	}
	if len(p) == 0 {
		return policy{{Effect: "Deny", Action: many{"*"}, Resource: many{"*"}}}
	}
	return p
}
