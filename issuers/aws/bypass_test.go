package aws_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/aws"
	"github.com/hourkey/hourkey/issuers/issuertest"
)

var update = flag.Bool("update", false, "write the outcomes of the bypasses into the documentation")

// bypass is a way around "no delete", the prefix, or the end that MinIO leaves open, and the human was told of.
type bypass struct {
	loses bool   // of app/one, what was there before the lease is gone afterwards
	told  string // the wall of the description that says so, by what it stops; or shorter
	try   func(ctx context.Context, c *s3.Client) error
}

// shorter stands for: the lease that this works with ends by its policy before its session does, and is not given at all.
const shorter = "no lease is given that ends so"

// open are the bypasses that work at MinIO, tried with a lease for read and write on app/*.
func (s *site) open(version string, ended broker.Credential) map[string]bypass {
	one := func() *s3.PutObjectInput {
		return &s3.PutObjectInput{Bucket: &s.bucket, Key: ptr("app/one"), Body: strings.NewReader("x")}
	}
	losing := "losing what a write replaces in s3/" + s.bucket
	const listing = "listing names outside the prefix"
	list := func(lie func(*s3.Options)) func(context.Context, *s3.Client) error {
		return func(ctx context.Context, c *s3.Client) error {
			out, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: ptr("secret/")}, lie)
			if err == nil && len(out.Contents) == 0 {
				return denied
			}
			return err
		}
	}
	return map[string]bypass{
		"replacing a version by its id (PUT with versionId)": {true, losing, func(ctx context.Context, c *s3.Client) error {
			return ignore(c.PutObject(ctx, one(), query("versionId", version)))
		}},
		"replacing a version by its id, by a copy": {true, losing, func(ctx context.Context, c *s3.Client) error {
			return ignore(c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &s.bucket, Key: ptr("app/one"), CopySource: ptr(s.bucket + "/app/two")}, query("versionId", version)))
		}},
		"replacing a version by its id, by an upload in parts": {true, losing, func(ctx context.Context, c *s3.Client) error {
			return s.upload(ctx, c, "app/one", query("versionId", version))
		}},
		"replacing a version by its id, by a form (POST)": {true, losing, func(ctx context.Context, c *s3.Client) error {
			return s.post(ctx, c, "app/one", "?versionId="+version, nil)
		}},
		"replacing an object whose key ends in a slash": {false, losing, func(ctx context.Context, c *s3.Client) error {
			for _, text := range []string{"a", "bc"} {
				if _, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.bucket, Key: ptr("app/folder/"), Body: strings.NewReader(text)}); err != nil {
					return err
				}
			}
			return nil
		}},
		"a tag by a form (POST)": {false, losing, func(ctx context.Context, c *s3.Client) error {
			return s.post(ctx, c, "app/form", "", map[string]string{"tagging": "<Tagging><TagSet><Tag><Key>expire</Key><Value>now</Value></Tag></TagSet></Tagging>"})
		}},
		"a time of change to come, which hides later writes": {false, losing, func(ctx context.Context, c *s3.Client) error {
			return ignore(c.PutObject(ctx, one(), header("X-Minio-Source-Mtime", "2091-01-01T00:00:00Z")))
		}},
		"listing other names of the bucket by a header (Prefix)":               {false, listing, list(header("Prefix", "app/"))},
		"listing other names of the bucket by a parameter (Prefix)":            {false, listing, list(query("Prefix", "app/"))},
		"use after the policy's end by a header (Currenttime)":                 {false, shorter, s.after(ended, header("Currenttime", "2001-01-01T00:00:00Z"))},
		"use after the policy's end by a parameter (Currenttime)":              {false, shorter, s.after(ended, query("Currenttime", "x"))},
		"a presigned URL after the policy's end, by a parameter (Currenttime)": {false, shorter, s.afterByURL(ended, query("Currenttime", "x"))},
	}
}

// ending is a lease that is over by its policy in a moment, and not yet by its session: as short as none is without
// AllowShortLeases.
func (s *site) ending(t *testing.T) broker.Credential {
	t.Helper()
	issuer := aws.AllowShortLeases(s.issuer(t))
	w := wish(t, "s3/"+s.bucket+"/app/*:read")
	w.TTL = 10 * time.Second // enough for it to be issued, also on a machine that stands still for a while
	if _, err := s.issuer(t).Describe(t.Context(), w); broker.CodeOf(err) != broker.CodeInvalid {
		t.Errorf("a lease that would end by its policy alone: %v; want it refused", err)
	}
	c, _ := issuertest.Lease(t, issuer, orderFor(describe(t, issuer, w), "hk-ending-1"))
	return c
}

