package vault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/aws/miniotest"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/vault"
)

// bypassesOfSTS tries the ways around a role that reads and writes the objects of a bucket, with a live lease. The bucket keeps no versions,
// which Vault does not see.
func bypassesOfSTS(t *testing.T, minio *miniotest.Server, issuer *vault.Issuer) {
	t.Helper()
	minio.Bucket(t, "orders", false, "one", "two")
	minio.Bucket(t, "others", false, "one")
	w := wish(t, "bucket/*:read,write")
	w.TTL = 20 * time.Minute
	d := describe(t, issuer, w)
	credential, handle := issuertest.Lease(t, issuer, orderFor(d, "hk-by-10"))
	all := refusals(objectAttacks(minio))
	all["overwriting an object, in a bucket that keeps no versions"] = bypass{wall: "overwriting objects", loses: "bucket/one", try: func(ctx context.Context, c broker.Credential) error {
		if _, err := as(minio, c).PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("orders"), Key: aws.String("one"), Body: strings.NewReader("")}); err != nil {
			return err
		}
		return lost(ctx, minio.Root())
	}}
	all["use after a revoke, before the end"] = bypass{wall: "use after a revoke", try: func(ctx context.Context, c broker.Credential) error {
		if err := issuer.Revoke(ctx, "hk-by-10", handle); err != nil {
			return err
		}
		_, err := as(minio, c).GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("orders"), Key: aws.String("two")})
		return err
	}}
	issuertest.HoldPage(t, *update, documentation, "outcomes of aws-sts", hold(t, d, credential, all, refusedByS3, "MinIO"))
}

// lost tells whether what the object held is gone.
func lost(ctx context.Context, root *s3.Client) error {
	now, err := root.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("orders"), Key: aws.String("one")})
	if err != nil {
		return err
	}
	defer now.Body.Close()
	if content, err := io.ReadAll(now.Body); err != nil || len(content) > 0 {
		return errors.Join(errors.New("what was there is still there"), err)
	}
	return nil
}

func as(minio *miniotest.Server, c broker.Credential) *s3.Client {
	return minio.S3(c.Values["AWS_ACCESS_KEY_ID"].Reveal(), c.Values["AWS_SECRET_ACCESS_KEY"].Reveal(), c.Values["AWS_SESSION_TOKEN"].Reveal())
}

func refusedByS3(err error) bool {
	e, ok := errors.AsType[smithy.APIError](err)
	return ok && (e.ErrorCode() == "AccessDenied" || e.ErrorCode() == "Forbidden")
}

func objectAttacks(minio *miniotest.Server) map[string]func(context.Context, broker.Credential) error {
	bucket, others, one := aws.String("orders"), aws.String("others"), aws.String("one")
	attacks := map[string]func(context.Context, broker.Credential) error{}
	for name, try := range map[string]func(context.Context, *s3.Client) error{
		"DeleteObject": func(ctx context.Context, c *s3.Client) error {
			_, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: one})
			return err
		},
		"DeleteObjects, which answers for each": func(ctx context.Context, c *s3.Client) error {
			done, err := c.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: one}}}})
			if err == nil && len(done.Errors) == 1 {
				return &smithy.GenericAPIError{Code: *done.Errors[0].Code}
			}
			return err
		},
		"DeleteBucket": func(ctx context.Context, c *s3.Client) error {
			_, err := c.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: bucket})
			return err
		},
		"another bucket": func(ctx context.Context, c *s3.Client) error {
			_, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: others, Key: one})
			return err
		},
		"a copy out of another bucket": func(ctx context.Context, c *s3.Client) error {
			_, err := c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: one, CopySource: aws.String("others/one")})
			return err
		},
		"the names in the bucket": func(ctx context.Context, c *s3.Client) error {
			_, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket})
			return err
		},
		"versions that are not kept any more": func(ctx context.Context, c *s3.Client) error {
			_, err := c.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended}})
			return err
		},
		"a lifecycle rule": func(ctx context.Context, c *s3.Client) error {
			_, err := c.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{Bucket: bucket, LifecycleConfiguration: &types.BucketLifecycleConfiguration{
				Rules: []types.LifecycleRule{{Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: aws.String("")}, Expiration: &types.LifecycleExpiration{Days: aws.Int32(1)}}},
			}})
			return err
		},
		"the bucket's policy": func(ctx context.Context, c *s3.Client) error {
			_, err := c.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: bucket, Policy: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::orders/*"}]}`)})
			return err
		},
		"a tag": func(ctx context.Context, c *s3.Client) error {
			_, err := c.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{Bucket: bucket, Key: one, Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("expire"), Value: aws.String("now")}}}})
			return err
		},
	} {
		attacks[name] = func(ctx context.Context, c broker.Credential) error { return try(ctx, as(minio, c)) }
	}
	return attacks
}

// At S3 a write takes the place of what was there, and Vault does not see whether the bucket keeps it: so a write needs the approvals of
// delete, unless the file says that buckets keep versions, which reviewers are shown. At DynamoDB nothing but delete will do.
func TestWriteAtS3NeedsTheApprovalsOfDelete(t *testing.T) {
	s := newEngine(t, "aws-sts", "aws", declaring("deploy", "bucket/*:read,write"), nil)
	w := wish(t, "bucket/*:read")
	w.TTL = 20 * time.Minute
	for document, losing := range map[string]bool{
		allow("s3:GetObject"): false, allow("s3:PutObject"): true, allow("S3:putobject"): true, allow("s3:PutObjec?"): true,
		allow("s3:PutObject", "sqs:SendMessage"): true, allow("s3:PutObject", "dynamodb:PutItem"): true, allow("dynamodb:PutItem"): false, allow("sqs:SendMessage"): false,
	} {
		for _, vouched := range []bool{false, true} {
			s.settings.Accept = nil
			if vouched {
				s.settings.Accept = []vault.Accept{{Object: vault.AcceptVersionHistory, Why: "the test keeps them"}}
			}
			s.Delete(t, s.settings.Mount+"/roles/deploy")
			s.Write(t, s.settings.Mount+"/roles/deploy", map[string]any{"credential_type": "federation_token", "policy_document": document})
			d := describe(t, s.issuer(t), w)
			expiring := strings.Contains(document, "dynamodb")
			if means := broker.AllActions(d.Means()); means.NeedsHuman() != (expiring || losing && !vouched) {
				t.Errorf("%s, vouched for: %t: it means %s", document, vouched, means)
			}
			if says(d, "the test keeps them") != (losing && vouched) || (len(d.Exceptions) == 2) != (losing && vouched) {
				t.Errorf("%s, vouched for: %t: %v", document, vouched, d.Exceptions)
			}
			mends := fmt.Sprint(issuertest.Findings(t, s.issuer(t)))
			if strings.Contains(mends, "accept: [{object: version-history") != (losing && !vouched) {
				t.Errorf("%s, vouched for: %t: check --live says %s", document, vouched, mends)
			}
		}
	}
}
