package kubernetes_test

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/kubernetes/kubetest"
)

func statusOf(err error) int {
	r, ok := errors.AsType[*kubetest.Refusal](err)
	if !ok {
		return 0
	}
	return r.Status
}

// An early end, as it is declared: no right at once, and no identity within 10 s.
func TestAnEndedLeaseMayDoNothingAtOnceAndIsUnknownSoon(t *testing.T) {
	t.Parallel()
	issuertest.OnlyWhole(t, "takes long")
	s := newSite(t)
	issuer, name := s.issuer(t), fmt.Sprintf("hk-ended-%d", serial.Add(1))
	c, _ := issuertest.Lease(t, issuer, orderFor(describe(t, issuer, wish(t, "configmaps/*:read")), name))
	client := s.Client()
	defer client.CloseIdleConnections()
	read := func() error { return s.useOver(t.Context(), client, c, broker.Read) }
	if err := read(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := issuer.Revoke(t.Context(), name, nil); err != nil {
		t.Fatal(err)
	}
	took, revoked := time.Since(began), time.Now()
	if err := read(); statusOf(err) != http.StatusForbidden && statusOf(err) != http.StatusUnauthorized {
		t.Errorf("right after Revoke: %v; want it refused", err)
	}
	var known time.Duration // as long as a call that began then was still somebody's
	for at := time.Now(); statusOf(read()) == http.StatusForbidden && known < 20*time.Second; at = time.Now() {
		known = at.Sub(revoked)
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("Revoke took %s; the token was known, without rights, for %s more", took.Round(time.Millisecond), known.Round(100*time.Millisecond))
	if err := read(); statusOf(err) != http.StatusUnauthorized || known > 13*time.Second {
		t.Errorf("%s after Revoke: %v; want the token unknown within 10 s, as declared", known, err)
	}
}

// The end that is written in a token is not the end of it: the server grants a minute, and remembers. The issuer counts with 71 s of it.
func TestATokenOutlivesItsExpiryByAsMuchAsIsReckonedWith(t *testing.T) {
	t.Parallel()
	issuertest.OnlyWhole(t, "takes long")
	s := newSite(t)
	c := lease(t, s.issuer(t), "configmaps/*:read")
	aged, expires := s.agedAndUsed(t, c)
	var outlived time.Duration // as long as a call that began then was taken
	for at := time.Now(); s.use(t.Context(), aged, broker.Read) == nil && outlived < 90*time.Second; at = time.Now() {
		outlived = at.Sub(expires)
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("the token was accepted for %s after its expiry", outlived.Round(100*time.Millisecond))
	if outlived > 71*time.Second {
		t.Errorf("the token was accepted for %s after its expiry: the issuer counts with 71 s", outlived)
	}
}

// agedAndUsed is a credential whose token expired nearly a minute ago, and is taken. On a machine that stood still it was too long ago;
// then it is tried with one that expired later.
func (s *site) agedAndUsed(t *testing.T, c broker.Credential) (aged broker.Credential, expires time.Time) {
	t.Helper()
	for elapsed := 58 * time.Second; ; elapsed -= 15 * time.Second {
		expires = time.Now().Add(-elapsed).Truncate(time.Second)
		aged, err := s.aged(c, expires)
		if err != nil {
			t.Fatal(err)
		}
		if err = s.use(t.Context(), aged, broker.Read); err == nil {
			return aged, expires
		}
		if ago := time.Since(expires); ago < time.Minute || elapsed < 0 {
			t.Fatalf("a token that expired %s ago: %v; then less than 71 s will do", ago, err)
		}
	}
}

// A lease's token expires, by what is written in it, 131 s before the lease, and no later: 71 s for which the server still takes it, and a
// minute in which it finishes what was begun.
func TestATokenIsMadeToExpireBeforeItsLease(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	issuer := s.issuer(t)
	d, began := describe(t, issuer, wish(t, "configmaps/*:read")), time.Now()
	order := orderFor(d, "hk-exp-1")
	c, _ := issuertest.Lease(t, issuer, order)
	if before := order.Expires.Sub(c.Expires); before < 131*time.Second || before > 133*time.Second+time.Since(began) {
		t.Errorf("the credential ends %s before the lease; want 131 s and a little", before)
	}
}

// Collected again, a lease keeps its first end; what is then too short for Kubernetes is refused, not lengthened.
func TestTooLittleTimeIsRefusedAndNotLengthened(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	issuer := s.issuer(t)
	order := orderFor(describe(t, issuer, wish(t, "configmaps/*:read")), "hk-short-1")
	order.TTL, order.Expires = 5*time.Minute, time.Now().Add(5*time.Minute)
	if _, _, err := issuer.Issue(t.Context(), order); broker.CodeOf(err) != broker.CodeExpired {
		t.Errorf("%v; want it refused", err)
	}
	if left := s.left(t, "hk-short-1"); len(left) > 0 {
		t.Errorf("%v was made", left)
	}
}

// Why watch is not given unless open streams are accepted: the one who watches says for how long, and nothing ends it.
func TestAWatchOutlivesItsLease(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.grantBroker(t, `- {apiGroups: [""], resources: [configmaps], verbs: [watch]}`)
	issuer, name := s.issuer(t, "open streams"), "hk-watch-1"
	c, _ := issuertest.Lease(t, issuer, orderFor(describe(t, issuer, wish(t, "configmaps/*:read")), name))
	client := s.Client()
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+s.path("configmaps?watch=1&timeoutSeconds=864000&resourceVersion=0"), nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+tokenOf(c))
	client.Timeout = 0
	response, err := client.Do(request)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("watching: %v, %v", response, err)
	}
	defer response.Body.Close()
	if err := issuer.Revoke(t.Context(), name, nil); err != nil {
		t.Fatal(err)
	}
	s.Apply(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: after-the-end, namespace: "+s.staging+"}\n")
	lines, late := bufio.NewScanner(response.Body), time.AfterFunc(time.Minute, func() { _ = response.Body.Close() })
	defer late.Stop()
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if strings.Contains(lines.Text(), `"after-the-end"`) {
			return
		}
	}
	t.Error("the watch ended with its lease: then watch can be given to everybody, and Ends says too little")
}

func refusalOf(status int, body []byte) error {
	return &kubetest.Refusal{Status: status, Message: string(body)}
}
