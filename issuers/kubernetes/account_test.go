package kubernetes_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
	"github.com/hourkey/hourkey/issuers/kubernetes"
)

func objectsOf(found []broker.Finding) []string {
	var objects []string
	for _, f := range found {
		objects = append(objects, f.Object)
	}
	return objects
}

func TestTheDocumentedAccountHasNothingToMend(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if found := findings(t, s.issuer(t)); len(found) > 0 {
		t.Errorf("findings: %+v", found)
	}
}

// Every permission that the account needs, taken away one by one: check names it, and what it prints mends it.
func TestATooSmallAccountIsToldPermissionByPermission(t *testing.T) {
	t.Parallel()
	for object, without := range map[string]string{
		"admin serviceaccounts":                                               "  - {apiGroups: [\"\"], resources: [serviceaccounts], verbs: [create, get, list, delete]}\n",
		"admin serviceaccounts/token":                                         "  - {apiGroups: [\"\"], resources: [serviceaccounts/token], verbs: [create]}\n",
		"admin rbac.authorization.k8s.io/rolebindings":                        "  - {apiGroups: [rbac.authorization.k8s.io], resources: [roles, rolebindings], verbs: [create, get, list, delete]}\n",
		"admin authorization.k8s.io/localsubjectaccessreviews":                "  - {apiGroups: [authorization.k8s.io], resources: [localsubjectaccessreviews], verbs: [create]}\n",
		"admin namespaces":                                                    "  - {apiGroups: [\"\"], resources: [namespaces], resourceNames: [kube-system, NS], verbs: [get]}\n",
		"admin roles rolebindings clusterroles clusterrolebindings":           "  - {apiGroups: [rbac.authorization.k8s.io], resources: [roles, rolebindings, clusterroles, clusterrolebindings], verbs: [get, list]}\n",
		"admin validatingadmissionpolicies validatingadmissionpolicybindings": "  - {apiGroups: [admissionregistration.k8s.io], resources: [validatingadmissionpolicies, validatingadmissionpolicybindings], resourceNames: [hourkey-leases, hourkey-ends, hourkey-broker], verbs: [get]}\n",
	} {
		t.Run(object, func(t *testing.T) {
			s := newSite(t)
			lines := strings.ReplaceAll(without, "NS", s.staging)
			yaml := kubernetes.AdminYAML(s.staging)
			if !strings.Contains(yaml, lines) {
				t.Fatalf("the account has no %s", lines)
			}
			s.replaceAccount(t, strings.Replace(yaml, lines, "", 1))
			var found []broker.Finding
			issuertest.Until(t, func() bool { // the server's own view of rights is a moment late
				found = findings(t, s.issuer(t))
				return slices.ContainsFunc(found, func(f broker.Finding) bool { return f.Object == object && f.Refuses })
			})
			if _, err := s.issuer(t).Describe(t.Context(), wish(t, "configmaps/*:read,write")); err == nil {
				t.Error("described all the same")
			}
			s.mend(t, found)
			var left []broker.Finding
			defer func() {
				if len(left) > 0 {
					t.Errorf("after what was printed is done, this is left: %+v", left)
				}
			}()
			issuertest.Until(t, func() bool { left = findings(t, s.issuer(t)); return len(left) == 0 })
			lease(t, s.issuer(t), "configmaps/*:read,write")
		})
	}
}

// finds waits until a check finds these and no others: the server's own view of rights is a moment late.
func (s *site) finds(t *testing.T, objects ...string) (found []broker.Finding) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if found = findings(t, s.issuer(t)); slices.Equal(objectsOf(found), objects) {
			return found
		}
		if time.Now().After(end) {
			t.Fatalf("findings %+v; want %v", found, objects)
		}
	}
}

