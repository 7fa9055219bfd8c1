package ui

import (
	"fmt"
	"strings"
	"time"

	"github.com/hourkey/hourkey/broker"
)

// ResetNotice stands on every page for a week after a human's passkeys were reset from the shell.
func ResetNotice(human string, at, now time.Time) (Notice, bool) {
	const week = 7 * 24 * time.Hour
	if at.IsZero() || !now.Before(at.Add(week)) {
		return Notice{}, false
	}
	return Notice{
		Head: "Passkeys were reset.",
		Text: fmt.Sprintf("Those of %s, at %s, from the broker's own shell. If nobody told you why, ask before you sign anything.", human, clock(at)),
	}, true
}

// FreshPasskey is a passkey that came to be lately. Offered: its human must still sign it.
type FreshPasskey struct {
	Human    string
	Offered  bool
	At, From time.Time // From: since when, or from when on, it may approve
}

// PasskeyNotice tells everybody of new passkeys: whoever made one in another's name is to be noticed.
func PasskeyNotice(fresh []FreshPasskey, now time.Time) (Notice, bool) {
	if len(fresh) == 0 {
		return Notice{}, false
	}
	var list []string
	for _, k := range fresh {
		text := k.Human + " (" + ago(k.At, now)
		switch {
		case k.Offered:
			text += ", not signed yet"
		case now.Before(k.From):
			text += ", approves from " + clock(k.From)
		}
		list = append(list, text+")")
	}
	const most = 5
	if more := len(list) - most; more > 0 {
		list = append(list[:most], fmt.Sprintf("and %d more", more))
	}
	return Notice{Head: "New passkeys:", Text: strings.Join(list, ", ") + ". If one of these people does not know of it, tell an operator."}, true
}

// SignOnNotice tells a human whose groups wait for another single sign-on, and offers it: back is the page to come
// back to, empty where there is nothing to sign on with.
func SignOnNotice(back string) Notice {
	return Notice{
		Head:   "Sign on again.",
		Text:   "Your single sign-on is older than " + span(broker.SignedOnFor) + ". Until you do, its groups let you approve nothing, and what waits for you may not be shown.",
		SignOn: back,
	}
}

// FreezeNotice tells what is frozen. opens: this human may look at each of these; operates: and has them in the inbox.
func FreezeNotice(freezes []broker.Freeze, opens, operates bool) (Notice, bool) {
	if len(freezes) == 0 {
		return Notice{}, false
	}
	var list []string
	for _, f := range freezes {
		what := "everything"
		if f.Of != broker.FreezeAll {
			what = string(f.Of) + " " + f.Name
		}
		if !f.Until.IsZero() {
			what += " until " + clock(f.Until)
		}
		list = append(list, what)
	}
	const most = 5
	if more := len(list) - most; more > 0 {
		list = append(list[:most], fmt.Sprintf("and %d more", more))
	}
	notice := Notice{Head: "Frozen:", Text: strings.Join(list, ", ") + ". Nothing is issued for these."}
	switch {
	case opens && len(freezes) == 1:
		notice.Path = FreezePath(freezes[0].ID())
	case operates:
		notice.Path = "/" // the inbox lists them for operators
	}
	return notice, true
}

// StoreNotice stands on every page while the store takes no writes.
func StoreNotice() Notice {
	return Notice{Head: "The store takes no writes.", Text: "Nothing is issued, and nothing can be approved, until it does. Denying, freezing and ending work as far as they can. Tell whoever runs this broker."}
}

// MistakesNotice stands on every page of an installation whose broker the agent's OS user could reach.
func MistakesNotice() Notice {
	return Notice{
		Head: "Protects from mistakes only.",
		Text: "Programs can run, or have run, under this broker's own OS user, and could go around it. “hourkeyd install” gives the broker an OS user of its own.",
	}
}
