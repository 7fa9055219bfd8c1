package kubernetes_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/kubernetes"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	issuertest.Run(t, issuertest.Harness{
		Issuer: &hurried{s.issuer(t), s},
		Reopen: func(t *testing.T) issuertest.Issuer { return &hurried{s.issuer(t), s} },

		ReadWrite: wish(t, "configmaps/*:read,write"),
		Delete:    wish(t, "configmaps/*:read,write,delete"),
		Unknown:   wish(t, "configmaps/nowhere:read"),
		Admin:     wish(t, "configmaps/*:read,admin"),
		Short:     14 * time.Second,

		Use: s.use,
		Elsewhere: func(ctx context.Context, c broker.Credential) error {
			return s.try(ctx, c, http.MethodGet, "/api/v1/namespaces/"+s.production+"/configmaps/settings", nil)
		},
		Outside: s.attacks(),
		Connect: s.connect,
		Refused: isRefused,

		SecretNames: []string{"KUBE_TOKEN"},
		Secrets:     []string{s.token, s.Token()},
		Fault: func(*testing.T) (issuertest.Issuer, error) {
			config := s.config()
			config.Resolve = func(field, reference string) (broker.Secret, error) {
				if field == "token" {
					return broker.NewSecret("a-token-that-nobody-knows"), nil
				}
				return s.resolve(field, reference)
			}
			return kubernetes.New(config)
		},
	})
}

// hurry is how much faster the suite's time runs than the issuer's: a second of the suite is a minute. Kubernetes makes no token
// for less than ten minutes, and no test should wait for so long.
const hurry = 60

// unfinished is how long a server goes on with a call that was begun: so long before its end a lease's token is not taken any more.
const unfinished = time.Minute

// hurried is the issuer in the suite's time. The token of a lease whose end the suite waits for is signed anew, with the key of the
// test's server, to expire as long before that end as the issuer makes it expire. Everything else is the issuer's.
type hurried struct {
	*kubernetes.Issuer
	site *site
}

func (h *hurried) Capabilities() broker.Capabilities {
	c := h.Issuer.Capabilities()
	c.TTLFloor /= hurry
	return c
}

func (h *hurried) Describe(ctx context.Context, wish broker.Wish) (broker.Description, error) {
	wish.TTL *= hurry
	d, err := h.Issuer.Describe(ctx, wish)
	d.TTL /= hurry
	return d, err
}

func (h *hurried) Issue(ctx context.Context, order broker.Order) (broker.Credential, broker.Handle, error) {
	ends := order.Expires
	order.TTL, order.Description.TTL = order.TTL*hurry, order.Description.TTL*hurry
	order.Expires = time.Now().Add(time.Until(ends) * hurry)
	c, handle, err := h.Issuer.Issue(ctx, order)
	if err != nil {
		return c, handle, err
	}
	expires := c.Expires
	c.Expires = ends.Add(unfinished - order.Expires.Sub(expires)) // a new call is taken until then
	if order.TTL >= hurry*time.Minute {
		return c, handle, nil // nobody waits for its end
	}
	c, err = h.site.aged(c, c.Expires)
	return c, handle, err
}

// aged is a credential whose token ends at another time.
func (s *site) aged(c broker.Credential, expires time.Time) (broker.Credential, error) {
	token, err := s.Aged(tokenOf(c), expires)
	c.Values = maps.Clone(c.Values)
	c.Values["KUBE_TOKEN"], c.Expires = broker.NewSecret(token), expires
	return c, err
}

func (s *site) use(ctx context.Context, c broker.Credential, action broker.Actions) error {
	client := s.Client()
	defer client.CloseIdleConnections()
	return s.useOver(ctx, client, c, action)
}

// useOver does one action on the ConfigMaps of staging.
func (s *site) useOver(ctx context.Context, client *http.Client, c broker.Credential, action broker.Actions) error {
	do := func(method, path string, body any, header ...string) error {
		return s.DoOver(ctx, client, tokenOf(c), method, s.path(path), body, nil, header...)
	}
	if action == broker.Read {
		return do(http.MethodGet, "configmaps", nil)
	}
	if action == broker.Write {
		name := fmt.Sprintf("new-%d", serial.Add(1))
		if err := do(http.MethodPost, "configmaps", map[string]any{"metadata": map[string]any{"name": name, "labels": map[string]any{"made": "by-the-test"}}}); err != nil {
			return err
		}
		return do(http.MethodPatch, "configmaps/"+name, `{"data":{"a":"b"}}`, "Content-Type", mergePatch)
	}
	return do(http.MethodDelete, "configmaps?labelSelector=made%3Dnever", nil)
}

type session struct {
	s      *site
	client *http.Client
	c      broker.Credential
}

func (s *site) connect(ctx context.Context, c broker.Credential) (issuertest.Session, error) {
	one := session{s, s.Client(), c}
	return one, one.Do(ctx, broker.Read)
}

func (s session) Do(ctx context.Context, action broker.Actions) error {
	return s.s.useOver(ctx, s.client, s.c, action)
}

func (s session) Close() { s.client.CloseIdleConnections() }
