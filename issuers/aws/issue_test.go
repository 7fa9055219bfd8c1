package aws_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/aws"
)

// What is asked of STS says whose lease it is, for which task, and how long.
func TestTheSessionCarriesLeaseTaskAndAgent(t *testing.T) {
	c := newCloud()
	issuer := c.issuer(t)
	for _, test := range []struct {
		ttl     time.Duration
		seconds string
	}{{time.Hour, "3599"}, {20 * time.Minute, "1199"}, {15 * time.Minute, "900"}, {time.Minute, "900"}} {
		w := wish(t, "s3/acme-staging/app/*:read")
		w.TTL = test.ttl
		order := orderFor(describe(t, issuer, w), "hk-i1-l1")
		credential, handle, err := issuer.Issue(t.Context(), order)
		if err != nil || len(handle) != 0 {
			t.Fatalf("Issue: %v, handle of %d bytes", err, len(handle))
		}
		want := map[string]string{
			"RoleArn": roleARN, "RoleSessionName": "hk-i1-l1", "SourceIdentity": "hk-i1-l1", "DurationSeconds": test.seconds,
			"Tags.member.1.Key": "hourkey:agent", "Tags.member.1.Value": "claude-code",
			"Tags.member.2.Key": "hourkey:task", "Tags.member.2.Value": "fix-orders-data",
			"TransitiveTagKeys.member.1": "hourkey:agent", "TransitiveTagKeys.member.2": "hourkey:task",
		}
		got := map[string]string{}
		for key := range c.last {
			if key != "Policy" && key != "Action" && key != "Version" {
				got[key] = c.last.Get(key)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.ttl, diff)
		}
		end := order.Expires.UTC().Truncate(time.Second)
		if !strings.Contains(c.last.Get("Policy"), `{"aws:CurrentTime":"`+end.Format(time.RFC3339)+`"}`) || credential.Expires.After(end) {
			t.Errorf("%s: the policy does not end the lease at %s, or it is told to live until %s: %s", test.ttl, end, credential.Expires, c.last.Get("Policy"))
		}
		if len(credential.Values) != 7 || credential.Values["AWS_REGION"].Reveal() != "eu-central-1" || credential.Values["AWS_SESSION_TOKEN"].IsZero() {
			t.Errorf("the credential has %d values", len(credential.Values))
		}
	}
}

// An answer that comes late is no wrong clock; a wrong clock is one in a late answer as well.
func TestAnAnswerThatComesLateIsNoWrongClock(t *testing.T) {
	for name, test := range map[string]struct {
		off  time.Duration
		want broker.Code
	}{"right": {0, ""}, "behind": {-30 * time.Second, broker.CodeUnavailable}, "ahead": {90 * time.Second, broker.CodeUnavailable}} {
		c := newCloud()
		config := c.config()
		var late atomic.Int64 // what the call took, by the broker's clock
		config.Now = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
		issuer := open(t, config)
		order := orderFor(describe(t, issuer, wish(t, "s3/acme-staging/app/*:read")), "hk-i1-l1")
		c.broken = func(*http.Request) *http.Response { late.Store(int64(20 * time.Second)); return nil }
		c.lie = func(a *answer) { a.Date = a.Date.Add(test.off) }
		_, _, err := issuer.Issue(t.Context(), order)
		if err != nil && broker.CodeOf(err) != test.want || err == nil && test.want != "" {
			t.Errorf("a clock that is %s, 20 seconds late: %v; want %q", name, err, test.want)
		}
	}
}

// The session counts from when STS was asked: where nothing else ends the lease, one that would outlive it is not handed out.
func TestASessionThatOutlivesItsLeaseIsNotHandedOut(t *testing.T) {
	for name, test := range map[string]struct {
		waited  time.Duration // before STS was asked
		later   time.Duration // than was asked for, as far as that is let pass
		refused bool
	}{"in time": {0, 0, false}, "late": {2 * time.Second, 4500 * time.Millisecond, true}} {
		c := newCloud()
		issuer := aws.EndBySession(c.issuer(t))
		w := wish(t, "s3/acme-staging/app/*:read")
		w.TTL = 15 * time.Minute
		order := orderFor(describe(t, issuer, w), "hk-i1-l1")
		order.Expires = order.Expires.Add(-test.waited)
		c.lie = func(a *answer) { a.Expires = a.Expires.Add(test.later) }
		credential, _, err := issuer.Issue(t.Context(), order)
		if refused := broker.CodeOf(err) == broker.CodeExpired && strings.Contains(err.Error(), "outlive"); refused != test.refused || refused != (len(credential.Values) == 0) {
			t.Errorf("%s: %v, %d values", name, err, len(credential.Values))
		}
	}
}

