package aws_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/aws"
)

const (
	account   = "111122223333"
	roleARN   = "arn:aws:iam::111122223333:role/hourkey/hourkey-staging"
	userARN   = "arn:aws:iam::111122223333:user/hourkey"
	ownSecret = "own-secret-key-of-the-broker"
)

// cloud speaks STS, S3 and DynamoDB as AWS does, as far as the issuer asks, and lies where a test wants it to. It is an
// http.RoundTripper: nothing leaves the process. It evaluates no policy: evaluate does.
type cloud struct {
	caller  string
	roleID  string
	role    string            // in the name of the assumed role
	buckets map[string]string // name → versioning: Enabled, Suspended or empty
	tables  map[string]string // name → time to live: ENABLED, DISABLED, …
	denies  map[string]bool   // permissions that are missing
	may     map[string]bool   // what the broker's own user may beyond its role
	lie     func(*answer)     // changes what AssumeRole answers
	slow    time.Duration
	broken  func(request *http.Request) *http.Response // answers instead, when it gives something

	mu    sync.Mutex
	calls []string
	last  url.Values // of the last AssumeRole
}

// answer is what AssumeRole answers.
type answer struct {
	Account, Role, ID, Session, Source, Key, Secret, Token, Packed, Utilization string
	Expires, Date                                                               time.Time
}

func newCloud() *cloud {
	return &cloud{
		caller: userARN, roleID: "AROAEXAMPLEROLEID", role: "hourkey-staging",
		buckets: map[string]string{"acme-staging": "Enabled", "acme-state": "Enabled", "acme-loose": ""},
		tables:  map[string]string{"orders": "DISABLED", "sessions": "ENABLED", "tf-locks": "DISABLED"},
		denies:  map[string]bool{}, may: map[string]bool{},
	}
}

func (c *cloud) config(change ...func(*aws.Settings)) aws.Config {
	settings := aws.Settings{
		Role: roleARN, Region: "eu-central-1", AccessKey: "env:KEY", SecretKey: "env:SECRET",
		Resources: []string{"s3/acme-staging/*", "s3/acme-loose/*", "s3/acme-state/shop/*", "sqs/orders", "dynamodb/orders", "dynamodb/sessions", "dynamodb/tf-locks",
			"logs//aws/lambda/orders", "ecr/shop/*", "lambda/orders", "lambda/jobs-*", "rds/orders"},
	}
	for _, change := range change {
		change(&settings)
	}
	return aws.Config{
		Ref: broker.TargetRef{Environment: "staging", Target: "files"}, Settings: settings, Now: time.Now, Transport: c,
		AccessKey: broker.NewSecret("AKIAEXAMPLE"), SecretKey: broker.NewSecret(ownSecret),
	}
}

func (c *cloud) issuer(tb testing.TB, change ...func(*aws.Settings)) *aws.Issuer {
	tb.Helper()
	return open(tb, c.config(change...))
}

// RoundTrip answers one call.
func (c *cloud) RoundTrip(request *http.Request) (*http.Response, error) {
	select {
	case <-time.After(c.slow):
	case <-request.Context().Done():
		return nil, request.Context().Err()
	}
	body := ""
	if request.Body != nil {
		raw, err := io.ReadAll(request.Body)
		if err != nil {
			return nil, err
		}
		body = string(raw)
	}
	if c.broken != nil {
		if response := c.broken(request); response != nil {
			return response, nil
		}
	}
	w := httptest.NewRecorder()
	c.serve(w, request, body)
	return w.Result(), nil
}

func (c *cloud) serve(w *httptest.ResponseRecorder, request *http.Request, body string) {
	w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	service, _, _ := strings.Cut(strings.TrimSuffix(request.URL.Host, ".amazonaws.com"), ".")
	switch {
	case service == "sts":
		c.sts(w, body)
	case strings.HasPrefix(request.URL.Host, "s3.") || strings.Contains(request.URL.Host, ".s3."):
		c.s3(w, request)
	case service == "dynamodb" && strings.HasSuffix(request.Header.Get("X-Amz-Target"), ".DescribeTimeToLive"):
		c.timeToLive(w, body)
	default:
		c.probe(w, request, body)
	}
}

func (c *cloud) note(call string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, call)
}

// taken gives the calls since it was last asked.
func (c *cloud) taken() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.calls
	c.calls = nil
	return calls
}

