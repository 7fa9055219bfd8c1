package config

import (
	"errors"
	"io/fs"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hourkey/hourkey/broker"
)

// Whose a file must be, in words, and the line that makes it so.

// mendOwner says what to do about a file of another user. Root is not told to chown what is the broker's: a service
// could not read its own store any more.
func (g Guard) mendOwner(owner int) string {
	if g.uid == 0 && g.advice != nil {
		if text := g.advice(owner); text != "" {
			return text
		}
	}
	return "chown it to whom the broker runs as, or run this as that user"
}

// granted is readable for what stands beside a hourkey.yaml that could be read: then it is this one file that is closed to
// the broker, mostly one that root made.
func (g Guard) granted(err error, name string) error {
	if broker.CodeOf(err) != broker.CodeInternal || !errors.Is(err, fs.ErrPermission) {
		return readable(err, name)
	}
	mend := broker.Errorf(broker.CodeInvalid, "%s: cannot be read by the broker's own user (%s)", name, userName(g.uid))
	known, unknown := user.LookupId(strconv.Itoa(g.uid))
	path := closed(err)
	if unknown != nil || path == "" {
		return mend
	}
	group := known.Gid
	if named, err := user.LookupGroupId(group); err == nil {
		group = named.Name
	}
	return mend.WithNext("as root: chgrp %s %s && chmod g+rX %s", group, shellWord(path), shellWord(path))
}

// closed is the path that lets nobody in: of a file that cannot even be looked at, the folder that it is in.
func closed(err error) string {
	at, ok := errors.AsType[*fs.PathError](err)
	switch {
	case !ok:
		return ""
	case at.Op == "lstat":
		return filepath.Dir(at.Path)
	}
	return at.Path
}

// chown gives a secret's file to the broker's own user.
func (g Guard) chown(path string) string {
	name := strconv.Itoa(g.uid)
	if known, err := user.LookupId(name); err == nil {
		name = known.Username
	}
	return "chown " + name + " " + shellWord(path)
}

// ownedBy adds to a hint whom a new secret must belong to, where the broker has a user of its own.
func (g Guard) ownedBy(path string) string {
	if g.uid == 0 {
		return ""
	}
	return ", and owned by whom the broker runs as (" + g.chown(path) + ")"
}

// userName is how a person knows a user: "uid 999, hourkey".
func userName(uid int) string {
	text := "uid " + strconv.Itoa(uid)
	if known, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		text += ", " + known.Username
	}
	return text
}

// shellWord is one word for a shell, whatever is in it.
func shellWord(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
