package main

import (
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"rsc.io/qr"
)

// qrWhen says when the page's address is also printed as a QR code.
type qrWhen int

const (
	qrFits   qrWhen = iota // where a human at a terminal sees it whole
	qrAlways               // the terminal is not asked
	qrNever
)

// reviewFlags declares how a review that is waited for is announced.
func (a *app) reviewFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.qr, "qr", false, "print a QR code of the review's page in any case, save with -o json (HOURKEY_QR=1)")
	cmd.Flags().BoolVar(&a.noQR, "no-qr", false, "print no QR code (HOURKEY_QR=0)")
}

// qrWanted reads the flags, then HOURKEY_QR.
func (a *app) qrWanted() qrWhen {
	setting := a.getenv("HOURKEY_QR")
	always, err := strconv.ParseBool(setting)
	switch {
	case a.output == outputJSON || a.noQR:
		return qrNever
	case a.qr:
		return qrAlways
	case setting == "":
		return qrFits
	case err != nil:
		a.say("warning: HOURKEY_QR is %q: expected 1 or 0", setting)
		return qrFits
	case always:
		return qrAlways
	default:
		return qrNever
	}
}

// announceQR prints a QR code of the page's address, so that the review happens on another device: what has
// taken over this machine cannot change what that one shows.
func (a *app) announceQR(address string) {
	when := a.qrWanted()
	if when == qrNever {
		return
	}
	code, err := qr.Encode(address, qr.L) // a screen has no scratches: the lowest redundancy gives the smallest code
	if err != nil {
		return // too long for one; the address was said
	}
	if when == qrFits && !a.hasRoomFor(code.Size+2*quietZone) {
		return
	}
	if host := hostOf(address); isThisMachine(host) {
		a.say("no QR code: %s is this machine, and no other device reaches it by that name", host)
		return
	}
	a.say("review it on another device: a phone reads this code")
	a.print(drawing(code))
}

// isThisMachine tells of hosts that mean something else on every machine (RFC 6761 section 6.3).
func isThisMachine(host string) bool {
	address, err := netip.ParseAddr(host)
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return err == nil && (address.IsLoopback() || address.IsUnspecified()) || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// hasRoomFor tells whether stderr is a terminal on which a square of so many modules is seen whole.
func (a *app) hasRoomFor(modules int) bool {
	width, height := a.screen()
	return modules <= width && (modules+1)/2 < height && a.getenv("NO_COLOR") == ""
}

// screen is the size of the terminal that stderr is; zero where it is none, or one that shows escape
// sequences instead of obeying them.
func (a *app) screen() (width, height int) {
	file, is := a.stderr.(*os.File)
	if name := a.getenv("TERM"); !is || name == "" || name == "dumb" || !isTerminal(file) {
		return 0, 0
	}
	width, height, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0, 0
	}
	return width, height
}

// quietZone is the white border that a reader needs, in modules (ISO/IEC 18004, section 9.1).
const quietZone = 4

// The colours of a code are its own, whatever the terminal's are: black on white of the colour cube, which
// themes leave alone. A code in the colours of a dark terminal would be inverted, and many readers fail.
const (
	blackOnWhite = "\x1b[38;5;16;48;5;231m"
	ownColours   = "\x1b[0m"
)

// drawing has two rows of modules in each line of text: a half block is as high as it is wide.
func drawing(code *qr.Code) string {
	var text strings.Builder
	for y := -quietZone; y < code.Size+quietZone; y += 2 {
		text.WriteString(blackOnWhite)
		for x := -quietZone; x < code.Size+quietZone; x++ {
			text.WriteRune(halfBlock(code.Black(x, y), code.Black(x, y+1)))
		}
		text.WriteString(ownColours + "\n")
	}
	return text.String()
}

func halfBlock(upper, lower bool) rune {
	switch {
	case upper && lower:
		return '█'
	case upper:
		return '▀'
	case lower:
		return '▄'
	default:
		return ' '
	}
}
