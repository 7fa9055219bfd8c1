package actions

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
)

// The classes as a policy: what anybody would look up first, and the hard cases.
func TestClassesThatMatter(t *testing.T) {
	for class, list := range map[string]string{
		"read": `s3:GetObject s3:ListBucket s3:ListAllMyBuckets dynamodb:GetItem dynamodb:Query logs:FilterLogEvents ecr:BatchGetImage
			rds:DescribeDBInstances sqs:GetQueueAttributes secretsmanager:ListSecrets ec2:DescribeInstances iam:ListAccessKeys`,
		"write": `s3:PutObject dynamodb:PutItem dynamodb:UpdateItem sqs:SendMessage logs:PutLogEvents ecr:PutImage lambda:InvokeFunction
			ec2:CreateSnapshot rds:CreateDBSnapshot sns:Publish kinesis:PutRecord ec2:RunInstances`,
		"delete": `s3:DeleteObject s3:DeleteObjectVersion s3:PutLifecycleConfiguration s3:PutBucketVersioning s3:AbortMultipartUpload
			s3:PutObjectRetention dynamodb:BatchWriteItem dynamodb:UpdateTimeToLive dynamodb:PartiQLDelete sqs:ReceiveMessage sqs:PurgeQueue
			rds:ModifyDBInstance rds:DeleteDBSnapshot rds:DeleteDBInstanceAutomatedBackup ec2:TerminateInstances ec2:DeleteVpc ec2:DeleteSnapshot
			autoscaling:SetDesiredCapacity ecs:UpdateService logs:PutRetentionPolicy ecr:PutLifecyclePolicy backup:DeleteRecoveryPoint
			kms:ScheduleKeyDeletion cloudformation:DeleteStack athena:StartQueryExecution lambda:CreateEventSourceMapping s3:CreateJob
			route53:ChangeResourceRecordSets secretsmanager:DeleteSecret fis:StartExperiment sagemaker:PutRecord
			timestream:WriteRecords appsync:StartSchemaCreation lex:StartImport quicksight:StartAssetBundleImportJob translate:ImportTerminology`,
		"admin": `s3:PutBucketPolicy s3:PutObjectAcl s3:PutObjectTagging s3:BypassGovernanceRetention s3:DeleteBucketPolicy iam:PassRole
			iam:AttachRolePolicy iam:CreateUser secretsmanager:GetSecretValue ssm:GetParameter kms:Decrypt lambda:GetFunction
			lambda:UpdateFunctionConfiguration lambda:UpdateFunctionCode appsync:CreateResolver synthetics:UpdateCanary codedeploy:CreateDeployment
			ecs:DescribeTaskDefinition ecs:ExecuteCommand ssm:SendCommand ssm:StartSession rds-db:connect
			cloudtrail:StopLogging guardduty:DeleteDetector ec2:AuthorizeSecurityGroupIngress cloudformation:CreateStack
			logs:Unmask sqs:AddPermission sqs:SetQueueAttributes
			codebuild:StartBuild codebuild:StartBuildBatch codebuild:StartSandbox batch:SubmitJob batch:SubmitServiceJob ecs:RunTask ecs:StartTask
			elasticmapreduce:AddJobFlowSteps elasticmapreduce:RunJobFlow emr-containers:StartJobRun emr-serverless:StartJobRun glue:StartJobRun
			glue:CreateTrigger deadline:CreateJob amplify:CreateBranch sagemaker:CreateTrainingJob sagemaker:CreateProcessingJob states:TestState
			ec2:CreateLaunchTemplateVersion bedrock:StartFlowExecution iot:CreateJob omics:StartRun synthetics:StartCanaryDryRun
			chime:GetAttendee chime:ListAttendees chime:GetBot elasticbeanstalk:RetrieveEnvironmentInfo lambda:GetLayerVersion wickr:GetOidcInfo
			cognito-idp:DescribeUserImportJob connect:GetAttachedFile devicefarm:ListArtifacts dataexchange:GetJob emr-serverless:GetDashboardForJobRun
			firehose:DescribeDeliveryStream iotwireless:GetWirelessDevice directconnect:DescribeVirtualInterfaces eks:DescribeCluster
			ec2:DescribeVerifiedAccessTrustProviders kinesisvideo:GetIceServerConfig transcribe:GetTranscriptionJob translate:GetTerminology
			ses:GetArchiveMessage workdocs:GetDocumentVersion quicksight:DescribeAssetBundleExportJob codebuild:RetryBuild`,
		"refused": `sts:AssumeRole sts:GetFederationToken sts:GetSessionToken ecr:GetAuthorizationToken iam:CreateAccessKey
			redshift:GetClusterCredentials gamelift:CreateBuild s3:NoSuchThing nosuch:GetObject s3:* s3:Get* * s3 : s3: :GetObject`,
	} {
		for action := range strings.FieldsSeq(list) {
			if v := Classify(action); v.ClassName() != class || v.Why == "" {
				t.Errorf("%s is %s (%s); want %s", action, v.ClassName(), v.Why, class)
			}
		}
	}
}

