package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Machine is where to look.
type Machine struct {
	Home    string   // absolute path of the user's home
	Tree    string   // absolute path of the folder in which an agent works
	Environ []string // NAME=value, as os.Environ gives it
	Pod     string   // folder of a pod's service account; empty: this is no pod
	Now     func() time.Time
}

// Extent is how much a credential can destroy.
type Extent string

// The extents, the worst first.
const (
	ExtentAccount Extent = "account" // everything of an account, in every environment
	ExtentSystem  Extent = "system"  // one project, cluster or database
	ExtentCode    Extent = "code"    // repositories, packages, machines: what others run
	ExtentUnknown Extent = "unknown" // cannot be told offline
)

// Extents lists them, the worst first.
func Extents() []Extent {
	return []Extent{ExtentAccount, ExtentSystem, ExtentCode, ExtentUnknown}
}

// Finding is one credential in one place. It holds no part of the secret.
type Finding struct {
	Kind     string     `json:"kind"`
	Provider string     `json:"provider"`
	Title    string     `json:"title"` // the kind in words
	Extent   Extent     `json:"extent"`
	File     string     `json:"file,omitempty"` // "~/…" or absolute; empty: the environment
	Line     int        `json:"line,omitempty"` // from 1; 0: the whole file
	Variable string     `json:"variable,omitempty"`
	Reaches  string     `json:"reaches"`
	Since    *time.Time `json:"since,omitempty"`   // when the file was last changed
	Exposed  string     `json:"exposed,omitempty"` // who else can read the file
	Move     Move       `json:"move"`
}

// Move is how to take a credential out of the agent's reach.
type Move struct {
	Target string   `json:"target,omitempty"` // for `targets:` of the broker's environments/ENVIRONMENT.yaml; empty: Hourkey has no such target
	Steps  []string `json:"steps"`
}

// Report is what was found. Its strings are safe to print.
type Report struct {
	Home     string    `json:"home"`
	Tree     string    `json:"tree"`
	Files    int       `json:"files"` // that were read
	Findings []Finding `json:"findings"`
	Notes    []string  `json:"notes"`    // no findings, but worth knowing: what ends by itself soon, or leads to this machine
	Warnings []string  `json:"warnings"` // what could not be looked at
}

// finder looks in one sort of place.
type finder struct {
	name string
	look func(*examination)
}

// finders is the order of looking. Those who know a file best come first: the same secret at the same
// place is reported once.
func finders() []finder {
	return []finder{
		{"environment", (*examination).environment},
		{"railway", (*examination).railway},
		{"github", (*examination).github},
		{"supabase", (*examination).supabase},
		{"aws", (*examination).aws},
		{"kubernetes", (*examination).kubernetes},
		{"pod", (*examination).pod},
		{"netrc", (*examination).netrc},
		{"git", (*examination).git},
		{"google", (*examination).google},
		{"azure", (*examination).azure},
		{"other tools", (*examination).otherTools},
		{"ssh", (*examination).ssh},
		{"loose files", (*examination).looseFiles},
		{"tree", (*examination).tree},
	}
}

// Examine looks everywhere. What cannot be read becomes a warning; the error is for a Machine that is
// none.
func Examine(m Machine) (Report, error) {
	if !filepath.IsAbs(m.Home) {
		return Report{}, errors.New("HOME is not an absolute path, so there is no home to look in")
	}
	info, err := os.Stat(m.Tree)
	if err != nil {
		return Report{}, fmt.Errorf("looking at the tree: %s", reason(err))
	}
	if !filepath.IsAbs(m.Tree) || !info.IsDir() {
		return Report{}, errors.New("the tree is not a folder")
	}
	x := newExamination(m)
	for _, f := range finders() {
		f.look(x)
	}
	return x.report(), nil
}

// TreeOf gives the root of the git checkout around folder, or folder itself.
func TreeOf(folder string) string {
	for at := folder; ; at = filepath.Dir(at) {
		if _, err := os.Lstat(filepath.Join(at, ".git")); err == nil {
			return at
		}
		if at == filepath.Dir(at) {
			return folder
		}
	}
}

// worstFirst sorts by how much a credential can destroy, and then by place.
func worstFirst(findings []Finding) {
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(slices.Index(Extents(), a.Extent), slices.Index(Extents(), b.Extent)),
			cmp.Compare(a.Provider, b.Provider),
			cmp.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Variable, b.Variable),
		)
	})
}
