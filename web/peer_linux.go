package web

import (
	"bufio"
	"encoding/hex"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// peerUID asks the kernel who owns the TCP socket that is bound to local and connected to remote
// (proc(5), /proc/net/tcp).
func peerUID(local, remote netip.AddrPort) (uid int, found bool) {
	for _, path := range []string{"/proc/net/tcp", "/proc/net/tcp6"} { // an IPv6 socket can carry IPv4
		table, err := os.Open(path)
		if err != nil {
			continue
		}
		uid, found = findSocket(table, local, remote)
		_ = table.Close()
		if found {
			return uid, true
		}
	}
	return 0, false
}

// findSocket reads lines like
//
//	sl  local_address rem_address   st tx_queue:rx_queue tr:tm->when retrnsmt  uid …
//	 0: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000 …
func findSocket(table io.Reader, local, remote netip.AddrPort) (uid int, found bool) {
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 8 || socketAddr(fields[1]) != local || socketAddr(fields[2]) != remote {
			continue
		}
		if uid, err := strconv.Atoi(fields[7]); err == nil {
			return uid, true
		}
	}
	return 0, false
}

// socketAddr reads an address as the kernel prints it: words of 32 bits in the machine's byte order,
// which is little-endian wherever Hourkey is built for, and the port in hex. Zero if it is none.
func socketAddr(text string) netip.AddrPort {
	host, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	if err != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}
	}
	for word := range slices.Chunk(raw, 4) {
		slices.Reverse(word)
	}
	address, ok := netip.AddrFromSlice(raw)
	number, err := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(address.Unmap(), uint16(number))
}
