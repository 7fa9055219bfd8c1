package vault

import (
	"cmp"
	"fmt"
	"strings"

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
	if text("kubernetes_role_name") != "" {
		plain = everything // it stands in the cluster, where Vault does not look
	}
	return i.believe(offer, data, plain,
		broker.WallFact{Stops: "other namespaces", Wall: broker.WallNative, How: "the role binding is made in " + namespaces[0] + " alone"},
		broker.WallFact{Stops: "use after the end", Wall: broker.WallNative, How: "the service account and its role binding are deleted; the API server may know the token for some seconds more, without rights"},
		broker.WallFact{Stops: "a watch or a log that is open at the end", Wall: broker.WallNone, How: "nothing closes it but the client, the pod or the server"}), nil
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
