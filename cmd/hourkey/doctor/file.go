package doctor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxHomeFile bounds what is read of one file outside the tree: shells' histories are long.
const maxHomeFile = 4 << 20

// file is one that was read.
type file struct {
	path  string // absolute
	shown string // its path for people
	data  []byte
	info  fs.FileInfo
	id    fileID
}

// fileID tells files apart, whatever they are called.
type fileID struct{ device, inode uint64 }

func idOf(info fs.FileInfo) fileID {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return fileID{uint64(stat.Dev), uint64(stat.Ino)} //nolint:unconvert // the types differ between systems
	}
	return fileID{}
}

// at is a place in the file. Line 0 stands for all of it.
func (f *file) at(line int) place { return place{file: f, line: line} }

// open reads a file at a path that the user's tools would read; links are followed, as they would. It
// gives nil if there is none, and a warning if there is one that cannot be read.
func (x *examination) open(path string) *file {
	if path == "" || path == os.DevNull { // exec has the AWS tools read that
		return nil
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(x.Home, path)
	}
	// Not blocking: a named pipe would wait for a writer for ever.
	handle, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if missing(err) {
		return nil
	}
	if err != nil {
		x.warn("%s: cannot be opened: "+reason(err), x.shown(path))
		return nil
	}
	f, whole, err := readBounded(handle, maxHomeFile)
	if err != nil {
		x.warn("%s: cannot be read: "+reason(err), x.shown(path))
		return nil
	}
	if !whole {
		x.warn("%s: only its first 4 MB were looked at", x.shown(path))
	}
	f.path, f.shown = path, x.shown(path)
	x.read[f.id] = struct{}{}
	return f
}

// openAll reads the files of a folder that have this ending, in the order of their names.
func (x *examination) openAll(folder, ending string) []*file {
	if !filepath.IsAbs(folder) {
		folder = filepath.Join(x.Home, folder)
	}
	entries, err := os.ReadDir(folder)
	if err != nil && !missing(err) {
		x.warn("%s: cannot be listed: "+reason(err), x.shown(folder))
	}
	var files []*file
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ending) || entry.Type()&^fs.ModeSymlink != 0 || len(files) >= 200 {
			continue
		}
		if f := x.open(filepath.Join(folder, entry.Name())); f != nil {
			files = append(files, f)
		}
	}
	return files
}

// readBounded reads a regular file up to a bound, closes it, and tells whether that was all of it.
func readBounded(handle *os.File, most int64) (*file, bool, error) {
	defer func() { _ = handle.Close() }()
	info, err := handle.Stat()
	if err != nil {
		return nil, false, err
	}
	if !info.Mode().IsRegular() {
		return nil, false, errNotRegular
	}
	data, err := io.ReadAll(io.LimitReader(handle, most+1))
	if err != nil {
		return nil, false, err
	}
	whole := int64(len(data)) <= most
	if !whole {
		data = data[:most]
	}
	return &file{data: bytes.TrimPrefix(data, []byte("\ufeff")), info: info, id: idOf(info)}, whole, nil
}

var errNotRegular = errors.New("it is not a regular file")

// missing tells that there is nothing at a path. A parent that is no folder counts: ~/.aws as a file.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// reason is why a file could not be read, without its name: that would be unescaped.
func reason(err error) string {
	if errno, found := errors.AsType[syscall.Errno](err); found {
		return errno.Error()
	}
	if errors.Is(err, errNotRegular) {
		return errNotRegular.Error()
	}
	return "it is not within reach"
}

// exposure says who else can read a file with this mode.
func exposure(mode fs.FileMode) string {
	switch perm := mode.Perm(); {
	case perm&0o004 != 0:
		return fmt.Sprintf("mode %04o: every user whom its folders let in can read it", perm)
	case perm&0o040 != 0:
		return fmt.Sprintf("mode %04o: its group can read it", perm)
	default:
		return ""
	}
}

// isBinary tells that a file is no text: it has a zero byte near its beginning.
func isBinary(data []byte) bool {
	return bytes.IndexByte(data[:min(len(data), 8000)], 0) >= 0
}
