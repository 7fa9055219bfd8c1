package aws_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/issuers/aws"
	"github.com/hourkey/hourkey/issuers/aws/miniotest"
	"github.com/hourkey/hourkey/issuers/issuertest"
)

// tofu runs a command of OpenTofu in a folder with a lease's credential, as `hourkey exec` does.
func tofu(t *testing.T, folder string, c broker.Credential, args ...string) (string, error) {
	t.Helper()
	path, err := miniotest.Tofu()
	issuertest.Needs(t, err, miniotest.ErrAbsent)
	run := exec.Command(path, args...)
	run.Dir, run.Env = folder, []string{"PATH=/usr/bin:/bin", "HOME=" + folder, "TF_IN_AUTOMATION=1", "CHECKPOINT_DISABLE=1"}
	for name, value := range c.Values {
		run.Env = append(run.Env, name+"="+value.Reveal())
	}
	out, err := run.CombinedOutput()
	return string(out), err
}

// The page's backend with the program itself: each command locks the state, writes it, and removes the lock. "destroy" is of
// a resource that is nowhere.
func TestTerraformKeepsItsStateUnderALease(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const key = "shop/terraform.tfstate"
	issuer := s.issuer(t, func(to *aws.Settings) {
		to.Locks = []aws.Lock{{Object: "s3/" + s.bucket + "/" + key + ".tflock", Why: "Terraform removes its own lock"}}
	})
	c := lease(t, issuer, "s3/"+s.bucket+"/shop/*:read,write")
	folder := t.TempDir()
	backend := strings.NewReplacer("acme-staging-state", s.bucket, "eu-central-1", "us-east-1", "use_lockfile = true", `use_lockfile = true
    use_path_style = true
    skip_credentials_validation = true
    skip_requesting_account_id = true
    skip_region_validation = true
    skip_metadata_api_check = true
    skip_s3_checksum = true`).Replace(blocks(t, "hcl")[0])
	if err := os.WriteFile(filepath.Join(folder, "main.tf"), []byte(backend+"\nresource \"terraform_data\" \"site\" {\n  input = \"up\"\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"init", "plan", "apply -auto-approve", "state list", "destroy -auto-approve"} {
		if said, err := tofu(t, folder, c, append(strings.Fields(line), "-no-color")...); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, said)
		}
	}
	versions, _ := s.Versions(t, s.bucket, key)
	_, err := s.Root().HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &s.bucket, Key: ptr(key + ".tflock")})
	if versions < 2 || err == nil {
		t.Errorf("%d versions of the state; the lock is still there: %t", versions, err == nil)
	}
	if said, err := tofu(t, folder, c, "workspace", "new", "blue", "-no-color"); err == nil || !strings.Contains(said, "AccessDenied") {
		t.Errorf("a workspace, whose state lies elsewhere in the bucket: %v\n%s", err, said)
	}
}
