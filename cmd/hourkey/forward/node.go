package forward

import (
	_ "embed" // for the preload
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// preload is loaded into every Node.js program below the child; it says itself what for. In it stand
// HOSTS and ADDRESS for the run's.
//
//go:embed preload.cjs
var preload string

// writePreload writes it for this run's hosts, and gives NODE_OPTIONS with it.
func (f *Forwarder) writePreload() (string, error) {
	hosts, err := json.Marshal(slices.Sorted(maps.Keys(f.hosts)))
	if err != nil {
		return "", fmt.Errorf("listing the hosts for Node.js: %w", err)
	}
	text := strings.NewReplacer("HOSTS", string(hosts), "ADDRESS", `"`+f.address+`"`).Replace(preload)
	file := filepath.Join(f.folder.Path, "preload.cjs")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("writing the preload for Node.js: %w", err)
	}
	quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(file) + `"`
	return strings.TrimSpace(f.config.Getenv("NODE_OPTIONS") + " --require=" + quoted), nil
}
