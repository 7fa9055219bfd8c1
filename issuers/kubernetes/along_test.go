package kubernetes_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
)

// keeping makes a StatefulSet with claims of its own, that are kept or not.
func (s *site) keeping(t *testing.T, name, whenDeleted, whenScaled string) {
	t.Helper()
	one := claiming(name)
	one["spec"].(map[string]any)["persistentVolumeClaimRetentionPolicy"] = map[string]any{"whenDeleted": whenDeleted, "whenScaled": whenScaled} //nolint:forcetypeassert // as claiming makes it
	if err := s.Do(t.Context(), s.Token(), http.MethodPost, s.path("apps/v1/statefulsets"), one, nil); err != nil {
		t.Fatal(err)
	}
}

// A StatefulSet that does not retain its claims takes them along: their loss is approved with its delete, and a guardrail on claims sees it.
func TestDeletingAStatefulSetNamesTheClaimsThatGoWithIt(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.grantBroker(t, `- {apiGroups: [autoscaling], resources: [horizontalpodautoscalers], verbs: [get, list, create, update, patch, delete, deletecollection]}`,
		`- {apiGroups: [""], resources: [persistentvolumeclaims], verbs: [get, list, delete, deletecollection]}`)
	s.keeping(t, "orders", "Delete", "Retain")
	s.keeping(t, "scaled", "Retain", "Delete")
	s.keeping(t, "kept", "Retain", "Retain")
	const orders, scaled = "shop:persistentvolumeclaims/data-orders-*:delete", "shop:persistentvolumeclaims/data-scaled-*:delete"
	for _, one := range []struct {
		asked string
		want  []string
	}{
		{"statefulsets.apps/orders:read,delete", []string{orders}},
		{"statefulsets.apps/ord*:delete", []string{orders}},
		{"statefulsets.apps/*:delete", []string{orders}},
		{"statefulsets.apps/kept:read,delete", nil},
		{"statefulsets.apps/scaled:delete", nil},
		{"statefulsets.apps/orders:delete statefulsets.apps+scale/scaled:write", []string{orders}},
		{"statefulsets.apps/scaled:delete statefulsets.apps+scale/scaled:write", []string{scaled}},
		{"horizontalpodautoscalers.autoscaling/*:write,delete", []string{scaled}},
		{"statefulsets.apps/orders:delete persistentvolumeclaims/*:delete", nil},
		{"statefulsets.apps/orders:read", nil},
	} {
		if got := s.beyond(t, strings.Fields(one.asked)...); !slices.Equal(got, one.want) {
			t.Errorf("%s gives %v beyond; want %v", one.asked, got, one.want)
		}
	}
}

// Without the admission policy, which is accepted, whoever may scale may scale down.
func TestScalingDownWithoutThePolicyNamesTheClaimsThatGoWithIt(t *testing.T) {
	t.Parallel()
	s := makeSite(t, bareServer(t))
	s.keeping(t, "scaled", "Retain", "Delete")
	s.keeping(t, "kept", "Retain", "Retain")
	issuer := s.issuer(t, "admission policy")
	d := describe(t, issuer, wish(t, "statefulsets.apps+scale/scaled:write"))
	if got := broker.Texts(d.Means()); !slices.Contains(got, "shop:persistentvolumeclaims/data-scaled-*:delete") {
		t.Errorf("described as %v", got)
	}
	c := leaseBy(t, issuer, d)
	if err := s.try(t.Context(), c, http.MethodPatch, "apps/v1/statefulsets/scaled/scale", `{"spec":{"replicas":0}}`, "Content-Type", mergePatch); err != nil {
		t.Errorf("scaling down: %v; then the description says too much", err)
	}
	if got := broker.Texts(describe(t, issuer, wish(t, "statefulsets.apps+scale/kept:write")).Means()); slices.ContainsFunc(got, func(one string) bool { return strings.Contains(one, "claims") }) {
		t.Errorf("where they are retained: %v", got)
	}
}

