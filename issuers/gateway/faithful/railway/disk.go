package railway

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// disk keeps the bytes of the volumes as files, so that anybody can look whether they are still there:
//
//	PROJECT/ENVIRONMENT/VOLUME/data
//	PROJECT/ENVIRONMENT/VOLUME/backups/BACKUP
//
// Each name is the thing's own, reduced to safe letters, and the first digits of its id.
type disk struct {
	folder string
	files  map[string]string // path below folder → what was written there
}

// sync makes the files what the state says.
func (d *disk) sync(st *state) error {
	wanted := wantedFiles(st)
	if err := os.MkdirAll(d.folder, 0o700); err != nil {
		return fmt.Errorf("making the folder of the volumes: %w", err)
	}
	root, err := os.OpenRoot(d.folder)
	if err != nil {
		return fmt.Errorf("opening the folder of the volumes: %w", err)
	}
	defer root.Close() //nolint:errcheck // opened to reach files, not to write
	for name, data := range wanted {
		if old, there := d.files[name]; there && old == data {
			continue
		}
		if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
			return fmt.Errorf("making a volume: %w", err)
		}
		if err := root.WriteFile(name, []byte(data), 0o600); err != nil {
			return fmt.Errorf("writing a volume: %w", err)
		}
	}
	for name := range d.files {
		if _, still := wanted[name]; still {
			continue
		}
		if err := remove(root, name); err != nil {
			return fmt.Errorf("removing a volume: %w", err)
		}
	}
	d.files = wanted
	return nil
}

// remove deletes a file, and the folders above it that are empty then.
func remove(root *os.Root, name string) error {
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if root.Remove(dir) != nil {
			break // not empty
		}
	}
	return nil
}

func wantedFiles(st *state) map[string]string {
	files := map[string]string{}
	for _, v := range st.kinds["VolumeInstance"] {
		volume, e := st.get("Volume", v.text("volumeId")), st.get("Environment", v.text("environmentId"))
		project := st.get("Project", volume.text("projectId"))
		dir := path.Join(fileName(project), fileName(e), fileName(volume))
		files[path.Join(dir, "data")] = v.text("data")
		for _, b := range st.where("VolumeInstanceBackup", "volumeInstanceId", v.id) {
			files[path.Join(dir, "backups", fileName(b))] = b.text("data")
		}
	}
	return files
}

// fileName is a name that leads nowhere else, whatever the record is called.
func fileName(r *record) string {
	safe := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' {
			return c
		}
		return '-'
	}, r.text("name"))
	safe = safe[:min(len(safe), 40)]
	id := strings.Map(func(c rune) rune {
		if slices.Contains([]rune("0123456789abcdef"), c) {
			return c
		}
		return -1
	}, r.id)
	return safe + "." + id[:min(len(id), 8)]
}
