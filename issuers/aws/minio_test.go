package aws_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/aws"
	"github.com/hourkey/hourkey/issuers/aws/miniotest"
	"github.com/hourkey/hourkey/issuers/issuertest"
)

// MinIO takes what a client says about the time, the prefix, or a version's id (see TestBypasses). So nothing that must hold
// there hangs on a condition of the policy: these are the walls that are left.

// A policy's end is none to a client that lies about the time; the session's own end is. So no lease is shorter.
func TestNoLeaseAtMinIOIsShorterThanItsSession(t *testing.T) {
	s := newSite(t)
	issuer := s.issuer(t)
	short := wish(t, "s3/"+s.bucket+"/app/*:read")
	short.TTL = 14 * time.Minute
	if _, err := issuer.Describe(t.Context(), short); broker.CodeOf(err) != broker.CodeInvalid || !strings.Contains(err.Error(), "15m") {
		t.Errorf("14 minutes: %v; want it refused, and the shortest named", err)
	}
	for _, ttl := range []time.Duration{15 * time.Minute, 20 * time.Minute, time.Hour} {
		w := short
		w.TTL = ttl
		d, began := describe(t, issuer, w), time.Now()
		order := orderFor(d, "hk-end-1")
		c, _ := issuertest.Lease(t, issuer, order)
		asking := time.Since(began) // by so much a session of the shortest life may end later
		if end := endOf(t, c.Values["AWS_SESSION_TOKEN"].Reveal()); end.After(order.Expires.Add(2*time.Second + asking)) {
			t.Errorf("%s: the session ends at %s, and the lease at %s", ttl, end, order.Expires)
		}
	}
	again := orderFor(describe(t, issuer, wish(t, "s3/"+s.bucket+"/app/*:read")), "hk-end-2")
	again.Expires = time.Now().Add(10 * time.Minute) // collected a second time: the end stays the first one's
	if _, _, err := issuer.Issue(t.Context(), again); broker.CodeOf(err) != broker.CodeExpired || next(err) == "" {
		t.Errorf("10 minutes are left: %v; want it refused", err)
	}
}

// endOf reads when MinIO will refuse a session's token: it is a JWT.
func endOf(t *testing.T, token string) time.Time {
	t.Helper()
	_, rest, _ := strings.Cut(token, ".")
	body, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(body)
	var claims struct {
		Exp int64 `json:"exp"`
	}
	if err != nil || json.Unmarshal(text, &claims) != nil || claims.Exp == 0 {
		t.Fatalf("no end in the token (%v)", err)
	}
	return time.Unix(claims.Exp, 0)
}

// MinIO says the same of a key that it does not know and of a wrong secret: both are named.
func TestAWrongSecretIsAmongWhatMayBeWrong(t *testing.T) {
	config := newSite(t).config()
	config.SecretKey = broker.NewSecret("the-secret-of-another-user")
	f := check(t, open(t, config))["broker key"]
	if !f.Refuses || !strings.Contains(f.Problem, "or the secret is another") {
		t.Errorf("found %+v", f)
	}
}

// The server judges a call when it begins. So an upload that was begun before the end is stored after it, and a human is told.
func TestAnUploadBegunBeforeTheEndIsFinishedAfterIt(t *testing.T) {
	s := newSite(t)
	issuer := aws.AllowShortLeases(s.issuer(t))
	w := wish(t, "s3/"+s.bucket+"/app/*:read,write")
	w.TTL = 10 * time.Second // enough for it to be issued and begun, also on a machine that stands still for a while
	d := describe(t, issuer, w)
	lease, _ := issuertest.Lease(t, issuer, orderFor(d, "hk-upload-1"))
	body, send := io.Pipe()
	const begun = 64 << 10 // past every buffer
	to, err := s3.NewPresignClient(s.as(lease)).PresignPutObject(t.Context(), &s3.PutObjectInput{Bucket: &s.bucket, Key: ptr("app/late"), ContentLength: ptr(int64(begun + 1))})
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, to.URL, body)
	if err != nil {
		t.Fatal(err)
	}
	request.ContentLength = begun + 1
	status := make(chan int, 1)
	go func() {
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			_ = body.CloseWithError(err) // so that who sends does not wait
			status <- 0
			return
		}
		_ = answer.Body.Close()
		status <- answer.StatusCode
	}()
	if _, err := send.Write(make([]byte, begun)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(lease.Expires) + time.Second)
	if err := ignore(s.as(lease).GetObject(t.Context(), &s3.GetObjectInput{Bucket: &s.bucket, Key: ptr("app/one")})); err == nil || !refused(err) {
		t.Errorf("a new call after the end: %v; want it refused", err)
	}
	if _, err := send.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	_ = send.Close()
	if got := <-status; got != http.StatusOK {
		t.Errorf("the upload: status %d. If the server ends it now, the wall and the page say too little good of it", got)
	}
	if !slices.ContainsFunc(d.Walls, func(wall broker.WallFact) bool {
		return wall.Wall == broker.WallNone && strings.Contains(wall.How, "an upload that was begun before can be filled and finished after it")
	}) || !strings.Contains(d.Ends, "upload that was begun before") {
		t.Errorf("nobody is told: %v, %s", d.Walls, d.Ends)
	}
}

