package aws_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/aws"
	"github.com/hourkey/hourkey/issuers/aws/miniotest"
)

// listener passes calls on to a server and writes down what each asks and as whom: the broker's user, or the first, the
// second … session.
type listener struct {
	mu    sync.Mutex
	who   map[string]string // access key → as whom
	calls []string
}

var signedWith = regexp.MustCompile(`Credential=([^/]+)/`)

func (l *listener) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := readAll(request.Body)
	if err != nil {
		return nil, err
	}
	request = request.Clone(request.Context())
	request.Body = io.NopCloser(bytes.NewReader(body))
	l.note(request, body)
	return http.DefaultTransport.RoundTrip(request)
}

func readAll(body io.Reader) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	return io.ReadAll(body)
}

func (l *listener) note(request *http.Request, body []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	what := request.Method + " " + request.URL.Path
	if form, err := url.ParseQuery(string(body)); err == nil && form.Has("Action") {
		what = form.Get("Action")
	}
	if query := request.URL.Query(); query.Has("versioning") {
		what += "?versioning"
	}
	key := ""
	if match := signedWith.FindStringSubmatch(request.Header.Get("Authorization")); match != nil {
		key = match[1]
	}
	if l.who[key] == "" {
		l.who[key] = fmt.Sprintf("session %d", len(l.who))
	}
	l.calls = append(l.calls, l.who[key]+": "+what)
}

// taken gives the calls since it was last asked.
func (l *listener) taken() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls := l.calls
	l.calls = nil
	return calls
}

// heard is an issuer at MinIO that is listened to.
func (s *site) heard(t *testing.T, change ...func(*aws.Settings)) (*aws.Issuer, *listener) {
	t.Helper()
	l := &listener{who: map[string]string{miniotest.RootKey: "broker"}}
	config := s.config(change...)
	config.Transport = l
	return open(t, config), l
}

// At first contact the broker tries the server with a bucket's versioning. A write to that bucket does not ask again.
func TestColdDescribeAtMinIOAsksEachThingOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first := []string{
		"broker: GetCallerIdentity", "broker: AssumeRole", "session 1: GET /" + s.bucket + "?versioning",
		"broker: AssumeRole", "session 2: GET /" + s.bucket + "?versioning", "session 2: GET /minio/admin/v3/user-info",
	}
	for name, test := range map[string]struct{ asks, more []string }{
		"reading":                         {[]string{"s3/" + s.bucket + "/app/*:read"}, nil},
		"writing to the bucket tried":     {[]string{"s3/" + s.bucket + "/app/*:read,write"}, nil},
		"writing to it and to another":    {[]string{"s3/" + s.bucket + "/app/*:write", "s3/" + s.loose + "/app/*:write"}, []string{"session 1: GET /" + s.loose + "?versioning"}},
		"writing twice to the other":      {[]string{"s3/" + s.loose + "/app/*:write", "s3/" + s.loose + "/b/*:write"}, []string{"session 1: GET /" + s.loose + "?versioning"}},
		"writing to many keys of one":     {[]string{"s3/" + s.bucket + "/app/one:write", "s3/" + s.bucket + "/app/two:write"}, nil},
		"deleting, and writing elsewhere": {[]string{"s3/" + s.bucket + "/app/*:write,delete", "s3/" + s.loose + "/app/*:read"}, nil},
	} {
		issuer, l := s.heard(t)
		describe(t, issuer, wish(t, test.asks...))
		if diff := cmp.Diff(append(first[:len(first):len(first)], test.more...), l.taken()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// What a bucket answered is believed within one request, never in the next: somebody may have switched its versions off.
func TestVersioningThatWasSwitchedOffIsSeenByTheNextRequest(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	issuer, l := s.heard(t)
	w := wish(t, "s3/"+s.bucket+"/app/*:write")
	if wall := wallOf(describe(t, issuer, w), s.bucket); wall != broker.WallWeak {
		t.Errorf("with versions the wall is %s", wall)
	}
	if _, err := s.Root().PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: &s.bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended},
	}); err != nil {
		t.Fatal(err)
	}
	l.taken()
	if wall := wallOf(describe(t, issuer, w), s.bucket); wall != broker.WallNone {
		t.Errorf("without versions the wall is %s", wall)
	}
	if diff := cmp.Diff([]string{"session 1: GET /" + s.bucket + "?versioning"}, l.taken()); diff != "" {
		t.Errorf("the second request (-want +got):\n%s", diff)
	}
}

// wallOf is the wall against losing what a write replaces in a bucket.
func wallOf(d broker.Description, bucket string) broker.Wall {
	for _, w := range d.Walls {
		if w.Stops == "losing what a write replaces in s3/"+bucket {
			return w.Wall
		}
	}
	return ""
}
