package admin

import "golang.org/x/sys/unix"

// uidOf is LOCAL_PEERCRED (unix(4)): who connected, at the time of the connect.
func uidOf(fd int) (uint32, error) {
	peer, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return 0, err
	}
	return peer.Uid, nil
}
