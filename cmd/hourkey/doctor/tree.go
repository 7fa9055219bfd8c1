package doctor

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Bounds of the look at a tree. A checkout of an ordinary size stays below them.
const (
	maxTreeEntries = 200_000
	maxTreeFiles   = 20_000
	maxTreeFile    = 1 << 20
	maxTreeBytes   = 256 << 20
)

// skippedFolders hold what others wrote, or what is made from the rest.
var skippedFolders = []string{"node_modules", "vendor", ".venv", "venv", "__pycache__", ".tox", ".hg", ".svn", "bower_components"}

// gitInside are the folders of a .git that hold no settings.
var gitInside = []string{"objects", "refs", "logs", "hooks", "info", "lfs", "annex", "branches"}

// errEnough ends a walk.
var errEnough = errors.New("enough")

// tree looks at the folder in which an agent works. It is opened as a root: no link, not even one that is
// swapped in while we look, leads out of it.
func (x *examination) tree() {
	root, err := os.OpenRoot(x.Tree)
	if err != nil {
		x.warn("%s: cannot be opened: "+reason(err), x.shown(x.Tree))
		return
	}
	defer func() { _ = root.Close() }()
	w := walk{x: x, root: root}
	w.collect()
	w.examine()
	x.gitFile()
}

// walk is one look at a tree.
type walk struct {
	x       *examination
	root    *os.Root
	entries int
	named   []string // files whose names promise something: first, in case a bound is hit
	others  []string
	large   int
	bytes   int64
	files   int
}

// collect lists the files, in the order of their names.
func (w *walk) collect() {
	err := fs.WalkDir(w.root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if w.entries++; w.entries > maxTreeEntries {
			return errEnough
		}
		if err != nil {
			w.x.warn("%s: cannot be listed: "+reason(err), w.shown(name))
			return nil
		}
		return w.visit(name, entry)
	})
	if err != nil {
		w.x.warn("%s: more than %s files and folders: the rest was not looked at; name a part of it with --tree", w.shown("."), strconv.Itoa(maxTreeEntries))
	}
}

func (w *walk) visit(name string, entry fs.DirEntry) error {
	switch {
	case entry.IsDir():
		if w.skips(name) {
			return fs.SkipDir
		}
	case entry.Type()&fs.ModeSymlink != 0:
		w.link(name)
	case !entry.Type().IsRegular() || insideGit(name) && entry.Name() != "config":
	case isNamed(entry.Name()):
		w.named = append(w.named, name)
	default:
		w.others = append(w.others, name)
	}
	return nil
}

// skips tells the folders that are not entered, and those of the kernel, if the tree is the whole machine.
func (w *walk) skips(name string) bool {
	base := path.Base(name)
	if insideGit(name) {
		return slices.Contains(gitInside, base)
	}
	return slices.Contains(skippedFolders, base) || slices.Contains([]string{"/proc", "/sys", "/dev"}, filepath.Join(w.x.Tree, name))
}

// insideGit tells a path below a .git folder.
func insideGit(name string) bool {
	return strings.HasPrefix(name, ".git/") || strings.Contains(name, "/.git/")
}

// isNamed tells the files that are meant to hold credentials.
func isNamed(base string) bool {
	return isDotenv(base) || slices.Contains([]string{
		".npmrc", ".pypirc", ".netrc", "_netrc", ".pgpass", ".git-credentials", ".vault-token", "kubeconfig", "credentials", "config", "config.json", ".mcp.json",
	}, base)
}

// isDotenv tells an environment file: .env, .env.production, prod.env, .envrc.
func isDotenv(base string) bool {
	return base == ".env" || base == ".envrc" || base == ".flaskenv" || strings.HasPrefix(base, ".env.") || strings.HasSuffix(base, ".env")
}

// link notes an environment file that lies elsewhere. What a link points to within the tree is found there.
func (w *walk) link(name string) {
	if !isDotenv(path.Base(name)) {
		return
	}
	if _, err := w.root.Stat(name); err != nil && !missing(err) {
		w.x.warn("%s: a link out of the tree, which was not followed", w.shown(name))
	}
}

