package proxy

import (
	"bufio"
	"bytes"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
)

// guard reads the bytes of HTTP/1.1 before the server does and lets pass only heads that can be read in one
// way (RFC 9112 section 11.2): the server itself mends what is ambiguous, so a handler does not see it any
// more. net/http takes a chunked body with a Content-Length and forgets the length, takes two equal lengths,
// lines without CR, folded lines.
//
// It gives the server one head, then as many bytes as the head says, then the next head. After a chunked
// body, whose end it does not look for, nothing is read any more: the handler closes the connection.
// Instead of a head that is refused, the server reads one that says nothing, and then the end.
type guard struct {
	in      *bufio.Reader
	head    []byte // of the next request, as far as it was read
	checked []byte // of a head that may pass, not read by the server yet
	body    int64  // bytes that may pass after it
	chunked bool   // all bytes may pass after it
	refused atomic.Pointer[string]
}

// harmless stands for a head that was refused; the handler answers with why.
const harmless = "GET / HTTP/1.1\r\nHost: refused.invalid\r\nConnection: close\r\n\r\n"

// why tells what was wrong with a head, empty if nothing.
func (g *guard) why() string {
	if text := g.refused.Load(); text != nil {
		return *text
	}
	return ""
}

// Read is io.Reader's. After an error, like a deadline's, it goes on where it was.
func (g *guard) Read(into []byte) (int, error) {
	if len(into) == 0 {
		return 0, nil
	}
	if len(g.checked) == 0 && g.body == 0 && !g.chunked {
		if g.why() != "" {
			return 0, io.EOF
		}
		if err := g.next(); err != nil {
			return 0, err
		}
	}
	switch {
	case len(g.checked) > 0:
		n := copy(into, g.checked)
		g.checked = g.checked[n:]
		return n, nil
	case g.chunked:
		return g.in.Read(into)
	}
	n, err := g.in.Read(into[:min(int64(len(into)), g.body)])
	g.body -= int64(n)
	return n, err
}

// next reads and checks one head.
func (g *guard) next() error {
	for {
		line, err := g.in.ReadSlice('\n')
		g.head = append(g.head, line...)
		switch {
		case len(g.head) > mostHead:
			g.refuse("the head of the request has more than " + strconv.Itoa(mostHead) + " bytes")
			return nil
		case err == bufio.ErrBufferFull: //nolint:errorlint // ReadSlice gives exactly this
			continue
		case err != nil:
			return err
		}
		if bytes.HasSuffix(g.head, []byte("\n\r\n")) || bytes.HasSuffix(g.head, []byte("\n\n")) || len(g.head) <= 2 {
			break
		}
	}
	framing, why := readHead(string(g.head))
	if why != "" {
		g.refuse(why)
		return nil
	}
	g.checked, g.head = g.head, nil
	g.body, g.chunked = framing.length, framing.chunked
	return nil
}

func (g *guard) refuse(why string) {
	g.refused.Store(&why)
	g.checked, g.head = []byte(harmless), nil
}

// framing is how the end of a body is found.
type framing struct {
	length  int64
	chunked bool
}

// readHead says how the body is framed, or why the head may not pass.
func readHead(head string) (framing, string) {
	lines := strings.Split(strings.TrimSuffix(head, "\r\n\r\n"), "\r\n")
	if !strings.HasSuffix(head, "\r\n\r\n") || strings.ContainsAny(strings.Join(lines, ""), "\r\n\x00") {
		return framing{}, "the head of the request has a line that does not end in CR LF"
	}
	target, why := readRequestLine(lines[0])
	if why != "" {
		return framing{}, why
	}
	values := map[string][]string{} // lower-case name → values, of the names that matter here
	for _, line := range lines[1:] {
		name, value, found := strings.Cut(line, ":")
		if !found || !isToken(name) || hasControl(value) {
			return framing{}, "the request has a header line that can be read in two ways, or in none"
		}
		switch name = strings.ToLower(name); name {
		case "host", "content-length", "transfer-encoding":
			values[name] = append(values[name], strings.Trim(value, " \t"))
		}
	}
	if why := checkHost(target, values["host"]); why != "" {
		return framing{}, why
	}
	return readFraming(values["content-length"], values["transfer-encoding"])
}

// readRequestLine gives the target.
func readRequestLine(line string) (target, why string) {
	method, rest, _ := strings.Cut(line, " ")
	target, version, found := strings.Cut(rest, " ")
	switch {
	case strings.HasPrefix(version, "HTTP/2"):
		return "", "HTTP/2 is not spoken in a tunnel: use HTTP/1.1"
	case !found || !isToken(method) || target == "" || hasControl(target) || strings.Contains(target, "\t"):
		return "", "the request line can be read in two ways, or in none"
	case version != "HTTP/1.1":
		return "", "only HTTP/1.1 is spoken in a tunnel"
	}
	return target, ""
}

// checkHost wants one host, in the header and, in the absolute form, the same in the target: who stands
// between might have gone by the other one.
func checkHost(target string, hosts []string) string {
	if len(hosts) != 1 || hosts[0] == "" {
		return "a request wants exactly one Host header"
	}
	if strings.HasPrefix(target, "/") {
		return ""
	}
	_, rest, _ := strings.Cut(target, "://")
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	if !strings.EqualFold(rest[:end], hosts[0]) {
		return "the request line and the Host header name different hosts"
	}
	return ""
}

func readFraming(lengths, encodings []string) (framing, string) {
	switch {
	case len(encodings) > 0 && len(lengths) > 0:
		return framing{}, "the request has both Transfer-Encoding and Content-Length: its end can be read in two ways"
	case len(encodings) == 1 && strings.EqualFold(encodings[0], "chunked"):
		return framing{chunked: true}, ""
	case len(encodings) > 0:
		return framing{}, "the only Transfer-Encoding of a request is chunked, once"
	case len(lengths) == 0:
		return framing{}, ""
	case len(lengths) > 1:
		return framing{}, "the request has two Content-Length headers"
	}
	length, err := strconv.ParseInt(lengths[0], 10, 64)
	if err != nil || strings.Trim(lengths[0], "0123456789") != "" {
		return framing{}, "the Content-Length of the request is no number"
	}
	return framing{length: length}, ""
}

// isToken is RFC 9110 section 5.6.2.
func isToken(text string) bool {
	for i := range len(text) {
		c := text[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return text != ""
}

func hasControl(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < 0x20 && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}
