package kubernetes

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// Issue makes the Role, the RoleBinding, the account and its token, in this order, and returns when the token works. Whatever of them
// was made before a failure bears the lease's name and our label, and Revoke ends it.
func (i *Issuer) Issue(ctx context.Context, order broker.Order) (broker.Credential, broker.Handle, error) {
	grants, err := i.checkOrder(order)
	if err != nil {
		return broker.Credential{}, nil, err
	}
	m := making{i, order, i.rules(grants)}
	for _, step := range []struct {
		point, doing string
		do           func(context.Context) error
	}{
		{pointIssueRole, "making a Role", m.role},
		{pointIssueBinding, "making a RoleBinding", m.binding}, // before the account: the server's own view of rights is a moment late
		{pointIssueAccount, "making a ServiceAccount", m.account},
	} {
		if err := i.at(step.point, func() error { return step.do(ctx) }); err != nil {
			return broker.Credential{}, nil, i.fault(step.doing, err)
		}
	}
	token, expires, err := m.token(ctx)
	if err != nil {
		return broker.Credential{}, nil, i.fault("making a token", err, token)
	}
	if err := i.at(pointIssueProve, func() error { return m.prove(ctx, token) }); err != nil {
		return broker.Credential{}, nil, i.fault("proving the token", err, token)
	}
	return broker.Credential{
		Environment: i.config.Ref.Environment, Target: i.config.Ref.Target, Lease: order.Lease, Scopes: order.Description.Scopes,
		Values: i.values(token), Expires: expires,
	}, nil, nil
}

// checkOrder holds an order to what Describe would say, whatever the broker checked before.
func (i *Issuer) checkOrder(order broker.Order) ([]grant, error) {
	if !isLeaseName(order.Name) {
		return nil, i.badName(order.Name)
	}
	grants, err := i.grants(order.Description.Scopes)
	if err != nil {
		return nil, err
	}
	for _, g := range grants {
		if g.name.IsPrefix() && !g.all() || len(i.verbs(g)) == 0 {
			return nil, broker.Errorf(broker.CodeInternal, "an order for %s is no description's", i.config.Ref)
		}
	}
	left := order.Expires.Sub(i.config.Now())
	if longest := min(broker.Hour, order.Description.TTL); left > longest || order.TTL > longest {
		return nil, broker.Errorf(broker.CodeInternal, "an order for %s ends later than its description says", i.config.Ref)
	}
	if order.TTL <= 0 || left < shortest+outlives {
		return nil, broker.Errorf(broker.CodeExpired, "less than %s is left of the time of this lease, and Kubernetes makes no token for less", shortest+outlives).WithNext("make a new request")
	}
	return grants, nil
}

// making is one lease coming into being.
type making struct {
	*Issuer
	order broker.Order
	rules []policyRule
}

// metadata is that of each object. The annotations are for the cluster's people: nothing is read from them.
func (m making) metadata() metadata {
	return metadata{
		Name: m.order.Name, Namespace: m.config.Settings.Namespace,
		Labels: map[string]string{managed: managedBy},
		Annotations: map[string]string{
			"hourkey/agent": m.order.Agent, "hourkey/owner": m.order.Owner, "hourkey/task": m.order.Task, "hourkey/expires": m.order.Expires.UTC().Format(time.RFC3339),
		},
	}
}

func (m making) role(ctx context.Context) error {
	return m.client.post(ctx, m.roles(), role{object: object{rbacGroup + "/v1", "Role", m.metadata()}, Rules: m.rules}, nil)
}

func (m making) binding(ctx context.Context) error {
	return m.client.post(ctx, m.bindings(), roleBinding{
		object:  object{rbacGroup + "/v1", "RoleBinding", m.metadata()},
		RoleRef: roleRef{rbacGroup, "Role", m.order.Name}, Subjects: []subject{{"ServiceAccount", m.order.Name, m.config.Settings.Namespace}},
	}, nil)
}

func (m making) account(ctx context.Context) error {
	return m.client.post(ctx, m.accounts(), object{"v1", "ServiceAccount", m.metadata()}, nil)
}

