// Package pgtest starts a real PostgreSQL for a test: a cluster of its own in a temporary folder, on a
// free loopback port, with scram-sha-256 for every login, under an unprivileged user.
//
// It owns the server it started and stops it by its process id; it touches no other. It is imported by
// tests only. It needs PostgreSQL 15 or newer, on Debian: apt-get install postgresql.
package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hourkey/hourkey/broker/brokertest/freeport"
)

// Superuser is the cluster's superuser; Server.SuperuserDSN logs in as it.
const Superuser = "postgres"

// ErrAbsent means that this machine has no PostgreSQL to start.
var ErrAbsent = errors.New("no PostgreSQL on this machine: install it (Debian: apt-get install postgresql) or set HOURKEY_PG_BIN to the folder of initdb and postgres")

// Server is a running PostgreSQL. Its methods are safe for concurrent use, Stop and SetHBA excepted.
type Server struct {
	Host string // "127.0.0.1"
	Port int
	Dir  string // holds the data folder and the socket

	password string
	process  *exec.Cmd
	stdin    io.Closer // closing it, or our death, stops the server
}

// Start starts a server for one test and stops it at the test's end. settings are "name=value" for
// postgresql.conf. Where there is no PostgreSQL the test is skipped, or fails if HOURKEY_TEST_ALL=1.
func Start(tb testing.TB, settings ...string) *Server {
	tb.Helper()
	server, err := New(settings...)
	if errors.Is(err, ErrAbsent) && os.Getenv("HOURKEY_TEST_ALL") != "1" {
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatalf("starting PostgreSQL: %v", err)
	}
	tb.Cleanup(server.Stop)
	return server
}

// New starts a server that the caller must Stop: for TestMain, where there is no test yet.
func New(settings ...string) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "hourkey-pg-")
	if err != nil {
		return nil, err
	}
	s := &Server{Host: "127.0.0.1", Dir: dir, password: rand.Text()}
	if err := s.initialise(bin); err != nil {
		s.Stop()
		return nil, err
	}
	if err := s.start(bin, settings); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// DSN gives a connection URL. sslmode is disable: the test server speaks plain TCP on loopback.
func (s *Server) DSN(user, password, database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(user, password),
		Host: net.JoinHostPort(s.Host, strconv.Itoa(s.Port)), Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// SuperuserDSN gives the superuser's connection URL for a database.
func (s *Server) SuperuserDSN(database string) string {
	return s.DSN(Superuser, s.password, database)
}

// SuperuserPassword is the random password of Superuser.
func (s *Server) SuperuserPassword() string { return s.password }

// Exec runs statements as the superuser, each in a transaction of its own.
func (s *Server) Exec(tb testing.TB, database string, statements ...string) {
	tb.Helper()
	if err := s.Try(database, statements...); err != nil {
		tb.Fatal(err)
	}
}

// Try is Exec for callers without a test.
func (s *Server) Try(database string, statements ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.SuperuserDSN(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// SetHBA replaces pg_hba.conf and has it read. The superuser keeps its login in front of the lines.
func (s *Server) SetHBA(tb testing.TB, lines ...string) {
	tb.Helper()
	text := "host all " + Superuser + " 127.0.0.1/32 scram-sha-256\n" + strings.Join(lines, "\n") + "\n"
	if err := os.WriteFile(filepath.Join(s.data(), "pg_hba.conf"), []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	before := s.loaded(tb)
	s.Exec(tb, "postgres", "SELECT pg_reload_conf()")
	for end := time.Now().Add(time.Minute); !s.loaded(tb).After(before); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatal("PostgreSQL does not read pg_hba.conf")
		}
	}
}

// loaded is when the server read its files: a new session has that from the postmaster, which read pg_hba.conf with them.
func (s *Server) loaded(tb testing.TB) (at time.Time) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.SuperuserDSN("postgres"))
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, "SELECT pg_conf_load_time()").Scan(&at); err != nil {
		tb.Fatal(err)
	}
	return at
}

// Stop ends the server at once and removes its folder. It may be called twice.
func (s *Server) Stop() {
	if s.process != nil {
		_ = s.stdin.Close()
		_ = s.process.Wait()
		s.process = nil
	}
	_ = os.RemoveAll(s.Dir)
}

func (s *Server) data() string { return filepath.Join(s.Dir, "data") }

func (s *Server) initialise(bin string) error {
	secret := filepath.Join(s.Dir, "password")
	if err := os.WriteFile(secret, []byte(s.password), 0o600); err != nil {
		return err
	}
	if who := unprivileged(); who != nil {
		for _, path := range []string{s.Dir, secret} {
			if err := os.Chown(path, int(who.Uid), int(who.Gid)); err != nil {
				return err
			}
		}
	}
	cmd := s.command(filepath.Join(bin, "initdb"), "--pgdata", s.data(), "--username", Superuser, "--pwfile", secret,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return os.Remove(secret)
}

// start tries a few ports: another process may take a free one before the server does.
func (s *Server) start(bin string, settings []string) error {
	var err error
	for range 3 {
		if s.Port, err = freeport.Take(); err != nil {
			return err
		}
		if err = s.launch(bin, settings); err == nil {
			return nil
		}
	}
	return err
}

// launch runs the server under a shell that holds a pipe from us: when the pipe closes, because of Stop or
// because the test died, the shell ends the server. So no killed test leaves one behind.
func (s *Server) launch(bin string, settings []string) error {
	const guard = `"$@" </dev/null & server=$!; read -r _; kill -INT "$server"; wait "$server"`
	args := []string{"-c", guard, "sh", filepath.Join(bin, "postgres"), "-D", s.data(), "-k", s.Dir, "-p", strconv.Itoa(s.Port),
		"-c", "listen_addresses=" + s.Host, "-c", "max_connections=250", "-c", "log_min_messages=fatal"}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	cmd := s.command("/bin/sh", args...)
	log := filepath.Join(s.Dir, "log")
	out, err := os.OpenFile(log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if s.stdin, err = cmd.StdinPipe(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.process = cmd
	if err := s.await(); err != nil {
		_ = s.stdin.Close()
		_ = cmd.Wait()
		s.process = nil
		said, _ := os.ReadFile(log)
		return fmt.Errorf("postgres did not start: %w: %s", err, said)
	}
	return nil
}

func (s *Server) await() error {
	var err error
	for range 1000 { // 20 seconds, or longer on a busy machine
		if err = s.Try("postgres", "SELECT 1"); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

func (s *Server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = s.Dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	if who := unprivileged(); who != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	}
	return cmd
}

// unprivileged is whom the server runs as, nil for ourselves: PostgreSQL refuses to run as root.
func unprivileged() *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		who, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(who.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(who.Gid, 10, 32)
		if uidErr == nil && gidErr == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	return nil
}

// binaries gives the folder of initdb and postgres: HOURKEY_PG_BIN, else the newest of Debian's.
func binaries() (string, error) {
	if dir := os.Getenv("HOURKEY_PG_BIN"); dir != "" {
		return dir, nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	if len(found) > 0 {
		return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", ErrAbsent
}
