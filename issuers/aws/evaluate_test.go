package aws_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// evaluate decides as IAM does (policy evaluation logic, IAM user guide), as far as our policies go. It is written apart
// from what makes them, and held against MinIO by TestTheEvaluatorDecidesAsMinIODoes.

type verdict string

const (
	allowed  verdict = "allowed"
	implicit verdict = "not allowed"
	explicit verdict = "denied"
)

// call is what IAM is asked about.
type call struct {
	action, resource string
	context          map[string][]string // condition key → values
}

// document is a policy, read.
type document []rule

// rule is a statement. A list that is nil is not there.
type rule struct {
	denies                                       bool
	actions, notActions, resources, notResources []string
	conditions                                   map[string]map[string][]string // operator → key → values
}

func read(t testing.TB, policy string) document {
	t.Helper()
	var written struct{ Statement []map[string]any }
	if err := json.Unmarshal([]byte(policy), &written); err != nil {
		t.Fatalf("%v in %s", err, policy)
	}
	var d document
	for _, s := range written.Statement {
		r := rule{s["Effect"] == "Deny", list(s["Action"]), list(s["NotAction"]), list(s["Resource"]), list(s["NotResource"]), map[string]map[string][]string{}}
		conditions, _ := s["Condition"].(map[string]any)
		for operator, keys := range conditions {
			r.conditions[operator] = map[string][]string{}
			for key, values := range keys.(map[string]any) {
				r.conditions[operator][key] = list(values)
			}
		}
		d = append(d, r)
	}
	return d
}

// evaluate decides by one policy.
func evaluate(policy document, c call) verdict {
	result := implicit
	for _, r := range policy {
		switch {
		case !applies(r, c):
		case r.denies:
			return explicit
		default:
			result = allowed
		}
	}
	return result
}

// inSession decides for a session: the role's policies and the session's must both allow; what a resource policy gives to
// the session directly is added, and stopped only by an explicit deny.
func inSession(role, session, resourcePolicy document, c call) verdict {
	byRole, bySession := evaluate(role, c), evaluate(session, c)
	switch {
	case byRole == explicit || bySession == explicit:
		return explicit
	case byRole == allowed && bySession == allowed:
		return allowed
	case len(resourcePolicy) > 0:
		return evaluate(resourcePolicy, c)
	}
	return implicit
}

// everything is the widest role, and the widest resource policy; nothing is none.
var everything, nothing = document{{actions: []string{"*"}, resources: []string{"*"}}}, document{}

func applies(r rule, c call) bool {
	in := func(patterns []string, text string, fold bool) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { return glob(p, text, fold) })
	}
	if r.actions != nil && !in(r.actions, c.action, true) || in(r.notActions, c.action, true) ||
		r.resources != nil && !in(r.resources, c.resource, false) || in(r.notResources, c.resource, false) {
		return false
	}
	for operator, keys := range r.conditions {
		for key, values := range keys {
			if !holds(operator, c.context[key], values) {
				return false
			}
		}
	}
	return true
}

// holds decides one condition, with what the call has and what the policy wants.
func holds(operator string, has, wants []string) bool {
	any := func(match func(have, want string) bool) func(string) bool {
		return func(have string) bool {
			return slices.ContainsFunc(wants, func(want string) bool { return match(have, want) })
		}
	}
	equal := func(a, b string) bool { return a == b }
	switch operator {
	case "StringLike":
		return len(has) > 0 && slices.ContainsFunc(has, any(func(have, want string) bool { return glob(want, have, false) }))
	case "StringNotEquals": // true where there is no value
		return !slices.ContainsFunc(has, any(equal))
	case "ForAnyValue:StringEquals":
		return slices.ContainsFunc(has, any(equal))
	case "ForAnyValue:StringNotEquals":
		return slices.ContainsFunc(has, func(have string) bool { return !any(equal)(have) })
	case "Null":
		return (len(has) == 0) == (wants[0] == "true")
	case "DateGreaterThanEquals":
		at, err := time.Parse(time.RFC3339, has[0])
		end, err2 := time.Parse(time.RFC3339, wants[0])
		if err != nil || err2 != nil {
			panic(errors.Join(err, err2))
		}
		return !at.Before(end)
	}
	panic("the evaluator does not know " + operator)
}

