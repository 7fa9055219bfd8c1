package railway

import "time"

// World is what Seed made. All are ids, save the tokens, which are secrets.
type World struct {
	User, Colleague string
	Workspace       string
	Elsewhere       string // another workspace of User, with nothing in it

	AccountToken    string // Authorization: Bearer; all that User has
	WorkspaceToken  string // Authorization: Bearer; Workspace
	ProductionToken string // Project-Access-Token; Production
	StagingToken    string // Project-Access-Token; Staging

	Shop       string // the project
	Production string // its environments
	Staging    string
	Web        string // its services, in both environments
	Postgres   string

	ShopData           string // the volume on Postgres, with an instance in each environment
	ShopDataProduction string // its instances
	ShopDataStaging    string
	ShopDataBackups    []string // of the instance in Production
	RenderCache        string   // a volume with one instance, in Staging, attached to nothing
	RenderCacheStaging string

	Billing           string // another project, with one environment and one service
	BillingProduction string
	BillingAPI        string
}

// Seed makes the world of the drill: a shop whose database volume lives in production and in staging under one
// id, with the backups on it; a cache that is only in staging; and another project.
func (s *Server) Seed() World {
	w := World{User: s.AddUser("ada"), Colleague: s.AddUser("grace")}
	w.Workspace = s.AddWorkspace("acme", w.User)
	w.Elsewhere = s.AddWorkspace("ada's own", w.User)
	s.Add("WorkspaceMember", Fields{"workspaceId": w.Workspace, "userId": w.Colleague, "role": "MEMBER"})
	s.seedShop(&w)
	s.seedBilling(&w)
	w.AccountToken = s.AddAccountToken(w.User, "domains cli")
	w.WorkspaceToken = s.AddWorkspaceToken(w.Workspace, "ci")
	w.ProductionToken = s.AddProjectToken(w.Shop, w.Production, "deploy production")
	w.StagingToken = s.AddProjectToken(w.Shop, w.Staging, "deploy staging")
	return w
}

func (s *Server) seedShop(w *World) {
	const day = 24 * time.Hour
	w.Shop = s.AddProject(w.Workspace, "shop")
	w.Production = s.AddEnvironment(w.Shop, "production")
	w.Staging = s.AddEnvironment(w.Shop, "staging")
	w.Web = s.AddService(w.Shop, "web", "ghcr.io/acme/shop:1.4", w.Production, w.Staging)
	w.Postgres = s.AddService(w.Shop, "postgres", "postgres:17", w.Production, w.Staging)

	w.ShopData = s.AddVolume(w.Shop, "shop-data", "/var/lib/postgresql/data", w.Postgres, 4096, w.Production, w.Staging)
	w.ShopDataProduction = s.Instance(w.ShopData, w.Production)
	w.ShopDataStaging = s.Instance(w.ShopData, w.Staging)
	for _, b := range []struct {
		name string
		age  time.Duration
	}{{"Weekly", 7 * day}, {"Daily", 2 * day}, {"before migration", day}} {
		w.ShopDataBackups = append(w.ShopDataBackups, s.AddBackup(w.ShopDataProduction, b.name, b.age))
	}
	s.AddBackup(w.ShopDataStaging, "Daily", day)
	w.RenderCache = s.AddVolume(w.Shop, "render-cache", "/cache", "", 512, w.Staging)
	w.RenderCacheStaging = s.Instance(w.RenderCache, w.Staging)

	for _, e := range []string{w.Production, w.Staging} {
		s.seedVariables(e, w.Web, w.Postgres)
		s.seedDoors(w.Shop, e, w.Web, w.Postgres)
	}
	for _, kind := range []string{"DAILY", "WEEKLY"} {
		builder(s, func(c *call) bool {
			c.addSchedule(c.st.get("VolumeInstance", w.ShopDataProduction), kind)
			return true
		})
	}
}

func (s *Server) seedVariables(environment, web, postgres string) {
	set := func(service, name, what string) {
		s.SetVariable(environment, service, name, builder(s, func(c *call) string { return string(c.s.secret(what)) }))
	}
	set("", "SENTRY_DSN", "sentry-dsn")
	set(postgres, "POSTGRES_PASSWORD", "postgres-password")
	set(web, "SESSION_KEY", "session-key")
	set(web, "STRIPE_KEY", "stripe-key")
	s.SetVariable(environment, web, "DATABASE_URL", "postgres://shop:${{postgres.POSTGRES_PASSWORD}}@postgres.railway.internal/shop")
}