func (c *cloud) sts(w *httptest.ResponseRecorder, body string) {
	form, _ := url.ParseQuery(body)
	c.note("sts:" + form.Get("Action"))
	switch {
	case c.denies["key"]:
		c.refuse(w, 403, "InvalidClientTokenId", "The security token included in the request is invalid.")
	case form.Get("Action") == "GetCallerIdentity":
		fmt.Fprintf(w, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>%s</Arn><UserId>AIDA</UserId><Account>%s</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`, c.caller, account)
	case c.denies["sts:AssumeRole"] || c.denies["sts:TagSession"] && form.Has("Tags.member.1.Key") || c.denies["sts:SetSourceIdentity"] && form.Has("SourceIdentity"):
		c.refuse(w, 403, "AccessDenied", "User: "+userARN+" is not authorized to perform this on resource: "+roleARN)
	case c.denies["packed"]:
		c.refuse(w, 400, "PackedPolicyTooLarge", "Packed size of session tags consumes 121% of allotted space.")
	default:
		c.assume(w, form)
	}
}

func (c *cloud) assume(w *httptest.ResponseRecorder, form url.Values) {
	var seconds int
	_, _ = fmt.Sscan(form.Get("DurationSeconds"), &seconds)
	a := answer{
		Account: account, Role: c.role, ID: c.roleID, Session: form.Get("RoleSessionName"), Source: form.Get("SourceIdentity"),
		Key: "ASIAEXAMPLE", Secret: "session-secret-key-0123456789", Token: "session-token-abcdefghijklmnopqrstuvwxyz",
		Packed: "<PackedPolicySize>41</PackedPolicySize>", Expires: time.Now().Add(time.Duration(seconds) * time.Second), Date: time.Now(),
	}
	c.mu.Lock()
	c.last = form
	c.mu.Unlock()
	if c.lie != nil {
		c.lie(&a)
	}
	w.Header().Set("Date", a.Date.UTC().Format(http.TimeFormat))
	if a.Date.IsZero() {
		w.Header().Del("Date")
	}
	source := ""
	if a.Source != "" {
		source = "<SourceIdentity>" + a.Source + "</SourceIdentity>"
	}
	fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>%s
<AssumedRoleUser><Arn>arn:aws:sts::%s:assumed-role/%s/%s</Arn><AssumedRoleId>%s:%s</AssumedRoleId></AssumedRoleUser>
<Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration></Credentials>
%s%s</AssumeRoleResult></AssumeRoleResponse>`, source, a.Account, a.Role, a.Session, a.ID, a.Session, a.Key, a.Secret, a.Token, a.Expires.UTC().Format(time.RFC3339), a.Packed, a.Utilization)
}

func (c *cloud) refuse(w *httptest.ResponseRecorder, status int, code, message string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>`, code, message)
}

func (c *cloud) s3(w *httptest.ResponseRecorder, request *http.Request) {
	bucket, _, _ := strings.Cut(request.URL.Host, ".s3.")
	w.Header().Set("Content-Type", "application/xml")
	switch {
	case !request.URL.Query().Has("versioning"):
		c.note("s3:ListAllMyBuckets")
		if !c.may["s3:ListAllMyBuckets"] {
			w.WriteHeader(403)
			fmt.Fprint(w, `<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>`)
			return
		}
		fmt.Fprint(w, `<ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Buckets></Buckets></ListAllMyBucketsResult>`)
	default:
		c.note("s3:GetBucketVersioning " + bucket)
		status, known := c.buckets[bucket]
		if c.denies["bucket "+bucket] {
			w.WriteHeader(404)
			fmt.Fprint(w, `<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message></Error>`)
			return
		}
		if !known || c.denies["s3:GetBucketVersioning "+bucket] || request.Header.Get("X-Amz-Expected-Bucket-Owner") != account {
			w.WriteHeader(403)
			fmt.Fprint(w, `<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>`)
			return
		}
		if status != "" {
			status = "<Status>" + status + "</Status>"
		}
		fmt.Fprintf(w, `<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">%s</VersioningConfiguration>`, status)
	}
}

func (c *cloud) timeToLive(w *httptest.ResponseRecorder, body string) {
	var asked struct{ TableName string }
	_ = json.Unmarshal([]byte(body), &asked)
	c.note("dynamodb:DescribeTimeToLive " + asked.TableName)
	status, known := c.tables[asked.TableName]
	if c.denies["table "+asked.TableName] {
		w.WriteHeader(400)
		fmt.Fprint(w, `{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"Requested resource not found"}`)
		return
	}
	if !known || c.denies["dynamodb:DescribeTimeToLive"] {
		w.WriteHeader(400)
		fmt.Fprint(w, `{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"not authorized"}`)
		return
	}
	fmt.Fprintf(w, `{"TimeToLiveDescription":{"TimeToLiveStatus":%q}}`, status)
}

// probe answers the calls of check, by the permission that each wants.
func (c *cloud) probe(w *httptest.ResponseRecorder, request *http.Request, body string) {
	service, _, _ := strings.Cut(request.URL.Host, ".")
	form, _ := url.ParseQuery(body)
	_, target, _ := strings.Cut(request.Header.Get("X-Amz-Target"), ".")
	operation := form.Get("Action") + target
	if service == "lambda" {
		operation = "ListFunctions"
	}
	if service == "api" {
		service = "ecr"
	}
	c.note(service + ":" + operation)
	if !strings.Contains(request.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/") || !c.may[service+":"+operation] {
		w.WriteHeader(403)
		return
	}
	fmt.Fprint(w, `{}`)
}
