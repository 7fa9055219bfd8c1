package aws_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/broker/brokertest/freeport"
	"github.com/hourkey/hourkey/issuers/aws"
)

func TestSettingsThatCannotBeRightAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*aws.Settings)
		field  string
	}{
		"no role":                   {func(s *aws.Settings) { s.Role = "" }, "role"},
		"a user instead of a role":  {func(s *aws.Settings) { s.Role = userARN }, "role"},
		"a role with a star":        {func(s *aws.Settings) { s.Role = "arn:aws:iam::111122223333:role/*" }, "role"},
		"two roles in one text":     {func(s *aws.Settings) { s.Role = roleARN + "\n" + roleARN }, "role"},
		"a region that is a host":   {func(s *aws.Settings) { s.Region = "eu-central-1.evil.example/" }, "region"},
		"no region":                 {func(s *aws.Settings) { s.Region = "" }, "region"},
		"a region of another cloud": {func(s *aws.Settings) { s.Region = "cn-north-1" }, "region"},
		"a region with a blank": {func(s *aws.Settings) {
			s.Endpoint, s.Region, s.Resources = "https://minio.example", "a b", s.Resources[:1]
		}, "region"},
		"no resources":                {func(s *aws.Settings) { s.Resources = nil }, "resources"},
		"all buckets":                 {func(s *aws.Settings) { s.Resources = []string{"s3/*"} }, "resources"},
		"a prefix of buckets":         {func(s *aws.Settings) { s.Resources = []string{"s3/acme-*"} }, "resources"},
		"everything":                  {func(s *aws.Settings) { s.Resources = []string{"*"} }, "resources"},
		"an ARN":                      {func(s *aws.Settings) { s.Resources = []string{"arn:aws:s3:::acme"} }, "resources"},
		"an unknown service":          {func(s *aws.Settings) { s.Resources = []string{"ec2/i-1"} }, "resources"},
		"a policy variable":           {func(s *aws.Settings) { s.Resources = []string{"s3/acme-staging/${aws:userid}/*"} }, "resources"},
		"a question mark, one of any": {func(s *aws.Settings) { s.Resources = []string{"s3/acme-staging/a?b"} }, "resources"},
		"a star inside":               {func(s *aws.Settings) { s.Resources = []string{"s3/acme-staging/*/x"} }, "resources"},
		"a way up":                    {func(s *aws.Settings) { s.Resources = []string{"s3/acme-staging/a/../b"} }, "resources"},
		"an entry twice":              {func(s *aws.Settings) { s.Resources = append(s.Resources, s.Resources[0]) }, "resources"},
		"more than a policy can name": {func(s *aws.Settings) { s.Resources = manyBuckets() }, "resources"},
		"plain http":                  {func(s *aws.Settings) { s.Endpoint, s.Resources = "http://minio.example:9000", s.Resources[:1] }, "endpoint"},
		"a password in the endpoint":  {func(s *aws.Settings) { s.Endpoint, s.Resources = "https://a:b@minio.example", s.Resources[:1] }, "endpoint"},
		"a queue at an endpoint":      {func(s *aws.Settings) { s.Endpoint = "https://minio.example" }, "resources"},
		"a lock without a reason":     {func(s *aws.Settings) { s.Locks = []aws.Lock{{Object: "s3/acme-state/shop/x.tflock"}} }, "locks"},
		"a lock that is the state": {func(s *aws.Settings) {
			s.Locks = []aws.Lock{{Object: "s3/acme-state/shop/terraform.tfstate", Why: "x"}}
		}, "locks"},
		"a lock that is a prefix":      {func(s *aws.Settings) { s.Locks = []aws.Lock{{Object: "s3/acme-state/shop/*", Why: "x"}} }, "locks"},
		"a lock of another place":      {func(s *aws.Settings) { s.Locks = []aws.Lock{{Object: "s3/acme-production/x.tflock", Why: "x"}} }, "locks"},
		"a lock table without an item": {func(s *aws.Settings) { s.Locks = []aws.Lock{{Object: "dynamodb/tf-locks", Why: "x"}} }, "locks"},
		"a lock item with a star":      {func(s *aws.Settings) { s.Locks = []aws.Lock{{Object: "dynamodb/tf-locks/*", Why: "x"}} }, "locks"},
		"a lock in a queue":            {func(s *aws.Settings) { s.Locks = []aws.Lock{{Object: "sqs/orders", Why: "x"}} }, "locks"},
	} {
		_, err := aws.New(newCloud().config(test.change))
		e, ok := err.(*broker.Error) //nolint:errorlint // it is not wrapped
		if !ok || e.Code != broker.CodeInvalid || e.Field != test.field {
			t.Errorf("%s: %v; want it refused for %s", name, err, test.field)
		}
	}
	for what, change := range map[string]func(*aws.Config){
		"key":    func(c *aws.Config) { c.AccessKey = broker.Secret{} },
		"secret": func(c *aws.Config) { c.SecretKey = broker.Secret{} },
		"clock":  func(c *aws.Config) { c.Now = nil },
		"target": func(c *aws.Config) { c.Ref.Target = "" },
	} {
		config := newCloud().config()
		change(&config)
		if _, err := aws.New(config); err == nil {
			t.Errorf("no %s: opened", what)
		}
	}
}

