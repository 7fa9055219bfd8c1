package supabase

import (
	"strings"
	"testing"

	"github.com/hourkey/hourkey/issuers/gateway/judge"
)

// witness reads the class out of Supabase's own words for what an operation needs. They know nothing of us:
// …_read, …_write, …_create, …_delete, …admin_write, and OAuth scopes like database:write.
func witness(permissions []string) judge.Class {
	class := judge.Read
	for _, permission := range permissions {
		says := judge.Read
		switch {
		case strings.HasSuffix(permission, "admin_write"):
			says = judge.Admin
		case strings.HasSuffix(permission, "_delete"):
			says = judge.Delete
		case strings.HasSuffix(permission, "write"), strings.HasSuffix(permission, "_create"):
			says = judge.Write
		}
		class = judge.Worse(class, says)
	}
	return class
}

// Why the pack and the witness differ. Supabase has one word, write, for what we tell apart as write,
// delete and admin; and reading a key is a read to it.
const (
	destroys     = "Supabase has no word for destroying here, write covers it"
	givesPower   = "Supabase has no word for giving power here, write covers it"
	handsOut     = "reading is all that it does, but what it hands out is power"
	pastUs       = "the answer is a token that works past the gateway, so it never passes"
	letsIn       = "to Supabase it asks whether somebody may come in; but who asks comes in by it"
	costs        = "it decides what is paid for, which Supabase calls write"
	runsSQL      = "Supabase lets whoever may write the database run anything in it"
	adminOfOne   = "Supabase asks for its administrator; to us it destroys, and gives no power"
	startsAgain  = "Supabase asks for its administrator to start what was paused; it gives no power and destroys nothing"
	comparesOnly = "Supabase asks for what the branch's merge would need; it changes nothing"
	asksOnly     = "it asks whether a name is free, and takes none"
)