// The claim of a generic ephemeral volume is the pod's, and goes with it, and with whatever the pod goes with.
func TestDeletingAPodNamesTheClaimsThatGoWithIt(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, scope := range s.employ(t, "files", "volumes", []any{ephemeral(), map[string]any{"name": "k", "persistentVolumeClaim": map[string]any{"claimName": "kept"}}}) {
		scope, _, _ := strings.Cut(scope, ":")
		want := "shop:persistentvolumeclaims/files-*:delete"
		if strings.HasPrefix(scope, "pods/") {
			want = "shop:persistentvolumeclaims/files-v:delete"
		}
		for _, asked := range []string{scope + ":delete", allOf(scope + ":delete"), strings.Replace(scope, "/files", "/fil*", 1) + ":delete"} {
			if got := s.beyond(t, asked); !slices.Equal(got, []string{want}) {
				t.Errorf("%s gives %v beyond; want %s, and not what outlives the pod", asked, got, want)
			}
		}
	}
}

// The garbage collector deletes what names as its owner what is gone, whatever the lease may delete; and what names that, too.
func TestDeletingAnOwnerNamesWhatItOwns(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.keeping(t, "orders", "Delete", "Retain")
	s.own(t, "apps/v1/statefulsets/orders", "apps/v1", "Deployment", s.uid(t, "apps/v1/deployments/web"))
	s.own(t, "apps/v1/deployments/web", "v1", "ConfigMap", s.uid(t, "configmaps/settings"))
	s.own(t, "configmaps/other", "v1", "ConfigMap", s.uid(t, "configmaps/settings"))
	all := []string{"shop:configmaps/other:delete", "shop:deployments.apps/web:delete", "shop:persistentvolumeclaims/data-orders-*:delete", "shop:statefulsets.apps/orders:delete"}
	for asked, want := range map[string][]string{
		"configmaps/settings:delete":      all,
		"configmaps/set*:read,delete":     all,
		"configmaps/*:delete":             all[1:],
		"deployments.apps/web:delete":     all[2:],
		"configmaps/other:delete":         nil,
		"configmaps/settings:read,write":  nil,
		"deployments.apps/*:read":         nil,
		"statefulsets.apps/orders:delete": all[2:3],
	} {
		if got := s.beyond(t, asked); !slices.Equal(got, want) {
			t.Errorf("%s gives %v beyond; want %v", asked, got, want)
		}
	}
	issuer := s.issuer(t)
	wall := func() broker.WallFact {
		d := describe(t, issuer, wish(t, "configmaps/settings:delete"))
		at := slices.IndexFunc(d.Walls, func(w broker.WallFact) bool { return w.Stops == "deleting what goes along with it" })
		if at < 0 {
			t.Fatalf("walls: %+v", d.Walls)
		}
		return d.Walls[at]
	}
	if got := wall(); got.Wall != broker.WallNone || !strings.Contains(got.How, "deployments.apps/web") || !strings.Contains(got.How, "and cannot be: secrets") {
		t.Errorf("reviewers are told %+v; want what goes, and what cannot be seen", got)
	}
	s.grantBroker(t, `- {apiGroups: [""], resources: [secrets], verbs: [list]}`)
	s.own(t, "secrets/password", "v1", "ConfigMap", s.uid(t, "configmaps/settings"))
	issuer = s.issuer(t)
	if got := wall(); !slices.Contains(broker.Texts(got.Gives), "shop:secrets/password:delete") || strings.Contains(got.How, "cannot be") {
		t.Errorf("with a look at Secrets, reviewers are told %+v", got)
	}
}

func (s *site) uid(t *testing.T, path string) string {
	t.Helper()
	var object struct{ Metadata struct{ UID string } }
	if err := s.Do(t.Context(), s.Token(), http.MethodGet, s.path(path), nil, &object); err != nil {
		t.Fatal(err)
	}
	return object.Metadata.UID
}

// own gives an object an owner, which says of itself that it is its controller.
func (s *site) own(t *testing.T, path, version, kind, uid string) {
	t.Helper()
	owner := []any{map[string]any{"apiVersion": version, "kind": kind, "name": "any", "uid": uid, "controller": true}}
	body := map[string]any{"metadata": map[string]any{"ownerReferences": owner}}
	if err := s.Do(t.Context(), s.Token(), http.MethodPatch, s.path(path), body, nil, "Content-Type", mergePatch); err != nil {
		t.Fatal(err)
	}
}

