package railway

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"time"
)

// user is the caller's own user; only an account token has one.
func (c *call) user() (*record, error) {
	if c.caller.kind != "account" {
		return nil, errUnauthorized
	}
	return c.find("User", c.caller.user)
}

// onUser sets fields of the caller's own user.
func onUser(fields func(args) Fields) action {
	return func(c *call, a args) (any, error) {
		u, err := c.user()
		if err != nil {
			return nil, err
		}
		c.set(u, fields(a))
		return true, nil
	}
}

// userFlags sets flags of the caller's own user, or takes them off.
func userFlags(on bool) action {
	return func(c *call, a args) (any, error) {
		u, err := c.user()
		if err != nil {
			return nil, err
		}
		named, all := a.input().texts("flags"), []any{}
		for _, f := range u.list("flags") {
			if !slices.Contains(named, f) {
				all = append(all, f)
			}
		}
		for _, f := range named {
			if on {
				all = append(all, f)
			}
		}
		c.set(u, Fields{"flags": all})
		return true, nil
	}
}

func userTermsUpdate(c *call, _ args) (any, error) {
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	c.set(u, Fields{"termsAgreedOn": c.now})
	return u, nil
}

// userDelete removes the user, and the workspaces that nobody else is in.
func userDelete(c *call, _ args) (any, error) {
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	for _, m := range c.st.where("WorkspaceMember", "userId", u.id) {
		if len(c.st.where("WorkspaceMember", "workspaceId", m.text("workspaceId"))) == 1 {
			c.st.destroy(c.st.get("Workspace", m.text("workspaceId")))
		}
	}
	c.st.destroy(u)
	return true, nil
}

// apiTokenCreate makes a token that never expires: of the caller's account, or of one workspace.
func apiTokenCreate(c *call, a args) (any, error) {
	in := a.input()
	workspace := in.text("workspaceId")
	if workspace == "" && c.caller.kind != "account" {
		return nil, errUnauthorized
	}
	if workspace != "" {
		if _, err := c.own("Workspace", workspace); err != nil {
			return nil, err
		}
	}
	t := c.add("ApiToken", Fields{"name": in["name"], "userId": c.caller.user, "workspaceId": in["workspaceId"], "token": c.s.secret("api-token"), "expiresAt": nil})
	return t.fields["token"], nil
}

// A login session is begun by nobody, approved by a signed-in user, and then traded for a token by whoever
// has its code.

func loginSessionCreate(c *call, _ args) (any, error) {
	l := c.add("LoginSession", Fields{"code": c.s.secret("login-code"), "expiresAt": c.now.Add(10 * time.Minute)})
	return l.fields["code"], nil
}

func (c *call) loginSession(code string) (*record, error) {
	for _, l := range c.st.where("LoginSession", "code", code) {
		if !l.is("used") {
			return l, nil
		}
	}
	return nil, fmt.Errorf("LoginSession not found")
}

func loginSessionAuth(c *call, a args) (any, error) {
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	l, err := c.loginSession(a.input().text("code"))
	if err != nil {
		return nil, err
	}
	c.set(l, Fields{"userId": u.id})
	return true, nil
}

func loginSessionCancel(c *call, a args) (any, error) {
	l, err := c.loginSession(a.text("code"))
	if err != nil {
		return nil, err
	}
	c.st.destroy(l)
	return true, nil
}

func loginSessionConsume(c *call, a args) (any, error) {
	l, err := c.loginSession(a.text("code"))
	if err != nil {
		return nil, err
	}
	if l.text("userId") == "" {
		return nil, nil
	}
	s := c.add("Session", Fields{
		"userId": l.text("userId"), "name": "cli", "type": "CLI", "isCurrent": false, "expiredAt": c.now.Add(365 * 24 * time.Hour), "token": c.s.secret("session"),
	})
	c.set(l, used())
	return s.fields["token"], nil
}

func loginSessionVerify(c *call, a args) (any, error) {
	_, err := c.loginSession(a.text("code"))
	return err == nil, nil
}

func emailChangeInitiate(c *call, a args) (any, error) {
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	c.add("EmailChange", Fields{"userId": u.id, "email": a.text("newEmail"), "nonce": c.s.secret("email-nonce")})
	return true, nil
}

func emailChangeConfirm(c *call, a args) (any, error) {
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	for _, e := range c.st.where("EmailChange", "userId", u.id) {
		if e.text("nonce") == a.text("nonce") && !e.is("used") {
			c.set(u, Fields{"email": e.text("email")})
			c.set(e, used())
			return true, nil
		}
	}
	return nil, fmt.Errorf("email change request not found")
}

// The second factor of the caller's user. A token made before knows none of it.

func (c *call) twoFactor() (user, info *record, err error) {
	u, err := c.user()
	if err != nil {
		return nil, nil, err
	}
	return u, first(c.st.where("TwoFactorInfo", "userId", u.id)), nil
}

func twoFactorInfo(c *call, _ args) (any, error) {
	_, t, err := c.twoFactor()
	if err != nil || t == nil {
		return unset{}, err
	}
	return t, nil
}