// differences are the operations whose class is not what the witness says. Everything else agrees.
func differences() map[string]struct {
	witness, ours judge.Class
	why           string
} {
	type d = struct {
		witness, ours judge.Class
		why           string
	}
	return map[string]d{
		"GET /v1/branches/{branch_id_or_ref}":                               {judge.Read, judge.Admin, handsOut},
		"GET /v1/branches/{branch_id_or_ref}/diff":                          {judge.Write, judge.Read, comparesOnly},
		"POST /v1/branches/{branch_id_or_ref}/merge":                        {judge.Write, judge.Delete, destroys},
		"POST /v1/branches/{branch_id_or_ref}/reset":                        {judge.Write, judge.Delete, destroys},
		"GET /v1/oauth/authorize":                                           {judge.Read, judge.Admin, handsOut},
		"POST /v1/oauth/revoke":                                             {judge.Write, judge.Admin, givesPower},
		"POST /v1/oauth/token":                                              {judge.Write, judge.Refused, pastUs},
		"DELETE /v1/projects/{ref}":                                         {judge.Admin, judge.Delete, adminOfOne},
		"GET /v1/projects/{ref}/api-keys":                                   {judge.Read, judge.Admin, handsOut},
		"POST /v1/projects/{ref}/api-keys":                                  {judge.Write, judge.Admin, givesPower},
		"PUT /v1/projects/{ref}/api-keys/legacy":                            {judge.Write, judge.Admin, givesPower},
		"DELETE /v1/projects/{ref}/api-keys/{id}":                           {judge.Write, judge.Admin, givesPower},
		"GET /v1/projects/{ref}/api-keys/{id}":                              {judge.Read, judge.Admin, handsOut},
		"PATCH /v1/projects/{ref}/api-keys/{id}":                            {judge.Write, judge.Admin, givesPower},
		"PATCH /v1/projects/{ref}/billing/addons":                           {judge.Write, judge.Admin, costs},
		"DELETE /v1/projects/{ref}/billing/addons/{addon_variant}":          {judge.Write, judge.Admin, costs},
		"DELETE /v1/projects/{ref}/cli/login-role":                          {judge.Write, judge.Admin, givesPower},
		"POST /v1/projects/{ref}/cli/login-role":                            {judge.Write, judge.Admin, givesPower},
		"GET /v1/projects/{ref}/config/auth":                                {judge.Read, judge.Admin, handsOut},
		"POST /v1/projects/{ref}/config/auth/signing-keys":                  {judge.Write, judge.Admin, givesPower},
		"POST /v1/projects/{ref}/config/auth/signing-keys/legacy":           {judge.Write, judge.Admin, givesPower},
		"DELETE /v1/projects/{ref}/config/auth/signing-keys/{id}":           {judge.Write, judge.Admin, givesPower},
		"PATCH /v1/projects/{ref}/config/auth/signing-keys/{id}":            {judge.Write, judge.Admin, givesPower},
		"POST /v1/projects/{ref}/config/auth/sso/providers":                 {judge.Write, judge.Admin, givesPower},
		"DELETE /v1/projects/{ref}/config/auth/sso/providers/{provider_id}": {judge.Write, judge.Admin, givesPower},
		"PUT /v1/projects/{ref}/config/auth/sso/providers/{provider_id}":    {judge.Write, judge.Admin, givesPower},
		"POST /v1/projects/{ref}/config/auth/third-party-auth":              {judge.Write, judge.Admin, givesPower},
		"DELETE /v1/projects/{ref}/config/auth/third-party-auth/{tpa_id}":   {judge.Write, judge.Admin, givesPower},
		"PUT /v1/projects/{ref}/config/database/postgres":                   {judge.Write, judge.Delete, destroys},
		"POST /v1/projects/{ref}/config/disk":                               {judge.Write, judge.Admin, costs},
		"POST /v1/projects/{ref}/config/realtime/shutdown":                  {judge.Write, judge.Delete, destroys},
		"DELETE /v1/projects/{ref}/custom-hostname":                         {judge.Write, judge.Delete, destroys},
		"POST /v1/projects/{ref}/database/backups/restore":                  {judge.Write, judge.Delete, destroys},
		"POST /v1/projects/{ref}/database/backups/restore-pitr":             {judge.Write, judge.Delete, destroys},
		"PATCH /v1/projects/{ref}/database/backups/schedule":                {judge.Write, judge.Delete, destroys},
		"POST /v1/projects/{ref}/database/backups/undo":                     {judge.Write, judge.Delete, destroys},
		"POST /v1/projects/{ref}/database/jit":                              {judge.Read, judge.Admin, letsIn},
		"PUT /v1/projects/{ref}/database/jit":                               {judge.Write, judge.Admin, givesPower},
		"DELETE /v1/projects/{ref}/database/jit/{user_id}":                  {judge.Write, judge.Admin, givesPower},
		"DELETE /v1/projects/{ref}/database/migrations":                     {judge.Write, judge.Delete, destroys},
		"POST /v1/projects/{ref}/database/migrations":                       {judge.Write, judge.Admin, runsSQL},
		"PUT /v1/projects/{ref}/database/migrations":                        {judge.Write, judge.Admin, runsSQL},
		"PATCH /v1/projects/{ref}/database/migrations/{version}":            {judge.Write, judge.Admin, runsSQL},
		"PATCH /v1/projects/{ref}/database/password":                        {judge.Write, judge.Admin, givesPower},
		"POST /v1/projects/{ref}/database/query":                            {judge.Write, judge.Admin, runsSQL},
		"DELETE /v1/projects/{ref}/functions/{function_slug}":               {judge.Write, judge.Delete, destroys},
		"DELETE /v1/projects/{ref}/network-bans":                            {judge.Write, judge.Delete, destroys},
		"PATCH /v1/projects/{ref}/network-restrictions":                     {judge.Write, judge.Admin, givesPower},
		"POST /v1/projects/{ref}/network-restrictions/apply":                {judge.Write, judge.Admin, givesPower},
		"POST /v1/projects/{ref}/pause":                                     {judge.Admin, judge.Delete, adminOfOne},
		"POST /v1/projects/{ref}/read-replicas/remove":                      {judge.Write, judge.Delete, destroys},
		"POST /v1/projects/{ref}/readonly/temporary-disable":                {judge.Write, judge.Delete, destroys},
		"POST /v1/projects/{ref}/restore":                                   {judge.Admin, judge.Write, startsAgain},
		"POST /v1/projects/{ref}/restore/cancel":                            {judge.Admin, judge.Delete, adminOfOne},
		"DELETE /v1/projects/{ref}/secrets":                                 {judge.Write, judge.Admin, givesPower},
		"POST /v1/projects/{ref}/secrets":                                   {judge.Write, judge.Admin, givesPower},
		"PUT /v1/projects/{ref}/ssl-enforcement":                            {judge.Write, judge.Delete, destroys},
		"POST /v1/projects/{ref}/upgrade":                                   {judge.Admin, judge.Delete, adminOfOne},
		"DELETE /v1/projects/{ref}/vanity-subdomain":                        {judge.Write, judge.Delete, destroys},
		"POST /v1/projects/{ref}/vanity-subdomain/check-availability":       {judge.Write, judge.Read, asksOnly},
	}
}

// The independent witness: for each of the 164 operations our class is what Supabase's own permissions say,
// or the difference is explained above.
func TestSupabasesPermissionsSayTheSameOrTheDifferenceIsExplained(t *testing.T) {
	explained := differences()
	agree := 0
	for _, operation := range operations(t) {
		name, says, ours := operation.Method+" "+operation.Path, witness(operation.Permissions), ask(t, operation).Class
		difference, known := explained[name]
		delete(explained, name)
		switch {
		case says == ours && !known:
			agree++
		case says == ours:
			t.Errorf("%s: both say %s, there is nothing to explain", name, ours)
		case !known:
			t.Errorf("%s: Supabase's %v say %s, the pack says %s, and nobody says why", name, operation.Permissions, says, ours)
		case difference.witness != says || difference.ours != ours || difference.why == "":
			t.Errorf("%s: explained is %s against %s, found %s against %s", name, difference.witness, difference.ours, says, ours)
		}
	}
	for name := range explained {
		t.Errorf("Supabase publishes no %s", name)
	}
	t.Logf("%d operations agree, %d differences are explained", agree, len(differences()))
}

// Where we are milder than the witness, it is one of these few, each named with its reason.
func TestWhereThePackIsMilderThanTheWitness(t *testing.T) {
	milder := 0
	for name, d := range differences() {
		if judge.Worse(d.witness, d.ours) == d.ours {
			continue
		}
		milder++
		switch d.why {
		case adminOfOne, startsAgain, comparesOnly, asksOnly:
		default:
			t.Errorf("%s is milder than the witness: %s", name, d.why)
		}
	}
	t.Logf("milder than the witness: %d", milder)
}
