package scaffold

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hourkey/hourkey/broker"
)

const (
	folderMode = 0o700
	fileMode   = 0o600
)

// Fresh refuses a folder that holds a configuration already: default policies among the files of an
// existing installation would give what nobody decided to give.
func Fresh(dir string) error {
	for _, name := range []string{"hourkey.yaml", "environments", "policies"} {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); err == nil {
			return broker.Errorf(broker.CodeConflict, "%s is there already: nothing was written", path).
				WithNext("choose an empty folder, like `hourkeyd init hourkey`, or change the files that are there")
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("looking for %s: %w", path, err)
		}
	}
	return nil
}

// Write makes the files, closed to others. kept are those that were there already.
func Write(dir string, files []File) (kept []File, err error) {
	for _, file := range files {
		path := filepath.Join(dir, file.Name)
		if err := os.MkdirAll(filepath.Dir(path), folderMode); err != nil {
			return kept, fmt.Errorf("making a folder: %w", err)
		}
		switch err := create(path, file.Text); {
		case errors.Is(err, fs.ErrExist):
			kept = append(kept, file)
		case err != nil:
			return kept, err
		}
	}
	return kept, nil
}

func create(path, text string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}
