package railway_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hourkey/hourkey/issuers/gateway/faithful/railway"
)

// The nine seconds, by their public facts: an anonymous mutation with an inline id, a token made for
// something else. One call, and the data of both environments is gone with the backups.
func TestTheIncidentLosesBothEnvironmentsAndTheBackups(t *testing.T) {
	folder := t.TempDir()
	s := railway.New(railway.Config{Now: newClock().Now, Folder: folder, Random: rand.NewChaCha8([32]byte{3}), Schema: schema(t)})
	w := s.Seed()
	files := filesBelow(t, folder)
	if len(files) != 2+4+1+1 { // shop-data twice, its backups, render-cache, invoices
		t.Fatalf("the volumes lie as %v", files)
	}

	before := s.Snapshot()
	a := post(t, s, w.AccountToken, `mutation { volumeDelete(volumeId: "`+w.ShopData+`") }`, nil)
	if a.Raw != `{"data":{"volumeDelete":true}}`+"\n" {
		t.Fatal(a.Raw)
	}
	effects := railway.Compare(before, s.Snapshot())
	want := map[string]int{
		"destroyed Volume": 1, "destroyed VolumeInstance": 2, "destroyed VolumeInstanceBackup": 4, "weakened VolumeInstanceBackupSchedule": 2,
	}
	if diff := cmp.Diff(want, kinds(effects)); diff != "" {
		t.Error(diff)
	}
	both := []string{w.Production, w.Staging}
	slices.Sort(both)
	for _, e := range effects {
		if e.What == "Volume" && !slices.Equal(e.Environments, both) {
			t.Errorf("the volume was in %v, and %v is told", both, e.Environments)
		}
	}
	for _, instance := range []string{w.ShopDataProduction, w.ShopDataStaging} {
		if data, ok := s.Data(instance); ok {
			t.Errorf("%q is still there", data)
		}
	}
	if left := filesBelow(t, folder); len(left) != 2 || strings.Contains(fmt.Sprint(left), "shop-data") {
		t.Errorf("still on disk: %v", left)
	}
}

