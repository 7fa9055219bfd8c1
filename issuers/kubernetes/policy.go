package kubernetes

import (
	"context"
	_ "embed"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/hourkey/hourkey/broker"
)

// policyYAML is three admission policies, held by the cluster itself (ValidatingAdmissionPolicy, Kubernetes 1.30 and newer).
// hourkey-leases refuses accounts whose names begin with hk- what RBAC cannot refuse them: see its messages.
// hourkey-ends asks RBAC again about what they change, when all of the call is there.
// hourkey-broker holds the broker's account to making and ending such accounts.
//
//go:embed policy.yaml
var policyYAML string

// PolicyYAML gives the admission policies, for `kubectl apply -f -` by the cluster's administrator.
func PolicyYAML() string { return policyYAML }

const (
	leasesPolicy = "hourkey-leases"
	endsPolicy   = "hourkey-ends"
	brokerPolicy = "hourkey-broker"

	// Accounts that are never made: each is refused by its policy, which so shows that it is in force.
	leasesProbe = "hk-policy-probe"
	endsProbe   = "hk-ends-probe"
	brokerProbe = "policy-probe"
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
		"ValidatingAdmissionPolicy": "validatingadmissionpolicies", "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
	} {
		var got struct {
			Spec any `json:"spec"`
		}
		err := i.client.get(ctx, admissionPath+"/"+resource+"/"+name, &got)
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

// policyForce makes, as a dry run, the account that the policy refuses.
func (i *Issuer) policyForce(ctx context.Context, name, probe string) (string, error) {
	err := i.client.dryRun(ctx, i.accounts(), object{APIVersion: "v1", Kind: "ServiceAccount", Metadata: metadata{Name: probe}})
	r, answered := asRefusal(err)
	switch {
	case err == nil:
		return notInForce, nil
	case answered && strings.Contains(r.Message, "ValidatingAdmissionPolicy '"+name+"'"):
		return "", nil
	case answered && strings.Contains(r.Message, "ValidatingAdmissionPolicy '"): // the other one was quicker
		return notInForce, nil
	case isStatus(err, http.StatusForbidden): // it may not make accounts, which is told by itself
		return "cannot be tried", nil
	}
	return "", err
}

// policyFindings is the missing policy that a write needs, as a hole.
func (a *audit) policyFindings() []broker.Finding {
	return missingPolicy(leasesPolicy, a.policy, "whoever may write could delete by owners, finalizers and scaling to zero, choose whose identity and which machine a pod has, and read Secrets by pods")
}

// lateFindings is the missing policy that whatever changes something needs, as a hole.
func (a *audit) lateFindings() []broker.Finding {
	return missingPolicy(endsPolicy, a.late, "what is begun before the end of a lease could be done up to a minute after it")
}

func missingPolicy(name, problem, so string) []broker.Finding {
	if problem == "" {
		return nil
	}
	mend := "# apply hourkey's admission policies: hourkeyd check --live prints them, docs/issuers/kubernetes.md has them"
	if problem == notInForce {
		mend = mendForce
	}
	return []broker.Finding{{Refuses: true, Object: objectPolicy, Problem: "the admission policy " + name + " " + problem + ": " + so, Mend: mend}}
}
