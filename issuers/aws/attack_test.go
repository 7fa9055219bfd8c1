package aws_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/aws"
	"github.com/hourkey/hourkey/issuers/aws/miniotest"
	"github.com/hourkey/hourkey/issuers/issuertest"
)

// attacks are what a lease for read and write on app/* must be refused by MinIO itself, though its user is root.
func (s *site) attacks() map[string]func(context.Context, broker.Credential) error {
	tries := map[string]func(context.Context, *s3.Client) error{
		"a key outside the prefix": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: ptr("secret/plan")}))
		},
		"writing outside the prefix": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.bucket, Key: ptr("secret/plan"), Body: strings.NewReader("x")}))
		},
		"a prefix that is none: application": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.bucket, Key: ptr("application"), Body: strings.NewReader("x")}))
		},
		"copying from outside the prefix": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &s.bucket, Key: ptr("app/plan"), CopySource: ptr(s.bucket + "/secret/plan")}))
		},
		"copying from another environment": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &s.bucket, Key: ptr("app/plan"), CopySource: ptr(s.other + "/app/one")}))
		},
		"listing the whole bucket": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &s.bucket}))
		},
		"listing another prefix": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: ptr("secret/")}))
		},
		"listing all buckets": func(ctx context.Context, c *s3.Client) error {
			out, err := c.ListBuckets(ctx, &s3.ListBucketsInput{})
			if err == nil && len(out.Buckets) == 1 && sdk.ToString(out.Buckets[0].Name) == s.bucket {
				return denied // MinIO answers with what may be listed, and that is the lease's own
			}
			return err
		},
		"DeleteObject": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: ptr("app/one")}))
		},
		"removing a version for good": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: ptr("app/one"), VersionId: ptr("null")}))
		},
		"DeleteObjects, many at once": func(ctx context.Context, c *s3.Client) error {
			out, err := c.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &s.bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: ptr("app/one")}}}})
			if err == nil && len(out.Errors) == 1 && sdk.ToString(out.Errors[0].Code) == "AccessDenied" {
				return denied // the call is answered, each object is refused
			}
			return err
		},
		"switching versioning off": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: &s.bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended}}))
		},
		"a lifecycle rule that deletes": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{Bucket: &s.bucket, LifecycleConfiguration: &types.BucketLifecycleConfiguration{
				Rules: []types.LifecycleRule{{Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: ptr("app/")}, Expiration: &types.LifecycleExpiration{Days: ptr(int32(1))}}},
			}}))
		},
		"a tag, by which a rule could delete": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{Bucket: &s.bucket, Key: ptr("app/one"), Tagging: &types.Tagging{TagSet: []types.Tag{{Key: ptr("expire"), Value: ptr("now")}}}}))
		},
		"a tag in the header of a write": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.bucket, Key: ptr("app/tagged"), Body: strings.NewReader("x"), Tagging: ptr("expire=now")}))
		},
		"a bucket policy for everybody": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: &s.bucket, Policy: ptr(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::` + s.bucket + `/*"}]}`)}))
		},
		"replication of what is deleted": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.PutBucketReplication(ctx, &s3.PutBucketReplicationInput{Bucket: &s.bucket, ReplicationConfiguration: &types.ReplicationConfiguration{
				Role: ptr("arn:aws:iam::111122223333:role/x"), Rules: []types.ReplicationRule{{Status: types.ReplicationRuleStatusEnabled, Priority: ptr(int32(1)), Destination: &types.Destination{Bucket: ptr("arn:aws:s3:::" + s.other)},
					Filter: &types.ReplicationRuleFilter{}, DeleteMarkerReplication: &types.DeleteMarkerReplication{Status: types.DeleteMarkerReplicationStatusEnabled}}},
			}}))
		},
		"listing the versions of another prefix": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &s.bucket, Prefix: ptr("secret/")}))
		},
		"listing uploads that are under way": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &s.bucket, Prefix: ptr("app/")}))
		},
		"reading the bucket's policy": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &s.bucket}))
		},
		"a notification that sets something off": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.PutBucketNotificationConfiguration(ctx, &s3.PutBucketNotificationConfigurationInput{Bucket: &s.bucket, NotificationConfiguration: &types.NotificationConfiguration{}}))
		},
		"another encryption for the bucket": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.PutBucketEncryption(ctx, &s3.PutBucketEncryptionInput{Bucket: &s.bucket, ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{
				Rules: []types.ServerSideEncryptionRule{{ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAes256}}},
			}}))
		},
		"a tag on the bucket": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: &s.bucket, Tagging: &types.Tagging{TagSet: []types.Tag{{Key: ptr("a"), Value: ptr("b")}}}}))
		},
		"a form that writes outside the prefix": func(ctx context.Context, c *s3.Client) error {
			return s.post(ctx, c, "secret/plan", "", nil)
		},
		"a grant to everybody in the header of a write": func(ctx context.Context, c *s3.Client) error {
			if _, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.bucket, Key: ptr("app/public"), Body: strings.NewReader("x"), ACL: types.ObjectCannedACLPublicRead}); err != nil {
				return err
			}
			if answer, err := http.Get(s.URL + "/" + s.bucket + "/app/public"); err != nil || answer.StatusCode == http.StatusForbidden {
				return errors.Join(err, denied, answer.Body.Close()) // MinIO takes the header and does nothing with it
			}
			return nil
		},
		"the server's administration": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.GetObject(ctx, &s3.GetObjectInput{Bucket: ptr("minio"), Key: ptr("admin/v3/info")}))
		},
		"deleting the bucket": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &s.bucket}))
		},
		"deleting the bucket by force": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &s.bucket}, header("x-minio-force-delete", "true")))
		},
		"deleting a prefix by force": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: ptr("app/")}, header("x-minio-force-delete", "true")))
		},
		"a bucket of its own": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: ptr(s.bucket + "-mine")}))
		},
		"throwing away another's upload": func(ctx context.Context, c *s3.Client) error {
			out, err := s.Root().CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &s.bucket, Key: ptr("app/big")})
			if err != nil {
				return err
			}
			return ignore(c.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.bucket, Key: ptr("app/big"), UploadId: out.UploadId}))
		},
		"a tag on a copy": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &s.bucket, Key: ptr("app/copy"), CopySource: ptr(s.bucket + "/app/one"), TaggingDirective: types.TaggingDirectiveReplace, Tagging: ptr("expire=now")}))
		},
		"a tag on an upload in parts": func(ctx context.Context, c *s3.Client) error {
			return ignore(c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &s.bucket, Key: ptr("app/parts"), Tagging: ptr("expire=now")}))
		},
		"an archive unpacked beside the prefix": func(ctx context.Context, c *s3.Client) error {
			return s.unpack(ctx, c, "unpacked/one", nil, header("X-Amz-Meta-Minio-Snowball-Prefix", "secret"))
		},
		"an archive whose names lead out of the prefix": func(ctx context.Context, c *s3.Client) error {
			return s.unpack(ctx, c, "secret/unpacked", nil)
		},
		"a tag inside an archive": func(ctx context.Context, c *s3.Client) error {
			if err := s.unpack(ctx, c, "app/inside", map[string]string{"minio.metadata.X-Amz-Tagging": "expire=now"}); err == nil || err.Error() != "unpacked to app/inside" {
				return err
			}
			tags, err := s.Root().GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: &s.bucket, Key: ptr("app/inside")})
			if err == nil && len(tags.TagSet) == 0 {
				return denied
			}
			return err
		},
	}
	list := map[string]func(context.Context, broker.Credential) error{}
	for name, try := range tries {
		list[name] = func(ctx context.Context, c broker.Credential) error { return try(ctx, s.as(c)) }
	}
	list["another session out of this one"] = func(ctx context.Context, c broker.Credential) error {
		client := sts.New(sts.Options{Region: miniotest.Region, BaseEndpoint: &s.URL, Credentials: credentials.NewStaticCredentialsProvider(
			c.Values["AWS_ACCESS_KEY_ID"].Reveal(), c.Values["AWS_SECRET_ACCESS_KEY"].Reveal(), c.Values["AWS_SESSION_TOKEN"].Reveal())})
		return ignore(client.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: ptr("arn:aws:iam::000000000000:role/none"), RoleSessionName: ptr("chained")}))
	}
	list["the key without its token"] = func(ctx context.Context, c broker.Credential) error {
		bare := s.S3(c.Values["AWS_ACCESS_KEY_ID"].Reveal(), c.Values["AWS_SECRET_ACCESS_KEY"].Reveal(), "")
		return notAsMuchAs(ignore(bare.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: ptr("app/one")})))
	}
	return list
}

// unpack uploads an archive that MinIO takes apart (its "snowball" extension), and says denied where no object came of it.
func (s *site) unpack(ctx context.Context, c *s3.Client, name string, records map[string]string, o ...func(*s3.Options)) error {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	err := errors.Join(w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: 1, PAXRecords: records, Format: tar.FormatPAX}), ignore(w.Write([]byte("x"))), w.Close())
	if err != nil {
		return err
	}
	o = append(o, header("X-Amz-Meta-Snowball-Auto-Extract", "true"))
	err = ignore(c.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.bucket, Key: ptr("app/archive.tar"), Body: bytes.NewReader(archive.Bytes())}, o...))
	for _, prefix := range []string{"", "secret/", "app/", "app/secret/"} {
		if out, _ := s.Root().ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: ptr(prefix + name)}); out != nil && len(out.Contents) > 0 {
			return fmt.Errorf("unpacked to %s", prefix+name)
		}
	}
	if err == nil {
		return denied
	}
	return err
}

// denied stands for a refusal that the server writes inside an answer.
var denied = &smithy.GenericAPIError{Code: "AccessDenied"}

func header(name, value string) func(*s3.Options) {
	return s3.WithAPIOptions(smithyhttp.AddHeaderValue(name, value))
}

// notAsMuchAs: the server does not even know this half of a credential.
func notAsMuchAs(err error) error {
	if e, ok := errors.AsType[smithy.APIError](err); ok && (e.ErrorCode() == "InvalidAccessKeyId" || e.ErrorCode() == "InvalidTokenId") {
		return denied
	}
	return err
}

// What a write replaces is still there: that is why it is no delete.
func TestWhatALeaseOverwritesIsKept(t *testing.T) {
	s := newSite(t)
	c := lease(t, s.issuer(t), "s3/"+s.bucket+"/app/*:read,write")
	for range 3 {
		if err := s.use(t.Context(), c, broker.Write); err != nil {
			t.Fatal(err)
		}
	}
	if versions, markers := s.Versions(t, s.bucket, "app/one"); versions != 4 || markers != 0 {
		t.Errorf("%d versions and %d markers; want the first and three more", versions, markers)
	}
}

// A write where nothing is kept is approved like a delete, whatever was asked; the session is given no more than the write.
func TestWriteToAnUnversionedBucketIsDelete(t *testing.T) {
	const kept, loose = "s3/acme-staging/app/*", "s3/acme-loose/app/*"
	issuer := newCloud().issuer(t)
	for name, c := range map[string]struct {
		asks []string
		want map[string]string
	}{
		"versioned":     {[]string{kept + ":read,write"}, map[string]string{kept: "read,write"}},
		"not versioned": {[]string{loose + ":read,write"}, map[string]string{loose: "read,write,delete"}},
		"reading alone": {[]string{loose + ":read"}, map[string]string{loose: "read"}},
		"one of each":   {[]string{kept + ":write", loose + ":write"}, map[string]string{kept: "write", loose: "write,delete"}},
		"deleting too":  {[]string{loose + ":write,delete"}, map[string]string{loose: "write,delete"}},
	} {
		t.Run(name, func(t *testing.T) {
			asked := wish(t, c.asks...)
			d := describe(t, issuer, asked)
			if diff := cmp.Diff(c.want, byResource(d.Means())); diff != "" {
				t.Errorf("it means (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(broker.Normalize(asked.Scopes), d.Scopes); diff != "" {
				t.Errorf("it gives (-asked +given):\n%s", diff)
			}
			again, err := issuer.Describe(t.Context(), broker.Wish{Scopes: d.Scopes, TTL: d.TTL})
			if err != nil || again.Digest() != d.Digest() {
				t.Errorf("described again with its own scopes it differs: %v\n%s", err, cmp.Diff(d, again))
			}
		})
	}
}

// byResource gives the actions by resource.
func byResource(scopes []broker.Scope) map[string]string {
	by := map[string]string{}
	for _, scope := range scopes {
		by[string(scope.Resource)] = scope.Actions.String()
	}
	return by
}

// What the human approved is what can be lost; the session still cannot delete.
func TestApprovedWriteToAnUnversionedBucketDeletesNothing(t *testing.T) {
	s := newSite(t)
	d := describe(t, s.issuer(t), wish(t, "s3/"+s.loose+"/app/*:write"))
	if !broker.AllActions(d.Means()).Has(broker.Delete) || broker.AllActions(d.Scopes) != broker.Write {
		t.Errorf("it means %v and gives %v", broker.Texts(d.Means()), broker.Texts(d.Scopes))
	}
	c := s.as(lease(t, s.issuer(t), "s3/"+s.loose+"/app/*:write"))
	if err := ignore(c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &s.loose, Key: ptr("app/one"), Body: strings.NewReader("x")})); err != nil {
		t.Errorf("writing: %v", err)
	}
	if err := ignore(c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &s.loose, Key: ptr("app/one")})); !refused(err) {
		t.Errorf("deleting: %v; want it refused", err)
	}
}

// Versioning that was switched off after the decision is seen when it is described again.
func TestVersioningSuspendedAfterTheDecisionChangesTheDescription(t *testing.T) {
	s := newSite(t)
	issuer := s.issuer(t)
	before := describe(t, issuer, wish(t, "s3/"+s.bucket+"/app/*:write"))
	s.Version(t, s.bucket, types.BucketVersioningStatusSuspended)
	after := describe(t, issuer, wish(t, "s3/"+s.bucket+"/app/*:write"))
	if before.Digest() == after.Digest() || !broker.AllActions(after.Means()).Has(broker.Delete) {
		t.Errorf("before %v, after %v; want the second to be delete", broker.Texts(before.Means()), broker.Texts(after.Means()))
	}
}

// Retention in compliance mode cannot be taken back by anybody, for years: no write may set it.
func TestWriteLeaseSetsNoRetention(t *testing.T) {
	s := newSite(t)
	name := s.bucket + "-locked"
	if _, err := s.Root().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name, ObjectLockEnabledForBucket: ptr(true)}); err != nil {
		t.Fatal(err)
	}
	c := s.as(lease(t, s.issuer(t, func(settings *aws.Settings) { settings.Resources = []string{"s3/" + name + "/*"} }), "s3/"+name+"/*:read,write"))
	key, until := ptr("one"), ptr(time.Now().AddDate(9, 0, 0))
	write := &s3.PutObjectInput{Bucket: &name, Key: key, Body: strings.NewReader("x")}
	if _, err := c.PutObject(t.Context(), write); err != nil {
		t.Fatal(err)
	}
	write.ObjectLockMode, write.ObjectLockRetainUntilDate, write.Body = types.ObjectLockModeCompliance, until, strings.NewReader("x")
	for what, err := range map[string]error{
		"by a call": ignore(c.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{Bucket: &name, Key: key,
			Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeCompliance, RetainUntilDate: until}})),
		"by the header of a write": ignore(c.PutObject(t.Context(), write)),
		"by a legal hold":          ignore(c.PutObjectLegalHold(t.Context(), &s3.PutObjectLegalHoldInput{Bucket: &name, Key: key, LegalHold: &types.ObjectLockLegalHold{Status: types.ObjectLockLegalHoldStatusOn}})),
		"by the header of a copy":  ignore(c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: &name, Key: ptr("copy"), CopySource: ptr(name + "/one"), ObjectLockMode: types.ObjectLockModeCompliance, ObjectLockRetainUntilDate: until})),
		"by an upload in parts":    ignore(c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &name, Key: ptr("parts"), ObjectLockMode: types.ObjectLockModeCompliance, ObjectLockRetainUntilDate: until})),
		"by a hold on a copy":      ignore(c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: &name, Key: ptr("copy"), CopySource: ptr(name + "/one"), ObjectLockLegalHoldStatus: types.ObjectLockLegalHoldStatusOn})),
		"for the whole bucket":     ignore(c.PutObjectLockConfiguration(t.Context(), &s3.PutObjectLockConfigurationInput{Bucket: &name, ObjectLockConfiguration: &types.ObjectLockConfiguration{ObjectLockEnabled: types.ObjectLockEnabledEnabled}})),
	} {
		if err == nil || !refused(err) {
			t.Errorf("%s: %v; want it refused", what, err)
		}
	}
}

// A presigned URL is the session's: it dies with the lease, however long it was signed for.
func TestPresignedURLDiesWithTheLease(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	issuer := aws.AllowShortLeases(s.issuer(t))
	w := wish(t, "s3/"+s.bucket+"/app/*:read")
	w.TTL = 10 * time.Second // enough for one call, also on a machine that stands still for a while
	c, _ := issuertest.Lease(t, issuer, orderFor(describe(t, issuer, w), "hk-presign-1"))
	signed, err := s3.NewPresignClient(s.as(c)).PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: &s.bucket, Key: ptr("app/one")}, s3.WithPresignExpires(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if status := fetch(t, signed.URL); status != http.StatusOK {
		t.Errorf("before the end it gives %d; want it to work", status)
	}
	time.Sleep(time.Until(c.Expires) + time.Second)
	if status := fetch(t, signed.URL); status != http.StatusForbidden {
		t.Errorf("after the end it gives %d; want it refused", status)
	}
}

func fetch(t *testing.T, url string) int {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

// Terraform removes the lock of its state, and nothing else.
func TestTerraformStateLockIsTheOnlyThingThatAWriteLeaseRemoves(t *testing.T) {
	s := newSite(t)
	const state, lock = "state/shop.tfstate", "state/shop.tfstate.tflock"
	issuer := s.issuer(t, func(settings *aws.Settings) {
		settings.Locks = []aws.Lock{{Object: "s3/" + s.bucket + "/" + lock, Why: "Terraform removes its own lock"}}
	})
	d := describe(t, issuer, wish(t, "s3/"+s.bucket+"/state/*:read,write"))
	if len(d.Exceptions) != 1 || !strings.Contains(d.Exceptions[0].Object, lock) || broker.AllActions(d.Scopes).Has(broker.Delete) {
		t.Errorf("described %v with the exceptions %v; want the lock named, and no delete", broker.Texts(d.Scopes), d.Exceptions)
	}
	c := s.as(lease(t, issuer, "s3/"+s.bucket+"/state/*:read,write"))
	put := func(key string, o ...func(*s3.Options)) error {
		return ignore(c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &s.bucket, Key: &key, Body: strings.NewReader("{}")}, o...))
	}
	remove := func(key string) error {
		return ignore(c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &s.bucket, Key: &key}))
	}
	if err := errors.Join(put(lock, header("If-None-Match", "*")), put(state), remove(lock)); err != nil {
		t.Errorf("locking, writing and unlocking: %v", err)
	}
	for _, key := range []string{state, "state/other.tfstate.tflock", lock + ".x", "app/one"} {
		if err := remove(key); err == nil || !refused(err) {
			t.Errorf("removing %s: %v; want it refused", key, err)
		}
	}
	if d := describe(t, issuer, wish(t, "s3/"+s.bucket+"/app/*:read,write")); len(d.Exceptions) != 0 {
		t.Errorf("a lease elsewhere has the exception too: %v", d.Exceptions)
	}
	if d := describe(t, issuer, wish(t, "s3/"+s.bucket+"/state/*:read")); len(d.Exceptions) != 0 {
		t.Errorf("a lease for reading has the exception too: %v", d.Exceptions)
	}
}
