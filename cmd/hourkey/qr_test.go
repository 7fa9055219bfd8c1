package main

import (
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"rsc.io/qr"
)

// modules reads a drawing as a phone would: which modules are dark, the quiet zone included.
func modules(t *testing.T, drawn string) (dark [][]bool) {
	t.Helper()
	for line := range strings.Lines(drawn) {
		cells, began := strings.CutPrefix(strings.TrimRight(line, "\r\n"), blackOnWhite)
		cells, ended := strings.CutSuffix(cells, ownColours)
		if !began || !ended || strings.Contains(cells, "\x1b") {
			t.Fatalf("a line that keeps the terminal's colours, or leaves it others: %q", line)
		}
		var upper, lower []bool
		for _, cell := range cells {
			at := slices.Index([]rune(" ▀▄█"), cell)
			if at < 0 {
				t.Fatalf("%q in a code", cell)
			}
			upper, lower = append(upper, at&1 != 0), append(lower, at&2 != 0)
		}
		dark = append(dark, upper, lower)
	}
	return dark
}

// decode reads a code of versions 1 to 5 and level L, whose data is one block, without correcting errors
// (ISO/IEC 18004, sections 7.3 to 7.9): it shares nothing with the library that made the code.
func decode(t *testing.T, drawn string) string {
	t.Helper()
	dark := modules(t, drawn)
	size := len(dark[0]) - 2*quietZone
	at := func(x, y int) bool { return dark[y+quietZone][x+quietZone] }
	mask := 0
	for i := range 3 { // bits 10 to 12 of the format information, which is itself masked with 101010000010010
		if at(2+i, 8) != (i != 1) {
			mask |= 4 >> i
		}
	}
	if mask != 0 {
		t.Fatalf("mask %d: this reader knows only 0", mask)
	}
	var bits []bool
	up := true
	for right := size - 1; right > 0; right -= 2 {
		if right == 6 {
			right--
		}
		for i := range size {
			y := i
			if up {
				y = size - 1 - i
			}
			for _, x := range []int{right, right - 1} {
				if !isPattern(x, y, size) {
					bits = append(bits, at(x, y) != ((x+y)%2 == 0))
				}
			}
		}
		up = !up
	}
	number := func(from, count int) (n int) {
		for _, bit := range bits[from : from+count] {
			n *= 2
			if bit {
				n++
			}
		}
		return n
	}
	if mode := number(0, 4); mode != 4 {
		t.Fatalf("mode %d, not bytes", mode)
	}
	text := make([]byte, number(4, 8))
	for i := range text {
		text[i] = byte(number(12+8*i, 8))
	}
	return string(text)
}

// isPattern tells of modules that carry no data: finders with the format beside them, timing, alignment.
func isPattern(x, y, size int) bool {
	far := size - 8
	aligned := size > 21 && x >= size-9 && x <= size-5 && y >= size-9 && y <= size-5
	return x <= 8 && y <= 8 || x >= far && y <= 8 || x <= 8 && y >= far || x == 6 || y == 6 || aligned
}

func TestQRCodeIsExactlyTheAddress(t *testing.T) {
	for _, address := range []string{
		"https://h.example/requests/1",
		"https://hourkey.example/requests/01jd7w3k9q8r6t5y4v2x1z0abc",
		"https://hourkey.internal.example.com:8443/requests/01jd7w3k9q8r6t5y4v2x1z0abc?a=%20&b=Ä",
	} {
		code, err := qr.Encode(address, qr.L)
		if err != nil {
			t.Fatal(err)
		}
		drawn := drawing(code)
		for y, row := range modules(t, drawn) {
			if len(row) != code.Size+2*quietZone {
				t.Fatalf("line %d is %d modules wide, want %d", y, len(row), code.Size+2*quietZone)
			}
			for x, dark := range row {
				if dark != code.Black(x-quietZone, y-quietZone) {
					t.Fatalf("module %d, %d of %s is wrong", x, y, address)
				}
			}
		}
		if got := decode(t, drawn); got != address {
			t.Errorf("the code says %q, want %q", got, address)
		}
	}
}

