package aws

import (
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

const (
	attempts    = 3
	longestWait = time.Second
	idleConns   = 64 // leases can be issued so many at once
)

// newHTTP makes the client that everything goes over. It follows no redirect: a signed request is for one host.
func newHTTP(transport http.RoundTripper) *http.Client {
	if transport == nil {
		pooled := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // net/http says so
		pooled.MaxIdleConnsPerHost = idleConns
		pooled.ResponseHeaderTimeout = 20 * time.Second
		transport = pooled
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = attempts, longestWait })
}

// onceRetryer tries again only where STS says that it made nothing: after an answer that did not come, or came torn, a
// session may exist, and a second one would be another key of the same lease.
func onceRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff = attempts, longestWait
		o.Retryables = []retry.IsErrorRetryable{retry.RetryableErrorCode{Codes: retry.DefaultThrottleErrorCodes}}
	})
}

// newSTS makes the client of STS with the broker's own key. Nothing is read from the environment or from files.
func (i *Issuer) newSTS() *sts.Client {
	return sts.New(sts.Options{
		Region: i.config.Settings.Region, Credentials: static(i.own), HTTPClient: i.http, Retryer: newRetryer(), BaseEndpoint: i.endpoint(),
	})
}

// newS3 makes a client of S3 for somebody.
func (i *Issuer) newS3(as aws.Credentials) *s3.Client {
	return s3.New(s3.Options{
		Region: i.config.Settings.Region, Credentials: static(as), HTTPClient: i.http, Retryer: newRetryer(), BaseEndpoint: i.endpoint(),
		UsePathStyle: i.isCompatible(),
	})
}

// endpoint is nil for AWS: the SDK knows its hosts.
func (i *Issuer) endpoint() *string {
	if !i.isCompatible() {
		return nil
	}
	return aws.String(i.config.Settings.Endpoint)
}

func static(c aws.Credentials) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)
}
