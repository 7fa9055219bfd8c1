package aws

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/hourkey/hourkey/broker"
)

// loss is what was looked up about one place that would be written to.
type loss struct {
	place string      // "s3/acme-staging", "dynamodb/orders"
	wall  broker.Wall // native: a write there destroys nothing
	how   string
}

// The permissions to ask a place what a write there could lose.
const (
	asksVersions = "s3:GetBucketVersioning"
	asksExpiry   = "dynamodb:DescribeTimeToLive"
)

// losses asks once for each bucket and table that is written to.
func (i *Issuer) losses(ctx context.Context, seen *looked, grants []grant) ([]loss, error) {
	var list []loss
	for _, g := range grants {
		known := slices.ContainsFunc(list, func(l loss) bool { return l.place == g.place() })
		if known || g.service.asks == "" || !g.actions.Has(broker.Write) {
			continue
		}
		l, err := i.lossAt(ctx, seen, g.thing)
		if err != nil {
			return nil, err
		}
		list = append(list, l)
	}
	return list, nil
}

// lossAt asks about the bucket or the table of a thing.
func (i *Issuer) lossAt(ctx context.Context, seen *looked, t thing) (loss, error) {
	if t.service.name == s3Name {
		return i.lossInBucket(ctx, seen, t)
	}
	return i.lossInTable(ctx, seen, t)
}

func (i *Issuer) lossInBucket(ctx context.Context, seen *looked, t thing) (loss, error) {
	kept, err := i.versioned(ctx, seen, t.bucket)
	switch {
	case err != nil:
		return loss{}, err
	case !kept:
		return loss{t.place(), broker.WallNone, "the bucket is not versioned: what is overwritten is gone, so writing counts as deleting"}, nil
	case i.isCompatible():
		return loss{t.place(), broker.WallWeak, "the bucket is versioned, but a server like MinIO lets a write name the version that it replaces (versionId): writing counts as deleting"}, nil
	}
	return loss{t.place(), broker.WallNative, "the bucket is versioned: what is overwritten is kept as an older version"}, nil
}

func (i *Issuer) lossInTable(ctx context.Context, seen *looked, t thing) (loss, error) {
	expires, err := i.expires(ctx, seen, t.name)
	switch {
	case err != nil:
		return loss{}, err
	case expires:
		return loss{t.place(), broker.WallNone, "the table has a time to live: an item can be written so that it expires, so writing counts as deleting"}, nil
	}
	return loss{t.place(), broker.WallNative, "the table has no time to live: no item can be written so that it expires"}, nil
}

// gives is what a write at a place can do in spite of the wall there: the human approves it, the session is not given it.
func (i *Issuer) gives(grants []grant, l loss) []broker.Scope {
	var scopes []broker.Scope
	for _, g := range grants {
		if l.wall != broker.WallNative && l.place == g.place() && g.actions.Has(broker.Write) && !g.actions.Has(broker.Delete) {
			scopes = append(scopes, broker.Scope{Target: i.config.Ref.Target, Resource: g.resource, Actions: broker.Delete})
		}
	}
	return broker.Normalize(scopes)
}

// versioning is what a bucket answered about its versions.
type versioning struct {
	kept bool
	err  error
}

// versioned tells whether a bucket keeps what is overwritten. Who looked at the role just now asks each bucket once.
func (i *Issuer) versioned(ctx context.Context, seen *looked, name string) (bool, error) {
	if answer, known := seen.asked[name]; known {
		return answer.kept, answer.err
	}
	kept, err := i.askVersioned(ctx, seen, name)
	if seen.asked != nil {
		seen.asked[name] = versioning{kept, err}
	}
	return kept, err
}

// askVersioned asks the bucket. It must belong to the role's account.
func (i *Issuer) askVersioned(ctx context.Context, seen *looked, name string) (bool, error) {
	input := &s3.GetBucketVersioningInput{Bucket: &name}
	if !i.isCompatible() {
		input.ExpectedBucketOwner = &i.role.account
	}
	out, err := seen.s3.GetBucketVersioning(ctx, input)
	if err != nil {
		return false, err
	}
	return out.Status == s3types.BucketVersioningStatusEnabled, nil
}

// expires asks whether items of a table can be written so that they expire.
func (i *Issuer) expires(ctx context.Context, seen *looked, table string) (bool, error) {
	body, err := json.Marshal(map[string]string{"TableName": table})
	if err != nil {
		return false, err
	}
	answer, err := i.ask(ctx, seen.session, question{permission: asksExpiry, host: "dynamodb", target: "1.0 DynamoDB_20120810.DescribeTimeToLive", body: string(body)})
	if err != nil {
		return false, err
	}
	var told struct {
		TimeToLiveDescription struct{ TimeToLiveStatus string }
	}
	if err := json.Unmarshal(answer, &told); err != nil {
		return false, errors.New(asksExpiry + ": the answer cannot be read")
	}
	return told.TimeToLiveDescription.TimeToLiveStatus != "DISABLED", nil // unknown is not disabled
}
