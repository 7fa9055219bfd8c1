package web

import (
	"context"
	"net"
	"net/http"
	"net/netip"
)

// ownUser notices that an agent runs as the broker's own OS user. Whatever runs so can read the
// broker's memory and files: then Hourkey protects from mistakes only, and says so for good
// (invariant 5).
type ownUser struct {
	uid   int
	uidOf func(local, remote netip.AddrPort) (uid int, found bool) // of the socket that is bound to local
	known func() bool                                              // it was seen and recorded already
	saw   func(context.Context)
}

// look finds the user of the peer of a call on loopback. Where the system does not tell, it stays
// unknown: this is a warning and no wall.
func (o *ownUser) look(r *http.Request) {
	if o.known() {
		return
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	ours, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if err != nil || !ok || !peer.Addr().Unmap().IsLoopback() {
		return
	}
	uid, found := o.uidOf(plainAddr(peer), plainAddr(ours.AddrPort()))
	if found && uid == o.uid {
		o.saw(context.WithoutCancel(r.Context()))
	}
}

// plainAddr is an address without zone, IPv4 as IPv4.
func plainAddr(at netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
}