// A CronJob that finds a Job of the name that its next one would have, and not its own, starts none: a nightly backup does not run.
func TestAJobOfTheNameOfTheNextOneStopsACronJob(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := lease(t, s.issuer(t), "jobs.batch/*:read,write")
	if got := s.beyond(t, "jobs.batch/*:read,write"); len(got) > 0 {
		t.Errorf("%v beyond, where there is no CronJob", got)
	}
	s.make(t, "batch/v1/cronjobs", "backup", "terminationGracePeriodSeconds", 1)
	s.make(t, "batch/v1/cronjobs", "report", "terminationGracePeriodSeconds", 1)
	suspended := job("backup-29000000")
	suspended["spec"].(map[string]any)["suspend"] = true //nolint:forcetypeassert // as job makes it
	if err := s.try(t.Context(), c, http.MethodPost, "batch/v1/jobs", suspended); err != nil {
		t.Errorf("a Job of that name: %v; then the description says too much", err)
	}
	backup, report := "shop:cronjobs.batch/backup:delete", "shop:cronjobs.batch/report:delete"
	for asked, want := range map[string][]string{
		"jobs.batch/*:read,write":          {backup, report},
		"jobs.batch/backup-29000001:write": {backup},
		"jobs.batch/backup-29000000:write": nil, // which is there
		"jobs.batch/migrate:write":         nil,
		"jobs.batch/migrate-2:write":       nil,
		"jobs.batch/*:read,delete":         nil,
	} {
		if got := s.beyond(t, asked); !slices.Equal(got, want) {
			t.Errorf("%s gives %v beyond; want %v", asked, got, want)
		}
	}
}

// The attack: a Job and a ReplicaSet that a ConfigMap owns go with it, and nobody is told, because others of their kinds go with their makers.
func TestWhatAConfigMapOwnsIsNamedWhateverItIs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, path := range []string{"batch/v1/jobs", "apps/v1/replicasets"} {
		s.make(t, path, "mine", "volumes", []any{ephemeral()})
		s.own(t, path+"/mine", "v1", "ConfigMap", s.uid(t, "configmaps/other"))
		s.make(t, path, "made", "volumes", []any{ephemeral()})
	}
	s.make(t, "batch/v1/cronjobs", "nightly", "terminationGracePeriodSeconds", 1)
	s.own(t, "batch/v1/jobs/made", "batch/v1", "CronJob", s.uid(t, "batch/v1/cronjobs/nightly"))
	s.own(t, "apps/v1/replicasets/made", "apps/v1", "Deployment", s.uid(t, "apps/v1/deployments/web"))
	for asked, want := range map[string]string{
		"configmaps/other:read,delete":    "shop:jobs.batch/mine:delete shop:persistentvolumeclaims/mine-*:delete shop:replicasets.apps/mine:delete",
		"deployments.apps/web:delete":     "",
		"cronjobs.batch/nightly:delete":   "",
		"deployments.apps/*:read":         "",
		"configmaps/settings:read,delete": "",
	} {
		if got := strings.Join(s.beyond(t, asked), " "); got != want {
			t.Errorf("%s gives %q beyond; want %q", asked, got, want)
		}
	}
	s.own(t, "apps/v1/replicasets/made", "apps/v1", "Deployment", s.uid(t, "configmaps/other")) // which is no Deployment, whatever it is called
	if got := s.beyond(t, "configmaps/other:delete"); !slices.Contains(got, "shop:replicasets.apps/made:delete") {
		t.Errorf("with an owner that is called a Deployment: %v beyond", got)
	}
	wall := s.wallOf(t, "deleting what goes along with it", "configmaps/settings:delete")
	if !strings.Contains(wall.How, "nothing else is: no pods, Ingresses") {
		t.Errorf("of what is not looked through, reviewers are told: %s", wall.How)
	}
}