// after reads with a lease that is over.
func (s *site) after(ended broker.Credential, lie func(*s3.Options)) func(context.Context, *s3.Client) error {
	return func(ctx context.Context, _ *s3.Client) error {
		time.Sleep(time.Until(ended.Expires) + time.Second)
		return ignore(s.as(ended).GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: ptr("app/one")}, lie))
	}
}

// query adds a parameter to a call, before it is signed.
func query(name, value string) func(*s3.Options) {
	return s3.WithAPIOptions(func(stack *middleware.Stack) error {
		return stack.Build.Add(middleware.BuildMiddlewareFunc("query", func(ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler) (middleware.BuildOutput, middleware.Metadata, error) {
			url := in.Request.(*smithyhttp.Request).URL
			values := url.Query()
			values.Set(name, value)
			url.RawQuery = values.Encode()
			return next.HandleBuild(ctx, in)
		}), middleware.After)
	})
}

// upload writes in parts.
func (s *site) upload(ctx context.Context, c *s3.Client, key string, o ...func(*s3.Options)) error {
	begun, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &s.bucket, Key: &key}, o...)
	if err != nil {
		return err
	}
	number := ptr(int32(1))
	part, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: &s.bucket, Key: &key, UploadId: begun.UploadId, PartNumber: number, Body: strings.NewReader("x")})
	if err != nil {
		return err
	}
	return ignore(c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &s.bucket, Key: &key, UploadId: begun.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{ETag: part.ETag, PartNumber: number}}},
	}))
}

// post uploads by a signed form, as browsers do.
func (s *site) post(ctx context.Context, c *s3.Client, key, query string, fields map[string]string) error {
	var conditions []any
	for name, value := range fields {
		conditions = append(conditions, []any{"eq", "$" + name, value})
	}
	signed, err := s3.NewPresignClient(c).PresignPostObject(ctx, &s3.PutObjectInput{Bucket: &s.bucket, Key: &key}, func(o *s3.PresignPostOptions) { o.Conditions = conditions })
	if err != nil {
		return err
	}
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	maps.Copy(signed.Values, fields)
	for name, value := range signed.Values {
		_ = w.WriteField(name, value)
	}
	file, err := w.CreateFormFile("file", "x")
	if err = errors.Join(err, ignore(io.WriteString(file, "x")), w.Close()); err != nil {
		return err
	}
	answer, err := http.Post(signed.URL+query, w.FormDataContentType(), &form)
	if err != nil {
		return err
	}
	answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusForbidden:
		return denied
	case http.StatusNoContent:
		return nil
	}
	return fmt.Errorf("the form gives %d", answer.StatusCode)
}

