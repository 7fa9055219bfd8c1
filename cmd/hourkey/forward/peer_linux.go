package forward

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// peersAreKnown: the kernel tells whose a socket is.
const peersAreKnown = true

// peerUID finds the user of the TCP socket that is bound to local and connected to remote, both IPv4, in
// the kernel's tables (proc_pid_net(5)). An IPv6 socket can carry IPv4, so it may stand in either; and
// since a table that changes while it is read can hide a line, it is read again before a socket is unknown.
func peerUID(local, remote netip.AddrPort) (uid int, found bool) {
	const four, six = "/proc/net/tcp", "/proc/net/tcp6"
	for _, path := range []string{four, six, four, six} {
		table, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if uid, found = findSocket(string(table), local, remote); found {
			return uid, true
		}
	}
	return 0, false
}

// findSocket searches a table whose columns are: number, local address, remote address, state, queues,
// timer, retransmissions, uid. A socket that is closing (TIME_WAIT) is listed as root's.
func findSocket(table string, local, remote netip.AddrPort) (uid int, found bool) {
	const mapped = "0000000000000000FFFF0000" // ::ffff:0:0/96
	for _, prefix := range []string{"", mapped} {
		_, line, listed := strings.Cut(table, " "+prefix+kernelAddr(local)+" "+prefix+kernelAddr(remote)+" ")
		line, _, _ = strings.Cut(line, "\n")
		columns := strings.Fields(line) // from the state on
		if !listed || len(columns) < 5 {
			continue
		}
		uid, err := strconv.Atoi(columns[4])
		return uid, err == nil
	}
	return 0, false
}

// kernelAddr writes an IPv4 address as the kernel does: a number in the byte order of the machine
// (little-endian wherever Hourkey is built for), the port in plain hex.
func kernelAddr(at netip.AddrPort) string {
	b := at.Addr().As4()
	return fmt.Sprintf("%02X%02X%02X%02X:%04X", b[3], b[2], b[1], b[0], at.Port())
}
