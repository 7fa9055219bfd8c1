package aws_test

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/aws"
	"github.com/hourkey/hourkey/issuers/aws/miniotest"
	"github.com/hourkey/hourkey/issuers/issuertest"
)

// One MinIO for the package, started when the first test wants it.
var minio struct {
	once   sync.Once
	server *miniotest.Server
	err    error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if minio.server != nil {
		minio.server.Stop()
	}
	os.Exit(code)
}

func server(tb testing.TB) *miniotest.Server {
	tb.Helper()
	minio.once.Do(func() { minio.server, minio.err = miniotest.New() })
	issuertest.Needs(tb, minio.err, miniotest.ErrAbsent)
	return minio.server
}

// site is an environment at MinIO: a versioned bucket, and the bucket of another environment. The broker's user is root,
// the widest that there is: what a lease may not do is stopped by its session policy alone.
type site struct {
	*miniotest.Server
	bucket, other, loose string
	ref                  broker.TargetRef
}

var sites atomic.Int32

func newSite(tb testing.TB) *site {
	tb.Helper()
	n := sites.Add(1)
	s := &site{
		Server: server(tb), ref: broker.TargetRef{Environment: "staging", Target: "files"},
		bucket: fmt.Sprintf("staging-%d", n), other: fmt.Sprintf("production-%d", n), loose: fmt.Sprintf("loose-%d", n),
	}
	s.Bucket(tb, s.bucket, true, "app/one", "app/two", "secret/plan")
	s.Bucket(tb, s.other, true, "app/one")
	s.Bucket(tb, s.loose, false, "app/one")
	return s
}

func (s *site) config(change ...func(*aws.Settings)) aws.Config {
	settings := aws.Settings{
		Region: miniotest.Region, AccessKey: "env:KEY", SecretKey: "env:SECRET", Endpoint: s.URL,
		Resources: []string{"s3/" + s.bucket + "/*", "s3/" + s.loose + "/*"},
	}
	for _, c := range change {
		c(&settings)
	}
	return aws.Config{
		Ref: s.ref, Settings: settings, Now: time.Now,
		AccessKey: broker.NewSecret(miniotest.RootKey), SecretKey: broker.NewSecret(miniotest.RootSecret),
	}
}

func (s *site) issuer(tb testing.TB, change ...func(*aws.Settings)) *aws.Issuer {
	tb.Helper()
	return open(tb, s.config(change...))
}

func open(tb testing.TB, config aws.Config) *aws.Issuer {
	tb.Helper()
	issuer, err := aws.New(config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = issuer.Close() })
	return issuer
}

// What every adapter's tests do alike, by short names.
var (
	describe = issuertest.Describe
	orderFor = issuertest.Order
	next     = issuertest.Next
)

func wish(tb testing.TB, texts ...string) broker.Wish {
	tb.Helper()
	return issuertest.Wish(tb, "files", 20*time.Minute, texts...)
}

// lease issues what the scopes say.
func lease(tb testing.TB, issuer *aws.Issuer, texts ...string) broker.Credential {
	tb.Helper()
	credential, _ := issuertest.Lease(tb, issuer, orderFor(describe(tb, issuer, wish(tb, texts...)), "hk-test-1"))
	return credential
}

// as is the S3 client of a credential's holder.
func (s *site) as(c broker.Credential) *s3.Client {
	return s.S3(c.Values["AWS_ACCESS_KEY_ID"].Reveal(), c.Values["AWS_SECRET_ACCESS_KEY"].Reveal(), c.Values["AWS_SESSION_TOKEN"].Reveal())
}

func ignore[T any](_ T, err error) error { return err }

func writeFile(tb testing.TB, name, text string) {
	tb.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}
