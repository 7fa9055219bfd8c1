package vault

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/vault/session"
)

// kubernetesEngine gives out tokens of service accounts that Vault makes for the lease.
type kubernetesEngine struct{}

func (kubernetesEngine) traits() traits {
	return traits{
		mounted: "kubernetes", leases: true, early: true, floor: ttlFloor,
		ends: "At the TTL Vault deletes the service account, whether or not a broker runs; earlier, when the broker revokes the lease. The API server may know the token for some seconds more, but it has no rights then.",
	}
}

func (kubernetesEngine) paths(s Settings) []string { return rolePaths(s) }

func clusterPath(s Settings) string { return s.Mount + "/config" }

// apiServer gives the cluster that the mount leads to: a part of the target's identity.
func (i *Issuer) apiServer(read papers) (string, error) {
	data, err := read.at(clusterPath(i.config.Settings))
	if err != nil {
		return "", i.fault("reading which cluster the engine leads to", err)
	}
	host, _ := data["kubernetes_host"].(string)
	return cmp.Or(host, "the cluster that Vault runs in"), nil
}

func (kubernetesEngine) judge(i *Issuer, read papers, offer Offer) (offered, error) {
	data, err := read.at(rolePath(i.config.Settings, offer))
	if err != nil {
		return offered{}, i.fault("reading the role "+offer.Role, err)
	}
	wall := func(problem, next string) (offered, error) {
		return offered{}, broker.Errorf(broker.CodeWall, "%s: role %s %s", i.config.Ref, offer.Role, problem).WithNext("%s", next)
	}
	text := func(name string) string { value, _ := data[name].(string); return value }
	namespaces := session.Texts(data["allowed_kubernetes_namespaces"])
	switch {
	case text("service_account_name") != "":
		return wall("uses a service account that is there already: its tokens could not be ended", "use kubernetes_role_name or generated_role_rules: then Vault makes a service account for each lease")
	case len(namespaces) != 1 || strings.Contains(namespaces[0], "*") || text("allowed_kubernetes_namespace_selector") != "":
		return wall("is not bound to one namespace", "set allowed_kubernetes_namespaces to the one namespace of this environment")
	case !strings.EqualFold(text("kubernetes_role_type"), "Role"):
		return wall("gives a ClusterRole", "set kubernetes_role_type=Role")
	}
	plain, err := plainKubernetes(text("generated_role_rules"))
	if err != nil {
		return wall("has generated_role_rules that cannot be read", "write them as rules with apiGroups, resources and verbs")
	}
	return i.believe(offer, data, plain,
		broker.WallFact{Stops: "other namespaces", Wall: broker.WallNative, How: "the role binding is made in " + namespaces[0] + " alone"},
		broker.WallFact{Stops: "use after the end", Wall: broker.WallNative, How: "the service account and its role binding are deleted; the API server may know the token for some seconds more, without rights"}), nil
}

func (kubernetesEngine) path(s Settings, offer Offer) string { return s.Mount + "/creds/" + offer.Role }

// leastKubernetes is the shortest life of a token that an API server makes; the account is deleted earlier.
const leastKubernetes = 600

func (kubernetesEngine) ask(_ Settings, _ Offer, _ broker.Order, left int64) (request, error) {
	return request{data: map[string]any{"ttl": fmt.Sprintf("%ds", max(left, leastKubernetes))}}, nil
}

func (kubernetesEngine) values(s Settings, got issued) (credentialValues, error) {
	named, err := taken(got, map[string]string{"service_account_token": "KUBE_TOKEN", "service_account_namespace": "KUBE_NAMESPACE"})
	if err == nil && s.Cluster != "" {
		named.values["KUBE_HOST"] = broker.NewSecret(s.Cluster)
	}
	return named, err
}

// plainKubernetes gives the actions that rules of a Role plainly allow. Keys that are not known are an error: Vault reads
// "Verbs" as "verbs".
func plainKubernetes(rules string) (broker.Actions, error) {
	var role struct {
		Rules []struct {
			APIGroups       []string `yaml:"apiGroups"`
			Resources       []string `yaml:"resources"`
			ResourceNames   []string `yaml:"resourceNames"`
			NonResourceURLs []string `yaml:"nonResourceURLs"`
			Verbs           []string `yaml:"verbs"`
		} `yaml:"rules"`
	}
	decoder := yaml.NewDecoder(strings.NewReader(rules))
	decoder.KnownFields(true)
	if err := decoder.Decode(&role); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	var plain broker.Actions
	for _, rule := range role.Rules {
		for _, verb := range rule.Verbs {
			for _, resource := range rule.Resources {
				plain |= plainVerb(verb, resource)
			}
		}
	}
	return plain, nil
}

// plainVerb is what one verb does at one resource. A verb that is not known is admin.
func plainVerb(verb, resource string) broker.Actions {
	classes := map[string]broker.Actions{
		"get": broker.Read, "list": broker.Read, "watch": broker.Read, "create": broker.Write, "update": broker.Write, "patch": broker.Write,
		"delete": broker.Delete, "deletecollection": broker.Delete,
	}
	class, known := classes[verb]
	_, sub, isSub := strings.Cut(resource, "/")
	switch {
	case !known, givesPower(resource):
		return class | broker.Admin
	case class == broker.Read && (!isSub || sub == "log" || sub == "status" || sub == "scale"):
		return broker.Read
	case isSub && sub != "status" && sub != "scale":
		return class | broker.Admin // proxies and their like, and those that a later release adds
	case sub == "scale":
		return class | broker.Delete // to zero
	case class.Has(broker.Write) && runs(resource):
		return class | broker.Admin // code, as any account of the namespace
	}
	return class
}

func givesPower(resource string) bool {
	return strings.Contains(resource, "*") || slices.Contains([]string{
		"secrets", "pods", "pods/eviction", "serviceaccounts", "serviceaccounts/token", "roles", "rolebindings", "persistentvolumeclaims",
	}, resource)
}

// runs tells whether an object of this kind makes pods.
func runs(resource string) bool {
	return slices.Contains([]string{"deployments", "statefulsets", "daemonsets", "replicasets", "replicationcontrollers", "jobs", "cronjobs", "podtemplates"}, resource)
}
