package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/hourkey/hourkey/issuers/aws/miniotest"
)

// BenchmarkAWS: a session of a real S3 server with STS, beside AssumeRole by the SDK. To describe reading asks nobody, and writing at
// such a server waits for a human. The server answers within a few milliseconds, so that the broker's two commits weigh more here
// than beside AWS: see over-floor-p50-ms.
func BenchmarkAWS(b *testing.B) { benchNative(b, openMinIO) }

func openMinIO(b *testing.B) (target, func(b *testing.B) bare) {
	server, err := miniotest.New()
	if errors.Is(err, miniotest.ErrAbsent) && os.Getenv("HOURKEY_TEST_ALL") != "1" {
		b.Skip(err)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Stop)
	server.Bucket(b, "acme-staging", true, "app/one")
	at := target{
		name: "files", kind: "aws", scope: "s3/acme-staging/*:read", ttl: "15m", secrets: map[string]string{"env:ID": miniotest.RootKey, "env:SECRET": miniotest.RootSecret},
		body: fmt.Sprintf(`{endpoint: %q, region: %s, access_key: "env:ID", secret_key: "env:SECRET", resources: ["s3/acme-staging/*"]}`, server.URL, miniotest.Region),
	}
	return at, func(b *testing.B) bare { return newBareAWS(b, server) }
}

// sessionPolicy is as large as a lease's, and ends with it.
const sessionPolicy = `{"Version":"2012-10-17","Statement":[
{"Effect":"Allow","Action":["s3:GetObject","s3:GetObjectVersion"],"Resource":["arn:aws:s3:::acme-staging/*"]},
{"Effect":"Allow","Action":["s3:ListBucket"],"Resource":["arn:aws:s3:::acme-staging"],"Condition":{"StringLike":{"s3:prefix":["*"]}}},
{"Effect":"Deny","Action":["s3:Delete*","s3:PutBucket*","s3:PutLifecycle*","s3:BypassGovernanceRetention"],"Resource":["*"]},
{"Effect":"Deny","Action":["s3:*"],"Resource":["*"],"Condition":{"DateGreaterThanEquals":{"aws:CurrentTime":["%s"]}}}]}`

// bareAWS is the SDK, with as many connections as the issuer keeps.
type bareAWS struct {
	sts *sts.Client
	n   atomic.Int64
}

func newBareAWS(b *testing.B, server *miniotest.Server) *bareAWS {
	b.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // the standard library's own
	transport.MaxIdleConnsPerHost = 64
	b.Cleanup(transport.CloseIdleConnections)
	own := credentials.NewStaticCredentialsProvider(miniotest.RootKey, miniotest.RootSecret, "")
	return &bareAWS{sts: sts.New(sts.Options{Region: miniotest.Region, BaseEndpoint: &server.URL, Credentials: own, HTTPClient: &http.Client{Transport: transport}})}
}

func (f *bareAWS) describe() error { return nil }

func (f *bareAWS) issue(int) error {
	policy, name := fmt.Sprintf(sessionPolicy, time.Now().Add(15*time.Minute).UTC().Format(time.RFC3339)), fmt.Sprintf("hk-bench-%d", f.n.Add(1))
	_, err := f.sts.AssumeRole(context.Background(), &sts.AssumeRoleInput{
		RoleArn: aws.String("arn:aws:iam::000000000000:role/none"), RoleSessionName: &name, Policy: &policy, DurationSeconds: aws.Int32(900),
	})
	return err
}

func (f *bareAWS) release() {}