func twoFactorSecret(c *call, _ args) (any, error) {
	u, t, err := c.twoFactor()
	if err != nil {
		return nil, err
	}
	if t == nil {
		t = c.add("TwoFactorInfo", Fields{"userId": u.id, "isVerified": false, "hasRecoveryCodes": false})
	}
	key := c.s.secret("totp")
	c.set(t, Fields{"secret": key})
	return map[string]any{"secret": key, "uri": secret("otpauth://totp/Railway?secret=" + string(key))}, nil
}

func twoFactorCreate(c *call, a args) (any, error) {
	u, t, err := c.twoFactor()
	if err != nil {
		return nil, err
	}
	if t == nil {
		t = c.add("TwoFactorInfo", Fields{"userId": u.id})
	}
	c.set(t, Fields{"isVerified": true, "hasRecoveryCodes": true})
	return c.recoveryCodes(u), nil
}

func twoFactorDelete(c *call, _ args) (any, error) {
	_, t, err := c.twoFactor()
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, fmt.Errorf("TwoFactorInfo not found")
	}
	return true, c.destroy(t)
}

func twoFactorValidate(c *call, a args) (any, error) {
	_, t, err := c.twoFactor()
	return t != nil && a.input().text("token") != "", err
}

// recoveryCodes makes new codes; the old ones are void.
func (c *call) recoveryCodes(u *record) any {
	codes := []any{c.s.secret("recovery"), c.s.secret("recovery")}
	if old := first(c.st.where("RecoveryCodes", "userId", u.id)); old != nil {
		c.set(old, Fields{"recoveryCodes": codes})
		return old
	}
	return c.add("RecoveryCodes", Fields{"userId": u.id, "recoveryCodes": codes})
}

func recoveryCodeGenerate(c *call, _ args) (any, error) {
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	return c.recoveryCodes(u), nil
}

// recoveryCodeValidate uses a code up.
func recoveryCodeValidate(c *call, a args) (any, error) {
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	r := first(c.st.where("RecoveryCodes", "userId", u.id))
	if r == nil {
		return false, nil
	}
	all, _ := r.fields["recoveryCodes"].([]any)
	left := slices.DeleteFunc(slices.Clone(all), func(code any) bool { return code == secret(a.input().text("code")) })
	c.set(r, Fields{"recoveryCodes": left})
	return len(left) < len(all), nil
}

// sshPublicKeyCreate registers a key of a workspace, or of the caller's user.
func sshPublicKeyCreate(c *call, a args) (any, error) {
	in := a.input()
	workspace := firstText(in.text("workspaceId"), c.caller.workspace)
	if workspace != "" {
		if _, err := c.own("Workspace", workspace); err != nil {
			return nil, err
		}
		return c.addSSHKey(in, Fields{"workspaceId": workspace}), nil
	}
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	return c.addSSHKey(in, Fields{"userId": u.id}), nil
}

func (c *call) addSSHKey(in args, owner Fields) *record {
	sum := sha256.Sum256([]byte(in.text("publicKey")))
	k := c.add("SshPublicKey", owner)
	c.set(k, Fields{"name": in["name"], "publicKey": in["publicKey"], "fingerprint": "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])})
	return k
}

// sshSignupApprove registers, on the caller's account, the key that a stranger offered with a code.
func sshSignupApprove(c *call, a args) (any, error) {
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	return c.addSSHKey(args{"name": "signup " + a.text("code"), "publicKey": "ssh-ed25519 offered-with-" + a.text("code")}, Fields{"userId": u.id}), nil
}

func sshPublicKeys(c *call, a args) (any, error) {
	if err := c.within(a); err != nil {
		return nil, err
	}
	if w := firstText(a.text("workspaceId"), c.caller.workspace); w != "" {
		return c.st.where("SshPublicKey", "workspaceId", w), nil
	}
	return ofUser("SshPublicKey")(c, a)
}

// preferences are the caller's own, or those that an unsubscribe link's token names.
func preferences(c *call, a args) (any, error) {
	for _, p := range c.st.all("Preferences") {
		if p.text("token") == a.text("token") || a.text("token") == "" && p.text("userId") == c.caller.user {
			return p, nil
		}
	}
	return unset{}, nil
}

func preferencesUpdate(c *call, a args) (any, error) {
	in := a.input()
	fields := Fields{}
	for name, value := range in {
		if name != "token" && value != nil {
			fields[name] = value
		}
	}
	p, _ := preferences(c, in)
	r, found := p.(*record)
	if !found {
		u, err := c.user()
		if err != nil {
			return nil, err
		}
		r = c.add("Preferences", Fields{"userId": u.id, "token": c.s.secret("unsubscribe")})
	}
	c.set(r, fields)
	return r, nil
}

// track keeps what clients tell about themselves.
func track(c *call, a args) (any, error) {
	c.add("Telemetry", Fields{"userId": c.caller.user, "told": map[string]any(a.input())})
	return true, nil
}

// webhookTest would send the payload to the address; here it is only noted.
func webhookTest(c *call, a args) (any, error) {
	c.add("WebhookSent", Fields{"userId": c.caller.user, "url": a["url"], "payload": a["payload"]})
	return 200, nil
}
