package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/hourkey/hourkey/broker"
)

// SocketName is the file in the data folder.
const SocketName = "admin.sock"

// maxSocketPath is what sockaddr_un takes, without its closing zero (unix(7)).
const maxSocketPath = 107

// SocketPath is where the socket of a data folder is.
func SocketPath(data string) (string, error) {
	path := filepath.Join(data, SocketName)
	if len(path) > maxSocketPath {
		return "", broker.Errorf(broker.CodeInvalid, "the path of the admin socket, %s, is longer than the %d bytes a socket may have", path, maxSocketPath).
			WithNext("set data: in hourkey.yaml to a shorter path")
	}
	return path, nil
}

// Listen opens the socket of a data folder. The caller holds the lock of the store in it, so that a
// socket which is there already was left behind by a broker that is gone.
func Listen(data string, log *slog.Logger) (net.Listener, error) {
	path, err := SocketPath(data)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("removing an old admin socket: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("opening the admin socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("closing the admin socket to others: %w", err), listener.Close())
	}
	return &peers{Listener: listener, allowed: ownOrRoot, log: log}, nil
}

// peers hands on only the connections of allowed users. The socket's mode keeps the others away as
// well; this holds when a mode or a mount option is not what it should be.
type peers struct {
	net.Listener
	allowed func(uid uint32) bool
	log     *slog.Logger
}

// Accept gives the next connection of an allowed peer.
func (p *peers) Accept() (net.Conn, error) {
	for {
		conn, err := p.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid, err := peerUID(conn)
		if err == nil && p.allowed(uid) {
			return conn, nil
		}
		p.log.Warn("refused a peer at the admin socket", "uid", uid, "error", err)
		_ = conn.Close()
	}
}

func ownOrRoot(uid uint32) bool { return uid == 0 || int64(uid) == int64(os.Geteuid()) }

// peerUID asks the kernel who connected.
func peerUID(conn net.Conn) (uid uint32, err error) {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, errors.New("not a unix socket")
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { uid, failed = uidOf(int(fd)) })
	return uid, errors.Join(err, failed)
}