func filesBelow(t *testing.T, folder string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(folder, func(name string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			all = append(all, strings.TrimPrefix(name, folder))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A name that a caller chose must not lead out of the folder.
func TestAVolumesNameIsNoPath(t *testing.T) {
	folder := t.TempDir()
	s := railway.New(railway.Config{Now: newClock().Now, Folder: filepath.Join(folder, "in"), Schema: schema(t)})
	w := s.Seed()
	post(t, s, w.AccountToken, `mutation { volumeUpdate(volumeId: "`+w.ShopData+`", input: {name: "../../../out"}) { id } }`, nil).into(t, &struct{}{})
	for _, name := range filesBelow(t, folder) {
		if !strings.HasPrefix(name, "/in/") || strings.Contains(name, "..") {
			t.Errorf("a volume lies in %s", name)
		}
	}
}

// What deletes, or makes data unrecoverable, without delete in its name.
func TestWriteLookingMutationsLoseData(t *testing.T) {
	server, w := seeded(t)
	in := func(section, id string, config any) map[string]any {
		return map[string]any{section: map[string]any{id: config}}
	}
	on := func(key string, value any) map[string]any { return map[string]any{key: value} }
	restore := `mutation($i: String!, $b: String!, $w: [String!]) { volumeInstanceBackupRestore(volumeInstanceId: $i, volumeInstanceBackupId: $b, wipeServiceIds: $w) { workflowId } }`
	patch := `mutation($e: String!, $p: EnvironmentConfig) { environmentPatchCommit(environmentId: $e, patch: $p) }`
	update := `mutation($v: String!, $e: String, $i: VolumeInstanceUpdateInput!) { volumeInstanceUpdate(volumeId: $v, environmentId: $e, input: $i) }`
	for name, c := range map[string]struct {
		document  string
		variables map[string]any
		loses     string
	}{
		"a restore drops newer backups": {
			restore, map[string]any{"i": w.ShopDataProduction, "b": w.ShopDataBackups[0]}, "destroyed VolumeInstanceBackup",
		},
		"a restore overwrites what is there": {
			restore, map[string]any{"i": w.ShopDataProduction, "b": w.ShopDataBackups[2]}, "destroyed VolumeInstance.data",
		},
		"a restore wipes other services": {
			restore, map[string]any{"i": w.ShopDataProduction, "b": w.ShopDataBackups[2], "w": w.Postgres}, "destroyed VolumeInstance",
		},
		"another instance's backup restored here": {
			restore, map[string]any{"i": w.ShopDataStaging, "b": w.ShopDataBackups[0]}, "destroyed VolumeInstance.data",
		},
		"no schedules": {
			`mutation($i: String!) { volumeInstanceBackupScheduleUpdate(volumeInstanceId: $i, kinds: []) }`,
			map[string]any{"i": w.ShopDataProduction}, "weakened VolumeInstanceBackupSchedule",
		},
		"a state of deleted": {
			update, map[string]any{"v": w.ShopData, "e": w.Production, "i": on("state", "DELETED")}, "destroyed VolumeInstance",
		},
		"a mount path alone detaches": {
			update, map[string]any{"v": w.ShopData, "e": w.Production, "i": on("mountPath", "/x")}, "cleared VolumeInstance.serviceId",
		},
		"replacing all variables": {
			`mutation($i: VariableCollectionUpsertInput!) { variableCollectionUpsert(input: $i) }`,
			on("i", map[string]any{"projectId": w.Shop, "environmentId": w.Production, "serviceId": w.Web, "replace": true, "variables": on("A", "1")}),
			"destroyed Variable",
		},
		"a patch that deletes a volume": {
			patch, map[string]any{"e": w.Production, "p": in("volumes", w.ShopData, on("isDeleted", true))}, "destroyed VolumeInstanceBackup",
		},
		"a patch with null for the section": {
			patch, map[string]any{"e": w.Production, "p": on("volumes", nil)}, "destroyed VolumeInstance",
		},
		"a patch with null for a service": {
			patch, map[string]any{"e": w.Production, "p": in("services", w.Web, nil)}, "destroyed ServiceInstance",
		},
		"a patch with null for a variable": {
			patch, map[string]any{"e": w.Production, "p": in("services", w.Web, on("variables", on("STRIPE_KEY", nil)))}, "destroyed Variable",
		},
		"a patch with null for the doors": {
			patch, map[string]any{"e": w.Production, "p": in("services", w.Web, on("networking", nil))}, "destroyed CustomDomain",
		},
		"a patch that scales to zero": {
			patch, map[string]any{"e": w.Production, "p": in("services", w.Web, on("deploy", on("numReplicas", 0)))}, "stopped ServiceInstance.running",
		},
		"a patch that leaves no region": {
			patch, map[string]any{"e": w.Production, "p": in("services", w.Web, on("deploy", on("multiRegionConfig", on("us-west2", nil))))},
			"stopped ServiceInstance.running",
		},
		"a change set that names the volume": {
			`mutation($e: String!, $i: JSON!) { environmentApplyChangeSet(environmentId: $e, input: $i) { status } }`,
			map[string]any{"e": w.Production, "i": map[string]any{"version": 1, "changes": []any{map[string]any{"kind": "resource.delete", "address": "volume.shop-data"}}}},
			"destroyed VolumeInstanceBackup",
		},
		"a project that goes later": {
			`mutation($p: String!) { projectScheduleDelete(id: $p) }`, map[string]any{"p": w.Shop}, "destroyed Project.deleteAt",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := server.Clone()
			before := s.Snapshot()
			post(t, s, w.AccountToken, c.document, c.variables).into(t, &struct{}{})
			if found := kinds(railway.Compare(before, s.Snapshot())); found[c.loses] == 0 {
				t.Errorf("wanted %q among %v", c.loses, found)
			}
		})
	}
}

// A project scheduled to be deleted lives 48 hours, and cancelling saves it.
func TestAScheduledProjectGoesWhenItsGraceIsOver(t *testing.T) {
	c := newClock()
	s := railway.New(railway.Config{Now: c.Now, Schema: schema(t)})
	w := s.Seed()
	for _, id := range []string{w.Shop, w.Billing} {
		post(t, s, w.AccountToken, `mutation($id: String!) { projectScheduleDelete(id: $id) }`, map[string]any{"id": id}).into(t, &struct{}{})
	}
	c.Add(47 * time.Hour)
	post(t, s, w.AccountToken, `mutation($id: String!) { projectScheduleDeleteCancel(id: $id) }`, map[string]any{"id": w.Shop}).into(t, &struct{}{})
	c.Add(2 * time.Hour)
	left := s.Snapshot().Records
	if _, there := left[w.Billing]; there {
		t.Error("billing outlived its grace")
	}
	if _, there := left[w.ShopDataProduction]; !there {
		t.Error("shop was saved, and its data is gone")
	}
}
