package forward_test

import (
	"crypto/x509"
	"net"
	"testing"
	"time"

	"github.com/hourkey/hourkey/cmd/hourkey/forward"
)

// The attack: a broker that was taken over hands out an authority that is limited, but to other hosts than the
// lease's, or not in addresses. docs/exec.md promises "for the lease's hosts alone".
func TestAuthorityForMoreThanTheLeasesHostsIsNotHandedToTheChild(t *testing.T) {
	w := newWorld(t, echo, nil)
	for name, shape := range map[string]func(*x509.Certificate){
		"another host too":           func(c *x509.Certificate) { c.PermittedDNSDomains = []string{mainHost, "bank.example"} },
		"another host alone":         func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"bank.example"} },
		"the host's parent":          func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"provider.example"} },
		"a suffix that is public":    func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"co.uk"} },
		"every address":              func(c *x509.Certificate) { c.ExcludedIPRanges = nil },
		"every address of version 6": func(c *x509.Certificate) { c.ExcludedIPRanges = c.ExcludedIPRanges[:1] },
		"some addresses": func(c *x509.Certificate) {
			c.PermittedIPRanges = []*net.IPNet{{IP: net.IPv4(10, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)}}
		},
	} {
		lease := w.gateway.Issue(nil)
		lease.CA = authorityFor(t, func(c *x509.Certificate) {
			c.ExcludedIPRanges = []*net.IPNet{{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, {IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}}
			shape(c)
		})
		f, err := forward.Start(forward.Config{
			Now:     time.Now,
			Targets: []forward.Target{{Name: "staging/a", Gateway: lease}}, Open: w.client.OpenTunnel, Say: w.said.say, Getenv: func(string) string { return "" },
		})
		if err == nil {
			t.Errorf("%s: accepted", name)
			_ = f.Close()
		}
	}
}

// The attack: a broker that was taken over names a host that is an address, so that the command's calls to
// what listens there, its own machine too, are led to the broker.
func TestAddressAsAHostIsRefused(t *testing.T) {
	w := newWorld(t, echo, nil)
	for _, host := range []string{"127.0.0.1", "169.254.169.254", "10.1"} {
		lease := w.gateway.Issue(nil)
		lease.Hosts = []string{host}
		f, err := forward.Start(forward.Config{
			Now:     time.Now,
			Targets: []forward.Target{{Name: "staging/a", Gateway: lease}}, Open: w.client.OpenTunnel, Say: w.said.say, Getenv: func(string) string { return "" },
		})
		if err == nil {
			t.Errorf("%s: accepted", host)
			_ = f.Close()
		}
	}
}

// The attack on oneself: curl and Python take a NO_PROXY whose entries stand between blanks.
func TestNoProxyBetweenBlanksDoesNotLeadPastTheGateway(t *testing.T) {
	for _, before := range []string{"corp.example " + mainHost, "corp.example\t." + "provider.example"} {
		w := newWorld(t, echo, map[string]string{"no_proxy": before})
		if got := w.environ["NO_PROXY"]; got != "localhost,127.0.0.1,::1,broker.example,corp.example" {
			t.Errorf("%q became %q", before, got)
		}
	}
}
