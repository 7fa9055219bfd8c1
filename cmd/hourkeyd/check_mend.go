package main

import (
	"net/url"
	"slices"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/issuers/aws"
	"github.com/hourkey/hourkey/issuers/kubernetes"
	"github.com/hourkey/hourkey/issuers/postgres"
	"github.com/hourkey/hourkey/issuers/vault"
)

// fewLacks is how many permissions may be lacking before the whole of them is printed as well, to paste at once.
const fewLacks = 3

// isLoginless tells whether the broker's own login did not get in, or can do next to nothing.
func isLoginless(t checkedTarget) bool {
	for _, text := range []string{"refused the admin login", "refused the broker's login"} {
		if strings.Contains(t.Problem, text) {
			return true
		}
	}
	lacks := 0
	for _, f := range t.Findings {
		if f.Refuses && f.Object == "broker key" {
			return true
		}
		if kind, _, _ := strings.Cut(f.Object, " "); f.Refuses && (kind == "login" || kind == "admin") {
			lacks++
		}
	}
	return lacks > fewLacks
}

// loginMend gives what makes the broker's own login at the provider, and who does what with it; nothing where the login works. What is simpler,
// and to be tried first, is the first of two lines of by.
func loginMend(t checkedTarget, target config.Target, issuer broker.Issuer, secrets config.Secrets) (by, mend string) {
	if !isLoginless(t) {
		return "", ""
	}
	switch issuer := issuer.(type) {
	case *postgres.Issuer:
		return "if the login is not there yet, a superuser makes it in that database:", loginSQL(target, secrets)
	case *vault.Issuer:
		return vaultMend("hourkey-"+strings.ReplaceAll(t.Target, "/", "-"), issuer.Policy())
	case *kubernetes.Issuer:
		var settings kubernetes.Settings
		if target.Body.Decode(&settings) != nil {
			return "", ""
		}
		by, mend = "if the account is not there yet, or is an old one, the cluster's administrator makes it, and the admission policies (kubectl apply -f -):",
			kubernetes.AdminYAML(settings.Namespace)+"---\n"+kubernetes.PolicyYAML()
		if settings.Token != "" && strings.Contains(t.Problem, "refused the admin login") { // the account may be as it should be
			by = "# has its token ended? kubectl create token " + settings.Namespace + " --namespace hourkey --duration 8760h > the file that token: names\n" + by
		}
		return by, mend
	case *aws.Issuer:
		var settings aws.Settings
		if target.Body.Decode(&settings) != nil {
			return "", ""
		}
		if settings.Role == "" {
			return "the policy of the broker's user at that server:", issuer.RolePolicy()
		}
		return "in IAM, the broker's user and its role have these policies:",
			"# of the user\n" + issuer.UserPolicy() + "\n# of the role\n" + issuer.RolePolicy() + "\n# of the role, as its trust policy, with the user's own ARN\n" +
				aws.TrustPolicy("arn:aws:iam::111122223333:user/hourkey")
	}
	return "", ""
}

// vaultMend gives a policy for the broker's login at a Vault.
func vaultMend(name, policy string) (by, mend string) {
	return "the policy that the broker's login wants beside Vault's default, all of it; its role must name it in token_policies:",
		"vault policy write " + name + " - <<EOF\n" + policy + "EOF"
}

// loginSQL prints what makes the broker's own login at a database that did not let it in.
func loginSQL(target config.Target, secrets config.Secrets) string {
	var settings postgres.Settings
	if target.Body.Decode(&settings) != nil {
		return ""
	}
	dsn, err := secrets.Resolve(settings.DSN)
	if err != nil {
		return ""
	}
	u, err := url.Parse(dsn.Reveal())
	if err != nil {
		return ""
	}
	return postgres.AdminSQL(u.User.Username(), strings.TrimPrefix(u.Path, "/"), settings.Owner)
}

func (t checkedTarget) refuses() bool {
	return t.Problem != "" || slices.ContainsFunc(t.Findings, func(f broker.Finding) bool { return f.Refuses })
}
