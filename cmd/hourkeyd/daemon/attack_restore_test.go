package daemon

import (
	"os"
	"testing"

	"github.com/hourkey/hourkey/broker"
)

// The attack: the backup lay where others can write, and comes back with another passkey in it.
func TestRestoreRefusesABackupThatOthersCouldHaveWritten(t *testing.T) {
	dir := folder(t)
	backup, _, _ := backedUp(t, dir)
	must(t, os.Chmod(backup, 0o666))
	if _, err := offline(dir).Restore(t.Context(), backup); broker.CodeOf(err) != broker.CodeInvalid {
		t.Errorf("got %v", err)
	}
	must(t, os.Chmod(backup, 0o600))
	if _, err := offline(dir).Restore(t.Context(), backup); err != nil {
		t.Error(err)
	}
}
