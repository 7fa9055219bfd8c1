package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

const (
	enforceLabel   = "pod-security.kubernetes.io/enforce"
	enforceVersion = "pod-security.kubernetes.io/enforce-version"
	// oldestVersion is of 1.x: the first release of the Pod Security Standards that is called stable. v1.34 adds one thing, that no probe and no
	// hook names a host. The admission policy refuses that in every version, so that clusters from 1.30 on can hold the level.
	oldestVersion = 25
)

// restricted tells whether the namespace enforces the restricted Pod Security level (Kubernetes documentation, Pod Security
// Standards), in a version of it that says all that is said today.
func (p place) restricted() bool {
	labels := p.namespace.Metadata.Labels
	if labels[enforceLabel] != "restricted" {
		return false
	}
	version := labels[enforceVersion]
	minor, found := strings.CutPrefix(version, "v1.")
	number, err := strconv.Atoi(minor)
	return version == "" || version == "latest" || found && err == nil && number >= oldestVersion
}

// noDefault is a namespace that was made a moment ago.
const noDefault = "it cannot be tried, because the namespace has no account default yet"

// levelProblem says why the namespace's label of the restricted Pod Security level would be worth nothing: a server can leave the level
// out, or make an exception of a namespace, and nobody sees it in either. So it is tried, as a dry run, with a pod that this level
// alone refuses: one of the usual class of runtimes, which is called "", or of another.
func (i *Issuer) levelProblem(ctx context.Context, class string) (string, error) {
	spec := map[string]any{"containers": []any{map[string]any{"name": "probe", "image": "probe"}}}
	if class != "" {
		spec["runtimeClassName"] = class
	}
	err := i.client.dryRun(ctx, i.inNamespace(corePath, "pods"), map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": metadata{Name: leasesProbe}, "spec": spec,
	})
	r, answered := asRefusal(err)
	switch {
	case err == nil:
		return "the server lets pods pass that the level refuses", nil
	case answered && r.Status == http.StatusForbidden && strings.Contains(r.Message, `violates PodSecurity "restricted`):
		return "", nil
	case answered && strings.Contains(r.Message, "error looking up service account"):
		return noDefault, nil
	case answered && r.Status >= 400 && r.Status < 500 && r.Status != http.StatusUnauthorized && r.Status != http.StatusTooManyRequests:
		return fmt.Sprintf("the broker cannot try it by making a pod as a dry run: %.200q", r.Message), nil
	}
	return "", err
}

// mostClasses is how many classes of runtimes one description tries.
const mostClasses = 8

// notHeld gives those of some classes of runtimes for which the level holds nothing: a server can make an exception of a class. One that is
// not tried is not held, nor one that is not there, of which there can be no pod to try.
func (i *Issuer) notHeld(ctx context.Context, classes []string) ([]string, error) {
	var open []string
	for at, class := range classes {
		problem := "it is not tried"
		if at < mostClasses {
			var err error
			if problem, err = i.levelProblem(ctx, class); err != nil {
				return nil, err
			}
		}
		if problem != "" {
			open = append(open, class)
		}
	}
	return open, nil
}

// explainLevel adds to a refusal that the level is set and not enforced.
func explainLevel(err error, p place, a *audit) error {
	known, is := errors.AsType[*broker.Error](err)
	if !is || !p.restricted() || a.level == "" {
		return err
	}
	known.Message += " (the label " + enforceLabel + " is there, and " + a.level + ")"
	return known
}

// levelFinding: without the restricted level, whoever makes pods can take over machines.
func (i *Issuer) levelFinding(p place, a *audit) []broker.Finding {
	namespace := i.config.Settings.Namespace
	f := broker.Finding{
		Object:  "pod security",
		Problem: "namespace " + namespace + " does not enforce the restricted Pod Security level, so to write what makes pods counts as admin",
		Mend:    "kubectl label namespace " + namespace + " " + enforceLabel + "=restricted",
	}
	switch {
	case !p.restricted():
		return []broker.Finding{f}
	case a.level != "":
		f.Problem += ": the label is there, and " + a.level
		f.Mend = "# let the API server run the admission plugin PodSecurity, without an exemption for this namespace, and the broker's account create pods in it"
		if a.level == noDefault {
			f.Mend = "# ask again in some seconds: the cluster makes the account default in every namespace"
		}
		return []broker.Finding{f}
	}
	return nil
}
