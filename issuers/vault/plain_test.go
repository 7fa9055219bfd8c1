package vault_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/aws/actions"
	"github.com/hourkey/hourkey/issuers/vault"
)

// What roles of AWS and Kubernetes give is described whatever was asked, and never milder than Hourkey's own issuers take it for.

const worst = broker.Read | broker.Write | broker.Delete | broker.Admin

func allow(patterns ...string) string {
	return fmt.Sprintf(`{"Statement":[{"Effect":"Allow","Action":["%s"],"Resource":"*"}]}`, strings.Join(patterns, `","`))
}

func TestWhatIsPlainToSeeAtAWS(t *testing.T) {
	const everything = "read,write,delete,admin"
	for document, want := range map[string]string{
		"":                                     "",
		allow("s3:GetObject"):                  "read",
		allow("s3:GetObject", "s3:ListBuck*"):  "read",
		allow("s3:PutObject"):                  "write",
		allow("s3:GetObject", "s3:PutObject"):  "read,write",
		allow("s3:DeleteObject"):               "delete",
		allow("S3:DELETEobject"):               "delete",
		allow("s3:*etObject"):                  "read",
		allow("s3:*Object"):                    everything,
		allow("s3:Put*"):                       "write,delete,admin",
		allow("s3:*"):                          everything,
		allow("*"):                             everything,
		allow(" s3:GetObject"):                 everything,
		allow("s3:NoSuchThing"):                everything,
		allow(""):                              everything,
		allow("s3:PutBucketPolicy"):            "admin",
		allow("s3:PutObjectAcl"):               "admin",
		allow("s3:PutBucketVersioning"):        "delete",
		allow("s3:PutLifecycleConfiguration"):  "delete",
		allow("iam:PassRole"):                  "admin",
		allow("iam:CreateUser"):                "admin",
		allow("secretsmanager:GetSecretValue"): "admin",
		allow("ssm:GetParameter"):              "admin",
		allow("kms:DescribeKey"):               "read",
		allow("sts:AssumeRole"):                everything,
		allow("sts:GetFederationToken"):        everything,
		allow("ecr:GetAuthorizationToken"):     everything,
		// What was taken for writing, or for reading, by the sound of its verb.
		allow("dynamodb:BatchWriteItem"):    "delete",
		allow("dynamodb:PutItem"):           "write,delete", // an item that expires at once, where the table has a time to live
		allow("DynamoDB:updateitem"):        "write,delete",
		allow("dynamodb:UpdateIte?"):        "write,delete",
		allow("dynamodb:GetItem"):           "read",
		allow("lambda:UpdateFunctionCode"):  "admin", // the new code runs as the function's role
		allow("synthetics:UpdateCanary"):    "admin",
		allow("timestream:WriteRecords"):    "delete",
		allow("rds:ModifyDBInstance"):       "delete",
		allow("ec2:StopInstances"):          "delete",
		allow("ssm:SendCommand"):            "admin",
		allow("cloudtrail:StopLogging"):     "admin",
		allow("cloudformation:UpdateStack"): actions.Classify("cloudformation:UpdateStack").ClassName(),
		allow("lambda:GetFunction"):         "admin",
		allow("ssm:Get*"):                   everything,
		allow("ecr:Get*"):                   everything,
		allow("lightsail:Get*"):             "read,admin",
		// How a document may be written.
		`{"Statement":[{"effect":"allow","ACTION":"s3:DeleteObject"}]}`:                                                                     "delete",
		`{"Statement":[{"Action":"s3:DeleteObject"}]}`:                                                                                      "delete",
		`{"Statement":{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}}`:                                                               everything,
		`{"Statement":{"Effect":"Allow","NotAction":[],"Resource":"*"}}`:                                                                    everything,
		`{"Statement":{"Effect":"Deny","Action":"s3:*","Resource":"*"}}`:                                                                    "",
		`{"Statement":[{"Effect":"Deny","Action":"s3:*","Resource":"*"},{"Effect":"Allow","Action":"s3:DeleteObject"}]}`:                    "delete",
		`{"Statement":{"Effect":"deny","Action":"s3:DeleteObject","Resource":"*"}}`:                                                         "delete",
		`{"Statement":{"Effect":"Allow","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::none","Condition":{"Bool":{"aws:x":"false"}}}}`: "delete",
		`{"Statement":{"Effect":"Allow","Action":"s3:\u0044eleteObject"}}`:                                                                  "delete",
		`{"Statement":{"Effect":"Allow","Action":[null]}}`:                                                                                  everything,
	} {
		if got, err := vault.PlainAWS(document); got.String() != want || err != nil {
			t.Errorf("%s: %s, %v; want %s", document, got, err, want)
		}
	}
}

