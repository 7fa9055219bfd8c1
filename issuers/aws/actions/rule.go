package actions

import (
	"cmp"
	"fmt"

	"github.com/hourkey/hourkey/broker"
)

// The rule. An action's class follows from AWS's own access level, from its verb, and from the words of its name, in
// this order, and an action that nothing here speaks of is refused. What the rule gets wrong stands in reviewed.txt.

// looking are the verbs that only look. Others at AWS's levels Read and List are refused until they are reviewed:
// some start, send, or open something.
var looking = setOf("get list describe batch search query select scan lookup count view check validate is calculate estimate preview",
	"retrieve evaluate detect compare infer discover verify resolve simulate test read analyze")

// secret are the words of what gives power to who reads it.
var secret = setOf("secret password passcode credential token presigned presign signed bearer login federation decrypt decrypted",
	"authcode unmask otp pin auth oauth saml url embed jwt cookie kubeconfig unlock plaintext")

// power are the words of what gives power to who changes it: who may do what, as whom, from where, who pays, who watches.
var power = setOf("user role policy policie permission grant key token credential password secret login auth oauth oauth2 authentication authorization",
	"authorizer identity identitie identitypool federation saml oidc idp sso certificate ca session presigned presign url account admin administrator",
	"member membership organization organizational principal trust trusted invitation share sharing shared access delegated delegation delegate",
	"peering public publicly private proxy tunnel console shell command ssh rdp audit auditing trail detector firewall acl webacl rule rules",
	"securitygroup billing payment purchase reserved reservation savings subscription license credit agreement handshake impersonation",
	"assume pass passwordless mfa group groups directory domain connection connector credentials signing signer encryption kms cmk",
	"resourcepolicy accessor privilege entitlement sudo guardrail safety compliance control controls block root owner ownership consent",
	"app application client integration webhook destination endpoint gateway route routing peer vpn attachment")

// guarding are the words of what keeps others out: to take one away gives power.
var guarding = setOf("policy policie permission permissions grant block guardrail rule acl webacl firewall boundary control controls authorization",
	"authorizer lock hold protection mfa trail detector audit encryption restriction condition deny")

// losing are the words of what can go with a change that does not say so.
var losing = setOf("delete deletion remove removal terminate termination purge destroy cleanup expire expiration expiry lifecycle retention",
	"restore recovery recover rollback revert replace replacement overwrite update modify cancel cancellation stop disable failover failback",
	"switchover eviction evict drain move migrate migration reset reboot restart shutdown hibernate release detach disassociate unassign revoke",
	"reject deregister downgrade truncate archive swap override force clear empty ttl wipe erase schedule scheduled maintenance cutover upgrade",
	"replication replicate sync synchronize merge transfer promote refresh patch decommission deprovision suspend pause backtrack abort")

// powerful are the services that are wholly about who may do what, who pays, or who watches.
var powerful = setOf("iam sts sso sso-directory sso-oauth identitystore identitystore-auth identity-sync ds ds-data organizations ram signin rolesanywhere",
	"kms payment-cryptography secretsmanager acm acm-pca pca-connector-ad pca-connector-scep cloudhsm cognito-idp cognito-identity",
	"verifiedpermissions verified-access access-analyzer lakeformation mpa account billing billingconductor payments tax aws-portal",
	"invoicing purchase-orders consolidatedbilling savingsplans budgets aws-marketplace aws-marketplace-management license-manager",
	"license-manager-user-subscriptions license-manager-linux-subscriptions user-subscriptions guardduty inspector inspector2 macie2 securityhub",
	"detective securitylake auditmanager cloudtrail config fms network-firewall shield controltower artifact ssm-guiconnect ssmmessages",
	"ec2messages ec2-instance-connect codeconnections codestar-connections cloudshell eks-auth rds-db redshift-data rds-data agentaccess-mcp",
	"application-transformation datazonecontrol trustedadvisor wickr partnercentral iq backup-storage drs mgn")

// watching are those of them that watch: to end or change a part of one blinds somebody.
var watching = setOf("cloudtrail config guardduty securityhub securitylake detective macie2 inspector inspector2 auditmanager access-analyzer fms shield")

