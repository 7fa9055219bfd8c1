package session

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/hourkey/hourkey/broker"
)

// refusedFor is how long Vault is not asked again by a secret id that it refused: it locks an AppRole for a quarter of an hour
// after five wrong ones (developer.hashicorp.com/vault/docs/concepts/user-lockout), and then refuses the right one too.
const refusedFor = 5 * time.Minute

// enter logs in by a secret, and remembers when Vault, or admit, refused that. A login that began comes to its end though who
// asked went away: the secret id may be good for one only.
func (s *Session) enter(ctx context.Context, secret broker.Secret) (token, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callWithin)
	defer cancel()
	login, way := s.config.Settings.Login, s.logIn
	if login.Token != "" {
		way = s.inspect
	}
	gave, err := way(ctx, secret)
	if err == nil {
		err = s.admit(ctx, gave)
	}
	if err == nil {
		return gave, nil
	}
	status, said := StatusOf(err), saidNo(err)
	if err = s.fault("logging in", err, secret.Reveal(), gave.value); said {
		err = login.refused(status, err)
	}
	if said || broker.CodeOf(err) == broker.CodeWall {
		s.refused = refusal{secret: secret, err: err, at: s.config.Now(), lasts: retryAfter}
		if login.AppRole.RoleID != "" {
			s.refused.lasts = refusedFor
		}
	}
	return token{}, err
}

// refusal is a login that was refused. Only who holds the turn touches it.
type refusal struct {
	secret broker.Secret
	err    error
	at     time.Time
	lasts  time.Duration
}

// counts tells whether the same secret would be refused again. Another one is tried at once.
func (r refusal) counts(secret broker.Secret, now time.Time) bool {
	since := now.Sub(r.at)
	return r.err != nil && r.secret.Reveal() == secret.Reveal() && since >= 0 && since < r.lasts
}

// saidNo tells whether Vault was asked and refused.
func saidNo(err error) bool {
	return StatusOf(err) == http.StatusForbidden || StatusOf(err) == http.StatusBadRequest
}

// logIn gets a token by the configured method.
func (s *Session) logIn(ctx context.Context, secret broker.Secret) (token, error) {
	path, body := s.config.Settings.Login.request(secret)
	answer, err := filled(s.as("").WriteWithContext(ctx, path, body))
	if err != nil {
		return token{}, err
	}
	if answer.Auth == nil || answer.Auth.ClientToken == "" || !lives(answer.Auth.LeaseDuration) {
		return token{}, noToken("login")
	}
	return s.counted(answer.Auth), refuseRoot(answer.Auth.TokenPolicies, answer.Auth.Policies, answer.Auth.IdentityPolicies)
}

// mount is where the login's method is.
func (l Login) mount() string {
	switch {
	case l.AppRole.RoleID != "":
		return cmp.Or(l.AppRole.Mount, "approle")
	case l.Kubernetes.Role != "":
		return cmp.Or(l.Kubernetes.Mount, "kubernetes")
	}
	return cmp.Or(l.JWT.Mount, "jwt")
}

// request is the login's path and body.
func (l Login) request(secret broker.Secret) (path string, body map[string]any) {
	path = "auth/" + l.mount() + "/login"
	if l.AppRole.RoleID != "" {
		return path, map[string]any{"role_id": l.AppRole.RoleID, "secret_id": secret.Reveal()}
	}
	return path, map[string]any{"role": cmp.Or(l.Kubernetes.Role, l.JWT.Role), "jwt": secret.Reveal()}
}

// inspect asks what a token made by hand is.
func (s *Session) inspect(ctx context.Context, secret broker.Secret) (token, error) {
	answer, err := s.Ask(ctx, secret, "auth/token/lookup-self", nil)
	if err != nil {
		return token{}, err
	}
	if err := refuseRoot(Texts(answer.Data["policies"]), Texts(answer.Data["identity_policies"])); err != nil {
		return token{}, err
	}
	renewable, _ := answer.Data["renewable"].(bool)
	ttl := int(Number(answer.Data["ttl"]))
	if !lives(ttl) {
		return token{}, noToken("question what the token is")
	}
	return s.counted(&api.SecretAuth{ClientToken: secret.Reveal(), Renewable: renewable, LeaseDuration: ttl}), nil
}

// almighty are paths at which nobody may write who is not in effect root: who writes policies, the roles of tokens or logins, or
// what identities may do, gives itself whatever it likes.
func (s *Session) almighty() []string {
	paths := []string{
		"sys/policies/acl/hourkey-probe", "sys/policy/hourkey-probe", "auth/token/roles/hourkey-probe", "identity/entity", "identity/group",
		"sys/auth/hourkey-probe", "sys/raw/hourkey-probe",
	}
	if login := s.config.Settings.Login; login.Token == "" {
		paths = append(paths, "auth/"+login.mount()+"/role/hourkey-probe")
	}
	return paths
}

// admit refuses a token that could do everything: whoever came by it would need no broker.
func (s *Session) admit(ctx context.Context, gave token) error {
	can, err := s.capabilities(ctx, gave.value, s.almighty())
	if StatusOf(err) == http.StatusForbidden {
		return broker.Errorf(broker.CodeWall, "the broker's login at Vault may not be asked what it may do, so nobody could tell whether it is too much").
			WithNext("leave Vault's policy default with it, or add: path \"sys/capabilities-self\" { capabilities = [\"update\"] }")
	}
	if err != nil {
		return s.fault("asking what the broker's own token may do", err, gave.value)
	}
	for _, path := range s.almighty() {
		if slices.ContainsFunc(can[path], func(c string) bool { return slices.Contains([]string{"root", "create", "update", "sudo"}, c) }) {
			return tooMighty("may write at " + path)
		}
	}
	return nil
}

func refuseRoot(lists ...[]string) error {
	if slices.Contains(slices.Concat(lists...), "root") {
		return tooMighty("has the policy root")
	}
	return nil
}

func tooMighty(why string) error {
	return broker.Errorf(broker.CodeWall, "the broker's login at Vault %s: with it everything could be done, and Hourkey does not hold such a token", why).
		WithNext("write a policy of what is needed alone, attach it to an AppRole, and log in by that: `hourkeyd check --live` and docs/issuers/vault.md have the lines")
}
