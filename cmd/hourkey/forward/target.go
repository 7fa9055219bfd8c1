package forward

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// hostsOf checks the targets and gives host → index. A host that two targets lead to would send a call
// to whichever came last, so that is refused.
func hostsOf(targets []Target) (map[string]int, error) {
	hosts := map[string]int{}
	for n, target := range targets {
		if target.Gateway.Token.IsZero() || len(target.Gateway.Hosts) == 0 {
			return nil, fmt.Errorf("the credential for %s has no token, or leads to no host", target.Name)
		}
		for _, host := range target.Gateway.Hosts {
			if !isHost(host) {
				return nil, fmt.Errorf("the credential for %s names a host %q, which is none", target.Name, host)
			}
			if other, taken := hosts[host]; taken {
				return nil, fmt.Errorf("%s and %s both lead to %s", targets[other].Name, target.Name, host)
			}
			hosts[host] = n
		}
	}
	if len(hosts) == 0 {
		return nil, errors.New("no target is behind the gateway")
	}
	return hosts, nil
}

// isHost takes DNS names as a certificate has them: lower case, with a dot, no port.
func isHost(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return len(name) <= 253 && isBelowTop(name)
}

// isBelowTop tells whether a name has at least two labels, none of them empty, and is no address: no
// top-level domain begins with a digit (RFC 3696 section 2).
func isBelowTop(name string) bool {
	labels := strings.Split(name, ".")
	return len(labels) >= 2 && !slices.Contains(labels, "") && strings.IndexByte("0123456789", labels[len(labels)-1][0]) < 0
}

// authorities gives the targets' certificates as PEM, each once.
func authorities(targets []Target) ([]byte, error) {
	var all []byte
	var hosts []string // of the run: the command trusts what any of its leases brings
	for _, target := range targets {
		hosts = append(hosts, target.Gateway.Hosts...)
	}
	for _, target := range targets {
		certificates, err := parseAuthorities(target.Gateway.CA, hosts)
		if err != nil {
			return nil, fmt.Errorf("the gateway's authority for %s: %w", target.Name, err)
		}
		for _, one := range certificates {
			text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: one.Raw})
			if !bytes.Contains(all, text) {
				all = append(all, text...)
			}
		}
	}
	return all, nil
}

// parseAuthorities reads PEM, and takes only authorities with limits: the child is about to trust them
// for everything that they may sign (RFC 5280 section 4.2.1.10). That is the target's hosts, and no address.
func parseAuthorities(text string, hosts []string) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("it holds a %s: expected certificates alone", block.Type)
		}
		one, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading it: %w", err)
		}
		if !one.BasicConstraintsValid || !one.IsCA || !one.PermittedDNSDomainsCritical || len(one.PermittedDNSDomains) == 0 {
			return nil, errors.New("it is not limited to certain hosts by a critical constraint, so it is not handed to the command")
		}
		for _, domain := range one.PermittedDNSDomains {
			if !slices.Contains(hosts, domain) {
				return nil, fmt.Errorf("it may sign for %q, which no lease of this run leads to, so it is not handed to the command", domain)
			}
		}
		if len(one.PermittedIPRanges) > 0 || !excludesAddresses(one) {
			return nil, errors.New("it may sign for addresses, so it is not handed to the command")
		}
		all = append(all, one)
	}
	if len(all) == 0 {
		return nil, errors.New("it holds no certificate")
	}
	return all, nil
}

// excludesAddresses tells whether it may sign for no address at all: names that are permitted say nothing of them.
func excludesAddresses(authority *x509.Certificate) bool {
	whole := map[int]bool{} // bits of an address
	for _, excluded := range authority.ExcludedIPRanges {
		if ones, bits := excluded.Mask.Size(); ones == 0 {
			whole[bits] = true
		}
	}
	return whole[32] && whole[128]
}
