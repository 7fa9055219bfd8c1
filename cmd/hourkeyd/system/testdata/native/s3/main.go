// Command s3 is a program as people write them with the AWS SDK: it finds credentials by the SDK's own providers, and does one thing
// with one object. Nothing in it is Hourkey's.
//
//	s3 put|get|delete BUCKET KEY [TEXT]
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3], strings.Join(os.Args[4:], " ")); err != nil {
		var refusal smithy.APIError
		if errors.As(err, &refusal) {
			fmt.Println("refused:", refusal.ErrorCode())
		}
		fmt.Println(err)
		os.Exit(1)
	}
}

// provider is what the SDK's default chain comes to, in its order.
func provider() aws.CredentialsProvider {
	switch {
	case os.Getenv("AWS_ACCESS_KEY_ID") != "":
		return credentials.NewStaticCredentialsProvider(os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN"))
	case os.Getenv("CREDENTIAL_PROCESS") != "":
		return processcreds.NewProvider(os.Getenv("CREDENTIAL_PROCESS"))
	}
	return endpointcreds.New(os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI"), func(o *endpointcreds.Options) {
		o.AuthorizationToken = os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")
	})
}

func run(ctx context.Context, what, bucket, key, text string) error {
	client := s3.New(s3.Options{
		Region: os.Getenv("AWS_REGION"), BaseEndpoint: aws.String(os.Getenv("AWS_ENDPOINT_URL")), UsePathStyle: true,
		Credentials: aws.NewCredentialsCache(provider()), RetryMaxAttempts: 1,
	})
	switch what {
	case "put":
		_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(text)})
		return err
	case "delete":
		_, err := client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
		return err
	}
	object, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return err
	}
	defer object.Body.Close()
	_, err = io.Copy(os.Stdout, object.Body)
	return err
}
