package kubernetes

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Kind is the name of this kind of target in an environment's file.
const Kind = "kubernetes"

// Config is what an Issuer is opened with. Failpoint may be left out.
type Config struct {
	Ref      broker.TargetRef // every scope must name its target; a lease reaches its environment alone
	Settings Settings
	// Resolve gives the secret that a field refers to. It is also called later, when the server does not know the token any more.
	Resolve func(field, reference string) (broker.Secret, error)
	Now     func() time.Time
	// Failpoint is called around each step of Issue and Revoke at the server, with "before " or "after " and
	// the step's name, one of Failpoints. For crash tests; nil in production.
	Failpoint func(point string)
}

// Failpoints are the steps of Issue and Revoke at the server, in their order.
func Failpoints() []string {
	return []string{
		pointIssueRole, pointIssueBinding, pointIssueAccount, pointIssueToken, pointIssueProve,
		pointRevokeBinding, pointRevokeAccount, pointRevokeRole, pointRevokeVerify,
	}
}

const (
	pointIssueRole     = "issue role"
	pointIssueBinding  = "issue binding"
	pointIssueAccount  = "issue account"
	pointIssueToken    = "issue token"
	pointIssueProve    = "issue prove"
	pointRevokeBinding = "revoke binding"
	pointRevokeAccount = "revoke account"
	pointRevokeRole    = "revoke role"
	pointRevokeVerify  = "revoke verify"
)

// Issuer issues in one namespace. Its methods are safe for concurrent use.
type Issuer struct {
	config Config
	kinds  kindTable
	client *client
	server string // as a lease is told it
	ca     string // PEM, empty for the system's authorities

	auditing chan struct{} // held by who reads or renews audited
	audited  *audit
}

var (
	_ broker.Issuer   = (*Issuer)(nil)
	_ broker.Declarer = (*Issuer)(nil)
	_ broker.Lister   = (*Issuer)(nil)
	_ broker.Checker  = (*Issuer)(nil)
)

const (
	// shortest is the shortest life of a token at the API server (TokenRequest, expirationSeconds).
	shortest = 10 * time.Minute
	// unfinished is how long an API server goes on with a change of which it has the head, and waits for the body: 34 s
	// (requestTimeoutUpperBound in endpoints/handlers of k8s.io/apiserver), and for deletecollection what --request-timeout says, a
	// minute by default.
	unfinished = time.Minute
	// outlives is how long an API server accepts a token after the expiry that is written in it: a minute, for clocks that differ, and
	// 10 s for which it remembers what it has accepted (both measured; pkg/serviceaccount/claims.go and the token cache of
	// Kubernetes 1.36); and then it finishes what was begun. So much earlier than its lease a token is made to expire.
	outlives = time.Minute + 10*time.Second + time.Second + unfinished
	// ttlFloor leaves room for the way from the decision to the token.
	ttlFloor = 13 * time.Minute

	ends = "The token ends at the TTL at the latest, by the server's own clock, whether or not a broker runs: it is made to expire 131 s before, because the server goes on " +
		"accepting it for a minute and 10 s, and may take a minute more for a change that was begun. Earlier, the broker takes its rights away, which works within milliseconds, for a " +
		"change that was begun as well; for up to 10 s the server then still knows the token, as somebody who may do nothing."
	endsUnguarded = " Where there is no admission policy, which is accepted, a change that was begun before an early end can be made for up to a minute after it."
	endsStreams   = " A watch, a log that is followed, exec, attach and portforward that are open then go on until the client, the pod or the server ends them: the broker cannot."
)

// New opens an issuer. It connects to nothing: the server is first asked by Describe, Identify or Check.
// Errors are CodeInvalid and name the field.
func New(config Config) (*Issuer, error) {
	if config.Now == nil || config.Resolve == nil || config.Ref.Environment == "" || config.Ref.Target == "" {
		return nil, broker.Errorf(broker.CodeInternal, "kubernetes: Config wants Ref, Resolve and Now")
	}
	kinds, err := builtIn()
	if err != nil {
		return nil, err
	}
	if err := config.Settings.check(kinds); err != nil {
		return nil, err
	}
	access, ca, err := config.Settings.access(config.Resolve)
	if err != nil {
		return nil, err
	}
	return &Issuer{config: config, kinds: kinds, client: newClient(access), server: access.server.String(), ca: ca, auditing: make(chan struct{}, 1)}, nil
}

// Close closes the idle connections.
func (i *Issuer) Close() error {
	i.client.close()
	return nil
}

// Capabilities says what a Kubernetes lease promises.
func (i *Issuer) Capabilities() broker.Capabilities {
	return broker.Capabilities{Kind: Kind, TTLFloor: ttlFloor, EndsEarly: true, Ends: i.ends()}
}

func (i *Issuer) ends() string {
	said := ends
	if _, unguarded := i.config.Settings.accepts(objectPolicy); unguarded {
		said += endsUnguarded
	}
	if _, streams := i.config.Settings.accepts(objectStreams); streams {
		said += endsStreams
	}
	return said
}

// managed is the label of everything that this package makes.
const managed, managedBy = "app.kubernetes.io/managed-by", "hourkey"

// List gives the names of the leases that begin with prefix: of every account, Role and RoleBinding that bears our label, so
// that a lease of which only a part was made is found as well.
func (i *Issuer) List(ctx context.Context, prefix string) ([]string, error) {
	var names []string
	for _, path := range i.paths() {
		err := list(ctx, i.client, call{path: path, query: url.Values{"labelSelector": {managed + "=" + managedBy}}, metadataOnly: true}, func(o object) {
			if name := o.Metadata.Name; isLeaseName(name) && strings.HasPrefix(name, prefix) {
				names = append(names, name)
			}
		})
		if err != nil {
			return nil, i.fault("listing leases", err)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// paths are where a lease's objects are: its binding, its account, its role.
func (i *Issuer) paths() []string { return []string{i.bindings(), i.accounts(), i.roles()} }

func (i *Issuer) accounts() string { return i.inNamespace(corePath, "serviceaccounts") }
func (i *Issuer) roles() string    { return i.inNamespace(rbacPath, "roles") }
func (i *Issuer) bindings() string { return i.inNamespace(rbacPath, "rolebindings") }

// inNamespace is the path of a collection of the namespace, in an API group whose path is root.
func (i *Issuer) inNamespace(root, collection string) string {
	return root + "/namespaces/" + i.config.Settings.Namespace + "/" + collection
}

// at runs one step of Issue or Revoke between its two failpoints.
func (i *Issuer) at(point string, do func() error) error {
	if i.config.Failpoint != nil {
		i.config.Failpoint("before " + point)
		defer i.config.Failpoint("after " + point)
	}
	return do()
}