func (s *Server) seedDoors(project, environment, web, postgres string) {
	builder(s, func(c *call) bool {
		name := c.st.get("Environment", environment).text("name")
		of := func(service string) *record { return c.st.both("ServiceInstance", service, environment)[0] }
		c.addDoor("ServiceDomain", of(web), "web-"+name+".up.railway.app", 8080)
		c.addDoor("CustomDomain", of(web), name+".shop.example.com", 8080)
		c.addDoor("TCPProxy", of(postgres), "5432", nil)
		c.addTrigger(of(web), "acme/shop", "main")
		n := c.add("PrivateNetwork", Fields{"projectId": project, "environmentId": environment, "name": "railway", "dnsName": "railway.internal", "networkId": 1, "tags": []any{}})
		for _, service := range []string{web, postgres} {
			c.add("PrivateNetworkEndpoint", Fields{
				"privateNetworkId": n.id, "serviceInstanceId": of(service).id, "dnsName": of(service).text("serviceName"), "syncStatus": "ACTIVE",
			})
		}
		return true
	})
}

func (s *Server) seedBilling(w *World) {
	w.Billing = s.AddProject(w.Workspace, "billing")
	w.BillingProduction = s.AddEnvironment(w.Billing, "production")
	w.BillingAPI = s.AddService(w.Billing, "api", "ghcr.io/acme/billing:7", w.BillingProduction)
	s.AddVolume(w.Billing, "invoices", "/data", w.BillingAPI, 900, w.BillingProduction)
	key := builder(s, func(c *call) string { return string(c.s.secret("billing-key")) })
	s.SetVariable(w.BillingProduction, w.BillingAPI, "LEDGER_KEY", key)
}

// Furnish adds to a seeded world one thing of every other kind, in each environment of the shop where it
// belongs to one, so that every operation has something to be done to.
func (s *Server) Furnish(w World) {
	builder(s, func(c *call) bool {
		for _, environment := range []string{w.Production, w.Staging} {
			c.furnishEnvironment(w, environment)
		}
		c.furnishProject(w)
		c.furnishWorkspace(w)
		c.furnishUser(w)
		return true
	})
}

func (c *call) furnishEnvironment(w World, environment string) {
	e := c.st.get("Environment", environment)
	web := c.st.both("ServiceInstance", w.Web, environment)[0]
	waiting := c.deploy(web, nil)
	c.set(waiting, Fields{"status": "NEEDS_APPROVAL"})
	c.deploy(web, nil)
	c.addEgress(web, "", "")
	c.add("EdgeConfig", Fields{
		"serviceId": w.Web, "environmentId": environment, "enabled": true, "purgeEpoch": 1,
		"edgeRules": []any{map[string]any{"id": "rul_" + c.s.uuid()[:8], "expression": "true", "action": "block"}},
	})
	c.add("ObservabilityDashboard", Fields{"environmentId": environment, "items": c.dashboardDefault()})
	c.add("Sandbox", Fields{
		"environmentId": environment, "status": "RUNNING", "region": "us-west2", "networkIsolation": "ISOLATED", "disk": "",
		"variables": map[string]any{"KEY": c.s.secret("sandbox-key")},
	})
	c.add("SandboxCheckpoint", Fields{"environmentId": environment, "name": "base"})
	c.add("CloudAgent", Fields{"environmentId": environment, "projectId": w.Shop, "userId": w.User, "status": "RUNNING", "name": "helper"})
	c.stage(e, map[string]any{"services": map[string]any{w.Web: map[string]any{
		"variables": map[string]any{"STAGED_KEY": map[string]any{"value": string(c.s.secret("staged-key"))}},
	}}}, false)
	c.set(c.st.both("ServiceInstance", w.Postgres, environment)[0], Fields{"pitr": true})
	c.progress(c.st.both("ServiceInstance", w.Postgres, environment)[0], "ENABLE")
}

func (c *call) furnishProject(w World) {
	bucket := c.add("Bucket", Fields{"projectId": w.Shop, "name": "uploads"})
	plugin := c.add("Plugin", Fields{"projectId": w.Shop, "name": "redis", "friendlyName": "queue", "status": "RUNNING"})
	for _, environment := range []string{w.Production, w.Staging} {
		e := c.st.get("Environment", environment)
		c.addBucketInstance(bucket, e, "")
		c.addContainer(plugin, e, "the jobs of "+e.text("name"))
	}
	group := c.add("Group", Fields{"projectId": w.Shop, "name": "cluster"})
	c.set(c.st.get("Service", w.Web), Fields{"groupId": group.id})
	for _, i := range c.st.where("ServiceInstance", "serviceId", w.Web) {
		c.set(i, Fields{"upstreamUrl": "https://github.com/railwayapp-templates/shop"})
	}
	for _, id := range w.ShopDataBackups[1:] {
		c.set(c.st.get("VolumeInstanceBackup", id), Fields{"expiresAt": c.now.Add(6 * 24 * time.Hour)})
	}
	c.add("Integration", Fields{"projectId": w.Shop, "name": "doppler", "config": map[string]any{"token": c.s.secret("integration")}})
	c.add("OwnershipTransfer", Fields{"projectId": w.Shop, "memberId": w.Colleague})
	c.add("InviteCode", Fields{"projectId": w.Shop, "role": "MEMBER", "code": c.s.secret("invite-code")})
	c.invite(w.Shop, "linus@example.com", "MEMBER")
	c.addMember(w.Shop, w.User, "ADMIN")
	c.addMember(w.Shop, w.Colleague, "MEMBER")
}

