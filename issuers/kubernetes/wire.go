package kubernetes

// The parts of the API, and of its objects, that are read or written here (Kubernetes API reference, v1.36).

const (
	rbacGroup      = "rbac.authorization.k8s.io"
	reviewGroup    = "authorization.k8s.io"
	admissionGroup = "admissionregistration.k8s.io"

	corePath      = "/api/v1"
	rbacPath      = "/apis/" + rbacGroup + "/v1"
	reviewPath    = "/apis/" + reviewGroup + "/v1"
	admissionPath = "/apis/" + admissionGroup + "/v1"
)

type metadata struct {
	Name        string            `json:"name,omitempty"`
	Namespace   string            `json:"namespace,omitempty"`
	UID         string            `json:"uid,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Owners      []owner           `json:"ownerReferences,omitempty"` // only read
}

type owner struct {
	UID        string `json:"uid"`
	Controller bool   `json:"controller"`
}

// object is any object without what is in it.
type object struct {
	APIVersion string   `json:"apiVersion,omitempty"`
	Kind       string   `json:"kind,omitempty"`
	Metadata   metadata `json:"metadata"`
}

// workload is what is read of an object: its metadata and, of what runs pods, who those run as, what they mount, and what comes with them.
type workload struct {
	object
	Spec struct {
		podSpec           // of a pod
		Template template `json:"template"`
		Job      struct {
			Spec struct {
				Template template `json:"template"`
			} `json:"spec"`
		} `json:"jobTemplate"` // of a CronJob
		Claims    []object `json:"volumeClaimTemplates"` // of a StatefulSet
		Retention struct {
			Deleted string `json:"whenDeleted"`
			Scaled  string `json:"whenScaled"`
		} `json:"persistentVolumeClaimRetentionPolicy"`
	} `json:"spec"`
}

// podSpecs are those of a pod, of a template, and of a CronJob's: all but one are empty.
func (w workload) podSpecs() []podSpec {
	return []podSpec{w.Spec.podSpec, w.Spec.Template.Spec, w.Spec.Job.Spec.Template.Spec}
}

type template struct {
	Spec podSpec `json:"spec"`
}

type podSpec struct {
	Account       string   `json:"serviceAccountName"`
	Volumes       []volume `json:"volumes"`
	RuntimeClass  string   `json:"runtimeClassName"`
	PriorityClass string   `json:"priorityClassName"`
	Priority      *int     `json:"priority"` // of a pod, as the server has worked it out
}

type volume struct {
	Name  string `json:"name"`
	Claim struct {
		Name string `json:"claimName"`
	} `json:"persistentVolumeClaim"`
	Ephemeral *struct{} `json:"ephemeral"`
	Driver    struct {
		Name     string `json:"driver"`
		ReadOnly bool   `json:"readOnly"`
	} `json:"csi"`
	Projected struct {
		Sources []struct {
			Token struct {
				Audience string `json:"audience"`
			} `json:"serviceAccountToken"`
			Certificate *struct{} `json:"podCertificate"`
		} `json:"sources"`
	} `json:"projected"`
}

// page is one part of a list.
type page[T any] struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Continue  string `json:"continue"`
		Remaining int    `json:"remainingItemCount"`
	} `json:"metadata"`
	Items []T `json:"items"`
}

// policyRule is one rule of a Role: every verb on every resource of every group, or of the names.
type policyRule struct {
	APIGroups       []string `json:"apiGroups,omitempty"`
	Resources       []string `json:"resources,omitempty"`
	ResourceNames   []string `json:"resourceNames,omitempty"`
	Verbs           []string `json:"verbs"`
	NonResourceURLs []string `json:"nonResourceURLs,omitempty"`
}

type role struct {
	object
	Rules      []policyRule `json:"rules"`
	Aggregates *struct{}    `json:"aggregationRule,omitempty"` // a controller fills the rules in, now and later
}

type roleBinding struct {
	object
	RoleRef  roleRef   `json:"roleRef"`
	Subjects []subject `json:"subjects"`
}

type roleRef struct {
	APIGroup string `json:"apiGroup"`
	Kind     string `json:"kind"`
	Name     string `json:"name"`
}

type subject struct {
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
}

type tokenRequest struct {
	Spec struct {
		ExpirationSeconds int64 `json:"expirationSeconds"`
	} `json:"spec"`
	Status struct {
		Token string `json:"token"`
	} `json:"status"`
}

// rulesReview asks what the caller may do in a namespace.
type rulesReview struct {
	Spec struct {
		Namespace string `json:"namespace"`
	} `json:"spec"`
	Status struct {
		ResourceRules []policyRule `json:"resourceRules"`
		Incomplete    bool         `json:"incomplete"`
	} `json:"status"`
}

// accessReview asks whether the caller, or the user named, may do one thing.
type accessReview struct {
	object
	Spec struct {
		ResourceAttributes attributes `json:"resourceAttributes"`
		User               string     `json:"user,omitempty"`
		Groups             []string   `json:"groups,omitempty"`
	} `json:"spec"`
	Status struct {
		Allowed bool `json:"allowed"`
	} `json:"status"`
}

type attributes struct {
	Namespace   string `json:"namespace,omitempty"`
	Verb        string `json:"verb"`
	Group       string `json:"group"`
	Resource    string `json:"resource"`
	Subresource string `json:"subresource,omitempty"`
	Name        string `json:"name,omitempty"`
}
