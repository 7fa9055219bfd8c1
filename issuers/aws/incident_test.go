package aws_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/aws"
	"github.com/hourkey/hourkey/issuers/aws/actions"
)

// The second incident: an agent on a routine task ran `terraform destroy` on a live site. Network, service, database and
// snapshots went within minutes. These are the calls that Terraform's AWS provider makes to destroy such a site, in its
// order: first it unlocks what protects, then it deletes.
var destroy = []struct{ what, calls string }{
	{"the service", `ecs:UpdateService ecs:DeleteService ecs:DeregisterTaskDefinition ecs:StopTask ecs:DeleteCluster
		autoscaling:UpdateAutoScalingGroup autoscaling:SetDesiredCapacity autoscaling:DeleteAutoScalingGroup autoscaling:TerminateInstanceInAutoScalingGroup
		elasticloadbalancing:DeregisterTargets elasticloadbalancing:ModifyLoadBalancerAttributes elasticloadbalancing:DeleteListener
		elasticloadbalancing:DeleteTargetGroup elasticloadbalancing:DeleteLoadBalancer lambda:DeleteFunction lambda:PutFunctionConcurrency
		ec2:ModifyInstanceAttribute ec2:TerminateInstances ec2:StopInstances ec2:DeleteLaunchTemplate ecr:BatchDeleteImage ecr:DeleteRepository
		sqs:PurgeQueue sqs:DeleteQueue sns:DeleteTopic logs:DeleteLogGroup logs:DeleteLogStream logs:PutRetentionPolicy
		cloudfront:UpdateDistribution cloudfront:DeleteDistribution elasticloadbalancing:DeleteRule application-autoscaling:DeregisterScalableTarget
		servicediscovery:DeleteService eks:DeleteNodegroup eks:DeleteCluster ec2:DetachVolume ec2:DeleteKeyPair sns:Unsubscribe`},
	{"the database", `rds:ModifyDBInstance rds:DeleteDBInstance rds:DeleteDBInstanceAutomatedBackup rds:ModifyDBCluster rds:DeleteDBCluster
		rds:DeleteGlobalCluster rds:RemoveFromGlobalCluster rds:DeleteDBSubnetGroup rds:DeleteDBParameterGroup
		dynamodb:UpdateTable dynamodb:DeleteTable dynamodb:DeleteItem dynamodb:BatchWriteItem dynamodb:UpdateContinuousBackups dynamodb:UpdateTimeToLive
		rds:DeleteOptionGroup rds:DeleteDBClusterParameterGroup rds:StopDBInstance rds:DeleteDBProxy dynamodb:DeleteTableReplica
		elasticfilesystem:DeleteMountTarget elasticfilesystem:DeleteFileSystem
		elasticache:DeleteReplicationGroup elasticache:DeleteCacheCluster s3:DeleteObject s3:DeleteObjectVersion s3:DeleteBucket`},
	{"the snapshots and backups", `rds:DeleteDBSnapshot rds:DeleteDBClusterSnapshot rds:DeleteDBClusterAutomatedBackup rds:ModifyDBSnapshotAttribute
		ec2:DeleteSnapshot ec2:DeregisterImage ec2:DeleteVolume ec2:ModifySnapshotAttribute elasticache:DeleteSnapshot dynamodb:DeleteBackup
		backup:DeleteBackupSelection backup:DisassociateRecoveryPoint
		backup:DeleteRecoveryPoint backup:DeleteBackupVault backup:DeleteBackupPlan backup:UpdateRecoveryPointLifecycle
		backup:DeleteBackupVaultLockConfiguration s3:PutBucketVersioning s3:PutLifecycleConfiguration s3:BypassGovernanceRetention
		s3:PutReplicationConfiguration kms:ScheduleKeyDeletion kms:DisableKey`},
	{"the network", `ec2:DisassociateAddress ec2:ReleaseAddress ec2:DeleteNatGateway ec2:DisassociateRouteTable ec2:DeleteRoute ec2:DeleteRouteTable
		ec2:DetachInternetGateway ec2:DeleteInternetGateway ec2:DeleteVpcEndpoints ec2:RevokeSecurityGroupIngress ec2:RevokeSecurityGroupEgress
		ec2:DeleteSecurityGroup ec2:DetachNetworkInterface ec2:DeleteNetworkInterface ec2:DeleteNetworkAclEntry ec2:DeleteNetworkAcl
		ec2:DisassociateVpcCidrBlock ec2:ModifyVpcAttribute ec2:ModifySubnetAttribute ec2:DeleteEgressOnlyInternetGateway ec2:DeleteFlowLogs
		ec2:DeleteTransitGatewayVpcAttachment ec2:DetachVpnGateway ec2:DeleteVpnGateway ec2:DeleteVpnConnection ec2:UnassignPrivateIpAddresses
		ec2:DeleteSubnet ec2:DeleteVpcPeeringConnection ec2:DeleteDhcpOptions ec2:DeleteVpc route53:ChangeResourceRecordSets
		route53:DeleteHostedZone acm:DeleteCertificate`},
	{"what holds it together", `iam:DetachRolePolicy iam:DeleteRolePolicy iam:RemoveRoleFromInstanceProfile iam:DeleteInstanceProfile iam:DeleteRole
		iam:DeletePolicy secretsmanager:DeleteSecret ssm:DeleteParameter cloudwatch:DeleteAlarms events:RemoveTargets events:DeleteRule
		cloudformation:DeleteStack sts:AssumeRole iam:PassRole`},
}

