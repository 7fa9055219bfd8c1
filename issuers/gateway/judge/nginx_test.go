//go:build linux

package judge

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker/brokertest/freeport"
)

// The attack on a judge of paths is a path that the server behind reads as another one. Here two servers
// that were written by others are asked: Debian's nginx, and Go's net/http, alone and behind nginx. A path
// that NormalPath takes is the same one to all of them; and so is what is sent in its place.

// nginx is a server that answers each request with the path that it read. It belongs to the test.
type nginx struct {
	testing.TB
	alone, front string // addresses: it answers itself; it passes on to Go
}

// settings of an nginx that writes nowhere but into its folder. The front gives proxy_pass a path of its own,
// so that it passes on what it read, escaped anew, and not what came.
const nginxSettings = `
daemon off; master_process off; pid nginx.pid;
events { worker_connections 64; }
http {
	access_log off; keepalive_requests 1000000; large_client_header_buffers 4 64k; default_type text/plain;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; scgi_temp_path scgi; uwsgi_temp_path uwsgi;
	upstream go { server %s; keepalive 4; }
	server { listen %s; location / { return 200 "$uri"; } }
	server { listen %s; location / { proxy_pass http://go/; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_redirect off; } }
}
`

// startNginx starts one as a user who may nothing, where the test may choose.
func startNginx(t *testing.T) *nginx {
	t.Helper()
	binary := findNginx(t)
	dir, err := os.MkdirTemp("", "hknginx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) }))
	t.Cleanup(behind.Close)
	n := &nginx{t, freeAddress(t), freeAddress(t)}
	settings := fmt.Sprintf(nginxSettings, behind.Listener.Addr(), n.alone, n.front)
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(binary, "-p", dir, "-c", "nginx.conf", "-e", "error.log")
	command.Env = []string{}
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing outlives a test that died
	if os.Geteuid() == 0 {
		const nobody = 65534
		command.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	var says bytes.Buffer
	command.Stdout, command.Stderr = &says, &says
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = command.Wait() }() // it is killed
	t.Cleanup(func() { _ = command.Process.Kill(); <-ended })
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		select {
		case <-ended:
			log, _ := os.ReadFile(filepath.Join(dir, "error.log"))
			t.Fatalf("nginx ended: %v\n%s%s", command.ProcessState, says.String(), log)
		default:
		}
		if conn, err := net.Dial("tcp", n.front); err == nil {
			_ = conn.Close()
			return n
		}
		if time.Now().After(deadline) {
			t.Fatal("nginx does not answer")
		}
	}
}

func findNginx(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const hint = "no nginx, whose reading of paths ours is held against (Debian: apt-get install nginx-light)"
	if os.Getenv("HOURKEY_TEST_ALL") == "1" {
		t.Fatal(hint)
	}
	t.Skip(hint)
	return ""
}

func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// read gives what the server at the address read of each path; "<status>" where it refused one.
func (n *nginx) read(address string, paths []string) []string {
	n.Helper()
	var all []string
	for len(all) < len(paths) {
		some, err := readPipelined(address, paths[len(all):])
		if err != nil || len(some) == 0 {
			n.Fatalf("asking %s for %q: %v", address, paths[len(all)+len(some)], err)
		}
		all = append(all, some...)
	}
	return all
}

// readPipelined asks on one connection, which ends early where the server closes it.
func readPipelined(address string, paths []string) (all []string, err error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return nil, err
	}
	answers := bufio.NewReader(conn)
	for some := range slices.Chunk(paths, 32) {
		var requests strings.Builder
		for _, path := range some {
			fmt.Fprintf(&requests, "GET %s HTTP/1.1\r\nHost: reader.test\r\n\r\n", path)
		}
		if _, err := io.WriteString(conn, requests.String()); err != nil {
			return all, unlessSome(all, err)
		}
		for range some {
			answer, err := http.ReadResponse(answers, nil)
			if err != nil {
				return all, unlessSome(all, err)
			}
			body, err := io.ReadAll(answer.Body)
			if err != nil {
				return all, err
			}
			if answer.StatusCode != http.StatusOK {
				body = fmt.Appendf(nil, "<%d>", answer.StatusCode)
			}
			all = append(all, string(body))
		}
	}
	return all, nil
}