func (c *call) furnishWorkspace(w World) {
	rule := c.add("NotificationRule", Fields{"workspaceId": w.Workspace, "projectId": w.Shop, "eventTypes": []any{"Deployment.crashed"}, "severities": []any{"CRITICAL"}})
	c.setChannels(rule, args{"channelConfigs": []any{map[string]any{"type": "webhook", "webhookUrl": "https://hooks.example.com/" + string(c.s.secret("webhook"))}}})
	domain := c.add("RailwayDomain", Fields{
		"workspaceId": w.Workspace, "domain": "acme-shop.com", "status": "ACTIVE", "autoRenewEnabled": false,
		"nameservers": map[string]any{"isDefault": true, "nameservers": []any{}},
	})
	c.addDNSRecord(domain, args{"answer": "192.0.2.1", "host": "www", "type": "A"})
	c.add("Template", Fields{"workspaceId": w.Workspace, "code": "acme-pg", "name": "acme postgres", "status": "PUBLISHED"})
	c.add("TrustedDomain", Fields{"workspaceId": w.Workspace, "domainName": "acme.example.com", "role": "MEMBER", "status": "VERIFIED", "verificationType": "DNS"})
	c.add("WorkspacePolicy", Fields{"workspaceId": w.Workspace, "restrictDeploysToAllowedSources": true})
	c.add("WorkspacePolicyDeploySourceAllowlist", Fields{"workspaceId": w.Workspace, "sourceId": "1", "sourceName": "acme", "sourceType": "GITHUB_ORG"})
	c.add("WorkspaceInvite", Fields{"workspaceId": w.Workspace, "role": "MEMBER", "code": c.s.secret("workspace-invite")})
	c.add("BotScopeBindingInfo", Fields{"workspaceId": w.Workspace, "platform": "slack", "scopeId": "T1", "scopeType": "team", "canRemove": true})
	c.set(c.limitOf(w.Workspace), Fields{"softLimit": 50, "hardLimit": 100})
	signal := c.add("Signal", Fields{
		"workspaceId": w.Workspace, "owner": w.Workspace, "name": "checkout-v2", "type": "bool", "default": false, "version": 1, "writableBy": []any{},
		"rules": []any{map[string]any{"id": "beta", "expression": map[string]any{}, "value": true}},
	})
	c.changeSignal(signal, "default_changed", Fields{"default": true})
}

func (c *call) furnishUser(w World) {
	c.add("Session", Fields{"userId": w.User, "name": "browser", "type": "BROWSER", "token": c.s.secret("session"), "expiredAt": c.now.Add(time.Hour)})
	c.add("Passkey", Fields{"userId": w.User, "deviceName": "laptop", "credentialId": "cred", "backedUp": true, "deviceType": "multiDevice"})
	c.add("ProviderAuth", Fields{"userId": w.User, "provider": "github", "email": "ada@example.com", "isAuthEnabled": true})
	c.add("IntegrationAuth", Fields{"userId": w.User, "provider": "vercel", "providerId": "v1"})
	c.add("TwoFactorInfo", Fields{"userId": w.User, "isVerified": true, "hasRecoveryCodes": true, "secret": c.s.secret("totp")})
	c.recoveryCodes(c.st.get("User", w.User))
	c.set(c.st.get("User", w.User), Fields{"flags": []any{"BETA"}, "discord": "ada#1"})
	c.add("SshPublicKey", Fields{"userId": w.User, "name": "laptop", "publicKey": "ssh-ed25519 AAAA", "fingerprint": "SHA256:faithful"})
	c.add("LoginSession", Fields{"code": c.s.secret("login-code")})
	c.add("EmailChange", Fields{"userId": w.User, "email": "ada@new.example.com", "nonce": c.s.secret("email-nonce")})
	c.add("NotificationDelivery", Fields{"userId": w.User, "status": "SENT", "type": "INAPP"})
}
