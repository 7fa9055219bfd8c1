package web

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/hourkey/hourkey/broker"
	"github.com/hourkey/hourkey/web/api"
	"github.com/hourkey/hourkey/web/authn"
)

// who finds out who is calling, for one line of the table. A line that lets strangers in asks
// nobody who they are.
//
// What strangers do is counted before it is looked at, except a proof by a key, which nobody guesses: one that holds is
// taken however many at its address did not. The attack is a program that knows nothing and floods, so that no human or
// agent behind the same address comes in.
func (s *Server) who(c *call, line route) error {
	if line.may&stranger != 0 {
		c.kinds = stranger
		if line.path == api.PathToken { // proves by a key; Agents bounds what the proofs of all may cost at once
			return nil
		}
		return s.charge(c, line.path)
	}
	if header := c.request.Header.Get("Authorization"); header != "" {
		return s.whichAgent(c, header)
	}
	return s.whichHuman(c)
}

// charge counts something that a stranger makes us do, by address and purpose, so that a flood of one
// kind leaves the others alone.
func (s *Server) charge(c *call, purpose string) error {
	return s.limited(c, s.strangers, purpose+" "+addressKey(c.address))
}

// failed counts a proof that did not hold against the address. It gives err, or that there were too many.
func (s *Server) failed(c *call, purpose string, err error) error {
	if slow := s.charge(c, purpose); slow != nil {
		return slow
	}
	return err
}

// chargeSession counts what a human does, for each session by itself: who has stolen one leaves the others room to deny
// and to end it. One human has authn.SessionsOfOne at most.
func (s *Server) chargeSession(c *call, session authn.Session) error {
	return s.limited(c, s.callers, "session "+session.Hash)
}

func (s *Server) limited(c *call, l *limiter, key string) error {
	wait, err := l.take(key)
	if err != nil {
		c.retryAfter(wait)
	}
	return err
}

// whichAgent reads a Bearer (RFC 6750 section 2.1). A token that was not seen before is verified; one that does
// not hold is counted against the address.
func (s *Server) whichAgent(c *call, header string) error {
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return broker.Errorf(broker.CodeUnauthenticated, "the Authorization header is not a Bearer token").WithField("Authorization")
	}
	caller, known := s.agents.Known(token)
	if !known {
		var err error
		if caller, err = s.agents.Authenticate(token); err != nil {
			return s.failed(c, "bearer", err)
		}
	}
	c.caller, c.kinds = caller, agent
	if err := s.limited(c, s.callers, caller.Actor()); err != nil {
		return err
	}
	return s.agents.Check(c.ctx(), caller)
}

// whichHuman reads the session cookie. A browser sends it by itself, so what changes something must say
// that it comes from our own origin (the attack: a form on another page).
func (s *Server) whichHuman(c *call) error {
	c.kinds = stranger
	if c.request.Header.Get("Cookie") == "" {
		return nil
	}
	session, err := s.sessions.Find(c.request)
	if broker.CodeOf(err) == broker.CodeUnauthenticated {
		return s.charge(c, "session")
	}
	if err != nil {
		return err
	}
	c.caller = broker.Caller{Kind: broker.CallerHuman, Name: session.Human}
	c.kinds = kinds(s.broker.Configuration(), session.Human) | person
	if err := s.chargeSession(c, session); err != nil {
		return err
	}
	if isSafe(c.request.Method) {
		return nil
	}
	if err := s.sameOrigin(c.request); err != nil {
		return err
	}
	return sameSite(c.request)
}

// sameOrigin refuses what does not say that it comes from one of our pages.
func (s *Server) sameOrigin(r *http.Request) error {
	if r.Header.Get("Origin") != s.origin {
		return broker.Errorf(broker.CodeForbidden, "this does not come from a page of %s", s.origin).WithField("Origin")
	}
	return nil
}

// sameSite refuses what the browser does not say to come from a page of this origin, and whatever does not say where it
// comes from: browsers older than 2023, and programs. The attack is a cross-site POST that an old browser, or a proxy,
// makes look bare.
func sameSite(r *http.Request) error {
	if sites := r.Header.Values("Sec-Fetch-Site"); len(sites) != 1 || sites[0] != "same-origin" {
		return broker.Errorf(broker.CodeForbidden, "this does not come from a page of this broker").WithField("Sec-Fetch-Site").
			WithNext("open the broker's own page in a current browser")
	}
	return nil
}

// clientAddress is the address that a call counts for: the peer's, or, when the peer is a trusted
// proxy, the last address in X-Forwarded-For that is none. Entries further left are the client's own
// words.
func (s *Server) clientAddress(r *http.Request) (client, peer netip.Addr) {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, netip.Addr{}
	}
	peer = at.Addr().Unmap()
	client = peer
	if !s.isProxy(peer) {
		return client, peer
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return client, peer
		}
		if client = hop.Unmap(); !s.isProxy(client) {
			return client, peer
		}
	}
	return client, peer
}

func (s *Server) isProxy(address netip.Addr) bool { return anyContains(s.proxies, address) }

func anyContains(prefixes []netip.Prefix, address netip.Addr) bool {
	for _, prefix := range prefixes {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}
