package system

import (
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/hourkey/hourkey/issuers/aws/miniotest"
)

// minioTarget is the target of an environment at MinIO, as docs/issuers/aws.md has it.
const minioTarget = `  files:
    aws:
      endpoint: %s
      region: us-east-1
      access_key: file:secrets/%s-id
      secret_key: file:secrets/%s-key
      resources: ["s3/acme-%s/*", "s3/acme-%s-logs/*"]
`

const minioTasks = gatewayTask + `:
  summary: Routine work on the shop's files
  agents: [claude-code]
  environments: [staging, production]
  gives: ["files:s3/acme-staging/*:read,write"]
  with_approval: ["files:s3/acme-staging/*:delete"]
  ttl: 30m
`

type minioSite struct {
	*miniotest.Server
	folder string
	tap    *tap
}

// policy writes what the broker's user of an environment may do: everything in its buckets, but for some statement.
func (m minioSite) policy(t *testing.T, environment, more string) {
	t.Helper()
	m.allow(t, environment, strings.ReplaceAll(`{"Effect":"Allow","Action":["s3:*"],"Resource":["arn:aws:s3:::ENV","arn:aws:s3:::ENV/*","arn:aws:s3:::ENV-logs","arn:aws:s3:::ENV-logs/*"]}`+more, "ENV", "acme-"+environment))
}

// allow replaces the policy of the broker's user of an environment.
func (m minioSite) allow(t *testing.T, environment, statements string) {
	t.Helper()
	must(t, os.WriteFile(m.folder+"/policy.json", []byte(`{"Version":"2012-10-17","Statement":[`+statements+`]}`), 0o600))
	m.MC(t, m.folder, "mc admin policy create minio hourkey-"+environment+" policy.json")
}

// newMinIO makes the server, and what an installation at it is configured with.
func newMinIO(t *testing.T) (minioSite, outpostFiles) {
	t.Helper()
	server, err := miniotest.New()
	if errors.Is(err, miniotest.ErrAbsent) && os.Getenv("HOURKEY_TEST_ALL") != "1" {
		t.Skip(err)
	}
	must(t, err)
	t.Cleanup(server.Stop)
	m := minioSite{server, t.TempDir(), plainTap(t, server.URL)}
	files := outpostFiles{tap: m.tap, tasks: minioTasks, targets: map[string]string{}, secrets: map[string]string{}, plain: map[string]string{}}
	for _, environment := range []string{"staging", "production"} {
		secret := rand.Text()
		m.Bucket(t, "acme-"+environment, true, "app/one", "app/two")
		m.Bucket(t, "acme-"+environment+"-logs", true)
		m.MC(t, m.folder, "mc admin user add minio hourkey-"+environment+" "+secret)
		m.policy(t, environment, "")
		m.MC(t, m.folder, "mc admin policy attach minio hourkey-"+environment+" --user hourkey-"+environment)
		files.targets[environment] = strings.NewReplacer("%s-id", environment+"-id", "%s-key", environment+"-key", "acme-%s", "acme-"+environment, "%s", m.tap.URL).Replace(minioTarget)
		files.plain[environment+"-id"], files.secrets[environment+"-key"] = "hourkey-"+environment, secret
	}
	return m, files
}

func installAtMinIO(t *testing.T) (*outpost, minioSite) {
	t.Helper()
	m, files := newMinIO(t)
	o := prepareOutpost(t, files)
	o.checks("as documented", 0, "good: files and targets")
	o.open("staging/files", "production/files")
	return o, m
}