// What adds something is write only if what was there stays, and nobody else has more of it. By the verb alone each of these adds.
func TestAnAdditionThatEndsReplacesOrSharesIsNoWrite(t *testing.T) {
	for class, list := range map[string]string{
		"delete": `ec2:CreateImage ec2:BundleInstance workspaces:CreateWorkspaceImage cloudformation:SignalResource cloudformation:RecordHandlerProgress
			ecs:SubmitTaskStateChange ecs:SubmitContainerStateChange states:SendTaskFailure states:SendTaskSuccess
			lambda:SendDurableExecutionCallbackFailure sagemaker:SendPipelineExecutionStepFailure swf:CompleteWorkflowExecution
			autoscaling:ResumeProcesses arc-zonal-shift:CreatePracticeRunConfiguration redshift:CreateUsageLimit deadline:CreateBudget
			appconfig:StartDeployment amplify:StartDeployment codepipeline:StartPipelineExecution eks:CreateAddon cloudfront:CreateInvalidation
			codeartifact:CopyPackageVersions forecast:CreateDatasetImportJob personalize:CreateDatasetImportJob iotsitewise:CreateBulkImportJob
			finspace:CreateKxChangeset glue:CreateCrawler glue:StartCrawler iot:Publish ses:CreateImportJob appflow:StartFlow timestream:CreateBatchLoadTask`,
		"admin": `oam:CreateLink cleanrooms:CreateCollaboration imagebuilder:DistributeImage events:CreatePartnerEventSource logs:CreateLogDelivery
			backup:StartCopyJob backup:CopyIntoBackupVault dynamodb:ExportTableToPointInTime rds:StartExportTask ec2:ExportImage ec2:CreateStoreImageTask
			vpc-lattice:CreateServiceNetworkVpcAssociation route53:CreateHostedZone elasticloadbalancing:CreateListener ses:VerifyEmailAddress
			chatbot:CreateSlackChannelConfiguration sqs:CreateQueue sns:CreateTopic quicksight:CreateDashboard waf:CreateRegexPatternSet
			wafv2:CreateRegexPatternSet cloudfront:PublishFunction`,
		"write": `ec2:CreateSnapshot ec2:RunInstances ec2:CreateVolume rds:CreateDBSnapshot dynamodb:CreateTable dynamodb:CreateBackup s3:CreateBucket
			states:SendTaskHeartbeat states:StartExecution lambda:PublishVersion sqs:SendMessage sns:Publish backup:StartBackupJob`,
	} {
		for action := range strings.FieldsSeq(list) {
			if v := Classify(action); v.ClassName() != class {
				t.Errorf("%s is %s (%s); want %s", action, v.ClassName(), v.Why, class)
			}
		}
	}
	// Whole families, by a word of their names: a new action of one is looked at before it passes for a write.
	judged := strings.Fields(`sagemaker:AddAssociation aidevops:ValidateAwsAssociations resiliencehub:StartFailureModeAssessment
		bedrock:CreateCustomModelDeployment sagemaker:CreateEdgeDeploymentPlan sagemaker:CreateEdgeDeploymentStage appconfig:CreateDeploymentStrategy codedeploy:CreateDeploymentConfig
		rds:CreateBlueGreenDeployment`)
	for action := range All() {
		_, name, _ := strings.Cut(action, ":")
		for _, word := range []string{"Association", "Failure", "StateChange", "Invalidation", "Deployment", "Listener", "ToPointInTime", "Collaboration"} {
			if strings.Contains(name, word) && Classify(action).Class == broker.Write && !slices.Contains(judged, action) {
				t.Errorf("%s is write, and its name has %s", action, word)
			}
		}
	}
}

