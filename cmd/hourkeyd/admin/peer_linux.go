package admin

import "golang.org/x/sys/unix"

// uidOf is SO_PEERCRED (unix(7)): who connected, at the time of the connect.
func uidOf(fd int) (uint32, error) {
	peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, err
	}
	return peer.Uid, nil
}