// A document that its readers could take for different things is no document.
func TestDocumentsOfAWSThatCanBeReadInTwoWays(t *testing.T) {
	for _, document := range []string{
		`{"Statement":"all"}`, `nothing`, `[]`, `{"Statement":[]}{"Statement":[]}`,
		`{"Statement":{"Effect":"Allow","Action":{"s3":"*"}}}`, `{"Statement":{"Effect":"Allow","Action":[["s3:*"]]}}`, `{"Statement":{"Effect":["Allow"],"Action":"s3:*"}}`,
		`{"Statement":{"Effect":"Allow","Action":"s3:*","Action":"s3:GetObject"}}`,
		`{"Statement":{"Effect":"Allow","Action":"s3:*","action":"s3:GetObject"}}`,
		`{"Statement":[{"Effect":"Allow","Effect":"Deny","Action":"s3:*"}]}`,
		`{"Statement":{"Effect":"Allow","Action":"s3:*"},"Statement":[]}`,
		`{"Statement":{"Effect":"Allow","Action":"s3:*"},"ſtatement":[]}`, `{"Statement":{"Effect":"Allow","Action":"s3:*"},"\u017ftatement":[]}`,
	} {
		if got, err := vault.PlainAWS(document); err == nil {
			t.Errorf("%s: %s; want it refused", document, got)
		}
	}
}

// No action of AWS is described as less than `hourkeyd classify aws` says.
func TestNoActionOfAWSIsMilderThanItsClass(t *testing.T) {
	for action := range actions.All() {
		class := actions.Classify(action).Class
		if class == 0 {
			class = worst
		}
		if strings.HasPrefix(action, "dynamodb:") && class.Has(broker.Write) {
			class |= broker.Delete // the aws issuer looks at the table instead
		}
		if got, err := vault.PlainAWS(allow(action)); got != class || err != nil {
			t.Errorf("%s is described as %s, %v; its class is %s", action, got, err, class)
		}
	}
}

// What stands at AWS, where Vault does not look, is everything.
func TestWhatVaultDoesNotShowOfAWSIsEverything(t *testing.T) {
	list := func(texts ...any) []any { return texts }
	reading := allow("s3:GetObject")
	for name, one := range map[string]struct {
		kind string
		role map[string]any
		want broker.Actions
	}{
		"a document alone":             {"iam_user", map[string]any{"policy_document": reading, "policy_arns": list(), "iam_groups": list()}, broker.Read},
		"a session's document":         {"assumed_role", map[string]any{"policy_document": reading}, broker.Read},
		"groups":                       {"iam_user", map[string]any{"policy_document": reading, "iam_groups": list("readers")}, worst},
		"groups alone":                 {"iam_user", map[string]any{"iam_groups": list("readers")}, worst},
		"groups of a session":          {"federation_token", map[string]any{"policy_document": reading, "iam_groups": list("readers")}, worst},
		"a managed policy":             {"iam_user", map[string]any{"policy_document": reading, "policy_arns": list("arn:aws:iam::123456789012:policy/mine")}, worst},
		"AWS's own, for reading":       {"iam_user", map[string]any{"policy_arns": list("arn:aws:iam::aws:policy/ReadOnlyAccess")}, worst},
		"AWS's own, of another part":   {"iam_user", map[string]any{"policy_arns": list("arn:aws-cn:iam::aws:policy/ReadOnlyAccess")}, worst},
		"a role that nothing narrows":  {"assumed_role", map[string]any{"role_arns": list("arn:aws:iam::123456789012:role/staging")}, worst},
		"a user who has nothing":       {"iam_user", map[string]any{}, 0},
		"a role with a managed policy": {"assumed_role", map[string]any{"policy_arns": list("arn:aws:iam::aws:policy/ReadOnlyAccess")}, worst},
	} {
		if got, err := vault.PlainRoleOfAWS(one.kind, one.role); got != one.want || err != nil {
			t.Errorf("%s: %s, %v; want %s", name, got, err, one.want)
		}
	}
}

