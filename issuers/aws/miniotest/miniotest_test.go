package miniotest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The tests start what tools/minio builds, and nothing else.
func TestVersionsAreThoseOfTheTools(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "tools", "minio", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"github.com/minio/minio " + Version, "github.com/minio/mc " + ClientVersion} {
		if !strings.Contains(string(text), want) {
			t.Errorf("tools/minio/go.mod does not name %s", want)
		}
	}
}
