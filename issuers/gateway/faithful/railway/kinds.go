package railway

// owners says to what the records of each kind belong: when one of these is gone, they are gone. A field that
// only points elsewhere (a volume's service) is not named here.
func owners() map[string][]string {
	return map[string][]string{
		"Project":     {"workspaceId"},
		"Environment": {"projectId"},
		"Group":       {"projectId"},

		"Service":                     {"projectId"},
		"ServiceInstance":             {"serviceId", "environmentId"},
		"Deployment":                  {"serviceId", "environmentId"},
		"DeploymentSnapshot":          {"deploymentId"},
		"DeploymentInstanceExecution": {"deploymentId"},
		"DeploymentTrigger":           {"serviceId", "environmentId"},
		"Variable":                    {"serviceId", "environmentId", "pluginId"},
		"CustomDomain":                {"serviceId", "environmentId"},
		"ServiceDomain":               {"serviceId", "environmentId"},
		"TCPProxy":                    {"serviceId", "environmentId"},
		"EgressGateway":               {"serviceId", "environmentId"},
		"EdgeConfig":                  {"serviceId", "environmentId"},
		"PitrHaWorkflowProgress":      {"rootServiceId", "environmentId"},

		"Volume":                       {"projectId"},
		"VolumeInstance":               {"volumeId", "environmentId"},
		"VolumeInstanceBackup":         {"volumeInstanceId"},
		"VolumeInstanceBackupSchedule": {"volumeInstanceId"},

		"Bucket":            {"projectId"},
		"BucketInstance":    {"bucketId", "environmentId"},
		"BucketCredentials": {"bucketInstanceId"},
		"Plugin":            {"projectId"},
		"Container":         {"pluginId", "environmentId"},

		"EnvironmentPatch":       {"environmentId"},
		"ChangeSetApplyResult":   {"environmentId"},
		"PrivateNetwork":         {"environmentId"},
		"PrivateNetworkEndpoint": {"privateNetworkId", "serviceInstanceId"},
		"ObservabilityDashboard": {"environmentId"},
		"Sandbox":                {"environmentId"},
		"SandboxCheckpoint":      {"environmentId"},
		"CloudAgent":             {"environmentId"},
		"ShellToken":             {"environmentId"},

		"Integration":       {"projectId"},
		"IntegrationAuth":   {"userId"},
		"ProjectToken":      {"projectId", "environmentId"},
		"ProjectMember":     {"projectId"},
		"ProjectInvitation": {"projectId"},
		"InviteCode":        {"projectId"},
		"OwnershipTransfer": {"projectId"},

		"WorkspaceMember":                      {"workspaceId", "userId"},
		"WorkspaceInvite":                      {"workspaceId"},
		"WorkspacePolicy":                      {"workspaceId"},
		"WorkspacePolicyDeploySourceAllowlist": {"workspaceId"},
		"ApiToken":                             {"workspaceId", "userId"},
		"TrustedDomain":                        {"workspaceId"},
		"NotificationRule":                     {"workspaceId", "projectId"},
		"NotificationChannel":                  {"notificationRuleId"},
		"BotScopeBindingInfo":                  {"workspaceId"},
		"RailwayDomain":                        {"workspaceId"},
		"RailwayDomainDnsRecord":               {"railwayDomainId"},
		"Template":                             {"workspaceId"},
		"AuditLog":                             {"workspaceId"},
		"Customer":                             {"workspaceId"},
		"UsageLimit":                           {"workspaceId"},
		"ReferralInfo":                         {"workspaceId"},
		"Signal":                               {"workspaceId"},
		"SignalChange":                         {"signalId"},
		"SshPublicKey":                         {"workspaceId", "userId"},

		"Session":              {"userId"},
		"LoginSession":         {"userId"},
		"Passkey":              {"userId"},
		"ProviderAuth":         {"userId"},
		"TwoFactorInfo":        {"userId"},
		"RecoveryCodes":        {"userId"},
		"Preferences":          {"userId"},
		"EmailChange":          {"userId"},
		"NotificationDelivery": {"userId"},
		"Telemetry":            {"userId"},
	}
}

// spreads names, for what a project has in several environments at once, the kind of its part in one
// environment, and the field in which that part names it.
func spreads() map[string][2]string {
	return map[string][2]string{
		"Volume":  {"VolumeInstance", "volumeId"},
		"Service": {"ServiceInstance", "serviceId"},
		"Bucket":  {"BucketInstance", "bucketId"},
		"Plugin":  {"Container", "pluginId"},
	}
}

// references says which kind of record an argument or an input field names by its id.
func references() map[string]string {
	return map[string]string{
		"projectId": "Project", "demoProjectId": "Project",
		"environmentId": "Environment", "sourceEnvironmentId": "Environment", "targetEnvironmentId": "Environment",
		"baseEnvironmentId": "Environment", "baseEnvironmentOverrideId": "Environment",
		"serviceId": "Service", "rootServiceId": "Service", "existingRootServiceId": "Service", "serviceIds": "Service",
		"enabledServiceIds": "Service", "disabledServiceIds": "Service", "wipeServiceIds": "Service", "replicaServiceIds": "Service",
		"workspaceId": "Workspace", "teamId": "Workspace", "destinationWorkspaceId": "Workspace",
		"volumeId": "Volume", "volumeInstanceId": "VolumeInstance", "volumeInstanceBackupId": "VolumeInstanceBackup",
		"deploymentId": "Deployment", "serviceInstanceId": "ServiceInstance", "instanceId": "ServiceInstance",
		"serviceDomainId": "ServiceDomain", "pluginId": "Plugin", "bucketId": "Bucket",
		"privateNetworkId": "PrivateNetwork", "sandboxId": "Sandbox", "sourceSandboxId": "Sandbox", "cloudAgentId": "CloudAgent",
		"customerId": "Customer", "templateId": "Template", "userId": "User", "memberId": "User",
		"ownershipTransferId": "OwnershipTransfer", "deliveryIds": "NotificationDelivery", "groupId": "Group",
		"integrationAuthId": "IntegrationAuth",
	}
}
