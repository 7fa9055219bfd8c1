package miniotest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The tests start what tools/minio builds, and nothing else.
func TestVersionsAreThoseOfTheTools(t *testing.T) {
	for want, folder := range map[string]string{
		"github.com/minio/minio " + Version: "minio", "github.com/minio/mc " + ClientVersion: "minio", "github.com/opentofu/opentofu " + TofuVersion: "tofu",
	} {
		text, err := os.ReadFile(filepath.Join("..", "..", "..", "tools", folder, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), want) {
			t.Errorf("tools/%s/go.mod does not name %s", folder, want)
		}
	}
}