func manyBuckets() []string {
	var list []string
	for n := range 60 {
		list = append(list, "s3/acme-staging-with-a-long-name-"+strings.Repeat("x", n)[:n/4]+string(rune('a'+n%26))+"/*")
	}
	return list
}

// What an agent may write into a scope and what a session policy would make of it.
func TestScopesThatAPolicyWouldReadOtherwiseAreRefused(t *testing.T) {
	issuer := newCloud().issuer(t)
	for name, resource := range map[string]string{
		"another environment's bucket":      "s3/acme-production/app/*",
		"a bucket whose name begins alike":  "s3/acme-staging-2/*",
		"a prefix above what is listed":     "s3/acme-state/*",
		"beside what is listed":             "s3/acme-state/shopping/x",
		"a policy variable":                 "s3/acme-staging/${aws:username}",
		"one character of any":              "s3/acme-staging/a?c",
		"a way up":                          "s3/acme-staging/app/../secret",
		"a way up at the end":               "s3/acme-staging/app/..",
		"an empty part":                     "s3/acme-staging//x",
		"a leading slash":                   "s3/acme-staging//",
		"no key":                            "s3/acme-staging/",
		"the bucket alone":                  "s3/acme-staging",
		"a quote":                           `s3/acme-staging/"`,
		"a character beyond ASCII":          "s3/acme-staging/übersicht",
		"a blank":                           "s3/acme-staging/a b",
		"another queue":                     "sqs/orders-production",
		"a part of a table":                 "dynamodb/orders/index/x",
		"another account's ARN":             "arn:aws:s3:::acme-staging/app",
		"a function's prefix beside others": "lambda/job*",
	} {
		if d, err := issuer.Describe(t.Context(), broker.Wish{Scopes: []broker.Scope{{Target: "files", Resource: broker.Resource(resource), Actions: broker.Read}}}); err == nil {
			// A prefix above several entries stands for those that lie in it, never for more.
			if !broker.Covers([]broker.Scope{{Target: "files", Resource: "s3/acme-state/shop/*", Actions: broker.Read}, {Target: "files", Resource: "lambda/jobs-*", Actions: broker.Read}}, d.Scopes) {
				t.Errorf("%s: described as %v", name, broker.Texts(d.Scopes))
			}
		}
	}
	for scope, code := range map[string]broker.Code{
		"rds/orders:write": broker.CodeInvalid, "rds/orders:delete": broker.CodeInvalid, "lambda/orders:delete": broker.CodeInvalid,
		"lambda/jobs-*:write": broker.CodeInvalid, "s3/acme-staging/*:admin": broker.CodeInvalid, "*:write": broker.CodeInvalid,
		"s3/nowhere/*:read": broker.CodeDenied,
	} {
		if _, err := issuer.Describe(t.Context(), wish(t, scope)); broker.CodeOf(err) != code {
			t.Errorf("%s: %v; want %s", scope, err, code)
		}
	}
	if _, err := issuer.Describe(t.Context(), broker.Wish{}); broker.CodeOf(err) != broker.CodeInvalid {
		t.Errorf("no scope: %v", err)
	}
	other := wish(t, "s3/acme-staging/*:read")
	other.Scopes[0].Target = "elsewhere"
	if _, err := issuer.Describe(t.Context(), other); broker.CodeOf(err) != broker.CodeInvalid {
		t.Errorf("another target's scope: %v", err)
	}
}