func list(value any) []string {
	switch v := value.(type) {
	case string:
		return []string{v}
	case []any:
		texts := make([]string, len(v))
		for at, one := range v {
			texts[at], _ = one.(string)
		}
		return texts
	}
	return nil
}

// glob matches * and ?.
func glob(pattern, text string, fold bool) bool {
	if !strings.ContainsAny(pattern, "*?") {
		return pattern == text || fold && strings.EqualFold(pattern, text)
	}
	if fold {
		pattern, text = strings.ToLower(pattern), strings.ToLower(text)
	}
	switch {
	case pattern == "":
		return text == ""
	case pattern[0] == '*':
		return glob(pattern[1:], text, false) || text != "" && glob(pattern, text[1:], false)
	case text == "":
		return false
	case pattern[0] == '?' || pattern[0] == text[0]:
		return glob(pattern[1:], text[1:], false)
	}
	return false
}

func TestGlob(t *testing.T) {
	for pattern, texts := range map[string]map[string]bool{
		"s3:Get*": {"s3:GetObject": true, "S3:getobject": true, "s3:PutObject": false}, "*": {"": true, "x": true},
		"a?c": {"abc": true, "ac": false}, "a*c*": {"abcd": true, "ab": false}, "": {"": true, "a": false},
	} {
		for text, want := range texts {
			if glob(pattern, text, true) != want {
				t.Errorf("%q matches %q: %t", pattern, text, !want)
			}
		}
	}
}

// now is the context of a call at this moment.
func now(more ...string) map[string][]string {
	c := map[string][]string{"aws:CurrentTime": {time.Now().UTC().Format(time.RFC3339)}, "s3:ResourceAccount": {account}}
	for at := 0; at+1 < len(more); at += 2 {
		c[more[at]] = append(c[more[at]], more[at+1])
	}
	return c
}

// The evaluator proves something only if it decides as a real server does.
func TestTheEvaluatorDecidesAsMinIODoes(t *testing.T) {
	s := newSite(t)
	issuer := s.issuer(t)
	scopes := []string{"s3/" + s.bucket + "/app/*:read,write", "s3/" + s.bucket + "/secret/plan:read", "s3/" + s.loose + "/*:read"}
	d := describe(t, issuer, wish(t, scopes...))
	policy, err := issuer.SessionPolicy(d, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	if err != nil {
		t.Fatal(err)
	}
	c := s.as(lease(t, issuer, scopes...))
	keys := []string{"app/one", "app/", "application", "secret/plan", "secret/plan2", "secret", "other"}
	compared, session := 0, read(t, policy)
	for _, bucket := range []string{s.bucket, s.loose, s.other} {
		arn := "arn:aws:s3:::" + bucket
		for _, key := range keys {
			for _, one := range []struct {
				call call
				err  error
			}{
				{call{"s3:GetObject", arn + "/" + key, now()}, ignore(c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key}))},
				{call{"s3:PutObject", arn + "/" + key, now()}, ignore(c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader("x")}))},
				{call{"s3:PutObject", arn + "/" + key, now("s3:RequestObjectTagKeys", "a")}, ignore(c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader("x"), Tagging: ptr("a=b")}))},
				{call{"s3:DeleteObject", arn + "/" + key, now()}, ignore(c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key}))},
				{call{"s3:ListBucket", arn, now("s3:prefix", key)}, ignore(c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &key}))},
				{call{"s3:GetBucketVersioning", arn, now()}, ignore(c.GetBucketVersioning(t.Context(), &s3.GetBucketVersioningInput{Bucket: &bucket}))},
			} {
				compared++
				really := allowed
				if one.err != nil && refused(one.err) {
					really = implicit
				}
				if said := evaluate(session, one.call); (said == allowed) != (really == allowed) {
					t.Errorf("%s on %s (%v): the evaluator says %s, MinIO %s (%v)", one.call.action, one.call.resource, one.call.context["s3:prefix"], said, really, one.err)
				}
			}
		}
	}
	t.Logf("%d calls compared", compared)
}
