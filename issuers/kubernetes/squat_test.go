package kubernetes_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/issuertest"
)

// The attack: a StatefulSet that finds a pod of the name of its next one, and not its own, is neither scaled nor rolled out any more.
func TestAPodOfTheNameOfTheNextOneStopsAStatefulSet(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := lease(t, s.issuer(t), "pods/*:read,write")
	if err := s.try(t.Context(), c, http.MethodPost, "pods", pod("db-2", nil)); err != nil {
		t.Errorf("a pod of that name: %v; then the description says too much", err)
	}
	s.make(t, "apps/v1/statefulsets", "store", "terminationGracePeriodSeconds", 1)
	db, store := "shop:statefulsets.apps/db:delete", "shop:statefulsets.apps/store:delete"
	for asked, want := range map[string][]string{
		"pods/*:read,write":  {db, store},
		"pods/store-2:write": {store},
		"pods/db-2:write":    nil, // which is there
		"pods/debug:write":   nil,
		"pods/debug-2:write": nil,
		"pods/store:write":   nil,
		"pods/d*:read,write": nil,
		"pods/*:read,delete": nil,
	} {
		if got := s.beyond(t, asked); !slices.Equal(got, want) {
			t.Errorf("%s gives %v beyond; want %v", asked, got, want)
		}
	}
}

// The attack: a Secret that was not there is brought in to pull the images of private registries by.
func TestASecretIsNotBroughtInToPullImagesBy(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	token, change := s.worker(t, mayMakePods), in(t, "imagePullSecrets", `[{"name":"password"}]`)
	for _, path := range podMakers {
		if path == "pods" {
			continue
		}
		plain := "plain-pull"
		if err := s.Do(t.Context(), token, http.MethodPost, s.path(path), maker(path, plain, nil), nil); err != nil {
			t.Fatal(err)
		}
		s.isNotBroughtIn(t, token, "needs permission to read secrets", "a Secret to pull by", path, plain, change)
		s.mayStay(t, token, "a Secret to pull by", path, change)
	}
	readers := s.worker(t, strings.TrimSuffix(mayMakePods, "]")+`, {apiGroups: [""], resources: [secrets], verbs: [get]}]`)
	if err := s.Do(t.Context(), readers, http.MethodPost, s.path("apps/v1/deployments"), maker("apps/v1/deployments", "reads", change), nil); err != nil {
		t.Errorf("for who may read secrets: %v; want it to work", err)
	}
}

// The server itself gives a pod the Secrets to pull by that its account has, so a new pod may have any, and reviewers are told.
func TestASecretToPullAPodsImagesByIsTold(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if err := s.Do(t.Context(), s.Token(), http.MethodPatch, s.path("serviceaccounts/default"), `{"imagePullSecrets":[{"name":"registry"}]}`, nil, "Content-Type", mergePatch); err != nil {
		t.Fatal(err)
	}
	if got := s.wallOf(t, "a Secret to pull images by (imagePullSecrets), for a new pod", "pods/*:write"); got.Wall != broker.WallNone {
		t.Errorf("reviewers are told %+v", got)
	}
	c := lease(t, s.issuer(t), "pods/*:read,write")
	issuertest.Until(t, func() bool { // the server knows of what the account has a moment late
		var made struct {
			Spec struct{ ImagePullSecrets []struct{ Name string } }
		}
		err := s.Do(t.Context(), tokenOf(c), http.MethodPost, s.path("pods?dryRun=All"), pod("usual", nil), &made)
		return err == nil && len(made.Spec.ImagePullSecrets) == 1
	})
}