// A server that takes a session policy and does not hold the session to it would hand out all that its user may.
func TestServerThatIgnoresSessionPoliciesIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		obeys, lets bool // lets sessions administer
		object      string
	}{
		"ignores it": {false, false, "session policy"}, "holds the session to it": {true, false, ""},
		"lets a session administer itself, CVE-2025-62506": {true, true, "server administration"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud()
			c.broken = func(r *http.Request) *http.Response {
				if r.Method == http.MethodPost {
					return nil // the model's STS
				}
				if strings.HasPrefix(r.URL.Path, "/minio/admin/") && test.lets {
					return respond(r, 404, `{"Code":"XMinioAdminNoSuchUser","Message":"The specified user does not exist."}`)
				}
				if over := strings.Contains(r.Header.Get("Authorization"), "Credential=ended/"); over && test.obeys {
					return respond(r, 403, `<Error><Code>AccessDenied</Code></Error>`)
				}
				return respond(r, 200, `<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`)
			}
			c.lie = func(a *answer) {
				if a.Packed = ""; strings.Contains(c.last.Get("Policy"), "aws:CurrentTime") {
					a.Key = "ended"
				}
			}
			config := c.config(func(s *aws.Settings) {
				s.Endpoint, s.Resources, s.Role = "https://sts.minio.example", []string{"s3/acme-staging/*"}, roleARN
			})
			issuer := open(t, config)
			_, err := issuer.Describe(t.Context(), wish(t, "s3/acme-staging/*:read"))
			if walled := broker.CodeOf(err) == broker.CodeWall; walled != (test.object != "") || err != nil && !walled {
				t.Errorf("Describe: %v; want %q", err, test.object)
			}
			found, err := issuer.Check(t.Context())
			if told := len(found) == 1 && found[0].Object == test.object && found[0].Refuses; err != nil || told != (test.object != "") {
				t.Errorf("Check: %+v, %v", found, err)
			}
		})
	}
}

// One server under two spellings must not be two environments'.
func TestAnotherSpellingOfAnEndpointIsTheSameServer(t *testing.T) {
	s := newSite(t)
	var ids []string
	for _, spelled := range []string{s.URL, s.URL + "/", strings.ToUpper(s.URL)} {
		identity, err := s.issuer(t, func(to *aws.Settings) { to.Endpoint = spelled }).Identify(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, identity.ID+" "+identity.Parts)
	}
	if ids[0] != ids[1] || ids[0] != ids[2] {
		t.Errorf("one server has the identities %q", ids)
	}
	for spelled, want := range map[string]string{
		"https://Minio.Example:443/": "https://minio.example", "https://minio.example:9000": "https://minio.example:9000", "http://[::1]:80": "http://[::1]", "": "",
	} {
		if got := aws.Canonical(spelled); got != want {
			t.Errorf("%q is %q; want %q", spelled, got, want)
		}
	}
}

// Who reads what is wrong with a list sees which entry it is, and how one is written.
func TestTheEntryThatIsWrongIsNamed(t *testing.T) {
	_, err := aws.New(newCloud().config(func(s *aws.Settings) { s.Resources = []string{"s3/acme-loose/*", "acme-staging"} }))
	if err == nil || !strings.Contains(err.Error(), `"acme-staging", which is not service/name, like s3/BUCKET/*`) {
		t.Errorf("got %v", err)
	}
}

// Nothing listens where the file says, or the name is nobody's: that is said, and what to look at.
func TestServerThatIsAwayIsToldFromOneThatFails(t *testing.T) {
	port, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	config := newCloud().config(func(s *aws.Settings) {
		s.Endpoint, s.Resources, s.Role = fmt.Sprintf("http://127.0.0.1:%d", port), []string{"s3/acme-staging/*"}, ""
	})
	config.Transport = nil
	_, err = open(t, config).Check(t.Context())
	if broker.CodeOf(err) != broker.CodeUnavailable || !strings.Contains(next(err), "that the server runs, and that endpoint is its address") {
		t.Errorf("Check: %v, next %q", err, next(err))
	}
	c := newCloud()
	config = c.config()
	c.broken = func(r *http.Request) *http.Response { return respond(r, 503, "") }
	if _, err = open(t, config).Check(t.Context()); next(err) != "try again" {
		t.Errorf("a server that fails: %v, next %q", err, next(err))
	}
}

