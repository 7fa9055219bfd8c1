package kubetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/hourkey/hourkey/broker/brokertest/freeport"
)

// Version is the release that tools/kubernetes/go.mod names; the binaries bear it.
const Version = "v1.36.3"

// ErrAbsent means that this machine lacks a program that the server needs.
var ErrAbsent = errors.New("kube-apiserver or etcd is not on this machine: build the first from tools/kubernetes (./test.sh does) and install the second (Debian: apt-get install etcd-server)")

// Server is a running API server. Its methods are safe for concurrent use, Stop excepted.
type Server struct {
	URL string // "https://127.0.0.1:PORT"
	CA  []byte // PEM, that the server's certificate is of
	Dir string // holds data, keys and logs

	token  string // of a superuser, whom RBAC does not limit
	client *http.Client
	keys   *keys
	etcd   *process
	server *process
}

// Start starts a server for one test and stops it at the test's end. Where a program is missing the test is
// skipped, or fails if HOURKEY_TEST_ALL=1. flags are further ones of kube-apiserver.
func Start(tb testing.TB, flags ...string) *Server {
	tb.Helper()
	server, err := New(flags...)
	if errors.Is(err, ErrAbsent) && os.Getenv("HOURKEY_TEST_ALL") != "1" {
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatalf("starting kube-apiserver: %v", err)
	}
	tb.Cleanup(server.Stop)
	return server
}

// New starts a server that the caller must Stop: for TestMain, where there is no test yet.
func New(flags ...string) (*Server, error) {
	apiserver, etcd, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "hourkey-kube-")
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir}
	for range 3 { // another process may take a free port before the server does
		if err = s.start(etcd, apiserver, flags); err == nil {
			return s, nil
		}
		s.stop()
	}
	s.Stop()
	return nil, err
}

// Stop ends both programs at once and removes the folder. It may be called twice.
func (s *Server) Stop() {
	s.stop()
	_ = os.RemoveAll(s.Dir)
}

func (s *Server) stop() {
	if s.client != nil {
		s.client.CloseIdleConnections()
	}
	s.server.stop()
	s.etcd.stop()
}

// Token is the superuser's token.
func (s *Server) Token() string { return s.token }

// Pause stops the API server without ending it, as a machine that hangs; resume lets it go on.
func (s *Server) Pause() (resume func(), err error) { return s.server.pause() }

// PauseStore stops etcd in the same way: the API server lives, and can read and write nothing.
func (s *Server) PauseStore() (resume func(), err error) { return s.etcd.pause() }

func (s *Server) start(etcd, apiserver string, flags []string) (err error) {
	if s.keys, err = newKeys(s.Dir); err != nil {
		return err
	}
	s.CA, s.token = s.keys.authority, s.keys.token
	s.client = s.Client()
	store, err := s.startEtcd(etcd)
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	s.URL = "https://" + net.JoinHostPort(loopback, port)
	args := append([]string{
		"--etcd-servers=" + store, "--bind-address=" + loopback, "--secure-port=" + port, "--advertise-address=" + loopback,
		"--tls-cert-file=" + s.keys.path("server.crt"), "--tls-private-key-file=" + s.keys.path("server.key"), "--cert-dir=" + s.Dir,
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + s.keys.path("accounts.key"),
		"--service-account-signing-key-file=" + s.keys.path("accounts.key"),
		"--authorization-mode=Node,RBAC", "--token-auth-file=" + s.keys.path("tokens.csv"), "--service-cluster-ip-range=10.0.0.0/24",
		"--endpoint-reconciler-type=none", "--shutdown-delay-duration=0s", "--allow-privileged=true", // as clusters have it
	}, flags...)
	if s.server, err = launch(s.Dir, "kube-apiserver", apiserver, args...); err != nil {
		return err
	}
	return s.server.await(func(ctx context.Context) error { return s.Do(ctx, s.token, "GET", "/readyz", nil, nil) })
}

func (s *Server) startEtcd(program string) (url string, err error) {
	port, err := freePort()
	if err != nil {
		return "", err
	}
	peer, err := freePort()
	if err != nil {
		return "", err
	}
	url, other := "http://"+net.JoinHostPort(loopback, port), "http://"+net.JoinHostPort(loopback, peer)
	s.etcd, err = launch(s.Dir, "etcd", program, "--data-dir", filepath.Join(s.Dir, "etcd-"+port), "--listen-client-urls", url,
		"--advertise-client-urls", url, "--listen-peer-urls", other, "--initial-advertise-peer-urls", other, "--initial-cluster", "default="+other)
	if err != nil {
		return "", err
	}
	return url, s.etcd.await(func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(loopback, port))
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
}

const loopback = "127.0.0.1"

func freePort() (string, error) {
	port, err := freeport.Take()
	return strconv.Itoa(port), err
}

// binaries gives the two programs.
func binaries() (apiserver, etcd string, err error) {
	if apiserver, err = built("kube-apiserver"); err != nil {
		return "", "", err
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH") + ":/usr/bin:/usr/local/bin") {
		etcd = filepath.Join(dir, "etcd")
		if isProgram(etcd) {
			return apiserver, etcd, nil
		}
	}
	return "", "", ErrAbsent
}

// Kubectl gives the path of kubectl, ErrAbsent without it.
func Kubectl() (string, error) { return built("kubectl") }

// built finds a program where test.sh puts what it builds.
func built(name string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrAbsent, err)
	}
	path := filepath.Join(cache, "hourkey", "bin", name+"-"+Version)
	if !isProgram(path) {
		return "", ErrAbsent
	}
	return path, nil
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// patient is how long a program may take to start on a busy machine.
const patient = 2 * time.Minute