// onTerminal runs hourkey with stderr on a terminal of this size, and gives what that shows.
func onTerminal(t *testing.T, environ []string, columns, rows uint16, args ...string) (string, int) {
	t.Helper()
	terminal, line := openTerminal(t)
	if err := unix.IoctlSetWinsize(int(line.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		t.Fatal(err)
	}
	command := hourkey(environ, args...)
	command.Stderr = line
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	said := &output{}
	read := make(chan struct{})
	go func() { _, _ = io.Copy(said, terminal); close(read) }()
	code := ends(t, command)
	_ = line.Close() // the last one: what is left to read ends
	<-read
	return said.String(), code
}

// drawnIn gives the lines of a code.
func drawnIn(said string) string {
	var lines strings.Builder
	for line := range strings.Lines(said) {
		if strings.HasPrefix(line, "\x1b[38;") {
			lines.WriteString(line)
		}
	}
	return lines.String()
}

func TestQRCodeOnlyWhereItIsSeenWhole(t *testing.T) {
	fake, environ := enrolled(t)
	fake.showPagesAt("https://hourkey.example")
	environ = append(environ, "TERM=xterm", "NO_COLOR=", "HOURKEY_QR=")
	ask := []string{"request", "--scope", "orders-db:public.orders:delete"}
	for name, step := range map[string]struct {
		columns, rows uint16
		environ       []string
		args          []string
		want          bool
	}{
		"a terminal":                 {80, 24, nil, nil, true},
		"just wide enough":           {37, 24, nil, nil, true},
		"too narrow":                 {36, 24, nil, nil, false},
		"just high enough":           {80, 20, nil, nil, true},
		"too low":                    {80, 19, nil, nil, false},
		"too narrow, but wanted":     {36, 24, nil, []string{"--qr"}, true},
		"no size":                    {0, 0, nil, nil, false},
		"not wanted":                 {80, 24, nil, []string{"--no-qr"}, false},
		"not wanted, by a variable":  {80, 24, []string{"HOURKEY_QR=0"}, nil, false},
		"a terminal without escapes": {80, 24, []string{"TERM=dumb"}, nil, false},
		"no colours":                 {80, 24, []string{"NO_COLOR=1"}, nil, false},
		"JSON":                       {80, 24, nil, []string{"-o", "json"}, false},
		"JSON, although wanted":      {80, 24, []string{"HOURKEY_QR=1"}, []string{"-o", "json", "--qr"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			said, code := onTerminal(t, append(slices.Clone(environ), step.environ...), step.columns, step.rows, append(slices.Clone(ask), step.args...)...)
			if code != exitPending {
				t.Errorf("exit code %d", code)
			}
			drawn := drawnIn(said)
			if (drawn != "") != step.want || strings.ContainsAny(said, "▀▄█") != step.want {
				t.Fatalf("a code: %v, want %v in\n%s", drawn != "", step.want, said)
			}
			_, page, _ := strings.Cut(said, "Approve at: ")
			page, _, _ = strings.Cut(page, "\r\n")
			if step.want && (decode(t, drawn) != page || !strings.HasPrefix(page, "https://hourkey.example/requests/req-")) {
				t.Errorf("the code says %q, the line %q", decode(t, drawn), page)
			}
		})
	}
}

// The attack: a request's link that works nowhere but here, or an answer to a pipe that a program must read.
func TestNoQRCodeForAPipeNorForThisMachine(t *testing.T) {
	fake, environ := enrolled(t)
	environ = append(environ, "TERM=xterm", "NO_COLOR=", "HOURKEY_QR=")
	said, _ := onTerminal(t, environ, 80, 24, "request", "--scope", "orders-db:public.orders:delete")
	if strings.ContainsAny(said, "▀▄█") || strings.Count(said, "no QR code: 127.0.0.1 is this machine") != 1 {
		t.Errorf("on a terminal:\n%s", said)
	}
	fake.showPagesAt("https://hourkey.example")
	command := hourkey(environ, "request", "--scope", "orders-db:public.orders:delete")
	piped, _ := command.CombinedOutput()
	if strings.ContainsAny(string(piped), "▀▄█\x1b") || strings.Contains(string(piped), "QR") || !strings.Contains(string(piped), "phrase: amber") {
		t.Errorf("through a pipe:\n%s", piped)
	}
}

func TestIsThisMachine(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST.": true, "a.localhost": true, "127.0.0.1": true, "127.8.9.1": true, "::1": true, "0.0.0.0": true, "": false,
		"hourkey.example": false, "10.0.0.1": false, "localhost.example": false, "192.168.1.2": false,
	} {
		if got := isThisMachine(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}