const gizmos = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gizmos.versions.example.com}
spec:
  group: versions.example.com
  scope: Namespaced
  names: {plural: gizmos, singular: gizmo, kind: Gizmo}
  versions:
  - {name: v1beta1, served: true, storage: false, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}}
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}, rows: {type: array, items: {type: string}}}}}}}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: notes.versions.example.com}
spec:
  group: versions.example.com
  scope: Namespaced
  names: {plural: notes, singular: note, kind: Note}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`

// The attack: a write in an older version drops whatever that has not, and nobody sees it missing.
func TestAnOlderVersionThatDropsFieldsIsApprovedAsDelete(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.grantBroker(t, `- {apiGroups: [versions.example.com], resources: [gizmos, notes], verbs: [get, list, create, update, patch]}`)
	s.Apply(t, gizmos)
	const group = "/apis/versions.example.com/"
	home := "/namespaces/" + s.staging
	for _, path := range []string{"v1/gizmos", "v1beta1/gizmos", "v1/notes"} {
		version, kind, _ := strings.Cut(path, "/")
		issuertest.Until(t, func() bool {
			return s.Do(t.Context(), s.Token(), http.MethodGet, group+version+home+"/"+kind, nil, nil) == nil
		})
	}
	config := s.config()
	config.Settings.Plain = []string{"gizmos.versions.example.com", "notes.versions.example.com"}
	issuer := open(t, config)
	d := describe(t, issuer, wish(t, "gizmos.versions.example.com/*:read,write", "notes.versions.example.com/*:read,write"))
	if got := broker.Texts(d.Means()); !slices.Contains(got, "shop:gizmos.versions.example.com/*:read,write,delete") || !slices.Contains(got, "shop:notes.versions.example.com/*:read,write") {
		t.Errorf("described as %v", got)
	}
	at := slices.IndexFunc(d.Walls, func(w broker.WallFact) bool { return strings.HasSuffix(w.Stops, "by writing it in another version") })
	if at < 0 || d.Walls[at].Wall != broker.WallWeak || !strings.Contains(d.Walls[at].How, "gizmos.versions.example.com (v1, v1beta1)") {
		t.Errorf("walls: %+v", d.Walls)
	}
	if got := describe(t, issuer, wish(t, "gizmos.versions.example.com/*:read")).Means(); broker.AllActions(got) != broker.Read {
		t.Errorf("to read it is described as %v", broker.Texts(got))
	}
	made := `{"apiVersion":"versions.example.com/v1","kind":"Gizmo","metadata":{"name":"w"},"spec":{"size":1,"rows":["a"]}}`
	if err := s.Do(t.Context(), s.Token(), http.MethodPost, group+"v1"+home+"/gizmos", made, nil); err != nil {
		t.Fatal(err)
	}
	c := leaseBy(t, issuer, d)
	if err := s.try(t.Context(), c, http.MethodPatch, group+"v1beta1"+home+"/gizmos/w", `{"spec":{"size":2}}`, "Content-Type", mergePatch); err != nil {
		t.Errorf("by the older version: %v; then the description says too much", err)
	}
	if got := s.text(t, group+"v1"+home+"/gizmos/w"); strings.Contains(got, "rows") {
		t.Errorf("it lost nothing: %s; then the description says too much", got)
	}
}

// A server that does not say in which versions it has a kind is not taken for one that has it in one.
func TestVersionsThatCannotBeAskedAreNotOne(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Apply(t, gizmos)
	issuertest.Until(t, func() bool {
		return s.Do(t.Context(), s.Token(), http.MethodGet, "/apis/versions.example.com/v1beta1/namespaces/"+s.staging+"/gizmos", nil, nil) == nil &&
			s.Do(t.Context(), s.Token(), http.MethodGet, "/apis/versions.example.com/v1/namespaces/"+s.staging+"/notes", nil, nil) == nil
	})
	s.grantBroker(t, `- {apiGroups: [versions.example.com], resources: [notes], verbs: [get, list, create, update, patch]}`)
	b := s.between(t)
	for what, answer := range map[string]func(http.ResponseWriter, int, []byte){
		"forbidden": says(`{"kind":"Status","reason":"Forbidden"}`, http.StatusForbidden), "empty": says(`{}`, http.StatusOK), "broken": says(`{`, http.StatusOK),
	} {
		b.breaks.Store(&breakage{http.MethodGet, "/versions.example.com/v1beta1", answer})
		issuer := b.issuer(t, s, "notes.versions.example.com")
		d, err := issuer.Describe(t.Context(), wish(t, "notes.versions.example.com/*:write"))
		b.breaks.Store(nil)
		if err == nil && !broker.AllActions(d.Means()).Has(broker.Delete) {
			t.Errorf("%s: described as %v", what, broker.Texts(d.Means()))
		}
	}
}

// A field below those of the spec can be removed, which every description says.
func TestDeeperFieldsOfACustomResourceAreToldToBeRemovable(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.grantBroker(t, `- {apiGroups: [example.com], resources: [widgets], verbs: [get, list, create, update, patch]}`)
	s.serve(t, "widgets")
	issuer := s.plainIssuer(t)
	d := describe(t, issuer, wish(t, "widgets.example.com/*:read,write"))
	if !slices.ContainsFunc(d.Walls, func(w broker.WallFact) bool {
		return w.Stops == "removing fields of a custom resource" && strings.Contains(w.How, "deeper ones can be overwritten and removed")
	}) {
		t.Errorf("reviewers are told %+v", d.Walls)
	}
	const made = `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"deep"},"spec":{"rows":{"a":1,"b":2}}}`
	if err := s.Do(t.Context(), s.Token(), http.MethodPost, s.path("example.com/v1/widgets"), made, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.try(t.Context(), leaseBy(t, issuer, d), http.MethodPatch, "example.com/v1/widgets/deep", `{"spec":{"rows":{"a":null}}}`, "Content-Type", mergePatch); err != nil {
		t.Errorf("removing one: %v; then the description says too much", err)
	}
}
