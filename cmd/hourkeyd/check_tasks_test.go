package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hourkey/hourkey/cmd/hourkeyd/config"
	"github.com/hourkey/hourkey/issuers/aws/miniotest"
	"github.com/hourkey/hourkey/issuers/kubernetes/kubetest"
)

// checkFiles runs check without --live.
func (s *site) checkFiles(t *testing.T) (out string, code int) {
	t.Helper()
	var both bytes.Buffer
	m := &Main{
		Args: []string{"check", "--config", filepath.Join(s.dir, "hourkey.yaml")}, Stdout: &both, Stderr: &both, Now: time.Now, Guard: config.NewGuard(),
		Lookup: func(name string) (string, bool) { value, set := s.secrets[name]; return value, set },
	}
	code = m.Run(t.Context())
	return both.String(), code
}

// What a task never gets is told when the files are checked, not to the agent that asks.
func TestCheckWarnsOfATaskWhoseLeasesAreTooShort(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", "  it:\n    aws: {endpoint: 'http://127.0.0.1:1', region: us-east-1, access_key: env:ID, secret_key: env:KEY, resources: [\"s3/acme-staging/*\"]}\n")
	s.secrets["ID"], s.secrets["KEY"] = "broker", "the-secret-key-of-the-broker"
	task := func(ttl string) {
		s.change(t, "policies/tasks/orders.yaml", func(string) string {
			return "fix:\n  agents: [robot]\n  environments: [staging]\n  gives: [\"it:s3/acme-staging/*:read\"]\n" + ttl
		})
	}
	task("  ttl: 5m\n")
	out, code := s.checkFiles(t)
	says(t, "five minutes", out, code, exitDone, "warning   task fix: policies/tasks/orders.yaml:1: its leases live at most 5m, and one at staging/it lives at least 15m: every request is refused", "ttl: 15m, or longer")
	for _, ttl := range []string{"  ttl: 15m\n", ""} {
		task(ttl)
		if out, code = s.checkFiles(t); code != exitDone || strings.Contains(out, "warning") {
			t.Errorf("%q: exit %d\n%s", ttl, code, out)
		}
	}
}

func TestCheckWarnsOfATargetThatNoTaskNames(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", "  it:\n    jwt: {audience: \"https://it.example\", resources: [x]}\n  other:\n    jwt: {audience: \"https://other.example\", resources: [x]}\n")
	out, code := s.checkFiles(t)
	says(t, "one of two", out, code, exitDone, "target      staging/other (jwt, environments/staging.yaml:19)\n  warning   tasks: none with staging among its environments names other: no agent can ask for anything there\n",
		"mend:   a task in policies/tasks, with environments: [staging] and gives: or with_approval: [\"other:…\"]")
	if strings.Contains(out, "names it:") {
		t.Errorf("the one that is named is warned of as well:\n%s", out)
	}
}

func TestCheckWarnsOfATaskThatNamesWhatATargetDoesNotHave(t *testing.T) {
	t.Parallel()
	server, err := miniotest.New()
	if errors.Is(err, miniotest.ErrAbsent) && os.Getenv("HOURKEY_TEST_ALL") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	server.Bucket(t, "acme-staging", true)
	s := newSite(t, "", "  it:\n    aws: {endpoint: '"+server.URL+"', region: us-east-1, access_key: env:ID, secret_key: env:KEY, resources: [\"s3/acme-staging/*\"]}\n")
	s.secrets["ID"], s.secrets["KEY"] = "broker", "the-secret-key-of-the-broker"
	folder := t.TempDir()
	server.MC(t, folder, "mc admin user add minio broker the-secret-key-of-the-broker")
	server.MC(t, folder, "mc admin policy attach minio readwrite --user broker")
	s.change(t, "policies/tasks/orders.yaml", func(string) string {
		return "fix:\n  agents: [robot]\n  environments: [staging]\n  gives: [\"it:s3/acme-staging/*:read\", \"it:bucket/acme-staging/*:read\"]\n  with_approval: [\"it:s3/acme-production/*:read\"]\n"
	})
	out, code := s.check(t)
	says(t, "a kind and a bucket that are not there", out, code, exitDone, "warning   task fix: policies/tasks/orders.yaml:1: it:bucket/acme-staging/*:read, asked for as it stands there, is refused: ",
		"ask within s3/acme-staging/*", "it:s3/acme-production/*:read, asked for as it stands there, is refused: ")
	if strings.Contains(out, "it:s3/acme-staging/*:read, asked for") {
		t.Errorf("what is there is warned of as well:\n%s", out)
	}
	if out, code = s.checkFiles(t); code != exitDone || strings.Contains(out, "warning") {
		t.Errorf("without --live the target is asked: exit %d\n%s", code, out)
	}
}

func TestCheckWarnsOfATaskForAKindThatTheClusterDoesNotHave(t *testing.T) {
	t.Parallel()
	server := kubetest.Start(t)
	server.Apply(t, clusterOfOne)
	s := newSite(t, "", "  it:\n    kubernetes: {server: '"+server.URL+"', ca: env:CA, token: env:TOKEN, namespace: shop-staging}\n")
	s.secrets["CA"], s.secrets["TOKEN"] = string(server.CA), server.Token()
	s.change(t, "policies/tasks/orders.yaml", func(string) string {
		return "fix:\n  agents: [robot]\n  environments: [staging]\n  gives: [\"it:configmaps/*:read\", \"it:deployment/*:read\"]\n"
	})
	out, _ := s.check(t)
	if !strings.Contains(out, "it:deployment/*:read, asked for as it stands there, is refused: ") || strings.Contains(out, "it:configmaps/*:read, asked for") {
		t.Errorf("the kind that is none is not told of, or the one that is:\n%s", out)
	}
}