// Nobody answers for the server's certificate: nothing is sent to it.
func TestServerWithACertificateOfNobodyIsRefused(t *testing.T) {
	asked := false
	impostor := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer impostor.Close()
	impostor.Config.ErrorLog = log.New(io.Discard, "", 0)
	config := newCloud().config(func(s *aws.Settings) {
		s.Endpoint, s.Resources, s.Role = impostor.URL, []string{"s3/acme-staging/*"}, ""
	})
	config.Transport = nil
	_, err := open(t, config).Describe(t.Context(), wish(t, "s3/acme-staging/*:read"))
	if broker.CodeOf(err) != broker.CodeUnavailable || asked {
		t.Errorf("Describe: %v; asked: %t; want it refused", err, asked)
	}
}

// A lookup that is half answered counts as the worse: the write could destroy.
func TestLookupThatIsHalfAnsweredCountsAsTheWorse(t *testing.T) {
	for name, body := range map[string]string{
		"nothing": "", "an empty object": "{}", "another document": "<html>maintenance</html>", "half": `{"TimeToLiveDescription":{"TimeToLive`, "an unknown state": `{"TimeToLiveDescription":{"TimeToLiveStatus":"PERHAPS"}}`,
	} {
		c := newCloud()
		issuer := c.issuer(t)
		describe(t, issuer, wish(t, "s3/acme-staging/*:read"))
		c.broken = func(r *http.Request) *http.Response { return respond(r, 200, body) }
		for _, scope := range []string{"s3/acme-staging/*:write", "dynamodb/orders:write"} {
			d, err := issuer.Describe(t.Context(), wish(t, scope))
			if err == nil && !broker.AllActions(d.Means()).Has(broker.Delete) {
				t.Errorf("%s, %s: described as no more than a write", name, scope)
			}
		}
	}
}

// Whatever an agent writes as a resource: what comes into a policy is an ARN of what the file lists, with a star at its end
// at most, and reaches nothing of another's.
func FuzzNoNameEscapesItsARN(f *testing.F) {
	for _, seed := range []string{
		"s3/acme-staging/app/*", "s3/acme-staging/${aws:userid}/*", "s3/acme-staging/a?b", "s3/acme-staging/../x", "s3/acme-staging-2/*", "s3/acme-staging/a\"],\"x\":[\"",
		"sqs/orders", "sqs/orders:x", "logs//aws/lambda/orders", "logs//aws/lambda/orders:*", "dynamodb/orders/index/*", "lambda/jobs-*", "ecr/shop/../x", "rds/orders", "*", "s3/*",
	} {
		f.Add(seed)
	}
	issuer := newCloud().issuer(f)
	listed := []string{
		"arn:aws:s3:::acme-staging", "arn:aws:s3:::acme-loose", "arn:aws:s3:::acme-state", "arn:aws:sqs:eu-central-1:111122223333:orders",
		"arn:aws:dynamodb:eu-central-1:111122223333:table/", "arn:aws:logs:eu-central-1:111122223333:log-group:/aws/lambda/orders",
		"arn:aws:ecr:eu-central-1:111122223333:repository/shop/", "arn:aws:lambda:eu-central-1:111122223333:function:", "arn:aws:rds:eu-central-1:111122223333:",
	}
	f.Fuzz(func(t *testing.T, resource string) {
		for _, action := range []broker.Actions{broker.Read, broker.Read | broker.Write, broker.Delete} {
			scopes := []broker.Scope{{Target: "files", Resource: broker.Resource(resource), Actions: action}}
			text, err := issuer.SessionPolicy(broker.Description{Scopes: scopes}, later)
			if err != nil {
				continue
			}
			policy := read(t, text)
			for _, r := range policy {
				for _, arn := range slices.Concat(r.resources, r.notResources) {
					stem := strings.TrimSuffix(arn, "*")
					if arn != "*" && (strings.ContainsAny(stem, `*?"$\{}`) || !slices.ContainsFunc(listed, func(own string) bool { return strings.HasPrefix(arn, own) })) {
						t.Errorf("%q becomes %q", resource, arn)
					}
				}
			}
			for _, arn := range foreign {
				for _, do := range aws.Given(action &^ broker.Read) {
					if got := inSession(everything, policy, everything, call{do, arn, now("s3:prefix", "app/")}); got == allowed {
						t.Errorf("%q: %s on %s is allowed", resource, do, arn)
					}
				}
			}
		}
	})
}
