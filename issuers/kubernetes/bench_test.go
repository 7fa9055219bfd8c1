package kubernetes_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
)

// BenchmarkIssue compares the issuer with the same API calls made bare: plain net/http, one connection for all, bodies written beforehand.
func BenchmarkIssue(b *testing.B) {
	s := newSite(b)
	bare := &floor{site: s, client: s.Client()}
	defer bare.client.CloseIdleConnections()
	issuertest.Bench(b, s.issuer(b), wish(b, "configmaps/*:read,write"), bare.request)
}

// floor makes the same calls bare.
type floor struct {
	*site
	client *http.Client
}

func (f *floor) request(ctx context.Context, name string) (broker.Handle, error) {
	if err := f.describe(ctx); err != nil {
		return nil, err
	}
	const rbac, kind = "/apis/rbac.authorization.k8s.io/v1/namespaces/", "rbac.authorization.k8s.io"
	home := "/api/v1/namespaces/" + f.staging
	meta := fmt.Sprintf(`"metadata":{"name":%q,"namespace":%q}`, name, f.staging)
	for _, one := range [][2]string{
		{rbac + f.staging + "/roles", `{` + meta + `,"rules":[{"apiGroups":[""],"resources":["configmaps"],"verbs":["get","list","create","update","patch"]}]}`},
		{rbac + f.staging + "/rolebindings", `{` + meta + `,"roleRef":{"apiGroup":"` + kind + `","kind":"Role","name":"` + name + `"},"subjects":[{"kind":"ServiceAccount","name":"` + name + `","namespace":"` + f.staging + `"}]}`},
		{home + "/serviceaccounts", `{` + meta + `}`},
	} {
		if err := f.call(ctx, f.token, http.MethodPost, one[0], one[1], nil); err != nil {
			return nil, err
		}
	}
	var answer struct{ Status struct{ Token string } }
	if err := f.call(ctx, f.token, http.MethodPost, home+"/serviceaccounts/"+name+"/token", `{"spec":{"expirationSeconds":600}}`, &answer); err != nil {
		return nil, err
	}
	return nil, f.prove(ctx, answer.Status.Token)
}

// describe asks what a description asks, the audit of the minute excepted: both namespaces at once, then the list.
func (f *floor) describe(ctx context.Context) error {
	failed := make(chan error, 2)
	for _, name := range []string{"kube-system", f.staging} {
		go func() { failed <- f.call(ctx, f.token, http.MethodGet, "/api/v1/namespaces/"+name, "", nil) }()
	}
	for range cap(failed) {
		if err := <-failed; err != nil {
			return err
		}
	}
	return f.call(ctx, f.token, http.MethodGet, "/api/v1/namespaces/"+f.staging+"/configmaps?limit=1", "", nil)
}

func (f *floor) prove(ctx context.Context, token string) error {
	for {
		var review struct{ Status struct{ Allowed bool } }
		err := f.call(ctx, token, http.MethodPost, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
			`{"spec":{"resourceAttributes":{"namespace":"`+f.staging+`","verb":"get","resource":"configmaps"}}}`, &review)
		if err == nil && review.Status.Allowed {
			return nil
		}
		if err != nil && statusOf(err) != http.StatusUnauthorized {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

func (f *floor) call(ctx context.Context, token, method, path, body string, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, f.URL+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	response, err := f.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil || into == nil || response.StatusCode > 299 {
		if err == nil && response.StatusCode > 299 {
			err = refusalOf(response.StatusCode, raw)
		}
		return err
	}
	return json.Unmarshal(raw, into)
}