// IAM reads names without regard to case, so another spelling must not be another action.
func TestAnotherSpellingIsTheSameAction(t *testing.T) {
	for _, action := range []string{"S3:deleteobject", "s3:DELETEOBJECT", "Dynamodb:batchwriteITEM"} {
		if v := Classify(action); v.Class != broker.Delete || v.Action == action {
			t.Errorf("%s is %+v; want delete, as the reference writes it", action, v)
		}
	}
}

func TestEveryActionHasAClassAndAReason(t *testing.T) {
	count := map[string]int{}
	for action := range All() {
		v := Classify(action)
		count[v.ClassName()]++
		if v.Action != action || v.Why == "" || strings.Contains(v.Why, "nobody has judged") {
			t.Errorf("%s is %s: %q", action, v.ClassName(), v.Why)
		}
	}
	total := 0
	for _, n := range count {
		total += n
	}
	t.Logf("%d actions: %v", total, count)
	if total != 21190 {
		t.Errorf("%d actions; the reference has 21190", total)
	}
}

var known struct {
	reviews map[string]review
	levels  map[string]string
}

func reviewedOnce(t *testing.T) map[string]review {
	t.Helper()
	if known.reviews == nil {
		list, err := readReviews(reviews)
		if err != nil {
			t.Fatal(err)
		}
		known.reviews = map[string]review{}
		for _, r := range list {
			if _, twice := known.reviews[r.action]; twice {
				t.Errorf("%s is reviewed twice", r.action)
			}
			known.reviews[r.action] = r
		}
	}
	return known.reviews
}

func levelsOnce(t *testing.T) map[string]string {
	t.Helper()
	if known.levels == nil {
		known.levels = map[string]string{}
		for f := range facts(table) {
			known.levels[f.String()] = f.level
		}
	}
	return known.levels
}

// A review says what the rule does not. One that is of no action, or says the same, is taken out.
func TestEachReviewIsNeeded(t *testing.T) {
	for action, r := range reviewedOnce(t) {
		level, exists := levelsOnce(t)[action]
		if !exists {
			t.Errorf("%s is reviewed, and there is no such action", action)
			continue
		}
		service, name, _ := strings.Cut(action, ":")
		if class, _ := derive(fact{service, name, level}); class == r.class && class != 0 {
			t.Errorf("%s is reviewed as %s, which the rule says already", action, class)
		}
	}
}

// destroying and empowering are words that no read or write may bear, unless it is named below with its reason. They are
// an independent witness: not the rule's lists.
const (
	destroying = `Delete Remove Terminate Destroy Purge Erase Wipe Drop Truncate Detach Disassociate Deregister Disable Stop Cancel Revoke Reset
		Reboot Restart Restore Rollback Replace Release Evict Expire Expiration Lifecycle Retention Failover Deactivate Suspend Archive Abort
		Unsubscribe Overwrite Flush Kill Shutdown Shut Empty Clear Discard Decrease Deprovision Withdraw Reject`
	empowering = `Policy Policies Permission Permissions Role Roles Grant Grants Password Secret Secrets Credential Credentials Token Tokens
		Login Assume Pass Impersonate Presigned Presign Federation Saml Admin Authorize Invite Share Accept Attach Principal Delegate Mfa
		User Users Key Keys Session Console Command Account Member Members Public Trust`
)