func unlessSome(all []string, err error) error {
	if len(all) > 0 {
		return nil
	}
	return err
}

// readByGo gives what net/http reads of a path, and what a ServeMux gives to a handler by it: "<301>" where
// it would have mended the path. An error is a request that is no request.
func readByGo(path string) (url, mux string, err error) {
	request, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + path + " HTTP/1.1\r\nHost: reader.test\r\n\r\n")))
	if err != nil {
		return "", "", err
	}
	routes := http.NewServeMux()
	routes.HandleFunc("/{rest...}", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "/"+r.PathValue("rest")) })
	answer := httptest.NewRecorder()
	routes.ServeHTTP(answer, request)
	if mux = answer.Body.String(); answer.Code != http.StatusOK {
		mux = fmt.Sprintf("<%d>", answer.Code)
	}
	return request.URL.Path, mux, nil
}

// sameToAll fails for a path that we take and that somebody reads as another.
func (n *nginx) sameToAll(paths []string) {
	n.Helper()
	var taken, sent []string
	var segments [][]string
	for _, path := range paths {
		if parts, err := NormalPath(path); err == nil {
			taken, sent, segments = append(taken, path), append(sent, escapePath(parts)), append(segments, parts)
		}
	}
	n.Logf("%d paths, of which %d are taken", len(paths), len(taken))
	if len(taken) == 0 {
		n.Fatal("none is taken: nothing was tested")
	}
	readings := map[string][]string{
		"nginx": n.read(n.alone, taken), "Go behind nginx": n.read(n.front, taken),
		"nginx, of what is sent": n.read(n.alone, sent), "Go behind nginx, of what is sent": n.read(n.front, sent),
	}
	for at, parts := range segments {
		want := "/" + strings.Join(parts, "/")
		for who, reading := range readings {
			if reading[at] != want {
				n.Errorf("%s reads %q as %q; we read %q", who, taken[at], reading[at], want)
			}
		}
		for _, path := range []string{taken[at], sent[at]} {
			if url, mux, err := readByGo(path); err != nil || url != want || mux != want {
				n.Errorf("Go reads %q as %q, its ServeMux as %q, %v; we read %q", path, url, mux, err, want)
			}
		}
		if again, err := NormalPath(sent[at]); err != nil || !slices.Equal(again, parts) {
			n.Errorf("what is sent for %q is %q, and reads as %q, %v", taken[at], sent[at], again, err)
		}
	}
}

// pathTokens are what attacks on paths are made of, with what they are hidden in.
func pathTokens() []string {
	return []string{
		"/", "a", "B", "0", ".", "..", "...", "~", "-", "_", "%2f", "%2F", "%2e", "%2E", "%252e", "%252f", "%5c", "%5C", `\`, "%25", "%", "%0", "%zz", "%00",
		"%0a", "%0d", "%09", "%20", " ", "+", ";", "%3b", "?", "%3f", "#", "%23", ":", "@", "&", "=", ",", "!", "*", "$", "'", "(", ")", "|", "^", "`", "{", "}",
		"%7f", "%80", "%c0%ae", "%c0%af", "%e2%80%8b", "%EF%BC%8F", "%C3%A9", "é", "%e0%80%af", "%u002e", "%ff", "..;", ".%2e", "%2e.", "%61", "//", "/./", "/../",
	}
}

// TestPathReadInTwoWays puts together all pairs and triples of what attacks are made of.
func TestPathReadInTwoWays(t *testing.T) {
	n := startNginx(t)
	var paths []string
	tokens := pathTokens()
	for _, one := range tokens {
		for _, two := range tokens {
			paths = append(paths, "/"+one+two, "/a"+one+two+"b", "/a/"+one+"/"+two)
			for _, three := range tokens {
				paths = append(paths, "/v1/"+one+two+three)
			}
		}
	}
	n.sameToAll(paths)
}

