package aws_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/aws"
	"github.com/hourkey/hourkey/issuers/aws/miniotest"
	"github.com/hourkey/hourkey/issuers/issuertest"
)

// The suite runs against MinIO: S3 and STS with session policies. What MinIO does not have is not proven here: roles and
// their trust, tags, source identity, packed sizes, NotAction (TestSessionPolicy… evaluate those), and the other services.
func TestConformance(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	app := "s3/" + s.bucket + "/app/*"
	issuertest.Run(t, issuertest.Harness{
		Issuer: aws.AllowShortLeases(s.issuer(t)),
		Reopen: func(t *testing.T) issuertest.Issuer { return aws.AllowShortLeases(s.issuer(t)) },

		ReadWrite: wish(t, app+":read,write"),
		Delete:    wish(t, app+":read,write,delete"),
		Unknown:   wish(t, "s3/"+s.other+"/*:read"),
		Admin:     wish(t, app+":admin"),
		Short:     3 * time.Second,

		Use: s.use,
		Elsewhere: func(ctx context.Context, c broker.Credential) error {
			return ignore(s.as(c).GetObject(ctx, &s3.GetObjectInput{Bucket: &s.other, Key: ptr("app/one")}))
		},
		Outside: s.attacks(),
		Connect: s.connect,
		Refused: refused,

		SecretNames: []string{"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"},
		Secrets:     []string{miniotest.RootSecret},
		Fault: func(*testing.T) (issuertest.Issuer, error) {
			config := s.config()
			config.SecretKey = broker.NewSecret("a-wrong-secret-key")
			issuer, err := aws.New(config)
			if err != nil {
				return nil, err
			}
			return aws.AllowShortLeases(issuer), nil
		},
	})
}

// use does one action on a key under app/.
func (s *site) use(ctx context.Context, c broker.Credential, action broker.Actions) error {
	return s.do(ctx, s.as(c), action)
}

func (s *site) do(ctx context.Context, as *s3.Client, action broker.Actions) error {
	if action == broker.Read {
		return errors.Join(
			ignore(as.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: ptr("app/one")})),
			ignore(as.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: ptr("app/")})))
	}
	if action == broker.Write {
		return ignore(as.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.bucket, Key: ptr("app/one"), Body: strings.NewReader("written")}))
	}
	return ignore(as.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: ptr("app/two")}))
}

// refused tells whether the provider itself says no.
func refused(err error) bool {
	e, ok := errors.AsType[smithy.APIError](err)
	return ok && (e.ErrorCode() == "AccessDenied" || e.ErrorCode() == "Forbidden")
}

// session is a client with its pooled connection.
type session struct {
	*site
	client *s3.Client
}

func (s *site) connect(_ context.Context, c broker.Credential) (issuertest.Session, error) {
	return session{s, s.as(c)}, nil
}

func (s session) Do(ctx context.Context, action broker.Actions) error {
	return s.do(ctx, s.client, action)
}

func (s session) Close() {}

func ptr[T any](v T) *T { return &v }
