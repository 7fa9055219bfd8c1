package railway

import (
	"cmp"
	"encoding/json"
	"slices"
)

// Effect is one thing that really happened between two snapshots.
//
// Its kinds, from harmless to not:
//
//	created    there is something new
//	changed    something is set to another value
//	cleared    a value that was set is gone
//	stopped    a service that ran runs no more; nothing is lost
//	destroyed  something, or the bytes in it, is gone, or has a date on which it will be
//	weakened   less can be got back: a schedule, a retention, point-in-time recovery; or a guard is off
//	governed   what a workspace may spend, must obey, or is paid by, is set
//	granted    somebody can do more than before: a token, a member, an invitation, a key, another owner
//	revealed   an answer carried a secret that its reader had not sent
type Effect struct {
	Kind         string
	What         string   // the kind of the record, and the field where one field tells it: VolumeInstance.data
	ID           string   // of the record
	Name         string   // of the record
	Environments []string // ids, sorted: where it lived before or lives now
	Project      string   // id
	Workspace    string   // id
}

// powers are the kinds of records that let somebody do something: a new or changed one is a grant.
func powers() []string {
	return []string{
		"ApiToken", "ProjectToken", "ShellToken", "Session", "LoginSession", "ProjectMember", "ProjectInvitation", "InviteCode",
		"WorkspaceMember", "WorkspaceInvite", "TrustedDomain", "SshPublicKey", "Passkey", "TwoFactorInfo", "RecoveryCodes",
		"OwnershipTransfer", "ProviderAuth", "BucketCredentials",
	}
}

// governors are the kinds of records that rule over a workspace or an account.
func governors() []string {
	return []string{"UsageLimit", "WorkspacePolicy", "WorkspacePolicyDeploySourceAllowlist", "Customer", "EmailChange"}
}

// guards are the kinds of records whose end leaves something less safe.
func guards() []string {
	return []string{"VolumeInstanceBackupSchedule", "UsageLimit", "Passkey", "TwoFactorInfo", "WorkspacePolicyDeploySourceAllowlist"}
}

// fieldRules say what a change of one field means, where it is more than a change.
func fieldRules() map[string]func(before, after string) string {
	always := func(kind string) func(string, string) string { return func(string, string) string { return kind } }
	when := func(after, kind string) func(string, string) string {
		return func(_, now string) string {
			if now == after {
				return kind
			}
			return "changed"
		}
	}
	return map[string]func(before, after string) string{
		"VolumeInstance.data":            lost,
		"Container.data":                 lost,
		"EdgeConfig.edgeRules":           elementsLost,
		"ObservabilityDashboard.items":   elementsLost,
		"Signal.rules":                   elementsLost,
		"VolumeInstanceBackup.expiresAt": sooner,
		"ServiceInstance.pitr":           when("false", "weakened"),
		"ServiceInstance.running":        when("false", "stopped"),
		"Project.deleteAt":               scheduled,
		"Project.isPublic":               when("true", "granted"),
		"Project.workspaceId":            always("granted"),
		"Workspace.has2FAEnforcement":    when("false", "weakened"),
		"User.email":                     always("governed"),
		"RecoveryCodes.recoveryCodes":    fewer,
	}
}

// lost says that bytes are gone, unless there were none.
func lost(before, _ string) string {
	if before == "" || before == `""` {
		return "changed"
	}
	return "destroyed"
}

func sooner(before, after string) string {
	if before == "" || after != "" && after < before {
		return "weakened"
	}
	return "changed"
}

func scheduled(_, after string) string {
	if after != "" {
		return "destroyed"
	}
	return "changed"
}

// elementsLost looks whether elements with an id that were in a list are in it no more.
func elementsLost(before, after string) string {
	left := ids(after)
	for _, id := range ids(before) {
		if !slices.Contains(left, id) {
			return "destroyed"
		}
	}
	return "changed"
}

// fewer tells using a recovery code up from making new ones.
func fewer(before, after string) string {
	if len(after) < len(before) {
		return "weakened"
	}
	return "granted"
}

func ids(list string) []string {
	var all []struct {
		ID string `json:"id"`
	}
	if json.Unmarshal([]byte(list), &all) != nil {
		return nil
	}
	var found []string
	for _, element := range all {
		found = append(found, element.ID)
	}
	return found
}

// Compare lists what happened between two snapshots of one server, sorted.
func Compare(before, after Snapshot) []Effect {
	var all []Effect
	for id, now := range after.Records {
		then, there := before.Records[id]
		if !there {
			all = append(all, effectOn(appeared(now.Kind), now.Kind, now))
			continue
		}
		all = append(all, changesOf(then, now)...)
	}
	for id, then := range before.Records {
		if _, still := after.Records[id]; !still {
			all = append(all, vanished(then)...)
		}
	}
	for text, times := range after.Served {
		if times > before.Served[text] {
			all = append(all, revealed(text, before, after))
		}
	}
	slices.SortFunc(all, func(a, b Effect) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.What, b.What), cmp.Compare(a.ID, b.ID))
	})
	return all
}

func effectOn(kind, what string, r Record) Effect {
	return Effect{Kind: kind, What: what, ID: r.ID, Name: r.Name, Environments: r.Environments, Project: r.Project, Workspace: r.Workspace}
}

func appeared(kind string) string {
	switch {
	case slices.Contains(powers(), kind):
		return "granted"
	case slices.Contains(governors(), kind):
		return "governed"
	default:
		return "created"
	}
}

func vanished(then Record) []Effect {
	kind := "destroyed"
	if slices.Contains(guards(), then.Kind) {
		kind = "weakened"
	}
	return []Effect{effectOn(kind, then.Kind, then)}
}

// changesOf lists the fields of a record that changed, each with what that means.
func changesOf(then, now Record) []Effect {
	reach := slices.Concat(then.Environments, now.Environments)
	slices.Sort(reach)
	now.Environments = slices.Compact(reach)
	var all []Effect
	for field := range union(then.Fields, now.Fields) {
		before, after := then.Fields[field], now.Fields[field]
		if before == after {
			continue
		}
		kind := "changed"
		switch rule := fieldRules()[then.Kind+"."+field]; {
		case rule != nil:
			kind = rule(before, after)
		case slices.Contains(powers(), then.Kind):
			kind = "granted"
		case slices.Contains(governors(), then.Kind):
			kind = "governed"
		case after == "" || after == `""`:
			kind = "cleared"
		}
		all = append(all, effectOn(kind, then.Kind+"."+field, now))
	}
	return all
}

func union(a, b map[string]string) map[string]bool {
	all := map[string]bool{}
	for name := range a {
		all[name] = true
	}
	for name := range b {
		all[name] = true
	}
	return all
}

// revealed tells where a secret that was served comes from.
func revealed(text string, before, after Snapshot) Effect {
	r, found := after.Records[after.Origin[text]]
	if !found {
		r = before.Records[after.Origin[text]]
	}
	return effectOn("revealed", firstText(r.Kind, "secret"), r)
}