// replaceAccount puts other rules in force for the broker's account.
func (s *site) replaceAccount(t *testing.T, yaml string) {
	t.Helper()
	for _, path := range []string{
		"/apis/rbac.authorization.k8s.io/v1/clusterroles/hourkey-broker-" + s.staging,
		"/apis/rbac.authorization.k8s.io/v1/namespaces/" + s.staging + "/roles/hourkey-broker",
	} {
		if err := s.Do(t.Context(), s.Token(), http.MethodDelete, path, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	s.Apply(t, yaml)
}

// mend does what the findings print: rules for the Role, rules for the ClusterRole.
func (s *site) mend(t *testing.T, found []broker.Finding) {
	t.Helper()
	rules := map[string][]string{}
	for _, f := range found {
		if !f.Refuses {
			continue
		}
		head, rule, _ := strings.Cut(f.Mend, "\n")
		kind := "Role"
		if strings.Contains(head, "ClusterRole") {
			kind = "ClusterRole"
		}
		rules[kind] = append(rules[kind], rule)
	}
	for kind, lines := range rules {
		place, binding := ", namespace: "+s.staging, "RoleBinding"
		if kind == "ClusterRole" {
			place, binding = "", "ClusterRoleBinding"
		}
		name := "mended-" + s.staging
		s.Apply(t, "apiVersion: rbac.authorization.k8s.io/v1\nkind: "+kind+"\nmetadata: {name: "+name+place+"}\nrules:\n"+strings.Join(lines, "\n")+`
---
apiVersion: rbac.authorization.k8s.io/v1
kind: `+binding+`
metadata: {name: `+name+place+`}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: `+kind+`, name: `+name+`}
subjects: [{kind: ServiceAccount, name: `+s.staging+`, namespace: hourkey}]
`)
	}
}

// What the account holds beyond its work is told, and refuses nothing: nobody gives a lease more by it.
func TestATooPowerfulAccountIsWarnedOf(t *testing.T) {
	t.Parallel()
	for object, rule := range map[string]string{
		"admin everything":  `- {apiGroups: ["*"], resources: ["*"], verbs: ["*"]}`,
		"admin escalate":    `- {apiGroups: [rbac.authorization.k8s.io], resources: [roles], verbs: [escalate]}`,
		"admin bind":        `- {apiGroups: [rbac.authorization.k8s.io], resources: ["*"], verbs: [bind]}`,
		"admin secrets":     `- {apiGroups: [""], resources: [secrets], verbs: ["*"]}`,
		"admin exec":        `- {apiGroups: [""], resources: ["pods/exec"], verbs: [create]}`,
		"admin policies":    `- {apiGroups: [admissionregistration.k8s.io], resources: [validatingadmissionpolicies], verbs: [update]}`,
		"admin namespaces":  `- {apiGroups: [""], resources: [namespaces], verbs: [patch]}`,
		"admin impersonate": `- {apiGroups: [""], resources: [users], verbs: [impersonate]}`,
	} {
		s := newSite(t)
		s.grantBroker(t, rule)
		if found := s.finds(t, object); found[0].Refuses {
			t.Errorf("%s: findings %+v", object, found)
		}
	}
}

// RBAC lets nobody give what they do not hold; the refusal says what, and by which line it is mended.
func TestALeaseBeyondTheAccountIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	refuses(t, s.issuer(t), broker.CodeWall, "secrets/password:read,admin", "may not get, list secrets named password", `{apiGroups: [""], resources: ["secrets"], resourceNames: ["password"], verbs: ["get", "list"]}`)
	refuses(t, s.issuer(t), broker.CodeWall, "services/*:read,write,admin", "may not create, update, patch services")
	s.grantBroker(t, `- {apiGroups: [""], resources: [secrets], resourceNames: [password], verbs: [get, list, update, patch]}`)
	c := lease(t, s.issuer(t), "secrets/password:read,write,admin")
	for name, try := range map[string]struct {
		err     error
		refused bool
	}{
		"reading it":       {s.try(t.Context(), c, http.MethodGet, "secrets/password", nil), false},
		"reading another":  {s.try(t.Context(), c, http.MethodGet, "secrets/other", nil), true},
		"an account's key": {s.try(t.Context(), c, http.MethodPost, "secrets", `{"metadata":{"name":"k","annotations":{"kubernetes.io/service-account.name":"powerful"}},"type":"kubernetes.io/service-account-token"}`), true},
		"one by applying":  {s.try(t.Context(), c, http.MethodPatch, "secrets/new?fieldManager=x", `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"new"}}`, "Content-Type", applyPatch), true},
	} {
		if isRefused(try.err) != try.refused {
			t.Errorf("%s: %v", name, try.err)
		}
	}
}

// Whoever has the broker's token can make leases, and nothing else of what an account that makes accounts could.
func TestAStolenBrokerTokenMakesLeasesAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	subject := func(name, namespace string) map[string]any {
		return map[string]any{"kind": "ServiceAccount", "name": name, "namespace": namespace}
	}
	bind := func(name, role string, subject map[string]any) map[string]any {
		return map[string]any{"metadata": map[string]any{"name": name}, "subjects": []any{subject},
			"roleRef": map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role}}
	}
	const bindings = "rbac.authorization.k8s.io/v1/rolebindings"
	for name, a := range map[string]attack{
		"a token of another account":       {"POST", "serviceaccounts/powerful/token", `{"spec":{"expirationSeconds":600}}`, nil},
		"a token for a day":                {"POST", "serviceaccounts/hk-a/token", `{"spec":{"expirationSeconds":86400}}`, nil},
		"an account that looks like none":  {"POST", "serviceaccounts", `{"metadata":{"name":"mine"}}`, nil},
		"an account with a generated name": {"POST", "serviceaccounts", `{"metadata":{"generateName":"mine-"}}`, nil},
		"deleting an account":              {"DELETE", "serviceaccounts/powerful", nil, nil},
		"a role that looks like none":      {"POST", "rbac.authorization.k8s.io/v1/roles", `{"metadata":{"name":"mine"}}`, nil},
		"deleting its own role":            {"DELETE", "rbac.authorization.k8s.io/v1/roles/hourkey-broker", nil, nil},
		"a binding for another account":    {"POST", bindings, bind("hk-a", "hk-a", subject("powerful", s.staging)), nil},
		"a binding for another namespace":  {"POST", bindings, bind("hk-a", "hk-a", subject("hk-a", s.production)), nil},
		"a binding for another role":       {"POST", bindings, bind("hk-a", "hourkey-broker", subject("hk-a", s.staging)), nil},
		"a binding for everybody":          {"POST", bindings, bind("hk-a", "hk-a", map[string]any{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:authenticated"}), nil},
		"what it does not hold":            {"POST", "rbac.authorization.k8s.io/v1/roles", `{"metadata":{"name":"hk-a"},"rules":[{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}]}`, nil},
		"a secret":                         {"GET", "secrets/password", nil, nil},
		"another namespace":                {"GET", "/api/v1/namespaces/" + s.production + "/configmaps", nil, nil},
	} {
		s.Apply(t, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: hk-a, namespace: "+s.staging+"}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: hk-a, namespace: "+s.staging+"}\nrules: []\n")
		err := s.Do(t.Context(), s.token, a.method, s.path(a.path), a.body, nil)
		if err == nil || !strings.Contains(err.Error(), "hourkey-broker") && !strings.Contains(err.Error(), "403") {
			t.Errorf("%s: %v; want it refused", name, err)
		}
	}
}

// An account outside namespace hourkey is not held by that policy, and is told so.
func TestABrokerAccountElsewhereIsWarnedOf(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	yaml := strings.ReplaceAll(kubernetes.AdminYAML(s.staging), "namespace: hourkey}", "namespace: "+s.production+"}")
	s.Apply(t, yaml)
	s.token = s.tokenOf(t, s.production, s.staging)
	if found := s.finds(t, "admin tokens"); found[0].Refuses {
		t.Errorf("findings %+v", found)
	}
	lease(t, s.issuer(t), "configmaps/*:read")
}

// What is accepted and is not there would open a hole that comes up later, unseen.
func TestAcceptingNothingIsWarnedOf(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	found := findings(t, s.issuer(t, "admission policy", "open streams", "clusterrolebinding gone"))
	if got, want := objectsOf(found), []string{"admission policy", "clusterrolebinding gone"}; !slices.Equal(got, want) {
		t.Errorf("findings %v; want %v", got, want)
	}
}

func TestAWrongTokenIsTold(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.token = "wrong"
	issuer := s.issuer(t)
	for name, call := range map[string]func(context.Context) error{
		"Check":    func(ctx context.Context) error { _, err := issuer.Check(ctx); return err },
		"Identify": func(ctx context.Context) error { _, err := issuer.Identify(ctx); return err },
		"Describe": func(ctx context.Context) error {
			_, err := issuer.Describe(ctx, wish(t, "configmaps/*:read"))
			return err
		},
		"List":   func(ctx context.Context) error { _, err := issuer.List(ctx, "hk-"); return err },
		"Revoke": func(ctx context.Context) error { return issuer.Revoke(ctx, "hk-a-b", nil) },
	} {
		if err := call(t.Context()); broker.CodeOf(err) != broker.CodeUnavailable || !strings.Contains(err.Error(), "refused the admin login") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