func TestWhatIsPlainToSeeAtKubernetes(t *testing.T) {
	rule := func(group, resource string, verbs ...string) string {
		return fmt.Sprintf("rules:\n- apiGroups: [%q]\n  resources: [%q]\n  verbs: [%s]\n", group, resource, strings.Join(verbs, ", "))
	}
	const everything = "read,write,delete,admin"
	for rules, want := range map[string]string{
		"":          "",
		"rules: []": "",
		`{"rules":[{"apiGroups":[""],"resources":["configmaps"],"verbs":["get","watch"]}]}`: "read",
		rule("", "configmaps", "get", "list", "create"):                                     "read,write",
		rule("", "configmaps", "create"):                                                    "write",
		rule("", "configmaps", "patch"):                                                     "write,delete,admin", // an owner that is gone; data that is null; kube-root-ca.crt
		rule("", "configmaps", "update"):                                                    "write,delete,admin",
		rule("", "configmaps", "delete"):                                                    "delete",
		rule("example.com", "configmaps", "get"):                                            everything,
		rule("*", "configmaps", "get"):                                                      everything,
		rule("", "pods/log", "get"):                                                         "read",
		rule("", "pods/status", "get"):                                                      "read",
		rule("", "pods/status", "patch"):                                                    everything,
		rule("", "pods/exec", "get"):                                                        everything,
		rule("", "pods/eviction", "create"):                                                 everything,
		rule("", "pods", "create"):                                                          everything,
		rule("", "secrets", "get"):                                                          "read,admin",
		rule("", "secrets", "create"):                                                       everything,
		rule("", "nodes/proxy", "get"):                                                      everything,
		rule("", "namespaces", "patch"):                                                     everything,
		rule("", "serviceaccounts", "create"):                                               everything,
		rule("", "services", "patch"):                                                       everything,
		rule("", "endpoints", "update"):                                                     everything,
		rule("", "resourcequotas", "create"):                                                everything,
		rule("", "deployments", "get"):                                                      everything, // it is in the group apps
		rule("apps", "deployments", "get"):                                                  "read",
		rule("apps", "deployments", "create"):                                               everything,
		rule("apps", "deployments", "patch"):                                                everything,
		rule("apps", "deployments", "deletecollection"):                                     "delete",
		rule("apps", "deployments/scale", "patch"):                                          "write,delete",
		rule("*", "*/scale", "patch"):                                                       everything,
		rule("batch", "cronjobs", "patch"):                                                  everything,
		rule("networking.k8s.io", "networkpolicies", "create"):                              everything,
		rule("networking.k8s.io", "networkpolicies", "delete"):                              everything,
		rule("networking.k8s.io", "ingresses", "update"):                                    everything,
		rule("autoscaling", "horizontalpodautoscalers", "create"):                           everything,
		rule("policy", "poddisruptionbudgets", "patch"):                                     everything,
		rule("admissionregistration.k8s.io", "validatingwebhookconfigurations", "create"):   everything,
		rule("rbac.authorization.k8s.io", "roles", "escalate"):                              everything,
		rule("example.com", "things", "get"):                                                everything,
		rule("", "configmaps", "'*'"):                                                       everything,
		rule("", "configmaps", "GET"):                                                       everything,
		rule("", "*", "get"):                                                                everything,
		"rules:\n- resources: [configmaps]\n  verbs: [get]":                                 everything, // no group
		"rules:\n- apiGroups: ['']\n  resources: [configmaps, secrets]\n  verbs: [get]":     "read,admin",
		"rules:\n- apiGroups: ['']\n  resources: [configmaps]\n  resourceNames: [one]\n  verbs: [patch]":                    "write,delete",
		"rules:\n- apiGroups: ['']\n  resources: [configmaps]\n  resourceNames: []\n  verbs: [patch]":                       "write,delete,admin",
		"rules:\n- apiGroups: ['']\n  resources: [configmaps]\n  resourceNames: [one, kube-root-ca.crt]\n  verbs: [update]": "write,delete,admin",
		"rules:\n- apiGroups: ['', apps]\n  resources: [pods, deployments]\n  verbs: [get]":                                 everything, // there is no pods.apps
	} {
		if got, err := vault.PlainKubernetes(rules); got.String() != want || err != nil {
			t.Errorf("%s: %s, %v; want %s", rules, got, err, want)
		}
	}
}