// Each lie of STS, each half answer: nothing is handed out.
func TestWhatSTSAnswersIsNotBelieved(t *testing.T) {
	for name, test := range map[string]struct {
		lie  func(*answer)
		want broker.Code
	}{
		"another account":                      {func(a *answer) { a.Account = "444455556666" }, broker.CodeUnavailable},
		"another role":                         {func(a *answer) { a.Role = "admin" }, broker.CodeUnavailable},
		"the role was made anew":               {func(a *answer) { a.ID = "AROAANOTHERONE" }, broker.CodeConflict},
		"another session's name":               {func(a *answer) { a.Session = "hk-i1-other" }, broker.CodeUnavailable},
		"no source identity":                   {func(a *answer) { a.Source = "" }, broker.CodeUnavailable},
		"no packed size: policy not in force?": {func(a *answer) { a.Packed = "" }, broker.CodeUnavailable},
		"a packed size over 100 %":             {func(a *answer) { a.Packed = "<PackedPolicySize>101</PackedPolicySize>" }, broker.CodeUnavailable},
		"a token over its size":                {func(a *answer) { a.Utilization = "<SessionTokenUtilization>140</SessionTokenUtilization>" }, broker.CodeUnavailable},
		"a session longer than asked for":      {func(a *answer) { a.Expires = a.Expires.Add(time.Hour) }, broker.CodeUnavailable},
		"a session that is over":               {func(a *answer) { a.Expires = time.Now().Add(-time.Minute) }, broker.CodeUnavailable},
		"no secret key":                        {func(a *answer) { a.Secret = "" }, broker.CodeUnavailable},
		"no session token: a lasting key":      {func(a *answer) { a.Token = "" }, broker.CodeUnavailable},
		"a clock that is behind":               {func(a *answer) { a.Date = time.Now().Add(-30 * time.Second) }, broker.CodeUnavailable},
		"no time":                              {func(a *answer) { a.Date = time.Time{} }, broker.CodeUnavailable},
		"a clock that is ahead":                {func(a *answer) { a.Date = time.Now().Add(30 * time.Second) }, broker.CodeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud()
			issuer := c.issuer(t)
			order := orderFor(describe(t, issuer, wish(t, "s3/acme-staging/app/*:read")), "hk-i1-l1")
			c.lie = test.lie
			credential, _, err := issuer.Issue(t.Context(), order)
			if broker.CodeOf(err) != test.want || len(credential.Values) > 0 {
				t.Errorf("Issue: %v, %d values; want %s and nothing", err, len(credential.Values), test.want)
			}
			if err != nil && strings.Contains(fmt.Sprintf("%+v %#v", err, err), "session-secret") {
				t.Error("the session's secret stands in the error")
			}
		})
	}
}

// The newer number counts where STS tells both.
func TestTokenUtilizationIsReadWhereItIsTold(t *testing.T) {
	c := newCloud()
	issuer := c.issuer(t)
	order := orderFor(describe(t, issuer, wish(t, "s3/acme-staging/app/*:read")), "hk-i1-l1")
	c.lie = func(a *answer) { a.Packed, a.Utilization = "", "<SessionTokenUtilization>60</SessionTokenUtilization>" }
	if _, _, err := issuer.Issue(t.Context(), order); err != nil {
		t.Errorf("Issue: %v", err)
	}
}

