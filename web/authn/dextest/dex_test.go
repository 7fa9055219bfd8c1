package dextest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheVersionIsThatOfTheModuleWhichBuildsIt(t *testing.T) {
	module, err := os.ReadFile(filepath.Join("..", "..", "..", "tools", "dex", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(module), "github.com/dexidp/dex "+Version+" ") {
		t.Errorf("tools/dex/go.mod has another version of dex than %s", Version)
	}
}
