package forward

import (
	"fmt"
	"net"
	"net/netip"
)

// ownListener accepts connections of our own user alone, where the system tells whose they are.
type ownListener struct {
	net.Listener
	uid     int
	uidOf   func(local, remote netip.AddrPort) (uid int, found bool) // of the socket that is bound to local
	refused func(why string)
}

// Accept gives the next connection that may be served; the others are closed unread.
func (l *ownListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil || l.isOwn(conn) {
			return conn, err
		}
		_ = conn.Close() // whoever it is gets no answer
	}
}

func (l *ownListener) isOwn(conn net.Conn) bool {
	if !peersAreKnown {
		return true // the password alone decides
	}
	peer, ok := conn.RemoteAddr().(*net.TCPAddr)
	ours, both := conn.LocalAddr().(*net.TCPAddr)
	if !ok || !both {
		return false
	}
	uid, found := l.uidOf(plain(peer.AddrPort()), plain(ours.AddrPort()))
	switch {
	case !found:
		l.refused("of an unknown user: /proc/net/tcp does not show whose it is")
	case uid != l.uid:
		l.refused(fmt.Sprintf("of another user (uid %d)", uid))
	}
	return found && uid == l.uid
}

// plain is an address without zone, IPv4 as IPv4.
func plain(at netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
}