// The provider down, slow, half-answering: a clear error in time, and no secret in it.
func TestProviderThatFailsAtIssue(t *testing.T) {
	t.Parallel()
	reply := func(status int, body string) func(*http.Request) *http.Response {
		return func(r *http.Request) *http.Response { return respond(r, status, body) }
	}
	half := `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><SecretAccessKey>session-secret-key</SecretAccessKey><SessionTok`
	for name, broken := range map[string]func(*http.Request) *http.Response{
		"half an answer": reply(200, half), "an empty answer": reply(200, ""), "a page instead of an answer": reply(200, "<html>maintenance</html>"),
		"an error without a body": reply(503, ""), "a refusal that echoes the secret": reply(400, `<ErrorResponse><Error><Code>X</Code><Message>`+ownSecret+`</Message></Error></ErrorResponse>`),
		"a redirect": func(r *http.Request) *http.Response {
			return &http.Response{StatusCode: 307, Header: http.Header{"Location": {"https://elsewhere.example/"}}, Body: http.NoBody, Request: r}
		},
		"throttling": reply(400, `<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCloud()
			issuer := c.issuer(t)
			order := orderFor(describe(t, issuer, wish(t, "s3/acme-staging/app/*:read")), "hk-i1-l1")
			var asked int
			c.broken = func(r *http.Request) *http.Response { asked++; return broken(r) }
			credential, _, err := issuer.Issue(t.Context(), order)
			if name != "throttling" && asked != 1 {
				t.Errorf("STS was asked %d times: each answer that was lost may be a session of the same lease", asked)
			}
			if broker.CodeOf(err) != broker.CodeUnavailable || len(credential.Values) > 0 {
				t.Fatalf("Issue: %v; want %s", err, broker.CodeUnavailable)
			}
			for e := err; e != nil; e = unwrap(e) {
				if text := fmt.Sprintf("%v %+v %#v", e, e, e); strings.Contains(text, "session-secret") || strings.Contains(text, ownSecret) {
					t.Errorf("a secret stands in %s", text)
				}
			}
			if _, err := issuer.Identify(t.Context()); err == nil {
				t.Error("Identify: it worked")
			}
			c.broken = nil
			if _, _, err := issuer.Issue(t.Context(), order); err != nil {
				t.Errorf("Issue, when the provider is back: %v", err)
			}
		})
	}
}

func respond(r *http.Request, status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
}

func unwrap(err error) error {
	if u, ok := err.(interface{ Unwrap() error }); ok {
		return u.Unwrap()
	}
	return nil
}

func TestProviderThatIsSlowOrAwayIsNotWaitedForLongerThanAllowed(t *testing.T) {
	c := newCloud()
	issuer := c.issuer(t)
	d := describe(t, issuer, wish(t, "s3/acme-staging/app/*:read"))
	c.slow = time.Minute
	for what, do := range map[string]func(context.Context) error{
		"Issue":    func(ctx context.Context) error { _, _, err := issuer.Issue(ctx, orderFor(d, "hk-i1-l1")); return err },
		"Identify": func(ctx context.Context) error { return ignore(issuer.Identify(ctx)) },
		"Describe": func(ctx context.Context) error {
			return ignore(issuer.Describe(ctx, wish(t, "s3/acme-staging/app/*:write")))
		},
		"Check": func(ctx context.Context) error { return ignore(issuer.Check(ctx)) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		at := time.Now()
		err := do(ctx)
		if cancel(); broker.CodeOf(err) != broker.CodeUnavailable || time.Since(at) > 30*time.Second { // it would answer in a minute
			t.Errorf("%s: %v after %s", what, err, time.Since(at))
		}
	}
}

// The crash tests stop the broker around the one call that issues.
func TestFailpointsStandAroundTheCallThatIssues(t *testing.T) {
	var passed []string
	c := newCloud()
	config := c.config()
	config.Failpoint = func(point string) { passed = append(passed, fmt.Sprintf("%s, %d calls", point, len(c.taken()))) }
	issuer := open(t, config)
	order := orderFor(describe(t, issuer, wish(t, "s3/acme-staging/app/*:read")), "hk-i1-l1")
	c.taken()
	if _, _, err := issuer.Issue(t.Context(), order); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"before " + aws.Failpoints()[0] + ", 0 calls", "after " + aws.Failpoints()[0] + ", 1 calls"}, passed); diff != "" {
		t.Error(diff)
	}
}

// An order is not the issuer's word: it is held to the description and to the settings that are in force.
func TestAnOrderThatWasNotDescribedIsRefused(t *testing.T) {
	c := newCloud()
	issuer := c.issuer(t)
	good := orderFor(describe(t, issuer, wish(t, "s3/acme-staging/app/*:read")), "hk-i1-l1")
	for name, test := range map[string]struct {
		change func(*broker.Order)
		want   broker.Code
	}{
		"scopes that were not approved": {func(o *broker.Order) { o.Description.Scopes = wish(t, "s3/acme-staging/*:read").Scopes }, broker.CodeConflict},
		"more actions than the policy":  {func(o *broker.Order) { o.Description.Scopes = wish(t, "s3/acme-staging/app/*:read,write").Scopes }, broker.CodeConflict},
		"a resource of no environment":  {func(o *broker.Order) { o.Description.Scopes = wish(t, "s3/acme-production/*:read").Scopes }, broker.CodeDenied},
		"another role's identity":       {func(o *broker.Order) { o.Description.Identity = "aws:arn:aws:iam::444455556666:role/x#AROAX" }, broker.CodeConflict},
		"no time left":                  {func(o *broker.Order) { o.Expires = time.Now().Add(500 * time.Millisecond) }, broker.CodeExpired},
		"a time that is over":           {func(o *broker.Order) { o.Expires = time.Now().Add(-time.Minute) }, broker.CodeExpired},
		"a name that is no lease's":     {func(o *broker.Order) { o.Name = "admin" }, broker.CodeInternal},
		"a name with a policy variable": {func(o *broker.Order) { o.Name = "hk-${aws:userid}" }, broker.CodeInternal},
		"longer than was described":     {func(o *broker.Order) { o.TTL = o.Description.TTL + time.Second }, broker.CodeInternal},
		"what the file lists no more":   {func(o *broker.Order) { o.Description.Scopes = wish(t, "s3/acme-gone/*:read").Scopes }, broker.CodeDenied},
	} {
		order := good
		test.change(&order)
		if _, _, err := issuer.Issue(t.Context(), order); broker.CodeOf(err) != test.want {
			t.Errorf("%s: %v; want %s", name, err, test.want)
		}
	}
}

// Nothing is looked up twice within one Describe, and nothing that is not needed.
func TestEachThingIsLookedUpOnce(t *testing.T) {
	c := newCloud()
	issuer := c.issuer(t)
	describe(t, issuer, wish(t, "s3/acme-staging/a/*:read"))
	if diff := cmp.Diff([]string{"sts:GetCallerIdentity", "sts:AssumeRole"}, c.taken()); diff != "" {
		t.Errorf("at first contact (-want +got):\n%s", diff)
	}
	for _, test := range []struct {
		asks []string
		want []string
	}{
		{[]string{"s3/acme-staging/a/*:read"}, nil},
		{[]string{"s3/acme-staging/a/*:read,write", "s3/acme-staging/b/*:write"}, []string{"s3:GetBucketVersioning acme-staging"}},
		{[]string{"dynamodb/orders:write", "dynamodb/orders:read"}, []string{"dynamodb:DescribeTimeToLive orders"}},
		{[]string{"sqs/orders:write", "rds/orders:read"}, nil},
	} {
		describe(t, issuer, wish(t, test.asks...))
		if diff := cmp.Diff(test.want, c.taken()); diff != "" {
			t.Errorf("%v (-want +got):\n%s", test.asks, diff)
		}
	}
	order := orderFor(describe(t, issuer, wish(t, "s3/acme-staging/a/*:write")), "hk-i1-l1")
	c.taken()
	if _, _, err := issuer.Issue(t.Context(), order); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"sts:AssumeRole"}, c.taken()); diff != "" {
		t.Errorf("at issue (-want +got):\n%s", diff)
	}
}

// A write where items can be made to expire is a delete; one where that cannot be asked is refused.
func TestWriteToATableWithATimeToLiveIsDelete(t *testing.T) {
	c := newCloud()
	issuer := c.issuer(t)
	for scope, want := range map[string]string{
		"dynamodb/orders:read,write": "read,write", "dynamodb/sessions:read,write": "read,write,delete", "dynamodb/sessions:read": "read",
	} {
		d := describe(t, issuer, wish(t, scope))
		if got := broker.AllActions(d.Means()).String(); got != want {
			t.Errorf("%s means %s; want %s", scope, got, want)
		}
		if strings.Contains(strings.Join(d.Native, ""), "DeleteItem") {
			t.Errorf("%s is given DeleteItem: %s", scope, d.Native)
		}
	}
	c.denies["dynamodb:DescribeTimeToLive"] = true
	if _, err := issuer.Describe(t.Context(), wish(t, "dynamodb/orders:write")); broker.CodeOf(err) != broker.CodeUnavailable {
		t.Errorf("the role may not ask: %v; want it refused", err)
	}
	c.denies["s3:GetBucketVersioning acme-staging"] = true
	if _, err := issuer.Describe(t.Context(), wish(t, "s3/acme-staging/*:write")); broker.CodeOf(err) != broker.CodeUnavailable {
		t.Errorf("the role may not ask, or the bucket is another account's: %v; want it refused", err)
	}
}

// What does not exist, or is in another region, is told as that: trying again would not help.
func TestWriteToWhatDoesNotExistIsRefused(t *testing.T) {
	c := newCloud()
	issuer := c.issuer(t)
	c.denies["bucket acme-staging"], c.denies["table orders"] = true, true
	for _, scope := range []string{"s3/acme-staging/*:write", "dynamodb/orders:write"} {
		if _, err := issuer.Describe(t.Context(), wish(t, scope)); broker.CodeOf(err) != broker.CodeNotFound || next(err) == "" {
			t.Errorf("%s: %v; want %s, and what to do", scope, err, broker.CodeNotFound)
		}
	}
	found := check(t, issuer)
	for _, place := range []string{"s3/acme-staging", "dynamodb/orders"} {
		if f := found[place]; f.Mend == "" || !strings.Contains(f.Problem, "no such place") {
			t.Errorf("%s: check finds %+v", place, f)
		}
	}
	if found["s3/acme-loose"].Mend == "" {
		t.Errorf("the first that is missing hides the others: %+v", found)
	}
}

// A role that was deleted and made again under its name is another one.
func TestRecreatedRoleHasAnotherIdentity(t *testing.T) {
	c := newCloud()
	issuer := c.issuer(t)
	before, err := issuer.Identify(t.Context())
	if err != nil || !strings.Contains(before.ID, roleARN) || !strings.Contains(before.Shown, account) {
		t.Fatalf("Identify: %+v, %v", before, err)
	}
	c.roleID = "AROAMADEAGAIN"
	after, err := issuer.Identify(t.Context())
	if err != nil || after.ID == before.ID {
		t.Errorf("Identify after: %+v, %v; want another than %s", after, err, before.ID)
	}
}

// What one environment's file lists must not be another's: the parts of an identity say so, even under two roles.
func TestIdentityHoldsWhatTheFileLists(t *testing.T) {
	identity, err := newCloud().issuer(t).Identify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"arn:aws:s3:::acme-staging/*", "arn:aws:dynamodb:eu-central-1:111122223333:table/orders"} {
		if !strings.Contains(" "+identity.Parts+" ", " "+part+" ") {
			t.Errorf("%s is not among the parts %s", part, identity.Parts)
		}
	}
}

// Role chaining, and credentials that nothing limits.
func TestSessionOrRootAsTheBrokersOwnCredentialIsRefused(t *testing.T) {
	for arn, object := range map[string]string{
		"arn:aws:sts::111122223333:assumed-role/broker/i-1": "role chaining",
		"arn:aws:sts::111122223333:federated-user/broker":   "role chaining",
		"arn:aws:iam::111122223333:root":                    "account root",
		"arn:aws-us-gov:sts::111122223333:assumed-role/a/b": "role chaining",
		"":                                      "broker key", // half an answer
		"arn:aws:iam::111122223333:role/broker": "broker key",
	} {
		c := newCloud()
		c.caller = arn
		issuer := c.issuer(t)
		_, err := issuer.Describe(t.Context(), wish(t, "s3/acme-staging/a/*:read"))
		if broker.CodeOf(err) != broker.CodeWall || !strings.Contains(err.Error(), "["+object+"]") || next(err) == "" {
			t.Errorf("%s: %v; want a missing wall, %s", arn, err, object)
		}
		found, err := issuer.Check(t.Context())
		if err != nil || len(found) != 1 || found[0].Object != object || !found[0].Refuses {
			t.Errorf("%s: Check gives %+v, %v", arn, found, err)
		}
		if len(found) == 1 && !strings.HasPrefix(found[0].Problem, "the broker's own credential") { // whose target it is stands above it
			t.Errorf("%s: Check says %q", arn, found[0].Problem)
		}
	}
	c := newCloud()
	c.caller = "arn:aws:iam::111122223333:user/assumed-role/hourkey" // an ordinary user, with a path that looks like it
	describe(t, c.issuer(t), wish(t, "s3/acme-staging/a/*:read"))
	config := newCloud().config()
	config.AccessKey = broker.NewSecret("ASIAEXAMPLE")
	if _, err := aws.New(config); broker.CodeOf(err) != broker.CodeInvalid {
		t.Errorf("a session's key: %v; want it refused", err)
	}
}