// token asks for the token, for what is left of the lease less the time for which the server would accept it after its end. It is
// bound to the account: with it, it ends.
func (m making) token(ctx context.Context) (token broker.Secret, expires time.Time, err error) {
	var answer tokenRequest
	var seconds int64
	err = m.at(pointIssueToken, func() error {
		now := m.config.Now()
		seconds = int64((m.order.Expires.Sub(now) - outlives) / time.Second)
		if time.Duration(seconds)*time.Second < shortest {
			return broker.Errorf(broker.CodeUnavailable, "%s: the cluster was so slow that too little is left of the lease", m.config.Ref).WithNext("make a new request")
		}
		answer.Spec.ExpirationSeconds, expires = seconds, now.Add(time.Duration(seconds)*time.Second)
		return m.client.post(ctx, m.accounts()+"/"+m.order.Name+"/token", answer, &answer)
	})
	if err != nil {
		return token, expires, err
	}
	token = broker.NewSecret(answer.Status.Token)
	if err := m.checkToken(token, seconds); err != nil {
		return token, expires, err
	}
	return token, expires, nil
}

// checkToken reads the claims of a token that the server itself just made: it must be for the account, and live no longer than was
// asked for. The server's clock may be another than ours; the time between its own two readings is what counts.
func (m making) checkToken(token broker.Secret, seconds int64) error {
	var claims struct {
		Subject string `json:"sub"`
		Issued  int64  `json:"iat"`
		Expires int64  `json:"exp"`
	}
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		return errors.New("the server's token is no JWT")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(raw, &claims) != nil {
		return errors.New("the server's token has no claims that can be read")
	}
	if claims.Subject != "system:serviceaccount:"+m.config.Settings.Namespace+":"+m.order.Name {
		return errors.New("the server's token is for another account")
	}
	if claims.Issued <= 0 || claims.Expires <= claims.Issued || claims.Expires-claims.Issued > seconds {
		return broker.Errorf(broker.CodeUnavailable, "%s: the server made a token that lives longer than was decided: it is ended", m.config.Ref).WithNext("ask the operator why the API server does not keep to expirationSeconds")
	}
	return nil
}

// proveFor bounds the wait for the server to know what it has just been told.
const proveFor = 15 * time.Second

// prove waits until the token is accepted and its rights are in force, so that the first call of its holder works.
func (m making) prove(ctx context.Context, token broker.Secret) error {
	if len(m.rules) == 0 {
		return nil
	}
	return m.until(ctx, "the token does not work", func() (bool, error) { return m.works(ctx, token) })
}

// works asks, with the token, whether it may do the first thing that was granted. Where the cluster does not let accounts ask about
// themselves, the broker asks about it.
func (m making) works(ctx context.Context, token broker.Secret) (bool, error) {
	n := firstNeed(m.rules[0])
	may, err := m.maySelf(ctx, n, token)
	switch {
	case isStatus(err, http.StatusUnauthorized):
		return false, nil
	case isStatus(err, http.StatusForbidden):
		return m.mayAccount(ctx, m.order.Name, n)
	}
	return may, err
}

func firstNeed(r policyRule) need {
	n := need{verb: r.Verbs[0], group: r.APIGroups[0], resource: r.Resources[0]}
	if len(r.ResourceNames) > 0 {
		n.name = r.ResourceNames[0]
	}
	return n
}

// until asks again and again, each time after a longer pause, until the answer is yes.
func (i *Issuer) until(ctx context.Context, otherwise string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, proveFor)
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		yes, err := done()
		if yes || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.New(otherwise + " after " + proveFor.String())
		case <-time.After(pause):
		}
	}
}

// values gives a lease's credential as exec hands it on, under the names that OpenTofu's and Terraform's providers and many
// others read.
func (i *Issuer) values(token broker.Secret) map[string]broker.Secret {
	values := map[string]broker.Secret{
		"KUBE_HOST": broker.NewSecret(i.server), "KUBE_TOKEN": token, "KUBE_NAMESPACE": broker.NewSecret(i.config.Settings.Namespace),
	}
	if i.ca != "" {
		values["KUBE_CLUSTER_CA_CERT_DATA"] = broker.NewSecret(i.ca)
	}
	return values
}
