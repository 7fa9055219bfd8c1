package judge

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits on a path. Providers' own are far below.
const (
	maxPathBytes = 8 << 10
	maxSegments  = 64
)

// NormalPath takes an escaped path, as in a request line, apart into its unescaped segments. "/" has none.
//
// It repairs nothing. What one server could read as another path than the next one is refused: empty, "."
// and ".." segments, a slash, backslash, percent sign, semicolon or control character behind an escape, an
// escape that needs none, a dot or blank at the end of a segment, bytes that are no UTF-8, and whatever a
// path must not have unescaped (RFC 3986, section 3.3).
func NormalPath(escaped string) (segments []string, err error) {
	switch {
	case !strings.HasPrefix(escaped, "/"):
		return nil, errors.New("the path does not begin with /")
	case len(escaped) > maxPathBytes:
		return nil, fmt.Errorf("the path is longer than %d bytes", maxPathBytes)
	case escaped == "/":
		return nil, nil
	}
	for part := range strings.SplitSeq(escaped[1:], "/") {
		segment, err := normalSegment(part)
		if err != nil {
			return nil, fmt.Errorf("the path segment %s: %w", shown(part), err)
		}
		if segments = append(segments, segment); len(segments) > maxSegments {
			return nil, fmt.Errorf("the path has more than %d segments", maxSegments)
		}
	}
	return segments, nil
}

func normalSegment(part string) (string, error) {
	for at := 0; at < len(part); at++ {
		switch b := part[at]; {
		case b == '%':
			if at+2 < len(part) && isUnreserved(unhex(part[at+1])<<4|unhex(part[at+2])) && isHex(part[at+1]) && isHex(part[at+2]) {
				return "", errors.New("it escapes what needs no escape")
			}
		case !isUnreserved(b) && !strings.ContainsRune("!$&'()*+,=:@", rune(b)):
			return "", fmt.Errorf("it has %s in it unescaped", shown(string(rune(b))))
		}
	}
	segment, err := url.PathUnescape(part)
	switch {
	case err != nil:
		return "", errors.New("it has an escape that is none")
	case segment == "":
		return "", errors.New("it is empty")
	case !utf8.ValidString(segment):
		return "", errors.New("it is not UTF-8")
	case strings.ContainsAny(segment, `/\%;`):
		return "", errors.New(`it has a slash, backslash, percent sign or semicolon in it`)
	case strings.ContainsFunc(segment, unicode.IsControl):
		return "", errors.New("it has a control character in it")
	case strings.HasSuffix(segment, ".") || strings.TrimSpace(segment) != segment:
		return "", errors.New("it ends with a dot, or begins or ends with a blank")
	}
	return segment, nil
}

func isUnreserved(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || strings.IndexByte("-._~", b) >= 0
}

func isHex(b byte) bool { return strings.IndexByte("0123456789abcdefABCDEF", b) >= 0 }

func unhex(b byte) byte {
	switch {
	case '0' <= b && b <= '9':
		return b - '0'
	case 'a' <= b && b <= 'f':
		return b - 'a' + 10
	}
	return b - 'A' + 10
}

// escapePath writes segments as a path. All but the unreserved characters are escaped: what is escaped is
// read as itself everywhere.
func escapePath(segments []string) string {
	if len(segments) == 0 {
		return "/"
	}
	var path []byte
	for _, segment := range segments {
		path = append(path, '/')
		for at := range len(segment) {
			if isUnreserved(segment[at]) {
				path = append(path, segment[at])
			} else {
				path = fmt.Appendf(path, "%%%02X", segment[at])
			}
		}
	}
	return string(path)
}