// Vault reads the keys of generated rules whatever their case; here another case is an error, never nothing. So is what stands behind them,
// and what is merged into them, where Vault takes the last and this reader the plain one.
func TestKubernetesRulesInOtherCase(t *testing.T) {
	for _, rules := range []string{
		`{"Rules":[{"Resources":["secrets"],"Verbs":["*"]}]}`, `{"rules":[{"resources":["secrets"],"VERBS":["*"]}]}`, `{"rules":[{"resources":["secrets"]}],"rules":[]}`, "nothing",
		"rules: []\n---\nrules:\n- apiGroups: ['']\n  resources: [secrets]\n  verbs: ['*']\n", `{"rules":[]} {"rules":[]}`,
		"rules:\n- &a {apiGroups: [''], resources: [secrets], verbs: [get]}\n- {resources: [configmaps], <<: *a}\n",
		"rules:\n- {apiGroups: [''], resources: [configmaps], verbs: [get], <<: {verbs: ['*']}}\n",
		"rules:\n- {apiGroups: [''], resources: [configmaps], verbs: [get], !!merge \"\\x3c\\x3c\": {verbs: ['*']}}\n",
		"rules:\n- {apiGroups: [''], resources: [configmaps], verbs: &v [get]}\n- {apiGroups: [''], resources: [pods], verbs: *v}\n",
	} {
		if got, err := vault.PlainKubernetes(rules); err == nil {
			t.Errorf("%s: %s; want it refused", rules, got)
		}
	}
}

// The kubernetes issuer has a table of what every kind can do. No rule of a role at Vault is taken for less than the table says, nothing is
// said of a kind that the table does not have, and an update or a patch is a delete, for that issuer's admission policy does not look at
// Vault's accounts.
func TestRulesAreNeverMilderThanTheTableOfKinds(t *testing.T) {
	table := kindsOfTheTable(t)
	for kind, wants := range table {
		for verb, want := range wants {
			group, resource := ruleOf(kind)
			got, err := vault.PlainKubernetes(fmt.Sprintf("rules: [{apiGroups: [%q], resources: [%q], verbs: [%q]}]", group, resource, verb))
			if err != nil || !want.IsSubsetOf(got) {
				t.Errorf("%s of %s is described as %s, %v; the table says %s", verb, kind, got, err, want)
			}
			if verb == "patch" && want != 0 && !got.Has(broker.Delete) {
				t.Errorf("patch of %s is described as %s", kind, got)
			}
		}
	}
	for _, kind := range vault.PlainKinds() {
		if _, known := table[strings.Replace(kind, "/", "+", 1)]; !known {
			t.Errorf("%s is not in the table of kinds", kind)
		}
	}
}

// ruleOf takes a kind of the table apart, as a rule writes it.
func ruleOf(kind string) (group, resource string) {
	resource, sub, isSub := strings.Cut(kind, "+")
	resource, group, _ = strings.Cut(resource, ".")
	if isSub {
		resource += "/" + sub
	}
	return group, resource
}

// kindsOfTheTable reads kinds.txt: kind → verb → the actions that it is at least; 0 where there is no such thing.
func kindsOfTheTable(t *testing.T) map[string]map[string]broker.Actions {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "kubernetes", "kinds.txt"))
	if err != nil {
		t.Fatal(err)
	}
	table := map[string]map[string]broker.Actions{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) == 2 && fields[1] == "cluster" {
			fields = []string{fields[0], "never", "never", "never", "never"}
		}
		if len(fields) < 5 {
			t.Fatalf("a line that is not understood: %s", line)
		}
		wants := map[string]broker.Actions{}
		for at, verbs := range []string{"get list watch", "create update patch", "delete deletecollection", "get create"} {
			for verb := range strings.FieldsSeq(verbs) {
				wants[verb] |= wanted(t, fields[at+1], []broker.Actions{broker.Read, broker.Write, broker.Delete, broker.Admin}[at])
			}
		}
		table[fields[0]] = wants
	}
	if len(table) < 100 {
		t.Fatalf("%d kinds: this test proves nothing", len(table))
	}
	return table
}

// wanted is what a word of the table wants of an action.
func wanted(t *testing.T, words string, action broker.Actions) broker.Actions {
	t.Helper()
	meaning := map[string]broker.Actions{
		"yes": action, "delete": action | broker.Delete, "admin": action | broker.Admin, "runs": action | broker.Admin,
		"stream": action, "change": action, "never": worst, "-": 0,
	}
	var want broker.Actions
	for word := range strings.SplitSeq(words, "+") {
		one, known := meaning[word]
		if !known {
			t.Fatalf("a word of the table that is not understood: %s", word)
		}
		want |= one
	}
	return want
}
