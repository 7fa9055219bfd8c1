// Package miniotest starts a real MinIO for a test: the program that tools/minio names, on a free loopback port, in a
// temporary folder.
//
// It owns the server it started and stops it by its process id; it touches no other. It is imported by tests only.
package miniotest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/hourkey/hourkey/broker/brokertest/freeport"
)

// Version is the release of MinIO that tools/minio names.
const Version = "v0.0.0-20260212201848-7aac2a2c5b7c"

// Region is what the server calls itself.
const Region = "us-east-1"

// The server's root user.
const (
	RootKey    = "minio-root-of-the-test"
	RootSecret = "root-password-of-the-test"
)

// ErrAbsent means that a program has not been built on this machine.
var ErrAbsent = errors.New("this machine has no")

const startWithin = time.Minute

// Server is a running MinIO. Its methods are safe for concurrent use, Stop excepted.
type Server struct {
	URL string // http://127.0.0.1:…

	folder  string
	process *exec.Cmd
	stdin   io.Closer // closing it, or our death, stops the server
	log     *bytes.Buffer
}

// New starts a server that the caller must Stop: for TestMain, where there is no test yet. Without the program it is
// ErrAbsent.
func New() (*Server, error) {
	path, err := program("minio-" + Version)
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "hourkey-minio-")
	if err != nil {
		return nil, err
	}
	s := &Server{folder: folder, log: &bytes.Buffer{}}
	if err := s.start(path); err != nil {
		s.Stop()
		return nil, fmt.Errorf("starting MinIO: %w", err)
	}
	return s, nil
}

// TofuVersion is the OpenTofu that tools/tofu builds.
const TofuVersion = "v1.12.6"

// Tofu finds OpenTofu, or says ErrAbsent and how to get it.
func Tofu() (string, error) {
	return built("tofu", "tofu-"+TofuVersion, "github.com/opentofu/opentofu/cmd/tofu")
}

// program finds what tools/minio builds.
func program(name string) (string, error) {
	kind, _, _ := strings.Cut(name, "-")
	return built("minio", name, "github.com/minio/"+kind)
}

func built(folder, name, from string) (string, error) {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(home, ".cache")
	}
	path := filepath.Join(cache, "hourkey", "bin", name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w %s: build it with (cd tools/%s && go build -trimpath -ldflags=-s -o ~/.cache/hourkey/bin/%s %s)", ErrAbsent, name, folder, name, from)
	}
	return path, nil
}

// watch runs the server beside a reader of stdin, and kills it by its id when stdin ends: when we close it, or die.
const watch = `"$@" & pid=$!; cat >/dev/null; kill -9 $pid; wait $pid 2>/dev/null`

func (s *Server) start(program string) error {
	port, err := freeport.Take()
	if err != nil {
		return err
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	s.URL = "http://" + address
	s.process = exec.Command("/bin/sh", "-c", watch, "sh", program, "server", "--quiet", "--certs-dir", filepath.Join(s.folder, "certs"),
		"--address", address, filepath.Join(s.folder, "data"))
	s.process.Env = []string{
		"PATH=/usr/bin:/bin", "HOME=" + s.folder, "MINIO_ROOT_USER=" + RootKey, "MINIO_ROOT_PASSWORD=" + RootSecret,
		"MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_REGION_NAME=" + Region,
	}
	s.process.Stdout, s.process.Stderr = s.log, s.log
	if s.stdin, err = s.process.StdinPipe(); err != nil {
		return err
	}
	if err := s.process.Start(); err != nil {
		return err
	}
	return s.await()
}

func (s *Server) await() error {
	client := &http.Client{Timeout: 10 * time.Second}
	for until := time.Now().Add(startWithin); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		answer, err := client.Get(s.URL + "/minio/health/cluster")
		if err != nil {
			continue
		}
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("it does not answer: %s", s.log)
}

// Stop ends the server and removes what it kept. It may be called twice.
func (s *Server) Stop() {
	if s.process != nil && s.process.Process != nil {
		_ = s.stdin.Close()
		_ = s.process.Wait()
		s.process = nil
	}
	_ = os.RemoveAll(s.folder)
}

// S3 is a client of somebody's.
func (s *Server) S3(key, secret, token string) *s3.Client {
	return s3.New(s3.Options{
		Region: Region, BaseEndpoint: &s.URL, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(key, secret, token), RetryMaxAttempts: 2,
	})
}

// Root is a client that may do anything.
func (s *Server) Root() *s3.Client { return s.S3(RootKey, RootSecret, "") }

// Bucket makes a bucket and puts objects with these keys into it.
func (s *Server) Bucket(tb testing.TB, name string, versioned bool, keys ...string) {
	tb.Helper()
	ctx, root := context.Background(), s.Root()
	if _, err := root.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name}); err != nil {
		tb.Fatal(err)
	}
	if versioned {
		s.Version(tb, name, s3types.BucketVersioningStatusEnabled)
	}
	for _, key := range keys {
		if _, err := root.PutObject(ctx, &s3.PutObjectInput{Bucket: &name, Key: &key, Body: strings.NewReader("content of " + key)}); err != nil {
			tb.Fatal(err)
		}
	}
}

// Version switches a bucket's versioning.
func (s *Server) Version(tb testing.TB, name string, status s3types.BucketVersioningStatus) {
	tb.Helper()
	_, err := s.Root().PutBucketVersioning(context.Background(), &s3.PutBucketVersioningInput{
		Bucket: &name, VersioningConfiguration: &s3types.VersioningConfiguration{Status: status},
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// Versions counts what a bucket keeps under a key: versions, and markers of deletions.
func (s *Server) Versions(tb testing.TB, bucket, key string) (versions, markers int) {
	tb.Helper()
	out, err := s.Root().ListObjectVersions(context.Background(), &s3.ListObjectVersionsInput{Bucket: &bucket, Prefix: aws.String(key)})
	if err != nil {
		tb.Fatal(err)
	}
	return len(out.Versions), len(out.DeleteMarkers)
}

// ClientVersion is that of MinIO's own client, which tools/minio names.
const ClientVersion = "v0.0.0-20250313080218-cf909e1063a9"

// MC runs a line of MinIO's own client, with the server under the name minio, as its root. Where the client has not been
// built the test is skipped, or fails if HOURKEY_TEST_ALL=1.
func (s *Server) MC(tb testing.TB, folder, line string) {
	tb.Helper()
	if said, err := s.MCAs(tb, folder, line, RootKey, RootSecret, ""); err != nil {
		tb.Fatalf("%s: %v: %s", line, err, said)
	}
}

// MCAs is MC as somebody, and gives what the client said.
func (s *Server) MCAs(tb testing.TB, folder, line, key, secret, token string) (said string, err error) {
	tb.Helper()
	path, err := program("mc-" + ClientVersion)
	if err != nil {
		if os.Getenv("HOURKEY_TEST_ALL") != "1" {
			tb.Skip(err)
		}
		tb.Fatal(err)
	}
	words := strings.Fields(line)
	if len(words) < 2 || words[0] != "mc" {
		tb.Fatalf("%q is no line for mc", line)
	}
	if token != "" {
		secret += ":" + token
	}
	c := exec.Command(path, words[1:]...)
	c.Dir = folder
	c.Env = []string{"HOME=" + s.folder, "MC_CONFIG_DIR=" + filepath.Join(s.folder, "mc"), "MC_HOST_minio=http://" + key + ":" + secret + "@" + strings.TrimPrefix(s.URL, "http://")}
	out, err := c.CombinedOutput()
	return string(out), err
}