// Each call of the destruction, under a write lease for that very site, is denied: the role behind it may do anything,
// and every resource's own policy gives everything to the session.
func TestSecondIncidentTerraformDestroyOfNetworkServiceDatabaseAndSnapshotsUnderAWriteLease(t *testing.T) {
	issuer := newCloud().issuer(t, func(s *aws.Settings) {
		s.Locks = []aws.Lock{
			{Object: "s3/acme-state/shop/terraform.tfstate.tflock", Why: "Terraform removes its own lock"},
			{Object: "dynamodb/tf-locks/acme-state/shop/terraform.tfstate", Why: "Terraform removes its own lock"},
		}
	})
	tried, state := 0, []string{"arn:aws:s3:::acme-state/shop/terraform.tfstate", "arn:aws:s3:::acme-state", "arn:aws:dynamodb:eu-central-1:111122223333:table/tf-locks"}
	others := now("dynamodb:LeadingKeys", "acme-state/bank/terraform.tfstate") // whose lock it would be
	for _, scope := range append([]string{"s3/acme-state/shop/*:read,write", "dynamodb/tf-locks:read,write"}, everyScope...) {
		policy := policyOf(t, issuer, later, scope)
		for _, part := range destroy {
			for action := range strings.FieldsSeq(part.calls) {
				if v := actions.Classify(action); v.Class&(broker.Read|broker.Write) != 0 || strings.HasPrefix(v.Why, "the reference has no") {
					t.Errorf("%s, of %s, is %s: %s", action, part.what, v.ClassName(), v.Why)
				}
				for _, resource := range slices.Concat(mine, foreign, state) {
					tried++
					if got := inSession(everything, policy, everything, call{action, resource, others}); got != explicit {
						t.Errorf("a lease for %s: %s, of %s, on %s is %s", scope, action, part.what, resource, got)
					}
				}
			}
		}
	}
	t.Logf("%d calls evaluated", tried)
}

// The same for what MinIO has of it: the site's objects, their versions, and what keeps them. Afterwards all is there.
func TestSecondIncidentTerraformDestroyOfBucketsAndVersionsAtARealServer(t *testing.T) {
	s := newSite(t)
	c := s.as(lease(t, s.issuer(t), "s3/"+s.bucket+"/*:read,write"))
	out, err := s.Root().ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &s.bucket})
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(what string, err error) {
		t.Helper()
		if err == nil || !refused(err) {
			t.Errorf("%s: %v; want it refused by the server", what, err)
		}
	}
	refuse("PutBucketVersioning", ignore(c.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: &s.bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended}})))
	refuse("PutLifecycleConfiguration", ignore(c.PutBucketLifecycleConfiguration(t.Context(), &s3.PutBucketLifecycleConfigurationInput{Bucket: &s.bucket, LifecycleConfiguration: &types.BucketLifecycleConfiguration{
		Rules: []types.LifecycleRule{{Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: ptr("")}, NoncurrentVersionExpiration: &types.NoncurrentVersionExpiration{NoncurrentDays: ptr(int32(1))}}},
	}})))
	for _, v := range out.Versions {
		refuse("DeleteObject "+*v.Key, ignore(c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &s.bucket, Key: v.Key})))
		refuse("DeleteObjectVersion "+*v.Key, ignore(c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &s.bucket, Key: v.Key, VersionId: v.VersionId})))
	}
	refuse("DeleteBucket", ignore(c.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: &s.bucket})))
	refuse("DeleteBucket by force", ignore(c.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: &s.bucket}, header("x-minio-force-delete", "true"))))
	if versions, markers := s.Versions(t, s.bucket, ""); versions != 3 || markers != 0 {
		t.Errorf("afterwards the bucket has %d versions and %d markers; want the 3 objects as they were", versions, markers)
	}
}