// closed are the bypasses that MinIO does not have or cannot prove: each is judged by evaluating the session's policy, with
// a role and a resource policy behind it that give everything.
var closed = []struct{ what, scope, action, resource string }{
	{"taking another role", "s3/acme-staging/*:read,write", "sts:AssumeRole", "arn:aws:iam::111122223333:role/admin"},
	{"a login to the console and the command line", "s3/acme-staging/*:read,write", "signin:CreateOAuth2Token", "*"},
	{"taking the same role again", "s3/acme-staging/*:read,write", "sts:AssumeRole", roleARN},
	{"a federation token", "s3/acme-staging/*:read,write", "sts:GetFederationToken", "*"},
	{"giving a service a role (PassRole)", "lambda/orders:read,write", "iam:PassRole", "arn:aws:iam::111122223333:role/admin"},
	{"a lasting access key", "s3/acme-staging/*:read,write", "iam:CreateAccessKey", "*"},
	{"a login to a database (RDS IAM)", "rds/orders:read", "rds-db:connect", "*"},
	{"a token of a cluster (EKS)", "ecr/shop/*:read,write", "eks:AccessKubernetesApi", "*"},
	{"docker's token, which lives 12 hours", "ecr/shop/*:read,write", "ecr:GetAuthorizationToken", "*"},
	{"an access point of the bucket", "s3/acme-staging/*:read,write", "s3:PutObject", "arn:aws:s3:eu-central-1:111122223333:accesspoint/all/object/app/one"},
	{"an ACL in the header of a write", "s3/acme-staging/*:read,write", "s3:PutObjectAcl", mine[0]},
	{"a tag in the header of a write", "s3/acme-staging/*:read,write", "s3:PutObjectTagging", mine[0]},
	{"retention in the header of a write", "s3/acme-staging/*:read,write", "s3:PutObjectRetention", mine[0]},
	{"a batch job over a bucket", "s3/acme-staging/*:read,write", "s3:CreateJob", "*"},
	{"a key to decrypt with", "s3/acme-staging/*:read,write", "kms:Decrypt", "*"},
	{"receiving, which hides a message", "sqs/orders:read,write", "sqs:ReceiveMessage", mine[2]},
	{"emptying a queue", "sqs/orders:read,write", "sqs:PurgeQueue", mine[2]},
	{"a queue's retention or policy", "sqs/orders:read,write", "sqs:SetQueueAttributes", mine[2]},
	{"a batch that deletes items", "dynamodb/orders:read,write", "dynamodb:BatchWriteItem", mine[3]},
	{"PartiQL that deletes items", "dynamodb/orders:read,write", "dynamodb:PartiQLDelete", mine[3]},
	{"a time to live for a table", "dynamodb/orders:read,write", "dynamodb:UpdateTimeToLive", mine[3]},
	{"a shorter retention of logs", "logs//aws/lambda/orders:read,write", "logs:PutRetentionPolicy", mine[5]},
	{"deleting images", "ecr/shop/*:read,write", "ecr:BatchDeleteImage", mine[6]},
	{"a rule that deletes images", "ecr/shop/*:read,write", "ecr:PutLifecyclePolicy", mine[6]},
	{"other code for a function", "lambda/orders:read,write", "lambda:UpdateFunctionCode", mine[7]},
	{"a function's environment variables", "lambda/orders:read,write", "lambda:GetFunction", mine[7]},
	{"no backups for a database", "rds/orders:read", "rds:ModifyDBInstance", mine[8]},
	{"a database's deletion without a snapshot", "rds/orders:read", "rds:DeleteDBInstance", mine[8]},
	{"a storage class that takes hours to read, the former version stays", "s3/acme-staging/*:read,write", "s3:PutObject", mine[0]},
	{"an item over another", "dynamodb/orders:read,write", "dynamodb:PutItem", mine[3]},
	{"a tag on another image", "ecr/shop/*:read,write", "ecr:PutImage", mine[6]},
	{"an old version of a function", "lambda/orders:read,write", "lambda:InvokeFunction", mine[7] + ":3"},
}

// conceded are those of them that the session may do, and the wall of the description that says so, by what it stops; none
// where nothing is lost.
var conceded = map[string]string{
	"a storage class that takes hours to read, the former version stays": "",
	"an item over another":         "blanking or overwriting items",
	"a tag on another image":       "moving a tag",
	"an old version of a function": "what the function does",
}

// row is one of the table in the documentation: what a way around came to, where that was seen, and what the human was told of it.
type row struct{ outcome, where, told string }

// Every known way around, each with a live lease where MinIO has it. The table in the documentation is made of the outcomes.
func TestBypasses(t *testing.T) {
	t.Parallel()
	rows := map[string]row{}
	tryLive(t, rows)
	evaluateClosed(t, rows)
	table := "| way around | outcome | where | what the human is told |\n|---|---|---|---|\n"
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		r := rows[name]
		table += "| " + name + " | " + r.outcome + " | " + r.where + " | " + r.told + " |\n"
	}
	issuertest.HoldPage(t, *update, documentation, "outcomes", table)
}

func tryLive(t *testing.T, rows map[string]row) {
	t.Helper()
	s := newSite(t)
	scope := "s3/" + s.bucket + "/app/*:read,write"
	d, c, over := describe(t, s.issuer(t), wish(t, scope)), lease(t, s.issuer(t), scope), s.ending(t)
	tries := s.attacks()
	maps.Copy(tries, s.presigned(over))
	for name, try := range tries {
		rows[name] = row{outcome: told(try(t.Context(), c)), where: "MinIO"}
		if rows[name].outcome != "refused" {
			t.Errorf("%s: %s", name, rows[name].outcome)
		}
	}
	for name, b := range s.open(*s.oldest(t, "app/one").VersionId, over) {
		r := row{s.loss(t, b, c), "MinIO", toldAs(t, name, d, b)}
		if rows[name] = r; !strings.HasPrefix(r.outcome, "**works**") {
			t.Errorf("%s: %s", name, r.outcome)
		}
	}
}

