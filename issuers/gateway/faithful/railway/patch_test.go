package railway_test

import (
	"testing"

	"github.com/hourkey/hourkey/issuers/gateway/faithful/railway"
)

const (
	stage  = `mutation($e: String!, $p: EnvironmentConfig!, $m: Boolean) { environmentStageChanges(environmentId: $e, input: $p, merge: $m) { id status } }`
	commit = `mutation($e: String!) { environmentPatchCommitStaged(environmentId: $e) }`
)

// Staging changes nothing yet; the commit names no volume, and takes it.
func TestACommitOfStagedChangesDeletesWhatItDoesNotName(t *testing.T) {
	s, w := seeded(t)
	deletion := map[string]any{"volumes": map[string]any{w.ShopData: map[string]any{"isDeleted": true}}}
	before := s.Snapshot()
	post(t, s, w.AccountToken, stage, map[string]any{"e": w.Production, "p": deletion}).into(t, &struct{}{})
	staged := s.Snapshot()
	if found := kinds(railway.Compare(before, staged)); len(found) != 1 || found["created EnvironmentPatch"] != 1 {
		t.Errorf("staging did %v", found)
	}
	post(t, s, w.AccountToken, commit, map[string]any{"e": w.Production}).into(t, &struct{}{})
	effects := railway.Compare(staged, s.Snapshot())
	found := kinds(effects)
	if found["destroyed VolumeInstance"] != 1 || found["destroyed VolumeInstanceBackup"] != 3 {
		t.Errorf("the commit did %v", found)
	}
	for _, e := range effects {
		if e.What == "VolumeInstance" && e.Environments[0] != w.Production {
			t.Errorf("it happened in %v", e.Environments)
		}
	}
	if _, there := s.Data(w.ShopDataStaging); !there {
		t.Error("staging's data went with a patch of production")
	}
	if a := post(t, s, w.AccountToken, commit, map[string]any{"e": w.Production}); len(a.Errors) == 0 || a.Errors[0].Message != "No patch to apply" {
		t.Errorf("committing again answered %s", a.Raw)
	}
}

// Staging without merge drops what somebody else had staged; with merge both are committed.
func TestStagingReplacesOrMergesWhatWaits(t *testing.T) {
	for _, merge := range []bool{false, true} {
		s, w := seeded(t)
		for _, name := range []string{"FIRST", "SECOND"} {
			patch := map[string]any{"sharedVariables": map[string]any{name: map[string]any{"value": "of " + name}}}
			post(t, s, w.AccountToken, stage, map[string]any{"e": w.Staging, "p": patch, "m": merge}).into(t, &struct{}{})
		}
		post(t, s, w.AccountToken, commit, map[string]any{"e": w.Staging}).into(t, &struct{}{})
		var data struct{ Variables map[string]string }
		post(t, s, w.AccountToken, `query($p: String!, $e: String!) { variables(projectId: $p, environmentId: $e) }`,
			map[string]any{"p": w.Shop, "e": w.Staging}).into(t, &data)
		if (data.Variables["FIRST"] != "") != merge || data.Variables["SECOND"] == "" {
			t.Errorf("merge %v left %v", merge, data.Variables)
		}
	}
}

// environmentId left out, null and given are three different things.
func TestAbsentNullAndGivenEnvironmentsDiffer(t *testing.T) {
	for name, c := range map[string]struct {
		input map[string]any
		want  int
	}{
		"absent": {map[string]any{}, 2},
		"null":   {map[string]any{"environmentId": nil}, 0},
		"given":  {map[string]any{"environmentId": "staging"}, 1},
	} {
		s, w := seeded(t)
		c.input["projectId"], c.input["mountPath"] = w.Shop, "/x"
		if c.input["environmentId"] == "staging" {
			c.input["environmentId"] = w.Staging
		}
		before := s.Snapshot()
		post(t, s, w.AccountToken, `mutation($i: VolumeCreateInput!) { volumeCreate(input: $i) { id } }`, map[string]any{"i": c.input}).into(t, &struct{}{})
		if found := kinds(railway.Compare(before, s.Snapshot())); found["created VolumeInstance"] != c.want {
			t.Errorf("%s made %v", name, found)
		}
	}
}

// What an environment that is no fork is told reaches every environment that is none; a fork is alone.
func TestAServiceIsUpdatedInEveryEnvironmentThatIsNoFork(t *testing.T) {
	s, w := seeded(t)
	fork := s.AddFork(w.Production, "pr-7")
	update := `mutation($e: String, $s: String!) { serviceInstanceUpdate(environmentId: $e, serviceId: $s, input: {startCommand: "false"}) }`
	for environment, want := range map[string]int{w.Staging: 2, fork: 1} {
		twin := s.Clone()
		before := twin.Snapshot()
		post(t, twin, w.AccountToken, update, map[string]any{"e": environment, "s": w.Web}).into(t, &struct{}{})
		if found := kinds(railway.Compare(before, twin.Snapshot())); found["changed ServiceInstance.startCommand"] != want {
			t.Errorf("%s: %v, wanted %d", environment, found, want)
		}
	}
	before := s.Snapshot()
	post(t, s, w.AccountToken, `mutation($e: String, $s: String!) { serviceDelete(environmentId: $e, id: $s) }`, map[string]any{"e": fork, "s": w.Web}).into(t, &struct{}{})
	if found := kinds(railway.Compare(before, s.Snapshot())); found["destroyed ServiceInstance"] != 1 || found["destroyed Service"] != 0 {
		t.Errorf("deleting in a fork did %v", found)
	}
}

// A plan made against an environment that changed since is refused; what it names by name is found.
func TestAChangeSetHoldsToItsBase(t *testing.T) {
	s, w := seeded(t)
	apply := `mutation($e: String!, $i: JSON!, $b: String) { environmentApplyChangeSet(environmentId: $e, input: $i, baseConfigEtag: $b) { status } }`
	change := map[string]any{"version": 1, "changes": []any{map[string]any{"kind": "variable.delete", "address": "service.web", "variable": "STRIPE_KEY"}}}
	if a := post(t, s, w.AccountToken, apply, map[string]any{"e": w.Staging, "i": change, "b": "old"}); len(a.Errors) == 0 {
		t.Errorf("a stale base was taken: %s", a.Raw)
	}
	before := s.Snapshot()
	post(t, s, w.AccountToken, apply, map[string]any{"e": w.Staging, "i": change}).into(t, &struct{}{})
	if found := kinds(railway.Compare(before, s.Snapshot())); found["destroyed Variable"] != 1 {
		t.Errorf("it did %v", found)
	}
}
