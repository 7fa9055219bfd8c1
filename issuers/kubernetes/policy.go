package kubernetes

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/hourkey/hourkey/broker"
)

// policyYAML is two admission policies, held by the cluster itself (ValidatingAdmissionPolicy, Kubernetes 1.30 and newer).
// hourkey-leases refuses accounts whose names begin with hk- what RBAC cannot refuse them: see its messages.
// hourkey-broker holds the broker's account to making and ending such accounts.
//
//go:embed policy.yaml
var policyYAML string

// PolicyYAML gives both admission policies, for `kubectl apply -f -` by the cluster's administrator.
func PolicyYAML() string { return policyYAML }

const (
	leasesPolicy = "hourkey-leases"
	brokerPolicy = "hourkey-broker"

	// policyProbe is an account that is never made: both policies refuse it, and so show that they are in force.
	leasesProbe = "hk-policy-probe"
	brokerProbe = "policy-probe"

	admissionPath = "/apis/admissionregistration.k8s.io/v1/"
)

// policySpecs maps "KIND NAME" to the spec of a policy or of its binding, as the server keeps it.
var policySpecs = sync.OnceValues(func() (map[string]any, error) {
	decoder, specs := yaml.NewDecoder(strings.NewReader(policyYAML)), map[string]any{}
	for {
		var object struct {
			Kind     string                `yaml:"kind"`
			Metadata struct{ Name string } `yaml:"metadata"`
			Spec     map[string]any        `yaml:"spec"`
		}
		err := decoder.Decode(&object)
		if errors.Is(err, io.EOF) {
			return specs, nil
		}
		if err != nil {
			return nil, broker.Errorf(broker.CodeInternal, "kubernetes: the admission policies cannot be read").Because(err)
		}
		specs[object.Kind+" "+object.Metadata.Name] = object.Spec
	}
})

// policyProblem says what is wrong with an admission policy: it must be there, be ours word for word, and refuse the probe.
func (i *Issuer) policyProblem(ctx context.Context, name, probe string) (string, error) {
	want, err := policySpecs()
	if err != nil {
		return "", err
	}
	for kind, resource := range map[string]string{
		"ValidatingAdmissionPolicy": "validatingadmissionpolicies/", "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings/",
	} {
		var got struct {
			Spec any `json:"spec"`
		}
		err := i.client.get(ctx, admissionPath+resource+name, &got)
		switch {
		case isStatus(err, http.StatusNotFound): // also of a release that has no such thing
			return "is not there", nil
		case err != nil:
			return "", err
		case !reflect.DeepEqual(got.Spec, want[kind+" "+name]):
			return "is not the one of this version of hourkey", nil
		}
	}
	return i.policyForce(ctx, name, probe)
}

// A policy that was applied a moment ago is not in force yet; else the server leaves it out.
const (
	notInForce = "is there and not in force"
	mendForce  = "# was it applied just now? The server takes some seconds: ask again. Else let the API server run the admission plugin ValidatingAdmissionPolicy"
)

// policyForce makes, as a dry run, the account that the policy refuses. Nothing comes of it either way.
func (i *Issuer) policyForce(ctx context.Context, name, probe string) (string, error) {
	err := i.client.do(ctx, call{
		method: http.MethodPost, path: i.accounts(), query: url.Values{"dryRun": {"All"}},
		body: object{APIVersion: "v1", Kind: "ServiceAccount", Metadata: metadata{Name: probe}},
	}, nil)
	r, answered := asRefusal(err)
	switch {
	case err == nil:
		return notInForce, nil
	case answered && strings.Contains(r.Message, "ValidatingAdmissionPolicy '"+name+"'"):
		return "", nil
	case answered && strings.Contains(r.Message, "ValidatingAdmissionPolicy '"): // the other one was quicker
		return notInForce, nil
	}
	if isStatus(err, http.StatusForbidden) { // it may not make accounts, which is told by itself
		return "cannot be tried", nil
	}
	return "", err
}

// levelProblem says why the namespace's label of the restricted Pod Security level would be worth nothing: a server can leave the level
// out, or make an exception of a namespace, and nobody sees it in either. So it is tried, as a dry run, with a pod that this level
// alone refuses.
func (i *Issuer) levelProblem(ctx context.Context) (string, error) {
	err := i.client.do(ctx, call{
		method: http.MethodPost, path: "/api/v1/namespaces/" + i.config.Settings.Namespace + "/pods", query: url.Values{"dryRun": {"All"}},
		body: map[string]any{
			"apiVersion": "v1", "kind": "Pod", "metadata": metadata{Name: leasesProbe},
			"spec": map[string]any{"containers": []any{map[string]any{"name": "probe", "image": "probe"}}},
		},
	}, nil)
	r, answered := asRefusal(err)
	switch {
	case err == nil:
		return "the server lets pods pass that the level refuses", nil
	case answered && r.Status == http.StatusForbidden && strings.Contains(r.Message, `violates PodSecurity "restricted`):
		return "", nil
	case answered && r.Status >= 400 && r.Status < 500 && r.Status != http.StatusUnauthorized && r.Status != http.StatusTooManyRequests:
		return fmt.Sprintf("the broker cannot try it by making a pod as a dry run: %.200q", r.Message), nil
	}
	return "", err
}

// policyFindings is the missing policy as a hole.
func (a *audit) policyFindings() []broker.Finding {
	if a.policy == "" {
		return nil
	}
	mend := "# apply hourkey's admission policies: hourkeyd check --live prints them, docs/issuers/kubernetes.md has them"
	if a.policy == notInForce {
		mend = mendForce
	}
	return []broker.Finding{{
		Refuses: true, Object: objectPolicy,
		Problem: "the admission policy " + leasesPolicy + " " + a.policy + ": whoever may write could delete by owners, finalizers and scaling to zero, and choose whose identity a pod has",
		Mend:    mend,
	}}
}