// TestNativeAWS: an agent's day with a real S3 server that holds sessions to their policies.
func TestNativeAWS(t *testing.T) {
	t.Parallel()
	o, m := installAtMinIO(t)
	client := shared.program(o, "./testdata/native/s3")
	s3 := func(line string) []string { return append([]string{client}, strings.Fields(line)...) }
	const reads = "--scope files:s3/acme-staging/*:read"
	o.try(
		step{"read", reads, s3("get acme-staging app/one"), false, "content of app/one"},
		step{"reading alone", reads, s3("put acme-staging app/four x"), true, "refused: AccessDenied"},
		step{"one prefix alone", "--scope files:s3/acme-staging/other/*:read", s3("get acme-staging app/one"), true, "refused: AccessDenied"},
		step{"another environment, reading", reads, s3("get acme-production app/one"), true, "refused: AccessDenied"},
		// A write at MinIO can name the version that it replaces, so a human decides; what is issued is no more than the write.
		step{"write", o.approved("files:s3/acme-staging/*:read,write"), s3("put acme-staging app/three more"), false, ""},
		step{"delete", o.approved("files:s3/acme-staging/*:read,write"), s3("delete acme-staging app/one"), true, "refused: AccessDenied"},
		step{"another environment, writing", o.approved("files:s3/acme-staging/*:read,write"), s3("put acme-production app/one x"), true, "refused: AccessDenied"},
	)
	if out, code := o.as("exec", "--environment", "staging", "--scope", "files:s3/acme-staging/*:read", "--ttl", "3s", "--", client, "get", "acme-staging", "app/one"); code != 125 || !strings.Contains(out, "15m0s") {
		t.Errorf("shorter than a session at MinIO: exit code %d\n%s", code, out)
	}
	if versions, markers := m.Versions(t, "acme-staging", "app/one"); versions != 1 || markers != 0 {
		t.Errorf("app/one has %d versions and %d markers of deletions", versions, markers)
	}
	flags := o.approved("files:s3/acme-staging/*:read,write,delete")
	o.try(step{"delete, approved", flags, s3("delete acme-staging app/two"), false, ""})
	if _, markers := m.Versions(t, "acme-staging", "app/two"); markers != 1 {
		t.Error("what was approved was not deleted")
	}
	if out, code := o.as("exec", "--environment", "production", "--", client, "get", "acme-staging", "app/one"); code != 125 || !strings.Contains(out, "hourkey: error:") {
		t.Errorf("staging's files by way of production: exit code %d\n%s", code, out)
	}
	o.sdkProviders(client, m)
	o.hides("AWS session's key", "AWS session's token", "admin password")

	// What is taken away from the broker's user at the server is told, by its name.
	m.policy(t, "staging", `,{"Effect":"Deny","Action":["s3:GetBucketVersioning"],"Resource":["arn:aws:s3:::ENV-logs"]}`)
	o.checks("without one permission", 0, "warning   role s3:GetBucketVersioning s3/acme-staging-logs", "mend:")
	m.MC(t, m.folder, "mc admin user disable minio hourkey-staging")
	o.checks("with a user that was taken away", 1, "REFUSED   broker key")
}

// sdkProviders has the SDK find the credential by its other two ways.
func (o *outpost) sdkProviders(client string, m minioSite) {
	o.Helper()
	environ := []string{"AWS_REGION=us-east-1", "AWS_ENDPOINT_URL=" + m.tap.URL}
	run := func(extra []string, line string) (string, int) {
		c := o.agentCommand()
		c.Path, c.Args = client, append([]string{client}, strings.Fields(line)...)
		c.Env = append(append(c.Env, environ...), extra...)
		return o.ran(c)
	}
	process := []string{"CREDENTIAL_PROCESS=" + o.hourkey + " credential aws --environment staging --scope files:s3/acme-staging/*:read --task " + gatewayTask}
	if out, code := run(process, "get acme-staging app/one"); code != 0 || out != "content of app/one" {
		o.Errorf("credential_process: exit code %d\n%s", code, out)
	}
	if out, code := run(process, "delete acme-staging app/one"); code == 0 || !strings.Contains(out, "refused: AccessDenied") {
		o.Errorf("credential_process, delete: exit code %d\n%s", code, out)
	}

	said := &lockedText{}
	served := o.agentCommand("credential", "aws", "--serve", "--environment", "staging", "--scope", "files:s3/acme-staging/*:read")
	served.Stdout, served.Stderr = said, said
	must(o, served.Start())
	defer func() { _ = served.Wait() }()
	defer func() { _ = served.Process.Signal(os.Interrupt) }()
	eventually(o, func() error {
		if !strings.Contains(said.String(), "serving the credential") {
			return errors.New(said.String())
		}
		return nil
	})
	var exported []string
	for line := range strings.Lines(said.String()) {
		if assignment, is := strings.CutPrefix(strings.TrimSpace(line), "export "); is {
			exported = append(exported, strings.ReplaceAll(assignment, "'", ""))
		}
	}
	if out, code := run(exported, "get acme-staging app/one"); code != 0 || out != "content of app/one" {
		o.Errorf("container provider: exit code %d\n%s", code, out)
	}
}