func (w *walk) shown(name string) string { return w.x.shown(filepath.Join(w.x.Tree, name)) }

// examine reads what was collected, within the bounds.
func (w *walk) examine() {
	for i, name := range append(w.named, w.others...) {
		if w.x.full() {
			break
		}
		if w.files >= maxTreeFiles || w.bytes >= maxTreeBytes {
			w.x.warn("%s: %s files were not looked at, beyond the first %s; name a part of the tree with --tree",
				w.shown("."), strconv.Itoa(len(w.named)+len(w.others)-i), strconv.Itoa(w.files))
			break
		}
		w.examineFile(name)
	}
	if w.large > 0 {
		w.x.warn("%s: %s files larger than 1 MB were not looked at", w.shown("."), strconv.Itoa(w.large))
	}
}

func (w *walk) examineFile(name string) {
	handle, err := w.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if missing(err) {
		return // it was there a moment ago
	}
	if err != nil {
		w.x.warn("%s: cannot be opened: "+reason(err), w.shown(name))
		return
	}
	if info, err := handle.Stat(); err == nil && info.Size() > maxTreeFile {
		w.large++
		_ = handle.Close()
		return
	}
	f, whole, err := readBounded(handle, maxTreeFile)
	switch {
	case err != nil:
		w.x.warn("%s: cannot be read: "+reason(err), w.shown(name))
		return
	case !whole:
		w.large++
		return
	}
	w.files++
	w.bytes += int64(len(f.data))
	w.x.read[f.id] = struct{}{}
	f.path = filepath.Join(w.x.Tree, name)
	f.shown = w.x.shown(f.path)
	if !isBinary(f.data) {
		w.x.examineNamed(f)
		w.x.examineText(f)
	}
}

// examineNamed reads a file of the tree by the format that its name or beginning promises.
func (x *examination) examineNamed(f *file) {
	base, folder := filepath.Base(f.path), filepath.Base(filepath.Dir(f.path))
	switch {
	case isDotenv(base):
		x.dotenv(f)
	case base == ".npmrc":
		x.npmrc(f)
	case base == ".pypirc":
		x.pypirc(f)
	case base == ".netrc" || base == "_netrc":
		x.netrcFile(f)
	case base == ".pgpass":
		x.pgpass(f)
	case base == ".git-credentials":
		x.gitStore(f)
	case base == ".vault-token":
		x.vaultFile(f)
	case folder == ".aws" && (base == "credentials" || base == "config"):
		x.awsKeys(f, readINI(f.data))
	case folder == ".docker" && base == "config.json":
		x.dockerConfig(f)
	case insideGit(filepath.ToSlash(f.path)) || base == ".gitconfig":
		x.gitConfig(f)
	case looksLikeKubeconfig(base, f.data):
		x.kubeconfig(f)
	}
}

// gitFile looks at the settings of a worktree or submodule, whose .git is a file that says where they are.
func (x *examination) gitFile() {
	info, err := os.Lstat(filepath.Join(x.Tree, ".git"))
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	f := x.open(filepath.Join(x.Tree, ".git"))
	if f == nil {
		return
	}
	folder, is := strings.CutPrefix(strings.TrimSpace(string(f.data)), "gitdir: ")
	if !is || strings.ContainsAny(folder, "\n\x00") {
		return
	}
	if !filepath.IsAbs(folder) {
		folder = filepath.Join(x.Tree, folder)
	}
	common := folder
	if c := x.open(filepath.Join(folder, "commondir")); c != nil {
		common = filepath.Join(folder, strings.TrimSpace(string(c.data)))
	}
	for _, path := range []string{filepath.Join(folder, "config"), filepath.Join(common, "config")} {
		if c := x.open(path); c != nil {
			x.gitConfig(c)
		}
	}
}

// folders lists the folders in one, in the order of their names.
func (x *examination) folders(folder string) []string {
	entries, err := os.ReadDir(folder)
	if err != nil && !missing(err) {
		x.warn("%s: cannot be listed: "+reason(err), x.shown(folder))
	}
	var found []string
	for _, entry := range entries {
		if entry.IsDir() {
			found = append(found, filepath.Join(folder, entry.Name()))
		}
	}
	return found
}