// ending are the verbs that take something away, end or interrupt it.
var ending = setOf("delete remove terminate stop cancel disassociate dissociate deregister disable detach reject restore deactivate purge revoke",
	"reboot restart release abort archive replace rollback pause suspend disconnect unsubscribe unlink unassign deprovision deprecate withdraw decline",
	"close failover promote merge move transfer evict flush clear discard dispose drop expire exclude leave undeploy unpublish wipe end forget",
	"unauthorize deauthorize unregister unshare ungroup unpeer unmonitor unlabel unload interrupt invalidate rebuild swap switchover decrease hide",
	"expunge shutdown redact return downgrade continue skip fail dismiss finalize lock unlock global inject exit enter recall reverse backtrack un")

// changing are the verbs that put something else in a thing's place, or change how it is kept. IAM does not see what.
var changing = setOf("update put modify set change configure alter override edit apply upgrade migrate rename split resize rebalance reload refresh",
	"patch write convert mark toggle transition reorder resolve rotate reset amend reschedule")

// giving are the verbs that give power, or take it up, whatever they are about.
var giving = setOf("assume pass authorize allow grant share invite accept approve attach associate connect enable activate link join enroll confirm",
	"open access call execute admin purchase redeem renew subscribe opt sign issue claim manage federate impersonate use unarchive register",
	"rdp login authenticate exchange initialize setup provision allocate assign advertise poll acknowledge respond invoke stream peer bypass",
	"tag untag client db api dashboards sso decrypt encrypt re derive git parti es commit begin make account driver agentaccess")

// adding are the verbs that bring something new, or run what is there.
var adding = setOf("create start send publish submit copy initiate upload post request notify retry resume log add import generate complete run",
	"build train translate recognize converse predict clone duplicate record report ingest index prepare save schedule signal export verify",
	"validate resend backup bundle rerank insert rate provide test increase deploy launch distribute")

// derive classes an action by the rule.
func derive(f fact) (class broker.Actions, why string) {
	parts := words(f.name)
	verb := parts[0]
	if verb == "batch" && len(parts) > 1 {
		verb = parts[1]
	}
	switch f.level {
	case "P":
		return broker.Admin, "AWS counts it as permissions management"
	case "T":
		return broker.Admin, "policies and lifecycle rules go by tags"
	case "R", "L":
		return deriveLooking(verb, parts)
	}
	return deriveWriting(f.service, verb, parts)
}

func deriveLooking(verb string, parts []string) (broker.Actions, string) {
	if !looking.has(verb) {
		return 0, fmt.Sprintf("AWS calls it reading, and nobody has judged the verb %s", verb)
	}
	if word := secret.first(parts[1:]); word != "" {
		return broker.Admin, fmt.Sprintf("by its name it may hand out a secret (%s)", word)
	}
	return broker.Read, "it only looks"
}

func deriveWriting(service, verb string, parts []string) (broker.Actions, string) {
	rest := parts[1:]
	switch {
	case watching.has(service):
		return broker.Admin, fmt.Sprintf("%s watches, and whoever changes it can blind it", service)
	case ending.has(verb) && guarding.first(rest) != "":
		return broker.Admin, fmt.Sprintf("it changes or takes away what keeps others out (%s)", guarding.first(rest))
	case ending.has(verb):
		return broker.Delete, fmt.Sprintf("the verb %s takes something away, ends or interrupts it", verb)
	case powerful.has(service):
		return broker.Admin, fmt.Sprintf("all that changes something at %s is about power", service)
	case changing.has(verb) && losing.first(rest) != "":
		return broker.Delete, fmt.Sprintf("it changes how long, or whether, something is kept (%s)", losing.first(rest))
	case changing.has(verb) && (power.first(rest) != "" || guarding.first(rest) != ""):
		return broker.Admin, fmt.Sprintf("it changes who may do what (%s)", cmp.Or(power.first(rest), guarding.first(rest)))
	case changing.has(verb):
		return broker.Delete, fmt.Sprintf("the verb %s puts something else in a thing's place, or changes how it is kept", verb)
	case giving.has(verb):
		return broker.Admin, fmt.Sprintf("the verb %s gives power or takes it up", verb)
	case !adding.has(verb):
		return 0, fmt.Sprintf("nobody has judged the verb %s", verb)
	case power.first(rest) != "":
		return broker.Admin, fmt.Sprintf("it makes or changes who may do what (%s)", power.first(rest))
	case losing.first(rest) != "":
		return broker.Delete, fmt.Sprintf("something can be lost with it (%s)", losing.first(rest))
	}
	return broker.Write, fmt.Sprintf("the verb %s adds something, or runs what is there", verb)
}
