package aws

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/hourkey/hourkey/broker"
)

// Kind is the name of this kind of target in an environment's file.
const Kind = "aws"

// Config is what an Issuer is opened with. Transport and Failpoint may be left out.
type Config struct {
	Ref       broker.TargetRef // every scope must name its target; a lease reaches its environment alone
	Settings  Settings
	AccessKey broker.Secret // what Settings.AccessKey refers to: the id of the broker's access key
	SecretKey broker.Secret // what Settings.SecretKey refers to
	Now       func() time.Time
	Transport http.RoundTripper // default: one of its own, pooled
	// Failpoint is called around the call that issues, with "before " or "after " and the step's name, one of Failpoints.
	// For crash tests; nil in production.
	Failpoint func(point string)
}

// Failpoints are the steps of Issue at the provider. Nothing is called when a lease ends.
func Failpoints() []string { return []string{pointAssume} }

const pointAssume = "issue assume role"

// Issuer issues at one role. Its methods are safe for concurrent use.
type Issuer struct {
	config Config
	role   role
	floor  time.Duration   // the shortest lease
	listed []thing         // Settings.Resources
	locks  []parsedLock    // Settings.Locks
	own    aws.Credentials // the broker's
	http   *http.Client
	sts    *sts.Client

	looking chan struct{} // held by who reads or renews seen
	seen    *looked       // the role, as it was last looked at; nil before
}

var (
	_ broker.Issuer   = (*Issuer)(nil)
	_ broker.Declarer = (*Issuer)(nil)
	_ broker.Checker  = (*Issuer)(nil)
)

const (
	// ttlFloor leaves at least a second: the end is told to IAM in whole seconds, rounded down.
	ttlFloor = 2 * time.Second
	// stsFloor is the shortest session that STS makes. At a server that is not AWS no lease is shorter: MinIO believes a
	// header of the client about the time, so that a policy's end is none to who lies, and the session's own end is.
	stsFloor = 15 * time.Minute
)

// New opens an issuer. It calls nobody. Errors are CodeInvalid and name the field.
func New(config Config) (*Issuer, error) {
	if config.Now == nil || config.Ref.Environment == "" || config.Ref.Target == "" {
		return nil, broker.Errorf(broker.CodeInternal, "aws: Config wants Ref and Now")
	}
	if err := config.Settings.check(); err != nil {
		return nil, err
	}
	key := config.AccessKey.Reveal()
	switch {
	case key == "" || config.SecretKey.IsZero():
		return nil, invalid("access_key", "and secret_key must refer to the broker's own key")
	case strings.HasPrefix(key, "ASIA"):
		return nil, invalid("access_key", "is that of a session: the broker wants a key of an IAM user, since a session assumes a role for an hour at most and dies itself")
	}
	config.Settings.Endpoint = canonical(config.Settings.Endpoint)
	i := &Issuer{
		config: config, role: parseRole(config.Settings.Role), floor: ttlFloor, http: newHTTP(config.Transport), looking: make(chan struct{}, 1),
		own: aws.Credentials{AccessKeyID: key, SecretAccessKey: config.SecretKey.Reveal()},
	}
	for _, resource := range config.Settings.Resources {
		t, _ := parseThing(broker.Resource(resource)) // checked above
		i.listed = append(i.listed, t)
	}
	for _, lock := range config.Settings.Locks {
		l, _ := parseLock(lock)
		i.locks = append(i.locks, l)
	}
	if i.isCompatible() {
		i.floor = stsFloor
	}
	i.sts = i.newSTS()
	if _, err := i.document(i.lookPolicy().lines()); err != nil {
		return nil, invalid("resources", "lists more buckets and tables than one session policy can name: make several targets")
	}
	return i, nil
}

// isCompatible tells that the server is not AWS.
func (i *Issuer) isCompatible() bool { return i.config.Settings.Endpoint != "" }

// endsBySession tells that a lease ends with its session alone, and not by the policy in it.
func (i *Issuer) endsBySession() bool { return i.floor == stsFloor }

// Close closes the idle connections.
func (i *Issuer) Close() error {
	i.http.CloseIdleConnections()
	return nil
}

// Capabilities says what a session promises.
func (i *Issuer) Capabilities() broker.Capabilities {
	return broker.Capabilities{Kind: Kind, TTLFloor: i.floor, EndsEarly: false, Ends: i.ends()}
}

func (i *Issuer) ends() string {
	const singly = "A session cannot be ended singly before its time. "
	if i.isCompatible() {
		return "At the TTL, within seconds, by the session's own end, whether or not a broker runs. The server makes no session shorter than 15 minutes, " +
			"so no lease is shorter either. An upload that was begun before can be filled and finished after it, as long as the client goes on sending. " + singly + "Taking the broker's user away at the server ends all of them at once."
	}
	return "At the TTL to the second, by the clock of AWS at every call, whether or not a broker runs: the session's own policy denies everything from then on. " +
		"STS makes no session shorter than 15 minutes; that of a shorter lease exists until then, able to do nothing. " + singly +
		"A human can end all sessions of the role at once: in IAM, \"Revoke active sessions\" adds the policy AWSRevokeOlderSessions to it."
}

// Identify asks STS who it is that sessions are made of.
func (i *Issuer) Identify(ctx context.Context) (broker.Identity, error) {
	seen, err := i.lookAnew(ctx)
	if err != nil {
		return broker.Identity{}, i.fault(lookingAtRole, err)
	}
	return seen.identity, nil
}

// Revoke has nobody to tell: a session ends at its time, as declared. It never fails.
func (i *Issuer) Revoke(context.Context, string, broker.Handle) error { return nil }

// at runs one step of Issue between its two failpoints.
func (i *Issuer) at(point string, do func() error) error {
	if i.config.Failpoint != nil {
		i.config.Failpoint("before " + point)
		defer i.config.Failpoint("after " + point)
	}
	return do()
}
