package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/jackc/pgx/v5"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/kubernetes/kubetest"
	"github.com/hourkey/hourkey/issuers/vault/vaulttest"
)

// fort is an outpost of any kind, for the tests that are the same for all: killed at every step, and the provider in trouble. Its
// agent speaks the API by itself.
type fort struct {
	*outpost
	begins string        // every name of this installation
	asks   string        // a scope at staging that needs nobody
	looks  string        // one that the provider is asked about before it is described
	ttl    time.Duration // that the tests ask for
	short  time.Duration // one that can be waited for; 0: the provider makes none
	early  bool          // a lease is over when its end is ordered, and not before its time else
	makes  func(call) bool
	ends   func(call) bool // nil: nobody is called at the end
	// named lists, for each sort of thing that the provider keeps for a lease, the names of the leases that have one. nil: the
	// provider cannot list.
	named func(prefix string) ([][]string, error)
	// loot is every credential that went over the wire.
	loot func() []loot
}

// loot is a credential as one has it who listens at the wire, whether or not an agent ever got it.
type loot struct {
	lease  string // its name
	what   string
	secret string
	ends   time.Time                           // as the provider says; zero where it does not
	works  func(context.Context) (bool, error) // an error: it could not be tried
}

func (f *fort) begin(targets ...string) {
	f.Helper()
	f.openBare(targets...)
	f.begins = f.prefix()
}

// fortAndMinIO is a fort whose leases can only expire, in a quarter of an hour, for which nobody here waits. So what is shown is that no
// session outlives its lease, and no lease is taken for ended before.
func fortAndMinIO(t *testing.T) (*fort, minioSite) {
	t.Helper()
	m, files := newMinIO(t)
	f := &fort{
		outpost: prepareOutpost(t, files), asks: "files:s3/acme-staging/*:read", looks: "files:s3/acme-staging/*:read,write", ttl: 15 * time.Minute,
		makes: func(one call) bool { return strings.Contains(one.body, "RoleSessionName=hk-") },
	}
	f.loot = func() (all []loot) {
		for _, one := range f.tap.calls(f.makes) {
			form, _ := url.ParseQuery(one.body)
			key, secret, token := tag(one.answer, "AccessKeyId"), tag(one.answer, "SecretAccessKey"), tag(one.answer, "SessionToken")
			ends, _ := time.Parse(time.RFC3339, tag(one.answer, "Expiration"))
			all = append(all, loot{form.Get("RoleSessionName"), "session", secret, ends, func(ctx context.Context) (bool, error) { return m.reads(ctx, key, secret, token) }})
		}
		return all
	}
	f.begin("staging/files", "production/files")
	return f, m
}

// tag gives what stands in an element of XML.
func tag(text, name string) string {
	_, after, _ := strings.Cut(text, "<"+name+">")
	inside, _, _ := strings.Cut(after, "<")
	return inside
}

// reads tells whether the server lets a session read.
func (m minioSite) reads(ctx context.Context, key, secret, token string) (bool, error) {
	bucket, object := "acme-staging", "app/one"
	got, err := m.S3(key, secret, token).GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &object})
	if err == nil {
		return true, got.Body.Close()
	}
	if refusal, is := errors.AsType[smithy.APIError](err); is && slices.Contains([]string{"AccessDenied", "InvalidAccessKeyId", "ExpiredToken"}, refusal.ErrorCode()) {
		return false, nil
	}
	return false, err
}

func fortAndCluster(t *testing.T) (*fort, *kubetest.Server) {
	t.Helper()
	server, files := newCluster(t)
	token := regexp.MustCompile(`/serviceaccounts/(hk-[a-z0-9-]+)/token$`)
	f := &fort{
		outpost: prepareOutpost(t, files), asks: "cluster:configmaps/*:read,write", looks: "cluster:configmaps/*:read", ttl: 13 * time.Minute, early: true,
		makes: func(one call) bool { return isPost(one) && token.MatchString(one.path) },
		ends: func(one call) bool {
			return one.method == http.MethodDelete && strings.Contains(one.path, "/serviceaccounts/hk-")
		},
		named: func(prefix string) ([][]string, error) { return leaseObjects(server, prefix) },
	}
	f.loot = func() (all []loot) {
		for _, one := range f.tap.calls(f.makes) {
			var made struct{ Status struct{ Token string } }
			if json.Unmarshal([]byte(one.answer), &made) == nil && made.Status.Token != "" {
				all = append(all, loot{token.FindStringSubmatch(one.path)[1], "token", made.Status.Token, time.Time{}, func(ctx context.Context) (bool, error) { return listsConfig(ctx, server, made.Status.Token) }})
			}
		}
		return all
	}
	f.checksOut()
	f.begin("staging/cluster", "production/cluster")
	return f, server
}