// No action that the rule or a review lets pass for reading or writing destroys or gives power.
func TestNoActionOfReadOrWriteDestroysOrGivesPower(t *testing.T) {
	ends, gives := strings.Fields(destroying), strings.Fields(empowering)
	for action := range All() {
		v := Classify(action)
		level := levelsOnce(t)[action]
		_, name, _ := strings.Cut(action, ":")
		parts := capitalised(name)
		switch v.Class {
		case broker.Read:
			if (level == "P" || level == "T" || level == "W") && !v.Reviewed {
				t.Errorf("%s is read, and AWS counts it as %s", action, level)
			}
			if slices.Contains(ends, parts[0]) || slices.Contains(gives, parts[0]) {
				t.Errorf("%s is read: %s", action, v.Why)
			}
			if handsOut(parts) && !v.Reviewed {
				t.Errorf("%s is read, and by its name hands out a secret", action)
			}
		case broker.Write:
			if level != "W" && !v.Reviewed {
				t.Errorf("%s is write, and AWS counts it as %s", action, level)
			}
			if at := slices.IndexFunc(parts, func(p string) bool { return slices.Contains(ends, p) || slices.Contains(gives, p) }); at >= 0 {
				t.Errorf("%s is write, and says %s", action, parts[at])
			}
			if replaces := []string{"Update", "Put", "Modify", "Set", "Change"}; slices.Contains(replaces, parts[0]) && !v.Reviewed {
				t.Errorf("%s is write, and replaces what is there", action)
			}
		default: // refused, or a human is asked
		}
	}
}

// handsOut tells whether what is got is a secret, and not a list or description of secrets.
func handsOut(parts []string) bool {
	last := parts[len(parts)-1]
	return (parts[0] == "Get" || parts[0] == "Retrieve") && slices.Contains([]string{"Password", "Credentials", "Token", "Secret", "SecretValue", "AuthCode"}, last)
}

// capitalised splits a name at each capital letter; runs of capitals stay together. Simpler than the rule's own, on purpose.
func capitalised(name string) []string {
	var parts []string
	for at, c := range name {
		if at == 0 || (c >= 'A' && c <= 'Z' && (name[at-1] < 'A' || name[at-1] > 'Z')) {
			parts = append(parts, "")
		}
		parts[len(parts)-1] += string(c)
	}
	return parts
}

// The table is a fact only as long as it is what the reference says.
func TestTheTableIsWhatTheReferenceSays(t *testing.T) {
	name, _ := Source()
	source, err := os.ReadFile(filepath.Join(descriptions(t), name))
	if os.IsNotExist(err) {
		t.Log("the reference is not here: the table is compared only where HOURKEY_PROVIDER_APIS names its folder")
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	made, err := Extract(source)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(made, []byte(table)) {
		t.Error("the table is not what the reference gives: run go generate")
	}
	n := 0
	for line := range strings.Lines(string(source)) {
		if n++; n == 1 {
			continue
		}
		field := strings.Split(line, "\t")
		if level := levelsOnce(t)[field[0]+":"+field[1]]; level != levels[field[2]] {
			t.Errorf("%s:%s is %q in the table; the reference says %s", field[0], field[1], level, field[2])
		}
	}
}

// descriptions finds the folder of the published descriptions: named, or beside the repository.
func descriptions(t *testing.T) string {
	t.Helper()
	if folder := os.Getenv("HOURKEY_PROVIDER_APIS"); folder != "" {
		return folder
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for dir := here; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(filepath.Dir(dir), "shared", "provider-apis")
		}
	}
	return ""
}

// What cannot be read is an error, never an empty table: one without actions would have nothing to forbid.
func TestExtractRefusesWhatIsNoList(t *testing.T) {
	for _, source := range []string{
		"", "service\taction\n", "a\tb\tc\n", "service\taction\taccess_level\ns3\tGetObject\n", "service\taction\taccess_level\ns3\tGetObject\tPeek\n",
	} {
		if made, err := Extract([]byte(source)); err == nil {
			t.Errorf("%q made the table %q", source, made)
		}
	}
	for _, text := range []string{"read\n\ts3:GetObject\n", "peek: it looks\n\ts3:GetObject\n"} {
		if list, err := readReviews(text); err == nil {
			t.Errorf("%q made the reviews %v", text, list)
		}
	}
}

func TestWords(t *testing.T) {
	for name, want := range map[string]string{
		"GetObject": "get object", "GetHLSStreamingSessionURL": "get hls streaming session url", "CreateDBInstance": "create db instance",
		"ListSecretVersionIds": "list secret version ids", "PutBucketACLs": "put bucket acls", "document": "document", "GET": "get",
		"CreateOAuth2Token": "create o auth2 token", "ESHttpGet": "es http get",
	} {
		if got := strings.Join(words(name), " "); got != want {
			t.Errorf("%s is %q; want %q", name, got, want)
		}
	}
}

func BenchmarkClassify(b *testing.B) {
	for b.Loop() {
		Classify("xray:UpdateTraceSegmentDestination")
	}
}
