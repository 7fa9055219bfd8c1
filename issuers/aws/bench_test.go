package aws_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/aws"
	"github.com/hourkey/hourkey/issuers/aws/miniotest"
	"github.com/hourkey/hourkey/issuers/issuertest"
)

// BenchmarkIssue compares the issuer with the same calls made bare by the SDK: AssumeRole with the same policy, and GetBucketVersioning before it
// where the request is for writing.
func BenchmarkIssue(b *testing.B) {
	s := newSite(b)
	issuer := s.issuer(b)
	for _, actions := range []string{"read", "read,write"} {
		b.Run(actions, func(b *testing.B) {
			w := wish(b, "s3/"+s.bucket+"/app/*:"+actions)
			issuertest.Bench(b, issuer, w, newFloor(b, s, issuer, w).request)
		})
	}
}

// BenchmarkOwnWork is what the issuer does by itself: the calls are answered from memory.
func BenchmarkOwnWork(b *testing.B) {
	issuer := newCloud().issuer(b)
	w := wish(b, "s3/acme-staging/app/*:read", "sqs/orders:write")
	for b.Loop() {
		if _, _, err := issuer.Issue(b.Context(), orderFor(describe(b, issuer, w), "hk-bench-1")); err != nil {
			b.Fatal(err)
		}
	}
}

// floor is the bare SDK, with a pool of connections like the issuer's.
type floor struct {
	sts    *sts.Client
	s3     *s3.Client
	bucket string
	input  sts.AssumeRoleInput
	looks  bool
}

func newFloor(b *testing.B, s *site, issuer *aws.Issuer, w broker.Wish) *floor {
	b.Helper()
	policy, err := issuer.SessionPolicy(describe(b, issuer, w), time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	if err != nil {
		b.Fatal(err)
	}
	looking, err := issuer.Looking(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	own := credentials.NewStaticCredentialsProvider(miniotest.RootKey, miniotest.RootSecret, "")
	client := &http.Client{Transport: transport}
	return &floor{
		sts:    sts.New(sts.Options{Region: miniotest.Region, BaseEndpoint: &s.URL, Credentials: own, HTTPClient: client}),
		s3:     looking, // the same session: the server works more for one than for its root
		bucket: s.bucket, looks: broker.AllActions(w.Scopes).Has(broker.Write),
		input: sts.AssumeRoleInput{RoleArn: ptr("arn:aws:iam::000000000000:role/none"), RoleSessionName: ptr("hk-bench-1"), Policy: &policy, DurationSeconds: ptr(int32(900))},
	}
}

func (f *floor) request(ctx context.Context, _ string) (broker.Handle, error) {
	if f.looks {
		if _, err := f.s3.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &f.bucket}); err != nil {
			return nil, err
		}
	}
	_, err := f.sts.AssumeRole(ctx, &f.input)
	return nil, err
}