func evaluateClosed(t *testing.T, rows map[string]row) {
	t.Helper()
	const where = "evaluated, not proven here"
	issuer := newCloud().issuer(t)
	for _, b := range closed {
		name := b.what + " (" + b.action + ")"
		got := inSession(everything, policyOf(t, issuer, later, b.scope), everything, call{b.action, b.resource, now()})
		wall, may := conceded[b.what]
		if may != (got == allowed) || got == implicit {
			t.Errorf("%s: %s", name, got)
		}
		r := row{outcome: map[verdict]string{explicit: "refused", allowed: "**works**"}[got], where: where}
		switch {
		case may && wall == "":
			r.told = "nothing is lost"
		case may:
			r.told = toldAs(t, name, describe(t, issuer, wish(t, b.scope)), bypass{told: wall})
		}
		rows[name] = r
	}
	const console = "a session of the console (getSigninToken), after the end"
	over := policyOf(t, issuer, "2001-01-01T00:00:00Z", "s3/acme-staging/*:read,write")
	if got := inSession(everything, over, everything, call{"s3:GetObject", mine[0], now()}); got != explicit {
		t.Errorf("%s: %s", console, got)
	}
	rows[console] = row{outcome: "refused, if the console keeps the session's policy", where: where}
}

// toldAs holds a bypass that works to the description that the human approved: a wall that is weak or none says so, and
// where something is lost the lease means delete, whatever was asked.
func toldAs(t *testing.T, name string, d broker.Description, b bypass) string {
	t.Helper()
	loses := b.loses || strings.HasPrefix(b.told, "losing ")
	if loses && !broker.AllActions(d.Means()).Has(broker.Delete) {
		t.Errorf("%s: what was there is gone, and the lease means %s", name, broker.AllActions(d.Means()))
	}
	if b.told == shorter {
		return shorter
	}
	at := slices.IndexFunc(d.Walls, func(w broker.WallFact) bool { return w.Stops == b.told && w.Wall != broker.WallNative })
	if at < 0 {
		t.Errorf("%s: no wall says that it works: want %q, weak or none, among %+v", name, b.told, d.Walls)
		return ""
	}
	wall := d.Walls[at]
	stops, _, _ := strings.Cut(wall.Stops, " in s3/")
	if loses && !broker.AllActions(wall.Gives).Has(broker.Delete) {
		t.Errorf("%s: the wall that says so gives %s", name, broker.AllActions(wall.Gives))
	}
	if len(wall.Gives) > 0 {
		stops += "; the write needs the approvals of `delete`"
	}
	return string(wall.Wall) + ": " + stops
}

func told(err error) string {
	switch {
	case err == nil:
		return "**works**"
	case refused(err):
		return "refused"
	}
	return "fault: " + err.Error()
}

// loss tries a bypass on app/one, and says whether what was there is gone.
func (s *site) loss(t *testing.T, b bypass, c broker.Credential) string {
	t.Helper()
	first := s.oldest(t, "app/one")
	said := told(b.try(t.Context(), s.as(c)))
	kept := *s.oldest(t, "app/one").ETag == *first.ETag
	if kept == b.loses {
		t.Errorf("the first version is kept: %t", kept)
	}
	if kept {
		return said
	}
	// for the next
	if _, err := s.Root().PutObject(t.Context(), &s3.PutObjectInput{Bucket: &s.bucket, Key: ptr("app/one"), Body: strings.NewReader("content of app/one")}, query("versionId", *first.VersionId)); err != nil {
		t.Fatal(err)
	}
	return said + ": what was there is gone"
}

// oldest gives the oldest version of a key.
func (s *site) oldest(t *testing.T, key string) types.ObjectVersion {
	t.Helper()
	out, err := s.Root().ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &s.bucket, Prefix: &key})
	if err != nil || len(out.Versions) == 0 {
		t.Fatalf("%d versions of %s: %v", len(out.Versions), key, err)
	}
	return out.Versions[len(out.Versions)-1]
}

const documentation = "../../docs/issuers/aws.md"