// TestEveryByteInAPath tries each byte, escaped in both cases and as it is, at every place of a segment.
func TestEveryByteInAPath(t *testing.T) {
	n := startNginx(t)
	var paths []string
	for b := range 256 {
		for _, text := range []string{string([]byte{byte(b)}), fmt.Sprintf("%%%02x", b), fmt.Sprintf("%%%02X", b)} {
			if text == "\n" || text == "\r" || text == " " {
				continue // it ends the request line: net/http and nginx see another request
			}
			paths = append(paths, "/"+text, "/"+text+"a", "/a"+text, "/a"+text+"a", "/a/"+text+"/b", "/"+text+text)
		}
	}
	n.sameToAll(paths)
}

// TestRandomPathReadInTwoWays also makes paths out of random bytes, rightly escaped, so that long ones are taken.
func TestRandomPathReadInTwoWays(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	n := startNginx(t)
	var paths []string
	tokens := pathTokens()
	for range 20_000 {
		var path strings.Builder
		for range 1 + random.IntN(6) {
			path.WriteString("/")
			for range random.IntN(5) {
				path.WriteString(tokens[random.IntN(len(tokens))])
			}
		}
		paths = append(paths, "/"+strings.TrimPrefix(path.String(), "/"))
	}
	for range 10_000 {
		var path strings.Builder
		for range 1 + random.IntN(8) {
			path.WriteString("/")
			for range 1 + random.IntN(12) {
				writeRandomly(&path, random)
			}
		}
		paths = append(paths, path.String())
	}
	n.sameToAll(paths)
}

// writeRandomly writes one character: mostly as it is, else escaped as it need not be, in either case.
func writeRandomly(to *strings.Builder, random *rand.Rand) {
	character := []rune("abzAZ09-._~!$&'()*+,=:@ \"<>[]é€😀\u0301\u200b\u202e")
	text := string(character[random.IntN(len(character))])
	if random.IntN(20) == 0 {
		text = string(rune(random.IntN(0x3000)))
	}
	for _, b := range []byte(text) {
		switch plain := isUnreserved(b) || strings.IndexByte("!$&'()*+,=:@", b) >= 0; {
		case plain && random.IntN(100) > 0:
			to.WriteByte(b)
		case random.IntN(2) == 0:
			fmt.Fprintf(to, "%%%02x", b)
		default:
			fmt.Fprintf(to, "%%%02X", b)
		}
	}
}

// TestPathsThatServersDisagreeOn shows that the readers can tell: each of these is a way past somebody's
// judgement, since servers read it differently, or mend it; and none is taken.
func TestPathsThatServersDisagreeOn(t *testing.T) {
	n := startNginx(t)
	attacks := []string{
		"/v1/safe/../projects/p1", "/v1/safe/%2e%2e/projects/p1", "/v1/safe/.%2E/projects/p1", "/v1/./projects/p1", "/v1//projects/p1", "//v1/projects/p1",
		"/v1/projects/p1/..", "/v1/projects/p1/.", "/v1/projects%2fp1", "/v1/projects/p1%2F..%2F..%2Fp2", "/v1/projects%2f..", "/%2e%2e/v1", "/..%2fv1", "/v1/%2e/p1",
		"/v1%2f%2fp1",
	}
	var differ []string
	for at, byNginx := range n.read(n.alone, attacks) {
		path := attacks[at]
		url, mux, err := readByGo(path)
		naive := strings.Split(strings.TrimPrefix(path, "/"), "/")
		if _, refused := NormalPath(path); refused == nil {
			t.Errorf("%s is taken; nginx reads %q, Go %q, its ServeMux %q", path, byNginx, url, mux)
		}
		// Who compares the escaped segments one by one, as routers do, sees what naive is.
		if read := strings.Split(strings.TrimPrefix(byNginx, "/"), "/"); err != nil || byNginx != url || url != mux || len(read) != len(naive) {
			differ = append(differ, path)
		}
	}
	if len(differ) != len(attacks) {
		t.Errorf("only these are read in two ways, so the rest tests nothing: %q", differ)
	}
}