// leaseObjects lists what is labelled as ours, kind by kind.
func leaseObjects(server *kubetest.Server, prefix string) (all [][]string, err error) {
	for _, kind := range []string{"api/v1/serviceaccounts", "apis/rbac.authorization.k8s.io/v1/roles", "apis/rbac.authorization.k8s.io/v1/rolebindings"} {
		var list struct {
			Items []struct{ Metadata struct{ Name string } }
		}
		if err := server.Do(context.Background(), server.Token(), http.MethodGet, "/"+kind+"?labelSelector=app.kubernetes.io/managed-by=hourkey", nil, &list); err != nil {
			return nil, err
		}
		var names []string
		for _, item := range list.Items {
			if strings.HasPrefix(item.Metadata.Name, prefix) {
				names = append(names, item.Metadata.Name)
			}
		}
		all = append(all, names)
	}
	return all, nil
}

// listsConfig tells whether the cluster lets a token read.
func listsConfig(ctx context.Context, server *kubetest.Server, token string) (bool, error) {
	err := server.Do(ctx, token, http.MethodGet, "/api/v1/namespaces/shop-staging/configmaps", nil, nil)
	if refusal, is := errors.AsType[*kubetest.Refusal](err); is && (refusal.Status == http.StatusForbidden || refusal.Status == http.StatusUnauthorized) {
		return false, nil
	}
	return err == nil, err
}

func fortAndVault(t *testing.T) (*fort, strongroom) {
	t.Helper()
	s, files := newStrongroom(t)
	read := map[string]string{} // accessor → lease
	f := &fort{
		outpost: prepareOutpost(t, files), asks: "orders-db:public.orders:read,write", looks: "orders-db:public.orders:read,write", ttl: time.Minute, short: 6 * time.Second, early: true,
		makes: func(one call) bool {
			return isPost(one) && strings.Contains(one.path, "auth/token/create/hourkey-staging-orders")
		},
		ends: has("revoke"),
		named: func(prefix string) ([][]string, error) {
			tokens, err := s.leaseTokens(prefix, read)
			return [][]string{tokens, s.databases["staging"].roles(t, prefix)}, err
		},
	}
	f.loot = func() (all []loot) {
		for _, one := range f.tap.calls(f.makes) {
			var asked struct{ Meta struct{ Hourkey string } }
			var made struct {
				Auth struct {
					Token string `json:"client_token"`
				}
			}
			if json.Unmarshal([]byte(one.body), &asked) == nil && json.Unmarshal([]byte(one.answer), &made) == nil && made.Auth.Token != "" {
				all = append(all, loot{asked.Meta.Hourkey, "token", made.Auth.Token, time.Time{}, func(ctx context.Context) (bool, error) { return s.lives(ctx, made.Auth.Token) }})
			}
		}
		return append(all, s.logins(f.tap)...)
	}
	f.begin("staging/orders-db", "staging/app-secrets", "production/orders-db", "production/app-secrets")
	return f, s
}

// leaseTokens lists the leases whose tokens Vault knows, by what the tokens say of themselves. read keeps what each said: it never changes.
func (s strongroom) leaseTokens(prefix string, read map[string]string) (names []string, err error) {
	ask := func(method, path string, data any) (map[string]any, error) {
		status, answer, err := vaulttest.Call(context.Background(), s.Address, s.Root, method, path, data)
		if err == nil && status >= http.StatusInternalServerError {
			err = fmt.Errorf("%s: status %d", path, status)
		}
		found, _ := answer["data"].(map[string]any)
		return found, err
	}
	listed, err := ask("LIST", "auth/token/accessors", nil)
	accessors, _ := listed["keys"].([]any)
	for _, one := range accessors {
		accessor, _ := one.(string)
		if _, known := read[accessor]; !known && err == nil {
			var found map[string]any // nothing for one that was revoked meanwhile
			found, err = ask(http.MethodPost, "auth/token/lookup-accessor", map[string]any{"accessor": accessor})
			meta, _ := found["meta"].(map[string]any)
			read[accessor], _ = meta["hourkey"].(string)
		}
		if strings.HasPrefix(read[accessor], prefix) {
			names = append(names, read[accessor])
		}
	}
	return names, err
}

