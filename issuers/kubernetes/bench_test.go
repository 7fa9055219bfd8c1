package kubernetes_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/kubernetes"
)

// BenchmarkIssue compares what a request costs at the issuer, Describe and then Issue, with the same API calls made bare: plain
// net/http, one connection for all, bodies written beforehand. Rounds alternate, so that both meet the same machine. ×p50 and ×total are the
// ratios.
func BenchmarkIssue(b *testing.B) {
	s := newSite(b)
	issuer := s.issuer(b)
	bare := &floor{site: s, client: s.Client()}
	defer bare.client.CloseIdleConnections()
	for _, clients := range []int{1, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			var ours, theirs round
			ours.play(b, issuer, clients, requestByIssuer(issuer)) // warm: connections, the audit
			theirs.play(b, issuer, clients, bare.request)
			ours, theirs = round{}, round{}
			for range b.N {
				ours.play(b, issuer, clients, requestByIssuer(issuer))
				theirs.play(b, issuer, clients, bare.request)
			}
			b.ReportMetric(ours.percentile(50), "ms-p50")
			b.ReportMetric(ours.percentile(99), "ms-p99")
			b.ReportMetric(theirs.percentile(50), "bare-ms-p50")
			b.ReportMetric(theirs.percentile(99), "bare-ms-p99")
			b.ReportMetric(ours.percentile(50)/theirs.percentile(50), "×p50")
			b.ReportMetric(float64(ours.total)/float64(theirs.total), "×total")
		})
	}
}

// round collects the times of many requests.
type round struct {
	each  []time.Duration
	total time.Duration
}

func (r *round) percentile(p int) float64 {
	slices.Sort(r.each)
	return r.each[len(r.each)*p/101].Seconds() * 1000
}

// play runs one request for each client at once, and ends the leases afterwards, untimed.
func (r *round) play(b *testing.B, issuer *kubernetes.Issuer, clients int, request func(context.Context, string) error) {
	b.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	began := time.Now()
	for at := range clients {
		all.Go(func() {
			start := time.Now()
			err := request(b.Context(), fmt.Sprintf("hk-bench-%d", at))
			took := time.Since(start)
			mu.Lock()
			defer mu.Unlock()
			if r.each = append(r.each, took); err != nil {
				b.Error(err)
			}
		})
	}
	all.Wait()
	r.total += time.Since(began)
	for at := range clients {
		if err := issuer.Revoke(b.Context(), fmt.Sprintf("hk-bench-%d", at), nil); err != nil {
			b.Fatal(err)
		}
	}
}

func requestByIssuer(issuer *kubernetes.Issuer) func(context.Context, string) error {
	scopes := []broker.Scope{{Target: "shop", Resource: "configmaps/*", Actions: broker.Read | broker.Write}}
	return func(ctx context.Context, name string) error {
		d, err := issuer.Describe(ctx, broker.Wish{TTL: 15 * time.Minute, Scopes: scopes})
		if err != nil {
			return err
		}
		_, _, err = issuer.Issue(ctx, orderFor(d, name))
		return err
	}
}

// floor makes the same calls bare.
type floor struct {
	*site
	client *http.Client
}

func (f *floor) request(ctx context.Context, name string) error {
	if err := f.describe(ctx); err != nil {
		return err
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
			return err
		}
	}
	var answer struct{ Status struct{ Token string } }
	if err := f.call(ctx, f.token, http.MethodPost, home+"/serviceaccounts/"+name+"/token", `{"spec":{"expirationSeconds":600}}`, &answer); err != nil {
		return err
	}
	return f.prove(ctx, answer.Status.Token)
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
