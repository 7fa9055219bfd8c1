package kubernetes_test

import (
	"context"
	"maps"
	"net/http"

	"github.com/hourkey/hourkey/broker"
)

// attack is one call that must be refused.
type attack struct {
	method, path string
	body         any
	header       []string
}

func (s *site) run(attacks map[string]attack) map[string]func(context.Context, broker.Credential) error {
	tries := map[string]func(context.Context, broker.Credential) error{}
	for name, a := range attacks {
		tries[name] = func(ctx context.Context, c broker.Credential) error {
			return s.try(ctx, c, a.method, a.path, a.body, a.header...)
		}
	}
	return tries
}

const binding = `{"metadata":{"name":"mine"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"cluster-admin"},"subjects":[{"kind":"ServiceAccount","name":"powerful","namespace":"default"}]}`

// attacks are what a lease for read and write on configmaps/* must be refused by the API server itself.
func (s *site) attacks() map[string]func(context.Context, broker.Credential) error {
	other := "/api/v1/namespaces/" + s.production
	merge := []string{"Content-Type", mergePatch}
	tries := s.run(map[string]attack{
		"a secret":                            {"GET", "secrets/password", nil, nil},
		"all secrets":                         {"GET", "secrets", nil, nil},
		"watching":                            {"GET", "configmaps?watch=1&timeoutSeconds=86400", nil, nil},
		"delete":                              {"DELETE", "configmaps/other", nil, nil},
		"deletecollection":                    {"DELETE", "configmaps", nil, nil},
		"delete as a dry run":                 {"DELETE", "configmaps/other?dryRun=All", nil, nil},
		"the configmaps of another namespace": {"GET", other + "/configmaps", nil, nil},
		"the configmaps of all namespaces":    {"GET", "/api/v1/configmaps", nil, nil},
		"writing in another namespace":        {"POST", other + "/configmaps", `{"metadata":{"name":"x"}}`, nil},
		"the namespace itself":                {"GET", "/api/v1/namespaces/" + s.staging, nil, nil},
		"a pod":                               {"POST", "pods", `{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}}`, nil},
		"a deployment":                        {"PATCH", "apps/v1/deployments/web", `{"spec":{"replicas":0}}`, merge},
		"the scale of a deployment":           {"PATCH", "apps/v1/deployments/web/scale", `{"spec":{"replicas":0}}`, merge},
		"exec":                                {"POST", "pods/web/exec?command=sh", nil, nil},
		"exec by GET":                         {"GET", "pods/web/exec?command=sh", nil, nil},
		"attach":                              {"POST", "pods/web/attach", nil, nil},
		"portforward":                         {"POST", "pods/web/portforward?ports=80", nil, nil},
		"the proxy to a pod":                  {"GET", "pods/web/proxy/", nil, nil},
		"logs":                                {"GET", "pods/web/log?follow=true", nil, nil},
		"an ephemeral container":              {"PATCH", "pods/web/ephemeralcontainers", `{}`, merge},
		"evicting a pod":                      {"POST", "pods/web/eviction", `{"metadata":{"name":"web"}}`, nil},
		"a token of another account":          {"POST", "serviceaccounts/powerful/token", `{"spec":{}}`, nil},
		"a role":                              {"POST", "rbac.authorization.k8s.io/v1/roles", `{"metadata":{"name":"mine"},"rules":[{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}]}`, nil},
		"a binding":                           {"POST", "rbac.authorization.k8s.io/v1/rolebindings", binding, nil},
		"an aggregated role":                  {"POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", `{"metadata":{"name":"mine","labels":{"rbac.authorization.k8s.io/aggregate-to-edit":"true"}},"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]}`, nil},
		"reading roles":                       {"GET", "rbac.authorization.k8s.io/v1/roles", nil, nil},
		"impersonating the superuser":         {"GET", "secrets", nil, []string{"Impersonate-User", "superuser", "Impersonate-Group", "system:masters"}},
		"impersonating another account":       {"GET", "configmaps", nil, []string{"Impersonate-User", "system:serviceaccount:" + s.staging + ":powerful"}},
		"asking what others may do":           {"POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", `{"spec":{"user":"x","resourceAttributes":{"verb":"get"}}}`, nil},
		"asking whose a token is":             {"POST", "/apis/authentication.k8s.io/v1/tokenreviews", `{"spec":{"token":"x"}}`, nil},
		"the server's metrics":                {"GET", "/metrics", nil, nil},
		"a configmap that goes with an owner": {"PATCH", "configmaps/other", `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"gone","uid":"1"}]}}`, merge},
		"a new configmap that an owner takes with it":  {"POST", "configmaps", `{"metadata":{"name":"o","ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"gone","uid":"1"}]}}`, nil},
		"a finalizer that keeps a configmap for good":  {"PATCH", "configmaps/other", `{"metadata":{"finalizers":["a.example/b"]}}`, merge},
		"a configmap that nobody can change again":     {"PATCH", "configmaps/other", `{"immutable":true}`, merge},
		"removing a key by a patch":                    {"PATCH", "configmaps/other", `{"data":{"color":null}}`, merge},
		"removing a key by a JSON patch":               {"PATCH", "configmaps/other", `[{"op":"remove","path":"/data/color"}]`, []string{"Content-Type", jsonPatch}},
		"replacing a whole configmap by nothing (PUT)": {"PUT", "configmaps/other", `{"metadata":{"name":"other"}}`, nil},
	})
	maps.Copy(tries, s.run(s.ofTheCluster()))
	tries["taking a key over by server-side apply, and leaving it out"] = func(ctx context.Context, c broker.Credential) error {
		apply := func(object string) error {
			return s.try(ctx, c, http.MethodPatch, "configmaps/other?fieldManager=kubetest&force=true", object, "Content-Type", applyPatch)
		}
		return apply(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"other"}}`) // the field manager that the site was made by
	}
	tries["no token at all"] = func(ctx context.Context, _ broker.Credential) error {
		return s.Do(ctx, "guess", http.MethodGet, s.path("configmaps"), nil, nil)
	}
	return tries
}

// ofTheCluster are what belongs to no namespace, and ways past everything that is asked: RBAC gives a lease none of them.
func (s *site) ofTheCluster() map[string]attack {
	merge, home := []string{"Content-Type", mergePatch}, "/api/v1/namespaces/"+s.staging
	const admission = "/apis/admissionregistration.k8s.io/v1/"
	return map[string]attack{
		"have a volume deleted with its claim (reclaim policy)": {"PATCH", "/api/v1/persistentvolumes/v", `{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`, merge},
		"delete the namespace":                        {"DELETE", home, nil, nil},
		"finish the namespace's deletion (finalize)":  {"PUT", home + "/finalize", `{"metadata":{"name":"` + s.staging + `"},"spec":{"finalizers":[]}}`, nil},
		"lower the namespace's Pod Security level":    {"PATCH", home, `{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"privileged"}}}`, merge},
		"the proxy to a service":                      {"GET", "services/web/proxy/", nil, nil},
		"the proxy to a machine":                      {"GET", "/api/v1/nodes/n/proxy/run", nil, nil},
		"put a pod onto a machine (pods/binding)":     {"POST", "pods/mine/binding", `{"target":{"name":"n"}}`, nil},
		"put a pod onto a machine (bindings)":         {"POST", "bindings", `{"metadata":{"name":"mine"},"target":{"name":"n"}}`, nil},
		"approve a certificate":                       {"PUT", "/apis/certificates.k8s.io/v1/certificatesigningrequests/x/approval", `{"metadata":{"name":"x"}}`, nil},
		"ask for a certificate":                       {"POST", "/apis/certificates.k8s.io/v1/certificatesigningrequests", `{"metadata":{"name":"x"},"spec":{}}`, nil},
		"a webhook that sees every object":            {"POST", admission + "mutatingwebhookconfigurations", `{"metadata":{"name":"x"}}`, nil},
		"a webhook that refuses what others write":    {"POST", admission + "validatingwebhookconfigurations", `{"metadata":{"name":"x"}}`, nil},
		"a policy that changes every object":          {"POST", admission + "mutatingadmissionpolicies", `{"metadata":{"name":"x"}}`, nil},
		"remove the admission policy that holds it":   {"DELETE", admission + "validatingadmissionpolicies/hourkey-leases", nil, nil},
		"unbind the admission policy that holds it":   {"DELETE", admission + "validatingadmissionpolicybindings/hourkey-leases", nil, nil},
		"a CustomResourceDefinition":                  {"POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", `{"metadata":{"name":"x"}}`, nil},
		"serve an API group by a server of one's own": {"POST", "/apis/apiregistration.k8s.io/v1/apiservices", `{"metadata":{"name":"x"}}`, nil},
		"a ClusterRoleBinding":                        {"POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding, nil},
		"a token of its own account, to live longer":  {"POST", "serviceaccounts/hk-x/token", `{"spec":{"expirationSeconds":86400}}`, nil},
		"a new account":                               {"POST", "serviceaccounts", `{"metadata":{"name":"mine"}}`, nil},
	}
}