// Names are listed only where all names of the bucket are the environment's.
func TestListingAtMinIOWantsAWholeBucket(t *testing.T) {
	s := newSite(t)
	part := s.issuer(t, func(to *aws.Settings) { to.Resources = []string{"s3/" + s.bucket + "/app/*"} })
	c := s.as(lease(t, part, "s3/"+s.bucket+"/app/*:read"))
	list := func(prefix string, lie func(*s3.Options)) error {
		return ignore(c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: &prefix}, lie))
	}
	for what, err := range map[string]error{
		"its own": list("app/", func(*s3.Options) {}), "another's": list("secret/", func(*s3.Options) {}),
		"another's, by a header": list("secret/", header("Prefix", "app/")), "another's, by a parameter": list("secret/", query("Prefix", "app/")),
	} {
		if err == nil || !refused(err) {
			t.Errorf("listing %s: %v; want it refused", what, err)
		}
	}
	if err := ignore(c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &s.bucket, Key: ptr("app/one")})); err != nil {
		t.Errorf("reading: %v", err)
	}
	weak := 0
	for _, wall := range describe(t, s.issuer(t), wish(t, "s3/"+s.bucket+"/app/*:read")).Walls {
		if wall.Wall == broker.WallWeak && strings.HasPrefix(wall.Stops, "listing names") {
			weak++
		}
	}
	if weak != 1 {
		t.Error("a lease for a prefix of a bucket that is wholly listed does not say that other names can be listed")
	}
}

// A write can name the version that it replaces: versioning keeps nothing from who wants it gone.
func TestWriteAtMinIOMeansDelete(t *testing.T) {
	s := newSite(t)
	d := describe(t, s.issuer(t), wish(t, "s3/"+s.bucket+"/app/*:read,write"))
	if got := broker.AllActions(d.Means()); got != broker.Read|broker.Write|broker.Delete {
		t.Errorf("it means %s", got)
	}
	if got := broker.AllActions(d.Scopes); got != broker.Read|broker.Write {
		t.Errorf("it gives %s", got)
	}
}

// In releases before 2025-10-15 a session could make itself a key that lasts, with all its user's power.
func TestLeaseMakesItselfNoLastingKey(t *testing.T) {
	s := newSite(t)
	c := lease(t, s.issuer(t), "s3/"+s.bucket+"/app/*:read,write")
	key := c.Values["AWS_ACCESS_KEY_ID"].Reveal()
	for _, line := range []string{
		"mc admin user svcacct add minio " + miniotest.RootKey, "mc admin user svcacct add minio " + key, "mc admin accesskey create minio/",
		"mc admin user svcacct ls minio " + miniotest.RootKey, "mc admin user add minio mallory mallory-password", "mc admin user info minio " + key,
		"mc admin info minio", "mc admin policy ls minio",
	} {
		said, err := s.MCAs(t, t.TempDir(), line, key, c.Values["AWS_SECRET_ACCESS_KEY"].Reveal(), c.Values["AWS_SESSION_TOKEN"].Reveal())
		if err == nil || !strings.Contains(said, "Access Denied") {
			t.Errorf("%s: %v: %s", line, err, said)
		}
	}
}

// The bucket that is listed first is one that the broker's user may not ask about: that is told, and the others are tried.
func TestFirstBucketThatMayNotBeAskedAboutIsAFinding(t *testing.T) {
	s := newSite(t)
	folder := t.TempDir()
	user := "u-" + s.bucket
	const secret = "secret-of-the-user-0123456789"
	s.MC(t, folder, "mc admin user add minio "+user+" "+secret)
	allow := func(bucket string) string {
		return `{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject","s3:ListBucket","s3:GetBucketVersioning"],"Resource":["arn:aws:s3:::` + bucket + `","arn:aws:s3:::` + bucket + `/*"]}`
	}
	config := s.config(func(to *aws.Settings) { to.Resources = []string{"s3/" + s.other + "/*", "s3/" + s.bucket + "/*"} })
	config.AccessKey, config.SecretKey = broker.NewSecret(user), broker.NewSecret(secret)
	give := func(statements string) map[string]broker.Finding {
		t.Helper()
		writeFile(t, folder+"/policy.json", `{"Version":"2012-10-17","Statement":[`+statements+`]}`)
		s.MC(t, folder, "mc admin policy create minio "+user+" policy.json")
		return check(t, open(t, config))
	}
	give(allow(s.bucket))
	s.MC(t, folder, "mc admin policy attach minio "+user+" --user "+user)
	found := give(allow(s.bucket))
	if f := found["role s3:GetBucketVersioning s3/"+s.other]; len(found) != 1 || f.Refuses || !strings.Contains(f.Mend, s.other) {
		t.Errorf("one of two: found %+v", found)
	}
	found = give(`{"Effect":"Allow","Action":["s3:GetObject"],"Resource":["arn:aws:s3:::` + s.bucket + `/*"]}`)
	if f := found["s3:GetBucketVersioning s3/"+s.other+" s3/"+s.bucket]; len(found) != 1 || !f.Refuses || !strings.Contains(f.Mend, `"Action":"s3:GetBucketVersioning"`) {
		t.Errorf("neither of two: found %+v", found)
	}
	if _, err := open(t, config).Describe(t.Context(), wish(t, "s3/"+s.bucket+"/*:read")); broker.CodeOf(err) != broker.CodeWall {
		t.Errorf("Describe: %v; want it refused", err)
	}
}
