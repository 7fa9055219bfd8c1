package aws_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/hourkey/hourkey/broker"
)

// sign makes a URL that whoever has it can use without a key.
type sign func(context.Context, *s3.PresignClient) (*v4.PresignedHTTPRequest, error)

// presigned are the URLs that a lease for read and write on app/* must not get anything by, and those of a lease that is
// over by its policy. Each is refused by MinIO itself.
func (s *site) presigned(over broker.Credential) map[string]func(context.Context, broker.Credential) error {
	signs := map[string]sign{
		"a presigned URL that deletes": func(ctx context.Context, c *s3.PresignClient) (*v4.PresignedHTTPRequest, error) {
			return c.PresignDeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: ptr("app/one")})
		},
		"a presigned URL outside the prefix": func(ctx context.Context, c *s3.PresignClient) (*v4.PresignedHTTPRequest, error) {
			return c.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: ptr("secret/plan")})
		},
		"a presigned URL that writes outside the prefix": func(ctx context.Context, c *s3.PresignClient) (*v4.PresignedHTTPRequest, error) {
			return c.PresignPutObject(ctx, &s3.PutObjectInput{Bucket: &s.bucket, Key: ptr("secret/new")})
		},
		"a presigned URL of another environment": func(ctx context.Context, c *s3.PresignClient) (*v4.PresignedHTTPRequest, error) {
			return c.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &s.other, Key: ptr("app/one")})
		},
	}
	list := map[string]func(context.Context, broker.Credential) error{}
	for name, sign := range signs {
		list[name] = func(ctx context.Context, c broker.Credential) error {
			signed, err := sign(ctx, s3.NewPresignClient(s.as(c)))
			if err != nil {
				return err
			}
			return follow(ctx, signed)
		}
	}
	list["use after the policy's end, telling the truth about the time"] = func(ctx context.Context, _ broker.Credential) error {
		return s.after(over, func(*s3.Options) {})(ctx, nil)
	}
	list["a presigned URL after the policy's end, signed for longer"] = func(ctx context.Context, _ broker.Credential) error {
		return s.afterByURL(over, func(*s3.Options) {})(ctx, nil)
	}
	return list
}

// afterByURL reads by a URL that a lease signed for an hour, when the lease is over.
func (s *site) afterByURL(over broker.Credential, lie func(*s3.Options)) func(context.Context, *s3.Client) error {
	return func(ctx context.Context, _ *s3.Client) error {
		signed, err := s3.NewPresignClient(s.as(over)).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: ptr("app/one")},
			s3.WithPresignExpires(time.Hour), s3.WithPresignClientFromClientOptions(lie))
		if err != nil {
			return err
		}
		time.Sleep(time.Until(over.Expires) + time.Second)
		return follow(ctx, signed)
	}
}

// follow uses a presigned URL, as whoever got hold of it would.
func follow(ctx context.Context, signed *v4.PresignedHTTPRequest) error {
	request, err := http.NewRequestWithContext(ctx, signed.Method, signed.URL, http.NoBody)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	answer.Body.Close()
	switch {
	case answer.StatusCode == http.StatusForbidden:
		return denied
	case answer.StatusCode >= http.StatusMultipleChoices:
		return fmt.Errorf("the URL gives %d", answer.StatusCode)
	}
	return nil
}
