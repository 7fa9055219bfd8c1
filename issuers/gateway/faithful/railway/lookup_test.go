package railway_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// The look-ups by which a gateway finds out where an id lives: there is none by the id of a volume, a domain's
// needs its project, and the rest say their environment themselves.
func TestWhereAnIDLivesCanBeLookedUp(t *testing.T) {
	s, w := furnished(t)
	one := func(kind string) string { return s.IDs(kind)[0] }
	in := `projectId: "` + w.Shop + `", environmentId: "` + w.Production + `", serviceId: "` + w.Web + `"`
	at := `environmentId: "` + w.Production + `", serviceId: "` + w.Postgres + `"`
	for document, contains := range map[string][]string{
		`{ project(id: "` + w.Shop + `") { volumes { edges { node { id name volumeInstances { edges { node { id environmentId environment { name } serviceId mountPath state currentSizeMB isPendingDeletion } } } } } } } }`: {w.ShopData, w.ShopDataProduction, w.ShopDataStaging, w.RenderCache, `"currentSizeMB":4096`, `"name":"staging"`},
		`{ volumeInstance(id: "` + w.ShopDataStaging + `") { environmentId volumeId service { id projectId } volume { projectId } } }`:                                                                                        {w.Staging, w.ShopData, w.Shop, w.Postgres},
		`{ volumeInstanceBackupList(volumeInstanceId: "` + w.ShopDataProduction + `") { id name createdAt usedMB } }`:                                                                                                         w.ShopDataBackups,
		`{ volumeInstanceBackupScheduleList(volumeInstanceId: "` + w.ShopDataProduction + `") { kind } }`:                                                                                                                     {"DAILY", "WEEKLY"},
		`{ service(id: "` + w.Web + `") { projectId serviceInstances { edges { node { environmentId } } } } }`:                                                                                                                {w.Production, w.Staging, w.Shop},
		`{ deployment(id: "` + one("Deployment") + `") { projectId environmentId serviceId } }`:                                                                                                                               {w.Shop, w.Production, w.Web},
		`{ environment(id: "` + w.Staging + `") { projectId name isEphemeral configEtag serviceInstances { edges { node { id serviceId } } } } }`:                                                                             {w.Shop, `"name":"staging"`, w.Web, w.Postgres},
		`{ plugin(id: "` + one("Plugin") + `") { project { id } containers { edges { node { environmentId } } } } }`:                                                                                                          {w.Shop, w.Production},
		`{ customDomain(id: "` + one("CustomDomain") + `", projectId: "` + w.Shop + `") { environmentId serviceId } }`:                                                                                                        {w.Production, w.Web},
		`{ domains(` + in + `) { serviceDomains { id } customDomains { id } } }`:                                                                                                                                              {one("ServiceDomain"), one("CustomDomain")},
		`{ tcpProxies(` + at + `) { id environmentId } }`:                                                                                                                                                                     {one("TCPProxy"), w.Production},
		`{ deploymentTriggers(` + in + `) { edges { node { id environmentId } } } }`:                                                                                                                                          {one("DeploymentTrigger"), w.Production},
		`{ privateNetworks(environmentId: "` + w.Production + `") { publicId environmentId } }`:                                                                                                                               {one("PrivateNetwork")},
		`{ privateNetworkEndpoint(` + at + `, privateNetworkId: "` + one("PrivateNetwork") + `") { publicId serviceInstanceId } }`:                                                                                            {s.Instance(w.Postgres, w.Production)},
		`{ project(id: "` + w.Shop + `") { buckets { edges { node { id projectId } } } } }`:                                                                                                                                   {one("Bucket")},
		`{ environment(id: "` + w.Production + `") { volumeInstances { edges { node { id } } } deploymentTriggers { edges { node { id } } } } }`:                                                                              {w.ShopDataProduction, one("DeploymentTrigger")},
		`{ myCloudAgents { id environmentId } }`:                                                               {one("CloudAgent"), w.Production},
		`{ sandboxes(environmentId: "` + w.Production + `") { edges { node { id environmentId } } } }`:         {one("Sandbox"), w.Production},
		`{ integrations(projectId: "` + w.Shop + `") { edges { node { id projectId } } } }`:                    {one("Integration")},
		`{ observabilityDashboards(environmentId: "` + w.Production + `") { edges { node { id } } } }`:         {one("ObservabilityDashboard")},
		`{ notificationRules(workspaceId: "` + w.Workspace + `", projectId: "` + w.Shop + `") { id } }`:        {one("NotificationRule")},
		`{ projectTokens(projectId: "` + w.Shop + `") { edges { node { id name environmentId } } } }`:          {one("ProjectToken"), w.Production, w.Staging},
		`{ projects { edges { node { id name environments { edges { node { id name } } } } } } }`:              {w.Shop, w.Billing, w.Staging, w.BillingProduction},
		`{ egressGateways(environmentId: "` + w.Production + `", serviceId: "` + w.Web + `") { ipv4 } }`:       {"192.0.2."},
		`{ environmentPatches(environmentId: "` + w.Production + `") { edges { node { id status } } } }`:       {"STAGED"},
		`{ environmentStagedChanges(environmentId: "` + w.Production + `") { id environment { projectId } } }`: {w.Shop},
	} {
		a := post(t, s, w.AccountToken, document, nil)
		var data json.RawMessage
		a.into(t, &data)
		for _, text := range contains {
			if !strings.Contains(a.Raw, text) {
				t.Errorf("%s\nlacks %s: %s", document, text, a.Raw)
			}
		}
	}
	if a := post(t, s, w.AccountToken, `{ adminVolumeInstancesForVolume(volumeId: "`+w.ShopData+`") { id } }`, nil); len(a.Errors) == 0 {
		t.Error("what is the staff's is served to a customer")
	}
}