// logins are those of the database that went over the wire; they bear their leases' names.
func (s strongroom) logins(heard *tap) (all []loot) {
	for _, one := range heard.calls(has("database-staging/creds/")) {
		var made struct {
			Data struct{ Username, Password string }
		}
		if json.Unmarshal([]byte(one.answer), &made) != nil || made.Data.Username == "" {
			continue
		}
		all = append(all, loot{made.Data.Username, "login", made.Data.Password, time.Time{}, func(ctx context.Context) (bool, error) {
			return s.databases["staging"].admits(ctx, made.Data.Username, made.Data.Password)
		}})
	}
	return all
}

// admits tells whether a login works.
func (d *database) admits(ctx context.Context, user, password string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, d.DSN(user, password, d.name))
	switch {
	case err == nil:
		shut(conn)
		return true, nil
	case slices.Contains([]string{invalidPassword, notPermitted, insufficientPrivilege}, state(err)):
		return false, nil
	}
	return false, err
}

// all gives the leases that the broker has. Who asks may find it gone.
func (f *fort) all() (leases []broker.Lease, err error) {
	err = f.ask(http.MethodGet, "/leases?all=true", nil, &leases)
	return leases, err
}

// accounted compares the provider with the store: what is alive there for each live lease and for no other, and nothing on its way.
func (f *fort) accounted() error {
	leases, err := f.all()
	if err != nil {
		return err
	}
	var live []string
	for _, lease := range leases {
		waits := !f.early && lease.State == broker.LeaseEnding
		switch {
		case !lease.Open():
			continue
		case lease.State != broker.LeaseLive && !waits:
			return fmt.Errorf("lease %s is %s: %s", lease.ID, lease.State, lease.LastError)
		}
		live = append(live, lease.Name)
	}
	if f.named == nil {
		return nil
	}
	slices.Sort(live)
	all, err := f.named(f.begins)
	if err != nil {
		return err
	}
	for _, names := range all {
		if slices.Sort(names); !slices.Equal(names, live) {
			return fmt.Errorf("at the provider are %v, live leases are %v", all, live)
		}
	}
	return nil
}

// powerless tries everything that ever went over the wire: what works belongs to a lease that the broker has as open, and no lease was
// made twice. What was seen dead is not tried again, unless dead is nil.
func (f *fort) powerless(dead map[string]bool) error {
	leases, err := f.all()
	if err != nil {
		return err
	}
	known, made := map[string]broker.Lease{}, map[string]string{} // name → lease; name and what → secret
	for _, lease := range leases {
		known[lease.Name] = lease
	}
	for _, one := range f.loot() {
		lease, is := known[one.lease]
		if !is {
			return fmt.Errorf("the provider made a %s for %s, and the broker has no record of it", one.what, one.lease)
		}
		if other := made[one.lease+one.what]; other != "" && other != one.secret {
			return fmt.Errorf("the %s of %s was made twice", one.what, one.lease)
		}
		made[one.lease+one.what] = one.secret
		if late := one.ends.Sub(lease.Expires); !one.ends.IsZero() && late > time.Minute { // the shortest session counts from when it was asked for
			return fmt.Errorf("the %s of %s ends %s after its lease", one.what, one.lease, late)
		}
		if !f.early && !lease.Open() && lease.Ended.Before(lease.Expires) {
			return fmt.Errorf("the broker has %s as ended at %s, and it cannot end before %s", one.lease, lease.Ended, lease.Expires)
		}
		if dead[one.secret] || lease.Open() && time.Now().Before(lease.Expires) {
			continue
		}
		if works, err := one.works(f.Context()); works || err != nil {
			return fmt.Errorf("the %s of %s (%s, %s) works: %t, %w", one.what, one.lease, lease.State, lease.Cause, works, err)
		}
		if dead != nil {
			dead[one.secret] = true
		}
	}
	return nil
}

// none waits until no lease is open, but those whose end is ordered and can only come by itself, and nothing that was ever made for the
// others works.
func (f *fort) none() {
	f.Helper()
	eventually(f, func() error {
		leases, err := f.all()
		if err != nil {
			return err
		}
		for _, lease := range leases {
			if waits := !f.early && lease.State == broker.LeaseEnding; lease.Open() && !waits {
				return fmt.Errorf("%s is %s until %s: %s", lease.Name, lease.State, lease.Expires, lease.LastError)
			}
		}
		return errors.Join(f.accounted(), f.powerless(nil))
	})
}
